internal import IO
internal import Synchronization

extension [WorkerHandle] {
    /// Runs `body` on every loop, after each has taken the connections that others have handed over to it.
    ///
    /// A loop that has let go of its listeners could only reset a connection that still comes from another one. Afterwards loops keep what they accept
    /// (`Worker.keepsConnections`), unless `body` says otherwise.
    func endHandOvers(_ body: @escaping @Sendable (Worker) -> Void) async {
        // What a loop has handed over lies in the other's mailbox before its answer, and so before `body`.
        for worker in self { _ = await worker.ask { $0.keepsConnections = true } }
        for worker in self { worker.send(body) }
    }
}

/// A worker as other threads see it: something to send messages to.
///
/// `@unchecked Sendable`: `worker` is made on its loop and touched there only.
final class WorkerHandle: @unchecked Sendable {
    let index: Int
    let loop: EventLoop
    private var worker: Worker?

    /// Starts the loop's thread and makes the worker on it.
    init(index: Int, metrics: MetricSet, drainTime: Duration, overload: OverloadState) throws(SystemError) {
        self.index = index
        loop = try EventLoop.start(name: "worker-\(index)")
        var generator = SystemRandomNumberGenerator()
        let seed = generator.next()
        loop.execute { [self] in
            worker = Worker(
                index: index, loop: loop, metrics: metrics, drainTime: drainTime, overload: overload, seed: seed)
        }
    }

    /// Runs on the worker's loop, in the order of sending.
    func send(_ body: @escaping @Sendable (Worker) -> Void) {
        loop.execute { [self] in
            guard let worker else { return }
            body(worker)
            worker.endTurn()
        }
    }

    /// Asks the worker something.
    func ask<Answer: Sendable>(_ body: @escaping @Sendable (Worker) -> Answer) async -> Answer? {
        await withCheckedContinuation { continuation in
            loop.execute { [self] in continuation.resume(returning: worker.map(body)) }
        }
    }
}
