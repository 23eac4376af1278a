import KubernetesAPI
import Mesh
import Serialization

/// Which objects without an owner an owner takes, and which it lets go: what its selector wants is its own.
///
/// So a workload that was deleted with `--cascade=orphan` and made anew finds its pods again. Pure.
enum Adoption {
    /// The selector of what owns others; nothing is wanted by an empty one.
    static func selector(_ owner: KubernetesObject) -> LabelMatcher {
        owner.podSelector.matcher
    }

    /// The changes that make the objects of kind `kind` among `all` an owner's own or nobody's.
    static func claims(
        _ owner: KubernetesObject, _ ownerKind: ResourceKind, _ kind: ResourceKind, among all: [KubernetesObject],
        fits: (KubernetesObject) -> Bool = { _ in true }
    ) -> [ObjectChange] {
        let selector = selector(owner)
        guard owner.metadata.deletionTimestamp == nil, !selector.requirements.isEmpty else { return [] }
        return all.compactMap { object in
            let isWanted = selector.matches(object.metadata.labels) && fits(object)
            if object.controllerUID == owner.metadata.uid {
                guard !isWanted, object.metadata.deletionTimestamp == nil else { return nil }
                var released = object
                let kept = (object.json["metadata"]?["ownerReferences"]?.array ?? []).filter {
                    $0["uid"]?.string != owner.metadata.uid
                }
                released.json["metadata"]?["ownerReferences"] = kept.isEmpty ? JSON?.none : .array(kept)
                return .update(kind, released)
            }
            guard isWanted, object.controllerUID == nil, object.metadata.deletionTimestamp == nil,
                !(kind == .pod && PodState(object).isFinished)
            else { return nil }
            var adopted = object
            let others = object.json["metadata"]?["ownerReferences"]?.array ?? []
            adopted.json["metadata"]?["ownerReferences"] = .array(others + [owner.controllerReference(ownerKind)])
            return .update(kind, adopted)
        }
    }
}
