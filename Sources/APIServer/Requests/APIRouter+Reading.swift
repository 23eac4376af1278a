import KubernetesAPI
import Serialization
import Store

extension APIRouter {
    func form(_ request: APIRequest) throws(StatusError) -> ObjectForm {
        try ObjectForm(accept: request.accept, includeObject: request.query["includeObject"])
    }

    /// The columns of the tables of a kind: the compiled-in ones, or those of its definition.
    func columns(_ target: Target) -> [TableColumn] {
        guard let definition = registry.definition(target.kind, target.version) else {
            return TableColumn.columns(of: target.kind)
        }
        return TableColumn.columns(of: definition)
    }

    func get(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        // Whoever has seen a later state than there is here is not shown an earlier one.
        if let text = request.query["resourceVersion"], !text.isEmpty {
            try agree(try revision(text), registry.store.revision)
        }
        let stored = try registry.stored(target.kind, target.namespace ?? "", name)
        let object = registry.shown(stored, target.kind, version: target.version)
        return .json(try form(request).one(object, columns: columns(target), now: registry.now()))
    }

    func list(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        let selection = try Selection(request.query, target.kind, version: target.version)
        try checkListOptions(request)
        if request.flag("watch") { return try watch(request, target, selection) }
        let current = registry.store.revision
        var (revision, after) = (current, nil as StoreKey?)
        if let token = request.query["continue"], !token.isEmpty {
            (revision, after) = try position(token, target.kind)
        } else if let text = request.query["resourceVersion"], !text.isEmpty, text != "0" {
            let wanted = try self.revision(text)
            try agree(wanted, current)
            if request.query["resourceVersionMatch"] == "Exact" { revision = wanted }
        }
        var objects = try listed(target, at: revision).filter { selection.matches($0.object) }
        if let after { objects = objects.filter { after < $0.key } }
        var metadata: JSON = ["resourceVersion": .string(String(revision))]
        if let limit = try request.number("limit"), limit > 0, objects.count > limit {
            let rest = objects.count - limit
            objects = Array(objects.prefix(limit))
            if let last = objects.last {
                metadata["continue"] = .string(token(revision, last.key))
                metadata["remainingItemCount"] = .integer(Int64(rest))
            }
        }
        let text = try form(request).list(
            objects, target.kind, columns: columns(target), version: target.version, metadata: metadata,
            now: registry.now(), shown: { registry.seen($0, target.kind, version: target.version) })
        return APIResponse(contentType: "application/json", body: .bytes(text))
    }

