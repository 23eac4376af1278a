import APIServer
import KubernetesAPI
import Mesh
import Serialization

// What a change of a claim, a volume, a class or a pod means for storage.
extension Controllers {
    /// Whether a StatefulSet's pods have claims of their own.
    func hasClaims(_ set: KubernetesObject) -> Bool {
        set.spec["volumeClaimTemplates"]?.array?.isEmpty == false
    }

    /// A claim that its pod has begun or ceased to use is looked at.
    func noticeClaims(of event: ObjectEvent) {
        let before = event.previous.map { PodSpec(json: $0.spec).claimNames } ?? []
        let now = PodSpec(json: event.object.spec).claimNames
        // Only coming, going, and being bound to a node say something new; most changes are of a pod's status.
        guard event.previous == nil || event.isDeleted || event.previous?.spec != event.object.spec else { return }
        for name in Set(before + now) {
            enqueue(.claim(NamespacedName(namespace: event.object.namespace, name: name)))
        }
    }

    func noticeStorage(_ event: ObjectEvent) {
        let object = event.object
        switch event.kind {
        case .persistentVolumeClaim:
            enqueue(.claim(object.key))
            for name in [object, event.previous].compactMap({ $0?.spec["volumeName"]?.string }) where !name.isEmpty {
                enqueue(.volume(NamespacedName(namespace: "", name: name)))
            }
            for set in cache.objects(.statefulSet, namespace: object.namespace)
            where hasClaims(set) && object.name.contains("-\(set.name)-") {
                enqueue(.statefulSet(set.key))
            }
        case .persistentVolume:
            enqueue(.volume(object.key))
            if let holder = PersistentVolumeSpec(json: object.spec).claim {
                enqueue(.claim(NamespacedName(namespace: holder.namespace, name: holder.name)))
            } else {
                enqueueUnbound()
            }
            if event.isDeleted {
                for claim in cache.objects(.persistentVolumeClaim)
                where claim.spec["volumeName"]?.string == object.name {
                    enqueue(.claim(claim.key))
                }
            }
        default: enqueueUnbound()
        }
    }

    /// A volume or class that is new or different may be what a claim waits for.
    private func enqueueUnbound() {
        for claim in cache.objects(.persistentVolumeClaim) where claim.status["phase"]?.string != "Bound" {
            enqueue(.claim(claim.key))
        }
    }
}
