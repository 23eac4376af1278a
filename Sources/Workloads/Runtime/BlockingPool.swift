internal import IO
internal import Synchronization

/// Threads for work that blocks: file systems, and waiting for short programs.
///
/// At most `width` at once, so that a hundred pods that start together do not make a hundred threads; a thread ends when
/// there is nothing to do.
public final class BlockingPool: Sendable {
    private struct State {
        var queue: [@Sendable () -> Void] = []
        var threads = 0
    }

    private let width: Int
    private let name: String
    private let state = Mutex(State())

    /// A pool of at most `width` threads.
    public init(name: String, width: Int) {
        self.name = name
        self.width = width
    }

    /// Runs `body` on a thread of the pool and returns what it returns.
    public func run<Value: Sendable, Failure: Error>(
        _ body: @escaping @Sendable () throws(Failure) -> Value
    ) async throws(Failure) -> Value {
        let result: Result<Value, Failure> = await withCheckedContinuation { continuation in
            submit {
                do throws(Failure) { continuation.resume(returning: .success(try body())) } catch {
                    continuation.resume(returning: .failure(error))
                }
            }
        }
        return try result.get()
    }

    /// Whether something runs or waits.
    public var isBusy: Bool { state.withLock { $0.threads > 0 || !$0.queue.isEmpty } }

    private func submit(_ job: @escaping @Sendable () -> Void) {
        let mustStart = state.withLock { state in
            state.queue.append(job)
            guard state.threads < width else { return false }
            state.threads += 1
            return true
        }
        guard mustStart else { return }
        do throws(SystemError) { try Thread.start(name: name) { [self] in drain() } } catch {
            drain()  // No thread to be had: better slow than never.
        }
    }

    private func drain() {
        while true {
            let job = state.withLock { state -> (@Sendable () -> Void)? in
                guard !state.queue.isEmpty else {
                    state.threads -= 1
                    return nil
                }
                return state.queue.removeFirst()
            }
            guard let job else { return }
            job()
        }
    }
}
