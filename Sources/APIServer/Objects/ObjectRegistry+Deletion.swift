public import KubernetesAPI
import Serialization
import Store

/// How an object is deleted.
public struct DeleteOptions: Sendable {
    /// What happens to the objects that belong to it.
    public enum Propagation: String, Sendable {
        /// They are deleted after it.
        case background = "Background"
        /// They are deleted before it.
        case foreground = "Foreground"
        /// They stay.
        case orphan = "Orphan"
    }

    /// Seconds that a pod has to stop; `nil` means what its spec says.
    public var gracePeriodSeconds: Int?
    /// What happens to the objects that belong to it.
    public var propagation = Propagation.background
    /// The identity that the object must have.
    public var uid: String?
    /// The resource version that the object must have.
    public var resourceVersion: String?
    /// Whether nothing is stored.
    public var isDryRun = false

    /// In the background, with the grace that the spec says.
    public init() {}
}

extension ObjectRegistry {
    private static let foreground = "foregroundDeletion"

    /// Deletes an object, or begins to: pods get their grace period, finalizers are waited for.
    ///
    /// Returns the object and whether it is gone.
    @discardableResult
    public func delete(
        _ kind: ResourceKind, _ namespace: String = "", _ name: String, options: DeleteOptions = DeleteOptions()
    ) throws(StatusError) -> (object: KubernetesObject, isGone: Bool) {
        let current = try stored(kind, namespace, name)
        let meta = ObjectMeta(json: current.object["metadata"] ?? .null)
        if let uid = options.uid, uid != meta.uid {
            throw .conflict(
                kind, name, "Precondition failed: UID in precondition: \(uid), UID in object meta: \(meta.uid)")
        }
        if let version = options.resourceVersion, version != String(current.revision) {
            throw .conflict(
                kind, name,
                "Precondition failed: ResourceVersion in precondition: \(version), ResourceVersion in object meta: "
                    + "\(current.revision)")
        }
        if kind == .namespace, ["default", "kube-system"].contains(name) {
            throw .forbidden(kind, name, "this namespace may not be deleted")
        }
        if options.isDryRun { return (viewed(current, kind), true) }
        if kind == .namespace { return try deleteNamespace(current) }
        let marked = try mark(current, kind, options)
        if kind == .customResourceDefinition {
            finishDefinitions()
            guard let again = store.get(marked.key) else { return (viewed(marked, kind), true) }
            return (viewed(again, kind), false)
        }
        if options.propagation == .orphan { orphan(meta.uid) }
        if options.propagation == .foreground {
            deleteDependents(of: meta.uid, .foreground)
            releaseOwner(meta.uid)
            // They may all have gone at once, and have taken it with them.
            guard let again = store.get(marked.key) else { return (viewed(marked, kind), true) }
            return try finish(again, kind)
        }
        return try finish(marked, kind)
    }

    /// Deletes all objects of a kind in a namespace that a selection wants.
    public func deleteCollection(
        _ kind: ResourceKind, namespace: String?, selection: Selection, options: DeleteOptions
    ) throws(StatusError) -> [KubernetesObject] {
        let objects = list(kind, namespace: namespace, selection: selection)
        for object in objects {
            do {
                try delete(kind, object.namespace, object.name, options: options)
            } catch  where error.code == 404 {
                continue  // It went with its owner.
            }
        }
        return objects
    }

    private func finish(
        _ current: StoredObject, _ kind: ResourceKind
    ) throws(StatusError) -> (object: KubernetesObject, isGone: Bool) {
        guard isFree(current.object, kind) else { return (viewed(current, kind), false) }
        return (viewed(try remove(current, kind), kind), true)
    }

