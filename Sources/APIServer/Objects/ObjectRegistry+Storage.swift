import KubernetesAPI
import Serialization
import Store

// What the system adds to claims and volumes, and where pods run whose volume is somewhere.
extension ObjectRegistry {
    /// A claim that names no class means the default one; pods that use it hold it.
    func prepareClaim(_ object: inout JSON) {
        object["status"] = ["phase": "Pending"]
        if object["spec"]?["storageClassName"] == nil, let name = defaultStorageClass {
            object["spec"]?["storageClassName"] = .string(name)
        }
        hold(&object, LocalStorage.claimProtection)
    }

    func prepareVolume(_ object: inout JSON) {
        object["status"] = ["phase": "Pending"]
        hold(&object, LocalStorage.volumeProtection)
    }

    private func hold(_ object: inout JSON, _ finalizer: String) {
        let told = ObjectMeta(json: object["metadata"] ?? .null).finalizers
        guard !told.contains(finalizer) else { return }
        object["metadata"]?["finalizers"] = .array((told + [finalizer]).map { .string($0) })
    }

    /// The youngest of the classes that say so; of those made in one second the first by name.
    private var defaultStorageClass: String? {
        store.list(ResourceKind.storageClass.storeResource, namespace: nil)
            .filter { StorageClass(json: $0.object).isDefault }
            .map { (made: $0.object["metadata"]?["creationTimestamp"]?.string ?? "", name: $0.key.name) }
            .max { ($0.made, $1.name) < ($1.made, $0.name) }?.name
    }

    /// The node that has the volumes of a pod's claims; nil when any will do.
    func nodeOfClaims(_ spec: PodSpec, namespace: String) -> String? {
        for name in spec.claimNames {
            guard let claim = store.get(key(.persistentVolumeClaim, namespace, name)),
                let volumeName = claim.object["spec"]?["volumeName"]?.string, !volumeName.isEmpty,
                let volume = store.get(key(.persistentVolume, "", volumeName)), let place = volume.object["spec"],
                place["nodeAffinity"] != nil
            else { continue }
            let nodes = store.list(ResourceKind.node.storeResource, namespace: nil)
            let found = nodes.first {
                PersistentVolumeSpec(json: place).isReachable(
                    fromNodeWith: ObjectMeta(json: $0.object["metadata"] ?? .null).labels)
            }
            if let found { return found.key.name }
        }
        return nil
    }

    /// Makes the class of directories on nodes; who deletes it has it back with the next start, who changes it keeps his.
    func createStorageClass() throws(StatusError) {
        guard store.get(key(.storageClass, "", LocalStorage.className)) == nil else { return }
        _ = try create(
            [
                "metadata": [
                    "name": .string(LocalStorage.className),
                    "annotations": ["storageclass.kubernetes.io/is-default-class": "true"],
                ], "provisioner": .string(LocalStorage.provisioner), "reclaimPolicy": "Delete",
                "volumeBindingMode": "WaitForFirstConsumer",
            ], .storageClass)
    }
}
