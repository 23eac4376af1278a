internal import IO

/// A span that has begun.
final class ActiveSpan {
    var context: TraceContext

    init(_ context: TraceContext) { self.context = context }
}

extension HTTPStream {
    var traceContext: TraceContext? { span?.context }
}
