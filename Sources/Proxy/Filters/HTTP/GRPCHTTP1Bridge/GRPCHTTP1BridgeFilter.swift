internal import EnvoyAPI
internal import HTTP
internal import Upstream

/// `envoy.filters.http.grpc_http1_bridge`: gives clients that speak HTTP/1.1 the status of a gRPC call in the head.
struct GRPCHTTP1BridgeFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let upgradesProtobuf: Bool
    let dropsQuery: Bool

    static let kind = HTTPFilterKind(GrpcHttp1Bridge.self) { message, context throws(ConfigurationError) in
        try FieldCheck.check(
            message, reads: ["upgrade_protobuf_to_grpc", "ignore_query_parameters"], at: context.path)
        return GRPCHTTP1BridgeFilterConfig(
            name: context.name, isDisabled: context.isDisabled, upgradesProtobuf: message.upgradeProtobufToGrpc,
            dropsQuery: message.ignoreQueryParameters)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { GRPCHTTP1BridgeFilter(self) }
}

/// Bridges one call.
final class GRPCHTTP1BridgeFilter: HTTPFilter {
    private let config: GRPCHTTP1BridgeFilterConfig
    private var bridges = false
    /// The client sends a bare message and gets one.
    private var frames = false
    private var message: [UInt8] = []
    /// Bytes of the response's frame header that have not been taken away.
    private var headerRest = GRPCFrame.headerBytes

    init(_ config: GRPCHTTP1BridgeFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if config.upgradesProtobuf, stream.request.headers[.contentType] == "application/x-protobuf" {
            frames = true
            stream.info.answersPlainly = true
            try? stream.request.headers.set(.contentType, "application/grpc")
            stream.request.headers.remove(.contentLength)
            if !isEnd { stream.request.body = .chunked }
            stream.clearRoute()
        }
        bridges = stream.version != .http2 && stream.request.headers.isGRPC
        if bridges && config.dropsQuery {
            let path = stream.request.pathBytes
            if let mark = path.firstIndex(of: UInt8(ascii: "?")) {
                let bare = Array(path[..<mark])
                try? stream.request.setPath(bare.span.bytes)
            }
        }
        return bridges && frames && !isEnd ? .stop : .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard bridges && frames else { return .next }
        message += chunk.copy
        guard message.count <= stream.requestFilters.heldBytesMax else {
            stream.bodyTooLarge(.request)
            return .drop
        }
        guard isEnd else { return .drop }
        chunk.replace(with: GRPCFrame.header(length: message.count) + message)
        message = []
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        bridges && !isEnd ? .stop : .next
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard bridges else { return .next }
        if frames && !stream.isLocalReply && headerRest > 0 {
            let dropped = min(headerRest, chunk.count)
            headerRest -= dropped
            chunk.replace(with: Array(chunk.copy.dropFirst(dropped)))
        }
        guard isEnd else { return .hold }
        guard let trailers = stream.responseFilters.trailers else { return .next }
        if let status = trailers[.grpcStatus] {
            if UInt64(status) != 0 { stream.response.status = 503 }
            try? stream.response.headers.set(.grpcStatus, status)
        }
        if let text = trailers[.grpcMessage] { try? stream.response.headers.set(.grpcMessage, text) }
        // All of it is here: the client learns how long it is.
        let length = stream.heldBytes(.response, self) + chunk.count
        try? stream.response.headers.set(.contentLength, String(length))
        stream.response.body = .length(length)
        return .next
    }
}
