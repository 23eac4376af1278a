internal import ControlPlane
internal import DNS
internal import IO

/// How programs that are no pods are registered: the flags of `up` and `control-plane`.
struct RegistryFlags: Sendable {
    static let address = Flag(
        "registry", value: "ADDR:PORT",
        "where programs that are no pods register themselves, as with Consul (usually 127.0.0.1:8500; default none)")
    static let domain = Flag(
        "registry-domain", value: "DOMAIN", "what names of registered programs end with (default consul)")
    static let datacenter = Flag(
        "registry-datacenter", value: "NAME", "the datacenter that the registry says it is (default dc1)")
    static let scripts = Flag(
        "registry-scripts", "let checks of registered programs run programs on this machine")

    static let all = [address, domain, datacenter, scripts]

    /// Where it listens besides its unix socket.
    var address: SocketAddress?
    var domain: String
    var datacenter: String
    var allowsScripts: Bool

    init(_ invocation: Invocation) throws(CommandError) {
        address = try invocation.value(Self.address).map { text throws(CommandError) in
            guard let address = SocketAddress(text), address.port != nil else {
                throw CommandError.usage("up", "--registry \(text): not an address and port, like 127.0.0.1:8500")
            }
            return address
        }
        domain = (invocation.value(Self.domain) ?? "consul").lowercased()
        datacenter = (invocation.value(Self.datacenter) ?? "dc1").lowercased()
        allowsScripts = invocation.has(Self.scripts)
        guard let name = Name(domain), !name.labels.isEmpty else {
            throw CommandError.usage("up", "--registry-domain \(domain): no domain")
        }
        guard let label = Name(datacenter), label.labels.count == 1 else {
            throw CommandError.usage("up", "--registry-datacenter \(datacenter): not one label of a name")
        }
        guard !["service", "node", "addr"].contains(datacenter) else {
            throw CommandError.usage("up", "--registry-datacenter \(datacenter): names use this word themselves")
        }
    }

    /// The words by which a control plane is told the same.
    var arguments: [String] {
        (address.map { [Self.flag(Self.address), $0.description] } ?? [])
            + [Self.flag(Self.domain), domain, Self.flag(Self.datacenter), datacenter]
            + (allowsScripts ? [Self.flag(Self.scripts)] : [])
    }

    private static func flag(_ flag: Flag) -> String { "--" + flag.name }

    func apply(to options: inout ControlPlaneOptions) {
        options.registryAddress = address
        options.registryDomain = domain
        options.registryDatacenter = datacenter
        options.registryScripts = allowsScripts
    }
}
