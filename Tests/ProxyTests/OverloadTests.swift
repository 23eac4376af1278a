import IO
import Telemetry
import Testing

@testable import Proxy

@Suite("Overload manager")
struct OverloadTests {
    private static func injected(_ path: String, _ action: String) -> String {
        """
        overload_manager:
          refresh_interval: 0.02s
          resource_monitors:
          - name: injected
            typed_config: { "@type": type.googleapis.com/envoy.extensions.resource_monitors.injected_resource.v3.InjectedResourceConfig, filename: \(path) }
          actions:
          - name: envoy.overload_actions.\(action)
            triggers: [ { name: injected, threshold: { value: 0.9 } } ]

        """
    }

    private static let routes =
        #"[ { match: { prefix: "/" }, direct_response: { status: 200, body: { inline_string: "ok" } } } ]"#

    @Test("under pressure requests are refused with 503 until it is over")
    func requests() async throws {
        try await onLoop { loop in
            let path = "/tmp/skein-overload-\(Environment.processID)"
            defer { try? File.remove(path) }
            try File.write(path, Array("0.95\n".utf8))
            let proxy = try await RunningProxy.start(
                Self.injected(path, "stop_accepting_requests")
                    + Yaml.bootstrap(listeners: Yaml.listener(routes: Self.routes), clusters: ""))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            var response = try await client.get("/")
            try await until {
                response = try await client.get("/")
                return response.status == 503
            }
            #expect(response.body == "envoy overloaded")
            try File.write(path, Array("0.1\n".utf8))
            try await until { try await client.get("/").status == 200 }
        }
    }

    @Test("ATK-11 under memory pressure the connection that holds most ends, and others go on")
    func memory() async throws {
        try await onLoop { loop in
            let path = "/tmp/skein-overload-memory-\(Environment.processID)"
            defer { try? File.remove(path) }
            try File.write(path, Array("0.1\n".utf8))
            let large = String(repeating: "x", count: 30_000_000)
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let head = try await wire.request().head
                try await wire.write(ScriptedUpstream.ok(head.contains("/large") ? large : "small"))
            }
            let proxy = try await RunningProxy.start(
                Self.injected(path, "reset_high_memory_stream")
                    + Yaml.bootstrap(
                        listeners: Yaml.listener(routes: Yaml.forward()),
                        clusters: Yaml.cluster("backend", [upstream.port]), admin: true))
            defer { proxy.stop() }
            // One that does not read what it asked for, and one that asks for little.
            let slow = try await Wire.connect(to: proxy.address, on: loop)
            try await slow.write("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try await slow.read(100)
            let other = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await other.get("/").body == "small")
            try File.write(path, Array("0.95\n".utf8))
            try await until { try await Admin.stat(proxy, "http.ingress.downstream_rq_active", on: loop) == 0 }
            // What kernels hold still arrives, and not all of it.
            #expect(await slow.readToEnd().utf8.count < large.utf8.count)
            for _ in 0..<20 { #expect(try await other.get("/").body == "small") }
        }
    }

