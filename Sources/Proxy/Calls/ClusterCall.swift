internal import HTTP
internal import IO
internal import Upstream

/// The whole answer of a call.
struct CallAnswer {
    var head: ResponseHead
    var body: [UInt8]
    var trailers: HeaderTable
}

/// A request that is known whole, its answer taken whole, and the tries in between.
///
/// `done` is called once: before `start` returns where nothing can be sent, later otherwise, and never after `cancel`.
final class ClusterCall: ClusterExchangeClient {
    /// What is asked of a call besides its request.
    struct Options {
        var timeout: Duration?
        var retry: RetryPolicy?
        /// What the answer's body may have.
        var answerBytesMax = CallLimits.answerBytes
        /// The call's span, which ends with it.
        var span: CallSpan?
    }

    private let worker: Worker
    private let clusterName: String
    private let request: RequestHead
    private let body: [UInt8]
    private let options: Options
    private var retry: RetryState
    private var done: ((Result<CallAnswer, Failed>) -> Void)?
    private var exchange: ClusterExchange?
    private var answer = CallAnswer(head: ResponseHead(), body: [], trailers: HeaderTable())
    private var isDropped = false
    private var timer: LoopTimer?
    private var deadline: LoopTimer?
    private var holdsRetry: ClusterRuntime?
    /// A connection that was closed just as it was used has been replaced by a new one.
    private var hasFreshTry = false

    /// A failure as an error.
    struct Failed: Error { var reason: CallFailure }

    init(
        _ request: RequestHead, body: [UInt8] = [], cluster: String, worker: Worker, options: Options,
        done: @escaping (Result<CallAnswer, Failed>) -> Void
    ) {
        self.worker = worker
        clusterName = cluster
        self.request = request
        self.body = body
        self.options = options
        self.done = done
        retry = request.read { RetryState(policy: options.retry, request: $0, honorsHeaders: false) }
    }

    /// The host of the latest try.
    var host: SocketAddress? { exchange?.host }

    func start() {
        if let timeout = options.timeout, timeout > .zero, options.retry != nil {
            // One time for all tries together.
            deadline = worker.schedule(after: timeout) { [weak self] in self?.deadlinePassed() }
        }
        begin()
    }

    private func begin() {
        guard let cluster = worker.cluster(named: clusterName) else {
            return finish(.failure(Failed(reason: .noCluster)))
        }
        isDropped = false
        let exchange = ClusterExchange(request, cluster: cluster, worker: worker, for: self)
        self.exchange = exchange
        let timeout = options.timeout.flatMap { $0 > .zero ? $0 : nil }
        exchange.start(timeout: timeout, fresh: hasFreshTry)
        exchange.send(body)
        exchange.finishSending()
    }

    private func deadlinePassed() {
        guard done != nil else { return }
        deadline = nil
        // The exchange counts it where one is under way.
        if let exchange, !exchange.isFinished {
            exchange.passDeadline()
        } else {
            finish(.failure(Failed(reason: .timedOut)))
        }
    }

    /// Gives it up: `done` is not called any more.
    func cancel() {
        done = nil
        options.span?.end(status: nil)
        let exchange = exchange
        clear()
        exchange?.cancel()
    }

    // MARK: Answer

    func exchangeHead(_ head: inout ResponseHead) {
        swap(&head, &answer.head)
        guard retry.mayRetry else { return }
        let decision = retry.decide(
            after: TryOutcome.of(answer.head), response: ResponseHeadView(head: answer.head),
            random: worker.random.next())
        if case .retry(let wait) = decision, acquireRetry() {
            isDropped = true
            exchange?.cancelForRetry()
            again(wait)
        }
    }

    func exchangeBody(_ bytes: UnsafeRawBufferPointer) {
        guard !isDropped else { return }
        guard answer.body.count + bytes.count <= options.answerBytesMax else {
            let exchange = exchange
            finish(.failure(Failed(reason: .tooLarge)))
            exchange?.cancel()
            return
        }
        answer.body.append(contentsOf: bytes)
    }

    func exchangeEnd(_ trailers: borrowing HeaderTable) {
        answer.trailers = copy trailers
        finish(.success(answer))
    }

    func exchangeFailed(_ failure: CallFailure) {
        if case .reset(_, refused: true) = failure, !hasFreshTry {
            // Nobody has seen the request: it goes out once more, and nobody notices.
            hasFreshTry = true
            return begin()
        }
        if retry.mayRetry {
            let outcome: TryOutcome? =
                switch failure {
                case .connect: .connectFailure
                case .reset(_, let refused): refused ? .refusedStream : .reset(requestBytesSent: true)
                case .timedOut: deadline == nil ? nil : .perTryTimeout
                default: nil
                }
            if let outcome, case .retry(let wait) = retry.decide(after: outcome, random: worker.random.next()),
                acquireRetry()
            {
                return again(wait)
            }
        }
        finish(.failure(Failed(reason: failure)))
    }

    // MARK: Again

    private func acquireRetry() -> Bool {
        guard holdsRetry == nil else { return true }
        guard let cluster = worker.cluster(named: clusterName) else { return false }
        guard cluster.acquire(.retry, .normal) else {
            cluster.count(.upstream_rq_retry_overflow)
            return false
        }
        holdsRetry = cluster
        return true
    }

    private func again(_ wait: Duration) {
        holdsRetry?.count(.upstream_rq_retry)
        exchange = nil
        answer = CallAnswer(head: ResponseHead(), body: [], trailers: HeaderTable())
        timer = worker.schedule(after: wait) { [weak self] in
            guard let self, self.done != nil else { return }
            self.begin()
        }
    }

    private func finish(_ result: Result<CallAnswer, Failed>) {
        guard let done else { return }
        if let cluster = holdsRetry, case .success(let answer) = result, answer.head.status < 500 {
            cluster.count(.upstream_rq_retry_success)
        }
        self.done = nil
        if let span = options.span {
            if case .success(let answer) = result {
                span.end(status: answer.head.status)
            } else {
                span.end(status: nil)
            }
        }
        clear()
        done(result)
    }

    private func clear() {
        timer?.cancel()
        timer = nil
        deadline?.cancel()
        deadline = nil
        exchange = nil
        holdsRetry?.release(.retry, .normal)
        holdsRetry = nil
    }
}
