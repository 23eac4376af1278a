/// How a route looks at the path; query and fragment never count.
public enum PathMatcher: Sendable {
    /// A plain string prefix: `/foo` matches `/foobar` (H-3).
    case prefix([UInt8], ignoringCase: Bool)
    /// The whole path.
    case path([UInt8], ignoringCase: Bool)
    /// A prefix that ends where a path element ends: `/foo` matches `/foo` and `/foo/bar`, not `/foobar` (H-3).
    case pathSeparatedPrefix([UInt8], ignoringCase: Bool)
    /// An expression over the whole path (H-4).
    case regex(RegularExpression)
    /// A pattern with variables over the whole path.
    case template(PathTemplate)
    /// CONNECT requests, whatever their path.
    case connect

    /// Whether a path (with its query) passes.
    public func matches(path: borrowing Span<UInt8>) -> Bool {
        switch self {
        case .prefix(let prefix, let ignoringCase):
            // A prefix has no query in it, so whether the query is cut off first makes no difference.
            return Bytes.hasPrefix(path, prefix.span, at: 0, ignoringCase: ignoringCase)
        case .path(let whole, let ignoringCase):
            return Bytes.equal(
                path.extracting(0..<Self.pathEnd(path)), whole.span, ignoringCase: ignoringCase)
        case .pathSeparatedPrefix(let prefix, let ignoringCase):
            let end = Self.pathEnd(path)
            return Bytes.hasPrefix(path, prefix.span, at: 0, ignoringCase: ignoringCase) && prefix.count <= end
                && (end == prefix.count || path[prefix.count] == 0x2F)
        case .regex(let expression): return expression.matches(path.extracting(0..<Self.pathEnd(path)))
        case .template(let template): return template.expression.matches(path.extracting(0..<Self.pathEnd(path)))
        case .connect: return false
        }
    }

    /// How many bytes of the path a prefix rewrite replaces; nil for expressions and CONNECT.
    func replacedCount(of path: borrowing Span<UInt8>) -> Int? {
        switch self {
        case .prefix(let prefix, _), .pathSeparatedPrefix(let prefix, _): prefix.count
        case .path(let whole, _): whole.count
        case .regex, .template: Self.pathEnd(path)
        case .connect: nil
        }
    }

    /// Where the path proper ends: at `?`, at `#`, or at the end.
    static func pathEnd(_ path: borrowing Span<UInt8>) -> Int {
        var index = 0
        while index < path.count {
            if path[index] == 0x3F || path[index] == 0x23 { return index }
            index += 1
        }
        return path.count
    }
}
