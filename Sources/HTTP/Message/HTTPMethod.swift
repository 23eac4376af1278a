/// A request method: the common ones by number, any other token by its bytes in the head.
public enum HTTPMethod: UInt8, Sendable, Hashable, CaseIterable {
    /// GET.
    case get
    /// HEAD: the response has no body, whatever its fields say.
    case head
    /// POST.
    case post
    /// PUT.
    case put
    /// DELETE.
    case delete
    /// CONNECT: a successful response starts a tunnel.
    case connect
    /// OPTIONS.
    case options
    /// TRACE.
    case trace
    /// PATCH.
    case patch
    /// Any other token; `RequestHead.methodName` has it.
    case other

    /// The method token; empty for `other`.
    public var name: StaticString {
        switch self {
        case .get: "GET"
        case .head: "HEAD"
        case .post: "POST"
        case .put: "PUT"
        case .delete: "DELETE"
        case .connect: "CONNECT"
        case .options: "OPTIONS"
        case .trace: "TRACE"
        case .patch: "PATCH"
        case .other: ""
        }
    }

    /// The method that a token names.
    ///
    /// Methods are case-sensitive (RFC 9110 §9.1).
    public static func of(_ token: RawSpan) -> HTTPMethod {
        guard token.byteCount <= 7 else { return .other }
        // The token as one number; the 1 in front of it tells its length.
        var word: UInt64 = 1
        for position in 0..<token.byteCount { word = word << 8 | UInt64(ByteScan.byte(token, position)) }
        return switch word {
        case 0x147_4554: .get
        case 0x1_4845_4144: .head
        case 0x1_504F_5354: .post
        case 0x150_5554: .put
        case 0x1_4445_4C45_5445: .delete
        case 0x143_4F4E_4E45_4354: .connect
        case 0x14F_5054_494F_4E53: .options
        case 0x154_5241_4345: .trace
        case 0x150_4154_4348: .patch
        default: .other
        }
    }
}
