public import Telemetry

/// What a name server has counted since its start.
public final class DNSCounts: Sendable {
    /// Queries that were understood.
    public let queries = Counter()
    /// Those of them that were answered SERVFAIL: nobody knew, in time or at all.
    public let failures = Counter()

    /// Nothing so far.
    public init() {}
}