    @Test("ATK-10 more downstream connections than allowed are closed, and counted")
    func connections() async throws {
        try await onLoop { loop in
            let proxy = try await RunningProxy.start(
                """
                overload_manager:
                  resource_monitors:
                  - name: envoy.resource_monitors.global_downstream_max_connections
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig, max_active_downstream_connections: 2 }

                """ + Yaml.bootstrap(listeners: Yaml.listener(routes: Self.routes), clusters: "", admin: true))
            defer { proxy.stop() }
            let first = try await Wire.connect(to: proxy.address, on: loop)
            let second = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await first.get("/").status == 200)
            #expect(try await second.get("/").status == 200)
            let third = try await Wire.connect(to: proxy.address, on: loop)
            #expect(await third.readToEnd() == "")
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            #expect(try await admin.get("/stats?usedonly").body.contains("downstream_global_cx_overflow: 1"))
            first.close()
            // The place of the one that left is free when the proxy has seen it.
            try await until {
                let next = try await Wire.connect(to: proxy.address, on: loop)
                return (try? await next.get("/").status) == 200
            }
        }
    }

    @Test("an overload manager's mistakes are refused with their path")
    func mistakes() throws {
        for (yaml, expected) in [
            (
                "overload_manager: { actions: [ { name: envoy.overload_actions.dance } ] }",
                "overload_manager.actions[0].name: unknown action"
            ),
            (
                "overload_manager: { actions: [ { name: envoy.overload_actions.shrink_heap, triggers: [ { name: nobody, threshold: { value: 1 } } ] } ] }",
                "overload_manager.actions[0].triggers[0].name: there is no resource monitor"
            ),
            (
                "layered_runtime: { layers: [ { name: a } ] }", "layered_runtime.layers[0]: one of static_layer"
            ),
            (
                "dynamic_resources: { cds_config: { ads: {} } }", "dynamic_resources.cds_config.ads: there is no ADS"
            ),
            (
                "dynamic_resources: { cds_config: { api_config_source: { api_type: REST } } }",
                "dynamic_resources.cds_config.api_config_source.api_type: REST is not supported"
            ),
        ] {
            var options = Options()
            options.configYAML = yaml
            let error = #expect(throws: ProxyError.self) { _ = try ProxyServer.validate(options) }
            #expect(error?.description.hasPrefix(expected) == true, "\(error?.description ?? "")")
        }
    }

    @Test("flags are Envoy's")
    func flags() throws {
        let options = try Options(arguments: [
            "-c", "x.yaml", "--mode", "init_only", "--component-log-level", "xds:debug,worker:error", "--log-format",
            "[%Y-%m-%d %T.%e][%t][%l][%n] %v", "--drain-strategy", "immediate", "--parent-shutdown-time-s", "5",
            "--restart-epoch", "2", "--base-id", "7", "--cpuset-threads", "--file-flush-interval-msec", "100",
        ])
        #expect(options.mode == .initOnly)
        #expect(options.componentLogLevels == ["xds": .debug, "worker": .error])
        #expect(options.drainStrategy == .immediate)
        #expect(options.restartEpoch == 2)
        #expect(options.fileFlushInterval == .milliseconds(100))
        #expect(options.ignored == ["--cpuset-threads"])
        #expect(throws: UsageError.self) { try Options(arguments: ["--log-format", "%Q"]) }
        #expect(throws: UsageError.self) { try Options(arguments: ["--component-log-level", "xds"]) }
    }

    @Test("admin pages answer as Envoy's do")
    func admin() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("x") }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port]), admin: true
                ).replacing(
                    "static_resources:",
                    """
                    static_resources:
                      secrets:
                      - name: generic
                        generic_secret: { secret: { inline_string: "hidden" } }
                    """))
            defer { proxy.stop() }
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let clusters = try await admin.get("/clusters?format=json").body
            #expect(clusters.contains("\"port_value\": \(upstream.port)"))
            #expect(clusters.contains("\"eds_health_status\": \"HEALTHY\""))
            #expect(try await admin.get("/listeners?format=json").body.contains("\"socket_address\""))
            let dump = try await admin.get("/config_dump").body
            #expect(dump.contains("SecretsConfigDump"))
            #expect(dump.contains("[redacted]"))
            #expect(!dump.contains("hidden"))
            let part = try await admin.get("/config_dump?resource=static_clusters&mask=cluster.name").body
            #expect(part.contains("ClustersConfigDump.StaticCluster"))
            #expect(part.contains("\"name\": \"backend\""))
            #expect(!part.contains("load_assignment"))
            #expect(try await admin.get("/config_dump?resource=static_things").status == 404)
            #expect(try await admin.get("/config_dump?name_regex=(").status == 400)
            #expect(
                try await admin.get("/config_dump?resource=static_clusters&name_regex=no.*").body.contains(
                    "\"configs\": []"))
            #expect(try await admin.get("/memory").body.contains("total_physical_bytes"))
            #expect(try await admin.get("/certs").body.contains("{"))
            #expect(try await admin.get("/logging").status == 405)
            #expect(try await admin.get("/runtime_modify?a=1").status == 405)
            try await admin.write("POST /runtime_modify?a=1 HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            #expect(try await admin.response().status == 503)
            try await admin.write("POST /drain_listeners?skip_exit HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            #expect(try await admin.response().status == 400)
            try await admin.write("POST /logging?xds=noise HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
            #expect(try await admin.response().status == 400)
        }
    }
}

