public import KubernetesAPI
import Mesh
import Serialization

/// Binds claims to volumes, makes volumes of our own class, and lets go of what nobody uses.
///
/// Pure. Source: Kubernetes' documentation, "Persistent Volumes" and "Storage Classes".
public enum VolumeController {
    /// The annotations by which Kubernetes tells that a claim has its volume, and that nobody chose it by hand.
    static let bindCompleted = "pv.kubernetes.io/bind-completed"
    static let boundByController = "pv.kubernetes.io/bound-by-controller"
    static let provisionedBy = "pv.kubernetes.io/provisioned-by"

    /// What a decision about a claim depends on.
    public struct World {
        /// Every volume.
        public var volumes: [KubernetesObject]
        /// The claim's class; nil when it names none or there is none of that name.
        public var storageClass: StorageClass?
        /// The pods that use the claim.
        public var pods: [KubernetesObject]
        /// Every node.
        public var nodes: [KubernetesObject]

        /// A world.
        public init(
            volumes: [KubernetesObject], storageClass: StorageClass?, pods: [KubernetesObject],
            nodes: [KubernetesObject]
        ) {
            self.volumes = volumes
            self.storageClass = storageClass
            self.pods = pods
            self.nodes = nodes
        }
    }

    // MARK: Claims

    /// What to do for a claim.
    public static func decide(claim: KubernetesObject, _ world: World) -> Decision {
        if claim.metadata.deletionTimestamp != nil {
            // A claim goes when the last pod that names it is gone, also one that has ended.
            guard world.pods.isEmpty else { return Decision() }
            return released(claim, .persistentVolumeClaim, LocalStorage.claimProtection)
        }
        let spec = PersistentVolumeClaimSpec(json: claim.spec)
        guard !spec.volumeName.isEmpty else { return unbound(claim, spec, world) }
        guard let volume = world.volumes.first(where: { $0.name == spec.volumeName }) else {
            guard claim.metadata.annotations[bindCompleted] != nil else { return pending(claim) }
            return status(
                claim, ["phase": "Lost"],
                EventNote(
                    claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!",
                    isWarning: true))
        }
        guard let holder = PersistentVolumeSpec(json: volume.spec).claim, !holder.uid.isEmpty else {
            // Somebody chose the volume by hand: it must do, and must not be promised to another claim.
            guard fits(volume, claim, spec, isChosen: true) else {
                return pending(
                    claim,
                    EventNote(
                        claim, "FailedBinding",
                        "volume \"\(volume.name)\" does not have what the claim asks for, or is reserved for another",
                        isWarning: true))
            }
            return bind(claim, volume)
        }
        guard holder.uid == claim.metadata.uid else {
            return pending(
                claim,
                EventNote(
                    claim, "FailedBinding", "volume \"\(volume.name)\" already bound to a different claim.",
                    isWarning: true))
        }
        guard claim.metadata.annotations[bindCompleted] != nil else { return bind(claim, volume) }
        var bound: JSON = ["phase": "Bound"]
        bound["accessModes"] = volume.spec["accessModes"]
        bound["capacity"] = volume.spec["capacity"]
        return status(claim, bound, nil)
    }

    private static func unbound(
        _ claim: KubernetesObject, _ spec: PersistentVolumeClaimSpec, _ world: World
    ) -> Decision {
        // What was begun before a restart is ended first.
        if let begun = world.volumes.first(where: {
            PersistentVolumeSpec(json: $0.spec).claim?.uid == claim.metadata.uid
        }) {
            return bind(claim, begun)
        }
        let consumer = world.pods.filter { PodState($0).isActive }
            .sorted { ($0.metadata.creationTimestamp, $0.name) < ($1.metadata.creationTimestamp, $1.name) }
            .lazy.compactMap { $0.spec["nodeName"]?.string }.first { !$0.isEmpty }
        if world.storageClass?.waitsForConsumer == true, consumer == nil {
            return pending(
                claim,
                EventNote(
                    claim, "WaitForFirstConsumer", "waiting for first consumer to be created before binding"))
        }
        let labels = consumer.flatMap { name in world.nodes.first { $0.name == name }?.metadata.labels }
        let candidates = world.volumes.filter { volume in
            fits(volume, claim, spec, isChosen: false)
                && (labels.map { PersistentVolumeSpec(json: volume.spec).isReachable(fromNodeWith: $0) } ?? true)
        }
        let best = candidates.min {
            // One that is reserved for this claim before others, then the smallest that is large enough.
            let (left, right) = (PersistentVolumeSpec(json: $0.spec), PersistentVolumeSpec(json: $1.spec))
            return (left.claim == nil ? 1 : 0, left.capacity ?? Quantity(milli: 0), $0.name)
                < (right.claim == nil ? 1 : 0, right.capacity ?? Quantity(milli: 0), $1.name)
        }
        if let best { return bind(claim, best) }
        return provision(claim, spec, world, consumer)
    }

