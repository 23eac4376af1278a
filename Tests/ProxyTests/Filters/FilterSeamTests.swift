import HTTP
import IO
import Synchronization
import Testing

@testable import Proxy

@Suite("Filters: the walk through them")
struct FilterSeamTests {
    /// What the upstream got of each request, and a proxy whose chain is `filters`.
    private func run(
        _ filters: String,
        answer: @escaping @Sendable (String, String) -> String = { _, body in ScriptedUpstream.ok("got \(body)") },
        _ body: @escaping @Sendable (Wire, EventLoop) async throws -> Void
    ) async throws {
        try await onLoop { loop in
            let upstream = try await ScriptedUpstream(on: loop, answering: answer)
            let proxy = try await RunningProxy.start(
                Yaml.bootstrap(
                    listeners: Yaml.listener(
                        manager: "http_protocol_options: { enable_trailers: true }", filters: filters,
                        routes: Yaml.forward()),
                    clusters: Yaml.cluster(
                        "backend", [upstream.port], "http_protocol_options: { enable_trailers: true }")))
            defer { proxy.stop() }
            let client = try await Wire.connect(to: proxy.address, on: loop)
            try await body(client, loop)
        }
    }

    /// Passes 16 KiB on each millisecond.
    private static func tick(_ stream: HTTPStream, _ filter: FakeFilter) {
        _ = stream.worker.schedule(after: .milliseconds(1)) {
            guard !stream.isFinished else { return }
            stream.passHeld(.response, filter, bytes: 16384)
            tick(stream, filter)
        }
    }

    private static let chunks = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

