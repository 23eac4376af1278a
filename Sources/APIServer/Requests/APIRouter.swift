import KubernetesAPI
import Serialization
import Store

/// Requests in, answers out: the Kubernetes REST API without a transport.
///
/// Loop-owned. Nothing waits here: watches and logs come back as streams that the transport drives.
public final class APIRouter {
    /// The objects behind the API.
    public let registry: ObjectRegistry
    /// Whether the control plane is ready, for `/readyz`.
    public var isReady: () -> Bool = { true }
    let discovery: Discovery
    private let openAPI: OpenAPI
    private var documents: [String: [UInt8]] = [:]

    /// A router for the objects of `registry`.
    public init(_ registry: ObjectRegistry) {
        self.registry = registry
        discovery = Discovery(kinds: registry.kinds)
        openAPI = OpenAPI(kinds: registry.kinds)
    }

    /// Answers one request.
    ///
    /// Every error becomes a `Status` object.
    public func answer(_ request: APIRequest) -> APIResponse {
        do throws(StatusError) {
            return try route(request)
        } catch {
            return .failure(error)
        }
    }

    private func route(_ request: APIRequest) throws(StatusError) -> APIResponse {
        let path = request.path
        switch path.first {
        case "healthz", "livez": return .text("ok")
        case "readyz":
            guard isReady() else {
                throw StatusError(code: 503, reason: "ServiceUnavailable", message: "the control plane is starting")
            }
            return .text("ok")
        case "version" where path.count == 1: return .json(Discovery.version)
        default: break
        }
        guard let user = request.user else { throw .unauthorized }
        switch (path.first, path.count) {
        case (nil, _):
            return .json([
                "paths": ["/api", "/apis", "/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/readyz", "/version"]
            ])
        case ("api", 1), ("apis", 1):
            try onlyGet(request)
            if let version = Discovery.aggregatedVersion(accept: request.accept) {
                var response = APIResponse.json(discovery.aggregated(isCore: path.first == "api", version: version))
                // The parameters must be repeated, or clients take the answer for the plain form.
                response.contentType = "application/json;g=apidiscovery.k8s.io;v=\(version);as=APIGroupDiscoveryList"
                return response
            }
            return .json(path.first == "api" ? Discovery.coreVersions : discovery.groupList)
        case ("api", 2): return try found(discovery.resources(group: "", version: path[1]), request)
        case ("apis", 2): return try found(discovery.group(named: path[1]), request)
        case ("apis", 3):
            if path[1] == "authorization.k8s.io" || path[1] == "authentication.k8s.io" { throw .noSuchPath }
            return try found(discovery.resources(group: path[1], version: path[2]), request)
        case ("openapi", _): return try openAPI(request)
        case ("api", _):
            return try resource(request, user, group: "", version: path[1], Array(path.dropFirst(2)))
        case ("apis", _):
            if let review = try review(request, user) { return review }
            return try resource(request, user, group: path[1], version: path[2], Array(path.dropFirst(3)))
        default: throw .noSuchPath
        }
    }

    private func onlyGet(_ request: APIRequest) throws(StatusError) {
        guard request.method == "GET" || request.method == "HEAD" else { throw .methodNotAllowed() }
    }

    private func found(_ json: JSON?, _ request: APIRequest) throws(StatusError) -> APIResponse {
        guard let json else { throw .noSuchPath }
        try onlyGet(request)
        return .json(json)
    }

    private func openAPI(_ request: APIRequest) throws(StatusError) -> APIResponse {
        try onlyGet(request)
        let path = request.path
        if path == ["openapi", "v2"] {
            return APIResponse(
                contentType: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
                body: .bytes(OpenAPI.version2))
        }
        guard path.count >= 2, path[1] == "v3" else { throw .noSuchPath }
        let key = path.dropFirst(2).joined(separator: "/")
        if let known = documents[key] { return APIResponse(contentType: "application/json", body: .bytes(known)) }
        let json: JSON? =
            switch (path.count, path.count > 2 ? path[2] : "") {
            case (2, _): openAPI.index
            case (4, "api"): openAPI.document(group: "", version: path[3])
            case (5, "apis"): openAPI.document(group: path[3], version: path[4])
            default: nil
            }
        guard let json else { throw .noSuchPath }
        let bytes = json.bytes
        documents[key] = bytes
        return APIResponse(contentType: "application/json", body: .bytes(bytes))
    }

