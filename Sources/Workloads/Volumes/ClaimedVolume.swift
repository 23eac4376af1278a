internal import KubernetesAPI
internal import Serialization

/// Where the volume behind a claim is on this node.
///
/// Pure: objects in, a place out.
enum ClaimedVolume: Sendable, Hashable {
    /// A directory that this node keeps for a volume of our own class, by the volume's handle.
    case kept(handle: String)
    /// A path of the host.
    case hostPath(String, type: String)

    /// The volume of a pod's claim; an error that says what is missing, and may come good later.
    static func find(
        _ claim: String, of pod: PodManifest, volume: String, mirror: ObjectMirror, node: String
    ) throws(WorkloadError) -> ClaimedVolume {
        let path = "spec.volumes[\(volume)].persistentVolumeClaim"
        guard let object = mirror.claim(pod.namespace, claim) else {
            throw WorkloadError("FailedMount", "\(path): persistentvolumeclaim \"\(claim)\" not found")
        }
        guard object.metadata.deletionTimestamp == nil || object.status["phase"] == "Bound" else {
            throw WorkloadError("FailedMount", "\(path): persistentvolumeclaim \"\(claim)\" is being deleted")
        }
        let name = PersistentVolumeClaimSpec(json: object.spec).volumeName
        guard object.status["phase"] == "Bound", !name.isEmpty else {
            throw WorkloadError(
                "FailedMount",
                "\(path): persistentvolumeclaim \"\(claim)\" is not bound to a volume (kubectl describe pvc \(claim))")
        }
        guard let found = mirror.volume(name) else {
            throw WorkloadError("FailedMount", "\(path): persistentvolume \"\(name)\" not found")
        }
        let spec = PersistentVolumeSpec(json: found.spec)
        guard spec.claim?.uid == object.metadata.uid else {
            throw WorkloadError("FailedMount", "\(path): volume \"\(name)\" is bound to a different claim")
        }
        guard spec.isReachable(fromNodeWith: mirror.nodeLabels(node)) else {
            throw WorkloadError(
                "FailedMount", "\(path): volume \"\(name)\" is on another node than \(node): no node affinity match")
        }
        guard spec.volumeMode == "Filesystem" else {
            throw WorkloadError("FailedMount", "\(path): volume \"\(name)\" is a block device, which is not supported")
        }
        if let handle = spec.localHandle {
            guard PodManifest.isPlain(handle) else {
                throw WorkloadError("FailedMount", "\(path): volume \"\(name)\": spec.csi.volumeHandle is not a name")
            }
            return .kept(handle: handle)
        }
        if let host = found.spec["hostPath"] {
            return .hostPath(host["path"]?.string ?? "", type: host["type"]?.string ?? "")
        }
        if let local = found.spec["local"] { return .hostPath(local["path"]?.string ?? "", type: "Directory") }
        throw WorkloadError(
            "FailedMount",
            "\(path): volume \"\(name)\" is of a kind that is not supported; use hostPath, local or a claim of class \(LocalStorage.className)"
        )
    }

    /// The directories of this node whose volumes nobody claims any more and whose policy is to go.
    static func reclaimable(_ volumes: [KubernetesObject], node: String) -> [(name: String, handle: String)] {
        volumes.compactMap { volume in
            let spec = PersistentVolumeSpec(json: volume.spec)
            guard volume.status["phase"] == "Released", spec.reclaimPolicy == "Delete",
                volume.metadata.annotations[LocalStorage.reclaimedAnnotation] == nil,
                volume.spec["nodeAffinity"] != nil,
                spec.isReachable(fromNodeWith: [LocalStorage.nodeLabel: node]),
                let handle = spec.localHandle, PodManifest.isPlain(handle)
            else { return nil }
            return (volume.name, handle)
        }
    }
}
