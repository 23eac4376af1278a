import KubernetesAPI
import Serialization
import Store

/// Who somebody wants to be: `kubectl --as`.
public struct Impersonation: Sendable, Hashable {
    /// The user's name.
    public var user: String
    /// Its groups.
    public var groups: [String]

    /// From `Impersonate-User` and the `Impersonate-Group` headers.
    public init(user: String, groups: [String]) {
        self.user = user
        self.groups = groups
    }
}

// Authorization of requests, and the reviews by which others ask about it.
extension APIRouter {
    /// Refuses what no role allows.
    func authorize(_ user: APIUser, _ wish: AccessAttributes, _ kind: ResourceKind?) throws(StatusError) {
        if user.isMaster || registry.policy.allows(user, wish) { return }
        let why = "User \"\(user.name)\" " + wish.description
        guard let kind else {
            throw StatusError(code: 403, reason: "Forbidden", message: "forbidden: \(why)")
        }
        throw .forbidden(kind, wish.name, why)
    }

    /// Whether a user may do something with a resource at the cluster scope that others than this API serve.
    public func allows(_ user: APIUser, verb: String, group: String, resource: String, name: String) -> Bool {
        let wish = AccessAttributes(verb: verb, group: group, resource: resource, name: name)
        return user.isMaster || registry.policy.allows(user, wish)
    }

    /// What a request to a resource wants.
    func wish(_ request: APIRequest, _ target: Target) -> AccessAttributes {
        let verb =
            switch request.method {
            case "GET", "HEAD": target.name != nil ? "get" : request.flag("watch") ? "watch" : "list"
            case "POST": "create"
            case "PUT": "update"
            case "PATCH": "patch"
            case "DELETE": target.name != nil ? "delete" : "deletecollection"
            default: request.method.lowercased()
            }
        let isSession = target.kind == .pod && StreamRequest.Purpose(rawValue: target.subresource) != nil
        // A namespace itself is looked at from within: a role in it may allow to get it.
        let namespace = target.kind == .namespace ? target.name : target.namespace
        let isRead = verb == "list" || verb == "watch"
        return AccessAttributes(
            verb: isSession ? "create" : verb, group: target.group, resource: target.kind.plural,
            subresource: target.subresource, namespace: namespace ?? "",
            name: target.name ?? (isRead ? Self.selectedName(request) : nil) ?? "")
    }

    /// The one name that a list or watch is limited to: roles that name objects allow it then, as they do in Kubernetes.
    private static func selectedName(_ request: APIRequest) -> String? {
        for part in (request.query["fieldSelector"] ?? "").split(separator: ",") {
            let halves = part.split(separator: "=")
            if halves.count == 2, halves[0] == "metadata.name" { return String(halves[1]) }
        }
        return nil
    }

    /// The user that a request is made as.
    func impersonated(_ request: APIRequest, _ user: APIUser) throws(StatusError) -> APIUser {
        guard let wanted = request.impersonation else { return user }
        guard !wanted.user.isEmpty else {
            throw .badRequest("requested groups without impersonating a user")
        }
        var wish = AccessAttributes(verb: "impersonate", resource: "users", name: wanted.user)
        var groups = wanted.groups
        let parts = wanted.user.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        if parts.count == 4, parts[0] == "system", parts[1] == "serviceaccount" {
            wish = AccessAttributes(
                verb: "impersonate", resource: "serviceaccounts", namespace: parts[2], name: parts[3])
            if groups.isEmpty { groups = APIUser.serviceAccountGroups(parts[2]) }
        }
        try authorizeImpersonation(user, wish)
        for group in wanted.groups {
            try authorizeImpersonation(user, AccessAttributes(verb: "impersonate", resource: "groups", name: group))
        }
        if !groups.contains("system:authenticated") { groups.append("system:authenticated") }
        return APIUser(name: wanted.user, groups: groups)
    }

    private func authorizeImpersonation(_ user: APIUser, _ wish: AccessAttributes) throws(StatusError) {
        if user.isMaster || registry.policy.allows(user, wish) { return }
        throw StatusError(
            code: 403, reason: "Forbidden",
            message: "\(wish.resource) \"\(wish.name)\" is forbidden: User \"\(user.name)\" " + wish.description,
            details: ["name": .string(wish.name), "kind": .string(wish.resource)])
    }

    // MARK: Reviews

    /// Answers a review: nothing of it is stored.
    func review(_ request: APIRequest, _ user: APIUser, _ target: Target) throws(StatusError) -> APIResponse {
        guard request.method == "POST", target.name == nil else { throw .methodNotAllowed() }
        let (body, warnings) = try registry.decoded(
            try RequestBody.json(request), target.kind, try options(request, target))
        var answer = body
        answer["apiVersion"] = .string(target.kind.apiVersion)
        let spec = body["spec"] ?? .object([:])
        switch target.kind {
        case .selfSubjectReview: answer["status"] = ["userInfo": info(user)]
        case .selfSubjectAccessReview: answer["status"] = try decision(user, spec, target)
        case .subjectAccessReview, .localSubjectAccessReview:
            let name = spec["user"]?.string ?? ""
            let groups = (spec["groups"]?.array ?? []).compactMap(\.string)
            guard !name.isEmpty || !groups.isEmpty else {
                throw .invalid(
                    target.kind, "", [.required("spec.user", "at least one of user or group must be specified")])
            }
            answer["status"] = try decision(APIUser(name: name, groups: groups), spec, target)
        case .selfSubjectRulesReview: answer["status"] = rules(user, spec["namespace"]?.string ?? "")
        case .tokenReview: answer["status"] = tokenReview(spec)
        default: throw .noSuchPath
        }
        if answer["metadata"] == nil { answer["metadata"] = [:] }
        answer["metadata"]?["creationTimestamp"] = .null
        return .json(answer, status: 201, warnings: warnings)
    }

