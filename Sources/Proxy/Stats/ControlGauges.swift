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
            for (monitor, pressure) in zip(config.monitors, monitor.pressures) {
                gauges.append(("overload.\(monitor.name).pressure", Int64((pressure * 100).rounded())))
            }
        }
        return gauges
    }
}
