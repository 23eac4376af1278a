/// Reads a TLS ClientHello from the first bytes of a connection, in whatever pieces they come.
///
/// Pure. It is shown all bytes so far and remembers how far it has read: each byte is looked at once, however small the
/// pieces are. What looks like TLS and is no ClientHello is `.malformed`, never `.notTLS` (ATK-27).
struct ClientHelloParser {
    /// What the bytes so far say.
    enum Verdict: Equatable {
        case undecided
        /// The first bytes are no TLS handshake record.
        case notTLS
        /// More bytes than the limit.
        case tooLarge
        /// A TLS handshake record that holds no ClientHello we can read.
        case malformed
        case hello(ClientHello)
    }

    /// Envoy's `max_client_hello_size`.
    static let standardLimit = 65_536

    /// Bytes of a ClientHello, its header included, that are taken.
    let limit: Int
    /// Bytes of the wire that have been read.
    private var position = 0
    /// Bytes of the current record still to come.
    private var recordLeft = 0
    /// The handshake message, put together from the records.
    private var message: [UInt8] = []
    private var result: Verdict?

    private static let handshake: UInt8 = 22
    private static let clientHello: UInt8 = 1
    private static let recordHeaderBytes = 5
    private static let messageHeaderBytes = 4
    /// RFC 8446 §5.1.
    private static let recordBytesMax = 1 << 14

    init(limit: Int = Self.standardLimit) { self.limit = limit }

    /// `bytes`: everything the client has sent, from the start.
    mutating func parse(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if let result { return result }
        let verdict = advance(bytes)
        if verdict != .undecided {
            result = verdict
            message = []
        }
        return verdict
    }

    private mutating func advance(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        while true {
            if let verdict = finished() { return verdict }
            if recordLeft > 0 {
                guard position < bytes.count else { return .undecided }
                let count = min(recordLeft, bytes.count - position)
                message.append(contentsOf: bytes[position..<(position + count)])
                position += count
                recordLeft -= count
                continue
            }
            // The first record decides between TLS and something else, byte by byte.
            let isFirst = position == 0
            let available = bytes.count - position
            if available > 0, bytes[position] != Self.handshake { return isFirst ? .notTLS : .malformed }
            if available > 1, bytes[position + 1] != 3 { return isFirst ? .notTLS : .malformed }
            guard available >= Self.recordHeaderBytes else { return .undecided }
            let length = Int(bytes[position + 3]) << 8 | Int(bytes[position + 4])
            guard length > 0, length <= Self.recordBytesMax else { return .malformed }
            position += Self.recordHeaderBytes
            recordLeft = length
        }
    }

    /// The verdict when the message is whole, or can never become one.
    private func finished() -> Verdict? {
        guard let type = message.first else { return nil }
        guard type == Self.clientHello else { return .malformed }
        guard message.count >= Self.messageHeaderBytes else { return nil }
        let length = Int(message[1]) << 16 | Int(message[2]) << 8 | Int(message[3])
        guard length + Self.messageHeaderBytes <= limit else { return .tooLarge }
        guard message.count >= length + Self.messageHeaderBytes else { return nil }
        let body = message[Self.messageHeaderBytes..<(Self.messageHeaderBytes + length)]
        return ClientHello(body: body).map { .hello($0) } ?? .malformed
    }
}

/// What a ClientHello says that filter chains match on.
struct ClientHello: Equatable {
    /// The host name, in lower case; empty when none is asked for.
    var serverName = ""
    /// ALPN in the client's order, without GREASE values (RFC 8701).
    var applicationProtocols: [String] = []

    private static let serverNameExtension = 0
    private static let protocolsExtension = 16
    /// A DNS name's bound.
    private static let nameBytesMax = 255

    /// Reads the body of the message (RFC 8446 §4.1.2); nil when it is malformed.
    init?(body: ArraySlice<UInt8>) {
        var reader = BytesReader(body)
        // legacy_version, random, legacy_session_id, cipher_suites, legacy_compression_methods
        guard let version = reader.uint16(), version >> 8 == 3, reader.take(32) != nil,
            let session = reader.vector8(), session.count <= 32,
            let ciphers = reader.vector16(), ciphers.count >= 2, ciphers.count.isMultiple(of: 2),
            let compressions = reader.vector8(), !compressions.isEmpty
        else { return nil }
        // A hello may end here (TLS 1.2 without extensions).
        guard !reader.isAtEnd else { return }
        guard let block = reader.vector16(), reader.isAtEnd else { return nil }
        var extensions = BytesReader(block)
        var seen: Set<Int> = []
        while !extensions.isAtEnd {
            guard let type = extensions.uint16(), let content = extensions.vector16() else { return nil }
            // Twice the same extension is illegal (§4.2), and which of two server names counts would be anyone's guess.
            guard seen.insert(type).inserted else { return nil }
            if type == Self.serverNameExtension {
                guard readServerName(content) else { return nil }
            } else if type == Self.protocolsExtension {
                guard readProtocols(content) else { return nil }
            }
        }
    }

    private mutating func readServerName(_ content: ArraySlice<UInt8>) -> Bool {
        var reader = BytesReader(content)
        guard let list = reader.vector16(), reader.isAtEnd, !list.isEmpty else { return false }
        var entries = BytesReader(list)
        // One entry, of type host_name: RFC 6066 §3 allows no second of a type, and there is no other type. The name is
        // ASCII: of any other byte, several names would become one text (ATK-19).
        guard let type = entries.uint8(), type == 0, let name = entries.vector16(), entries.isAtEnd,
            !name.isEmpty, name.count <= Self.nameBytesMax, name.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else { return false }
        serverName = String(decoding: name.map { $0 &- 65 < 26 ? $0 | 32 : $0 }, as: UTF8.self)
        return true
    }

    private mutating func readProtocols(_ content: ArraySlice<UInt8>) -> Bool {
        var reader = BytesReader(content)
        guard let list = reader.vector16(), reader.isAtEnd, !list.isEmpty else { return false }
        var entries = BytesReader(list)
        while !entries.isAtEnd {
            guard let name = entries.vector8(), let first = name.first else { return false }
            let isGREASE = name.count == 2 && first == name.last && first & 0x0F == 0x0A
            if !isGREASE { applicationProtocols.append(String(decoding: name, as: UTF8.self)) }
        }
        return true
    }
}

/// Reads numbers and length-prefixed vectors from untrusted bytes; nil when there are too few.
struct BytesReader {
    private var rest: ArraySlice<UInt8>

    init(_ bytes: ArraySlice<UInt8>) { rest = bytes }

    var isAtEnd: Bool { rest.isEmpty }

    mutating func take(_ count: Int) -> ArraySlice<UInt8>? {
        guard count <= rest.count else { return nil }
        let taken = rest.prefix(count)
        rest = rest.dropFirst(count)
        return taken
    }

    mutating func uint8() -> Int? { rest.popFirst().map { Int($0) } }

    mutating func uint16() -> Int? {
        guard let high = take(2), let first = high.first, let last = high.last else { return nil }
        return Int(first) << 8 | Int(last)
    }

    /// A vector whose length stands before it in one byte.
    mutating func vector8() -> ArraySlice<UInt8>? { uint8().flatMap { take($0) } }

    /// A vector whose length stands before it in two bytes.
    mutating func vector16() -> ArraySlice<UInt8>? { uint16().flatMap { take($0) } }
}
