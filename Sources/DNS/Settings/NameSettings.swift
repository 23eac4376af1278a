import IO
import Serialization

/// What an operator says of names, in the words of CoreDNS and kube-dns: ConfigMaps of the namespace `kube-system`.
///
/// `coredns` has a `Corefile`; `kube-dns` has `stubDomains` and `upstreamNameservers`, JSON. What both say of one domain is as
/// the Corefile says. What is not understood is no silence: it is in `problems`, and everything else counts.
public struct NameSettings: Hashable, Sendable {
    /// Queries that a client may send in a second, where nothing else is said.
    public static let defaultClientRate = 10_000
    /// The namespace of the ConfigMaps.
    public static let namespace = "kube-system"
    /// The ConfigMaps' names.
    public static let configMaps = ["coredns", "kube-dns"]
    /// Servers of one domain, and domains.
    static let serversMax = 15
    static let domainsMax = 1000

    /// Who is asked for which name, and what is kept.
    public var plan: ForwardingPlan
    /// Queries that a client may send in a second, and at once; 0: as many as it likes.
    public var clientRate = defaultClientRate
    /// The domains whose names are logged.
    public var logs: [Name] = []
    /// Whether a name that the search path has made longer is answered as the resolver would find it in the end.
    public var usesShortcuts = false
    /// What is said and not done, one sentence each.
    public var problems: [String] = []

    /// Everything is asked of these servers.
    public init(_ fallback: UpstreamGroup) { plan = ForwardingPlan(fallback) }

    /// What the ConfigMaps say.
    ///
    /// - Parameters:
    ///   - configMaps: their data, by their names.
    ///   - fallback: who is asked where nothing else is said: what the machine's `resolv.conf` says.
    public init(configMaps: [String: [String: String]], fallback: UpstreamGroup) {
        self.init(fallback)
        if let data = configMaps["kube-dns"] { readStubs(data, fallback) }
        if let text = configMaps["coredns"]?["Corefile"] { read(corefile: text, fallback) }
    }

    mutating func problem(_ text: String) { if problems.count < 100 { problems.append(text) } }

    /// The servers of a domain; what is wrong with them is said, and they stay as they were.
    mutating func set(_ domain: Name, _ group: UpstreamGroup) {
        guard plan.groups[domain] != nil || plan.groups.count < Self.domainsMax else {
            return problem("more than \(Self.domainsMax) domains have servers of their own; \(domain) is left out")
        }
        plan.groups[domain] = group
    }

    private mutating func readStubs(_ data: [String: String], _ fallback: UpstreamGroup) {
        func group(_ value: JSON, _ place: String) -> UpstreamGroup? {
            guard let list = value.array, !list.isEmpty, list.count <= Self.serversMax else {
                problem("\(place): a list of 1 to \(Self.serversMax) servers is needed")
                return nil
            }
            var group = fallback
            group.servers = []
            for entry in list {
                guard let address = entry.string.flatMap(Self.address) else {
                    problem("\(place): \(entry) is no address")
                    return nil
                }
                group.servers.append(Upstream(address))
            }
            return group
        }
        for (key, text) in data.sorted(by: { $0.key < $1.key }) {
            let place = "ConfigMap kube-dns, \(key)"
            guard ["stubDomains", "upstreamNameservers"].contains(key) else {
                problem("\(place): not known")
                continue
            }
            guard let value = try? JSON.parse(Array(text.utf8)) else {
                problem("\(place): no JSON")
                continue
            }
            if key == "upstreamNameservers" {
                if let group = group(value, place) { set(.root, group) }
                continue
            }
            guard case .object(let domains) = value else {
                problem("\(place): an object of domains is needed")
                continue
            }
            for (domain, servers) in domains.sorted(by: { $0.key < $1.key }) {
                guard let name = Name(domain) else {
                    problem("\(place): \(domain) is no name")
                    continue
                }
                if let group = group(servers, "\(place).\(domain)") { set(name, group) }
            }
        }
    }

    /// `10.0.0.1`, `10.0.0.1:5353`, `fd00::1`, `[fd00::1]:5353`; port 53 where there is none.
    static func address(_ text: String) -> SocketAddress? { address(text, port: 53) }

    static func address(_ text: some StringProtocol, port: UInt16) -> SocketAddress? {
        if let address = IPAddress(text) { return .ip(address, port: port) }
        if text.hasPrefix("["), text.hasSuffix("]"), let address = IPAddress(text.dropFirst().dropLast()), address.isV6
        {
            return .ip(address, port: port)
        }
        guard case .ip(let address, let port)? = SocketAddress(String(text)), port > 0 else { return nil }
        return .ip(address, port: port)
    }
}
