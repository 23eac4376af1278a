internal import Synchronization

extension EventLoop {
    /// Waits on the loop for that long; returns early when the task is cancelled.
    public func sleep(for duration: Duration) async {
        let wait = SleepWait()
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                execute { [self] in
                    wait.begin(continuation, timer: schedule(after: duration) { wait.end() })
                }
            }
        } onCancel: {
            execute { wait.end() }
        }
    }
}

/// One sleeping task.
///
/// Touched on the loop only, hence unchecked.
private final class SleepWait: @unchecked Sendable {
    private var continuation: CheckedContinuation<Void, Never>?
    private var timer: LoopTimer?
    private var hasEnded = false

    func begin(_ continuation: CheckedContinuation<Void, Never>, timer: LoopTimer) {
        guard !hasEnded else {
            timer.cancel()
            continuation.resume()
            return
        }
        self.continuation = continuation
        self.timer = timer
    }

    func end() {
        hasEnded = true
        timer?.cancel()
        timer = nil
        continuation?.resume()
        continuation = nil
    }
}
