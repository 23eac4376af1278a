internal import HTTP
internal import IO
internal import Upstream

/// Who gets what comes on a gRPC stream.
protocol GRPCStreamCallClient: AnyObject {
    func callReceived(_ message: [UInt8])
    /// The call is over; nothing follows.
    func callEnded(_ status: GRPCStatus)
    /// What was sent has left.
    func callDrained()
    /// Whether what comes has no place to go; `GRPCStreamCall.mayContinue` follows.
    var callIsPaused: Bool { get }
}

extension GRPCStreamCallClient {
    var callIsPaused: Bool { false }
}

/// A gRPC call with messages both ways, for as long as a filter wants it.
///
/// It has no timeout of its own: whoever waits for a message knows how long. Where its target has a retry policy it begins anew, with
/// everything that was said so far, for as long as the server has not begun to answer and what was said has not outgrown
/// `CallLimits.waitingBytes`.
final class GRPCStreamCall: ClusterExchangeClient {
    private var exchange: ClusterExchange?
    private weak var client: (any GRPCStreamCallClient)?
    private var decoder: GRPCMessageDecoder
    private var httpStatus: UInt16 = 0
    private var headStatus: GRPCStatus?
    private(set) var isOver = false
    private var span: CallSpan?
    /// How it begins again; nil when it does not.
    private var beginning: Beginning?

    /// What a call is begun with.
    private struct Beginning {
        let head: RequestHead
        let cluster: String
        let worker: Worker
        var retry: RetryState
        /// Every frame so far.
        var sent: [UInt8] = []
        var isComplete = false
        var timer: LoopTimer?
        /// Whose retry it is.
        var counted: ClusterRuntime?
    }
    /// The status is the server's own.
    private(set) var endedByServer = false

    init(_ target: GRPCTarget, for client: any GRPCStreamCallClient) {
        self.client = client
        decoder = GRPCMessageDecoder(limitBytes: target.messageBytesMax)
    }

    /// Begins the call; its end may come before this returns.
    func start(_ target: GRPCTarget, path: String, worker: Worker, stream: HTTPStream?) {
        guard var head = target.head(path, stream: stream, timeout: nil) else {
            return end(GRPCStatus(.internal, "the call cannot be written"))
        }
        guard let cluster = worker.cluster(named: target.cluster) else {
            return end(CallFailure.noCluster.status)
        }
        if let stream, let span = stream.span?.beginCall(to: target.cluster, stream) {
            span.inject(into: &head.headers)
            self.span = span
        }
        if let policy = target.retry {
            beginning = Beginning(
                head: head, cluster: target.cluster, worker: worker,
                retry: head.read { RetryState(policy: policy, request: $0, honorsHeaders: false) })
        }
        let exchange = ClusterExchange(head, cluster: cluster, worker: worker, for: self)
        self.exchange = exchange
        exchange.start(timeout: nil)
    }

    // MARK: Again

    /// Whether a try that ended so is followed by another one.
    private func beginsAgain(after decide: (inout RetryState, UInt64) -> RetryState.Decision) -> Bool {
        guard !isOver, var next = beginning, next.retry.mayRetry,
            case .retry(let wait) = decide(&next.retry, next.worker.random.next()),
            let cluster = next.worker.cluster(named: next.cluster)
        else { return false }
        if next.counted == nil {
            guard cluster.acquire(.retry, .normal) else {
                cluster.count(.upstream_rq_retry_overflow)
                return false
            }
            next.counted = cluster
        }
        next.counted?.count(.upstream_rq_retry)
        exchange?.cancelForRetry()
        exchange = nil
        next.timer = next.worker.schedule(after: wait) { [weak self] in self?.beginAgain() }
        beginning = next
        return true
    }

