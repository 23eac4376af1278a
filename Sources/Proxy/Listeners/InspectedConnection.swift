internal import IO

/// A connection whose first bytes listener filters look at, one filter after the other.
///
/// It never blocks a protocol in which the server speaks first: when the client stays silent for the listener's
/// timeout and the listener continues then, the chain is chosen without an answer and the bytes go on as they come.
final class InspectedConnection: SocketConnection {
    private(set) var info: ConnectionInfo
    private unowned let listener: ListenerRuntime
    private var filter: any ConnectionInspector
    private var index: Int
    private var timer: LoopTimer?
    private var isDecided = false

    init(
        _ socket: Socket, info: ConnectionInfo, filter: any ConnectionInspector, index: Int, listener: ListenerRuntime,
        input: ByteBuffer?
    ) {
        self.info = info
        self.filter = filter
        self.index = index
        self.listener = listener
        super.init(socket, worker: listener.worker, input: input)
    }

    func begin(timeout: Duration?, continues: Bool) {
        do throws(SystemError) {
            try start()
        } catch {
            return fail(.filterError)
        }
        if let timeout {
            timer = worker.schedule(after: timeout) { [weak self] in
                guard let self, !self.isDecided else { return }
                if continues { self.inspect(isLast: true, timedOut: true) } else { self.fail(.timeout) }
            }
        }
        // Another listener's filters have read already.
        if !input.isEmpty { inspect(isLast: false) }
    }

    override func handleReady(_ readiness: Readiness) {
        while !isDecided {
            switch fill() {
            case .bytes: inspect(isLast: false)
            case .wouldBlock: return
            case .end:
                // Who has said nothing and goes is no connection for anybody.
                if input.isEmpty { return fail(.remoteClose) }
                return inspect(isLast: true)
            case .failed: return fail(.remoteClose)
            }
        }
    }

    private func inspect(isLast: Bool, timedOut: Bool = false) {
        while !isDecided {
            var consumed = 0
            let step = filter.inspect(input.bytes, &info, isLast: isLast, consumed: &consumed)
            if consumed > 0 { input.consume(min(consumed, input.count)) }
            switch step {
            case .more where !isLast: return
            case .close: return fail(.filterError)
            case .next, .more:
                guard let socket else { return fail(.filterError) }
                guard let next = listener.nextFilter(after: index, socket, &info) else {
                    return pass(timedOut: timedOut)
                }
                (filter, index) = next
            }
        }
    }

    /// Ends it: its listener goes, and nothing of it may come back there.
    func abandon() {
        isDecided = true
        timer?.cancel()
        close()
    }

    private func fail(_ failure: ListenerRuntime.InspectionFailure) {
        guard !isDecided else { return }
        isDecided = true
        timer?.cancel()
        close()
        listener.inspectionFailed(self, failure)
    }

    private func pass(timedOut: Bool) {
        guard !isDecided else { return }
        isDecided = true
        timer?.cancel()
        let listener = listener
        guard let (socket, input) = surrender() else { return listener.inspectionFailed(self, .filterError) }
        listener.inspected(self, socket, input: input, timedOut: timedOut)
    }
}
