internal import EnvoyAPI
internal import IO
internal import Upstream

extension IO.SocketAddress {
    /// The socket address that a configured `Address` means.
    ///
    /// - Parameter allowsUDP: the caller knows the protocol.
    init(compiling address: Address?, at path: String, allowsUDP: Bool = false) throws(ConfigurationError) {
        switch address?.address {
        case .socketAddress(let socket):
            let here = path + ".socket_address"
            guard let ip = IPAddress(socket.address) else {
                throw ConfigurationError(at: here + ".address", "\"\(socket.address)\" is no IP address")
            }
            guard case .portValue(let port) = socket.portSpecifier, let port = UInt16(exactly: port) else {
                throw ConfigurationError(at: here + ".port_value", "a port from 0 to 65535 is needed")
            }
            if case .udp = socket.protocol, !allowsUDP {
                throw ConfigurationError(at: here + ".protocol", "UDP has no place here")
            }
            self = .ip(ip, port: port)
        case .pipe(let pipe):
            guard !pipe.path.isEmpty, pipe.path.utf8.count < 108 else {
                throw ConfigurationError(at: path + ".pipe.path", "a path of 1 to 107 bytes is needed")
            }
            self = .unix(pipe.path)
        case .envoyInternalAddress:
            throw ConfigurationError(at: path + ".envoy_internal_address", "not supported yet")
        case nil:
            throw ConfigurationError(at: path, "an address is needed: socket_address or pipe")
        }
    }
}
