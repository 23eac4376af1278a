import Glibc
import IO
import Serialization
import Synchronization
import Testing

@testable import CNI

/// What listens where the node agent does: says one thing to each caller, and keeps what it was asked.
private final class FakeAgent: Sendable {
    enum Behaviour: Sendable {
        case says(String)
        case endsAtOnce
        case neverAnswers
    }

    let path: String
    private let listener: Mutex<Int32>
    private let heard = Mutex<[UInt8]>([])

    init(_ behaviour: Behaviour) throws {
        let suffix = Environment.randomBytes(6).map { String($0, radix: 16) }.joined()
        path = "/tmp/skein-agent-\(suffix)"
        let fd = try Socket.listen(on: .unix(path)).release()
        listener = Mutex(fd)
        try Thread.start(name: "agent") { [self] in
            let socket = Socket(adopting: fd)
            var kept: [Socket] = []
            while socket.waitReadable(milliseconds: -1), let caller = (try? socket.accept()) ?? nil {
                if case .endsAtOnce = behaviour { continue }
                // A call of these tests comes whole.
                _ = caller.waitReadable(milliseconds: 30_000)
                var buffer = [UInt8](repeating: 0, count: 65_536)
                if case .bytes(let count) = buffer.withUnsafeMutableBytes({ caller.read(into: $0) }) {
                    heard.withLock { $0 = Array(buffer.prefix(count)) }
                }
                switch behaviour {
                case .says(let text): _ = Array(text.utf8).withUnsafeBytes { caller.write($0) }
                case .neverAnswers: kept.append(caller)
                case .endsAtOnce: break
                }
            }
        }
    }

    /// What the last caller has sent.
    var request: String { heard.withLock { String(decoding: $0, as: UTF8.self) } }

    /// Ends it; its path stays, as that of a process that was killed does.
    func end() {
        listener.withLock { fd in
            _ = shutdown(fd, Int32(SHUT_RDWR))
        }
    }

    deinit { unlink(path) }
}

@Suite("Calls that the node agent does")
struct NodeCallTests {
    /// Calls with an agent of that behaviour; what a plugin alone says is code 3, as there is no such namespace.
    private func call(
        _ behaviour: FakeAgent.Behaviour, verb: String = "ADD", ipam: JSON? = nil
    ) throws -> (code: Int?, status: Int32, notes: [String], request: String) {
        let agent = try FakeAgent(behaviour)
        defer { agent.end() }
        var notes: [String] = []
        let plugin = CNIPlugin(variable: variables(["CNI_COMMAND": verb, "CNI_ARGS": "K8S_POD_NAME=a\nb"]))
        let input = configuration(ipam.map { ["ipam": $0] } ?? [:]).bytes
        // Only of one that never answers is it waited for that nothing comes.
        let patience: Int32 = if case .neverAnswers = behaviour { 300 } else { 30_000 }
        let node = NodeCall(socket: agent.path, patience: patience)
        let answer = plugin.call(input: input, node: node) { notes.append($0) }
        return ((try? JSON.parse(answer.output))?["code"]?.int, answer.status, notes, agent.request)
    }

    private static let done = """
        HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n{"status": 1, "output": "{\\"code\\": 99}"}
        """

    @Test("what the agent answers is the plugin's answer, and it is told configuration and environment")
    func done() throws {
        let (code, status, notes, request) = try call(.says(Self.done))
        #expect(code == 99 && status == 1 && notes.isEmpty)
        let end = try #require(request.firstRange(of: "\r\n\r\n")).upperBound
        let body = try JSON.parse(Array(request[end...].utf8))
        #expect(body["environment"]?["CNI_CONTAINERID"] == "c1")
        #expect(body["environment"]?["CNI_ARGS"] == "K8S_POD_NAME=a\nb")
        #expect(try JSON.parse(Array((body["input"]?.string ?? "").utf8))["bridge"] == "br1")
    }

    @Test("without an agent the plugin works alone and says nothing of it; beside one that was killed it says so")
    func absent() throws {
        var notes: [String] = []
        let plugin = CNIPlugin(variable: variables())
        let none = plugin.call(input: configuration().bytes, node: NodeCall(socket: "/tmp/none/s")) { notes.append($0) }
        #expect((try JSON.parse(none.output))["code"] == 3 && notes.isEmpty)
        let agent = try FakeAgent(.endsAtOnce)
        agent.end()
        // The listener's thread closes it.
        let deadline = MonotonicTime.now + .seconds(30)
        while (try? Socket.connect(to: .unix(agent.path))) != nil, MonotonicTime.now < deadline { usleep(1000) }
        let dead = plugin.call(input: configuration().bytes, node: NodeCall(socket: agent.path)) { notes.append($0) }
        #expect((try JSON.parse(dead.output))["code"] == 3)
        #expect(notes.count == 1 && notes.first?.contains("does not answer (connection refused); done without") == true)
    }

    @Test("an agent that looks at the call and leaves it, because it is of another namespace, is no obstacle")
    func refusal() throws {
        let text = "HTTP/1.1 409 Conflict\r\ncontent-length: 5\r\n\r\nother\n"
        let (code, _, notes, _) = try call(.says(text))
        #expect(
            code == 3 && notes.first?.contains("leaves it to the plugin: other; done without it") == true, "\(notes)")
    }

    @Test(
        "ATK-41 an agent that ends or hangs in the middle: an ADD is refused, to be tried again after a DEL; a DEL is done alone",
        arguments: [false, true])
    func lost(hangs: Bool) throws {
        let behaviour: FakeAgent.Behaviour = hangs ? .neverAnswers : .endsAtOnce
        let add = try call(behaviour)
        #expect(add.code == 11 && add.status == 1 && add.notes.isEmpty)
        let delete = try call(behaviour, verb: "DEL")
        #expect(delete.status == 0 && delete.notes.first?.contains("did not end its work") == true, "\(delete.notes)")
        let half = try call(.says(String(Self.done.dropLast(9))))
        #expect(half.code == 11)
    }

    @Test("another IPAM plugin is started by the plugin itself, and VERSION is answered by it")
    func alone() throws {
        let delegated = try call(.says(Self.done), ipam: ["type": "dhcp"])
        #expect(delegated.code != 99 && delegated.request.isEmpty)
        #expect(try call(.says(Self.done), verb: "VERSION").request.isEmpty)
    }
}
