internal import EnvoyAPI
internal import Upstream

extension OverloadConfig {
    /// A place on the way of a connection or request where load may be shed: what an action does about pressure everywhere, a point
    /// does where something new would begin.
    enum ShedPoint: Int, Sendable, Hashable, CaseIterable {
        case tcpListenerAccept
        case codecCreation
        case http1Dispatch
        case http2GoAway
        case http2GoAwayAndClose
        case requestHead
        case downstreamFilters
        case upstreamConnection
        case tcpProxyConnect
        case tcpProxyData

        /// What configurations and metrics call it.
        var name: String {
            let name =
                switch self {
                case .tcpListenerAccept: "tcp_listener_accept"
                case .codecCreation: "hcm_ondata_creating_codec"
                case .http1Dispatch: "http1_server_abort_dispatch"
                case .http2GoAway: "http2_server_go_away_on_dispatch"
                case .http2GoAwayAndClose: "http2_server_go_away_and_close_on_dispatch"
                case .requestHead: "http_connection_manager_decode_headers"
                case .downstreamFilters: "http_downstream_filter_check"
                case .upstreamConnection: "connection_pool_new_connection"
                case .tcpProxyConnect: "tcp_proxy_upstream_connect"
                case .tcpProxyData: "tcp_proxy_on_data"
                }
            return Self.prefix + name
        }

        fileprivate static let prefix = "envoy.load_shed_points."

        /// Envoy's points that nothing here ever comes to, with the reason.
        fileprivate static let absent = [
            "http3_server_go_away_on_dispatch": "HTTP/3 is not spoken here",
            "http3_server_go_away_and_close_on_dispatch": "HTTP/3 is not spoken here",
        ]

        /// Compiles a point's name.
        init(_ name: String, at path: String) throws(ConfigurationError) {
            if let point = Self.allCases.first(where: { $0.name == name }) {
                self = point
                return
            }
            if name.hasPrefix(Self.prefix), let reason = Self.absent[String(name.dropFirst(Self.prefix.count))] {
                throw ConfigurationError(at: path, "\(name): \(reason)")
            }
            throw ConfigurationError(
                at: path,
                "unknown load shed point \"\(name)\"; known: " + Self.allCases.map(\.name).joined(separator: ", "))
        }
    }
}
