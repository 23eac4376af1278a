import APIServer
import HTTP
import IO
import Mesh
import Serialization
import Store
import Testing

@testable import ControlPlane

@Suite("Dashboard")
struct DashboardTests {
    /// The overview's listener with the dashboard, as the control plane has it.
    private struct Scene {
        var loop: EventLoop
        var address: SocketAddress
        var dashboard: Dashboard
        var page: OverviewPage

        func get(
            _ path: String, _ fields: [(String, String)] = [], host: String = "127.0.0.1:9400",
            method: HTTPMethod = .get
        )
            async throws -> (status: UInt16, headers: HeaderTable, text: String)
        {
            let (address, loop) = (address, loop)
            let client = HTTPClient(authority: host, on: loop) { () throws(HTTPError) in
                do throws(SystemError) { return try await SocketStream.connect(to: address, on: loop) } catch {
                    throw .connection(error)
                }
            }
            defer { client.close() }
            var request = HTTPClientRequest(method, path)
            for (name, value) in fields { try request.headers.append(name, value) }
            let response = try await client.send(request)
            return (
                response.status, response.head.headers, String(decoding: try await response.collect(), as: UTF8.self)
            )
        }

        /// A connection with an open event stream, and what came so far.
        func events() async throws -> SocketStream {
            let stream = try await SocketStream.connect(to: address, on: loop)
            try await stream.write(Array("GET /dashboard/events HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8))
            return stream
        }
    }

    private static let token = String(repeating: "5a", count: 32)

    private static func run(_ body: @escaping @Sendable (Scene) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "dashboard")
        defer { loop.stop() }
        try await Task(executorPreference: loop) {
            let time = Timestamp(seconds: 1_800_000_000)
            let registry = ObjectRegistry(store: try SQLiteStore(path: ":memory:"), now: { time })
            try registry.bootstrap()
            let source = RegistrySource(registry)
            let streams = ProxyStreams(source, on: loop, now: { time })
            let insight = InsightService(directory: "/nonexistent", on: loop)
            let dashboard = Dashboard(insight, streams, token: DashboardToken(token), on: loop)
            dashboard.pages = { request in HTTPResponse(status: 200, text: "for administrators: \(request.path)\n") }
            let page = OverviewPage(source: source, streams: streams)
            page.insight = insight
            page.dashboard = dashboard
            let listener = try SocketListener(Socket.listen(on: .ip(.v4(0x7F00_0001), port: 0)), on: loop)
            let server = HTTPServer(on: loop) { request in await page.answer(request) }
            let running = Task(executorPreference: loop) { await server.run(listener) }
            let address = try #require(listener.socket.localAddress)
            var failure: (any Error)?
            do { try await body(Scene(loop: loop, address: address, dashboard: dashboard, page: page)) } catch {
                failure = error
            }
            listener.close()
            await server.shutdown(grace: .zero)
            await running.value
            if let failure { throw failure }
        }.value
    }

    /// Waits until something is so; the test's time limit bounds it.
    private static func until(_ loop: EventLoop, _ condition: () -> Bool) async {
        while !condition(), !Task.isCancelled { await loop.sleep(for: .milliseconds(5)) }
    }

