import Compression

/// Why an SPDY connection is over.
enum SPDYError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The peer broke the protocol: what it did.
    case malformed(String)
    /// The headers of a stream cannot be unpacked.
    case headers(CompressionError)

    var description: String {
        switch self {
        case .malformed(let what): "SPDY: \(what)"
        case .headers(let error): "SPDY: headers: \(error)"
        }
    }
}

/// A frame of SPDY/3.1, or a part of a data frame.
///
/// Source: "SPDY Protocol - Draft 3.1", sections 2.2 and 2.6.
enum SPDYFrame: Sendable, Hashable {
    /// SYN_STREAM: the peer opens a stream.
    case open(stream: UInt32, headers: [String: String], isEnd: Bool)
    /// SYN_REPLY: the peer has taken a stream.
    case reply(stream: UInt32, headers: [String: String], isEnd: Bool)
    /// RST_STREAM.
    case reset(stream: UInt32, status: UInt32)
    /// PING, to be sent back.
    case ping(UInt32)
    /// GOAWAY: the peer opens no more streams.
    case goAway
    /// HEADERS: nothing in them is of use here, but they may end a stream.
    case headers(stream: UInt32, isEnd: Bool)
    /// Bytes of a stream.
    case data(stream: UInt32, [UInt8], isEnd: Bool)
}

/// Takes frames out of bytes as they come.
///
/// There is no flow control: Kubernetes' clients neither send nor expect WINDOW_UPDATE. The transport's own holds
/// whoever is too fast.
struct SPDYDecoder {
    /// Bytes of a control frame at most.
    static let controlMax = 64 * 1024
    /// Bytes of a stream's headers, unpacked, at most.
    static let headerBytesMax = 32 * 1024

    private var bytes: [UInt8] = []
    private var offset = 0
    private var data: (stream: UInt32, left: Int, isEnd: Bool)?
    private let unpacker: DictionaryZlibDecoder

    init() throws(SPDYError) {
        do throws(CompressionError) {
            unpacker = try DictionaryZlibDecoder(dictionary: SPDYHeaders.dictionary)
        } catch { throw .headers(error) }
    }

    /// Takes bytes.
    mutating func append(_ more: [UInt8]) {
        if offset > 0 {
            bytes.removeFirst(offset)
            offset = 0
        }
        if bytes.isEmpty { bytes = more } else { bytes += more }
    }

    /// The next frame; nil when it is not whole yet.
    mutating func next() throws(SPDYError) -> SPDYFrame? {
        while true {
            if let data {
                let piece = Array(bytes[offset...].prefix(data.left))
                guard !piece.isEmpty || data.left == 0 else { return nil }
                offset += piece.count
                let isLast = piece.count == data.left
                self.data = isLast ? nil : (data.stream, data.left - piece.count, data.isEnd)
                return .data(stream: data.stream, piece, isEnd: isLast && data.isEnd)
            }
            guard bytes.count - offset >= 8 else { return nil }
            let first = number(at: offset)
            let length = Int(number(at: offset + 4) & 0xFF_FFFF)
            let isEnd = bytes[offset + 4] & 1 == 1
            if first & 0x8000_0000 == 0 {
                offset += 8
                data = (first, length, isEnd)
                continue
            }
            guard first >> 16 == 0x8003 else { throw .malformed("version \(first >> 16 & 0x7FFF) is not served") }
            guard length <= Self.controlMax else { throw .malformed("a control frame of \(length) bytes") }
            guard bytes.count - offset >= 8 + length else { return nil }
            let start = offset + 8
            offset = start + length
            if let frame = try control(first & 0xFFFF, bytes[start..<offset], isEnd) { return frame }
        }
    }

    private func number(at position: Int) -> UInt32 {
        bytes[position...].prefix(4).reduce(0) { $0 << 8 | UInt32($1) }
    }

    private func control(_ type: UInt32, _ body: ArraySlice<UInt8>, _ isEnd: Bool) throws(SPDYError) -> SPDYFrame? {
        func word(_ index: Int) throws(SPDYError) -> UInt32 {
            guard body.count >= index + 4 else { throw .malformed("a control frame of type \(type) is too short") }
            return number(at: body.startIndex + index)
        }
        func headers(from index: Int) throws(SPDYError) -> [String: String] {
            guard body.count >= index else { throw .malformed("a control frame of type \(type) is too short") }
            do throws(CompressionError) {
                let plain = try unpacker.decode(Array(body.dropFirst(index)), upTo: Self.headerBytesMax)
                guard let headers = SPDYHeaders.parse(plain) else { throw CompressionError.damaged }
                return headers
            } catch { throw .headers(error) }
        }
        switch type {
        case 1: return .open(stream: try word(0) & 0x7FFF_FFFF, headers: try headers(from: 10), isEnd: isEnd)
        case 2: return .reply(stream: try word(0) & 0x7FFF_FFFF, headers: try headers(from: 4), isEnd: isEnd)
        case 3: return .reset(stream: try word(0) & 0x7FFF_FFFF, status: try word(4))
        case 6: return .ping(try word(0))
        case 7: return .goAway
        case 8:
            // Read, so that what follows can be unpacked.
            _ = try headers(from: 4)
            return .headers(stream: try word(0) & 0x7FFF_FFFF, isEnd: isEnd)
        // SETTINGS and WINDOW_UPDATE are about flow control; what else there may be is to be passed over.
        default: return nil
        }
    }
}

/// Makes the frames of one connection.
struct SPDYEncoder {
    private let packer: DictionaryZlibEncoder

    init() throws(SPDYError) {
        do throws(CompressionError) {
            packer = try DictionaryZlibEncoder(dictionary: SPDYHeaders.dictionary)
        } catch { throw .headers(error) }
    }

    /// The bytes of a frame.
    func encode(_ frame: SPDYFrame) throws(SPDYError) -> [UInt8] {
        switch frame {
        case .open(let stream, let headers, let isEnd):
            return control(1, isEnd, word(stream) + word(0) + [0, 0] + (try packed(headers)))
        case .reply(let stream, let headers, let isEnd):
            return control(2, isEnd, word(stream) + (try packed(headers)))
        case .reset(let stream, let status): return control(3, false, word(stream) + word(status))
        case .ping(let id): return control(6, false, word(id))
        case .goAway: return control(7, false, word(0) + word(0))
        case .headers(let stream, let isEnd): return control(8, isEnd, word(stream) + (try packed([:])))
        case .data(let stream, let bytes, let isEnd):
            return word(stream & 0x7FFF_FFFF) + word(UInt32(bytes.count & 0xFF_FFFF) | (isEnd ? 1 << 24 : 0)) + bytes
        }
    }

    private func control(_ type: UInt32, _ isEnd: Bool, _ body: [UInt8]) -> [UInt8] {
        word(0x8003_0000 | type) + word(UInt32(body.count & 0xFF_FFFF) | (isEnd ? 1 << 24 : 0)) + body
    }

    private func word(_ value: UInt32) -> [UInt8] {
        [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> UInt32($0)) }
    }

    private func packed(_ headers: [String: String]) throws(SPDYError) -> [UInt8] {
        do throws(CompressionError) {
            return try packer.encode(SPDYHeaders.bytes(headers))
        } catch { throw .headers(error) }
    }
}
