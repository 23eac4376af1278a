/// Counts the messages in a gRPC body without keeping any of it: five bytes of frame header, then so many bytes to pass over.
struct GRPCFrameCounter {
    /// Frame header bytes seen of the present frame.
    private var headerBytes = 0
    private var length: UInt32 = 0
    /// Message bytes of the present frame that have not come.
    private var rest: UInt32 = 0
    /// Frames that have begun.
    private(set) var count: UInt64 = 0

    /// Looks at a piece of the body.
    ///
    /// - Returns: How many frames begin in it.
    mutating func inspect(_ bytes: UnsafeRawBufferPointer) -> UInt64 {
        let before = count
        var position = 0
        while position < bytes.count {
            if rest > 0 {
                let step = min(Int(rest), bytes.count - position)
                rest -= UInt32(step)
                position += step
                continue
            }
            if headerBytes == 0 {
                count &+= 1
                length = 0
            } else {
                length = length << 8 | UInt32(bytes[position])
            }
            headerBytes += 1
            position += 1
            if headerBytes == 5 {
                headerBytes = 0
                rest = length
            }
        }
        return count &- before
    }
}

/// The service and the method that a gRPC path names.
struct GRPCMethodName: Hashable, Sendable {
    var service: String
    var method: String

    /// `/service/method`, whatever query follows; nil for any other path.
    init?(path: [UInt8]) {
        let parts = path.prefix { $0 != UInt8(ascii: "?") }.split(separator: UInt8(ascii: "/"))
        guard parts.count == 2 else { return nil }
        service = String(decoding: parts[0], as: UTF8.self)
        method = String(decoding: parts[1], as: UTF8.self)
    }

    /// Whether a path has the form `/service/method`.
    static func isMethod(_ path: Span<UInt8>) -> Bool {
        path.withUnsafeBufferPointer { bytes in
            // Empty parts do not count, as in `init(path:)`.
            var parts = 0
            var isInPart = false
            for byte in bytes {
                if byte == UInt8(ascii: "?") { break }
                if byte == UInt8(ascii: "/") {
                    isInPart = false
                } else if !isInPart {
                    isInPart = true
                    parts &+= 1
                }
            }
            return parts == 2
        }
    }

    init(service: String, method: String) {
        self.service = service
        self.method = method
    }
}
