/// A redirect: which parts of the address change, and the status.
public struct Redirect: Sendable {
    /// Status: 301, 302, 303, 307 or 308 (H-15).
    public var status: UInt16 = 301
    /// New scheme; nil keeps it.
    public var scheme: [UInt8]?
    /// New host; nil keeps it.
    public var host: [UInt8]?
    /// New port; nil keeps the one the client wrote (dropped when the scheme changes and it was the old scheme's own).
    public var port: UInt16?
    /// New path; nil keeps it.
    public var pathRewrite: PathRewrite?
    /// Whether the query goes.
    public var stripsQuery = false

    init() {}
}

/// An answer given without any upstream.
public struct DirectResponse: Sendable {
    /// Under what a route's filter configurations hold the compiled `body_format`, which only the proxy can read.
    public static let formatName = "direct_response"
    /// Its status.
    public var status: UInt16
    /// Its body, before a format makes another of it.
    public var body: [UInt8]
}

extension Route {
    /// The `Location` of a redirect; nil for other actions.
    ///
    /// A port that is the scheme's own is left out (H-15). Where only the scheme changes, the old scheme's own port goes too.
    public func location(for request: borrowing some RequestView & ~Copyable & ~Escapable) -> [UInt8]? {
        guard case .redirect(let redirect) = action else { return nil }
        return redirect.location(for: request, matchedBy: match.path)
    }
}

extension Redirect {
    /// The address that it makes of a request, without a route whose match it would look at.
    public func location(for request: borrowing some RequestView & ~Copyable & ~Escapable) -> [UInt8] {
        location(for: request, matchedBy: .prefix([], ignoringCase: false))
    }

    fileprivate func location(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, matchedBy matcher: PathMatcher
    ) -> [UInt8] {
        var result = scheme ?? Bytes.copy(request.scheme).map { Bytes.lowercased($0) }
        if result.isEmpty { result = Self.http }
        let scheme = result
        result.append(contentsOf: "://".utf8)
        appendAuthority(request.authority, of: request.scheme, to: scheme, into: &result)
        appendPath(request.path, matchedBy: matcher, into: &result)
        return result
    }

    private static let http = Array("http".utf8)
    private static let https = Array("https".utf8)

    fileprivate func appendAuthority(
        _ authority: borrowing Span<UInt8>, of oldScheme: borrowing Span<UInt8>, to newScheme: [UInt8],
        into result: inout [UInt8]
    ) {
        let hostCount = DomainTable.countWithoutPort(authority)
        if let host {
            result.append(contentsOf: host)
        } else {
            Bytes.append(authority.extracting(0..<hostCount), to: &result)
        }
        if let port {
            if !Self.isOwnPort(port, of: newScheme) { result.append(contentsOf: ":\(port)".utf8) }
            return
        }
        guard host == nil, hostCount < authority.count else { return }
        let digits = authority.extracting((hostCount + 1)..<authority.count)
        let oldPort = Bytes.integer(digits).flatMap { UInt16(exactly: $0) }
        if let oldPort {
            let old = Bytes.copy(oldScheme).map { Bytes.lowercased($0) }
            if Self.isOwnPort(oldPort, of: old), old != newScheme { return }
        }
        Bytes.append(authority.extracting(hostCount..<authority.count), to: &result)
    }

    private static func isOwnPort(_ port: UInt16, of scheme: [UInt8]) -> Bool {
        (port == 80 && scheme == http) || (port == 443 && scheme == https)
    }

    fileprivate func appendPath(
        _ path: borrowing Span<UInt8>, matchedBy matcher: PathMatcher, into result: inout [UInt8]
    ) {
        // A fragment never goes into a Location: the client keeps its own (RFC 9110 §10.2.2).
        let end = Bytes.firstIndex(of: 0x23, in: path) ?? path.count
        let whole = path.extracting(0..<end)
        var rewritten: [UInt8]
        if case .path(let target) = pathRewrite, target.contains(0x3F) {
            // A query in the configuration is meant: it wins over the request's and is not stripped.
            result.append(contentsOf: target)
            return
        }
        if let pathRewrite {
            rewritten = pathRewrite.apply(to: whole, matchedBy: matcher)
        } else {
            rewritten = Bytes.copy(whole)
        }
        if rewritten.first != 0x2F { rewritten.insert(0x2F, at: 0) }
        if stripsQuery, let query = rewritten.firstIndex(of: 0x3F) { rewritten.removeSubrange(query...) }
        result.append(contentsOf: rewritten)
    }
}
