import HTTP
import IO
import Telemetry
import Testing

@Suite("places of connections")
struct ConnectionPlacesTests {
    private func limits(_ places: ConnectionPlaces) -> HTTPServer.Limits {
        var limits = HTTPServer.Limits()
        limits.places = places
        return limits
    }

    /// Opens a connection whose request is answered by a stream that goes on.
    private func open(_ address: SocketAddress, on loop: EventLoop) async throws -> SocketStream {
        let stream = try await SocketStream.connect(to: address, on: loop)
        try await stream.write(bytes("GET /watch HTTP/1.1\r\nHost: h\r\n\r\n"))
        _ = try await stream.read(upTo: 1000)
        return stream
    }

    private static let watches: HTTPServer.Handler = { request in
        guard request.path == "/watch" else { return HTTPResponse(status: 200, text: "answer") }
        return .stream(contentType: "text/plain") { writer throws(HTTPError) in
            try await writer.write("begun\n")
            await Signal().wait()
        }
    }

    @Test(
        "when nobody waits for a request, a new client is answered 429 with Retry-After; beyond the reserve it is closed"
    )
    func crowded() async throws {
        let places = ConnectionPlaces(max: 2, reserve: 1)
        try await withServer(limits: limits(places), handler: Self.watches) { _, address, loop async throws in
            let first = try await open(address, on: loop)
            let second = try await open(address, on: loop)
            let answer = try await exchange("GET / HTTP/1.1\r\nHost: h\r\n\r\n", with: address, on: loop)
            #expect(answer.hasPrefix("HTTP/1.1 429 "), "\(answer)")
            #expect(answer.contains("retry-after: 1\r\n") && answer.contains("connection: close\r\n"))
            #expect(places.toldToComeAgain.value == 1)
            while places.crowded > 0 { await loop.sleep(for: .milliseconds(1)) }
            let silent = try await SocketStream.connect(to: address, on: loop)
            while places.crowded == 0 { await loop.sleep(for: .milliseconds(1)) }
            #expect(try await exchange("", with: address, on: loop) == "")
            #expect(places.closed.value == 1 && places.givenUp.value == 0)
            silent.close()
            first.close()
            second.close()
            while places.taken > 0 || places.crowded > 0 { await loop.sleep(for: .milliseconds(1)) }
            let calm = try await exchange(
                "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", with: address, on: loop)
            #expect(calm.hasPrefix("HTTP/1.1 200 "), "\(calm)")
        }
    }

    @Test("a connection that waits for a request gives its place to a new client, longest first")
    func idle() async throws {
        let places = ConnectionPlaces(max: 3, reserve: 0)
        try await withServer(limits: limits(places), handler: Self.watches) { server, address, loop async throws in
            let busy = try await open(address, on: loop)
            func waiting() async throws -> SocketStream {
                let stream = try await SocketStream.connect(to: address, on: loop)
                try await stream.write(bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
                _ = try await stream.read(upTo: 1000)
                return stream
            }
            let longest = try await waiting()
            let later = try await waiting()
            // A place is asked for until its holder has waited a second: sooner a request may be on its way.
            var answer = ""
            while !answer.hasPrefix("HTTP/1.1 200 ") {
                // Without a reserve it is closed until then.
                answer =
                    (try? await exchange(
                        "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", with: address, on: loop)) ?? ""
                await loop.sleep(for: .milliseconds(10))
            }
            #expect(try await longest.read(upTo: 100).isEmpty)
            #expect(places.givenUp.value == 1)
            // The later one has its place still.
            try await later.write(bytes("GET / HTTP/1.1\r\nHost: h\r\n\r\n"))
            #expect(!(try await later.read(upTo: 1000)).isEmpty)
            for stream in [busy, longest, later] { stream.close() }
        }
    }
}