extension String {
    fileprivate func replacing(_ part: String, _ other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}

@Suite("What is ignored")
struct IgnoredFieldTests {
    @Test("validating names every ignored field with its path and the reason")
    func paths() throws {
        var options = try Options(arguments: ["--cpuset-threads"])
        options.configYAML = """
            watchdog: { miss_timeout: 1s }
            static_resources:
              listeners:
              - name: x
                address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
                traffic_direction: INBOUND
                filter_chains:
                - filters:
                  - name: tcp
                    typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy, stat_prefix: t, cluster: c }
              clusters:
              - { name: c, wait_for_warm_on_init: true, load_assignment: { cluster_name: c } }
            """
        let lines = try ProxyServer.validate(options)
        #expect(lines.contains { $0.hasPrefix("static_resources.listeners[0].traffic_direction: ignored: ") })
        #expect(lines.contains { $0.hasPrefix("static_resources.clusters[0].wait_for_warm_on_init: ignored: ") })
        #expect(lines.contains { $0.hasPrefix("watchdog: ignored: ") })
        #expect(lines.contains { $0.hasPrefix("--cpuset-threads: ignored: ") })
        #expect(!lines.contains { $0.contains("stat_prefix") })
    }

    @Test("processors are busy by what was used of what there was, damped: one busy second is no overload")
    func processors() throws {
        let before = try #require(ProcessorUse(stat: "cpu  100 0 100 700 100 0 0 0 0 0\ncpu0 1 2 3\n"))
        #expect(before == ProcessorUse(used: 200, available: 1000))
        let after = ProcessorUse(used: 1200, available: 2000)
        #expect(after.pressure(since: before, former: 0) == 0.05)
        #expect(before.pressure(since: before, former: 0.7) == 0.7)
        var pressure = 0.0
        for _ in 0..<100 { pressure = after.pressure(since: before, former: pressure) }
        #expect(pressure > 0.99 && pressure <= 1)
        #expect(ProcessorUse(stat: "cpu 1 2") == nil && ProcessorUse(stat: "") == nil)
        // Counters that go back, as those of a virtual machine may: nothing is known.
        #expect(ProcessorUse(used: 0, available: 10).pressure(since: before, former: 0.5) == 0.5)
        #expect(ProcessorUse.ofMachine() != nil)
    }

    @Test("a monitor of processors and the bounds of giving memory back are understood")
    func more() throws {
        var options = Options()
        options.configYAML = """
            overload_manager:
              resource_monitors:
              - name: cpu
                typed_config: { "@type": type.googleapis.com/envoy.extensions.resource_monitors.cpu_utilization.v3.CpuUtilizationConfig, mode: CONTAINER }
              actions:
              - name: envoy.overload_actions.shrink_heap
                triggers: [ { name: cpu, threshold: { value: 0.9 } } ]
                typed_config: { "@type": type.googleapis.com/envoy.config.overload.v3.ShrinkHeapConfig, timer_interval: 5s, max_unfreed_memory_bytes: 52428800 }

            """
            + Yaml.bootstrap(
                listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [9]))
        _ = try ProxyServer.validate(options)
        options.configYAML = options.configYAML?.split(separator: "timer_interval: 5s").joined(
            separator: "timer_interval: 0.5s")
        #expect { _ = try ProxyServer.validate(options) } throws: {
            "\($0)".contains("actions[0].typed_config.timer_interval: must be at least 1 s")
        }
    }
}