    /// Access reviews: whoever may do everything may do this too.
    private func review(_ request: APIRequest, _ user: APIUser) throws(StatusError) -> APIResponse? {
        let path = request.path
        guard request.method == "POST", path.count == 4 else { return nil }
        switch (path[1], path[3]) {
        case ("authorization.k8s.io", "selfsubjectaccessreviews"):
            var body = try RequestBody.json(request)
            body["apiVersion"] = "authorization.k8s.io/v1"
            body["kind"] = "SelfSubjectAccessReview"
            body["status"] =
                user.isMaster
                ? ["allowed": true] : ["allowed": false, "reason": "only group system:masters has rights"]
            return .json(body, status: 201)
        case ("authentication.k8s.io", "selfsubjectreviews"):
            return .json(
                [
                    "apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview", "metadata": [:],
                    "status": [
                        "userInfo": ["username": .string(user.name), "groups": .array(user.groups.map { .string($0) })]
                    ],
                ], status: 201)
        default: return nil
        }
    }

    /// The place that a path below a group version names.
    struct Target {
        var kind: ResourceKind
        var version: String
        var namespace: String?
        var name: String?
        var subresource: String
    }

    private func target(group: String, version: String, _ rest: [String]) throws(StatusError) -> Target {
        var rest = rest[...]
        var namespace: String?
        // "namespaces" is both a scope and a resource of its own.
        if rest.first == "namespaces", rest.count >= 3,
            group != "" || !["status", "finalize"].contains(rest[rest.startIndex + 2])
        {
            namespace = rest[rest.startIndex + 1]
            rest = rest.dropFirst(2)
        }
        guard let plural = rest.popFirst(),
            let kind = registry.kinds.kind(apiVersion: group.isEmpty ? version : group + "/" + version, plural: plural)
        else { throw .noSuchPath }
        let name = rest.popFirst()
        let subresource = rest.popFirst() ?? ""
        guard rest.isEmpty, subresource.isEmpty || kind.subresources.contains(subresource),
            kind.isNamespaced || namespace == nil, name == nil || !kind.isNamespaced || namespace != nil
        else { throw .noSuchPath }
        return Target(kind: kind, version: version, namespace: namespace, name: name, subresource: subresource)
    }

    private func resource(
        _ request: APIRequest, _ user: APIUser, group: String, version: String, _ rest: [String]
    ) throws(StatusError) -> APIResponse {
        let target = try target(group: group, version: version, rest)
        guard user.isMaster else {
            let scope = target.namespace.map { " in the namespace \"\($0)\"" } ?? " at the cluster scope"
            throw .forbidden(
                target.kind, target.name ?? "",
                "User \"\(user.name)\" cannot \(verb(request, target)) resource \"\(target.kind.plural)\" in API group "
                    + "\"\(target.kind.group)\"" + scope)
        }
        switch (target.subresource, target.name) {
        case ("log", let name?): return try log(request, target, name)
        case ("scale", let name?): return try scale(request, target, name)
        case (_, nil):
            switch request.method {
            case "GET": return try list(request, target)
            case "POST": return try create(request, target)
            case "DELETE" where target.kind.verbs.contains("deletecollection"): return try deleteAll(request, target)
            default: throw .methodNotAllowed()
            }
        case (_, let name?):
            switch request.method {
            case "GET": return try get(request, target, name)
            case "PUT": return try replace(request, target, name)
            case "PATCH": return try patch(request, target, name)
            case "DELETE" where target.subresource.isEmpty: return try delete(request, target, name)
            default: throw .methodNotAllowed()
            }
        }
    }

    private func verb(_ request: APIRequest, _ target: Target) -> String {
        switch request.method {
        case "GET": target.name != nil ? "get" : request.flag("watch") ? "watch" : "list"
        case "POST": "create"
        case "PUT": "update"
        case "PATCH": "patch"
        case "DELETE": target.name != nil ? "delete" : "deletecollection"
        default: request.method.lowercased()
        }
    }
}
