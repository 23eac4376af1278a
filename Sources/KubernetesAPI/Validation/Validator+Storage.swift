import Serialization

// The rules of claims, volumes and storage classes.
// Source: Kubernetes' API reference, core/v1 and storage.k8s.io/v1.
extension Validator {
    private static let accessModes = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"]
    private static let sources = [
        "awsElasticBlockStore", "azureDisk", "azureFile", "cephfs", "cinder", "csi", "fc", "flexVolume", "flocker",
        "gcePersistentDisk", "glusterfs", "hostPath", "iscsi", "local", "nfs", "photonPersistentDisk", "portworxVolume",
        "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
    ]

    mutating func claim(_ json: JSON, _ path: String) {
        let spec = PersistentVolumeClaimSpec(json: json)
        accessModes(spec.accessModes, path, "at least 1 access mode is required")
        guard let text = json["resources"]?["requests"]?["storage"] else {
            return add(.required("\(path).resources[storage]"))
        }
        if let amount = spec.request, amount.milli <= 0 {
            add(
                .invalid(
                    "\(path).resources.requests[storage]", text: text.string ?? text.text, "must be greater than zero"))
        }
        if let name = spec.storageClassName, !name.isEmpty {
            check("\(path).storageClassName", name, Names.dns1123SubdomainProblem)
        }
        // Refused rather than ignored: a claim that starts empty where it was to be a copy is data lost.
        for name in ["dataSource", "dataSourceRef"] where json[name] != nil {
            add(
                .forbidden(
                    "\(path).\(name)", "this server copies no volumes: leave it out and fill the volume yourself"))
        }
        if json["volumeAttributesClassName"]?.string?.isEmpty == false {
            add(.forbidden("\(path).volumeAttributesClassName", "this server has no volume attributes classes"))
        }
    }

    /// `ReadWriteOncePod` beside another is a contradiction.
    private mutating func accessModes(_ modes: [String], _ path: String, _ why: String) {
        if modes.isEmpty { add(.required("\(path).accessModes", why)) }
        for mode in modes where !Self.accessModes.contains(mode) {
            add(.notSupported("\(path).accessModes", mode, Self.accessModes))
        }
        if modes.contains("ReadWriteOncePod"), modes.count > 1 {
            add(
                .forbidden(
                    "\(path).accessModes", "may not use ReadWriteOncePod with other access modes"))
        }
    }

    /// A StatefulSet's claims: each has a name, which becomes part of the claims' names, and asks for something.
    mutating func claimTemplates(_ spec: JSON) {
        var names: Set<String> = []
        for (index, template) in (spec["volumeClaimTemplates"]?.array ?? []).enumerated() {
            let here = "spec.volumeClaimTemplates[\(index)]"
            let name = template["metadata"]?["name"]?.string ?? ""
            if name.isEmpty {
                add(.required("\(here).metadata.name"))
            } else {
                check("\(here).metadata.name", name, Names.dns1123LabelProblem)
                if !names.insert(name).inserted { add(.duplicate("\(here).metadata.name", "\"\(name)\"")) }
            }
            guard let claim = template["spec"] else {
                add(.required("\(here).spec"))
                continue
            }
            self.claim(claim, "\(here).spec")
        }
    }

    /// The names of volumes that a workload's pods have besides those of its template.
    static func claimVolumes(_ spec: JSON) -> Set<String> {
        Set((spec["volumeClaimTemplates"]?.array ?? []).compactMap { $0["metadata"]?["name"]?.string })
    }

