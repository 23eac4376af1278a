import Serialization

// What containers find: volumes and where they are mounted, variables and where their values come from.
// Source: Kubernetes' API reference, core/v1 Volume, VolumeMount and EnvVar.
extension Validator {
    private static let modeProblem = "must be a number between 0 and 0777 (octal), both inclusive"
    private static let pathTypes = [
        "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
    ]
    private static let variables = [
        "metadata.name", "metadata.namespace", "metadata.uid", "spec.nodeName", "spec.serviceAccountName",
        "status.hostIP",
        "status.hostIPs", "status.podIP", "status.podIPs",
    ]
    private static let files = [
        "metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid",
    ]
    /// Fields of a pod that Kubernetes knows by these names.
    private static let fields = Set(variables + files + ["spec.restartPolicy", "spec.schedulerName", "status.phase"])
    private static let amounts = [
        "limits.cpu", "limits.ephemeral-storage", "limits.memory", "requests.cpu", "requests.ephemeral-storage",
        "requests.memory",
    ]

    /// A volume has one source, and that says where from.
    mutating func source(_ volume: JSON, _ path: String) {
        let sources = (volume.object ?? [:]).keys.filter { $0 != "name" }.sorted()
        for extra in sources.dropFirst() {
            add(.forbidden("\(path).\(extra)", "may not specify more than 1 volume type"))
        }
        guard let kind = sources.first, let source = volume[kind] else { return }
        let here = "\(path).\(kind)"
        switch kind {
        case "hostPath":
            steps(source["path"]?.string ?? "", here + ".path")
            if let type = source["type"]?.string, !Self.pathTypes.contains(type) {
                add(.notSupported(here + ".type", type, Self.pathTypes))
            }
        case "emptyDir":
            if let size = source["sizeLimit"], let amount = Quantity(size.string ?? size.text), amount.milli < 0 {
                add(.forbidden(here + ".sizeLimit", "SizeLimit field must be a valid resource quantity"))
            }
        case "secret", "configMap":
            let name = kind == "secret" ? "secretName" : "name"
            if source[name]?.string?.isEmpty ?? true { add(.required("\(here).\(name)")) }
            mode(source["defaultMode"], here + ".defaultMode")
            items(source["items"], here + ".items")
        case "downwardAPI":
            mode(source["defaultMode"], here + ".defaultMode")
            downward(source["items"], here + ".items")
        case "projected":
            mode(source["defaultMode"], here + ".defaultMode")
            for (index, projection) in (source["sources"]?.array ?? []).enumerated() {
                let place = "\(here).sources[\(index)]"
                for extra in (projection.object ?? [:]).keys.sorted().dropFirst() {
                    add(.forbidden("\(place).\(extra)", "may not specify more than 1 volume type"))
                }
                for kind in ["secret", "configMap"] {
                    guard let projected = projection[kind] else { continue }
                    if projected["name"]?.string?.isEmpty ?? true { add(.required("\(place).\(kind).name")) }
                    items(projected["items"], "\(place).\(kind).items")
                }
                downward(projection["downwardAPI"]?["items"], "\(place).downwardAPI.items")
            }
        default: break
        }
    }

    private mutating func mode(_ mode: JSON?, _ path: String) {
        guard let number = mode?.int, !(0...0o777).contains(number) else { return }
        add(.invalid(path, String(number), Self.modeProblem))
    }

    private mutating func items(_ items: JSON?, _ path: String) {
        for (index, item) in (items?.array ?? []).enumerated() {
            file(item["path"]?.string ?? "", "\(path)[\(index)].path")
            mode(item["mode"], "\(path)[\(index)].mode")
        }
    }

    private mutating func downward(_ items: JSON?, _ path: String) {
        for (index, item) in (items?.array ?? []).enumerated() {
            let here = "\(path)[\(index)]"
            file(item["path"]?.string ?? "", here + ".path")
            mode(item["mode"], here + ".mode")
            switch (item["fieldRef"], item["resourceFieldRef"]) {
            case (nil, nil): add(.required(here, "one of fieldRef and resourceFieldRef is required"))
            case (.some, .some):
                add(
                    .invalid(
                        here, text: "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"))
            case (let field?, nil): fieldPath(field, Self.files, here + ".fieldRef")
            case (nil, let amount?): resource(amount, here + ".resourceFieldRef")
            }
        }
    }

