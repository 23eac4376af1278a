import IO
import Proxy
import Synchronization
import Testing

@Suite("Retries, timeouts, faults")
struct ResilienceTests {
    @Test("a retry goes to another host and the client sees only the success")
    func retryOnStatus() async throws {
        try await onLoop { loop in
            let bad = try await ScriptedUpstream(on: loop) { _, _ in
                "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
            }
            let good = try await ScriptedUpstream(on: loop) { _, body in ScriptedUpstream.ok("good \(body)") }
            let retry = """
                retry_policy: { retry_on: "5xx", num_retries: 3, retry_back_off: { base_interval: 0.001s }, \
                retry_host_predicate: [ { name: envoy.retry_host_predicates.previous_hosts } ], \
                host_selection_retry_max_attempts: 5 }
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward("backend", retry)),
                    clusters: Yaml.cluster("backend", [bad.port, good.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for number in 0..<20 {
                try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n\(10 + number)")
                let response = try await client.response()
                #expect(response.status == 200)
                #expect(response.body == "good \(10 + number)")
            }
            #expect(bad.requests > 0)
        }
    }

    @Test("a connection refused is 503 with Envoy's text, and retried when the policy says so")
    func connectFailure() async throws {
        try await onLoop { loop in
            let dead = try Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0))
            let port = dead.localAddress?.port ?? 0
            dead.close()
            let good = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("good") }
            let routes = """
                [ { match: { prefix: "/dead" }, route: { cluster: dead } }, \
                { match: { prefix: "/" }, route: { cluster: mixed, retry_policy: { retry_on: connect-failure, num_retries: 5, \
                retry_back_off: { base_interval: 0.001s } } } } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: routes),
                    clusters: Yaml.cluster("dead", [port]) + Yaml.cluster("mixed", [port, good.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let refused = try await client.get("/dead")
            #expect(refused.status == 503)
            #expect(
                refused.body.hasPrefix(
                    "upstream connect error or disconnect/reset before headers. reset reason: remote connection failure"
                ))
            for _ in 0..<10 { #expect(try await client.get("/").body == "good") }
        }
    }

    @Test("T-2 the route's timeout answers 504, and the connection lives on")
    func timeout() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                let request = try await wire.request()
                if request.head.contains("/slow") {
                    _ = await wire.readToEnd()
                } else {
                    try await wire.write(ScriptedUpstream.ok("fast"))
                    _ = await wire.readToEnd()
                }
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward("backend", "timeout: 1s")),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let slow = try await client.get("/slow")
            #expect(slow.status == 504)
            #expect(slow.body == "upstream request timeout")
            #expect(try await client.get("/").body == "fast")
        }
    }

    @Test("a per-try timeout is retried and the second try answers")
    func perTryTimeout() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, number in
                _ = try await wire.request()
                if number > 0 { try await wire.write(ScriptedUpstream.ok("second")) }
                _ = await wire.readToEnd()
            }
            let retry = """
                timeout: 5s, retry_policy: { retry_on: reset, num_retries: 2, per_try_timeout: 0.05s, \
                retry_back_off: { base_interval: 0.001s } }
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward("backend", retry)),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "second")
        }
    }

    @Test("an upstream that closes without a byte is 503 with flag UC")
    func termination() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in _ = try await wire.request() }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            let response = try await client.get("/")
            #expect(response.status == 503)
            #expect(
                response.body
                    == "upstream connect error or disconnect/reset before headers. reset reason: connection termination"
            )
        }
    }

    @Test("a kept connection that the upstream closes as we use it costs an idempotent request nothing")
    func keepAliveRace() async throws {
        try await onLoop { loop in
            // Each connection answers one request and closes at the second without a byte.
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                try await wire.write(ScriptedUpstream.ok("answer"))
                _ = try await wire.request()
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            for _ in 0..<10 {
                let response = try await client.get("/")
                #expect(response.status == 200)
                #expect(response.body == "answer")
            }
        }
    }

    @Test("an answer cut off in the middle closes the client's connection instead of looking whole")
    func truncated() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                try await wire.write("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly this")
            }
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()), clusters: Yaml.cluster("backend", [upstream.port])
                ))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try await client.read(until: "\r\n\r\n")
            #expect(await client.readToEnd().utf8.count < 100)
        }
    }

    @Test("H-17 faults delay and abort, whatever the route's timeout")
    func faults() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { _, _ in ScriptedUpstream.ok("through") }
            let filter = """
                          - name: envoy.filters.http.fault
                            typed_config:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                              delay: { fixed_delay: 1.2s, percentage: { numerator: 100 } }
                              headers: [ { name: x-slow, present_match: true } ]
                          - name: second.fault
                            typed_config:
                              "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault
                              abort: { http_status: 555, percentage: { numerator: 100 } }
                              headers: [ { name: x-broken, present_match: true } ]
                """
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(filters: filter, routes: Yaml.forward("backend", "timeout: 1s")),
                    clusters: Yaml.cluster("backend", [upstream.port])))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            #expect(try await client.get("/").body == "through")
            let start = MonotonicTime.now
            #expect(try await client.get("/", "X-Slow: 1\r\n").body == "through")
            #expect(MonotonicTime.now - start >= .seconds(1))
            let broken = try await client.get("/", "X-Broken: 1\r\n")
            #expect(broken.status == 555)
            #expect(broken.body == "fault filter abort")
        }
    }

    @Test("T-9 a full circuit breaker answers 503 with x-envoy-overloaded")
    func overflow() async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop) { wire, _ in
                _ = try await wire.request()
                _ = try await wire.read(until: "never")
            }
            let limits =
                "circuit_breakers: { thresholds: [ { max_connections: 1, max_pending_requests: 1, max_requests: 2 } ] }"
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(routes: Yaml.forward()),
                    clusters: Yaml.cluster("backend", [upstream.port], limits), admin: true))
            defer { proxy.stop() }
            var waiting: [Wire] = []
            var overloaded: Wire.Response?
            while overloaded == nil, waiting.count < 5 {
                let client = try await Wire.connect(to: proxy.address, on: loop)
                try await client.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                waiting.append(client)
                // The first two hold what there is; wait until they have arrived, whatever the order of the sockets.
                if waiting.count == 1 { while upstream.connections == 0 { await loop.sleep(for: .milliseconds(1)) } }
                if waiting.count == 2 {
                    try await until {
                        try await Admin.stat(proxy, "cluster.backend.upstream_rq_pending_active", on: loop) == 1
                    }
                }
                if waiting.count > 2 { overloaded = try await client.response() }
            }
            #expect(overloaded?.status == 503)
            #expect(overloaded?.field("x-envoy-overloaded") == "true")
            #expect(overloaded?.body.contains("overflow") == true)
        }
    }
}
