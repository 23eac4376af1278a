public import Telemetry

/// What a store has done, and which limits it has hit.
public final class StoreCounters: Sendable {
    /// Writes that are safe.
    public let settledWrites = Counter()
    /// Steps in which they became safe: one fsync, one etcd transaction.
    public let batches = Counter()
    /// Writes refused because too many were waiting.
    public let refusedWrites = Counter()
    /// Batches taken back because another server wrote first.
    public let overtaken = Counter()
    /// Times everything was read anew because the changes in between were unknown.
    public let reloads = Counter()
    /// Watches that fell too far behind.
    public let lostWatches = Counter()

    /// All at zero.
    public init() {}
}
