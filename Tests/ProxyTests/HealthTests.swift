import IO
import Proxy
import Synchronization
import Testing

@Suite("Health of upstream hosts")
struct HealthTests {
    @Test("O-2 a host that answers 5xx five times in a row is ejected and asked no more")
    func outlierEjection() async throws {
        try await onLoop { loop in
            let bad = try await ScriptedUpstream(on: loop) { _, _ in
                "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n"
            }
            let good = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("good") }
            let outlier = """
                outlier_detection: { consecutive_5xx: 5, interval: 60s, base_ejection_time: 60s, max_ejection_percent: 100 }
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [bad.port, good.port], outlier)))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            var failures = 0
            for _ in 0..<60 where try await client.get("/").status == 500 { failures += 1 }
            #expect(failures == 5)
            #expect(bad.requests == 5)
            #expect(good.requests == 55)
        }
    }

    @Test("a host that fails its health check gets nothing, and is back when it succeeds again")
    func activeHealthCheck() async throws {
        try await onLoop { loop in
            let state = HealthState()
            let sick = try await ScriptedUpstream(on: loop) { head, _ in
                if head.contains("/healthz") {
                    state.checks.add(1, ordering: .relaxed)
                    return state.isWell.load(ordering: .relaxed)
                        ? ScriptedUpstream.ok("") : "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
                }
                state.requests.add(1, ordering: .relaxed)
                return ScriptedUpstream.ok("sick")
            }
            let well = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("well") }
            let check = """
                health_checks: [ { timeout: 30s, interval: 0.02s, unhealthy_threshold: 1, healthy_threshold: 1, \
                no_traffic_interval: 0.02s, http_health_check: { path: /healthz } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [sick.port, well.port], check), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            while state.checks.load(ordering: .relaxed) < 3 { _ = try await client.get("/") }
            // An answer that was sent is not yet one that was judged.
            try await until { try await Admin.stat(proxy, "cluster.backend.membership_healthy", on: loop) == 1 }
            let before = state.requests.load(ordering: .relaxed)
            for _ in 0..<20 { #expect(try await client.get("/").body == "well") }
            #expect(state.requests.load(ordering: .relaxed) == before)
            state.isWell.store(true, ordering: .relaxed)
            try await until { try await client.get("/").body == "sick" }
        }
    }

    private final class HealthState: Sendable {
        let isWell = Atomic<Bool>(false)
        let checks = Atomic<Int>(0)
        let requests = Atomic<Int>(0)
    }

    @Test("a health check sends a body where it has one")
    func payload() async throws {
        try await onLoop { loop in
            let asked = Atomic<Int>(0)
            let upstream = try await ScriptedUpstream(on: loop) { head, body in
                if head.hasPrefix("POST /healthz"), body == "ping", head.lowercased().contains("content-length: 4") {
                    asked.add(1, ordering: .relaxed)
                }
                return ScriptedUpstream.ok("ok")
            }
            func check(_ method: String) -> String {
                """
                health_checks: [ { timeout: 30s, interval: 0.02s, unhealthy_threshold: 1, healthy_threshold: 1, \
                no_traffic_interval: 0.02s, http_health_check: { path: /healthz, method: \(method), send: { text: 70696e67 }, \
                receive: [ { text: 6f6b } ] } } ]
                """
            }
            func yaml(_ method: String) -> String {
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port], check(method)), admin: true)
            }
            let proxy = try await RunningProxy.start(yaml("POST"))
            defer { proxy.stop() }
            try await until { asked.load(ordering: .relaxed) > 0 }
            try await until {
                let count = try await Admin.stat(proxy, "cluster.backend.health_check.success", on: loop)
                return (count ?? 0) > 0
            }
            var options = Options()
            options.configYAML = yaml("GET")
            #expect { _ = try ProxyServer.validate(options) } throws: {
                "\($0)".contains("http_health_check.send: a request of method GET has no body")
            }
        }
    }
}
