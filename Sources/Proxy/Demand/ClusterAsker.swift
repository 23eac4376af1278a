internal import IO

/// Asks the control loop for clusters that requests want (ODCDS).
///
/// `@unchecked Sendable`: `store` is touched on the control loop only.
final class ClusterAsker: @unchecked Sendable {
    private let loop: EventLoop
    private weak var store: ConfigurationStore?

    init(_ store: ConfigurationStore, loop: EventLoop) {
        self.store = store
        self.loop = loop
    }

    /// Asks; the worker hears of it when there is an answer.
    func ask(_ name: String, from source: DiscoverySource, worker: Int) {
        loop.execute { [self] in store?.demandCluster(name, from: source, worker: worker) }
    }
}
