import IO
import Proxy
import Synchronization
import Testing

/// What a scripted upstream has seen.
private final class Seen: Sendable {
    private let list = Mutex<[String]>([])
    var all: [String] { list.withLock { $0 } }
    func add(_ text: String) { list.withLock { $0.append(text) } }
}

@Suite("Mirrors, hedges, internal redirects, aggregates, subsets")
struct RouterMoreTests {
    @Test("H-16 a mirrored request goes to both clusters with its body; the client sees only the first answer")
    func mirror() async throws {
        try await onLoop { loop in
            let seen = Seen()
            let main = try await ScriptedUpstream(on: loop) { _, body in ScriptedUpstream.ok("main \(body)") }
            let shadow = try await ScriptedUpstream(on: loop) { head, body in
                seen.add(head + body)
                return "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes: Yaml.forward("backend", "request_mirror_policies: [ { cluster: shadow } ]")),
                    clusters: Yaml.cluster("backend", [main.port]) + Yaml.cluster("shadow", [shadow.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("POST /x HTTP/1.1\r\nHost: a.com:81\r\nContent-Length: 5\r\n\r\nhello")
            let response = try await client.response()
            #expect(response.status == 200 && response.body == "main hello")
            try await until { seen.all.count == 1 }
            let copy = seen.all.first ?? ""
            #expect(copy.hasPrefix("POST /x "))
            #expect(copy.lowercased().contains("host: a.com-shadow:81"))
            #expect(copy.hasSuffix("hello"))
        }
    }

    @Test("hedging: a slow first try is joined by a second, whose answer wins")
    func hedge() async throws {
        try await onLoop { loop in
            let first = Atomic<Bool>(true)
            let backend = try await ScriptedUpstream(on: loop) { wire, _ in
                while true {
                    let request = try await wire.request()
                    if first.exchange(false, ordering: .relaxed) { await loop.sleep(for: .seconds(20)) }
                    try await wire.write(ScriptedUpstream.ok("second \(request.body)"))
                }
            }
            let policy = """
                timeout: 10s, hedge_policy: { hedge_on_per_try_timeout: true }, \
                retry_policy: { retry_on: "5xx", num_retries: 2, per_try_timeout: 0.1s }
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward("backend", policy)),
                    clusters: Yaml.cluster("backend", [backend.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            let response = try await client.response()
            #expect(response.status == 200 && response.body == "second hi")
            #expect(try await client.get("/").status == 200)
        }
    }

    @Test("an upstream silent within a try for too long is 504 with the details of a per-try idle timeout")
    func perTryIdle() async throws {
        try await onLoop { loop in
            let backend = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                await loop.sleep(for: .seconds(20))
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes: Yaml.forward(
                            "backend", "retry_policy: { retry_on: reset, num_retries: 0, per_try_idle_timeout: 0.05s }")
                    ),
                    clusters: Yaml.cluster("backend", [backend.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/")
            #expect(response.status == 504 && response.body == "stream timeout")
        }
    }

    @Test("a redirect within the policy is followed by the proxy, one beyond it is delivered")
    func internalRedirect() async throws {
        try await onLoop { loop in
            let seen = Seen()
            let first = try await ScriptedUpstream(on: loop) { head, _ in
                let target = head.hasPrefix("GET /far") ? "http://other/again" : "http://other/there?x=1"
                return "HTTP/1.1 302 Found\r\nLocation: \(target)\r\nContent-Length: 0\r\n\r\n"
            }
            let second = try await ScriptedUpstream(on: loop) { head, _ in
                seen.add(head)
                if head.hasPrefix("GET /again") {
                    return "HTTP/1.1 302 Found\r\nLocation: /more\r\nContent-Length: 0\r\n\r\n"
                }
                return ScriptedUpstream.ok("there")
            }
            let routes = """
                [ { match: { prefix: "/", headers: [ { name: ":authority", string_match: { exact: other } } ] }, \
                route: { cluster: second, internal_redirect_policy: {} } }, \
                { match: { prefix: "/" }, route: { cluster: first, internal_redirect_policy: {} } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes),
                    clusters: Yaml.cluster("first", [first.port]) + Yaml.cluster("second", [second.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let followed = try await client.get("/here")
            #expect(followed.status == 200 && followed.body == "there")
            let head = seen.all.first ?? ""
            #expect(head.hasPrefix("GET /there?x=1 "))
            #expect(head.lowercased().contains("host: other"))
            #expect(head.lowercased().contains("x-envoy-original-url: http://test/here"))
            let delivered = try await client.get("/far")
            #expect(delivered.status == 302 && delivered.field("location") == "/more")
        }
    }

    @Test("an aggregate goes to its first cluster while that has hosts that can take requests, then to the next")
    func aggregate() async throws {
        try await onLoop { loop in
            let bad = try await ScriptedUpstream(on: loop) { _, _ in
                "HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
            }
            let good = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("good") }
            let aggregate = """
                  - name: all
                    connect_timeout: 1s
                    lb_policy: CLUSTER_PROVIDED
                    cluster_type:
                      name: envoy.clusters.aggregate
                      typed_config:
                        "@type": type.googleapis.com/envoy.extensions.clusters.aggregate.v3.ClusterConfig
                        clusters: [ one, two ]

                """
            let outlier = """
                common_lb_config: { healthy_panic_threshold: { value: 0 } }
                    outlier_detection: { consecutive_5xx: 1, max_ejection_percent: 100, base_ejection_time: 100s }
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward("all")),
                    clusters: aggregate + Yaml.cluster("one", [bad.port], outlier)
                        + Yaml.cluster("two", [good.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 500)
            #expect(try await client.get("/").body == "good")
        }
    }

    @Test("a route's metadata_match chooses the subset; a header names the original destination")
    func subsetsAndDestinations() async throws {
        try await onLoop { loop in
            let one = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("one") }
            let two = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("two") }
            func endpoint(_ port: UInt16, _ version: String) -> String {
                "{ endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: \(port) } } }, metadata: { filter_metadata: { envoy.lb: { version: \(version) } } } }"
            }
            let clusters = """
                  - name: versions
                    type: STATIC
                    lb_subset_config: { subset_selectors: [ { keys: [ version ] } ] }
                    load_assignment: { cluster_name: versions, endpoints: [ { lb_endpoints: [ \(endpoint(one.port, "v1")), \(endpoint(two.port, "v2")) ] } ] }
                  - name: original
                    type: ORIGINAL_DST
                    lb_policy: CLUSTER_PROVIDED
                    original_dst_lb_config: { use_http_header: true }

                """
            func route(_ version: String) -> String {
                "{ match: { prefix: \"/\(version)\" }, route: { cluster: versions, metadata_match: { filter_metadata: { envoy.lb: { version: \(version) } } } } }"
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        routes:
                            "[ \(route("v1")), \(route("v2")), \(route("v3")), { match: { prefix: \"/\" }, route: { cluster: original } } ]"
                    ),
                    clusters: clusters))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<5 {
                #expect(try await client.get("/v1").body == "one")
                #expect(try await client.get("/v2").body == "two")
            }
            #expect(try await client.get("/v3").status == 503)
            try await client.write(
                "GET / HTTP/1.1\r\nHost: a\r\nx-envoy-original-dst-host: 127.0.0.1:\(two.port)\r\n\r\n")
            #expect(try await client.response().body == "two")
            #expect(try await client.get("/").status == 503)
            try await client.write("GET / HTTP/1.1\r\nHost: a\r\nx-envoy-original-dst-host: nonsense\r\n\r\n")
            #expect(try await client.response().status == 503)
        }
    }
}

@Suite("Cluster counters and health")
struct ClusterHealthTests {
    @Test("T-9 circuit breakers count for the whole process: two loops together hold one limit")
    func sharedBreakers() async throws {
        try await onLoop { loop in
            let backend = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                await loop.sleep(for: .seconds(20))
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster(
                        "backend", [backend.port], "circuit_breakers: { thresholds: [ { max_requests: 3 } ] }")),
                concurrency: 2)
            defer { proxy.stop() }
            let refused = Seen()
            for _ in 0..<12 {
                Task(executorPreference: loop) { [address = proxy.address] in
                    let client = try await Wire.connect(to: address, on: loop)
                    if try await client.get("/").status == 503 { refused.add("503") }
                }
            }
            // Whichever loop took them: three are under way, nine were refused.
            try await until { refused.all.count == 9 && backend.connections >= 3 }
            #expect(backend.connections == 3)
        }
    }

    @Test("ejections, retries and virtual clusters are counted by Envoy's names")
    func counters() async throws {
        try await onLoop { loop in
            let bad = try await ScriptedUpstream(on: loop) { _, _ in "HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n" }
            let more = """
                outlier_detection: { consecutive_5xx: 2, max_ejection_percent: 100, base_ejection_time: 100s }
                """
            let listener = Yaml.listener(
                routes: Yaml.forward(
                    "backend",
                    "retry_policy: { retry_on: 5xx, num_retries: 1, retry_back_off: { base_interval: 0.001s } }")
            ).replacing(
                "domains: [\"*\"]",
                with:
                    "domains: [\"*\"]\n              virtual_clusters: [ { name: gets, headers: [ { name: \":method\", string_match: { exact: GET } } ] } ]"
            )
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(listeners: listener, clusters: Yaml.cluster("backend", [bad.port], more), admin: true))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").status == 503)
            let admin = try await Wire.connect(to: try #require(proxy.admin), on: loop)
            let stats = try await admin.get("/stats").body
            for line in [
                "cluster.backend.retry.upstream_rq_503: 1", "cluster.backend.upstream_rq_retry: 1",
                "cluster.backend.outlier_detection.ejections_enforced_consecutive_5xx: 1",
                "cluster.backend.outlier_detection.ejections_active: 1",
                "vhost.all.vcluster.gets.upstream_rq_503: 1", "cluster.backend.upstream_rq_503: 1",
            ] { #expect(stats.contains(line), "\(line)") }
            let clusters = try await admin.get("/clusters").body
            #expect(clusters.contains("health_flags::/failed_outlier_check"))
        }
    }

    @Test("health checks that look at the body decide who gets requests")
    func checks() async throws {
        try await onLoop { loop in
            let well = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(head.contains("/healthz") ? "all good" : "well")
            }
            let sick = try await ScriptedUpstream(on: loop) { head, _ in
                ScriptedUpstream.ok(head.contains("/healthz") ? "not so" : "sick")
            }
            let check = """
                common_lb_config: { healthy_panic_threshold: { value: 0 } }
                    health_checks: [ { timeout: 1s, interval: 0.05s, no_traffic_interval: 0.05s, unhealthy_threshold: 1, healthy_threshold: 1, http_health_check: { path: /healthz, receive: [ { text: "676f6f64" } ] } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [well.port, sick.port], check)))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await until { try await client.get("/").status == 200 }
            for _ in 0..<10 { #expect(try await client.get("/").body == "well") }
        }
    }
}

extension String {
    fileprivate func replacing(_ part: String, with other: String) -> String {
        guard let range = firstRange(of: part) else { return self }
        return String(self[..<range.lowerBound]) + other + String(self[range.upperBound...])
    }
}
