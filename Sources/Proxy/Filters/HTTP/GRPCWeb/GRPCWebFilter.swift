internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.grpc_web`: lets browsers speak gRPC, which cannot see trailers.
struct GRPCWebFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let book = GRPCCounterBook(element: "grpc-web")

    static let kind = HTTPFilterKind(GrpcWeb.self) { message, context throws(ConfigurationError) in
        GRPCWebFilterConfig(name: context.name, isDisabled: context.isDisabled)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { GRPCWebFilter(self) }
}

/// Translates one call.
final class GRPCWebFilter: HTTPFilter {
    private let config: GRPCWebFilterConfig
    private var counters: GRPCCounters?
    private var isGRPCWeb = false
    private var requestIsText = false
    private var responseIsText = false
    /// Base64 that waits for the rest of its group.
    private var undecoded: [UInt8] = []
    private var encoder = GRPCWebTextEncoder()
    /// The body of an answer that is no gRPC, on its way into `grpc-message`.
    private var plainBody: [UInt8]?

    /// Envoy's bound for what becomes `grpc-message`.
    static let messageBytesMax = 16_384
    /// Marks the frame that holds the trailers.
    private static let trailersFlag: UInt8 = 0x80

    init(_ config: GRPCWebFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody]

    // MARK: Request

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        switch stream.request.headers[.contentType] {
        case "application/grpc-web", "application/grpc-web+proto": break
        case "application/grpc-web-text", "application/grpc-web-text+proto": requestIsText = true
        default: return .next
        }
        isGRPCWeb = true
        stream.info.answersPlainly = true
        stream.request.headers.remove(.contentLength)
        if !isEnd { stream.request.body = .chunked }
        _ = stream.currentRoute
        if let cluster = stream.target?.cluster, stream.worker.cluster(named: cluster) != nil,
            let method = GRPCMethodName(path: stream.request.pathBytes)
        {
            counters = config.book.counters(cluster: cluster, method: method, stream.worker.metrics)
        }
        let accept = stream.request.headers[.accept]
        responseIsText = accept == "application/grpc-web-text" || accept == "application/grpc-web-text+proto"
        try? stream.request.headers.set(.contentType, "application/grpc")
        try? stream.request.headers.set(.te, "trailers")
        if !stream.request.headers.contains(.grpcAcceptEncoding) {
            stream.request.headers.append(.grpcAcceptEncoding, constant: "identity")
        }
        return .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard requestIsText else { return .next }
        undecoded += chunk.copy
        let whole = undecoded.count / 4 * 4
        if isEnd && whole < undecoded.count {
            return refuse(stream, details: "grpc_base_64_decode_failed_bad_size")
        }
        guard let bytes = Base64Groups.decode(undecoded[..<whole]) else {
            return refuse(stream, details: "grpc_base_64_decode_failed")
        }
        undecoded.removeFirst(whole)
        chunk.replace(with: bytes)
        return .next
    }

    private func refuse(_ stream: HTTPStream, details: String) -> BodyStep {
        stream.router?.abandon()
        stream.localReply(status: 400, body: "Bad gRPC-web request, invalid base64 data.", details: details)
        return .drop
    }

    // MARK: Response

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard isGRPCWeb else { return .next }
        counters?.countEnd(stream.response.headers, row: stream.worker.index)
        let isPlain = !isGRPC(stream.response, isEnd: isEnd)
        stream.response.headers.remove(.contentLength)
        try? stream.response.headers.set(
            .contentType, responseIsText ? "application/grpc-web-text+proto" : "application/grpc-web+proto")
        guard !isEnd else { return .next }
        stream.response.body = .chunked
        guard isPlain else { return .next }
        plainBody = []
        return .stop
    }

    /// Whether a response is gRPC or gRPC-Web already.
    private func isGRPC(_ response: borrowing ResponseHead, isEnd: Bool) -> Bool {
        if isEnd { return response.headers.contains(.grpcStatus) }
        guard response.status == 200 else { return false }
        if response.headers.isGRPC { return true }
        guard let type = response.headers[.contentType] else { return false }
        let media = String(type.prefix { $0 != ";" }).trimmedBlanks.lowercased()
        return media == "application/grpc-web" || media == "application/grpc-web+proto"
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard isGRPCWeb else { return .next }
        if let plainBody { return explain(stream, plainBody, &chunk, isEnd: isEnd) }
        var bytes: [UInt8]?
        if responseIsText { bytes = encoder.encode(chunk.copy) }
        if isEnd, let trailers = stream.responseFilters.trailers {
            counters?.countEnd(trailers, row: stream.worker.index)
            bytes = (bytes ?? chunk.copy) + frame(trailers)
            // They are in the body now.
            stream.responseFilters.trailers = nil
        }
        if let bytes { chunk.replace(with: bytes) }
        return .next
    }

    /// An answer that is no gRPC becomes a status with its text as the message.
    private func explain(
        _ stream: HTTPStream, _ body: [UInt8], _ chunk: inout BodyChunk, isEnd: Bool
    ) -> BodyStep {
        let body = body + chunk.copy.prefix(max(0, Self.messageBytesMax - body.count))
        plainBody = body
        guard isEnd else { return .drop }
        plainBody = nil
        if let trailers = stream.responseFilters.trailers {
            counters?.countEnd(trailers, row: stream.worker.index)
        }
        try? stream.response.headers.set(.grpcMessage, GRPCFailure.escape(body))
        try? stream.response.headers.set(
            .grpcStatus, String(GRPCFailure.of(httpStatus: stream.response.status)))
        stream.response.body = .length(0)
        chunk.replace(with: [])
        return .next
    }

    /// The trailers as the last frame of the body.
    private func frame(_ trailers: borrowing HeaderTable) -> [UInt8] {
        var block: [UInt8] = []
        for index in 0..<trailers.count {
            trailers.name(at: index).withUnsafeBytes { block += $0 }
            block.append(UInt8(ascii: ":"))
            trailers.value(at: index).withUnsafeBytes { block += $0 }
            block += [UInt8(ascii: "\r"), UInt8(ascii: "\n")]
        }
        let frame = GRPCFrame.header(flag: Self.trailersFlag, length: block.count) + block
        guard responseIsText else { return frame }
        var text: [UInt8] = []
        _ = Base64Groups.encode(frame[...], isEnd: true, into: &text)
        return text
    }
}

/// What stands before each message of gRPC.
enum GRPCFrame {
    static let headerBytes = 5

    static func header(flag: UInt8 = 0, length: Int) -> [UInt8] {
        let length = UInt32(clamping: length)
        return [flag] + [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: length >> $0) }
    }
}
