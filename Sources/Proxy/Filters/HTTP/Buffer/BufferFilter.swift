internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Upstream

/// `envoy.filters.http.buffer`: a request goes on when it is there whole, and not at all when it is too large.
struct BufferHTTPFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let settings: BufferSettings

    static let kind = HTTPFilterKind(
        BufferFilterConfig.self, perRoute: BufferPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            BufferHTTPFilterConfig(
                name: context.name, isDisabled: context.isDisabled,
                settings: try BufferSettings(compiling: message, at: context.path))
        },
        compileRoute: { message, context throws(ConfigurationError) in
            switch message.override {
            case .disabled: return BufferSettings(bytesMax: nil)
            case .buffer(let buffer):
                return try BufferSettings(compiling: buffer, at: FieldCheck.join(context.path, "buffer"))
            case nil: throw ConfigurationError(at: context.path, "set disabled or buffer")
            }
        })

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? {
        guard !stream.requestHasNoBody, !stream.request.isUpgrade else { return nil }
        let settings = stream.routeConfig(for: name) as? BufferSettings ?? settings
        return settings.bytesMax.map { BufferFilter(bytesMax: $0) }
    }
}

/// The size, or none where a route switches the filter off.
struct BufferSettings: Sendable {
    let bytesMax: Int?

    init(bytesMax: Int?) { self.bytesMax = bytesMax }

    init(compiling message: BufferFilterConfig, at path: String) throws(ConfigurationError) {
        guard let bytes = message.maxRequestBytes, bytes > 0 else {
            throw ConfigurationError(at: FieldCheck.join(path, "max_request_bytes"), "must be above 0")
        }
        bytesMax = Int(bytes)
    }
}

/// Collects one request's body.
final class BufferFilter: HTTPFilter {
    private let bytesMax: Int

    init(bytesMax: Int) { self.bytesMax = bytesMax }

    let interest: FilterInterest = [.requestHead, .requestBody]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard !isEnd else { return .next }
        stream.direction(stream.flow(.request, of: self)) { $0.heldBytesMax = bytesMax }
        return .stop
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        let held = stream.heldBytes(.request, self) + chunk.count
        guard isEnd, held <= bytesMax else { return .hold }
        // The length is known now: hosts that do not take chunks get it.
        let hasNoTrailers = stream.direction(stream.flow(.request, of: self)) { $0.trailers == nil }
        if case .chunked = stream.request.body, hasNoTrailers {
            stream.request.body = .length(held)
            try? stream.request.headers.set(.contentLength, String(held))
        }
        return .next
    }
}
