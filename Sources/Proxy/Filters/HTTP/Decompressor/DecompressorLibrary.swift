internal import Compression
internal import EnvoyAPI
internal import Serialization
internal import Telemetry
internal import Upstream

/// A compiled `decompressor_library`: which coding, and how much it may unpack to.
struct DecompressorLibrary: Sendable {
    let name: String
    private let settings: Settings
    /// How much larger than a packed piece the unpacked one may be.
    let ratio: Int
    private let errors: MetricScope

    private enum Settings: Sendable {
        case gzip(windowBits: Int)
        case brotli(keepsRingBuffer: Bool)
    }

    /// The content coding.
    var encoding: String {
        switch settings {
        case .gzip: "gzip"
        case .brotli: "br"
        }
    }

    /// The element of metrics.
    var element: String {
        switch settings {
        case .gzip: "gzip"
        case .brotli: "brotli"
        }
    }

    init(
        compiling message: TypedExtensionConfig?, at path: String, _ registry: MetricRegistry, _ elements: [String]
    ) throws(ConfigurationError) {
        guard let message, let any = message.typedConfig else { throw ConfigurationError(at: path, "is missing") }
        name = message.name
        let path = path + ".typed_config"
        switch any.name {
        case GzipDecompressor.schema.name:
            let gzip = try HTTPFilters.decode(any, as: GzipDecompressor.self, at: path)
            try FieldCheck.check(gzip, reads: ["window_bits", "max_inflate_ratio"], at: path)
            let bits = try CompressorLibrary.bounded(gzip.windowBits, 9...15, path + ".window_bits")
            settings = .gzip(windowBits: bits ?? 15)
            ratio =
                try CompressorLibrary.bounded(gzip.maxInflateRatio, 1...1_032, path + ".max_inflate_ratio")
                ?? CompressorLimits.inflateRatio
        case BrotliDecompressor.schema.name:
            let brotli = try HTTPFilters.decode(any, as: BrotliDecompressor.self, at: path)
            try FieldCheck.check(brotli, reads: ["disable_ring_buffer_reallocation"], at: path)
            settings = .brotli(keepsRingBuffer: brotli.disableRingBufferReallocation)
            ratio = CompressorLimits.inflateRatio
        default:
            throw ConfigurationError(at: path, "unknown decompressor \(any.name); gzip and brotli are supported")
        }
        let element =
            switch settings {
            case .gzip: "gzip"
            case .brotli: "brotli"
            }
        errors = registry.scope(elements + [name, element, "decompressor_library"])
        for counter in Self.counters(settings) { _ = errors.counter(counter) }
    }

    func makeDecoder() throws(CompressionError) -> any StreamDecoder {
        switch settings {
        case .gzip(let windowBits): try GzipDecoder(windowBits: windowBits)
        case .brotli(let keepsRingBuffer): try BrotliDecoder(keepsRingBuffer: keepsRingBuffer)
        }
    }

    private static func counters(_ settings: Settings) -> [String] {
        switch settings {
        case .gzip: ["zlib_data_error", "zlib_mem_error"]
        case .brotli: ["brotli_error", "brotli_output_overflow"]
        }
    }

    /// Counts an error under the name that Envoy gives it.
    func count(_ error: CompressionError, row: Int) {
        let name: String
        switch (settings, error) {
        case (.gzip, .memory): name = "zlib_mem_error"
        case (.gzip, _): name = "zlib_data_error"
        case (.brotli, .tooLarge): name = "brotli_output_overflow"
        case (.brotli, _): name = "brotli_error"
        }
        errors.counter(name).add(row: row)
    }
}
