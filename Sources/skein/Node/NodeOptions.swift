internal import DNS
internal import IO
internal import Identity
internal import Network
internal import TLS

/// What makes a machine one of several, for `skein up` and `skein node`.
enum NodeFlags {
    static let join = Flag("join", value: "https://HOST:PORT", "the API of the control plane to join")
    static let token = Flag(
        "token", value: "TOKEN",
        "a bootstrap token (skein node token prints one); needed once, and for a lost --data-dir")
    static let name = Flag("name", value: "NAME", "the node's name (default the machine's)")
    static let address = Flag(
        "node-address", value: "ADDRESS[,ADDRESS]",
        "where other nodes reach this one, one address of each family (default: the address that reaches the API)")
    static let hostProbes = Flag(
        "host-probes",
        "let connections of this machine's root to pods past their sidecars, as probes of a kubelet need under STRICT")
    static let driver = Flag(
        "network", value: "overlay|host-gw",
        "how pods of other nodes are reached: by VXLAN (default), or by routes where all nodes are on one link")
    static let encryption = Flag(
        "encrypt", value: "none|wireguard",
        "what is done to packets between nodes (default none); with wireguard, nodes without it are not reached")
    static let wireGuardPort = Flag(
        "wireguard-port", value: "PORT", "the UDP port of WireGuard (default \(NodeEncryption.standardPort))")
    static let apiNames = Flag(
        "api-names", value: "NAME[,NAME…]", "further addresses and names under which other machines reach the API")

    /// The driver that is asked for.
    static func driver(_ invocation: Invocation, _ command: String) throws(CommandError) -> NodeDriver {
        let text = invocation.value(driver) ?? NodeDriver.overlay.rawValue
        guard let driver = NodeDriver(rawValue: text) else {
            throw CommandError.usage(command, "--network \(text): overlay or host-gw")
        }
        return driver
    }

    /// The port at which packets between nodes arrive encrypted; nil when they are not.
    static func encryptedPort(_ invocation: Invocation, _ command: String) throws(CommandError) -> UInt16? {
        switch invocation.value(encryption) ?? "none" {
        case "none":
            guard !invocation.has(wireGuardPort) else {
                throw CommandError.usage(command, "--wireguard-port needs --encrypt wireguard")
            }
            return nil
        case "wireguard":
            let text = invocation.value(wireGuardPort) ?? "\(NodeEncryption.standardPort)"
            guard let port = UInt16(text), port > 0 else {
                throw CommandError.usage(command, "--wireguard-port \(text): not a port")
            }
            return port
        case let other: throw CommandError.usage(command, "--encrypt \(other): none or wireguard")
        }
    }

    /// The addresses that are asked for, in their order.
    static func addresses(_ invocation: Invocation, _ command: String) throws(CommandError) -> [IPAddress] {
        guard let given = invocation.value(address) else { return [] }
        var addresses: [IPAddress] = []
        for text in given.split(separator: ",", omittingEmptySubsequences: false) {
            guard let address = IPAddress(text), !address.isLoopback, !address.isUnspecified else {
                throw CommandError.usage(
                    command, "--node-address \(text): not an address at which others reach this machine")
            }
            guard !addresses.contains(where: { $0.isV6 == address.isV6 }) else {
                throw CommandError.usage(command, "--node-address \(given): two addresses of one family")
            }
            addresses.append(address)
        }
        return addresses
    }
}

extension NodeEncryption {
    /// What is asked for, when this kernel can; the key is that of `DATA/node/wireguard.key` (mode 0600, as `wg genkey` writes
    /// one), which is made when there is none.
    static func kept(_ options: UpOptions, _ command: String) throws(CommandError) -> NodeEncryption? {
        guard let port = options.encryptedPort else { return nil }
        do throws(NetworkError) { try check() } catch {
            throw CommandError("skein \(command): --encrypt wireguard: \(error)")
        }
        return try kept("\(options.dataDirectory)/node/wireguard.key", port)
    }

    private static func kept(_ file: String, _ port: UInt16) throws(CommandError) -> NodeEncryption {
        do {
            if !File.exists(file) {
                guard let made = WireGuardKey(try ExchangeKey.make()) else {
                    throw CommandError("an X25519 key is not 32 bytes")
                }
                try File.makeDirectory(File.parent(of: file), mode: 0o700)
                try File.write(file, Array((made.text + "\n").utf8), mode: 0o600)
            }
            guard let key = WireGuardKey(text: try File.text(file).trimmingSuffix(while: \.isNewline)),
                let publicKey = WireGuardKey(try ExchangeKey.publicKey(of: key.bytes))
            else {
                throw CommandError("\(file) is damaged; remove it, and a new key is made")
            }
            return NodeEncryption(privateKey: key, publicKey: publicKey, port: port)
        } catch let error as CommandError { throw error } catch { throw CommandError("\(file): \(error)") }
    }
}

/// Where the control plane is, as `--join` says it.
struct ControlPlaneAddress: Sendable, Equatable {
    let host: String
    let port: UInt16

    /// Reads `https://HOST:PORT`; the port is 6443 when there is none.
    init?(_ text: String) {
        guard text.hasPrefix("https://") else { return nil }
        var rest = text.dropFirst("https://".count)
        if rest.hasSuffix("/") { rest = rest.dropLast() }
        guard !rest.isEmpty, !rest.contains("/"), !rest.contains("@") else { return nil }
        if case .ip(let address, let port)? = SocketAddress(String(rest)) {
            (host, self.port) = (address.description, port)
            return
        }
        let plain = rest.hasPrefix("[") && rest.hasSuffix("]") ? rest.dropFirst().dropLast() : rest
        if let address = IPAddress(plain) {
            (host, port) = (address.description, 6443)
            return
        }
        let parts = rest.split(separator: ":", omittingEmptySubsequences: false)
        guard parts.count <= 2, let name = parts.first, !name.isEmpty else { return nil }
        guard let number = parts.count == 2 ? UInt16(parts[1]) : 6443, number > 0 else { return nil }
        (host, port) = (String(name), number)
    }

    /// `https://HOST:PORT`.
    var text: String { host.contains(":") ? "https://[\(host)]:\(port)" : "https://\(host):\(port)" }

    /// The address behind it; a name is looked up once.
    func resolve(on loop: EventLoop) async throws(CommandError) -> SocketAddress {
        if let address = IPAddress(host) { return .ip(address, port: port) }
        let found: Resolution
        do throws(LookupFailure) { found = try await DNSResolver(on: loop).resolve(host) } catch {
            throw CommandError("skein node: \(host): \(error)")
        }
        guard let address = found.addresses.first else { throw CommandError("skein node: \(host) has no address") }
        return .ip(address, port: port)
    }
}
