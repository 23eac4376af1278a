import KubernetesAPI
import Serialization

// The sub-resource `scale`: how many replicas an object wants and has, whatever its kind calls them.
extension APIRouter {
    func scale(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        let namespace = target.namespace ?? ""
        var options = try options(request, target)
        options.subresource = "scale"
        switch request.method {
        case "GET":
            let scale = scale(of: try registry.get(target.kind, namespace, name).json, target)
            return .json(try form(request).one(scale, columns: TableColumn.scale, now: registry.now()))
        case "PUT", "PATCH":
            var (patch, body) = (nil as RequestBody.Patch?, JSON.null)
            if request.method == "PATCH" {
                patch = try RequestBody.patch(request, target.kind, duplicates: &options.duplicates)
            } else {
                body = try RequestBody.json(request, duplicates: &options.duplicates)
            }
            let (given, whole) = (patch, body)
            let written = try registry.modify(target.kind, namespace, name, options: options) {
                current throws(StatusError) in
                let after = try given?.applied(to: self.scale(of: current, target), target.kind) ?? whole
                return try self.scaled(current, after, target, name)
            }
            return .json(scale(of: written.object.json, target), warnings: written.warnings)
        default: throw .methodNotAllowed()
        }
    }

    /// The object with the replicas that a `Scale` wants.
    private func scaled(
        _ current: JSON, _ wish: JSON, _ target: Target, _ name: String
    ) throws(StatusError) -> JSON {
        let replicas = wish["spec"]?["replicas"]?.int ?? 0
        guard replicas >= 0 else {
            throw .invalid(
                target.kind, name,
                [.invalid("spec.replicas", String(replicas), "must be greater than or equal to 0")])
        }
        var object = current
        if let custom = registry.definition(target.kind, target.version)?.scale {
            object = custom.spec.setting(.integer(Int64(replicas)), in: object)
        } else {
            object["spec"]?["replicas"] = .integer(Int64(replicas))
        }
        if let stated = wish["metadata"]?["resourceVersion"]?.string, !stated.isEmpty {
            object["metadata"]?["resourceVersion"] = .string(stated)
        }
        return object
    }

    private func scale(of object: JSON, _ target: Target) -> JSON {
        var metadata: JSON = [:]
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata[field] = object["metadata"]?[field]
        }
        var status: JSON
        let wanted: JSON
        if let custom = registry.definition(target.kind, target.version)?.scale {
            wanted = custom.spec.values(in: object).first ?? 0
            status = ["replicas": custom.status.values(in: object).first ?? 0]
            if let selector = custom.selector?.values(in: object).first { status["selector"] = selector }
        } else {
            let spec = DeploymentSpec(json: object["spec"] ?? .null)
            let selector = TableColumn.selectorText(KubernetesObject(json: object).podSelector)
            wanted = .integer(Int64(spec.replicas))
            status = [
                "replicas": .integer(Int64(object["status"]?["replicas"]?.int ?? 0)),
                "selector": .string(selector == "<none>" ? "" : selector),
            ]
        }
        return [
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata, "spec": ["replicas": wanted],
            "status": status,
        ]
    }
}