    /// Refuses options that contradict each other, in Kubernetes' words.
    private func checkListOptions(_ request: APIRequest) throws(StatusError) {
        func text(_ name: String) -> String { request.query[name] ?? "" }
        let (match, version) = (text("resourceVersionMatch"), text("resourceVersion"))
        var problems: [FieldProblem] = []
        if !match.isEmpty {
            if !["Exact", "NotOlderThan"].contains(match) {
                problems.append(.notSupported("resourceVersionMatch", match, ["Exact", "NotOlderThan", ""]))
            } else if request.flag("watch"), !request.flag("sendInitialEvents") {
                problems.append(
                    .forbidden(
                        "resourceVersionMatch",
                        "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
            } else if version.isEmpty, !request.flag("watch") {
                problems.append(
                    .forbidden(
                        "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            if match == "Exact", version == "0" {
                problems.append(
                    .forbidden(
                        "resourceVersionMatch", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"")
                )
            }
            if !text("continue").isEmpty {
                problems.append(
                    .forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided"))
            }
        }
        if !problems.isEmpty { throw .invalidOptions("ListOptions", problems) }
        if !text("continue").isEmpty, !version.isEmpty, version != "0" {
            throw .badRequest("specifying resource version is not allowed when using continue")
        }
        if let limit = try request.number("limit"), limit < 0 {
            throw .badRequest("limit: Invalid value: \(limit): must be greater than or equal to 0")
        }
    }

    private func revision(_ text: String) throws(StatusError) -> Revision {
        guard let revision = Revision(text), revision >= 0 else {
            throw .badRequest("resourceVersion: Invalid value: \"\(text)\"")
        }
        return revision
    }

    /// The objects as they were at a revision; 410 when that is forgotten.
    private func listed(_ target: Target, at revision: Revision) throws(StatusError) -> [StoredObject] {
        do throws(StoreError) {
            return try registry.store.list(target.kind.storeResource, namespace: target.namespace, at: revision)
        } catch {
            throw registry.status(error, target.kind, "")
        }
    }

    private func agree(_ wanted: Revision, _ current: Revision) throws(StatusError) {
        if wanted > current {
            throw StatusError(
                code: 504, reason: "Timeout", message: "Too large resource version: \(wanted), current: \(current)",
                details: [
                    "causes": [["reason": "ResourceVersionTooLarge", "message": "Too large resource version"]],
                    "retryAfterSeconds": 1,
                ])
        }
    }

    /// Where a list goes on: the revision of its first page, and the last key seen.
    ///
    /// Later pages show the state of the first one, as long as its revision is remembered.
    private func token(_ revision: Revision, _ key: StoreKey) -> String {
        let json: JSON = ["rv": .integer(revision), "ns": .string(key.namespace), "name": .string(key.name)]
        return Base64.encodeURL(json.bytes)
    }

    private func position(_ token: String, _ kind: ResourceKind) throws(StatusError) -> (Revision, StoreKey?) {
        guard let bytes = Base64.decode(token), let json = try? JSON.parse(bytes), let revision = json["rv"]?.int,
            let namespace = json["ns"]?.string, let name = json["name"]?.string
        else { throw .badRequest("continue key is not valid") }
        return (Revision(revision), StoreKey(resource: kind.storeResource, namespace: namespace, name: name))
    }

    private func watch(_ request: APIRequest, _ target: Target, _ selection: Selection) throws(StatusError)
        -> APIResponse
    {
        let text = request.query["resourceVersion"] ?? ""
        let sendsInitial = request.flag("sendInitialEvents")
        if sendsInitial {
            guard request.query["resourceVersionMatch"] == "NotOlderThan", request.flag("allowWatchBookmarks") else {
                throw .badRequest(
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan and allowWatchBookmarks")
            }
            if !text.isEmpty { try agree(try revision(text), registry.store.revision) }
        }
        let from: Revision? = text.isEmpty || text == "0" || sendsInitial ? nil : try revision(text)
        let seconds = min(max(try request.number("timeoutSeconds") ?? 1800, 1), 3600)
        let wish = WatchStream.Wish(
            kind: target.kind, version: target.version, namespace: target.namespace, selection: selection,
            form: try form(request), columns: columns(target), wantsBookmarks: request.flag("allowWatchBookmarks"),
            sharesText: registry.definition(target.kind, target.version) == nil)
        let stream = try WatchStream(
            registry, wish, from: from, endsInitialEvents: sendsInitial, lifetime: .seconds(seconds))
        return APIResponse(contentType: "application/json", body: .watch(stream))
    }

    func log(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        guard request.method == "GET" else { throw .methodNotAllowed() }
        let namespace = target.namespace ?? ""
        let pod = Pod(json: try registry.stored(.pod, namespace, name).object)
        let container = try container(request, pod, name)
        var parts: [String] = []
        for parameter in ["follow", "previous", "timestamps"] where request.flag(parameter) {
            parts.append(parameter + "=true")
        }
        for parameter in ["tailLines", "sinceSeconds", "sinceTime", "limitBytes"] {
            guard let value = request.query[parameter], !value.isEmpty else { continue }
            guard
                value.utf8.allSatisfy({
                    (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0)
                        || [0x2d, 0x3a, 0x2e].contains($0)
                })
            else {
                throw .badRequest("query parameter \(parameter): invalid value")
            }
            parts.append(parameter + "=" + value)
        }
        guard !pod.spec.nodeName.isEmpty else { throw .badRequest("pod \(name) does not have a host assigned") }
        let wanted = LogRequest(
            namespace: namespace, pod: name, container: container, node: pod.spec.nodeName,
            query: parts.joined(separator: "&"))
        return APIResponse(contentType: "text/plain", body: .log(wanted))
    }
}
