internal import IO
internal import Upstream

/// What makes a filter state object of a text: Envoy's object factories, by name.
///
/// Objects are kept as the texts that they print; a text that the factory does not take makes no object.
enum FilterStateFactory: Sendable {
    case text
    /// An IP address; Envoy's object prints a port too.
    case address
    /// The server name (SNI) of the upstream's TLS.
    case serverName
    /// The ALPN names that the upstream's TLS offers, separated by commas.
    case applicationProtocols
    case number(UInt64)

    /// The key by which the router finds the name for the upstream's TLS.
    static let serverNameKey = "envoy.network.upstream_server_name"
    /// The key by which the router finds the ALPN names for the upstream's TLS.
    static let applicationProtocolsKey = "envoy.network.application_protocols"

    private static let factories: [String: FilterStateFactory] = [
        "envoy.string": .text,
        "envoy.hashable_string": .text,
        "envoy.network.ip": .address,
        serverNameKey: .serverName,
        applicationProtocolsKey: .applicationProtocols,
        "envoy.ratelimit.hits_addend": .number(.max),
        "envoy.upstream.dynamic_host": .text,
        "envoy.upstream.dynamic_port": .number(UInt64(UInt32.max)),
    ]

    /// Factories of Envoy whose objects nobody would look at here.
    private static let refused: [String: String] = [
        "envoy.network.upstream_subject_alt_names": "the names of upstreams are the transport socket's",
        "envoy.tcp_proxy.cluster": "no tcp_proxy follows an HTTP filter",
        "envoy.tcp_proxy.disable_tunneling": "no tcp_proxy follows an HTTP filter",
        "envoy.tcp_proxy.per_connection_idle_timeout_ms": "no tcp_proxy follows an HTTP filter",
        "envoy.udp_proxy.cluster": "no udp_proxy follows an HTTP filter",
        "envoy.filters.listener.original_dst.local_ip": "the addresses are those of the connection",
        "envoy.filters.listener.original_dst.remote_ip": "the addresses are those of the connection",
        "envoy.network.transport_socket.original_dst_address": "ORIGINAL_DST goes by header or metadata",
        "envoy.network.upstream_bind_override.network_namespace": "upstream sockets have the process' namespace",
        "envoy.network.network_namespace": "upstream sockets have the process' namespace",
    ]

    /// - Parameters:
    ///   - name: `factory_key`; empty is the object's own key.
    ///   - key: `object_key`.
    ///   - isOfConnection: A network filter makes it.
    static func find(
        _ name: String, key: String, isOfConnection: Bool, at path: String
    ) throws(ConfigurationError) -> FilterStateFactory {
        let wanted = name.isEmpty ? key : name
        if isOfConnection, wanted == TCPProxyConfig.clusterKey { return .text }
        if let reason = refused[wanted] ?? refused[key] {
            throw ConfigurationError(at: path, "\(wanted) would have no effect: \(reason)")
        }
        guard let factory = factories[wanted] else {
            throw ConfigurationError(
                at: path,
                "'\(wanted)' does not have an object factory; those there are: "
                    + factories.keys.sorted().joined(separator: ", "))
        }
        return factory
    }

    /// The object that a text makes; nil is none.
    func object(_ text: String) -> String? {
        switch self {
        case .text: return text
        case .address: return IPAddress(text).map { $0.isV6 ? "[\($0)]:0" : "\($0):0" }
        case .serverName: return ServerNameOfRequest.host(text)
        case .applicationProtocols:
            let names = text.split(separator: ",", omittingEmptySubsequences: false)
            return names.allSatisfy({ (1...255).contains($0.utf8.count) }) ? text : nil
        case .number(let most): return UInt64(text).flatMap { $0 <= most ? String($0) : nil }
        }
    }
}
