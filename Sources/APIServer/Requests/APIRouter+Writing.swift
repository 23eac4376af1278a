import KubernetesAPI
import Serialization
import Store

extension APIRouter {
    func options(_ request: APIRequest, _ target: Target) throws(StatusError) -> ObjectRegistry.WriteOptions {
        var options = ObjectRegistry.WriteOptions()
        options.version = target.version
        options.isDryRun = try isDryRun(request.query["dryRun"])
        options.manager = try manager(request)
        options.user = request.user
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

    /// Who writes: what the request says, else the first word of its user agent.
    private func manager(_ request: APIRequest) throws(StatusError) -> String {
        let stated = request.query["fieldManager"] ?? ""
        guard stated.utf8.count <= 128, stated.unicodeScalars.allSatisfy({ $0.value >= 0x20 && $0.value != 0x7f })
        else {
            throw .invalidOptions(
                "PatchOptions", [.invalid("fieldManager", text: stated, "should be printable and at most 128 bytes")])
        }
        if !stated.isEmpty { return stated }
        let agent = request.userAgent.split(separator: "/").first.map { String($0.prefix(128)) } ?? ""
        return agent.isEmpty ? "unknown" : agent
    }

    /// Whether the client is kubectl before 1.25: it leaves `fieldValidation` out because it checks fields itself, by an
    /// OpenAPI v2 document that we do not have.
    private func isOldKubectl(_ userAgent: String) -> Bool {
        guard userAgent.hasPrefix("kubectl/v1.") else { return false }
        return Int(userAgent.dropFirst(11).prefix { $0.isNumber }).map { $0 < 25 } ?? false
    }

    func isDryRun(_ text: String?) throws(StatusError) -> Bool {
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
            form.one(written.object.json, columns: columns(target), now: registry.now()), status: status,
            warnings: written.warnings)
    }

    func create(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        guard !target.kind.isNamespaced || target.namespace != nil else { throw .methodNotAllowed() }
        var options = try options(request, target)
        let body = try RequestBody.json(request, duplicates: &options.duplicates)
        let written = try registry.create(
            body, target.kind, namespace: target.namespace ?? "", options: options)
        return try answer(written, request, target, status: 201)
    }

    func replace(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        var options = try options(request, target)
        let body = try RequestBody.json(request, duplicates: &options.duplicates)
        let written = try registry.modify(
            target.kind, target.namespace ?? "", name, subresource: target.subresource, options: options
        ) { _ in body }
        return try answer(written, request, target)
    }

    func patch(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        var options = try options(request, target)
        let patch = try RequestBody.patch(request, target.kind, duplicates: &options.duplicates)
        if case .apply(let config) = patch { return try apply(config, request, target, name) }
        try refuseForce(request)
        let written = try registry.modify(
            target.kind, target.namespace ?? "", name, subresource: target.subresource, options: options
        ) { current throws(StatusError) in try patch.applied(to: current, target.kind) }
        return try answer(written, request, target)
    }

    private func refuseForce(_ request: APIRequest) throws(StatusError) {
        if request.flag("force") {
            throw .invalidOptions(
                "PatchOptions", [.forbidden("force", "may not be specified for non-apply patch")])
        }
    }

    private func apply(
        _ config: JSON, _ request: APIRequest, _ target: Target, _ name: String
    ) throws(StatusError) -> APIResponse {
        guard request.query["fieldManager"]?.isEmpty == false else {
            throw .invalidOptions("PatchOptions", [.required("fieldManager", "is required for apply patch")])
        }
        guard case .object = config, config["metadata"]?.object != nil else {
            throw .badRequest("error decoding the body: an applied object has apiVersion, kind and metadata")
        }
        for field in ["apiVersion", "kind"] where config[field]?.string?.isEmpty ?? true {
            throw .badRequest("error decoding the body: \(field) must be set in an applied object")
        }
        if let fields = config["metadata"]?["managedFields"], !fields.isNull {
            throw .badRequest("metadata.managedFields must be nil")
        }
        if let stated = config["metadata"]?["name"]?.string, stated != name {
            throw .badRequest("the name of the object (\(stated)) does not match the name on the URL (\(name))")
        }
        let place = registry.key(target.kind, target.namespace ?? "", name)
        if let user = request.user, registry.store.get(place) == nil {
            var wish = wish(request, target)
            wish.verb = "create"
            try authorize(user, wish, target.kind)
        }
        let (written, isNew) = try registry.apply(
            config, target.kind, target.namespace ?? "", name, subresource: target.subresource,
            options: try options(request, target), isForced: request.flag("force"))
        return try answer(written, request, target, status: isNew ? 201 : 200)
    }

    // MARK: Deletion

    private func deleteOptions(_ request: APIRequest) throws(StatusError) -> DeleteOptions {
        try deleteOptions(request, request.body.isEmpty ? .object([:]) : try RequestBody.json(request))
    }

    func deleteOptions(_ request: APIRequest, _ body: JSON) throws(StatusError) -> DeleteOptions {
        var options = DeleteOptions()
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
            target.kind, namespace: target.namespace,
            selection: try Selection(request.query, target.kind, version: target.version),
            options: try deleteOptions(request))
        return .json([
            "kind": .string(target.kind.kind + "List"), "apiVersion": .string(target.kind.apiVersion(target.version)),
            "metadata": ["resourceVersion": .string(String(registry.store.revision))],
            "items": .array(objects.map(\.json)),
        ])
    }
}