    @Test("requests pass the filters as configured, responses the other way round")
    func order() async throws {
        let trace = FakeFilter.Trace()
        let all: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody]
        let filters =
            FakeFilters.entry("order.a") { _ in FakeFilter("a", trace, all) }
            + FakeFilters.entry("order.b") { _ in FakeFilter("b", trace, all) }
        try await run(filters) { client, _ in
            try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            #expect(try await client.response().body == "got hi")
        }
        #expect(
            trace.all.filter { !$0.contains("end") } == [
                "a head", "b head", "a hi", "b hi", "b response 200", "a response 200", "b response got hi",
                "a response got hi",
            ])
        #expect(trace.all.filter { $0.hasSuffix("ended") }.count == 2)
    }

    @Test("stop: later filters wait, pieces still come to the filter, and all goes on in order")
    func stop() async throws {
        let trace = FakeFilter.Trace()
        let filters =
            FakeFilters.entry("stop.a") { _ in
                let filter = FakeFilter("a", trace, [.requestHead, .requestBody])
                filter.onRequestHead = { _, _ in .stop }
                filter.onRequestBody = { stream, filter, chunk, isEnd in
                    if isEnd { _ = stream.worker.schedule(after: .milliseconds(1)) { stream.resumeRequest(filter) } }
                    return .hold
                }
                return filter
            } + FakeFilters.entry("stop.b") { _ in FakeFilter("b", trace, [.requestHead, .requestBody]) }
        try await run(filters) { client, loop in
            try await client.write(Self.chunks + "3\r\none\r\n")
            try await until { trace.all.contains("a one") }
            #expect(!trace.all.contains("b head"))
            try await client.write("3\r\ntwo\r\n0\r\n\r\n")
            #expect(try await client.response().body == "got onetwo")
        }
        #expect(trace.all.filter { $0.hasPrefix("b") } == ["b head", "b onetwo", "b end", "b ended"])
    }

    @Test("stopAll: the body stands before the filter, and is shown to it when it goes on")
    func stopAll() async throws {
        let trace = FakeFilter.Trace()
        let filters = FakeFilters.entry("all.a") { _ in
            let filter = FakeFilter("a", trace, [.requestHead, .requestBody])
            filter.onRequestHead = { stream, filter in
                _ = stream.worker.schedule(after: .milliseconds(30)) {
                    trace.add("a goes on")
                    stream.resumeRequest(filter)
                }
                return .stopAll
            }
            return filter
        }
        try await run(filters) { client, _ in
            try await client.write("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
            #expect(try await client.response().body == "got hi")
        }
        #expect(trace.all == ["a head", "a goes on", "a hi", "a end", "a ended"])
    }

    @Test("hold: the body goes on whole with the answer `next`, as the filter left its last piece")
    func hold() async throws {
        let trace = FakeFilter.Trace()
        let filters =
            FakeFilters.entry("hold.a") { _ in
                let filter = FakeFilter("a", trace, [.requestHead, .requestBody])
                filter.onRequestBody = { _, _, chunk, isEnd in
                    guard isEnd else { return .hold }
                    chunk.replace(with: chunk.copy + Array("!".utf8))
                    return .next
                }
                return filter
            } + FakeFilters.entry("hold.b") { _ in FakeFilter("b", trace, [.requestBody]) }
        try await run(filters) { client, loop in
            try await client.write(Self.chunks + "3\r\none\r\n")
            try await until { trace.all.contains("a one") }
            try await client.write("3\r\ntwo\r\n0\r\n\r\n")
            #expect(try await client.response().body == "got onetwo!")
        }
        #expect(trace.all.filter { $0.hasPrefix("b") } == ["b onetwo!", "b end", "b ended"])
    }

    @Test("two filters hold at once, each its own part, and both let go")
    func twoHold() async throws {
        let trace = FakeFilter.Trace()
        let filters =
            FakeFilters.entry("two.a") { _ in
                let filter = FakeFilter("a", trace, [.requestBody])
                filter.onRequestBody = { _, _, chunk, isEnd in
                    // Lets go of the first piece at once and keeps the others.
                    chunk.copy.elementsEqual("one".utf8) || isEnd ? .next : .hold
                }
                return filter
            }
            + FakeFilters.entry("two.b") { _ in
                let filter = FakeFilter("b", trace, [.requestBody])
                filter.onRequestBody = { _, _, _, isEnd in isEnd ? .next : .hold }
                return filter
            }
        try await run(filters) { client, loop in
            try await client.write(Self.chunks + "3\r\none\r\n")
            try await until { trace.all.contains("b one") }
            try await client.write("3\r\ntwo\r\n")
            try await until { trace.all.contains("a two") }
            #expect(!trace.all.contains("b two"))
            try await client.write("5\r\nthree\r\n0\r\n\r\n")
            #expect(try await client.response().body == "got onetwothree")
        }
    }

    @Test("drop: the pieces are gone, the end stays")
    func drop() async throws {
        let trace = FakeFilter.Trace()
        let filters = FakeFilters.entry("drop.a") { _ in
            let filter = FakeFilter("a", trace, [.requestBody])
            filter.onRequestBody = { _, _, _, _ in .drop }
            return filter
        }
        try await run(filters) { client, _ in
            try await client.write(Self.chunks + "3\r\none\r\n0\r\n\r\n")
            #expect(try await client.response().body == "got ")
        }
    }

    @Test("trailers: changed on their way, and made where there were none")
    func trailers() async throws {
        let trace = FakeFilter.Trace()
        let filters = FakeFilters.entry("trailers.a") { _ in
            let filter = FakeFilter("a", trace, [.responseHead, .responseBody, .responseTrailers])
            filter.onResponseTrailers = { trailers in
                trailers.remove(named: "x-secret")
                try? trailers.append("x-seen", "yes")
            }
            filter.onResponseBody = { stream, _, _, isEnd in
                if isEnd, stream.responseFilters.trailers == nil {
                    var made = HeaderTable()
                    try? made.append("x-made", "1")
                    stream.responseFilters.trailers = made
                }
                return .next
            }
            return filter
        }
        try await run(
            filters,
            answer: { head, _ in
                head.contains("GET /with ")
                    ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-secret: 1\r\nx-kept: 2\r\n\r\n"
                    : "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
            }
        ) { client, _ in
            for (path, expected) in [
                ("/with", ["x-kept: 2", "x-seen: yes"]), ("/without", ["x-made: 1", "x-seen: yes"]),
            ] {
                try await client.write("GET \(path) HTTP/1.1\r\nHost: a\r\nTE: trailers\r\n\r\n")
                _ = try await client.read(until: "\r\n\r\n")
                let rest = try await client.read(until: "\r\n\r\n")
                for line in expected { #expect(rest.contains(line + "\r\n")) }
                #expect(!rest.contains("x-secret"))
            }
        }
    }

    @Test("a reply that a filter of the response makes reaches the client without the other filters")
    func replyFromResponse() async throws {
        let trace = FakeFilter.Trace()
        let filters =
            FakeFilters.entry("reply.a") { _ in FakeFilter("a", trace, [.responseHead, .responseBody]) }
            + FakeFilters.entry("reply.b") { _ in
                let filter = FakeFilter("b", trace, [.responseHead])
                filter.onResponseHead = { stream, _ in
                    stream.localReply(status: 418, body: "no", details: "test")
                    return .stop
                }
                return filter
            }
        try await run(filters) { client, _ in
            let response = try await client.get("/")
            #expect(response.status == 418)
            #expect(response.body == "no")
        }
        #expect(!trace.all.contains("a response 200"))
    }

    @Test("wait: the response trickles as the filter passes it on, and a slow filter pauses the upstream")
    func wait() async throws {
        let trace = FakeFilter.Trace()
        let size = 3 * Limits.bufferBytes
        let most = Mutex(0)
        let filters = FakeFilters.entry("wait.a") { _ in
            let filter = FakeFilter("a", trace, [.responseBody])
            filter.onResponseBody = { stream, filter, _, isEnd in
                if !filter.isTicking {
                    filter.isTicking = true
                    Self.tick(stream, filter)
                }
                most.withLock { $0 = max($0, stream.responseFilters.heldBytes) }
                return .wait
            }
            return filter
        }
        try await run(filters, answer: { _, _ in ScriptedUpstream.ok(String(repeating: "x", count: size)) }) {
            client, _ in
            let response = try await client.get("/")
            #expect(response.body.utf8.count == size)
        }
        // One read may arrive beyond the mark.
        #expect(most.withLock { $0 } < 2 * Limits.bufferBytes)
    }

    @Test("resuming a response that a filter stopped sends head and body in order")
    func resumeResponse() async throws {
        let trace = FakeFilter.Trace()
        let filters = FakeFilters.entry("resume.a") { _ in
            let filter = FakeFilter("a", trace, [.responseHead])
            filter.onResponseHead = { stream, filter in
                _ = stream.worker.schedule(after: .milliseconds(20)) {
                    stream.response.status = 299
                    stream.resumeResponse(filter)
                }
                return .stopAll
            }
            return filter
        }
        try await run(filters) { client, _ in
            let response = try await client.get("/")
            #expect(response.status == 299)
            #expect(response.body == "got ")
        }
    }

    @Test("ATK-05 a body larger than filters may keep is 413, and the filter never sees its end")
    func tooLarge() async throws {
        let trace = FakeFilter.Trace()
        let filters = FakeFilters.entry("large.a") { _ in
            let filter = FakeFilter("a", trace, [.requestBody])
            filter.onRequestBody = { stream, _, _, isEnd in
                stream.requestFilters.heldBytesMax = 100
                return isEnd ? .next : .hold
            }
            return filter
        }
        try await run(filters) { client, _ in
            try await client.write(Self.chunks + "65\r\n\(String(repeating: "x", count: 101))\r\n")
            #expect(try await client.response().status == 413)
        }
        #expect(!trace.all.contains("a end"))
    }
}
