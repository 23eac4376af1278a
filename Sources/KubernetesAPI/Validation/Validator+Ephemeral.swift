import Serialization

// Containers that are added to a pod that runs (`kubectl debug`).
// Source: Kubernetes' documentation, "Ephemeral Containers".
extension Validator {
    /// What only containers have that a pod begins with.
    private static let refused = [
        "ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy",
        "restartPolicy",
    ]

    /// What is wrong with the ephemeral containers of a pod: those that are new, and what has become of the others.
    public static func ephemeralProblems(
        updating old: KubernetesObject, to new: KubernetesObject, table: SchemaTable = .standard
    ) -> [FieldProblem] {
        var validator = Validator(table)
        let path = "spec.ephemeralContainers"
        let before = old.spec["ephemeralContainers"]?.array ?? []
        let after = new.spec["ephemeralContainers"]?.array ?? []
        func name(_ json: JSON) -> String { json["name"]?.string ?? "" }
        for known in before {
            guard let same = after.first(where: { name($0) == name(known) }) else {
                validator.add(.forbidden(path, "existing ephemeral containers \"\(name(known))\" may not be removed\n"))
                continue
            }
            if same != known {
                validator.add(.forbidden(path, "existing ephemeral containers \"\(name(known))\" may not be changed\n"))
            }
        }
        let spec = PodSpec(json: new.spec)
        let others = spec.containers + spec.initContainers
        var names = Set(others.map(\.name))
        let volumes = Set(spec.volumes.map(\.name))
        for (index, json) in after.enumerated() {
            let here = "\(path)[\(index)]"
            let container = Container(json: json)
            if container.name.isEmpty {
                validator.add(.required(here + ".name"))
            } else {
                validator.check(here + ".name", container.name, Names.dns1123LabelProblem)
                if !names.insert(container.name).inserted {
                    validator.add(.duplicate(here + ".name", "\"\(container.name)\""))
                }
            }
            guard !before.contains(json) else { continue }
            if container.image.isEmpty { validator.add(.required(here + ".image")) }
            let target = json["targetContainerName"]?.string ?? ""
            if !target.isEmpty, !others.contains(where: { $0.name == target }) {
                validator.add(.make(here + ".targetContainerName", .notFound, "Not found: \"\(target)\""))
            }
            for field in refused {
                guard let value = json[field], value != [:], value != [], !value.isNull else { continue }
                validator.add(.forbidden("\(here).\(field)", "cannot be set for an Ephemeral Container"))
            }
            for (number, mount) in (json["volumeMounts"]?.array ?? []).enumerated() {
                for field in ["subPath", "subPathExpr"] where mount[field]?.string?.isEmpty == false {
                    validator.add(
                        .forbidden(
                            "\(here).volumeMounts[\(number)].\(field)", "cannot be set for an Ephemeral Container"))
                }
            }
            validator.container(container, here, volumes)
        }
        return validator.problems
    }
}
