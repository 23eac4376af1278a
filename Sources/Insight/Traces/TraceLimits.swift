/// How much a trace store keeps.
public struct TraceLimits: Sendable, Hashable {
    /// Bytes of all spans together, about.
    public var bytes = 32 << 20
    /// Traces.
    public var traces = 20_000
    /// Traces that are not decided yet.
    public var pending = 5_000
    /// Spans of one trace.
    public var spansPerTrace = 1_000
    /// Attributes of one span, or of one event.
    public var attributes = 48
    /// Bytes of a name, or of an attribute's name.
    public var nameBytes = 256
    /// Bytes of an attribute's value.
    public var valueBytes = 1_024
    /// Events of one span.
    public var events = 32
    /// A trace is decided when no span of it came for so long; milliseconds.
    ///
    /// Proxies send every five seconds.
    public var quiet: Int64 = 12_000
    /// A trace is decided at the latest so long after its first span; milliseconds.
    public var deadline: Int64 = 60_000
    /// Traces that were not kept, whose late spans are known to be that.
    public var remembered = 10_000
    /// Of each service and route so many of the slowest are kept.
    public var slowest = 5
    /// For so long a slow one counts; milliseconds.
    public var slowWindow: Int64 = 600_000
    /// Services with their routes whose slowest are known.
    public var slowKeys = 2_000
    /// So many of the others are kept in a second.
    public var othersPerSecond = 10
    /// Beyond these one of so many.
    public var othersInterval: UInt64 = 10
    /// Traces that one question is answered with.
    public var answers = 1_000

    /// The default limits.
    public init() {}
}

/// What became of spans and traces, counted.
public struct TraceCounts: Sendable, Hashable {
    /// Spans that came.
    public var spans: UInt64 = 0
    /// Spans that were there already.
    public var duplicates: UInt64 = 0
    /// Spans without an id, or without a time.
    public var invalid: UInt64 = 0
    /// Spans beyond those that one trace may have.
    public var excess: UInt64 = 0
    /// Spans that came when their trace had been decided.
    public var late: UInt64 = 0
    /// Attributes and events that were left out.
    public var cutAttributes: UInt64 = 0
    /// Texts that were cut.
    public var cutTexts: UInt64 = 0
    /// Traces kept since something went wrong.
    public var errors: UInt64 = 0
    /// Traces kept since somebody asked for them.
    public var asked: UInt64 = 0
    /// Traces kept since they are among the slowest.
    public var slow: UInt64 = 0
    /// Traces kept as a share of the others.
    public var others: UInt64 = 0
    /// Traces that were not kept.
    public var dropped: UInt64 = 0
    /// Traces that went to make room.
    public var evicted: UInt64 = 0
    /// Traces that were decided early, for want of room.
    public var early: UInt64 = 0

    /// Nothing yet.
    public init() {}
}
