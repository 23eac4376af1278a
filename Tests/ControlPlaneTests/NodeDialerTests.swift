import HTTP
import IO
import Serialization
import Testing

@testable import ControlPlane

@Suite("Connections that nodes open for the control plane")
struct NodeDialerTests {
    private func onLoop(_ body: @escaping @Sendable (EventLoop) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "dialer")
        defer { loop.stop() }
        try await Task(executorPreference: loop) { try await body(loop) }.value
    }

    private func dialer(_ loop: EventLoop) -> NodeDialer {
        var count = 0
        return NodeDialer(on: loop) {
            count += 1
            return "id\(count)"
        }
    }

    @Test("a node that is asked opens a connection, over which its agent answers, and which is used again")
    func answered() async throws {
        try await onLoop { loop in
            let dialer = dialer(loop)
            var asked: [String] = []
            dialer.tell = { [unowned dialer] node, message in
                asked.append("\(node) \(message["op"]?.string ?? "") \(message["id"]?.string ?? "")")
                let id = message["id"]?.string ?? ""
                #expect(dialer.expects(id, of: "far") && !dialer.expects(id, of: "other"))
                guard let (near, far) = try? Socket.pair(), let stream = try? SocketStream(near, on: loop),
                    let agent = try? SocketStream(far, on: loop)
                else { return false }
                Task(executorPreference: loop) { await dialer.run(id, stream) }
                Task(executorPreference: loop) {
                    for number in 1...2 {
                        _ = try await agent.read(upTo: 4096)
                        try await agent.write(Array("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n\(number)".utf8))
                    }
                }
                return true
            }
            let client = dialer.client(of: "far")
            for wanted in ["1", "2"] {
                let response = try await client.send(HTTPClientRequest(.get, "/pods"))
                #expect(String(decoding: try await response.collect(), as: UTF8.self) == wanted)
            }
            #expect(asked == ["far dial id1"])
            #expect(!dialer.expects("id1", of: "far"), "an id is good for once")
        }
    }

    @Test("who waits for a node that is not there, leaves, or never comes, is told")
    func silent() async throws {
        try await onLoop { loop in
            let dialer = dialer(loop)
            await #expect(throws: HTTPError.self) {
                try await dialer.client(of: "gone").send(HTTPClientRequest(.get, "/pods"))
            }
            var told = 0
            dialer.tell = { _, _ in
                told += 1
                return true
            }
            let questions = (0..<NodeDialer.waitingMax).map { _ in
                Task(executorPreference: loop) {
                    try await dialer.client(of: "silent").send(HTTPClientRequest(.get, "/pods")).status
                }
            }
            let deadline = loop.now + .seconds(30)
            while told < NodeDialer.waitingMax, loop.now < deadline { await loop.sleep(for: .milliseconds(1)) }
            // One more than may wait is refused at once.
            await #expect(throws: HTTPError.self) {
                try await dialer.client(of: "silent").send(HTTPClientRequest(.get, "/pods"))
            }
            #expect(told == NodeDialer.waitingMax && dialer.turnedAway == 1)
            dialer.forget("silent")
            for question in questions {
                let result = await question.result
                #expect(throws: HTTPError.self) { try result.get() }
            }
        }
    }
}
