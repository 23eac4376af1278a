internal import IO

/// A PROXY protocol header as received.
struct ProxyHeader: Sendable, Equatable {
    /// One type-length-value entry of a version 2 header.
    struct TLV: Sendable, Equatable {
        var type: UInt8
        var value: [UInt8]
    }

    /// 1 or 2.
    var version: Int
    /// Nil for LOCAL and UNKNOWN: the connection's own addresses count.
    var source: SocketAddress?
    var destination: SocketAddress?
    /// Those that may be passed on.
    var tlvs: [TLV] = []
}

/// Reads a PROXY protocol header (versions 1 and 2) from the first bytes of a connection.
///
/// Pure: shown all bytes so far. A header is bounded by its version: 107 bytes, or the 16-bit length (ATK-15).
enum ProxyHeaderParser {
    /// What the bytes so far say.
    enum Verdict: Equatable {
        case undecided
        /// The bytes begin no header of either version.
        case absent
        case malformed(version: Int)
        case header(ProxyHeader, bytes: Int)
    }

    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let word = Array("PROXY".utf8)
    private static let lineBytesMax = 107
    private static let fixedBytes = 16

    static func parse(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if bytes.isEmpty { return .undecided }
        if begins(bytes, signature) {
            return bytes.count < fixedBytes ? undecided2(bytes) : parseBinary(bytes)
        }
        if begins(bytes, word) { return bytes.count <= word.count ? .undecided : parseLine(bytes) }
        return .absent
    }

    /// Whether the bytes, as far as they go, are the start of `mark`.
    private static func begins(_ bytes: UnsafeRawBufferPointer, _ mark: [UInt8]) -> Bool {
        let shared = min(bytes.count, mark.count)
        return bytes.prefix(shared).elementsEqual(mark.prefix(shared))
    }

    // MARK: Version 1

    private static func parseLine(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        // "PROXY" and then no space: some other protocol's word.
        guard bytes[word.count] == UInt8(ascii: " ") else { return .absent }
        let window = bytes.prefix(lineBytesMax)
        guard let end = window.firstIndex(of: UInt8(ascii: "\n")) else {
            return bytes.count >= lineBytesMax ? .malformed(version: 1) : .undecided
        }
        guard end > 0, bytes[end - 1] == UInt8(ascii: "\r") else { return .malformed(version: 1) }
        let line = String(decoding: bytes[(word.count + 1)..<(end - 1)], as: UTF8.self)
        let parts = line.split(separator: " ", omittingEmptySubsequences: false)
        if parts.first == "UNKNOWN" { return .header(ProxyHeader(version: 1), bytes: end + 1) }
        guard parts.count == 5, parts[0] == "TCP4" || parts[0] == "TCP6",
            let source = IPAddress(parts[1]), let destination = IPAddress(parts[2]),
            source.isV6 == (parts[0] == "TCP6"), destination.isV6 == source.isV6,
            let sourcePort = port(parts[3]), let destinationPort = port(parts[4])
        else { return .malformed(version: 1) }
        return .header(
            ProxyHeader(
                version: 1, source: .ip(source.canonical, port: sourcePort),
                destination: .ip(destination.canonical, port: destinationPort)),
            bytes: end + 1)
    }

    /// Digits only, without a sign or leading zeros.
    private static func port(_ text: Substring) -> UInt16? {
        guard text.utf8.allSatisfy({ $0 &- 48 < 10 }), text == "0" || !text.hasPrefix("0") else { return nil }
        return UInt16(text)
    }

    // MARK: Version 2

    private static func undecided2(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        // What is wrong already need not be waited for.
        if bytes.count > 12, bytes[12] >> 4 != 2 || bytes[12] & 15 > 1 { return .malformed(version: 2) }
        return .undecided
    }

    private static func parseBinary(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        let command = bytes[12] & 15
        guard bytes[12] >> 4 == 2, command <= 1 else { return .malformed(version: 2) }
        let family = bytes[13] >> 4
        let transport = bytes[13] & 15
        let length = Int(bytes[14]) << 8 | Int(bytes[15])
        let total = fixedBytes + length
        let addressBytes: Int
        switch (command, family, transport) {
        case (0, _, _), (1, 0, 0): addressBytes = 0
        case (1, 1, 1...2): addressBytes = 12
        case (1, 2, 1...2): addressBytes = 36
        // Unix sockets and what nobody has named: their addresses mean nothing here.
        default: return .malformed(version: 2)
        }
        guard length >= addressBytes else { return .malformed(version: 2) }
        guard bytes.count >= total else { return .undecided }
        var header = ProxyHeader(version: 2)
        // LOCAL: a health check of the sender's own; whatever follows is skipped.
        if command == 0 { return .header(header, bytes: total) }
        var reader = BytesReader(Array(bytes[fixedBytes..<total])[...])
        if addressBytes > 0 {
            let size = family == 1 ? 4 : 16
            guard let source = reader.take(size).flatMap({ IPAddress(bytes: $0) }),
                let destination = reader.take(size).flatMap({ IPAddress(bytes: $0) }),
                let sourcePort = reader.uint16(), let destinationPort = reader.uint16()
            else { return .malformed(version: 2) }
            header.source = .ip(source.canonical, port: UInt16(truncatingIfNeeded: sourcePort))
            header.destination = .ip(destination.canonical, port: UInt16(truncatingIfNeeded: destinationPort))
        }
        while !reader.isAtEnd {
            guard let type = reader.uint8(), let value = reader.vector16() else { return .malformed(version: 2) }
            header.tlvs.append(ProxyHeader.TLV(type: UInt8(truncatingIfNeeded: type), value: Array(value)))
        }
        return .header(header, bytes: total)
    }
}
