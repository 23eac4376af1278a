import APIServer
import IO
import KubernetesAPI
import Mesh
import Serialization
import Telemetry

/// Keeps the Services of Gateways, and the endpoints behind them, as `GatewayServices` wants them.
///
/// It looks when the model that has the changes is there. Loop-owned.
final class GatewayServiceKeeper {
    /// How long after a refused write it is tried again.
    static let retryPause = Duration.seconds(2)

    private let source: any ObjectSource
    private let loop: EventLoop
    private let cache: ObjectCache
    private let model: () -> MeshModel
    private let log = Logger("gateways")
    /// The Services that were made for Gateways, these or former ones.
    private var made: Set<NamespacedName> = []
    private var isStale = true
    private var timer: LoopTimer?
    /// What was last said of each object: a refusal that repeats is told once.
    private var problems: [NamespacedName: String] = [:]

    init(_ source: any ObjectSource, on loop: EventLoop, cache: ObjectCache, model: @escaping () -> MeshModel) {
        self.source = source
        self.loop = loop
        self.cache = cache
        self.model = model
        made = Set(cache.objects(.service).filter(Self.isMade).map(\.key))
        source.writerChanged.append { [weak self] in
            self?.isStale = true
            self?.look()
        }
    }

    private static func isMade(_ service: KubernetesObject) -> Bool {
        service.metadata.labels[GatewayServices.gatewayLabel] != nil
    }

    /// Objects have changed.
    func changed(_ changes: [ObjectEvent]) {
        for change in changes {
            switch change.kind {
            case .service:
                if change.isDeleted { made.remove(change.object.key) }
                if !change.isDeleted, Self.isMade(change.object) { made.insert(change.object.key) }
                // Somebody else's may have a name that a Gateway's is to have.
                if made.contains(change.object.key) || change.isDeleted { isStale = true }
            case .endpointSlice:
                if change.object.metadata.labels[GatewayServices.managedLabel] == GatewayServices.managedBy {
                    isStale = true
                }
            case .pod: if change.object.namespace == GatewayObjects.namespace { isStale = true }
            case .node, .configMap, .virtualService, .destinationRule, .httpRoute: break
            default: isStale = true
            }
        }
    }

    /// Writes what differs, if something may differ.
    func look() {
        guard isStale, source.isWriter else { return }
        isStale = false
        let model = model()
        let wanted = model.gatewayAddresses
        let pods = cache.objects(.pod, namespace: GatewayObjects.namespace).filter(GatewayServices.isServing)
        var names: Set<NamespacedName> = []
        for address in wanted {
            guard let owner = cache.object(.gatewayAPIGateway, address.gateway) else { continue }
            let key = Self.service(of: address)
            names.insert(key)
            let decision = GatewayServices.decide(
                address, owner: owner, service: cache.object(.service, key), slice: cache.object(.endpointSlice, key),
                pods: pods)
            decision.changes.forEach(perform)
        }
        for key in made {
            guard let service = cache.object(.service, key), GatewayServices.isLeft(service, wanted: names) else {
                continue
            }
            perform(.delete(.service, key, uid: service.metadata.uid))
        }
    }

    private static func service(of address: GatewayAddress) -> NamespacedName {
        NamespacedName(
            namespace: address.gateway.namespace,
            name: GatewayServices.name(address.gateway.name, className: address.className))
    }

    /// The addresses of all Gateways that have one of their own.
    func addresses(_ model: MeshModel) -> [NamespacedName: [String]] {
        var found: [NamespacedName: [String]] = [:]
        for address in model.gatewayAddresses {
            guard let owner = cache.object(.gatewayAPIGateway, address.gateway) else { continue }
            found[address.gateway] = GatewayServices.addresses(
                address, owner: owner, service: cache.object(.service, Self.service(of: address)))
        }
        return found
    }

    private func perform(_ change: ObjectChange) {
        switch change {
        case .create(let kind, let object):
            source.create(kind, object.json, namespace: object.namespace) { [weak self] result in
                if case .failure(let error) = result {
                    self?.refused(kind, object.key, error)
                } else {
                    self?.problems[object.key] = nil
                }
            }
        case .update(let kind, let object):
            let version = object.json["metadata"]?["resourceVersion"]
            source.modify(kind, object.key, subresource: "") { json in
                // Somebody changed it since: that comes by the watch, and is decided upon anew.
                json["metadata"]?["resourceVersion"] == version ? object.json : json
            } _: { [weak self] error in
                if let error {
                    self?.refused(kind, object.key, error)
                } else {
                    self?.problems[object.key] = nil
                }
            }
        case .delete(let kind, let key, let uid):
            source.delete(kind, key, uid: uid) { [weak self] error in
                if let error, error.code != 404 { self?.refused(kind, key, error) }
            }
        case .updateStatus, .event: break  // Nothing here decides on these.
        }
    }

    private func refused(_ kind: ResourceKind, _ key: NamespacedName, _ error: StatusError) {
        // Somebody was faster: what there is now comes by the watch.
        if error.code != 409, problems[key] != error.message {
            problems[key] = error.message
            log.warning(
                "a Gateway's address cannot be made", ["kind": kind.kind, "object": "\(key)", "error": error.message])
        }
        guard timer == nil else { return }
        timer = loop.schedule(after: Self.retryPause) { [weak self] in
            self?.timer = nil
            self?.isStale = true
            self?.look()
        }
    }
}
