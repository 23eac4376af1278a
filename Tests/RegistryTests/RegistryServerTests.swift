import HTTP
import IO
import Serialization
import Store
import Telemetry
import Testing

@testable import Registry

@Suite("Registry: over HTTP")
struct RegistryServerTests {
    private struct Place: Sendable {
        var loop: EventLoop
        var address: SocketAddress
        var server: RegistryServer

        func ask(
            _ method: HTTPMethod, _ path: String, body: [UInt8] = [], token: String? = "good",
            host: String = "127.0.0.1:8500"
        ) async throws -> (status: UInt16, index: Int64, text: String) {
            let (address, loop) = (address, loop)
            let client = HTTPClient(authority: host, on: loop) { () throws(HTTPError) in
                do throws(SystemError) { return try await SocketStream.connect(to: address, on: loop) } catch {
                    throw .connection(error)
                }
            }
            defer { client.close() }
            var request = HTTPClientRequest(method, "/v1/" + path, body: body)
            if let token { try request.headers.append("x-consul-token", token) }
            let response = try await client.send(request)
            let index = response.head.headers["x-consul-index"].flatMap { Int64($0) } ?? 0
            return (response.status, index, String(decoding: try await response.collect(), as: UTF8.self))
        }

        /// Awaits a condition for half a minute.
        func wait(_ body: () async throws -> Bool) async throws -> Bool {
            for _ in 0..<600 {
                if try await body() { return true }
                await loop.sleep(for: .milliseconds(50))
            }
            return false
        }
    }

