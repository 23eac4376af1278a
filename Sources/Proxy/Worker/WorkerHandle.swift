internal import IO
internal import Synchronization

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