    /// Writes down that the object is being deleted, if that is more than a moment.
    private func mark(
        _ current: StoredObject, _ kind: ResourceKind, _ options: DeleteOptions
    ) throws(StatusError) -> StoredObject {
        var object = current.object
        var metadata = object["metadata"] ?? .object([:])
        var grace = 0
        if kind == .pod {
            let pod = Pod(json: object)
            let hasEnded = ["Succeeded", "Failed"].contains(pod.status.phase)
            let isBound = !pod.spec.nodeName.isEmpty
            grace =
                isBound && !hasEnded ? max(0, options.gracePeriodSeconds ?? pod.spec.terminationGracePeriodSeconds) : 0
            // Kubernetes' rule: a later request may shorten the grace period, never lengthen it.
            if let running = metadata["deletionGracePeriodSeconds"]?.int { grace = min(grace, running) }
            if metadata["deletionTimestamp"] != nil, options.gracePeriodSeconds == nil,
                metadata["deletionGracePeriodSeconds"]?.int ?? 0 > 0
            {
                return current
            }
        }
        var finalizers = ObjectMeta(json: metadata).finalizers
        if options.propagation == .foreground, !finalizers.contains(Self.foreground) {
            finalizers.append(Self.foreground)
            metadata["finalizers"] = .array(finalizers.map { .string($0) })
        }
        let isAlreadyMarked = metadata["deletionTimestamp"] != nil
        if kind == .pod || !isAlreadyMarked {
            metadata["deletionTimestamp"] = .string((now() + .seconds(grace)).secondsText)
            metadata["deletionGracePeriodSeconds"] = .integer(Int64(grace))
            if !isAlreadyMarked, kind.hasGeneration {
                metadata["generation"] = .integer(Int64((metadata["generation"]?.int ?? 0) + 1))
            }
        }
        object["metadata"] = metadata
        // What goes at once is not written first.
        if isFree(object, kind) { return StoredObject(key: current.key, revision: current.revision, object: object) }
        return object == current.object ? current : try replace(current, with: object, kind, "")
    }

    /// Whether an object that is being deleted is held by nothing.
    func isFree(_ object: JSON, _ kind: ResourceKind) -> Bool {
        let meta = ObjectMeta(json: object["metadata"] ?? .null)
        guard meta.deletionTimestamp != nil, meta.finalizers.isEmpty else { return false }
        if kind == .namespace { return false }
        return kind != .pod || meta.json["deletionGracePeriodSeconds"]?.int ?? 0 == 0
    }

    /// Takes the object out of the store, and with it what only it held.
    func remove(_ current: StoredObject, _ kind: ResourceKind) throws(StatusError) -> StoredObject {
        let gone = try wrap(kind, current.key.name) { () throws(StoreError) in
            try store.delete(current.key, expected: current.revision, durability(kind, ""))
        }
        owners.remove(current.key, gone.object)
        kindChanged(kind)
        if kind == .service { addresses.release(gone.object) }
        let meta = ObjectMeta(json: gone.object["metadata"] ?? .null)
        deleteDependents(of: meta.uid, .background)
        for owner in meta.ownerReferences { releaseOwner(owner.uid) }
        if kind.isCustom { finishDefinitions() }
        if kind.isNamespaced { finishNamespace(current.key.namespace) }
        return gone
    }

    /// Objects with other living owners lose one reference; the others are deleted.
    ///
    /// An error leaves them to the sweep.
    private func deleteDependents(of uid: String, _ propagation: DeleteOptions.Propagation) {
        for key in owners.dependents(of: uid) {
            guard let dependent = store.get(key), let kind = kinds.kind(storeResource: key.resource) else { continue }
            let meta = ObjectMeta(json: dependent.object["metadata"] ?? .null)
            let others = meta.ownerReferences.filter { $0.uid != uid && isLasting($0.uid) }
            if others.isEmpty {
                if meta.deletionTimestamp != nil { continue }
                var options = DeleteOptions()
                options.propagation = propagation == .foreground ? .foreground : .background
                _ = try? delete(kind, key.namespace, key.name, options: options)
            } else {
                dropOwner(dependent, kind, uid)
            }
        }
    }

    /// Whether an owner is there and does not itself wait for its dependents to go.
    private func isLasting(_ uid: String) -> Bool {
        guard let key = owners.key(of: uid), let owner = store.get(key) else { return false }
        let meta = ObjectMeta(json: owner.object["metadata"] ?? .null)
        return meta.deletionTimestamp == nil || !meta.finalizers.contains(Self.foreground)
    }

