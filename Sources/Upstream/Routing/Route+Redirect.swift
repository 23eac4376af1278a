extension Route {
    /// The path to redirect to when the route changes it; nil when it stays.
    public func redirectedPath(_ path: borrowing Span<UInt8>) -> [UInt8]? {
        guard case .redirect(let redirect) = action, let rewrite = redirect.pathRewrite else { return nil }
        return rewrite.apply(to: path, matchedBy: match.path)
    }
}
