internal import CZstd

/// How zstd packs.
public struct ZstdSettings: Sendable, Hashable {
    /// How hard it tries: 1 to 22; 0 is the library's choice (3), what is beyond is taken as 22.
    public var level = 0
    /// Whether each frame ends with a checksum of what it unpacks to.
    public var hasChecksum = false
    /// How it looks for repetitions: 1 (fast) to 9 (btultra2); 0 is what goes with the level.
    public var strategy = 0

    /// Envoy's defaults.
    public init() {}
}

/// Packs as zstd (RFC 8878), in one frame.
public final class ZstdEncoder: StreamEncoder {
    private let context: OpaquePointer

    /// Sets the library up.
    public init(_ settings: ZstdSettings = ZstdSettings()) throws(CompressionError) {
        guard let context = ZSTD_createCCtx() else { throw .memory }
        self.context = context
        let level = min(Int32(clamping: settings.level), ZSTD_maxCLevel())
        var parameters: [(ZSTD_cParameter, Int32)] = [
            (ZSTD_c_compressionLevel, level), (ZSTD_c_checksumFlag, settings.hasChecksum ? 1 : 0),
            (ZSTD_c_strategy, Int32(clamping: settings.strategy)),
        ]
        // The highest levels would take a window that receivers need not have (RFC 9659).
        if level >= 20 { parameters.append((ZSTD_c_windowLog, Int32(CompressionLimits.zstdWindowBits))) }
        for (parameter, value) in parameters
        where ZSTD_isError(ZSTD_CCtx_setParameter(context, parameter, value)) != 0 {
            throw .memory
        }
    }

    deinit { ZSTD_freeCCtx(context) }

    /// Takes bytes and appends their packed form.
    public func encode(
        _ bytes: UnsafeRawBufferPointer, isEnd: Bool, into output: inout [UInt8]
    ) throws(CompressionError) {
        if bytes.isEmpty && !isEnd { return }
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var remaining = 0
        repeat {
            appendStep(&output) { room in
                var out = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
                remaining = ZSTD_compressStream2(context, &out, &input, isEnd ? ZSTD_e_end : ZSTD_e_flush)
                return out.pos
            }
            if ZSTD_isError(remaining) != 0 { throw CompressionError(zstd: remaining) }
        } while remaining != 0 || input.pos < input.size
    }
}

/// Unpacks zstd (RFC 8878): one frame after the other, as they come.
public final class ZstdDecoder: StreamDecoder {
    private let context: OpaquePointer
    /// Never: what follows a frame may be another (RFC 8878 section 3.1).
    public let hasEnded = false
    /// Whether everything that was taken ended with a whole frame.
    public private(set) var isBetweenFrames = true

    /// Sets the library up; a frame that needs a window beyond `CompressionLimits.zstdWindowBits` is an error.
    public init() throws(CompressionError) {
        guard let context = ZSTD_createDCtx() else { throw .memory }
        self.context = context
        let result = ZSTD_DCtx_setParameter(
            context, ZSTD_d_windowLogMax, Int32(CompressionLimits.zstdWindowBits))
        if ZSTD_isError(result) != 0 { throw .memory }
    }

    deinit { ZSTD_freeDCtx(context) }

    /// Takes bytes and appends at most `outputMax` unpacked ones.
    public func decode(
        _ bytes: UnsafeRawBufferPointer, upTo outputMax: Int, into output: inout [UInt8]
    ) throws(CompressionError) -> Int {
        var input = ZSTD_inBuffer(src: bytes.baseAddress, size: bytes.count, pos: 0)
        var result = 0
        append(upTo: outputMax, &output) { room in
            var out = ZSTD_outBuffer(dst: room.baseAddress, size: room.count, pos: 0)
            result = ZSTD_decompressStream(context, &out, &input)
            return out.pos
        }
        if ZSTD_isError(result) != 0 { throw CompressionError(zstd: result) }
        isBetweenFrames = result == 0
        return input.pos
    }
}

extension CompressionError {
    /// What a result of the library that is an error says.
    fileprivate init(zstd result: Int) {
        self =
            switch ZSTD_getErrorCode(result) {
            case ZSTD_error_memory_allocation: .memory
            case ZSTD_error_dictionary_corrupted, ZSTD_error_dictionary_wrong: .dictionary
            case ZSTD_error_checksum_wrong: .checksum
            default: .damaged
            }
    }
}
