import EnvoyAPI
import IO
import Serialization
import Synchronization
import Testing

@testable import Proxy

@Suite("Streams of calls that begin again")
struct StreamRetryTests {
    private static let type = "envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor"

    private static var filter: (name: String, config: String) {
        (
            "processor",
            FilterScene.any(
                type,
                """
                grpc_service: { envoy_grpc: { cluster_name: service }, retry_policy: { num_retries: 2, \
                retry_on: "5xx,unavailable", retry_back_off: { base_interval: 0.001s, max_interval: 0.002s } } }, \
                message_timeout: 30s, processing_mode: { response_header_mode: SKIP }
                """)
        )
    }

    /// An answer that puts a field into the request.
    private static func answer(_ message: [UInt8]) -> CallScene.Answer {
        guard let request = try? ProcessingRequest(serialized: message), case .requestHeaders? = request.request else {
            return .status(3)
        }
        let answer = ExtProcTests.answer(request, head: ExtProcTests.common(ExtProcTests.set(("x-by", "processor"))))
        guard case .message(let response) = answer else { return .status(3) }
        return .message(response.serialized())
    }

    /// What `answers` are for each try, and the status that the client gets.
    private static func run(
        _ script: [CallScene.Answer?], _ body: @escaping @Sendable (CallScene, _ tries: () -> Int) async throws -> Void
    ) async throws {
        let tries = Mutex(0)
        try await CallScene.run([filter]) { _, message in
            let index = tries.withLock { count in
                count += 1
                return count - 1
            }
            return (index < script.count ? script[index] : nil) ?? answer(message)
        } _: { scene in
            try await body(scene) { tries.withLock { $0 } }
        }
    }

    @Test("a stream that fails before it is answered begins again with what was said, and the request goes on")
    func again() async throws {
        try await Self.run([.status(14), .reset]) { scene, tries async throws in
            let answer = try await scene.client.get("/")
            #expect(answer.status == 200 && answer.body.contains("x-by: processor"))
            #expect(tries() == 3)
            #expect(try await scene.stat("cluster.service.upstream_rq_retry") == 2)
            #expect(try await scene.stat("cluster.service.upstream_rq_retry_success") == 1)
            #expect(try await scene.stat("http.ingress.ext_proc.streams_started") == 1)
            #expect(try await scene.stat("http.ingress.ext_proc.streams_failed") == 0)
        }
    }

    @Test("tries have an end, and a status that is not named is no reason for another one")
    func ends() async throws {
        try await Self.run([.status(14), .status(14), .status(14)]) { scene, tries async throws in
            #expect(try await scene.client.get("/").status == 500)
            #expect(tries() == 3)
            #expect(try await scene.stat("cluster.service.upstream_rq_retry") == 2)
            #expect(try await scene.stat("http.ingress.ext_proc.streams_failed") == 1)
        }
        try await Self.run([.status(3)]) { scene, tries async throws in
            #expect(try await scene.client.get("/").status == 500)
            #expect(tries() == 1)
        }
    }

    @Test("a request that ends between two tries ends them")
    func givenUp() async throws {
        try await Self.run(Array(repeating: .hang, count: 3)) { scene, tries async throws in
            let other = try await Wire.connect(to: scene.proxy.address, on: scene.loop)
            try await other.write("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            for _ in 0..<300 where tries() == 0 { await scene.loop.sleep(for: .milliseconds(100)) }
            other.close()
            var active: Int?
            for _ in 0..<300 {
                active = try await scene.stat("cluster.service.upstream_rq_active")
                if active == 0 { break }
                await scene.loop.sleep(for: .milliseconds(100))
            }
            #expect(tries() == 1)
            #expect(active == 0)
        }
    }
}