    /// Whether a volume that nobody has will do for a claim.
    static func fits(
        _ volume: KubernetesObject, _ claim: KubernetesObject, _ spec: PersistentVolumeClaimSpec, isChosen: Bool
    ) -> Bool {
        let offer = PersistentVolumeSpec(json: volume.spec)
        guard volume.metadata.deletionTimestamp == nil else { return false }
        if let reserved = offer.claim {
            guard reserved.uid.isEmpty, reserved.namespace == claim.namespace, reserved.name == claim.name else {
                return false
            }
        }
        guard offer.volumeMode == spec.volumeMode, Set(spec.accessModes).isSubset(of: offer.accessModes),
            (offer.capacity ?? Quantity(milli: 0)) >= (spec.request ?? Quantity(milli: 0)),
            offer.storageClassName == spec.storageClassName ?? ""
        else { return false }
        return isChosen || offer.claim != nil || spec.selector?.matcher.matches(volume.metadata.labels) ?? true
    }

    /// Both sides name each other: the volume first, so that no two claims get one.
    private static func bind(_ claim: KubernetesObject, _ volume: KubernetesObject) -> Decision {
        var decision = Decision()
        if PersistentVolumeSpec(json: volume.spec).claim?.uid != claim.metadata.uid {
            var taken = volume
            taken.spec["claimRef"] = reference(to: claim)
            taken.metadata.annotations[boundByController] = "yes"
            decision.changes.append(.update(.persistentVolume, taken))
        }
        var bound = claim
        if claim.spec["volumeName"]?.string != volume.name {
            bound.spec["volumeName"] = .string(volume.name)
            bound.metadata.annotations[boundByController] = "yes"
        }
        bound.metadata.annotations[bindCompleted] = "yes"
        decision.changes.append(.update(.persistentVolumeClaim, bound))
        return decision
    }

    private static func reference(to claim: KubernetesObject) -> JSON {
        [
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": .string(claim.namespace),
            "name": .string(claim.name), "uid": .string(claim.metadata.uid),
        ]
    }

