internal import EnvoyAPI
internal import IO
internal import Serialization
import Telemetry
internal import Upstream

/// `/server_info`, `/memory` and `/init_dump`.
///
/// Envoy prints fields with their default here, so these are not written by the messages.
enum ServerInfoPage {
    static func of(_ proxy: ProxyServer) -> JSON {
        var node = proxy.bootstrap.node.json(names: .proto)
        for (name, empty) in [("dynamic_parameters", JSON.object([:])), ("listening_addresses", .array([]))]
        where node[name] == nil {
            node[name] = empty
        }
        let uptime = JSON.string("\((MonotonicTime.now - proxy.started).components.seconds)s")
        return .object([
            "version": .string("skein/\(Product.version)"), "state": .string(proxy.state.rawValue),
            "uptime_current_epoch": uptime, "uptime_all_epochs": uptime,
            "hot_restart_version": .string(proxy.options.enablesHotRestart ? HotRestart.version : "disabled"),
            "node": node, "command_line_options": options(proxy),
        ])
    }

    private static func options(_ proxy: ProxyServer) -> JSON {
        let options = proxy.options
        func seconds(_ duration: Duration) -> JSON { .string("\(duration.components.seconds)s") }
        return .object([
            "base_id": .string("\(options.baseID)"), "concurrency": .integer(Int64(proxy.workers.count)),
            "config_path": .string(options.configPath ?? ""), "config_yaml": .string(options.configYAML ?? ""),
            "admin_address_path": .string(options.adminAddressPath ?? ""),
            "log_level": .string(options.logLevel.map { "\($0)" } ?? "info"),
            "component_log_level": .string(
                options.componentLogLevels.sorted { $0.key < $1.key }.map { "\($0.key):\($0.value)" }
                    .joined(separator: ",")),
            "log_path": .string(options.logPath ?? ""), "service_cluster": .string(options.serviceCluster ?? ""),
            "service_node": .string(options.serviceNode ?? ""), "service_zone": .string(options.serviceZone ?? ""),
            "drain_time": seconds(options.drainTime),
            "drain_strategy": .string(options.drainStrategy == .gradual ? "Gradual" : "Immediate"),
            "parent_shutdown_time": seconds(options.parentShutdownTime), "mode": .string("Serve"),
            "disable_hot_restart": .bool(options.disablesHotRestart),
            "restart_epoch": .integer(Int64(options.restartEpoch)),
        ])
    }

    static func memory() -> JSON {
        let heap = Environment.heapBytes
        func text(_ value: UInt64) -> JSON { .string("\(value)") }
        return .object([
            "allocated": text(heap.allocated), "heap_size": text(heap.total), "pageheap_unmapped": "0",
            "pageheap_free": text(heap.total > heap.allocated ? heap.total - heap.allocated : 0),
            "total_thread_cache": "0", "total_physical_bytes": text(Environment.residentBytes ?? 0),
        ])
    }

    /// What is configured and not complete.
    static func waiting(_ proxy: ProxyServer) -> JSON {
        var dumps: [JSON] = []
        func add(_ name: String, _ targets: [String]) {
            guard !targets.isEmpty else { return }
            dumps.append(
                .object(["name": .string(name), "target_names": .array(targets.sorted().map { .string($0) })]))
        }
        add("clusters", proxy.store.clusters.filter { !$0.value.isWarm }.map(\.key))
        add("listeners", proxy.store.listeners.filter { !$0.value.isWarm }.map(\.key))
        return .object(dumps.isEmpty ? [:] : ["unready_targets_dumps": .array(dumps)])
    }
}

extension EnvoyAPI.Address {
    /// An address of ours as a message.
    init(_ address: IO.SocketAddress) {
        self.init()
        switch address {
        case .ip(let ip, let port):
            var socket = EnvoyAPI.SocketAddress()
            socket.address = "\(ip)"
            socket.portSpecifier = .portValue(UInt32(port))
            self.address = .socketAddress(socket)
        default:
            var pipe = Pipe()
            pipe.path = "\(address)"
            self.address = .pipe(pipe)
        }
    }
}
