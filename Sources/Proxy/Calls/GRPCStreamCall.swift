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
/// It has no timeout of its own: whoever waits for a message knows how long.
final class GRPCStreamCall: ClusterExchangeClient {
    private var exchange: ClusterExchange?
    private weak var client: (any GRPCStreamCallClient)?
    private var decoder: GRPCMessageDecoder
    private var httpStatus: UInt16 = 0
    private var headStatus: GRPCStatus?
    private(set) var isOver = false
    private var span: CallSpan?
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
        let exchange = ClusterExchange(head, cluster: cluster, worker: worker, for: self)
        self.exchange = exchange
        exchange.start(timeout: nil)
    }

    /// Whether the server reads slower than we write; `callDrained` follows.
    var isBlocked: Bool { exchange?.isBlocked ?? false }

    /// Whether there is a server, and it reads slower than we write: not so while a connection is awaited.
    var isReadSlowly: Bool { exchange?.isReadSlowly ?? false }

    var isPaused: Bool { client?.callIsPaused ?? false }

    /// Its client takes more.
    func mayContinue() { exchange?.mayContinue() }

    func send(_ message: [UInt8]) { exchange?.send(GRPCMessageDecoder.frame(message)) }

    /// No more messages follow from us.
    func finishSending() { exchange?.finishSending() }

    /// Ends it at once; its client hears nothing more.
    func cancel() {
        guard !isOver else { return }
        isOver = true
        span?.end(status: httpStatus > 0 ? httpStatus : nil)
        client = nil
        exchange?.cancel()
        exchange = nil
    }

    // MARK: Answer

    func exchangeHead(_ head: inout ResponseHead) {
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

    func exchangeFailed(_ failure: CallFailure) { end(failure.status) }

    func exchangeDrained() { client?.callDrained() }

    private func fail(_ status: GRPCStatus) {
        exchange?.cancel()
        end(status)
    }

    private func end(_ status: GRPCStatus) {
        guard !isOver else { return }
        isOver = true
        span?.end(status: httpStatus > 0 ? httpStatus : nil)
        exchange = nil
        let client = client
        self.client = nil
        client?.callEnded(status)
    }
}