    private func info(_ user: APIUser) -> JSON {
        ["username": .string(user.name), "groups": .array(user.groups.map { .string($0) })]
    }

    private func decision(_ user: APIUser, _ spec: JSON, _ target: Target) throws(StatusError) -> JSON {
        func text(_ json: JSON?, _ name: String) -> String { json?[name]?.string ?? "" }
        let wish: AccessAttributes
        switch (spec["resourceAttributes"], spec["nonResourceAttributes"]) {
        case (let resource?, nil):
            let namespace = text(resource, "namespace")
            guard target.namespace == nil || target.namespace == namespace else {
                throw .invalid(
                    target.kind, "",
                    [.invalid("spec.resourceAttributes.namespace", text: namespace, "must match metadata.namespace")])
            }
            wish = AccessAttributes(
                verb: text(resource, "verb"), group: text(resource, "group"), resource: text(resource, "resource"),
                subresource: text(resource, "subresource"), namespace: namespace, name: text(resource, "name"))
        case (nil, let path?): wish = AccessAttributes(verb: text(path, "verb"), path: text(path, "path"))
        default:
            throw .invalid(
                target.kind, "",
                [
                    .invalid(
                        "spec.resourceAttributes", "",
                        "exactly one of nonResourceAttributes or resourceAttributes must be specified")
                ])
        }
        let isAllowed = user.isMaster || registry.policy.allows(user, wish)
        return isAllowed ? ["allowed": true] : ["allowed": false]
    }

    private func rules(_ user: APIUser, _ namespace: String) -> JSON {
        let rules = registry.policy.rules(for: user, in: namespace)
        return [
            "incomplete": false, "resourceRules": .array(rules.filter { !$0.resources.isEmpty }.map(\.json)),
            "nonResourceRules": .array(rules.filter { !$0.paths.isEmpty }.map(\.json)),
        ]
    }

    private func tokenReview(_ spec: JSON) -> JSON {
        let audiences = (spec["audiences"]?.array ?? []).compactMap(\.string)
        do throws(StatusError) {
            let user = try authenticate(spec["token"]?.string ?? "", audiences: audiences)
            return [
                "authenticated": true, "user": info(user), "audiences": .array(audiences.map { .string($0) }),
            ]
        } catch {
            return ["authenticated": false, "error": .string(error.message)]
        }
    }

    // MARK: Tokens that are shown

    /// Whose token this is: a bootstrap token's, or a service account's.
    public func authenticate(_ token: String, audiences: [String] = []) throws(StatusError) -> APIUser {
        if let user = bootstrapUser(token) { return user }
        guard let verify = tokenVerifier else { throw .unauthorized }
        return try verify(token, audiences)
    }

    /// The user of a bootstrap token: six letters, a dot, sixteen letters, as the Secret `bootstrap-token-…` in
    /// `kube-system` has them.
    private func bootstrapUser(_ token: String) -> APIUser? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        func isPart(_ text: Substring, _ count: Int) -> Bool {
            text.utf8.count == count
                && text.utf8.allSatisfy { (0x61...0x7a).contains($0) || (0x30...0x39).contains($0) }
        }
        guard parts.count == 2, isPart(parts[0], 6), isPart(parts[1], 16) else { return nil }
        guard let known = bootstrapSecret(String(parts[0])), Self.isEqual(known.secret, String(parts[1])) else {
            return nil
        }
        let extra = known.groups.split(separator: ",").map { String($0.filter { $0 != " " }) }
        return APIUser(
            name: "system:bootstrap:\(parts[0])",
            groups: ["system:bootstrappers", "system:authenticated"]
                + extra.filter { $0.hasPrefix("system:bootstrappers:") })
    }

    /// A bootstrap token that is good now, by its public part: `abcdef.0123456789abcdef`.
    public func bootstrapToken(id: String) -> String? { bootstrapSecret(id).map { "\(id).\($0.secret)" } }

    private func bootstrapSecret(_ id: String) -> (secret: String, groups: String)? {
        let key = registry.key(.secret, "kube-system", "bootstrap-token-\(id)")
        guard let secret = registry.store.get(key)?.object, secret["type"] == "bootstrap.kubernetes.io/token",
            secret["metadata"]?["deletionTimestamp"] == nil
        else { return nil }
        func value(_ name: String) -> String {
            secret["data"]?[name]?.string.flatMap { Base64.decode($0) }.map { String(decoding: $0, as: UTF8.self) }
                ?? ""
        }
        guard value("token-id") == id, value("usage-bootstrap-authentication") == "true" else { return nil }
        let end = value("expiration")
        if !end.isEmpty {
            guard let time = Timestamp(end), time.seconds > registry.now().seconds else { return nil }
        }
        return (value("token-secret"), value("auth-extra-groups"))
    }

    /// Compares without telling by its time where two texts differ.
    private static func isEqual(_ left: String, _ right: String) -> Bool {
        let (one, two) = (Array(left.utf8), Array(right.utf8))
        guard one.count == two.count else { return false }
        return zip(one, two).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
