internal import Compression
internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A compiled `compressor_library`: which coding, and how.
struct CompressorLibrary: Sendable {
    /// The name that metrics carry.
    let name: String
    let settings: Settings

    enum Settings: Sendable {
        case gzip(GzipSettings)
        case brotli(BrotliSettings)
        case zstd(ZstdSettings)
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

    func makeEncoder() throws(CompressionError) -> any StreamEncoder {
        switch settings {
        case .gzip(let settings): try GzipEncoder(settings)
        case .brotli(let settings): try BrotliEncoder(settings)
        case .zstd(let settings): try ZstdEncoder(settings)
        }
    }

    init(compiling message: TypedExtensionConfig?, at path: String) throws(ConfigurationError) {
        guard let message, let any = message.typedConfig else { throw ConfigurationError(at: path, "is missing") }
        name = message.name
        let path = path + ".typed_config"
        switch any.name {
        case GzipCompressor.schema.name:
            settings = .gzip(try Self.gzip(try HTTPFilters.decode(any, as: GzipCompressor.self, at: path), path))
        case BrotliCompressor.schema.name:
            settings = .brotli(try Self.brotli(try HTTPFilters.decode(any, as: BrotliCompressor.self, at: path), path))
        case ZstdCompressor.schema.name:
            settings = .zstd(try Self.zstd(try HTTPFilters.decode(any, as: ZstdCompressor.self, at: path), path))
        default:
            throw ConfigurationError(at: path, "unknown compressor \(any.name); gzip, brotli and zstd are supported")
        }
    }

    private static func gzip(_ message: GzipCompressor, _ path: String) throws(ConfigurationError) -> GzipSettings {
        try FieldCheck.check(
            message, reads: ["memory_level", "compression_level", "compression_strategy", "window_bits"], at: path)
        var settings = GzipSettings()
        settings.memoryLevel = try bounded(message.memoryLevel, 1...9, path + ".memory_level") ?? settings.memoryLevel
        settings.windowBits = try bounded(message.windowBits, 9...15, path + ".window_bits") ?? settings.windowBits
        let level = message.compressionLevel.rawValue
        guard level <= 9 else { throw ConfigurationError(at: path + ".compression_level", "is unknown") }
        settings.level = level == 0 ? -1 : Int(level)
        switch message.compressionStrategy {
        case .defaultStrategy: settings.strategy = .standard
        case .filtered: settings.strategy = .filtered
        case .huffmanOnly: settings.strategy = .huffmanOnly
        case .rle: settings.strategy = .runLength
        case .fixed: settings.strategy = .fixed
        default: throw ConfigurationError(at: path + ".compression_strategy", "is unknown")
        }
        return settings
    }

    private static func brotli(_ message: BrotliCompressor, _ path: String) throws(ConfigurationError) -> BrotliSettings
    {
        try FieldCheck.check(
            message,
            reads: ["quality", "encoder_mode", "window_bits", "input_block_bits", "disable_literal_context_modeling"],
            at: path)
        var settings = BrotliSettings()
        settings.quality = try bounded(message.quality, 0...11, path + ".quality") ?? settings.quality
        settings.windowBits = try bounded(message.windowBits, 10...24, path + ".window_bits") ?? settings.windowBits
        settings.inputBlockBits =
            try bounded(message.inputBlockBits, 16...24, path + ".input_block_bits") ?? settings.inputBlockBits
        settings.disablesLiteralContext = message.disableLiteralContextModeling
        switch message.encoderMode {
        case .default, .generic: settings.mode = .generic
        case .text: settings.mode = .text
        case .font: settings.mode = .font
        default: throw ConfigurationError(at: path + ".encoder_mode", "is unknown")
        }
        return settings
    }

    private static func zstd(_ message: ZstdCompressor, _ path: String) throws(ConfigurationError) -> ZstdSettings {
        try FieldCheck.check(message, reads: ["compression_level", "enable_checksum", "strategy"], at: path)
        var settings = ZstdSettings()
        settings.level = Int(message.compressionLevel ?? 0)
        settings.hasChecksum = message.enableChecksum
        guard (0...9).contains(message.strategy.rawValue) else {
            throw ConfigurationError(at: path + ".strategy", "is unknown")
        }
        settings.strategy = Int(message.strategy.rawValue)
        return settings
    }

    /// A number within bounds; nil when it is not set.
    static func bounded(
        _ value: UInt32?, _ range: ClosedRange<UInt32>, _ path: String
    ) throws(ConfigurationError) -> Int? {
        guard let value else { return nil }
        guard range.contains(value) else {
            throw ConfigurationError(at: path, "\(value) is not from \(range.lowerBound) to \(range.upperBound)")
        }
        return Int(value)
    }
}