    private static func provision(
        _ claim: KubernetesObject, _ spec: PersistentVolumeClaimSpec, _ world: World, _ consumer: String?
    ) -> Decision {
        func failed(_ why: String) -> Decision {
            pending(
                claim,
                EventNote(
                    claim, "ProvisioningFailed",
                    "failed to provision volume with StorageClass \"\(spec.storageClassName ?? "")\": \(why)",
                    isWarning: true))
        }
        guard let name = spec.storageClassName, !name.isEmpty else {
            return pending(
                claim,
                EventNote(
                    claim, "FailedBinding",
                    "no persistent volumes available for this claim and no storage class is set"))
        }
        guard let storageClass = world.storageClass else {
            return pending(
                claim,
                EventNote(
                    claim, "ProvisioningFailed", "storageclass.storage.k8s.io \"\(name)\" not found", isWarning: true))
        }
        guard storageClass.provisioner == LocalStorage.provisioner else {
            return pending(
                claim,
                EventNote(
                    claim, "ExternalProvisioning",
                    "Waiting for a volume to be created either by the external provisioner '\(storageClass.provisioner)' or manually by the system administrator."
                ))
        }
        if let mode = spec.accessModes.first(where: { $0 != "ReadWriteOnce" }) {
            return failed("\(mode) is more than a directory of one node can be: only ReadWriteOnce is supported")
        }
        guard spec.volumeMode == "Filesystem" else { return failed("only volumeMode Filesystem is supported") }
        guard spec.selector == nil else { return failed("a selector is for volumes that were made by hand") }
        guard let node = consumer ?? (world.nodes.count == 1 ? world.nodes.first?.name : nil) else {
            return failed(
                "there is more than one node: use volumeBindingMode WaitForFirstConsumer, and the first pod decides")
        }
        let title = "pvc-\(claim.metadata.uid)"
        let volume = KubernetesObject(json: [
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": [
                "name": .string(title), "annotations": .object([provisionedBy: .string(LocalStorage.provisioner)]),
            ],
            "spec": [
                "capacity": ["storage": claim.spec["resources"]?["requests"]?["storage"] ?? "0"],
                "accessModes": .array(spec.accessModes.map { .string($0) }),
                "persistentVolumeReclaimPolicy": .string(storageClass.reclaimPolicy),
                "storageClassName": .string(name), "volumeMode": "Filesystem", "claimRef": reference(to: claim),
                "csi": ["driver": .string(LocalStorage.driver), "volumeHandle": .string(title)],
                "nodeAffinity": [
                    "required": [
                        "nodeSelectorTerms": [
                            [
                                "matchExpressions": [
                                    [
                                        "key": .string(LocalStorage.nodeLabel), "operator": "In",
                                        "values": [.string(node)],
                                    ]
                                ]
                            ]
                        ]
                    ]
                ],
            ],
        ])
        return Decision([
            .create(.persistentVolume, volume),
            .event(EventNote(claim, "ProvisioningSucceeded", "Successfully provisioned volume \(title)")),
        ])
    }

    private static func pending(_ claim: KubernetesObject, _ note: EventNote? = nil) -> Decision {
        status(claim, ["phase": "Pending"], note)
    }

    /// A status with what is to be said about it; an event is told as often as the claim is looked at, and counted.
    private static func status(_ claim: KubernetesObject, _ status: JSON, _ note: EventNote?) -> Decision {
        var decision = Decision()
        let isNew = claim.status != status
        if isNew { decision.changes.append(.updateStatus(.persistentVolumeClaim, claim.key, status)) }
        if let note, isNew || status["phase"] == "Pending" { decision.changes.append(.event(note)) }
        return decision
    }

    private static func released(_ object: KubernetesObject, _ kind: ResourceKind, _ finalizer: String) -> Decision {
        guard object.metadata.finalizers.contains(finalizer) else { return Decision() }
        var freed = object
        let kept = object.metadata.finalizers.filter { $0 != finalizer }
        freed.json["metadata"]?["finalizers"] = kept.isEmpty ? JSON?.none : .array(kept.map { .string($0) })
        return Decision([.update(kind, freed)])
    }

    // MARK: Volumes

    /// What to do for a volume, given the claim that its `claimRef` names, whoever that is now.
    public static func decide(volume: KubernetesObject, claim: KubernetesObject?, nodes: [KubernetesObject]) -> Decision
    {
        let spec = PersistentVolumeSpec(json: volume.spec)
        guard let holder = spec.claim, !holder.uid.isEmpty else {
            if volume.metadata.deletionTimestamp != nil {
                return released(volume, .persistentVolume, LocalStorage.volumeProtection)
            }
            return phase(volume, "Available")
        }
        if let claim, claim.metadata.uid == holder.uid {
            let name = claim.spec["volumeName"]?.string ?? ""
            if name == volume.name { return phase(volume, "Bound") }
            // The claim is about to say so too.
            if name.isEmpty { return Decision() }
        }
        guard spec.reclaimPolicy == "Delete" else {
            if volume.metadata.deletionTimestamp != nil {
                return released(volume, .persistentVolume, LocalStorage.volumeProtection)
            }
            return phase(volume, "Released")
        }
        guard spec.localHandle != nil else {
            if volume.metadata.deletionTimestamp != nil {
                return released(volume, .persistentVolume, LocalStorage.volumeProtection)
            }
            let why = "no deletable volume plugin matched: remove what is stored and the PersistentVolume by hand"
            var decision = phase(volume, "Failed", why)
            if !decision.changes.isEmpty {
                decision.changes.append(.event(EventNote(volume, "VolumeFailedDelete", why, isWarning: true)))
            }
            return decision
        }
        // Its node removes the directory and says so; with a node that is gone for good, the directory is gone too.
        let hasNode = nodes.contains { spec.isReachable(fromNodeWith: $0.metadata.labels) }
        guard volume.metadata.annotations[LocalStorage.reclaimedAnnotation] != nil || !hasNode else {
            return phase(volume, "Released")
        }
        var decision = released(volume, .persistentVolume, LocalStorage.volumeProtection)
        if volume.metadata.deletionTimestamp == nil {
            decision.changes.append(.delete(.persistentVolume, volume.key, uid: volume.metadata.uid))
        }
        return decision
    }

    private static func phase(_ volume: KubernetesObject, _ phase: String, _ message: String = "") -> Decision {
        var status: JSON = ["phase": .string(phase)]
        if !message.isEmpty { status["message"] = .string(message) }
        return status == volume.status ? Decision() : Decision([.updateStatus(.persistentVolume, volume.key, status)])
    }
}
