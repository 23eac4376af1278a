import IO
import Testing

@testable import HTTP

@Suite("WebSocket")
struct WebSocketTests {
    private func frames(_ bytes: [UInt8], isServer: Bool, step: Int) throws -> [WebSocketFrame] {
        var decoder = WebSocketDecoder(isServer: isServer, payloadMax: 1 << 20)
        var found: [WebSocketFrame] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            decoder.append(Array(rest.prefix(step)))
            rest = rest.dropFirst(step)
            while let frame = try decoder.next() { found.append(frame) }
        }
        return found
    }

    @Test("the accept value is the one of RFC 6455 section 1.3")
    func accept() {
        #expect(WebSocketHandshake.accept("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=")
    }

    @Test("frames of all lengths come back, however the bytes are cut", arguments: [1, 7, 100_000])
    func roundTrip(step: Int) throws {
        let wanted = [0, 1, 125, 126, 127, 65_535, 65_536].map { count in
            WebSocketFrame(.binary, isFinal: count % 2 == 0, (0..<count).map { UInt8(truncatingIfNeeded: $0) })
        }
        for isServer in [true, false] {
            var bytes: [UInt8] = []
            for frame in wanted { frame.append(to: &bytes, mask: isServer ? 0xDEAD_BEEF : nil) }
            #expect(try frames(bytes, isServer: isServer, step: step == 1 ? 4099 : step) == wanted)
        }
    }

    @Test(
        "what breaks the protocol is refused",
        arguments: [
            ([0x81, 0x00], "not masked"), ([0xC1, 0x80, 0, 0, 0, 0], "reserved"),
            ([0x83, 0x80, 0, 0, 0, 0], "opcode 3"),
            ([0x89, 0xFE, 0, 126], "control frame"), ([0x09, 0x80, 0, 0, 0, 0], "control frame"),
            ([0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], "more than"),
        ] as [([UInt8], String)])
    func malformed(bytes: [UInt8], word: String) {
        var decoder = WebSocketDecoder(isServer: true, payloadMax: 1000)
        decoder.append(bytes)
        do throws(WebSocketError) {
            _ = try decoder.next()
            Issue.record("\(bytes) was taken")
        } catch { #expect(error.description.contains(word)) }
    }

    @Test("messages in parts are joined, pings are answered in between, and the end is told")
    func connection() async throws {
        let loop = try EventLoop.start(name: "ws-test")
        defer { loop.stop() }
        let (messages, answers) = try await Task(executorPreference: loop) {
            let (left, right) = try Socket.pair()
            let (near, far) = (try SocketStream(left, on: loop), try SocketStream(right, on: loop))
            var bytes: [UInt8] = []
            WebSocketFrame(.binary, isFinal: false, [1, 2]).append(to: &bytes, mask: 1)
            WebSocketFrame(.ping, [9]).append(to: &bytes, mask: 2)
            WebSocketFrame(.continuation, [3]).append(to: &bytes, mask: 3)
            WebSocketFrame(.text, [0x61]).append(to: &bytes, mask: 4)
            WebSocketFrame(.close, [3, 0xE8]).append(to: &bytes, mask: 5)
            try await far.write(bytes)
            let server = WebSocketConnection(near, as: .server)
            var messages: [WebSocketConnection.Message] = []
            while let message = try await server.next() { messages.append(message) }
            near.close()
            var decoder = WebSocketDecoder(isServer: false, payloadMax: 1000)
            var answers: [WebSocketFrame] = []
            while true {
                let piece = try await far.read(upTo: 100)
                if piece.isEmpty { break }
                decoder.append(piece)
            }
            while let frame = try decoder.next() { answers.append(frame) }
            far.close()
            return (messages, answers)
        }.value
        #expect(messages == [.init(isText: false, payload: [1, 2, 3]), .init(isText: true, payload: [0x61])])
        #expect(answers == [WebSocketFrame(.pong, [9]), WebSocketFrame(.close, [3, 0xE8])])
    }

    @Test("a message larger than the limit ends the connection with code 1009")
    func tooLarge() async throws {
        let loop = try EventLoop.start(name: "ws-test")
        defer { loop.stop() }
        let answer = try await Task(executorPreference: loop) {
            let (left, right) = try Socket.pair()
            let (near, far) = (try SocketStream(left, on: loop), try SocketStream(right, on: loop))
            var bytes: [UInt8] = []
            WebSocketFrame(.binary, isFinal: false, [UInt8](repeating: 0, count: 10)).append(to: &bytes, mask: 1)
            // The head alone says how much would come.
            bytes += [0x80, 0xFF] + [0, 0, 0, 0, 0, 0x10, 0, 1]
            try await far.write(bytes)
            let server = WebSocketConnection(near, as: .server)
            var failure: WebSocketError?
            do throws(WebSocketError) { _ = try await server.next() } catch { failure = error }
            #expect(failure == .tooLarge(limit: WebSocketConnection.messageMax))
            let answer = try await far.read(upTo: 100)
            near.close()
            far.close()
            return answer
        }.value
        #expect(answer == [0x88, 2, 1009 >> 8, 1009 & 0xFF])
    }
}
