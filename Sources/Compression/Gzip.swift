internal import CZlib

/// How gzip packs.
public struct GzipSettings: Sendable, Hashable {
    /// How hard it tries: 1 to 9; -1 is the library's choice.
    public var level = -1
    /// Size of the window as a power of two: 9 to 15.
    public var windowBits = 12
    /// How much memory is used: 1 to 9.
    public var memoryLevel = 5
    /// The strategy.
    public var strategy = Strategy.standard

    /// What kind of data to expect.
    public enum Strategy: Sendable, Hashable {
        /// Any.
        case standard
        /// Small values of random distribution.
        case filtered
        /// No matches of strings.
        case huffmanOnly
        /// Runs of one byte.
        case runLength
        /// Fixed codes.
        case fixed

        var number: Int32 {
            switch self {
            case .standard: Z_DEFAULT_STRATEGY
            case .filtered: Z_FILTERED
            case .huffmanOnly: Z_HUFFMAN_ONLY
            case .runLength: Z_RLE
            case .fixed: Z_FIXED
            }
        }
    }

    /// Envoy's defaults.
    public init() {}
}

/// Packs as gzip (RFC 1952).
public final class GzipEncoder: StreamEncoder {
    private let stream: UnsafeMutablePointer<z_stream>

    /// Sets the library up.
    public init(_ settings: GzipSettings = GzipSettings()) throws(CompressionError) {
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 16 more: the gzip wrapper.
        let status = czlib_deflate_init(
            stream, Int32(clamping: settings.level), Int32(clamping: settings.windowBits) + 16,
            Int32(clamping: settings.memoryLevel), settings.strategy.number)
        guard status == Z_OK else {
            stream.deallocate()
            throw .memory
        }
    }

    deinit {
        deflateEnd(stream)
        stream.deallocate()
    }

    /// Takes bytes and appends their packed form.
    public func encode(
        _ bytes: UnsafeRawBufferPointer, isEnd: Bool, into output: inout [UInt8]
    ) throws(CompressionError) {
        if bytes.isEmpty && !isEnd { return }
        stream.pointee.next_in = inputPointer(bytes)
        stream.pointee.avail_in = UInt32(clamping: bytes.count)
        while true {
            var status = Z_OK
            appendStep(&output) { room in
                stream.pointee.next_out = room.baseAddress
                stream.pointee.avail_out = UInt32(clamping: room.count)
                status = deflate(stream, isEnd ? Z_FINISH : Z_SYNC_FLUSH)
                return room.count - Int(stream.pointee.avail_out)
            }
            if status == Z_STREAM_END { break }
            // Nothing more to flush.
            if status == Z_BUF_ERROR { break }
            guard status == Z_OK else { throw .damaged }
            if stream.pointee.avail_out > 0 && !isEnd { break }
        }
        stream.pointee.next_in = nil
    }
}

/// Unpacks gzip (RFC 1952).
public final class GzipDecoder: StreamDecoder {
    private let stream: UnsafeMutablePointer<z_stream>
    private let joinsMembers: Bool
    /// A member has ended; whether another follows, only the next byte says.
    public private(set) var isBetweenMembers = false
    /// Whether the end of the packed stream has been read.
    public private(set) var hasEnded = false

    /// - Parameters:
    ///   - windowBits: Greatest window taken, as a power of two: 9 to 15.
    ///   - takesZlib: The zlib wrapper is taken as well.
    ///   - joinsMembers: What follows the first member is unpacked too, if it is another (RFC 1952 section 2.2).
    public init(
        windowBits: Int = 15, takesZlib: Bool = false, joinsMembers: Bool = false
    ) throws(CompressionError) {
        self.joinsMembers = joinsMembers
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        guard czlib_inflate_init(stream, Int32(clamping: windowBits) + (takesZlib ? 32 : 16)) == Z_OK else {
            stream.deallocate()
            throw .memory
        }
    }

    deinit {
        inflateEnd(stream)
        stream.deallocate()
    }

    /// Takes bytes and appends at most `outputMax` unpacked ones.
    public func decode(
        _ bytes: UnsafeRawBufferPointer, upTo outputMax: Int, into output: inout [UInt8]
    ) throws(CompressionError) -> Int {
        guard !hasEnded else { return 0 }
        if isBetweenMembers {
            guard let first = bytes.first else { return 0 }
            // Anything but another member is padding.
            guard first == 0x1F, inflateReset(stream) == Z_OK else {
                hasEnded = true
                return 0
            }
            isBetweenMembers = false
        }
        let offered = Int(UInt32(clamping: bytes.count))
        stream.pointee.next_in = inputPointer(bytes)
        stream.pointee.avail_in = UInt32(offered)
        var status = Z_OK
        append(upTo: outputMax, &output) { room in
            stream.pointee.next_out = room.baseAddress
            stream.pointee.avail_out = UInt32(clamping: room.count)
            status = inflate(stream, Z_NO_FLUSH)
            return room.count - Int(stream.pointee.avail_out)
        }
        let taken = offered - Int(stream.pointee.avail_in)
        stream.pointee.next_in = nil
        switch status {
        case Z_OK, Z_BUF_ERROR: break
        case Z_STREAM_END: if joinsMembers { isBetweenMembers = true } else { hasEnded = true }
        case Z_NEED_DICT: throw .dictionary
        case Z_MEM_ERROR: throw .memory
        default: throw .damaged
        }
        return taken
    }
}

/// The C library does not change what it reads, though its types do not say so.
func inputPointer(_ bytes: UnsafeRawBufferPointer) -> UnsafeMutablePointer<UInt8>? {
    UnsafeMutablePointer(mutating: bytes.bindMemory(to: UInt8.self).baseAddress)
}

/// Appends what `fill` writes into one step of room.
func appendStep(_ output: inout [UInt8], _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Int) {
    append(upTo: CompressionLimits.stepBytes, &output, fill)
}

/// Appends what `fill` writes into room for so many bytes.
func append(upTo count: Int, _ output: inout [UInt8], _ fill: (UnsafeMutableBufferPointer<UInt8>) -> Int) {
    let piece = [UInt8](unsafeUninitializedCapacity: max(count, 0)) { room, used in
        let whole = UnsafeMutableBufferPointer(rebasing: room[..<max(count, 0)])
        used = min(max(fill(whole), 0), whole.count)
    }
    if output.isEmpty { output = piece } else { output += piece }
}
