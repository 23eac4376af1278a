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
}

/// Why bytes are no DNS message.
public struct DNSFormatError: Error, Hashable, Sendable, CustomStringConvertible {
    /// What is wrong, and at which byte.
    public var description: String
}
