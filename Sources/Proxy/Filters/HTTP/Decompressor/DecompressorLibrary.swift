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
        case zstd
    }

    /// The content coding.
    var encoding: String {
        switch settings {
        case .gzip: "gzip"
        case .brotli: "br"
        case .zstd: "zstd"
        }
    }

    /// The element of metrics.
    var element: String {
        switch settings {
        case .gzip: "gzip"
        case .brotli: "brotli"
        case .zstd: "zstd"
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
        case ZstdDecompressor.schema.name:
            let zstd = try HTTPFilters.decode(any, as: ZstdDecompressor.self, at: path)
            try FieldCheck.check(zstd, reads: [], at: path)
            settings = .zstd
            ratio = CompressorLimits.inflateRatio
        default:
            throw ConfigurationError(
                at: path, "unknown decompressor \(any.name); gzip, brotli and zstd are supported")
        }
        let element =
            switch settings {
            case .gzip: "gzip"
            case .brotli: "brotli"
            case .zstd: "zstd"
            }
        errors = registry.scope(elements + [name, element, "decompressor_library"])
        for counter in Self.counters(settings) { _ = errors.counter(counter) }
    }

    func makeDecoder() throws(CompressionError) -> any StreamDecoder {
        switch settings {
        case .gzip(let windowBits): try GzipDecoder(windowBits: windowBits)
        case .brotli(let keepsRingBuffer): try BrotliDecoder(keepsRingBuffer: keepsRingBuffer)
        case .zstd: try ZstdDecoder()
        }
    }

    private static func counters(_ settings: Settings) -> [String] {
        switch settings {
        case .gzip: ["zlib_data_error", "zlib_mem_error"]
        case .brotli: ["brotli_error", "brotli_output_overflow"]
        case .zstd:
            ["zstd_generic_error", "zstd_dictionary_error", "zstd_checksum_wrong_error", "zstd_memory_error"]
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
        case (.zstd, .memory): name = "zstd_memory_error"
        case (.zstd, .dictionary): name = "zstd_dictionary_error"
        case (.zstd, .checksum): name = "zstd_checksum_wrong_error"
        case (.zstd, _): name = "zstd_generic_error"
        }
        errors.counter(name).add(row: row)
    }
}
