internal import HTTP

/// What a filter says after looking at a head or at trailers.
enum FilterStep {
    /// The next filter's turn.
    case next
    /// The filter answered, or resumes later; pieces of the body still come to it.
    case stop
    /// The filter answered, or resumes later; the body is held before it until then.
    case stopAll
}

/// What a filter says after looking at a piece of a body.
enum BodyStep {
    /// The piece, as the filter left it, goes on; if this filter had stopped, everything before it goes on first.
    case next
    /// The filter collects: the piece is kept with those before it, and goes on when the filter resumes or says `next` to a later one.
    case hold
    /// As `hold`, but the sender pauses when enough is kept: the filter lets it go on by `passHeld` or by resuming.
    case wait
    /// The piece is gone: the filter has taken it.
    case drop
}

/// What a filter wants to be called for; everything else passes it by without a call.
struct FilterInterest: OptionSet {
    let rawValue: UInt8
    static let requestHead = FilterInterest(rawValue: 1)
    static let requestBody = FilterInterest(rawValue: 2)
    static let requestTrailers = FilterInterest(rawValue: 4)
    static let responseHead = FilterInterest(rawValue: 8)
    static let responseBody = FilterInterest(rawValue: 16)
    static let responseTrailers = FilterInterest(rawValue: 32)
}

/// A piece of a body on its way through the filters.
struct BodyChunk {
    private let original: UnsafeRawBufferPointer
    private var replacement: [UInt8]?

    init(_ bytes: UnsafeRawBufferPointer) { original = bytes }

    var count: Int { replacement?.count ?? original.count }
    var isEmpty: Bool { count == 0 }

    /// A copy that outlives the call.
    var copy: [UInt8] { replacement ?? [UInt8](original) }

    /// The bytes, for the length of the call.
    func withBytes<Result>(_ body: (UnsafeRawBufferPointer) -> Result) -> Result {
        if let replacement { return replacement.withUnsafeBytes(body) }
        return body(original)
    }

    /// Puts other bytes in their place.
    mutating func replace(with bytes: [UInt8]) { replacement = bytes }
}

/// One filter at work on one stream.
///
/// Calls are synchronous; a filter that waits stops the stream, and later calls `stream.resumeRequest(self)` or
/// `stream.resumeResponse(self)`. A filter that answers calls `stream.localReply` and says `stop`. The order is Envoy's:
/// requests pass the filters as configured, responses the other way round.
protocol HTTPFilter: AnyObject {
    /// Asked once, when the filter is made.
    var interest: FilterInterest { get }
    /// `isEnd`: the request has no body.
    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep
    /// `isEnd`: no further piece comes (this one may be empty); trailers may.
    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep
    func requestTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep
    /// The head is `stream.response`; `isEnd`: it has no body.
    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep
    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep
    func responseTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep
    /// Called once, always, last: timers and calls under way end here.
    func streamEnded(_ stream: HTTPStream)
}

extension HTTPFilter {
    func requestHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep { .next }
    func requestBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep { .next }
    func requestTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep { .next }
    func responseHead(_ stream: HTTPStream, isEnd: Bool) -> FilterStep { .next }
    func responseBody(_ stream: HTTPStream, _ chunk: inout BodyChunk, isEnd: Bool) -> BodyStep { .next }
    func responseTrailers(_ stream: HTTPStream, _ trailers: inout HeaderTable) -> FilterStep { .next }
    func streamEnded(_ stream: HTTPStream) {}
}

/// A filter's configuration: immutable, shared by all loops.
protocol HTTPFilterConfig: Sendable {
    /// The name under which routes configure it and switch it off.
    var name: String { get }
    /// Whether it acts only where a route switches it on.
    var isDisabled: Bool { get }
    /// A filter for a stream; nil when it has nothing to do with it.
    func make(_ stream: HTTPStream) -> (any HTTPFilter)?
    /// Whether it may run for a request that is only explained, and what is to be said of it.
    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun
}

/// How a filter takes part in an explanation.
enum ExplainedFilterRun {
    /// It runs: it decides from the request alone, and asks nobody.
    case runs
    /// It does not run, because it asks somebody or counts something; explanations go on as if it let the request pass.
    case isAsked(String)
}

extension HTTPFilterConfig {
    var isDisabled: Bool { false }

    func explain(_ stream: HTTPStream, _ note: (_ text: String, _ path: String) -> Void) -> ExplainedFilterRun {
        .isAsked("would be asked; taken to let the request pass")
    }

}
