internal import EnvoyAPI
internal import IO
internal import Upstream

/// One address of a listener: `address`, or one of its `additional_addresses`.
struct ListenerAddress: Sendable, Hashable {
    let address: IO.SocketAddress
    /// The file of the network namespace in which its socket is; nil is our own.
    let namespacePath: String?
    /// `ipv4_compat`: an IPv6 socket serves IPv4 clients, too.
    let acceptsIPv4: Bool
    let socketOptions: [ListenerSocketOption]

    /// - Parameter address: What `message` means, where that is no socket's address.
    init(
        compiling message: Address?, as address: IO.SocketAddress? = nil, options: [ListenerSocketOption],
        at path: String
    ) throws(ConfigurationError) {
        if let address {
            self.address = address
        } else {
            self.address = try IO.SocketAddress(compiling: message, at: path, isListener: true)
        }
        socketOptions = options
        if case .socketAddress(let socket) = message?.address {
            namespacePath = socket.networkNamespaceFilepath.isEmpty ? nil : socket.networkNamespaceFilepath
            acceptsIPv4 = socket.ipv4Compat
        } else {
            namespacePath = nil
            acceptsIPv4 = false
        }
    }

    /// The `additional_addresses` of a listener; those without options of their own have the listener's.
    static func additional(
        _ message: Listener, options: [ListenerSocketOption], at path: String
    ) throws(ConfigurationError) -> [ListenerAddress] {
        var result: [ListenerAddress] = []
        for (index, more) in message.additionalAddresses.enumerated() {
            let here = "\(path).additional_addresses[\(index)]"
            try FieldCheck.check(more, reads: ["address", "socket_options"], at: here)
            guard case .socketAddress(let socket) = more.address?.address, case .tcp = socket.protocol else {
                throw ConfigurationError(at: here + ".address", "an additional address is a socket_address of TCP")
            }
            var own = options
            if let override = more.socketOptions {
                own = try ListenerConfig.socketOptions(
                    override.socketOptions, isDatagram: false, at: here + ".socket_options.socket_options")
            }
            result.append(try ListenerAddress(compiling: more.address, options: own, at: here + ".address"))
        }
        return result
    }

    /// The options of a socket on that address.
    func options(on address: IO.SocketAddress) -> [IO.SocketOption] {
        guard !socketOptions.isEmpty else { return [] }
        let isV6 = if case .ip(let ip, _) = address { ip.isV6 } else { false }
        return socketOptions.filter { $0.isV6 == nil || $0.isV6 == isV6 }.map(\.option)
    }

    /// Whether connections that mean an address are for this one: exactly, or as one of all addresses.
    func takes(_ destination: IO.SocketAddress) -> (isExact: Bool, isWildcard: Bool) {
        if address == destination { return (true, false) }
        let isWildcard =
            address.port == destination.port && address.address?.isUnspecified == true
            && address.address?.isV6 == destination.address?.isV6
        return (false, isWildcard)
    }
}
