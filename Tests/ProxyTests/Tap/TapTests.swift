import HTTP
import IO
import Serialization
import Testing

@testable import Proxy

/// Requests as they happen, on the admin page `/tap`.
@Suite("Looking at requests as they happen")
struct TapTests {
    private func filter(_ query: (String, String)...) throws -> TapFilter {
        try TapFilter(query.map { (name: $0.0, value: $0.1) })
    }

    @Test("a filter that means nothing is refused with the name of its parameter")
    func refusals() throws {
        for (name, value) in [
            ("direction", "up"), ("status", "600"), ("status", "5x"), ("flag", "ZZ"), ("source", "here"), ("rate", "0"),
            ("rate", "1000000"), ("colour", "red"),
        ] {
            let refusal = #expect(throws: TapFilter.Refusal.self) { try filter((name, value)) }
            #expect(refusal?.message.hasPrefix("\(name):") == true)
        }
        #expect(try filter(("status", "5xx")).statuses == 500...599 && filter(("status", "404")).statuses == 404...404)
    }

    /// What a session got of some requests.
    private func events(
        _ query: (String, String)..., requests: @escaping @Sendable (FilterScene) async throws -> Void
    ) async throws -> (events: [JSON], dropped: UInt64) {
        let session = TapSession(try TapFilter(query.map { (name: $0.0, value: $0.1) }), key: [1])
        try await FilterScene.run([], routes: Self.routes) { scene in
            let worker = scene.proxy.server.workers[0]
            _ = await worker.ask { $0.begin(session) }
            try await requests(scene)
            _ = await worker.ask { $0.end(session) }
            _ = try await scene.client.get("/after", "x: y\r\n")
            #expect(await worker.ask { $0.isTapped } == false)
        }
        let (lines, dropped) = session.drain()
        return (try lines.split(separator: 0x0A).map { try JSON.parse(Array($0)) }, dropped)
    }

    private static let routes = """
        [ { name: none, match: { prefix: "/no" }, direct_response: { status: 503 } },
          { name: rest, match: { prefix: "/" }, route: { cluster: backend } } ]
        """

    @Test("a request is shown with what became of it, without fields unless they are asked for")
    func shown() async throws {
        let (events, _) = try await events { scene in
            _ = try await scene.client.get("/books/1?token=geheim", "authorization: Bearer geheim\r\n")
        }
        let event = try #require(events.first)
        #expect(events.count == 1 && event["method"]?.string == "GET" && event["status"]?.int == 200)
        #expect(event["path"]?.string?.hasPrefix("/books/1?token=hash:") == true)
        #expect(event["cluster"]?.string == "backend" && event["direction"]?.string == "inbound")
        #expect(event["duration_us"]?.int != nil && event["headers"] == nil)
        #expect(!event.text.contains("geheim"))
    }

    @Test("values of credentials are never shown")
    func credentials() async throws {
        let (events, _) = try await events(("headers", "true")) { scene in
            _ = try await scene.client.get("/", "authorization: Bearer geheim\r\ncookie: a=geheim\r\nx-plain: seen\r\n")
        }
        let text = try #require(events.first?["headers"]?.text)
        #expect(text.contains("seen") && text.contains("authorization") && text.contains("cookie"))
        #expect(!text.contains("geheim"))
    }

    @Test("a filter chooses by method, path and status")
    func chosen() async throws {
        let (events, _) = try await events(("path", "/no"), ("status", "5xx"), ("method", "GET")) { scene in
            for path in ["/no", "/yes", "/nothing"] { _ = try await scene.client.get(path, "x: y\r\n") }
        }
        #expect(events.compactMap { $0["path"]?.string } == ["/no", "/nothing"])
    }

    @Test("ATK-19 more events than the rate are left out and counted")
    func rate() async throws {
        let (events, dropped) = try await events(("rate", "2")) { scene in
            for _ in 0..<30 { _ = try await scene.client.get("/", "x: y\r\n") }
        }
        #expect(events.count + Int(dropped) == 30 && dropped > 0)
    }

    @Test("the page goes on until its reader goes, and looks at nothing any more then")
    func page() async throws {
        try await FilterScene.run([]) { scene in
            let admin = try #require(scene.proxy.admin)
            let wire = try await Wire.connect(to: admin, on: scene.loop)
            try await wire.write("GET /tap?rate=50 HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try await wire.read(until: "begun")
            let worker = scene.proxy.server.workers[0]
            #expect(await worker.ask { $0.isTapped } == true)
            _ = try await scene.client.get("/seen", "x: y\r\n")
            _ = try await wire.read(until: "/seen")
            wire.close()
            // The page notices that its reader is gone.
            for _ in 0..<1000 where await worker.ask({ $0.isTapped }) == true {
                await scene.loop.sleep(for: .milliseconds(10))
            }
            #expect(await worker.ask { $0.isTapped } == false)
        }
    }
}
