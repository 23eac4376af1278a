import IO
import Testing

@testable import Proxy

@Suite("Filters: fault")
struct FaultFilterTests {
    private static let type = "envoy.extensions.filters.http.fault.v3.HTTPFault"

    @Test("headers ask for a delay and an abort, and both are counted, also by the client's cluster")
    func headers() async throws {
        let config = FilterScene.any(
            Self.type,
            "delay: { header_delay: {}, percentage: { numerator: 100 } }, abort: { header_abort: {}, percentage: { numerator: 100 } }"
        )
        try await FilterScene.run([("fault", config)]) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            let start = MonotonicTime.now
            let response = try await scene.client.get(
                "/",
                "x-envoy-fault-delay-request: 200\r\nx-envoy-fault-abort-request: 418\r\nx-envoy-downstream-service-cluster: web\r\n"
            )
            #expect(response.status == 418)
            #expect(response.body == "fault filter abort")
            // A loop counts from the beginning of its pass: on a busy machine that is earlier than `start`.
            #expect(MonotonicTime.now - start >= .milliseconds(50))
            #expect(try await scene.stat("http.ingress.fault.delays_injected") == 1)
            #expect(try await scene.stat("http.ingress.fault.aborts_injected") == 1)
            #expect(try await scene.stat("http.ingress.fault.web.aborts_injected") == 1)
            #expect(try await scene.stat("http.ingress.fault.active_faults") == 0)
        }
    }

    @Test("a gRPC abort of a gRPC request is trailers-only with that status")
    func grpc() async throws {
        let config = FilterScene.any(
            Self.type, "abort: { grpc_status: 8, percentage: { numerator: 100 } }")
        try await FilterScene.run([("fault", config)]) { scene async throws in
            let response = try await scene.client.get("/", "content-type: application/grpc\r\n")
            #expect(response.status == 200)
            #expect(response.field("grpc-status") == "8")
            #expect(response.field("grpc-message") == "fault filter abort")
        }
    }

    @Test("max_active_faults: what is beyond passes and is counted")
    func overflow() async throws {
        let config = FilterScene.any(
            Self.type, "max_active_faults: 0, abort: { http_status: 503, percentage: { numerator: 100 } }")
        try await FilterScene.run([("fault", config)]) { scene async throws in
            #expect(try await scene.client.get("/").status == 200)
            #expect(try await scene.stat("http.ingress.fault.faults_overflow") == 1)
        }
    }

    @Test("a response rate limit lets the body trickle, whole and in order")
    func rate() async throws {
        let config = FilterScene.any(
            Self.type, "response_rate_limit: { fixed_limit: { limit_kbps: 40 }, percentage: { numerator: 100 } }")
        let text = (0..<1000).map { "\($0) " }.joined()
        try await FilterScene.run([("fault", config)], answer: { _, _ in ScriptedUpstream.ok(text) }) {
            scene async throws in
            let start = MonotonicTime.now
            #expect(try await scene.client.get("/").body == text)
            // 2 KiB at once, the rest at 2 KiB each 50 ms.
            #expect(MonotonicTime.now - start >= .milliseconds(20))
            #expect(try await scene.stat("http.ingress.fault.response_rl_injected") == 1)
        }
    }
}
