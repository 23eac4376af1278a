import KubernetesAPI
import Serialization
import Store

extension APIRouter {
    private func options(_ request: APIRequest, _ target: Target) throws(StatusError) -> ObjectRegistry.WriteOptions {
        var options = ObjectRegistry.WriteOptions()
        options.version = target.version
        options.isDryRun = try isDryRun(request.query["dryRun"])
        if let text = request.query["fieldValidation"], !text.isEmpty {
            guard let value = ObjectRegistry.FieldValidation(rawValue: text) else {
                throw .badRequest(
                    "fieldValidation: Unsupported value: \"\(text)\": supported values: \"Ignore\", \"Strict\", \"Warn\""
                )
            }
            options.fieldValidation = value
        } else if isOldKubectl(request.userAgent) {
            options.fieldValidation = .strict
        }
        return options
    }

    /// Whether the client is kubectl before 1.25: it leaves `fieldValidation` out because it checks fields itself, by an
    /// OpenAPI v2 document that we do not have.
    private func isOldKubectl(_ userAgent: String) -> Bool {
        guard userAgent.hasPrefix("kubectl/v1.") else { return false }
        return Int(userAgent.dropFirst(11).prefix { $0.isNumber }).map { $0 < 25 } ?? false
    }

    private func isDryRun(_ text: String?) throws(StatusError) -> Bool {
        guard let text, !text.isEmpty else { return false }
        guard text == "All" else {
            throw .badRequest("dryRun: Unsupported value: \"\(text)\": supported values: \"All\"")
        }
        return true
    }

    private func answer(
        _ written: ObjectRegistry.Written, _ request: APIRequest, _ target: Target, status: Int = 200
    ) throws(StatusError) -> APIResponse {
        let form = try ObjectForm(accept: request.accept, includeObject: request.query["includeObject"])
        return .json(
            form.one(written.object.json, target.kind, now: registry.now()), status: status, warnings: written.warnings)
    }

    func create(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        guard !target.kind.isNamespaced || target.namespace != nil else { throw .methodNotAllowed() }
        let body = try RequestBody.json(request)
        let written = try registry.create(
            body, target.kind, namespace: target.namespace ?? "", options: try options(request, target))
        return try answer(written, request, target, status: 201)
    }

    func replace(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        let body = try RequestBody.json(request)
        let written = try registry.modify(
            target.kind, target.namespace ?? "", name, subresource: target.subresource,
            options: try options(request, target)
        ) { _ in body }
        return try answer(written, request, target)
    }

    func patch(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        let patch = try RequestBody.patch(request, target.kind)
        let written = try registry.modify(
            target.kind, target.namespace ?? "", name, subresource: target.subresource,
            options: try options(request, target)
        ) { current throws(StatusError) in try patch.applied(to: current, target.kind) }
        return try answer(written, request, target)
    }

    // MARK: Scale

    func scale(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        let namespace = target.namespace ?? ""
        let options = try options(request, target)
        switch request.method {
        case "GET":
            return .json(scale(of: try registry.get(target.kind, namespace, name)))
        case "PUT", "PATCH":
            let patch: RequestBody.Patch?
            let body: JSON
            if request.method == "PATCH" {
                patch = try RequestBody.patch(request, target.kind)
                body = .null
            } else {
                patch = nil
                body = try RequestBody.json(request)
            }
            let written = try registry.modify(target.kind, namespace, name, options: options) {
                current throws(StatusError) in
                let before = self.scale(of: KubernetesObject(json: current))
                let after = try patch?.applied(to: before, target.kind) ?? body
                let replicas = after["spec"]?["replicas"]?.int ?? 0
                guard replicas >= 0 else {
                    throw .invalid(
                        target.kind, name,
                        [.invalid("spec.replicas", String(replicas), "must be greater than or equal to 0")])
                }
                var object = current
                var spec = object["spec"] ?? .object([:])
                spec["replicas"] = .integer(Int64(replicas))
                object["spec"] = spec
                var metadata = object["metadata"] ?? .object([:])
                let stated = after["metadata"]?["resourceVersion"]?.string ?? ""
                metadata["resourceVersion"] = stated.isEmpty ? metadata["resourceVersion"] : .string(stated)
                object["metadata"] = metadata
                return object
            }
            return .json(scale(of: written.object), warnings: written.warnings)
        default: throw .methodNotAllowed()
        }
    }

    private func scale(of object: KubernetesObject) -> JSON {
        let spec = DeploymentSpec(json: object.spec)
        let selector = TableColumn.selectorText(spec.selector)
        var metadata: JSON = [:]
        for field in ["name", "namespace", "uid", "resourceVersion", "creationTimestamp"] {
            metadata[field] = object.json["metadata"]?[field]
        }
        return [
            "kind": "Scale", "apiVersion": "autoscaling/v1", "metadata": metadata,
            "spec": ["replicas": .integer(Int64(spec.replicas))],
            "status": [
                "replicas": .integer(Int64(object.status["replicas"]?.int ?? 0)),
                "selector": .string(selector == "<none>" ? "" : selector),
            ],
        ]
    }

    // MARK: Deletion

    private func deleteOptions(_ request: APIRequest) throws(StatusError) -> DeleteOptions {
        var options = DeleteOptions()
        let body = request.body.isEmpty ? JSON.object([:]) : try RequestBody.json(request)
        options.gracePeriodSeconds = body["gracePeriodSeconds"]?.int
        if options.gracePeriodSeconds == nil { options.gracePeriodSeconds = try request.number("gracePeriodSeconds") }
        if let grace = options.gracePeriodSeconds, grace < 0 {
            throw .badRequest("gracePeriodSeconds: Invalid value: \(grace): must be greater than or equal to 0")
        }
        let text = body["propagationPolicy"]?.string ?? request.query["propagationPolicy"]
        if let text, !text.isEmpty {
            guard let value = DeleteOptions.Propagation(rawValue: text) else {
                throw .badRequest(
                    "propagationPolicy: Unsupported value: \"\(text)\": supported values: \"Background\", \"Foreground\", \"Orphan\""
                )
            }
            options.propagation = value
        } else if body["orphanDependents"]?.bool == true {
            options.propagation = .orphan
        }
        options.uid = body["preconditions"]?["uid"]?.string
        options.resourceVersion = body["preconditions"]?["resourceVersion"]?.string
        options.isDryRun = try isDryRun(body["dryRun"]?[0]?.string ?? request.query["dryRun"])
        return options
    }

    func delete(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        let (object, isGone) = try registry.delete(
            target.kind, target.namespace ?? "", name, options: try deleteOptions(request))
        // Pods are answered as objects also when they go at once, as Kubernetes does.
        guard isGone, target.kind != .pod else { return .json(object.json) }
        var details: JSON = [
            "name": .string(name), "kind": .string(target.kind.plural), "uid": .string(object.metadata.uid),
        ]
        if !target.kind.group.isEmpty { details["group"] = .string(target.kind.group) }
        return .json(["kind": "Status", "apiVersion": "v1", "metadata": [:], "status": "Success", "details": details])
    }

    func deleteAll(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        let objects = try registry.deleteCollection(
            target.kind, namespace: target.namespace, selection: try Selection(request.query, target.kind),
            options: try deleteOptions(request))
        return .json(
            ObjectForm.full.list(
                objects.map(\.json), target.kind, version: target.version,
                metadata: ["resourceVersion": .string(String(registry.store.revision))], now: registry.now()))
    }
}