    @Test("the program's copies of the files are those of the folder Assets")
    func step() throws {
        let folder =
            String(#filePath.dropLast("Tests/ControlPlaneTests/DashboardTests.swift".count))
            + "Sources/ControlPlane/Dashboard/Assets"
        let names = try File.list(folder).sorted()
        #expect(names == DashboardAssets.all.keys.sorted())
        for name in names {
            let text = try File.text("\(folder)/\(name)")
            #expect(text == DashboardAssets.all[name]?.text, "\(name): make generate")
        }
        let bytes = DashboardAssets.all.values.reduce(0) { $0 + $1.text.utf8.count }
        #expect(bytes <= 200 << 10, "all of it together")
    }

    @Test("the files name nothing outside, and have no script or style inside of the page")
    func files() {
        for (name, asset) in DashboardAssets.all {
            let text = asset.text.replacing("http://www.w3.org/2000/svg", with: "")
            #expect(!text.contains("http://") || name == "requests.js" || name == "texts.js", "\(name)")
            #expect(!text.contains("https://") && !text.contains("innerHTML") && !text.contains("eval("), "\(name)")
        }
        let page = DashboardAssets.all["index.html"]?.text ?? ""
        #expect(!page.contains("<style") && !page.contains("style=") && !page.contains(" onclick="))
        #expect(page.components(of: "<script").count == 2 && page.contains("<script type=\"module\" src="))
    }

    @Test("every file comes with the policy, its type, and is not sent twice", .timeLimit(.minutes(5)))
    func headers() async throws {
        try await Self.run { scene in
            for (path, type) in [
                ("/dashboard", "text/html"), ("/dashboard/main.js", "text/javascript"),
                ("/dashboard/style.css", "text/css"),
                ("/dashboard/icon.svg", "image/svg+xml"),
            ] {
                let answer = try await scene.get(path)
                #expect(answer.status == 200 && answer.headers["content-type"]?.hasPrefix(type) == true, "\(path)")
                for (name, value) in DashboardHeaders.fields {
                    #expect(answer.headers[name] == value, "\(path): \(name)")
                }
                let again = try await scene.get(path, [("if-none-match", answer.headers["etag"] ?? "")])
                #expect(again.status == 304 && again.text.isEmpty)
            }
            for path in ["/dashboard/../metrics", "/dashboard/none.js", "/dashboard/%2e%2e/x", "/dashboardx"] {
                #expect(try await scene.get(path).status == 404, "\(path)")
            }
            #expect(try await scene.get("/dashboard", method: .post).status == 405)
            #expect(!DashboardHeaders.contentSecurityPolicy.contains("unsafe"))
        }
    }

    @Test("other hosts and other origins get nothing of it; browsers are led from / to it", .timeLimit(.minutes(5)))
    func doors() async throws {
        try await Self.run { scene in
            for path in ["/dashboard", "/dashboard/mesh", "/dashboard/events", "/skein/v1/proxies"] {
                #expect(try await scene.get(path, host: "evil.example").status == 403)
                #expect(try await scene.get(path, [("origin", "http://evil.example")]).status == 403)
            }
            let browser = try await scene.get("/", [("accept", "text/html,*/*")])
            #expect(browser.status == 303 && browser.headers["location"] == "/dashboard")
            #expect(try await scene.get("/").status == 200)
        }
    }

    @Test(
        "ATK-32 administrators' pages are answered for the token alone, and refusals are counted",
        .timeLimit(.minutes(5)))
    func administrators() async throws {
        try await Self.run { scene in
            for field in [
                "", "Bearer ", "Bearer \(Self.token)0", "Bearer " + String(repeating: "5b", count: 32),
                "Basic \(Self.token)", Self.token,
            ] {
                let fields = field.isEmpty ? [] : [("authorization", field)]
                #expect(try await scene.get("/skein/v1/proxies", fields).status == 401, "\(field)")
            }
            #expect(scene.dashboard.refused == 6 && scene.page.metrics.isEmpty == false)
            #expect(scene.dashboard.metrics.contains("skein_dashboard_unauthorized_total 6\n"))
            let answer = try await scene.get("/skein/v1/proxies", [("authorization", "Bearer \(Self.token)")])
            #expect(answer.status == 200 && answer.headers["cache-control"] == "no-store")
            let written = try await scene.get(
                "/skein/v1/proxies", [("authorization", "bearer \(Self.token)")], method: .post)
            #expect(written.status == 405)
        }
    }

    @Test("a token is made once, for root alone, and read again")
    func token() throws {
        let directory = "/tmp/skein-dashboard-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        defer { try? File.removeTree(directory) }
        let first = try DashboardToken(directory: directory)
        let path = directory + "/" + DashboardToken.file
        let text = try File.text(path).filter { !$0.isWhitespace }
        #expect(text.count == 64 && first.isRight("Bearer \(text)"))
        let mode = try File.mode(path)
        #expect(mode & 0o777 == 0o600)
        let again = try DashboardToken(directory: directory)
        #expect(again.isRight("Bearer \(text)"))
        try File.write(path, Array("\n".utf8), mode: 0o600)
        #expect(throws: ControlPlaneError.self) { try DashboardToken(directory: directory) }
    }

    @Test("only known spans can be asked for", .timeLimit(.minutes(5)))
    func windows() async throws {
        try await Self.run { scene in
            let first = try await scene.get("/dashboard/mesh")
            let hour = try await scene.get("/dashboard/mesh?window=3600")
            #expect(first.status == 200 && hour.status == 200)
            for window in ["0", "-1", "61", "x", "9223372036854775807", ""] {
                #expect(try await scene.get("/dashboard/mesh?window=\(window)").status == 400, "\(window)")
            }
        }
    }

    @Test(
        "ATK-19 event streams are bounded: one too many is refused, one that ends makes room", .timeLimit(.minutes(5)))
    func streams() async throws {
        try await Self.run { scene in
            var open: [SocketStream] = []
            for _ in 0..<DashboardEvents.streamsMax {
                let stream = try await scene.events()
                let begin = String(decoding: try await stream.read(upTo: 65536), as: UTF8.self)
                #expect(begin.contains("text/event-stream"))
                open.append(stream)
            }
            #expect(scene.dashboard.events.count == DashboardEvents.streamsMax)
            #expect(try await scene.get("/dashboard/events").status == 503)
            #expect(scene.dashboard.events.refused == 1)
            open.removeLast().close()
            await Self.until(scene.loop) { scene.dashboard.events.count < DashboardEvents.streamsMax }
            let next = try await scene.events()
            #expect(String(decoding: try await next.read(upTo: 65536), as: UTF8.self).contains("200 OK"))
            for stream in open + [next] { stream.close() }
            await Self.until(scene.loop) { scene.dashboard.events.count == 0 }
        }
    }

    @Test("a reader gets the newest picture, those of other spans none of it", .timeLimit(.minutes(5)))
    func newest() async throws {
        try await Self.run { scene in
            let stream = try await scene.events()
            defer { stream.close() }
            var text = ""
            func read(until mark: String) async throws {
                while !text.contains(mark) {
                    let piece = try await stream.read(upTo: 65536)
                    try #require(!piece.isEmpty)
                    text += String(decoding: piece, as: UTF8.self)
                }
            }
            try await read(until: "event: mesh\ndata: {")
            scene.dashboard.events.publish(Array("{\"other\":1}".utf8), window: 300)
            scene.dashboard.events.publish(Array("{\"old\":1}".utf8), window: 60)
            scene.dashboard.events.publish(Array("{\"new\":1}".utf8), window: 60)
            try await read(until: "data: {\"new\":1}\n\n")
            #expect(!text.contains("{\"other") && !text.contains("{\"old"))
        }
    }

    @Test("ATK-19 a reader that does not read is dropped, and counted", .timeLimit(.minutes(5)))
    func slow() async throws {
        try await Self.run { scene in
            scene.dashboard.events.patience = .milliseconds(50)
            let stream = try await scene.events()
            defer { stream.close() }
            await Self.until(scene.loop) { scene.dashboard.events.count == 1 }
            // The first state comes by itself, and would take the place of what is published before it.
            var text = ""
            while !text.contains("event: mesh\ndata: {") {
                let piece = try await stream.read(upTo: 65536)
                try #require(!piece.isEmpty)
                text += String(decoding: piece, as: UTF8.self)
            }
            // More than the sockets' buffers take.
            scene.dashboard.events.publish([UInt8](repeating: 0x78, count: 32 << 20), window: 60)
            await Self.until(scene.loop) { scene.dashboard.events.dropped == 1 }
            await Self.until(scene.loop) { scene.dashboard.events.count == 0 }
            #expect(scene.dashboard.metrics.contains("skein_dashboard_streams_dropped_total 1\n"))
        }
    }
}

extension String {
    /// The parts between a text.
    fileprivate func components(of separator: String) -> [Substring] {
        split(separator: separator, omittingEmptySubsequences: false)
    }
}
