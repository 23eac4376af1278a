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
    /// The control plane's own figures in Prometheus' text format, for `/metrics`; without it there are none.
    public var metrics: (() -> String)?
    /// Makes tokens of service accounts; without it there are none.
    public var tokens: ((TokenWish) throws(StatusError) -> IssuedToken)?
    /// Says whose token of a service account this is; without it none is taken.
    public var tokenVerifier: ((_ token: String, _ audiences: [String]) throws(StatusError) -> APIUser)?
    var discovery: Discovery { Discovery(kinds: registry.kinds) }
    private var openAPI: OpenAPI { OpenAPI(kinds: registry.kinds, definitions: registry.definitions) }
    private var documents: [String: [UInt8]] = [:]
    private var documentsGeneration = 0

    /// A router for the objects of `registry`.
    public init(_ registry: ObjectRegistry) {
        self.registry = registry
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
        guard let caller = request.user else { throw .unauthorized }
        let user = try impersonated(request, caller)
        if path.count < 4, path.first == "apis" || path.count < 3 || path.first == "openapi" {
            let wish = AccessAttributes(
                verb: request.method == "HEAD" ? "get" : request.method.lowercased(),
                path: "/" + path.joined(separator: "/"))
            try authorize(user, wish, nil)
        }
        switch (path.first, path.count) {
        case (nil, _):
            return .json([
                "paths": [
                    "/api", "/apis", "/healthz", "/livez", "/metrics", "/openapi/v2", "/openapi/v3", "/readyz",
                    "/version",
                ]
            ])
        case ("metrics", 1):
            guard let metrics else { throw .noSuchPath }
            try onlyGet(request)
            return APIResponse(contentType: "text/plain; version=0.0.4", body: .bytes(Array(metrics().utf8)))
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
            return try found(discovery.resources(group: path[1], version: path[2]), request)
        case ("openapi", _): return try openAPI(request)
        case ("api", _):
            return try resource(request, user, group: "", version: path[1], Array(path.dropFirst(2)))
        case ("apis", _):
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

    /// Whether a client of OpenAPI v2 says that it takes JSON: kubectl up to 1.28 takes the protobuf form only.
    private static func wantsJSON(_ accept: String) -> Bool {
        accept.split(separator: ",").first.map {
            $0.split(separator: ";").first.map { $0.filter { $0 != " " } } == "application/json"
        } ?? false
    }

    private func openAPI(_ request: APIRequest) throws(StatusError) -> APIResponse {
        try onlyGet(request)
        let path = request.path
        if documentsGeneration != registry.kindsGeneration {
            documents = [:]
            documentsGeneration = registry.kindsGeneration
        }
        if path == ["openapi", "v2"], Self.wantsJSON(request.accept) { return .json(openAPI.version2Document) }
        if path == ["openapi", "v2"] {
            let message = documents["v2"] ?? OpenAPIMessage.document(openAPI.version2Document)
            documents["v2"] = message
            return APIResponse(
                contentType: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf", body: .bytes(message))
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

    /// Sub-resources of pods that clients know and we do not have yet: said plainly instead of "not found".
    private static let missing: [String: Set<String>] = [
        "pods": ["binding", "resize"]
    ]

    /// The place that a path below a group version names.
    struct Target {
        /// The kind as it is stored.
        var kind: ResourceKind
        /// The group under which it is asked for.
        var group: String
        /// The version of the kind; of a view in another group, with that group.
        var version: String
        var namespace: String?
        var name: String?
        var subresource: String
    }

    /// The place that a request names.
    func target(of request: APIRequest) throws(StatusError) -> Target {
        let path = request.path
        switch path.first {
        case "api" where path.count > 2: return try target(group: "", version: path[1], Array(path.dropFirst(2)))
        case "apis" where path.count > 3: return try target(group: path[1], version: path[2], Array(path.dropFirst(3)))
        default: throw .noSuchPath
        }
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
        if group.isEmpty, Self.missing[plural]?.contains(subresource) == true {
            throw StatusError(
                code: 501, reason: "NotImplemented",
                message: "\(plural)/\(subresource) is not supported by this server yet")
        }
        guard rest.isEmpty || subresource == "proxy", subresource.isEmpty || kind.subresources.contains(subresource),
            kind.isNamespaced || namespace == nil, name == nil || !kind.isNamespaced || namespace != nil
        else { throw .noSuchPath }
        if let place = kind.viewOf, let base = registry.kinds.kind(storeResource: place) {
            return Target(
                kind: base, group: kind.group, version: kind.apiVersion(version), namespace: namespace, name: name,
                subresource: subresource)
        }
        return Target(
            kind: kind, group: group, version: version, namespace: namespace, name: name, subresource: subresource)
    }

    private func resource(
        _ request: APIRequest, _ user: APIUser, group: String, version: String, _ rest: [String]
    ) throws(StatusError) -> APIResponse {
        let target = try target(group: group, version: version, rest)
        try authorize(user, wish(request, target), target.kind)
        try restrict(user, request, target)
        if target.kind.isMeasured { return try usage(request, target) }
        if target.kind.isReview { return try review(request, user, target) }
        var request = request
        request.user = user
        var response = try perform(request, target)
        if let deprecation = registry.definition(target.kind, target.version)?.deprecation {
            response.warnings.append(deprecation)
        }
        return response
    }

    private func perform(_ request: APIRequest, _ target: Target) throws(StatusError) -> APIResponse {
        switch (target.subresource, target.name) {
        case ("log", let name?): return try log(request, target, name)
        case (let name, let pod?) where StreamRequest.Purpose(rawValue: name) != nil && target.kind == .pod:
            return try stream(request, target, pod, StreamRequest.Purpose(rawValue: name) ?? .exec)
        case ("scale", let name?): return try scale(request, target, name)
        case ("eviction", let name?): return try evict(request, target, name)
        case ("proxy", let name?): return try proxy(request, target, name)
        case ("token", let name?): return try token(request, target, name)
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
}