    mutating func volume(_ json: JSON) {
        let spec = PersistentVolumeSpec(json: json)
        accessModes(spec.accessModes, "spec", "")
        if let amount = spec.capacity {
            if amount.milli <= 0 {
                add(
                    .invalid(
                        "spec.capacity[storage]", text: json["capacity"]?["storage"]?.string ?? "0",
                        "must be greater than zero"))
            }
        } else {
            add(.required("spec.capacity"))
        }
        let told = Self.sources.filter { json[$0] != nil }
        if told.isEmpty { add(.required("spec", "must specify a volume type")) }
        for extra in told.dropFirst() {
            add(.forbidden("spec.\(extra)", "may not specify more than 1 volume type"))
        }
        for name in ["hostPath", "local"] {
            guard let path = json[name]?["path"]?.string, !path.isEmpty else { continue }
            if path.split(separator: "/").contains("..") {
                add(.invalid("spec.\(name).path", text: path, "must not contain '..'"))
            } else if !path.hasPrefix("/") {
                add(.invalid("spec.\(name).path", text: path, "must be an absolute path"))
            }
        }
        let isDirectory = json["hostPath"] != nil || json["local"] != nil || spec.localHandle != nil
        if isDirectory, json["mountOptions"]?.array?.isEmpty == false {
            add(.forbidden("spec.mountOptions", "a directory of a node is mounted as it is"))
        }
        if json["local"] != nil, json["nodeAffinity"]?["required"] == nil {
            add(.required("spec.nodeAffinity", "Local volume requires node affinity"))
        }
        if json["nodeAffinity"] != nil {
            let path = "spec.nodeAffinity.required"
            let terms = json["nodeAffinity"]?["required"]?["nodeSelectorTerms"]?.array ?? []
            if terms.isEmpty { add(.required("\(path).nodeSelectorTerms")) }
            for (index, term) in terms.enumerated() where term["matchFields"] != nil {
                add(
                    .forbidden(
                        "\(path).nodeSelectorTerms[\(index)].matchFields",
                        "this server looks at labels only: use matchExpressions"))
            }
        }
    }

    /// Of a class whose volumes this server makes itself: what has no meaning for a directory is refused rather than ignored.
    mutating func storageClass(_ json: JSON) {
        guard json["provisioner"]?.string == LocalStorage.provisioner else { return }
        let reason = "\(LocalStorage.provisioner) makes directories of nodes, which have none"
        if json["parameters"]?.object?.isEmpty == false { add(.forbidden("parameters", reason)) }
        if json["mountOptions"]?.array?.isEmpty == false { add(.forbidden("mountOptions", reason)) }
        if json["allowedTopologies"]?.array?.isEmpty == false {
            add(.forbidden("allowedTopologies", "a volume is made on the node of the first pod that uses it"))
        }
        if json["allowVolumeExpansion"]?.bool == true {
            add(
                .forbidden("allowVolumeExpansion", "sizes of \(LocalStorage.provisioner) are not enforced, nor changed")
            )
        }
    }

    /// A claim gets its volume once; nothing else of it changes.
    mutating func immutableClaim(_ old: JSON, _ new: JSON) {
        var (before, after) = (old, new)
        if PersistentVolumeClaimSpec(json: old).volumeName.isEmpty {
            before["volumeName"] = nil
            after["volumeName"] = nil
        }
        // A claim that named no class before there was a default one may be given one.
        if old["storageClassName"] == nil { after["storageClassName"] = nil }
        guard before != after else { return }
        before["resources"] = nil
        after["resources"] = nil
        if before == after {
            return add(
                .forbidden(
                    "spec.resources",
                    "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize"
                ))
        }
        add(
            .forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
            ))
    }

    mutating func immutableVolume(_ old: JSON, _ new: JSON) {
        if Self.sources.contains(where: { old[$0] != new[$0] }) {
            add(.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation"))
        }
        for name in ["volumeMode", "nodeAffinity"] where old[name] != nil && old[name] != new[name] {
            add(.invalid("spec.\(name)", Validator.short(new[name] ?? .null), "field is immutable"))
        }
    }

    mutating func immutableClass(_ old: JSON, _ new: JSON) {
        for name in ["parameters", "provisioner", "reclaimPolicy", "volumeBindingMode"] where old[name] != new[name] {
            add(.forbidden(name, "updates to \(name) are forbidden."))
        }
    }
}
