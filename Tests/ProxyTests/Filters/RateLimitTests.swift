import EnvoyAPI
import HTTP
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

@Suite("Filters: ratelimit")
struct RateLimitTests {
    static let name = "envoy.filters.http.ratelimit"

    static func filter(_ fields: String = "") -> (name: String, config: String) {
        (
            name,
            FilterScene.any(
                "envoy.extensions.filters.http.ratelimit.v3.RateLimit",
                """
                domain: books, timeout: 5s, rate_limit_service: { transport_api_version: V3, \
                grpc_service: { envoy_grpc: { cluster_name: service } } }\(fields.isEmpty ? "" : ", " + fields)
                """)
        )
    }

    static let routes = Yaml.forward(
        "backend",
        """
        rate_limits: [ { actions: [ { request_headers: { header_name: x-user, descriptor_key: user } } ] }, \
        { actions: [ { generic_key: { descriptor_value: none } } ] }, \
        { stage: 1, actions: [ { generic_key: { descriptor_value: other } } ] } ]
        """)

    static func verdict(
        _ code: RateLimitResponse.Code, _ change: (inout RateLimitResponse) -> Void = { _ in }
    ) -> CallScene.Answer {
        var response = RateLimitResponse()
        response.overallCode = code
        change(&response)
        return .message(response.serialized())
    }

    static func field(_ key: String, _ value: String) -> HeaderValue {
        var field = HeaderValue()
        field.key = key
        field.value = value
        return field
    }

    static func status(limit: UInt32, left: UInt32, reset: Int) -> RateLimitResponse.DescriptorStatus {
        var status = RateLimitResponse.DescriptorStatus()
        var current = RateLimitResponse.RateLimit()
        current.requestsPerUnit = limit
        current.unit = .minute
        current.name = "per-user"
        status.currentLimit = current
        status.limitRemaining = left
        status.durationUntilReset = .seconds(reset)
        return status
    }

    @Test("the descriptors of the stage are sent; an answer of OK lets the request pass with its headers")
    func allowed() async throws {
        let asked = Mutex<[RateLimitRequest]>([])
        try await CallScene.run(
            [Self.filter("enable_x_ratelimit_headers: DRAFT_VERSION_03")], routes: Self.routes,
            answer: { path, message in
                #expect(path == "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit")
                if let request = try? RateLimitRequest(serialized: message) { asked.withLock { $0.append(request) } }
                return Self.verdict(.ok) { response in
                    response.responseHeadersToAdd = [Self.field("x-rl", "1")]
                    response.requestHeadersToAdd = [Self.field("x-rl-up", "1")]
                    response.statuses = [
                        Self.status(limit: 10, left: 9, reset: 30), Self.status(limit: 5, left: 2, reset: 7),
                    ]
                }
            }
        ) { scene async throws in
            let response = try await scene.client.get("/", "X-User: jason\r\n")
            #expect(response.status == 200)
            #expect(response.field("x-rl") == "1")
            #expect(response.body.contains("x-rl-up: 1"))
            #expect(response.field("x-ratelimit-limit") == "5, 10;w=60;name=\"per-user\", 5;w=60;name=\"per-user\"")
            #expect(response.field("x-ratelimit-remaining") == "2")
            #expect(response.field("x-ratelimit-reset") == "7")
            let request = asked.withLock { $0.first }
            #expect(request?.domain == "books")
            #expect(
                request?.descriptors.map { $0.entries.map { "\($0.key)=\($0.value)" } } == [
                    ["user=jason"], ["generic_key=none"],
                ])
            #expect(try await scene.stat("cluster.backend.ratelimit.ok") == 1)
        }
    }

    @Test("over the limit is 429 with the service's body and headers, and RESOURCE_EXHAUSTED for gRPC where asked")
    func limited() async throws {
        try await CallScene.run(
            [Self.filter("rate_limited_as_resource_exhausted: true")], routes: Self.routes,
            answer: { _, _ in
                Self.verdict(.overLimit) { response in
                    response.rawBody = Array("slow down".utf8)
                    response.responseHeadersToAdd = [Self.field("x-rl", "1")]
                }
            }
        ) { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.status == 429)
            #expect(response.body == "slow down")
            #expect(response.field("x-envoy-ratelimited") == "true")
            #expect(response.field("x-rl") == "1")
            let grpc = try await scene.client.get("/", "Content-Type: application/grpc\r\n")
            #expect(grpc.field("grpc-status") == "8")
            #expect(scene.upstream.requests == 0)
            #expect(try await scene.stat("cluster.backend.ratelimit.over_limit") == 2)
            #expect(try await scene.stat("cluster.backend.upstream_rq_429") == 2)
        }
    }

    @Test("a service that fails lets requests pass, or answers 500 where failure_mode_deny says so")
    func failure() async throws {
        try await CallScene.run([Self.filter()], routes: Self.routes, answer: { _, _ in .status(14) }) {
            scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("cluster.backend.ratelimit.error") == 1)
            #expect(try await scene.stat("cluster.backend.ratelimit.failure_mode_allowed") == 1)
        }
        try await CallScene.run(
            [Self.filter("failure_mode_deny: true")], routes: Self.routes, answer: { _, _ in .reset }
        ) { scene async throws in
            #expect(try await scene.client.get("/").status == 500)
        }
    }

    @Test("without descriptors of the stage nobody is asked, and a route's option leaves the virtual host's out")
    func notAsked() async throws {
        try await CallScene.run([Self.filter("stage: 2")], routes: Self.routes, answer: { _, _ in .status(14) }) {
            scene async throws in
            #expect(try await scene.client.get("/", "X-User: a\r\n").status == 200)
            #expect(scene.service.connections == 0)
        }
    }

    @Test("a rule that counts at the end is told when the stream ends, and refuses nobody")
    func atEnd() async throws {
        let asked = Mutex<[RateLimitRequest]>([])
        let routes = Yaml.forward(
            "backend",
            """
            rate_limits: [ { apply_on_stream_done: true, hits_addend: { format: "%BYTES_SENT%" }, \
            actions: [ { generic_key: { descriptor_value: sent } } ] } ]
            """)
        try await CallScene.run(
            [Self.filter()], routes: routes,
            answer: { _, message in
                if let request = try? RateLimitRequest(serialized: message) { asked.withLock { $0.append(request) } }
                return Self.verdict(.overLimit)
            }
        ) { scene async throws in
            let response = try await scene.client.get("/")
            #expect(response.status == 200)
            try await until { try await scene.stat("cluster.service.upstream_rq_200") == 1 }
            let hits = asked.withLock { $0.first?.descriptors.first?.hitsAddend }
            #expect(hits == UInt64(response.body.utf8.count))
        }
    }
}
