import KubernetesAPI
import Serialization
import Store

extension APIRouter {
    private func form(_ request: APIRequest) throws(StatusError) -> ObjectForm {
        try ObjectForm(accept: request.accept, includeObject: request.query["includeObject"])
    }

    func get(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        let stored = try registry.stored(target.kind, target.namespace ?? "", name)
        let object = registry.shown(stored, target.kind, version: target.version)
        return .json(try form(request).one(object, target.kind, now: registry.now()))
    }

    func list(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        let selection = try Selection(request.query, target.kind)
        if request.flag("watch") { return try watch(request, target, selection) }
        let current = registry.store.revision
        var (revision, after) = (current, nil as StoreKey?)
        if let token = request.query["continue"], !token.isEmpty {
            (revision, after) = try position(token, target.kind)
        } else if let text = request.query["resourceVersion"], !text.isEmpty, text != "0" {
            try agree(try self.revision(text), current, match: request.query["resourceVersionMatch"])
        }
        var objects = registry.store.list(target.kind.storeResource, namespace: target.namespace)
            .filter { selection.matches($0.object) }
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
        let shown = objects.map { registry.shown($0, target.kind, version: target.version) }
        return .json(
            try form(request).list(shown, target.kind, version: target.version, metadata: metadata, now: registry.now())
        )
    }

    private func revision(_ text: String) throws(StatusError) -> Revision {
        guard let revision = Revision(text), revision >= 0 else {
            throw .badRequest("resourceVersion: Invalid value: \"\(text)\"")
        }
        return revision
    }

    private func agree(_ wanted: Revision, _ current: Revision, match: String?) throws(StatusError) {
        if wanted > current {
            throw StatusError(
                code: 504, reason: "Timeout", message: "Too large resource version: \(wanted), current: \(current)",
                details: [
                    "causes": [["reason": "ResourceVersionTooLarge", "message": "Too large resource version"]],
                    "retryAfterSeconds": 1,
                ])
        }
        if match == "Exact", wanted != current {
            throw .expired(
                "The provided resource version \(wanted) is too old: only the current one can be listed exactly")
        }
    }

    /// Where a list goes on: the revision of its first page, and the last key seen.
    ///
    /// Later pages show the present state; a watch from the first page's revision then replays what changed since.
    private func token(_ revision: Revision, _ key: StoreKey) -> String {
        let json: JSON = ["rv": .integer(revision), "ns": .string(key.namespace), "name": .string(key.name)]
        return Base64.encodeURL(json.bytes)
    }

    private func position(_ token: String, _ kind: ResourceKind) throws(StatusError) -> (Revision, StoreKey?) {
        guard let bytes = Base64.decode(token), let json = try? JSON.parse(bytes), let revision = json["rv"]?.int,
            let namespace = json["ns"]?.string, let name = json["name"]?.string
        else { throw .badRequest("continue key is not valid") }
        // Only while a watch from that revision is still possible does the list make sense to its reader.
        let probe = try registry.watch(kind, from: Revision(revision)) {}
        probe.cancel()
        return (Revision(revision), StoreKey(resource: kind.storeResource, namespace: namespace, name: name))
    }

    private func watch(_ request: APIRequest, _ target: Target, _ selection: Selection) throws(StatusError)
        -> APIResponse
    {
        var selection = selection
        if let name = target.name { selection.fields.append(("metadata.name", name, true)) }
        let text = request.query["resourceVersion"] ?? ""
        let sendsInitial = request.flag("sendInitialEvents")
        if sendsInitial {
            guard request.query["resourceVersionMatch"] == "NotOlderThan", request.flag("allowWatchBookmarks") else {
                throw .badRequest(
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan and allowWatchBookmarks")
            }
            if !text.isEmpty { try agree(try revision(text), registry.store.revision, match: nil) }
        }
        let from: Revision? = text.isEmpty || text == "0" || sendsInitial ? nil : try revision(text)
        let seconds = min(max(try request.number("timeoutSeconds") ?? 1800, 1), 3600)
        let wish = WatchStream.Wish(
            kind: target.kind, version: target.version, namespace: target.namespace, selection: selection,
            form: try form(request), wantsBookmarks: request.flag("allowWatchBookmarks"))
        let stream = try WatchStream(
            registry, wish, from: from, endsInitialEvents: sendsInitial, lifetime: .seconds(seconds))
        return APIResponse(contentType: "application/json", body: .watch(stream))
    }

    func log(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        guard request.method == "GET" else { throw .methodNotAllowed() }
        let namespace = target.namespace ?? ""
        let pod = Pod(json: try registry.stored(.pod, namespace, name).object)
        let names = (pod.spec.initContainers + pod.spec.containers).map(\.name)
        var container = request.query["container"] ?? ""
        if container.isEmpty {
            let preferred = pod.metadata.annotations["kubectl.kubernetes.io/default-container"]
            guard let only = preferred ?? (pod.spec.containers.count == 1 ? pod.spec.containers.first?.name : nil)
            else {
                throw .badRequest(
                    "a container name must be specified for pod \(name), choose one of: [\(pod.spec.containers.map(\.name).joined(separator: " "))]"
                )
            }
            container = only
        }
        if !names.contains(container), !["skein-proxy", "istio-proxy"].contains(container) {
            throw .badRequest("container \(container) is not valid for pod \(name)")
        }
        let allowed = ["follow", "previous", "timestamps", "tailLines", "sinceSeconds", "sinceTime", "limitBytes"]
        var parts: [String] = []
        for parameter in allowed {
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
        let wanted = LogRequest(
            namespace: namespace, pod: name, container: container, query: parts.joined(separator: "&"))
        return APIResponse(contentType: "text/plain", body: .log(wanted))
    }
}
