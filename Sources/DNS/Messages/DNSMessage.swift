/// How a server answers.
public struct ResponseCode: RawRepresentable, Hashable, Sendable, CustomStringConvertible {
    /// The number that IANA gave it.
    public var rawValue: UInt8
    /// The code of that number.
    public init(rawValue: UInt8) { self.rawValue = rawValue }

    /// No error.
    public static let success = ResponseCode(rawValue: 0)
    /// The query could not be read.
    public static let formatError = ResponseCode(rawValue: 1)
    /// The server could not find out.
    public static let serverFailure = ResponseCode(rawValue: 2)
    /// There is no such name (NXDOMAIN).
    public static let nameError = ResponseCode(rawValue: 3)
    /// The server does not know this kind of query.
    public static let notImplemented = ResponseCode(rawValue: 4)
    /// The server does not want to answer.
    public static let refused = ResponseCode(rawValue: 5)

    /// The usual name.
    public var description: String {
        switch self {
        case .success: "NOERROR"
        case .formatError: "FORMERR"
        case .serverFailure: "SERVFAIL"
        case .nameError: "NXDOMAIN"
        case .notImplemented: "NOTIMP"
        case .refused: "REFUSED"
        default: "RCODE\(rawValue)"
        }
    }
}

/// A DNS message (RFC 1035 §4).
public struct DNSMessage: Hashable, Sendable {
    /// Ties a response to its query.
    public var id: UInt16 = 0
    /// Whether it is a response.
    public var isResponse = false
    /// What kind of query; 0 is the ordinary one.
    public var opcode: UInt8 = 0
    /// Whether the server is the authority for the name.
    public var isAuthoritative = false
    /// Whether something had to be left out.
    public var isTruncated = false
    /// Whether the client wants other servers to be asked.
    public var wantsRecursion = false
    /// Whether the server asks others.
    public var offersRecursion = false
    /// The bits AD and CD of DNSSEC.
    public var securityBits: UInt8 = 0
    /// How the server answers.
    public var code = ResponseCode.success
    /// What is asked.
    public var questions: [Question] = []
    /// The answers.
    public var answers: [Record] = []
    /// Records about the authority.
    public var authorities: [Record] = []
    /// Other records that will be useful.
    public var additionals: [Record] = []

    /// A query without questions.
    public init() {}

    /// A query with one question.
    public init(id: UInt16, question: Question, wantsRecursion: Bool = true) {
        self.id = id
        self.wantsRecursion = wantsRecursion
        questions = [question]
    }

    /// The beginning of the response to this message.
    public func response(_ code: ResponseCode) -> DNSMessage {
        var response = DNSMessage()
        response.id = id
        response.isResponse = true
        response.opcode = opcode
        response.wantsRecursion = wantsRecursion
        response.securityBits = securityBits & 0b01  // CD is copied (RFC 4035 §3.1.6).
        response.offersRecursion = true
        response.code = code
        response.questions = questions
        return response
    }

    /// The size of datagrams that the sender takes (EDNS, RFC 6891); nil without EDNS.
    public var datagramSize: Int? {
        additionals.first { $0.type == .opt }.map { max(512, Int($0.recordClass)) }
    }

    /// The version of EDNS that the sender speaks; nil without EDNS.
    var optionsVersion: UInt8? {
        additionals.first { $0.type == .opt }.map { UInt8(truncatingIfNeeded: $0.ttl >> 16) }
    }

    /// Whether the code has more bits, in the OPT record (RFC 6891 §6.1.3).
    var hasExtendedCode: Bool { additionals.contains { $0.type == .opt && $0.ttl >> 24 != 0 } }

    /// The bytes of this message without its OPT record, which speaks of the connection it came by only.
    func withoutOptions(_ bytes: [UInt8]) -> [UInt8] {
        guard let options = additionals.last(where: { $0.type == .opt }) else { return bytes }
        // Nearly always it is the last record, behind the name of one byte.
        if additionals.last == options, case .other(_, let raw) = options.value, bytes.count >= 12 + 11 + raw.count {
            let start = bytes.count - 11 - raw.count
            if bytes[start] == 0, bytes[start + 1] == 0, bytes[start + 2] == 41 {
                var result = Array(bytes[..<start])
                let count = UInt16(clamping: additionals.count - 1)
                result[10] = UInt8(count >> 8)
                result[11] = UInt8(count & 0xFF)
                return result
            }
        }
        var copy = self
        copy.additionals.removeAll { $0.type == .opt }
        return copy.bytes()
    }
}

/// Why bytes are no DNS message.
public struct DNSFormatError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, and at which byte.
    public var description: String
}
