import KubernetesAPI
import Serialization
import Store

/// What the registry keeps beside the objects follows the store, also where somebody else wrote.
extension ObjectRegistry {
    /// Owners and addresses of everything that is stored, and the kinds that are defined there.
    func index() {
        readDefinitions()
        knownPolicy = nil
        owners = OwnerIndex()
        addresses = ServiceAddresses(addresses.ranges)
        for kind in kinds.all {
            for stored in store.list(kind.storeResource, namespace: nil) {
                owners.insert(stored.key, stored.object)
                if kind == .service { addresses.adopt(stored.object) }
            }
        }
    }

    /// Takes note of what other servers write, and of what was taken back.
    func followStore() {
        index()
        store.onReset.append { [weak self] in self?.index() }
        store.onForeignWrite = { [weak self] event in self?.notice(event) }
    }

    private func notice(_ event: StoreEvent) {
        if let kind = kinds.kind(storeResource: event.object.key.resource) { foreignChange(of: kind) }
        let isService = event.object.key.resource == ResourceKind.service.storeResource
        if let previous = event.previous {
            owners.remove(event.object.key, previous)
            if isService { addresses.release(previous) }
        }
        guard event.kind != .deleted else { return }
        owners.insert(event.object.key, event.object.object)
        if isService { addresses.adopt(event.object.object) }
    }

    /// Kubernetes' own words for what the store says of an object.
    func status(_ error: StoreError, _ kind: ResourceKind, _ name: String) -> StatusError {
        switch error {
        case .notFound: .notFound(kind, name)
        case .alreadyExists: .alreadyExists(kind, name)
        case .conflict: .conflict(kind, name)
        default: StatusError(error)
        }
    }
}

extension StatusError {
    /// What the store says, where no single object is meant.
    init(_ error: StoreError) {
        switch error {
        case .expired: self = .expired(error.description)
        case .diskFull: self.init(code: 507, reason: "InsufficientStorage", message: error.description)
        case .tooLarge:
            self.init(code: 413, reason: "RequestEntityTooLarge", message: error.description)
        case .overtaken:
            self.init(
                code: 503, reason: "ServiceUnavailable",
                message: "other servers kept writing first; nothing was changed, try again",
                details: ["retryAfterSeconds": 1])
        case .unavailable:
            self.init(
                code: 503, reason: "ServiceUnavailable", message: error.description, details: ["retryAfterSeconds": 1])
        case .notFound, .alreadyExists, .conflict, .corrupted, .inUse, .failed:
            self = .internalError(error.description)
        }
    }
}
