import KubernetesAPI
import Serialization
import Store

/// Who belongs to whom, and how many objects a namespace has: what deletion asks, kept up with every write.
struct OwnerIndex {
    private var dependents: [String: Set<StoreKey>] = [:]
    private var identities: [String: StoreKey] = [:]
    private var contents: [String: Set<StoreKey>] = [:]

    mutating func insert(_ key: StoreKey, _ object: JSON) {
        let metadata = ObjectMeta(json: object["metadata"] ?? .null)
        identities[metadata.uid] = key
        if !key.namespace.isEmpty { contents[key.namespace, default: []].insert(key) }
        for owner in metadata.ownerReferences { dependents[owner.uid, default: []].insert(key) }
    }

    mutating func remove(_ key: StoreKey, _ object: JSON) {
        let metadata = ObjectMeta(json: object["metadata"] ?? .null)
        identities[metadata.uid] = nil
        contents[key.namespace]?.remove(key)
        if contents[key.namespace]?.isEmpty == true { contents[key.namespace] = nil }
        for owner in metadata.ownerReferences {
            dependents[owner.uid]?.remove(key)
            if dependents[owner.uid]?.isEmpty == true { dependents[owner.uid] = nil }
        }
    }

    /// The objects that name `uid` as an owner.
    func dependents(of uid: String) -> [StoreKey] { (dependents[uid] ?? []).sorted() }
    /// Where the object of that identity lives.
    func key(of uid: String) -> StoreKey? { identities[uid] }
    /// The objects in a namespace.
    func contents(of namespace: String) -> [StoreKey] { (contents[namespace] ?? []).sorted() }
}