    /// Whether a dependent holds an owner that waits: only those hold it that say so (`blockOwnerDeletion`).
    private func holds(_ key: StoreKey, _ uid: String) -> Bool {
        guard let dependent = store.get(key) else { return false }
        return ObjectMeta(json: dependent.object["metadata"] ?? .null).ownerReferences.contains {
            $0.uid == uid && $0.blocksOwnerDeletion
        }
    }

    private func orphan(_ uid: String) {
        for key in owners.dependents(of: uid) {
            guard let dependent = store.get(key), let kind = kinds.kind(storeResource: key.resource) else { continue }
            dropOwner(dependent, kind, uid)
        }
    }

    private func dropOwner(_ dependent: StoredObject, _ kind: ResourceKind, _ uid: String) {
        var object = dependent.object
        var metadata = object["metadata"] ?? .object([:])
        let kept = (metadata["ownerReferences"]?.array ?? []).filter { $0["uid"]?.string != uid }
        metadata["ownerReferences"] = kept.isEmpty ? JSON?.none : .array(kept)
        object["metadata"] = metadata
        _ = try? replace(dependent, with: object, kind, "")
    }

    /// An owner that waits for its dependents goes when the last has gone.
    private func releaseOwner(_ uid: String) {
        guard let key = owners.key(of: uid), let owner = store.get(key),
            !owners.dependents(of: uid).contains(where: { holds($0, uid) }),
            let kind = kinds.kind(storeResource: key.resource)
        else { return }
        var object = owner.object
        var metadata = object["metadata"] ?? .object([:])
        let finalizers = ObjectMeta(json: metadata).finalizers
        guard metadata["deletionTimestamp"] != nil, finalizers.contains(Self.foreground) else { return }
        let kept = finalizers.filter { $0 != Self.foreground }
        metadata["finalizers"] = kept.isEmpty ? JSON?.none : .array(kept.map { .string($0) })
        object["metadata"] = metadata
        guard let stored = try? replace(owner, with: object, kind, ""), isFree(object, kind) else { return }
        _ = try? remove(stored, kind)
    }

    // MARK: Namespaces

    private func deleteNamespace(
        _ current: StoredObject
    ) throws(StatusError) -> (object: KubernetesObject, isGone: Bool) {
        var stored = current
        if current.object["metadata"]?["deletionTimestamp"] == nil {
            var object = current.object
            var metadata = object["metadata"] ?? .object([:])
            metadata["deletionTimestamp"] = .string(now().secondsText)
            object["metadata"] = metadata
            object["status"] = ["phase": "Terminating"]
            stored = try replace(current, with: object, .namespace, "")
        }
        emptyNamespace(current.key.name)
        finishNamespace(current.key.name)
        tellRemaining(current.key.name)
        let isGone = store.get(current.key) == nil
        return (viewed(stored, .namespace), isGone)
    }

    private func emptyNamespace(_ name: String) {
        // Owners first, so that no controller makes anew what is deleted here.
        let order: (StoreKey) -> Int = {
            $0.resource.hasPrefix("apps/deployments") ? 0 : $0.resource.hasPrefix("apps/") ? 1 : 2
        }
        for key in owners.contents(of: name).sorted(by: { order($0) < order($1) }) {
            guard let kind = kinds.kind(storeResource: key.resource) else { continue }
            _ = try? delete(kind, key.namespace, key.name)
        }
    }

