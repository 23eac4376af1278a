/// What a filter says after looking at a request.
enum FilterStep {
    /// The next filter's turn.
    case next
    /// The filter answered, or calls `stream.resume()` later.
    case stop
}

/// One filter at work on one stream.
///
/// Calls are synchronous; a filter that waits answers `stop` and resumes the stream.
protocol HTTPFilter: AnyObject {
    func requestHead(_ stream: HTTPStream) -> FilterStep
    func responseHead(_ stream: HTTPStream)
    /// Called once, always, last.
    func streamEnded(_ stream: HTTPStream)
}

extension HTTPFilter {
    func responseHead(_ stream: HTTPStream) {}
    func streamEnded(_ stream: HTTPStream) {}
}

/// A filter's configuration: immutable, shared by all loops.
protocol HTTPFilterConfig: Sendable {
    /// The name under which routes switch it off.
    var name: String { get }
    /// A filter for a stream; nil when it has nothing to do with it.
    func make(_ stream: HTTPStream) -> (any HTTPFilter)?
}