    private func beginAgain() {
        guard !isOver, let beginning else { return }
        guard let cluster = beginning.worker.cluster(named: beginning.cluster) else {
            return end(CallFailure.noCluster.status)
        }
        let exchange = ClusterExchange(beginning.head, cluster: cluster, worker: beginning.worker, for: self)
        self.exchange = exchange
        exchange.start(timeout: nil)
        exchange.send(beginning.sent)
        if beginning.isComplete { exchange.finishSending() }
    }

    /// From here on it is this try or none.
    private func settle() {
        beginning?.timer?.cancel()
        beginning?.counted?.release(.retry, .normal)
        beginning = nil
    }

    /// Whether the server reads slower than we write; `callDrained` follows.
    var isBlocked: Bool { exchange?.isBlocked ?? false }

    /// Whether there is a server, and it reads slower than we write: not so while a connection is awaited.
    var isReadSlowly: Bool { exchange?.isReadSlowly ?? false }

    var isPaused: Bool { client?.callIsPaused ?? false }

    /// Its client takes more.
    func mayContinue() { exchange?.mayContinue() }

    func send(_ message: [UInt8]) {
        let frame = GRPCMessageDecoder.frame(message)
        if let count = beginning?.sent.count {
            if count + frame.count <= CallLimits.waitingBytes {
                beginning?.sent += frame
            } else {
                // Between two tries there is nowhere else to put it.
                guard exchange != nil else { return end(CallFailure.overflow.status) }
                settle()
            }
        }
        exchange?.send(frame)
    }

    /// No more messages follow from us.
    func finishSending() {
        beginning?.isComplete = true
        exchange?.finishSending()
    }

    /// Ends it at once; its client hears nothing more.
    func cancel() {
        guard !isOver else { return }
        isOver = true
        settle()
        span?.end(status: httpStatus > 0 ? httpStatus : nil)
        client = nil
        exchange?.cancel()
        exchange = nil
    }

    // MARK: Answer

    func exchangeHead(_ head: inout ResponseHead) {
        let outcome = TryOutcome.of(head)
        let view = ResponseHeadView(head: head)
        if beginsAgain(after: { $0.decide(after: outcome, response: view, random: $1) }) { return }
        if head.status < 500 { beginning?.counted?.count(.upstream_rq_retry_success) }
        settle()
        httpStatus = head.status
        if head.headers.contains(.grpcStatus) {
            headStatus = GRPCStatus(trailers: head.headers, httpStatus: head.status)
        } else if head.status != 200 || !GRPCRequest.isGRPC(head.headers) {
            fail(GRPCStatus(trailers: HeaderTable(), httpStatus: head.status))
        }
    }

    func exchangeBody(_ bytes: UnsafeRawBufferPointer) {
        guard !isOver else { return }
        decoder.append([UInt8](bytes))
        do throws(GRPCStatus) {
            while !isOver, let message = try decoder.next() { client?.callReceived(message) }
        } catch {
            fail(error)
        }
    }

    func exchangeEnd(_ trailers: borrowing HeaderTable) {
        endedByServer = true
        if let headStatus, trailers.isEmpty { return end(headStatus) }
        end(GRPCStatus(trailers: copy trailers, httpStatus: httpStatus))
    }

    func exchangeFailed(_ failure: CallFailure) {
        let outcome: TryOutcome? =
            switch failure {
            case .connect: .connectFailure
            case .reset(_, let refused): refused ? .refusedStream : .reset(requestBytesSent: true)
            default: nil
            }
        if let outcome, beginsAgain(after: { $0.decide(after: outcome, random: $1) }) { return }
        end(failure.status)
    }

    func exchangeDrained() { client?.callDrained() }

    private func fail(_ status: GRPCStatus) {
        exchange?.cancel()
        end(status)
    }

    private func end(_ status: GRPCStatus) {
        guard !isOver else { return }
        isOver = true
        settle()
        span?.end(status: httpStatus > 0 ? httpStatus : nil)
        exchange = nil
        let client = client
        self.client = nil
        client?.callEnded(status)
    }
}
