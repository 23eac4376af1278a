import APIServer
import KubernetesAPI
import Serialization
import Store

/// A watch of the store in this process; when it fell behind, everything is told anew.
final class RegistryFeed: ObjectFeed {
    private let registry: ObjectRegistry
    private let kind: ResourceKind
    private let wake: () -> Void
    private var watch: StoreWatch
    private var mustReplace = true

    init(_ registry: ObjectRegistry, _ kind: ResourceKind, wake: @escaping () -> Void) throws(StatusError) {
        self.registry = registry
        self.kind = kind
        self.wake = wake
        watch = try registry.watch(kind, wake: wake)
    }

    deinit { watch.cancel() }

    func take() -> [FeedChange] {
        if watch.isLost {
            watch.cancel()
            // Without a watch the next call tries again.
            guard let anew = try? registry.watch(kind, wake: wake) else { return [] }
            watch = anew
            mustReplace = true
        }
        guard mustReplace else {
            return watch.take().map { event in
                let object = registry.object(of: event, kind)
                return event.kind == .deleted ? .deleted(object) : .set(object)
            }
        }
        mustReplace = false
        _ = watch.take()
        return [.replaced(registry.list(kind))]
    }

    func cancel() { watch.cancel() }
}
