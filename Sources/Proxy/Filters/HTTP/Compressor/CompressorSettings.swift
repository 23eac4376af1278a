internal import EnvoyAPI
internal import HTTP
internal import Telemetry
internal import Upstream

/// What is compressed in one direction, and its counters.
struct CompressorDirection: Sendable {
    let enabled: RuntimeSwitch
    let lengthMin: Int
    let contentTypes: Set<String>
    let compressed: MetricCounter
    let notCompressed: MetricCounter
    let bytesBefore: MetricCounter
    let bytesAfter: MetricCounter
    let tooShort: MetricCounter

    /// Envoy's.
    static let lengthDefault = 30
    static let contentTypesDefault: Set<String> = [
        "text/html", "text/plain", "text/css", "application/javascript", "application/x-javascript", "text/javascript",
        "text/x-javascript", "text/ecmascript", "text/js", "text/jscript", "text/x-js", "application/ecmascript",
        "application/x-json", "application/xml", "application/json", "image/svg+xml", "text/xml",
        "application/xhtml+xml", "application/grpc-web", "application/grpc-web+proto",
    ]

    init(enabled: RuntimeFeatureFlag?, lengthMin: UInt32?, contentTypes: [String], _ scope: MetricScope) {
        self.enabled = RuntimeSwitch(enabled)
        let length = lengthMin ?? 0
        self.lengthMin = length > 0 ? Int(length) : Self.lengthDefault
        self.contentTypes =
            contentTypes.isEmpty ? Self.contentTypesDefault : Set(contentTypes.map { $0.lowercased() })
        compressed = scope.counter("compressed")
        notCompressed = scope.counter("not_compressed")
        bytesBefore = scope.counter("total_uncompressed_bytes")
        bytesAfter = scope.counter("total_compressed_bytes")
        tooShort = scope.counter("content_length_too_small")
    }

    /// Whether a body of this length is worth it; counts where it is not.
    func isLongEnough(_ headers: borrowing HeaderTable, _ body: BodyFraming, row: Int) -> Bool {
        let length: Int
        if case .length(let count) = body {
            length = count
        } else if let text = headers[.contentLength] {
            length = Int(text) ?? -1
        } else {
            return true
        }
        if length >= lengthMin { return true }
        tooShort.add(row: row)
        return false
    }

    /// Whether a body of this type is; nothing said is.
    func takes(_ headers: borrowing HeaderTable) -> Bool {
        guard let type = headers[.contentType] else { return true }
        return contentTypes.contains(String(type.prefix { $0 != ";" }).trimmedBlanks.lowercased())
    }
}

/// What is said about responses beyond that.
struct CompressorResponses: Sendable {
    let direction: CompressorDirection
    let leavesETags: Bool
    let removesAcceptEncoding: Bool
    let incompressibleStatuses: Set<UInt32>
    let showsStatus: Bool
    let noAcceptHeader: MetricCounter
    let identity: MetricCounter
    let used: MetricCounter
    let overshadowed: MetricCounter
    let wildcard: MetricCounter
    let notValid: MetricCounter
    let notCompressedETag: MetricCounter

    init(
        _ message: Compressor, at path: String, _ scope: MetricScope, _ directionScope: MetricScope
    ) throws(ConfigurationError) {
        if let responses = message.responseDirectionConfig {
            try FieldCheck.check(
                responses,
                reads: [
                    "common_config", "disable_on_etag_header", "remove_accept_encoding_header",
                    "uncompressible_response_codes", "status_header_enabled",
                ], at: path + ".response_direction_config")
            let common = responses.commonConfig
            direction = CompressorDirection(
                enabled: common?.enabled, lengthMin: common?.minContentLength, contentTypes: common?.contentType ?? [],
                directionScope)
            leavesETags = responses.disableOnEtagHeader
            removesAcceptEncoding = responses.removeAcceptEncodingHeader
            incompressibleStatuses = Set(responses.uncompressibleResponseCodes)
            for status in responses.uncompressibleResponseCodes where !(200..<600).contains(status) {
                throw ConfigurationError(
                    at: path + ".response_direction_config.uncompressible_response_codes",
                    "\(status) is not from 200 to 599")
            }
            showsStatus = responses.statusHeaderEnabled
        } else {
            direction = CompressorDirection(
                enabled: message.runtimeEnabled, lengthMin: message.contentLength, contentTypes: message.contentType,
                directionScope)
            leavesETags = message.disableOnEtagHeader
            removesAcceptEncoding = message.removeAcceptEncodingHeader
            incompressibleStatuses = []
            showsStatus = false
        }
        noAcceptHeader = scope.counter("no_accept_header")
        identity = scope.counter("header_identity")
        used = scope.counter("header_compressor_used")
        overshadowed = scope.counter("header_compressor_overshadowed")
        wildcard = scope.counter("header_wildcard")
        notValid = scope.counter("header_not_valid")
        notCompressedETag = scope.counter("not_compressed_etag")
    }
}

/// What a route says about the filter.
struct CompressorRoute: Sendable {
    /// Whether responses are compressed; nil: as the filter says.
    var compressesResponses: Bool?
    var removesAcceptEncoding: Bool?
    var library: CompressorLibrary?

    init(compiling message: CompressorPerRoute, at path: String) throws(ConfigurationError) {
        switch message.override {
        case .disabled(let isDisabled):
            guard isDisabled else { throw ConfigurationError(at: FieldCheck.join(path, "disabled"), "must be true") }
            compressesResponses = false
        case .overrides(let overrides):
            if let responses = overrides.responseDirectionConfig {
                compressesResponses = true
                removesAcceptEncoding = responses.removeAcceptEncodingHeader
            }
            if let library = overrides.compressorLibrary {
                self.library = try CompressorLibrary(
                    compiling: library, at: FieldCheck.join(path, "overrides.compressor_library"))
            }
        case nil: throw ConfigurationError(at: path, "set disabled or overrides")
        }
    }
}
