internal import IO

/// Asks the control loop for the virtual hosts that requests want (VHDS).
///
/// `@unchecked Sendable`: `store` is touched on the control loop only.
final class HostDemand: @unchecked Sendable {
    private let loop: EventLoop
    private weak var store: ConfigurationStore?

    init(_ store: ConfigurationStore, loop: EventLoop) {
        self.store = store
        self.loop = loop
    }

    /// Asks; the worker hears of it when there is an answer, or at once when nobody can be asked.
    func ask(_ host: String, ofRoutes routes: String, worker: Int) {
        loop.execute { [self] in store?.demandHost(host, ofRoutes: routes, worker: worker) }
    }
}
