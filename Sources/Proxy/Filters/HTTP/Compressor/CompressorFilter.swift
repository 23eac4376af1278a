internal import Compression
internal import EnvoyAPI
internal import HTTP
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.compressor`: packs responses for clients that accept it, and requests where that is configured.
final class CompressorFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let library: CompressorLibrary
    let choosesFirst: Bool
    /// Whether requests are compressed at all.
    let hasRequests: Bool
    let requests: CompressorDirection
    let responses: CompressorResponses

    static let kind = HTTPFilterKind(
        Compressor.self, perRoute: CompressorPerRoute.self,
        compile: { message, context throws(ConfigurationError) in
            try CompressorFilterConfig(compiling: message, context)
        },
        compileRoute: { message, context throws(ConfigurationError) in
            try CompressorRoute(compiling: message, at: context.path)
        })

    private init(compiling message: Compressor, _ context: FilterContext) throws(ConfigurationError) {
        let path = context.path
        try FieldCheck.check(
            message,
            reads: [
                "content_length", "content_type", "disable_on_etag_header", "remove_accept_encoding_header",
                "runtime_enabled", "compressor_library", "request_direction_config", "response_direction_config",
                "choose_first",
            ], at: path)
        name = context.name
        isDisabled = context.isDisabled
        library = try CompressorLibrary(compiling: message.compressorLibrary, at: path + ".compressor_library")
        choosesFirst = message.chooseFirst
        let elements = ["http", context.statPrefix, "compressor", library.name, library.element]
        let registry = context.compile.metrics.registry
        let scope = registry.scope(elements)
        let common = message.requestDirectionConfig?.commonConfig
        hasRequests = message.requestDirectionConfig != nil
        requests = CompressorDirection(
            enabled: common?.enabled, lengthMin: common?.minContentLength, contentTypes: common?.contentType ?? [],
            registry.scope(elements + ["request"]))
        let isModern = message.responseDirectionConfig != nil
        responses = try CompressorResponses(
            message, at: path, scope, isModern ? registry.scope(elements + ["response"]) : scope)
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { CompressorFilter(self) }
}

/// Packs one request and its response.
final class CompressorFilter: HTTPFilter {
    private let config: CompressorFilterConfig
    private var acceptEncoding: String?
    private var requestEncoder: (any StreamEncoder)?
    private var responseEncoder: (any StreamEncoder)?

    init(_ config: CompressorFilterConfig) {
        self.config = config
        interest =
            config.hasRequests
            ? [.requestHead, .requestBody, .responseHead, .responseBody] : [.requestHead, .responseHead, .responseBody]
    }

    let interest: FilterInterest

    private func route(_ stream: HTTPStream) -> CompressorRoute? {
        stream.routeConfig(for: config.name) as? CompressorRoute
    }

    private func compressesResponses(_ route: CompressorRoute?) -> Bool {
        route?.compressesResponses ?? config.responses.direction.enabled.value
    }

    // MARK: Request

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        acceptEncoding = stream.request.headers.joined(.acceptEncoding)
        let route = route(stream)
        if acceptEncoding != nil, compressesResponses(route),
            route?.removesAcceptEncoding ?? config.responses.removesAcceptEncoding
        {
            stream.request.headers.remove(.acceptEncoding)
        }
        let requests = config.requests
        let row = stream.worker.index
        guard !isEnd, config.hasRequests, requests.enabled.value, !stream.request.isUpgrade,
            requests.isLongEnough(stream.request.headers, stream.request.body, row: row),
            requests.takes(stream.request.headers), !stream.request.headers.contains(.contentEncoding),
            let encoder = try? config.library.makeEncoder()
        else {
            requests.notCompressed.add(row: row)
            return .next
        }
        requestEncoder = encoder
        stream.request.headers.remove(.contentLength)
        stream.request.body = .chunked
        try? stream.request.headers.set(.contentEncoding, config.library.encoding)
        requests.compressed.add(row: row)
        return .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard let requestEncoder else { return .next }
        return pack(&chunk, requestEncoder, config.requests, isEnd: isEnd, stream)
    }

    // MARK: Response

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        let responses = config.responses
        let row = stream.worker.index
        let route = route(stream)
        let library = route?.library ?? config.library
        let verdict = responses.showsStatus ? explained(stream, route, isEnd) : judged(stream, route, isEnd)
        var encoder: (any StreamEncoder)?
        if verdict.packs { encoder = try? library.makeEncoder() }
        if let encoder {
            if responses.showsStatus {
                // As the upstream said it, which may be nothing.
                let length = stream.response.headers[.contentLength] ?? stream.response.body.lengthText
                show("Compressed;OriginalLength=" + length, library, stream)
            }
            responseEncoder = encoder
            dropStrongETag(stream)
            stream.response.headers.remove(.contentLength)
            stream.response.body = .chunked
            try? stream.response.headers.set(.contentEncoding, library.encoding)
            responses.direction.compressed.add(row: row)
        } else {
            responses.direction.notCompressed.add(row: row)
            if let reason = verdict.reason { show(reason, library, stream) }
        }
        if verdict.isCompressible { addVary(stream) }
        return .next
    }

    private struct Verdict {
        var packs = false
        var isCompressible = false
        var reason: String?
    }

    /// Envoy's order: the client's wishes are counted for every response that is long enough.
    private func judged(_ stream: HTTPStream, _ route: CompressorRoute?, _ isEnd: Bool) -> Verdict {
        let responses = config.responses
        let headers = stream.response.headers
        let row = stream.worker.index
        guard compressesResponses(route), responses.direction.isLongEnough(headers, stream.response.body, row: row)
        else { return Verdict() }
        var verdict = Verdict()
        verdict.isCompressible =
            stream.response.status != 101 && responses.direction.takes(headers)
            && !headers.list(.cacheControl, contains: "no-transform") && allowsETag(headers, row)
            && !headers.contains(.contentEncoding)
            && !responses.incompressibleStatuses.contains(UInt32(stream.response.status))
        verdict.packs = !isEnd && isAccepted(stream, route) && verdict.isCompressible
        return verdict
    }

    /// With the status header, the order in which Envoy finds the reason that it shows.
    private func explained(_ stream: HTTPStream, _ route: CompressorRoute?, _ isEnd: Bool) -> Verdict {
        let responses = config.responses
        let headers = stream.response.headers
        let row = stream.worker.index
        guard compressesResponses(route), stream.response.status != 101, !headers.contains(.contentEncoding),
            !headers.list(.cacheControl, contains: "no-transform")
        else { return Verdict() }
        guard responses.direction.isLongEnough(headers, stream.response.body, row: row) else {
            return Verdict(reason: "ContentLengthTooSmall")
        }
        guard responses.direction.takes(headers) else { return Verdict(reason: "ContentTypeNotAllowed") }
        guard allowsETag(headers, row) else { return Verdict(reason: "EtagNotAllowed") }
        guard !responses.incompressibleStatuses.contains(UInt32(stream.response.status)) else {
            return Verdict(reason: "StatusCodeNotAllowed")
        }
        return Verdict(packs: !isEnd && isAccepted(stream, route), isCompressible: true)
    }

    private func allowsETag(_ headers: borrowing HeaderTable, _ row: Int) -> Bool {
        guard config.responses.leavesETags, headers.contains(.etag) else { return true }
        config.responses.notCompressedETag.add(row: row)
        return false
    }

    /// Whether this filter is the one that the client's wishes lead to.
    ///
    /// All compressors of a chain decide alike, so that one of them packs.
    private func isAccepted(_ stream: HTTPStream, _ route: CompressorRoute?) -> Bool {
        let responses = config.responses
        let row = stream.worker.index
        guard let acceptEncoding else {
            responses.noAcceptHeader.add(row: row)
            return false
        }
        var candidates: [AcceptEncoding.Candidate] = []
        for filter in stream.manager.filters {
            guard let other = filter as? CompressorFilterConfig,
                other.responses.direction.takes(stream.response.headers)
            else { continue }
            let override = stream.routeConfig(for: other.name) as? CompressorRoute
            candidates.append(
                AcceptEncoding.Candidate(
                    encoding: (override?.library ?? other.library).encoding, choosesFirst: other.choosesFirst))
        }
        let choice = AcceptEncoding.choose(acceptEncoding, among: candidates)
        let isOurs = choice.encoding.lowercased() == (route?.library ?? config.library).encoding
        switch choice.reason {
        case .compressor: (isOurs ? responses.used : responses.overshadowed).add(row: row)
        case .identity: responses.identity.add(row: row)
        case .wildcard: responses.wildcard.add(row: row)
        case .notValid: responses.notValid.add(row: row)
        }
        return isOurs
    }

    /// A strong validator names the bytes, which are others now (RFC 9110 §8.8.1).
    private func dropStrongETag(_ stream: HTTPStream) {
        guard let tag = stream.response.headers[.etag], tag.utf8.count > 2 else { return }
        if !tag.hasPrefix("W/") && !tag.hasPrefix("w/") { stream.response.headers.remove(.etag) }
    }

    private func addVary(_ stream: HTTPStream) {
        guard let vary = stream.response.headers.joined(.vary) else {
            stream.response.headers.append(.vary, constant: "Accept-Encoding")
            return
        }
        if vary.split(separator: ",").contains(where: { String($0).trimmedBlanks == "Accept-Encoding" }) { return }
        try? stream.response.headers.set(.vary, vary + ", Accept-Encoding")
    }

    private func show(_ status: String, _ library: CompressorLibrary, _ stream: HTTPStream) {
        try? stream.response.headers.append("x-envoy-compression-status", library.encoding + ";" + status)
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard let responseEncoder else { return .next }
        return pack(&chunk, responseEncoder, config.responses.direction, isEnd: isEnd, stream)
    }

    private func pack(
        _ chunk: inout BodyChunk, _ encoder: any StreamEncoder, _ direction: CompressorDirection, isEnd: Bool,
        _ stream: HTTPStream
    ) -> BodyStep {
        let row = stream.worker.index
        var packed: [UInt8] = []
        let before = chunk.count
        let isFine = chunk.withBytes { bytes in
            (try? encoder.encode(bytes, isEnd: isEnd, into: &packed)) != nil
        }
        guard isFine else {
            // The library has no memory: half a body must not look like a whole one.
            stream.router?.abandon()
            stream.reset()
            return .drop
        }
        direction.bytesBefore.add(UInt64(before), row: row)
        direction.bytesAfter.add(UInt64(packed.count), row: row)
        chunk.replace(with: packed)
        return .next
    }
}

extension BodyFraming {
    /// The length where it is known.
    fileprivate var lengthText: String {
        if case .length(let count) = self { return String(count) }
        return ""
    }
}
