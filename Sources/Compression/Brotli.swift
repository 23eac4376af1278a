internal import CBrotli

/// How brotli packs.
public struct BrotliSettings: Sendable, Hashable {
    /// How hard it tries: 0 to 11.
    public var quality = 3
    /// Size of the window as a power of two: 10 to 24.
    public var windowBits = 18
    /// Size of an input block as a power of two: 16 to 24.
    public var inputBlockBits = 24
    /// What kind of data to expect.
    public var mode = Mode.generic
    /// Whether literals are modelled without their context: faster, larger.
    public var disablesLiteralContext = false

    /// What kind of data to expect.
    public enum Mode: Sendable, Hashable {
        /// Any.
        case generic
        /// UTF-8.
        case text
        /// WOFF 2.0 fonts.
        case font
    }

    /// Envoy's defaults.
    public init() {}
}

/// Packs as brotli (RFC 7932).
public final class BrotliEncoder: StreamEncoder {
    private let state: OpaquePointer

    /// Sets the library up.
    public init(_ settings: BrotliSettings = BrotliSettings()) throws(CompressionError) {
        guard let state = BrotliEncoderCreateInstance(nil, nil, nil) else { throw .memory }
        self.state = state
        let mode: BrotliEncoderMode =
            switch settings.mode {
            case .generic: BROTLI_MODE_GENERIC
            case .text: BROTLI_MODE_TEXT
            case .font: BROTLI_MODE_FONT
            }
        let parameters: [(BrotliEncoderParameter, UInt32)] = [
            (BROTLI_PARAM_QUALITY, UInt32(clamping: settings.quality)),
            (BROTLI_PARAM_LGWIN, UInt32(clamping: settings.windowBits)),
            (BROTLI_PARAM_LGBLOCK, UInt32(clamping: settings.inputBlockBits)),
            (BROTLI_PARAM_MODE, UInt32(mode.rawValue)),
            (BROTLI_PARAM_DISABLE_LITERAL_CONTEXT_MODELING, settings.disablesLiteralContext ? 1 : 0),
        ]
        for (parameter, value) in parameters where BrotliEncoderSetParameter(state, parameter, value) == 0 {
            throw .memory
        }
    }

    deinit { BrotliEncoderDestroyInstance(state) }

    /// Takes bytes and appends their packed form.
    public func encode(
        _ bytes: UnsafeRawBufferPointer, isEnd: Bool, into output: inout [UInt8]
    ) throws(CompressionError) {
        if bytes.isEmpty && !isEnd { return }
        var next = bytes.bindMemory(to: UInt8.self).baseAddress
        var available = bytes.count
        while true {
            var isFine = false
            appendStep(&output) { room in
                var out = room.baseAddress
                var left = room.count
                isFine =
                    BrotliEncoderCompressStream(
                        state, isEnd ? BROTLI_OPERATION_FINISH : BROTLI_OPERATION_FLUSH, &available, &next, &left,
                        &out, nil) != 0
                return room.count - left
            }
            guard isFine else { throw .damaged }
            if available == 0 && BrotliEncoderHasMoreOutput(state) == 0 { break }
        }
    }
}

/// Unpacks brotli (RFC 7932).
public final class BrotliDecoder: StreamDecoder {
    private let state: OpaquePointer
    /// Whether the end of the packed stream has been read.
    public private(set) var hasEnded = false

    /// - Parameter keepsRingBuffer: The window has its full size from the beginning.
    public init(keepsRingBuffer: Bool = false) throws(CompressionError) {
        guard let state = BrotliDecoderCreateInstance(nil, nil, nil) else { throw .memory }
        self.state = state
        _ = BrotliDecoderSetParameter(
            state, BROTLI_DECODER_PARAM_DISABLE_RING_BUFFER_REALLOCATION, keepsRingBuffer ? 1 : 0)
    }

    deinit { BrotliDecoderDestroyInstance(state) }

    /// Takes bytes and appends at most `outputMax` unpacked ones.
    public func decode(
        _ bytes: UnsafeRawBufferPointer, upTo outputMax: Int, into output: inout [UInt8]
    ) throws(CompressionError) -> Int {
        guard !hasEnded else { return 0 }
        var next = bytes.bindMemory(to: UInt8.self).baseAddress
        var available = bytes.count
        var result = BROTLI_DECODER_RESULT_ERROR
        append(upTo: outputMax, &output) { room in
            var out = room.baseAddress
            var left = room.count
            result = BrotliDecoderDecompressStream(state, &available, &next, &left, &out, nil)
            return room.count - left
        }
        switch result {
        case BROTLI_DECODER_RESULT_ERROR: throw .damaged
        case BROTLI_DECODER_RESULT_SUCCESS: hasEnded = true
        default: break
        }
        return bytes.count - available
    }
}
