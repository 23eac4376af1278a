import KubernetesAPI
import Serialization

/// The claims of a StatefulSet's pods: what each has, and to whom it belongs.
///
/// Pure. Source: Kubernetes' documentation, "StatefulSets", section "PersistentVolumeClaim retention".
struct StatefulSetClaims {
    private let set: KubernetesObject
    private let templates: [JSON]
    private let claims: [String: KubernetesObject]
    private let goesWithSet: Bool
    private let goesWithScale: Bool

    init(_ set: KubernetesObject, _ claims: [KubernetesObject]) {
        self.set = set
        self.claims = Dictionary(claims.map { ($0.name, $0) }, uniquingKeysWith: { _, last in last })
        templates = set.spec["volumeClaimTemplates"]?.array ?? []
        let policy = set.spec["persistentVolumeClaimRetentionPolicy"]
        goesWithSet = policy?["whenDeleted"] == "Delete"
        goesWithScale = policy?["whenScaled"] == "Delete"
    }

    /// `data-web-0`.
    static func name(_ template: JSON, _ pod: String) -> String {
        "\(template["metadata"]?["name"]?.string ?? "")-\(pod)"
    }

    /// Whether a claim of that pod is on its way out: its pod comes when it is gone, with a new one.
    func isLeaving(_ pod: String) -> Bool {
        templates.contains { claims[Self.name($0, pod)]?.metadata.deletionTimestamp != nil }
    }

    /// The claims that a pod lacks.
    func missing(_ pod: String) -> [ObjectChange] {
        templates.compactMap { template in
            let name = Self.name(template, pod)
            guard claims[name] == nil else { return nil }
            var metadata: JSON = ["name": .string(name), "namespace": .string(set.namespace)]
            let told = template["metadata"]
            if let annotations = told?["annotations"] { metadata["annotations"] = annotations }
            var labels = told?["labels"]?.object ?? [:]
            // By these the claims of a set are found: kubectl delete pvc -l app=web.
            for (key, value) in set.spec["selector"]?["matchLabels"]?.object ?? [:] { labels[key] = value }
            if !labels.isEmpty { metadata["labels"] = .object(labels) }
            if goesWithSet { metadata["ownerReferences"] = [set.controllerReference(.statefulSet)] }
            let claim = KubernetesObject(json: [
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata,
                "spec": template["spec"] ?? .object([:]),
            ])
            return .create(.persistentVolumeClaim, claim)
        }
    }

    /// The pod with its claims as volumes; they take the place of volumes of the same names.
    func mounted(_ pod: KubernetesObject) -> KubernetesObject {
        guard !templates.isEmpty else { return pod }
        let names = Set(templates.compactMap { $0["metadata"]?["name"]?.string })
        var pod = pod
        let own: [JSON] = templates.map { template in
            [
                "name": template["metadata"]?["name"] ?? "",
                "persistentVolumeClaim": ["claimName": .string(Self.name(template, pod.name))],
            ]
        }
        let others = (pod.spec["volumes"]?.array ?? []).filter { !names.contains($0["name"]?.string ?? "") }
        pod.spec["volumes"] = .array(own + others)
        return pod
    }

    /// What makes a pod's claims belong to whom the policy says: the set, the pod that is about to go for good, or nobody.
    func owned(_ pod: KubernetesObject, isSurplus: Bool) -> [ObjectChange] {
        templates.compactMap { template in
            guard var claim = claims[Self.name(template, pod.name)], claim.metadata.deletionTimestamp == nil else {
                return nil
            }
            let ofPod = goesWithScale && isSurplus
            let wanted: JSON? =
                ofPod
                ? pod.controllerReference(.pod) : goesWithSet ? set.controllerReference(.statefulSet) : nil
            let now = claim.json["metadata"]?["ownerReferences"]?.array ?? []
            // Those of somebody else are none of our business.
            let foreign = now.filter { owner in
                owner["uid"]?.string != set.metadata.uid
                    && !(owner["kind"] == "Pod" && owner["name"]?.string == pod.name)
            }
            let owners = foreign + (wanted.map { [$0] } ?? [])
            guard owners != now else { return nil }
            claim.json["metadata"]?["ownerReferences"] = owners.isEmpty ? JSON?.none : .array(owners)
            return .update(.persistentVolumeClaim, claim)
        }
    }
}
