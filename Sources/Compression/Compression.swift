/// Why bytes could not be encoded or decoded.
public enum CompressionError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The library could not be set up, or has no memory.
    case memory
    /// The bytes are not what they should be, or are damaged.
    case damaged
    /// The bytes need a dictionary that nobody has.
    case dictionary
    /// What was unpacked is not what the checksum says.
    case checksum
    /// They would unpack to more than is allowed (a bomb).
    case tooLarge

    /// What went wrong.
    public var description: String {
        switch self {
        case .memory: "compression: no memory, or the library cannot be set up"
        case .damaged: "compression: the data is damaged"
        case .dictionary: "compression: the data needs a preset dictionary"
        case .checksum: "compression: the checksum is wrong"
        case .tooLarge: "compression: the data unpacks to more than is allowed"
        }
    }
}

/// Packs a stream of bytes.
///
/// What has been taken can be unpacked from what was given out: each call flushes, since a client waits for it.
public protocol StreamEncoder: AnyObject {
    /// Takes bytes and appends their packed form; `isEnd`: these were the last.
    func encode(_ bytes: UnsafeRawBufferPointer, isEnd: Bool, into output: inout [UInt8]) throws(CompressionError)
}

/// Unpacks a stream of bytes, never more at a time than it is asked for.
public protocol StreamDecoder: AnyObject {
    /// Whether the end of the packed stream has been read.
    var hasEnded: Bool { get }

    /// Takes bytes and appends at most `outputMax` unpacked ones.
    ///
    /// - Returns: How many bytes were taken. All of them and less than `outputMax` appended: it needs more. Otherwise
    ///   it is called again with what is left.
    func decode(
        _ bytes: UnsafeRawBufferPointer, upTo outputMax: Int, into output: inout [UInt8]
    ) throws(CompressionError) -> Int
}

extension StreamDecoder {
    /// Unpacks a piece whole, unless that makes more than `outputMax` bytes; what has been unpacked by then is in `output`.
    ///
    /// Bytes behind the end of the packed stream are passed over.
    public func decodeAll(
        _ bytes: UnsafeRawBufferPointer, upTo outputMax: Int, into output: inout [UInt8]
    ) throws(CompressionError) {
        var rest = bytes
        var room = outputMax
        while !hasEnded {
            let before = output.count
            let step = min(max(room, 1), CompressionLimits.stepBytes)
            let taken = try decode(rest, upTo: step, into: &output)
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(taken))
            let made = output.count - before
            room -= made
            if room < 0 {
                output.removeLast(min(-room, output.count))
                throw .tooLarge
            }
            if rest.isEmpty && made < step { return }
            // A decoder that neither takes nor gives would keep us here for ever.
            if taken == 0 && made == 0 && !hasEnded { throw .damaged }
        }
    }
}

/// Bounds of the codecs.
public enum CompressionLimits {
    /// Unpacked bytes that one step makes room for.
    public static let stepBytes = 16_384
    /// The greatest window of zstd, as a power of two: 8 MiB (RFC 9659 section 3).
    public static let zstdWindowBits = 23
}
