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
        let candidates: (HTTPMethod, HTTPMethod) =
            switch token.byteCount {
            case 3: (.get, .put)
            case 4: (.post, .head)
            case 5: (.patch, .trace)
            case 6: (.delete, .delete)
            case 7: (.options, .connect)
            default: (.other, .other)
            }
        if isEqual(token, candidates.0.name) { return candidates.0 }
        if isEqual(token, candidates.1.name) { return candidates.1 }
        return .other
    }

    private static func isEqual(_ token: RawSpan, _ name: StaticString) -> Bool {
        guard token.byteCount == name.utf8CodeUnitCount else { return false }
        return ByteScan.equal(token, UnsafeRawBufferPointer(start: name.utf8Start, count: token.byteCount).bytes)
    }
}
