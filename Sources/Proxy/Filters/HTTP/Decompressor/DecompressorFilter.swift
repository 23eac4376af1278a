internal import Compression
internal import EnvoyAPI
internal import HTTP
internal import Serialization
internal import Telemetry
internal import Upstream

/// `envoy.filters.http.decompressor`: unpacks bodies whose coding it knows, for a side that does not.
final class DecompressorFilterConfig: HTTPFilterConfig {
    let name: String
    let isDisabled: Bool
    let library: DecompressorLibrary
    let advertises: Bool
    let requests: DecompressorDirection
    let responses: DecompressorDirection
    /// Fields of the trailers that say how much was unpacked.
    let packedBytesField: String
    let unpackedBytesField: String

    static let kind = HTTPFilterKind(Decompressor.self) { message, context throws(ConfigurationError) in
        try DecompressorFilterConfig(compiling: message, context)
    }

    private init(compiling message: Decompressor, _ context: FilterContext) throws(ConfigurationError) {
        try FieldCheck.check(
            message, reads: ["decompressor_library", "request_direction_config", "response_direction_config"],
            at: context.path)
        name = context.name
        isDisabled = context.isDisabled
        let registry = context.compile.metrics.registry
        let elements = ["http", context.statPrefix, "decompressor"]
        library = try DecompressorLibrary(
            compiling: message.decompressorLibrary, at: context.path + ".decompressor_library", registry, elements)
        advertises = message.requestDirectionConfig?.advertiseAcceptEncoding ?? true
        let own = elements + [library.name, library.element]
        requests = DecompressorDirection(
            message.requestDirectionConfig?.commonConfig, registry.scope(own + ["request"]))
        responses = DecompressorDirection(
            message.responseDirectionConfig?.commonConfig, registry.scope(own + ["response"]))
        let prefix = "x-envoy-decompressor-" + library.name.lowercased()
        packedBytesField = prefix + "-compressed-bytes"
        unpackedBytesField = prefix + "-uncompressed-bytes"
    }

    func make(_ stream: HTTPStream) -> (any HTTPFilter)? { DecompressorFilter(self) }
}

/// What is unpacked in one direction, and its counters.
struct DecompressorDirection: Sendable {
    let enabled: RuntimeSwitch
    let ignoresNoTransform: Bool
    let unpacked: MetricCounter
    let notUnpacked: MetricCounter
    let bytesPacked: MetricCounter
    let bytesUnpacked: MetricCounter

    init(_ message: Decompressor.CommonDirectionConfig?, _ scope: MetricScope) {
        enabled = RuntimeSwitch(message?.enabled)
        ignoresNoTransform = message?.ignoreNoTransformHeader ?? false
        unpacked = scope.counter("decompressed")
        notUnpacked = scope.counter("not_decompressed")
        bytesPacked = scope.counter("total_compressed_bytes")
        bytesUnpacked = scope.counter("total_uncompressed_bytes")
    }

    /// Whether a message with these fields is unpacked; if so, they say what it will be.
    func adopts(_ headers: inout HeaderTable, encoding: String, row: Int) -> Bool {
        let codings = headers.joined(.contentEncoding) ?? ""
        let parts = codings.split(separator: ",", maxSplits: 1, omittingEmptySubsequences: false)
        guard enabled.value, ignoresNoTransform || !headers.list(.cacheControl, contains: "no-transform"),
            let first = parts.first, String(first).trimmedBlanks.lowercased() == encoding
        else {
            notUnpacked.add(row: row)
            return false
        }
        unpacked.add(row: row)
        headers.remove(.contentLength)
        if parts.count > 1 {
            try? headers.set(.contentEncoding, String(String(parts[1]).trimmedBlanks))
        } else {
            headers.remove(.contentEncoding)
        }
        return true
    }
}

/// Unpacks one request and its response.
final class DecompressorFilter: HTTPFilter {
    private let config: DecompressorFilterConfig
    private var requestBody: UnpackingBody?
    private var responseBody: UnpackingBody?

    init(_ config: DecompressorFilterConfig) { self.config = config }

    let interest: FilterInterest = [.requestHead, .requestBody, .responseHead, .responseBody]

    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        if config.responses.enabled.value && config.advertises {
            let field = stream.request.headers.joined(.acceptEncoding) ?? ""
            try? stream.request.headers.set(
                .acceptEncoding, AcceptEncoding.adding(config.library.encoding, to: field))
        }
        guard !isEnd, !stream.request.isUpgrade,
            config.requests.adopts(
                &stream.request.headers, encoding: config.library.encoding, row: stream.worker.index)
        else { return .next }
        stream.request.body = .chunked
        requestBody = UnpackingBody(config.library)
        return .next
    }

    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard let requestBody else { return .next }
        requestBody.unpack(&chunk, config.requests, isEnd: isEnd, row: stream.worker.index)
        if isEnd {
            var trailers = stream.requestFilters.trailers ?? HeaderTable()
            requestBody.report(config, in: &trailers)
            stream.requestFilters.trailers = trailers
        }
        return .next
    }

    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep {
        guard !isEnd, stream.response.status != 101,
            config.responses.adopts(
                &stream.response.headers, encoding: config.library.encoding, row: stream.worker.index)
        else { return .next }
        stream.response.body = .chunked
        responseBody = UnpackingBody(config.library)
        return .next
    }

    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep {
        guard let responseBody else { return .next }
        responseBody.unpack(&chunk, config.responses, isEnd: isEnd, row: stream.worker.index)
        if isEnd {
            var trailers = stream.responseFilters.trailers ?? HeaderTable()
            responseBody.report(config, in: &trailers)
            stream.responseFilters.trailers = trailers
        }
        return .next
    }
}

/// One body on its way through a decoder.
final class UnpackingBody {
    private let library: DecompressorLibrary
    private let decoder: (any StreamDecoder)?
    /// What follows an error cannot be told from noise.
    private var isBroken = false
    private var packedBytes: UInt64 = 0
    private var unpackedBytes: UInt64 = 0

    init(_ library: DecompressorLibrary) {
        self.library = library
        decoder = try? library.makeDecoder()
        if decoder == nil { isBroken = true }
    }

    /// Puts the unpacked bytes in the place of a piece.
    ///
    /// ATK-18: a piece may grow by `max_inflate_ratio`, no more; what was unpacked by then goes on, and nothing after it.
    func unpack(_ chunk: inout BodyChunk, _ direction: DecompressorDirection, isEnd: Bool, row: Int) {
        let before = chunk.count
        var unpacked: [UInt8] = []
        if !isBroken, before > 0, let decoder {
            let outcome = chunk.withBytes { bytes -> CompressionError? in
                do throws(CompressionError) {
                    try decoder.decodeAll(
                        bytes, upTo: before.multipliedReportingOverflow(by: library.ratio).partialValue,
                        into: &unpacked)
                    return nil
                } catch {
                    return error
                }
            }
            if let outcome {
                isBroken = true
                library.count(outcome, row: row)
            }
        }
        packedBytes &+= UInt64(before)
        unpackedBytes &+= UInt64(unpacked.count)
        direction.bytesPacked.add(UInt64(before), row: row)
        direction.bytesUnpacked.add(UInt64(unpacked.count), row: row)
        chunk.replace(with: unpacked)
    }

    func report(_ config: DecompressorFilterConfig, in trailers: inout HeaderTable) {
        try? trailers.append(config.packedBytesField, String(packedBytes))
        try? trailers.append(config.unpackedBytesField, String(unpackedBytes))
    }
}
