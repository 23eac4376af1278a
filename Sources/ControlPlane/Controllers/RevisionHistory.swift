import KubernetesAPI
import Mesh
import Serialization

/// The templates that a StatefulSet or DaemonSet has had, as ControllerRevisions: what `kubectl rollout undo` goes back to.
///
/// Pure: what is to be made or changed stands in `changes`.
struct RevisionHistory {
    static let hashLabel = "controller-revision-hash"
    private static let revisionHashLabel = "controller.kubernetes.io/hash"

    /// Oldest first.
    private(set) var all: [KubernetesObject]
    /// The revision of the present template; its name is what pods carry.
    private(set) var update: KubernetesObject
    private(set) var changes: [ObjectChange] = []

    /// `all` are the revisions that `owner` controls.
    init(_ owner: KubernetesObject, _ kind: ResourceKind, _ known: [KubernetesObject], collisions: Int) {
        all = known.sorted { (Self.number($0), $0.name) < (Self.number($1), $1.name) }
        let template = owner.spec["template"] ?? .object([:])
        // Kubernetes' own form: a strategic merge patch that puts the template back, whole.
        var replaced = template
        replaced["$patch"] = "replace"
        let data: JSON = ["spec": ["template": replaced]]
        let highest = all.last.map(Self.number) ?? 0
        if let position = all.lastIndex(where: { $0.json["data"] == data }) {
            var same = all[position]
            if position != all.count - 1 {
                // A template that comes back is the newest again.
                same.json["revision"] = .integer(Int64(highest + 1))
                changes.append(.update(.controllerRevision, same))
                all.remove(at: position)
                all.append(same)
            }
            update = same
            return
        }
        let hash = SafeText.hash(data.text + (collisions > 0 ? String(collisions) : ""))
        var labels = template["metadata"]?["labels"] ?? .object([:])
        labels[Self.revisionHashLabel] = .string(hash)
        // `kubectl rollout history` shows the cause beside each revision.
        let cause = owner.metadata.annotations["kubernetes.io/change-cause"]
        var metadata: JSON = [
            "name": .string("\(owner.name)-\(hash)"), "namespace": .string(owner.namespace), "labels": labels,
            "ownerReferences": [owner.controllerReference(kind)],
        ]
        if let cause { metadata["annotations"] = ["kubernetes.io/change-cause": .string(cause)] }
        let made = KubernetesObject(json: [
            "apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "data": data,
            "revision": .integer(Int64(highest + 1)),
        ])
        changes.append(.create(.controllerRevision, made))
        all.append(made)
        update = made
    }

    static func number(_ revision: KubernetesObject) -> Int { revision.json["revision"]?.int ?? 0 }

    /// The revision of that name.
    func named(_ name: String) -> KubernetesObject? { all.first { $0.name == name } }

    /// The pod template of a revision.
    static func template(_ revision: KubernetesObject) -> JSON {
        var template = revision.json["data"]?["spec"]?["template"] ?? .object([:])
        template["$patch"] = nil
        return template
    }

    /// Deletes the oldest revisions beyond `limit` that no pod and no status needs.
    mutating func trim(limit: Int, live: Set<String>) {
        let old = all.filter { !live.contains($0.name) && $0.name != update.name && !$0.metadata.uid.isEmpty }
        for revision in old.prefix(max(0, old.count - max(0, limit))) {
            changes.append(.delete(.controllerRevision, revision.key, uid: revision.metadata.uid))
        }
    }
}

/// Pods from templates, as all controllers make them.
enum PodFactory {
    /// A pod of `template` that `owner` controls; the caller names it.
    static func pod(_ template: JSON, of owner: KubernetesObject, _ kind: ResourceKind) -> KubernetesObject {
        var metadata = template["metadata"] ?? .object([:])
        metadata["creationTimestamp"] = nil
        metadata["name"] = nil
        metadata["namespace"] = .string(owner.namespace)
        metadata["ownerReferences"] = [owner.controllerReference(kind)]
        return KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"] ?? .object([:]),
        ])
    }
}

extension KubernetesObject {
    /// Sets one label.
    mutating func label(_ name: String, _ value: String) { metadata.labels[name] = value }
}