    private static func run(
        _ change: @escaping @Sendable (inout RegistrySettings) -> Void = { _ in },
        _ body: @escaping @Sendable (Place) async throws -> Void
    ) async throws {
        let loop = try EventLoop.start(name: "registry")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            var settings = RegistrySettings(node: "here")
            change(&settings)
            let state = RegistryState(try SQLiteStore(path: ":memory:"), settings)
            let server = RegistryServer(state, on: loop) {
                let now = WallClock.now
                return now.seconds * 1000 + Int64(now.nanoseconds / 1_000_000)
            }
            server.judge = { token in
                token == "good" ? { _ in true } : token == "reader" ? { $0.verb == "get" } : nil
            }
            server.start()
            defer { server.stop() }
            let listener = try SocketListener(
                try Socket.listen(on: .ip(.v4(0x7f00_0001), port: 0)), on: loop)
            let front = HTTPServer(on: loop, limits: server.httpLimits) { await server.handle($0, checksHost: true) }
            let serving = Task(executorPreference: loop) { await front.run(listener) }
            defer {
                listener.close()
                serving.cancel()
            }
            let address = try #require(listener.socket.localAddress)
            try await body(Place(loop: loop, address: address, server: server))
        }.value
    }

    @Test("nobody is answered without a right token and a right host, but for what tells nothing")
    func access() async throws {
        try await Self.run { (place) async throws in
            let nobody = try await place.ask(.get, "agent/self", token: nil)
            #expect(nobody.status == 403)
            #expect(try await place.ask(.get, "agent/self", token: "bad").text == "ACL not found")
            #expect(try await place.ask(.get, "agent/self").status == 200)
            #expect(try await place.ask(.get, "agent/self", host: "evil.example").status == 403)
            #expect(try await place.ask(.get, "status/leader", token: nil).status == 200)
            #expect(try await place.ask(.get, "status/leader", token: nil, host: "evil.example").status == 403)
            #expect(try await place.ask(.get, "catalog/datacenters", token: nil).text == "[\"dc1\"]")
            #expect(try await place.ask(.put, "kv/a", token: "reader").status == 403)
            #expect(place.server.state.counters.denied.value == 5)
        }
    }

    @Test("who waits is answered at the change, not before, and only of what he asked")
    func blocking() async throws {
        try await Self.run { place in
            let first = try await place.ask(.get, "kv/wanted")
            #expect(first.status == 404)
            #expect(first.index > 0)
            let waiting = Task(executorPreference: place.loop) {
                try await place.ask(.get, "kv/wanted?index=\(first.index)&wait=5m")
            }
            #expect(try await place.wait { place.server.waiting == 1 })
            _ = try await place.ask(.put, "kv/other", body: Array("x".utf8))
            _ = try await place.ask(.get, "kv/other")
            #expect(place.server.waiting == 1)
            _ = try await place.ask(.put, "kv/wanted", body: Array("x".utf8))
            let answer = try await waiting.value
            #expect(answer.status == 200)
            #expect(answer.index > first.index)
            #expect(place.server.waiting == 0)
            // An index of the past is answered at once, and the time ends a wait for nothing.
            #expect(try await place.ask(.get, "kv/wanted?index=1&wait=5m").status == 200)
            let late = try await place.ask(.get, "kv/wanted?index=\(answer.index)&wait=50ms")
            #expect(late.index == answer.index)
        }
    }

    @Test("a service that loses its health wakes who waits for it, and a deletion wakes who waits for a tree")
    func wakes() async throws {
        try await Self.run { place in
            let body: JSON = ["Name": "web", "Port": 80, "Check": ["CheckID": "c", "TTL": "1h", "Status": "passing"]]
            _ = try await place.ask(.put, "agent/service/register", body: body.bytes)
            _ = try await place.ask(.put, "kv/t/a", body: [1])
            let (service, tree) = (
                try await place.ask(.get, "health/service/web?passing"), try await place.ask(.get, "kv/t/?recurse")
            )
            let one = Task(executorPreference: place.loop) {
                try await place.ask(.get, "health/service/web?passing&index=\(service.index)")
            }
            let two = Task(executorPreference: place.loop) {
                try await place.ask(.get, "kv/t/?recurse&index=\(tree.index)")
            }
            #expect(try await place.wait { place.server.waiting == 2 })
            _ = try await place.ask(.put, "agent/check/fail/c")
            #expect(try await one.value.text == "[]")
            _ = try await place.ask(.delete, "kv/t/a")
            let gone = try await two.value
            #expect(gone.status == 404)
            #expect(gone.index > tree.index)
        }
    }

    @Test("no more requests wait than may, and a client that goes gives its place back")
    func watchers() async throws {
        try await Self.run({ $0.limits.watchers = 1 }) { place in
            let index = try await place.ask(.get, "kv/a").index
            let waiting = Task(executorPreference: place.loop) { try await place.ask(.get, "kv/a?index=\(index)") }
            #expect(try await place.wait { place.server.waiting == 1 })
            #expect(try await place.ask(.get, "kv/a?index=\(index)").status == 429)
            #expect(place.server.state.counters.refusedWatchers.value == 1)
            waiting.cancel()
            _ = await waiting.result
            #expect(try await place.wait { place.server.waiting == 0 })
        }
    }

    @Test("a body above the limit is 413 in Consul's words")
    func large() async throws {
        try await Self.run { place in
            let answer = try await place.ask(.put, "kv/a", body: [UInt8](repeating: 1, count: 512 * 1024 + 1))
            #expect(answer.status == 413)
            #expect(answer.text.hasPrefix("Request body too large, max size: 524288 bytes."))
        }
    }

    @Test("HTTP, TCP and script checks find out how programs are; a TTL that is over is critical")
    func checks() async throws {
        try await Self.run({ $0.allowsScripts = true }) { place in
            let listener = try SocketListener(
                try Socket.listen(on: .ip(.v4(0x7f00_0001), port: 0)), on: place.loop)
            let backend = HTTPServer(on: place.loop) { request in
                if request.path == "/moved" {
                    var head = ResponseHead(status: 302)
                    try? head.headers.append("location", "/fine")
                    return HTTPResponse(head, .bytes([]))
                }
                return HTTPResponse(
                    status: request.path == "/busy" ? 429 : request.path == "/fine" ? 200 : 503, text: request.path)
            }
            let serving = Task(executorPreference: place.loop) { await backend.run(listener) }
            defer {
                listener.close()
                serving.cancel()
            }
            let port = try #require(listener.socket.localAddress?.port)
            let checks: [(String, JSON)] = [
                ("fine", ["HTTP": .string("http://127.0.0.1:\(port)/fine")]),
                ("busy", ["HTTP": .string("http://127.0.0.1:\(port)/busy")]),
                ("broken", ["HTTP": .string("http://127.0.0.1:\(port)/")]),
                ("moved", ["HTTP": .string("http://127.0.0.1:\(port)/moved")]),
                ("stays", ["HTTP": .string("http://127.0.0.1:\(port)/moved"), "DisableRedirects": true]),
                ("tcp", ["TCP": .string("127.0.0.1:\(port)")]), ("closed", ["TCP": "127.0.0.1:1"]),
                ("well", ["Args": ["/bin/sh", "-c", "echo well"]]),
                ("ill", ["Args": ["/bin/sh", "-c", "echo ill; exit 1"]]),
                ("none", ["Args": ["/nonexistent"]]), ("grpc", ["GRPC": .string("127.0.0.1:\(port)/x")]),
            ]
            for (id, how) in checks {
                var body = how
                body["ID"] = .string(id)
                body["Name"] = .string(id)
                body["Interval"] = "1s"
                body["Timeout"] = "20s"
                #expect(try await place.ask(.put, "agent/check/register", body: body.bytes).status == 200)
            }
            _ = try await place.ask(
                .put, "agent/check/register", body: Array(#"{"Name":"ttl","TTL":"10ms","Status":"passing"}"#.utf8))
            let wanted = [
                "fine": "passing", "busy": "warning", "broken": "critical", "moved": "passing", "stays": "critical",
                "tcp": "passing", "closed": "critical", "well": "passing", "ill": "warning", "none": "critical",
                "grpc": "critical",
                "ttl": "critical",
            ]
            var seen: [String: JSON] = [:]
            let isDone = try await place.wait {
                seen = try JSON.parse(Array(try await place.ask(.get, "agent/checks").text.utf8)).object ?? [:]
                return wanted.allSatisfy {
                    seen[$0.key]?["Status"]?.string == $0.value && seen[$0.key]?["Output"] != ""
                }
            }
            #expect(isDone, "\(seen.mapValues { [$0["Status"], $0["Output"]] })")
            #expect(seen["ttl"]?["Output"] == "TTL expired")
            #expect(seen["well"]?["Output"] == "well\n")
            #expect(seen["fine"]?["Output"]?.string?.hasSuffix("200 OK Output: /fine") == true)
        }
    }
}
