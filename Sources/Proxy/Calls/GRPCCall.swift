internal import HTTP
internal import IO
internal import Upstream

/// A gRPC call with one message each way.
final class GRPCCall {
    private let call: ClusterCall?
    private let done: (Result<[UInt8], GRPCStatus>) -> Void

    /// `done` is called once: before `start` returns where nothing can be sent, later otherwise, and never after `cancel`.
    init(
        _ target: GRPCTarget, path: String, message: [UInt8], worker: Worker, stream: HTTPStream?, timeout: Duration?,
        done: @escaping (Result<[UInt8], GRPCStatus>) -> Void
    ) {
        self.done = done
        guard var head = target.head(path, stream: stream, timeout: timeout) else {
            call = nil
            return
        }
        var options = ClusterCall.Options(
            timeout: timeout, retry: target.retry, answerBytesMax: target.messageBytesMax &+ GRPCCall.frameBytes)
        if let stream, let span = stream.span?.beginCall(to: target.cluster, stream) {
            span.inject(into: &head.headers)
            options.span = span
        }
        let limit = target.messageBytesMax
        call = ClusterCall(
            head, body: GRPCMessageDecoder.frame(message), cluster: target.cluster, worker: worker, options: options
        ) { result in
            switch result {
            case .success(let answer): done(GRPCCall.read(answer, limit))
            case .failure(let failed): done(.failure(failed.reason.status))
            }
        }
    }

    /// What stands before each message.
    static let frameBytes = 5

    func start() {
        guard let call else { return done(.failure(GRPCStatus(.internal, "the call cannot be written"))) }
        call.start()
    }

    func cancel() { call?.cancel() }

    /// The host that was asked.
    var host: SocketAddress? { call?.host }

    /// The message of a whole answer.
    static func read(_ answer: CallAnswer, _ limit: Int) -> Result<[UInt8], GRPCStatus> {
        let headers = answer.head.headers
        guard answer.head.status == 200, GRPCRequest.isGRPC(headers) || headers.contains(.grpcStatus) else {
            return .failure(GRPCStatus(trailers: HeaderTable(), httpStatus: answer.head.status))
        }
        let last = headers.contains(.grpcStatus) && answer.trailers.isEmpty ? headers : answer.trailers
        let status = GRPCStatus(trailers: last, httpStatus: 200)
        guard status.code == .ok else { return .failure(status) }
        var decoder = GRPCMessageDecoder(limitBytes: limit)
        decoder.append(answer.body)
        do throws(GRPCStatus) {
            guard let message = try decoder.next() else {
                return .failure(GRPCStatus(.internal, "the answer has no message"))
            }
            return .success(message)
        } catch {
            return .failure(error)
        }
    }
}
