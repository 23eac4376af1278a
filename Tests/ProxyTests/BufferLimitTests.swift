import IO
import Synchronization
import Testing

@testable import Proxy

@Suite("per_connection_buffer_limit_bytes")
struct BufferLimitTests {
    @Test("what a listener says counts for everything that waits; 0 and nothing leave the usual bounds")
    func bounds() {
        let usual = BufferLimits(listener: nil, usesEnvoyDefaults: false)
        #expect(usual == BufferLimits(listener: 0, usesEnvoyDefaults: false))
        #expect(usual.wire == Limits.bufferBytes && usual.held == Limits.filterBufferBytes)
        #expect(usual.retry == Limits.retryBufferBytes)
        let small = BufferLimits(listener: 1000, usesEnvoyDefaults: false)
        #expect(small.wire == 1000 && small.held(.http11) == 1000 && small.retry(.http11) == 1000)
        // As Envoy: on HTTP/2 the bound of what is kept is the stream's.
        #expect(small.held(.http2) == Limits.filterBufferBytes && small.retry(.http2) == Limits.retryBufferBytes)
        #expect(BufferLimits(listener: nil, usesEnvoyDefaults: true).retry == Limits.filterBufferBytes)
        #expect(BufferLimits.wire(cluster: nil) == Limits.bufferBytes && BufferLimits.wire(cluster: 7) == 7)
    }

    private func run(
        _ limit: Int, filters: String = "", routes: String = Yaml.forward(),
        answer: @escaping @Sendable (String, String) -> String,
        _ body: @escaping @Sendable (Wire) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, answering: answer)
            let listener = Yaml.listener(filters: filters, routes: routes).replacing(
                "    filter_chains:\n", with: "    per_connection_buffer_limit_bytes: \(limit)\n    filter_chains:\n")
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: listener,
                    clusters: Yaml.cluster("backend", [upstream.port], "per_connection_buffer_limit_bytes: 700")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(client)
        }
    }

    private static func post(_ size: Int) -> String {
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: \(size)\r\n\r\n" + String(repeating: "x", count: size)
    }

    @Test("a filter that keeps more of a body gets 413, of a response 500")
    func filters() async throws {
        let filters = FakeFilters.entry("limit.keeps") { _ in
            let filter = FakeFilter("keeps", FakeFilter.Trace(), [.requestBody, .responseHead, .responseBody])
            filter.onResponseHead = { _, _ in .stop }
            filter.onRequestBody = { _, _, _, isEnd in isEnd ? .next : .hold }
            filter.onResponseBody = { _, _, _, isEnd in isEnd ? .next : .hold }
            return filter
        }
        try await run(
            1000, filters: filters,
            answer: { _, body in
                ScriptedUpstream.ok(String(repeating: "y", count: body.count == 1 ? 2000 : body.count))
            }
        ) { client in
            try await client.write(Self.post(900))
            #expect(try await client.response().body.count == 900)
            try await client.write(Self.post(1))
            #expect(try await client.response().status == 500)
        }
        try await run(1000, filters: filters, answer: { _, _ in ScriptedUpstream.ok("") }) { client in
            try await client.write(Self.post(2000))
            #expect(try await client.response().status == 413)
        }
    }

    @Test("a body above it is not sent again, and passes all the same")
    func retries() async throws {
        let routes = Yaml.forward("backend", "retry_policy: { retry_on: 5xx, num_retries: 1 }, timeout: 30s")
        for (size, tries) in [(500, 2), (5000, 1)] {
            let count = Counted()
            try await run(
                1000, routes: routes,
                answer: { _, body in
                    count.add()
                    #expect(body.count == size)
                    return "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n"
                }
            ) { client in
                try await client.write(Self.post(size))
                #expect(try await client.response().status == 503)
            }
            #expect(count.value == tries, "\(size) bytes")
        }
    }
}

/// A number that upstreams of tests raise.
final class Counted: Sendable {
    private let number = Mutex(0)
    var value: Int { number.withLock { $0 } }
    func add() { number.withLock { $0 += 1 } }
}
