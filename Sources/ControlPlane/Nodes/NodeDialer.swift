import Glibc
import HTTP
import IO
import Serialization

/// Connections to the agents of joined nodes, for what only they know: logs, commands in containers, ports of pods, usage.
///
/// The node opens each of them itself when it is asked to, by the line `{"op": "dial", "id": …}` on its agent's connection: nobody has to reach
/// a node, and it opens no port. The id is known to that node only, and good for once.
///
/// `@unchecked Sendable`: belongs to one loop (docs/threads.md).
final class NodeDialer: @unchecked Sendable {
    /// Connections of one node that were asked for and have not come.
    static let waitingMax = 64
    /// How long one may take to come.
    static let patience = Duration.seconds(10)

    private struct Waiter {
        let node: String
        let timer: LoopTimer
        let answer: (Result<any ByteStream, HTTPError>) -> Void
    }

    private let loop: EventLoop
    private let makeID: () -> String
    private var waiters: [String: Waiter] = [:]
    /// How often a connection was not asked for because too many of that node were waited for.
    private(set) var turnedAway: UInt64 = 0
    /// How often one that was asked for has not come.
    private(set) var late: UInt64 = 0
    private var clients: [String: HTTPClient] = [:]
    /// Tells a node something; false when it is not connected.
    var tell: (_ node: String, JSON) -> Bool = { _, _ in false }

    /// - Parameter makeID: what nobody can guess.
    init(on loop: EventLoop, makeID: @escaping () -> String) {
        self.loop = loop
        self.makeID = makeID
    }

    /// A client of the agent of a node that is connected.
    func client(of node: String) -> HTTPClient {
        if let client = clients[node] { return client }
        let client = HTTPClient(authority: "localhost", on: loop) { [weak self] () throws(HTTPError) in
            guard let self else { throw .closed }
            return try await self.dial(node)
        }
        clients[node] = client
        return client
    }

    /// A connection to the agent of a node, which the node opens when it is asked.
    func dial(_ node: String) async throws(HTTPError) -> any ByteStream {
        guard waiters.values.count(where: { $0.node == node }) < Self.waitingMax else {
            turnedAway &+= 1
            throw .connection(SystemError(EAGAIN, "wait for more than \(Self.waitingMax) connections of node \(node)"))
        }
        let id = makeID()
        let result = await withCheckedContinuation { continuation in
            let timer = loop.schedule(after: Self.patience) { [weak self] in
                guard let self else { return }
                let problem = SystemError(ETIMEDOUT, "wait for node \(node)")
                if settle(id, .failure(.connection(problem))) { late &+= 1 }
            }
            waiters[id] = Waiter(node: node, timer: timer) { continuation.resume(returning: $0) }
            if !tell(node, ["op": "dial", "id": .string(id)]) {
                settle(id, .failure(.connection(SystemError(ENOTCONN, "ask node \(node)"))))
            }
        }
        return try result.get()
    }

    /// Whether that node was asked to open the connection of that id.
    func expects(_ id: String, of node: String) -> Bool { waiters[id]?.node == node }

    /// Carries a connection that a node has opened until it ends.
    func run(_ id: String, _ stream: any ByteStream) async {
        do throws(SystemError) {
            let (inner, outer) = try Socket.pair()
            let (asked, carried) = (try SocketStream(inner, on: loop), try SocketStream(outer, on: loop))
            guard settle(id, .success(asked)) else {
                asked.close()
                carried.close()
                return stream.close()
            }
            await StreamSplice.run(stream, carried, on: loop)
        } catch {
            settle(id, .failure(.connection(error)))
            stream.close()
        }
    }

    @discardableResult
    private func settle(_ id: String, _ result: Result<any ByteStream, HTTPError>) -> Bool {
        guard let waiter = waiters.removeValue(forKey: id) else { return false }
        waiter.timer.cancel()
        waiter.answer(result)
        return true
    }

    /// A node's agent is not connected any more.
    func forget(_ node: String) {
        clients.removeValue(forKey: node)?.close()
        for (id, waiter) in waiters where waiter.node == node { settle(id, .failure(.closed)) }
    }
}
