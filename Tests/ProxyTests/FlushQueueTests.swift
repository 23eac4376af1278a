import IO
import Testing

@testable import Proxy

@Suite("What connections say during a pass of the loop leaves together")
struct FlushQueueTests {
    private static func worker(on loop: EventLoop) -> Worker {
        Worker(
            index: 0, loop: loop, metrics: MetricSet(workers: 1), drainTime: .seconds(1), overload: OverloadState(),
            seed: 1)
    }

    private static func connection(_ socket: Socket, _ worker: Worker) throws -> SocketConnection {
        let connection = SocketConnection(socket, worker: worker)
        try connection.start()
        connection.setMayWrite(true)
        return connection
    }

    /// What has arrived: nil for nothing yet, empty for the end.
    private static func arrived(_ socket: Socket) -> String? {
        var bytes = [UInt8](repeating: 0, count: 64)
        switch bytes.withUnsafeMutableBytes({ socket.read(into: $0) }) {
        case .bytes(let count): return String(decoding: bytes[..<count], as: UTF8.self)
        case .wouldBlock: return nil
        case .end, .failed: return ""
        }
    }

    @Test("two pieces of a connection are one, and those of all connections wait for the pass to end")
    func endOfPass() async throws {
        try await onLoop { loop in
            let worker = Self.worker(on: loop)
            let pairs = [try Socket.pair(), try Socket.pair()]
            let connections = try pairs.map { try Self.connection($0.0, worker) }
            for connection in connections {
                connection.send(Array("one ".utf8))
                connection.send(Array("two".utf8))
                worker.endTurn()
            }
            for pair in pairs { #expect(Self.arrived(pair.1) == nil) }
            await Task.yield()
            for pair in pairs { #expect(Self.arrived(pair.1) == "one two") }
            for connection in connections { connection.close() }
        }
    }

    @Test("nothing waits for more than turnsPerFlush turns")
    func manyTurns() async throws {
        try await onLoop { loop in
            let worker = Self.worker(on: loop)
            let (near, far) = try Socket.pair()
            let connection = try Self.connection(near, worker)
            connection.send(Array("early".utf8))
            for _ in 0..<Limits.turnsPerFlush { worker.endTurn() }
            #expect(Self.arrived(far) == "early")
            connection.close()
        }
    }

    @Test("what was said before a close leaves before it; before a reset it does not")
    func close() async throws {
        try await onLoop { loop in
            let worker = Self.worker(on: loop)
            let (near, far) = try Socket.pair()
            let ended = try Self.connection(near, worker)
            ended.send(Array("last words".utf8))
            ended.close()
            #expect(Self.arrived(far) == "last words")
            #expect(Self.arrived(far) == "")

            let (other, peer) = try Socket.pair()
            let reset = try Self.connection(other, worker)
            reset.send(Array("unsaid".utf8))
            reset.socket?.setResetOnClose()
            reset.close()
            #expect(Self.arrived(peer) == "")
        }
    }
}