    /// A file below a volume: relative, within, and not one of ours.
    private mutating func file(_ text: String, _ path: String) {
        within(text, path)
        if text.hasPrefix(".."), !text.hasPrefix("../"), text != ".." {
            add(.invalid(path, text: text, "must not start with '..'"))
        }
    }

    private mutating func within(_ text: String, _ path: String) {
        if text.hasPrefix("/") { add(.invalid(path, text: text, "must be a relative path")) }
        steps(text, path)
    }

    private mutating func steps(_ text: String, _ path: String) {
        if text.split(separator: "/").contains("..") { add(.invalid(path, text: text, "must not contain '..'")) }
    }

    /// Mounts: each place once, and parts of volumes stay within.
    mutating func mounts(_ container: Container, _ path: String) {
        var places: Set<String> = []
        for (index, mount) in (container.json["volumeMounts"]?.array ?? []).enumerated() {
            let here = "\(path).volumeMounts[\(index)]"
            let place = mount["mountPath"]?.string ?? ""
            if !place.isEmpty, !places.insert(place).inserted {
                add(.invalid(here + ".mountPath", text: place, "must be unique"))
            }
            let (part, expression) = (mount["subPath"]?.string ?? "", mount["subPathExpr"]?.string ?? "")
            within(part, here + ".subPath")
            within(expression, here + ".subPathExpr")
            if !part.isEmpty, !expression.isEmpty {
                add(
                    .invalid(
                        here + ".subPathExpr", text: expression, "subPathExpr and subPath are mutually exclusive"))
            }
        }
    }

    /// Where a variable's value comes from, if it is not written down.
    mutating func origin(_ variable: JSON, _ path: String) {
        guard let origin = variable["valueFrom"] else { return }
        let kinds = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"]
        let found = kinds.filter { origin[$0] != nil }
        if found.isEmpty {
            add(
                .invalid(
                    path, text: "",
                    "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"))
        } else if variable["value"]?.string?.isEmpty == false {
            add(.invalid(path, text: "", "may not be specified when `value` is not empty"))
        } else if found.count > 1 {
            add(.invalid(path, text: "", "may not have more than one field specified at a time"))
        }
        if let field = origin["fieldRef"] { fieldPath(field, Self.variables, path + ".fieldRef") }
        if let amount = origin["resourceFieldRef"] { resource(amount, path + ".resourceFieldRef") }
        for kind in ["configMapKeyRef", "secretKeyRef"] {
            guard let reference = origin[kind] else { continue }
            if reference["name"]?.string?.isEmpty ?? true { add(.required("\(path).\(kind).name")) }
            if let key = reference["key"]?.string, !key.isEmpty {
                check("\(path).\(kind).key", key, Names.configKeyProblem)
            }
        }
    }

    private mutating func fieldPath(_ reference: JSON, _ allowed: [String], _ path: String) {
        guard let text = reference["fieldPath"]?.string, !text.isEmpty else { return }
        for map in ["metadata.annotations", "metadata.labels"] where text.hasPrefix(map + "['") && text.hasSuffix("']")
        {
            let key = String(text.dropFirst(map.count + 2).dropLast(2))
            check(path, map.hasSuffix("annotations") ? key.lowercased() : key, Names.qualifiedNameProblem)
            return
        }
        guard Self.fields.contains(text) else {
            return add(
                .invalid(
                    path + ".fieldPath", text: text, "error converting fieldPath: field label not supported: \(text)"))
        }
        if !allowed.contains(text) { add(.notSupported(path + ".fieldPath", text, allowed)) }
    }

    private mutating func resource(_ reference: JSON, _ path: String) {
        guard let name = reference["resource"]?.string, !name.isEmpty else { return }
        let isKnown =
            Self.amounts.contains(name) || name.hasPrefix("limits.hugepages-") || name.hasPrefix("requests.hugepages-")
        if !isKnown { add(.notSupported(path + ".resource", name, Self.amounts)) }
    }
}