    /// Says in a namespace's status what it still waits for, in Kubernetes' words: what people look at when one does not go.
    private func tellRemaining(_ name: String) {
        guard let namespace = store.get(key(.namespace, "", name)),
            namespace.object["metadata"]?["deletionTimestamp"] != nil
        else { return }
        var kinds: [String: Int] = [:]
        var finalizers: [String: Int] = [:]
        for key in owners.contents(of: name) {
            let kind = self.kinds.kind(storeResource: key.resource)
            kinds[kind.map { $0.group.isEmpty ? $0.plural + "." : $0.qualifiedPlural } ?? key.resource, default: 0] += 1
            for finalizer in store.get(key).map({ ObjectMeta(json: $0.object["metadata"] ?? .null).finalizers }) ?? [] {
                finalizers[finalizer, default: 0] += 1
            }
        }
        func list(_ counts: [String: Int], _ text: (String, Int) -> String) -> String {
            counts.sorted { $0.key < $1.key }.map { text($0.key, $0.value) }.joined(separator: ", ")
        }
        let old = namespace.object["status"]?["conditions"]?.array ?? []
        func condition(_ type: String, _ isSet: Bool, _ reason: String, _ message: String) -> JSON {
            let value: JSON = isSet ? "True" : "False"
            let known = old.first { $0["type"]?.string == type }
            let time =
                known?["status"] == value ? known?["lastTransitionTime"] ?? .null : .string(now().secondsText)
            return [
                "type": .string(type), "status": value, "reason": .string(reason), "message": .string(message),
                "lastTransitionTime": time,
            ]
        }
        var object = namespace.object
        object["status"] = [
            "phase": "Terminating",
            "conditions": [
                condition(
                    "NamespaceContentRemaining", !kinds.isEmpty,
                    kinds.isEmpty ? "ContentRemoved" : "SomeResourcesRemain",
                    kinds.isEmpty
                        ? "All content successfully removed"
                        : "Some resources are remaining: " + list(kinds) { "\($0) has \($1) resource instances" }),
                condition(
                    "NamespaceFinalizersRemaining", !finalizers.isEmpty,
                    finalizers.isEmpty ? "ContentHasNoFinalizers" : "SomeFinalizersRemain",
                    finalizers.isEmpty
                        ? "All content-preserving finalizers finished"
                        : "Some content in the namespace has finalizers remaining: "
                            + list(finalizers) { "\($0) in \($1) resource instances" }),
            ],
        ]
        if object["status"] != namespace.object["status"] {
            _ = try? replace(namespace, with: object, .namespace, "status")
        }
    }

    private func finishNamespace(_ name: String) {
        guard owners.contents(of: name).isEmpty, let namespace = store.get(key(.namespace, "", name)),
            namespace.object["metadata"]?["deletionTimestamp"] != nil,
            ObjectMeta(json: namespace.object["metadata"] ?? .null).finalizers.isEmpty
        else { return }
        guard
            (try? wrap(
                .namespace, name,
                { () throws(StoreError) in
                    try store.delete(namespace.key, expected: namespace.revision, .synced)
                })) != nil
        else { return }
        owners.remove(namespace.key, namespace.object)
    }

    // MARK: Sweep

    /// How long an event is kept, as Kubernetes does.
    static let eventLifetimeSeconds: Int64 = 3600

    /// Deletes what a failed write or a lost race left over, and old events; call it now and then.
    public func collectGarbage() {
        let oldest = now().seconds - Self.eventLifetimeSeconds
        for event in store.list(ResourceKind.event.storeResource, namespace: nil) {
            let view = Event(json: event.object)
            let text = view.lastTimestamp ?? view.eventTime ?? view.metadata.creationTimestamp
            if let time = Timestamp(text), time.seconds < oldest {
                _ = try? delete(.event, event.key.namespace, event.key.name)
            }
        }
        for kind in kinds.all {
            for stored in store.list(kind.storeResource, namespace: nil) {
                let meta = ObjectMeta(json: stored.object["metadata"] ?? .null)
                let references = meta.ownerReferences
                if !references.isEmpty, meta.deletionTimestamp == nil,
                    references.allSatisfy({ owners.key(of: $0.uid) == nil })
                {
                    _ = try? delete(kind, stored.key.namespace, stored.key.name)
                } else if isFree(stored.object, kind) {
                    _ = try? remove(stored, kind)
                } else if meta.deletionTimestamp != nil, meta.finalizers.contains(Self.foreground) {
                    releaseOwner(meta.uid)
                }
            }
        }
        finishDefinitions()
        for namespace in store.list(ResourceKind.namespace.storeResource, namespace: nil)
        where namespace.object["metadata"]?["deletionTimestamp"] != nil {
            emptyNamespace(namespace.key.name)
            finishNamespace(namespace.key.name)
            tellRemaining(namespace.key.name)
        }
    }
}
