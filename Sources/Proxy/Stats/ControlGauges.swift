internal import IO
internal import TLS
internal import Upstream

/// What runtime, overload manager and discovery tell, under Envoy's names.
enum ControlGauges {
    static func of(_ proxy: ProxyServer) -> [(name: String, value: Int64)] {
        var gauges: [(name: String, value: Int64)] = []
        let layers = proxy.runtimeLayers.runtime.layers
        gauges.append(("runtime.num_layers", Int64(layers.count)))
        gauges.append(("runtime.num_keys", Int64(Set(layers.flatMap(\.values.keys)).count)))
        if let discovery = proxy.discovery, discovery.hasStreams {
            gauges.append(("control_plane.connected_state", discovery.isConnected ? 1 : 0))
        }
        if let config = proxy.bootstrap.overload, let monitor = proxy.overloadMonitor {
            for (action, _) in config.actions {
                let state = proxy.overload.thousandths(action)
                gauges.append(("overload.\(action.rawValue).active", state >= 1000 ? 1 : 0))
                gauges.append(("overload.\(action.rawValue).scale_percent", Int64(state / 10)))
            }
            for (point, _) in config.points {
                gauges.append(
                    ("overload.\(point.name).scale_percent", Int64(proxy.overload.thousandths(point) / 10)))
            }
            for (monitor, pressure) in zip(config.monitors, monitor.pressures) {
                gauges.append(("overload.\(monitor.name).pressure", Int64((pressure * 100).rounded())))
            }
        }
        gauges += certificates(proxy.bootstrap.secrets, now: WallClock.now.seconds)
        return gauges
    }

    /// Envoy's days until the first certificate expires, and what share of its life is left to that which has the smallest:
    /// of certificates that last a day Envoy's figure says nothing.
    private static func certificates(_ secrets: SecretStore, now: Int64) -> [(name: String, value: Int64)] {
        let facts = secrets.certificates.flatMap(\.certificates).map(\.facts)
        guard let first = facts.map(\.notAfter).min() else { return [] }
        let shares = facts.map { 100 * Double(max(0, $0.notAfter - now)) / Double(max(1, $0.notAfter - $0.notBefore)) }
        return [
            ("server.days_until_first_cert_expiring", max(0, first - now) / 86_400),
            ("server.first_cert_left_percent", Int64(min(100, shares.min() ?? 100))),
        ]
    }
}
