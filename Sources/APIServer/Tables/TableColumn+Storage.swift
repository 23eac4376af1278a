import KubernetesAPI
import Serialization

// The columns of claims, volumes and storage classes, as kubectl's users know them.
extension TableColumn {
    private static let modes = [
        ("ReadWriteOnce", "RWO"), ("ReadOnlyMany", "ROX"), ("ReadWriteMany", "RWX"), ("ReadWriteOncePod", "RWOP"),
    ]

    private static func modesText(_ json: JSON?) -> String {
        let told = Set((json?.array ?? []).compactMap(\.string))
        return modes.filter { told.contains($0.0) }.map(\.1).joined(separator: ",")
    }

    private static func amount(_ json: JSON?) -> String { json.map { $0.string ?? $0.text } ?? "" }

    private static func phase(_ object: KubernetesObject) -> String {
        object.metadata.deletionTimestamp == nil ? object.status["phase"]?.string ?? "" : "Terminating"
    }

    private static let mode = text("VolumeMode", wide: true) {
        $0.spec["volumeMode"]?.string ?? "Filesystem"
    }

    /// `<unset>` for what there is none of here.
    private static let attributes = text("VolumeAttributesClass") {
        let name = $0.spec["volumeAttributesClassName"]?.string ?? ""
        return name.isEmpty ? "<unset>" : name
    }

    static let claims: [TableColumn] = [
        name, text("Status", phase), text("Volume") { $0.spec["volumeName"]?.string ?? "" },
        text("Capacity") { isBound($0) ? amount($0.status["capacity"]?["storage"]) : "" },
        text("Access Modes") { isBound($0) ? modesText($0.status["accessModes"]) : "" },
        text("StorageClass") { $0.spec["storageClassName"]?.string ?? "" }, attributes, age, mode,
    ]

    private static func isBound(_ claim: KubernetesObject) -> Bool {
        claim.spec["volumeName"]?.string?.isEmpty == false
    }

    static let volumes: [TableColumn] = [
        name, text("Capacity") { amount($0.spec["capacity"]?["storage"]) },
        text("Access Modes") { modesText($0.spec["accessModes"]) },
        text("Reclaim Policy") { PersistentVolumeSpec(json: $0.spec).reclaimPolicy }, text("Status", phase),
        text("Claim") {
            PersistentVolumeSpec(json: $0.spec).claim.map { "\($0.namespace)/\($0.name)" } ?? ""
        }, text("StorageClass") { PersistentVolumeSpec(json: $0.spec).storageClassName }, attributes,
        text("Reason") { $0.status["reason"]?.string ?? "" }, age, mode,
    ]

    static let storageClasses: [TableColumn] = [
        TableColumn("Name", format: "name", name.description) { object, _ in
            .string(object.name + (StorageClass(json: object.json).isDefault ? " (default)" : ""))
        }, text("Provisioner") { StorageClass(json: $0.json).provisioner },
        text("ReclaimPolicy") { StorageClass(json: $0.json).reclaimPolicy },
        text("VolumeBindingMode") { $0.json["volumeBindingMode"]?.string ?? "Immediate" },
        TableColumn("AllowVolumeExpansion", type: "boolean") { object, _ in
            .bool(object.json["allowVolumeExpansion"]?.bool ?? false)
        }, age,
    ]
}
