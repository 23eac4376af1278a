import KubernetesAPI
public import Serialization

/// A token that somebody may have: everything about it has been checked but the time.
public struct TokenWish: Sendable, Hashable {
    /// The service account's namespace.
    public var namespace: String
    /// Its name.
    public var account: String
    /// Its uid.
    public var accountUID: String
    /// For whom the token is; empty: for this API.
    public var audiences: [String]
    /// How long it is to hold, seconds; nil: as usual.
    public var seconds: Int64?
    /// The name of the pod that it is bound to; nil for none.
    public var podName: String?
    /// The uid of that pod.
    public var podUID = ""
}

/// A token.
public struct IssuedToken: Sendable {
    /// The token itself.
    public var text: String
    /// For whom it is.
    public var audiences: [String]
    /// Until when.
    public var expires: Timestamp
    /// What its owner should know.
    public var warnings: [String]

    /// A token.
    public init(text: String, audiences: [String], expires: Timestamp, warnings: [String] = []) {
        self.text = text
        self.audiences = audiences
        self.expires = expires
        self.warnings = warnings
    }
}

// `kubectl create token`: the sub-resource `token` of a service account takes a TokenRequest.
// Source: Kubernetes' API reference, authentication.k8s.io/v1 TokenRequest.
extension APIRouter {
    /// The most audiences of one token.
    private static let audiencesMax = 32
    /// What may be asked for, seconds, as with Kubernetes.
    private static let secondsRange: ClosedRange<Int64> = 600...(1 << 32)

    func token(_ request: APIRequest, _ target: Target, _ name: String) throws(StatusError) -> APIResponse {
        guard request.method == "POST" else { throw .methodNotAllowed() }
        let body = try RequestBody.json(request)
        let namespace = target.namespace ?? ""
        let account = try registry.get(.serviceAccount, namespace, name)
        guard let tokens else {
            throw StatusError(code: 501, reason: "NotImplemented", message: "this server makes no tokens")
        }
        var problems: [FieldProblem] = []
        let audiences = (body["spec"]?["audiences"]?.array ?? []).compactMap(\.string)
        if audiences.count > Self.audiencesMax || audiences.contains(where: \.isEmpty) {
            problems.append(
                .invalid("spec.audiences", "\(audiences.count)", "must be at most \(Self.audiencesMax) names"))
        }
        let seconds = body["spec"]?["expirationSeconds"]?.int.map(Int64.init)
        if let seconds, seconds < Self.secondsRange.lowerBound {
            problems.append(
                .invalid("spec.expirationSeconds", "\(seconds)", "may not specify a duration less than 10 minutes"))
        } else if let seconds, seconds > Self.secondsRange.upperBound {
            problems.append(
                .invalid("spec.expirationSeconds", "\(seconds)", "may not specify a duration larger than 2^32 seconds"))
        }
        guard problems.isEmpty else { throw .invalid(.serviceAccount, name, problems) }
        var wish = TokenWish(
            namespace: namespace, account: name, accountUID: account.metadata.uid, audiences: audiences,
            seconds: seconds)
        if let bound = body["spec"]?["boundObjectRef"], !bound.isNull { try bind(&wish, to: bound) }
        let issued = try tokens(wish)
        var answer: JSON = [
            "kind": "TokenRequest", "apiVersion": "authentication.k8s.io/v1",
            "metadata": [
                "name": .string(name), "namespace": .string(namespace),
                "creationTimestamp": .string(registry.now().secondsText),
            ],
            "spec": [
                "audiences": .array(issued.audiences.map { .string($0) }),
                "expirationSeconds": .integer(max(0, issued.expires.seconds - registry.now().seconds)),
            ],
            "status": [
                "token": .string(issued.text), "expirationTimestamp": .string(issued.expires.secondsText),
            ],
        ]
        if let bound = body["spec"]?["boundObjectRef"] { answer["spec"]?["boundObjectRef"] = bound }
        return .json(answer, status: 201, warnings: issued.warnings)
    }

    /// Binds a token to a pod: one of that account, and the one that is meant.
    private func bind(_ wish: inout TokenWish, to reference: JSON) throws(StatusError) {
        let (kind, name) = (reference["kind"]?.string ?? "", reference["name"]?.string ?? "")
        guard kind == "Pod", ["", "v1"].contains(reference["apiVersion"]?.string ?? "") else {
            throw .invalid(
                .serviceAccount, wish.account,
                [
                    .invalid(
                        "spec.boundObjectRef", "\(reference["apiVersion"]?.string ?? "")/\(kind)",
                        "only v1/Pod is supported")
                ])
        }
        let pod = try registry.get(.pod, wish.namespace, name)
        if let uid = reference["uid"]?.string, !uid.isEmpty, uid != pod.metadata.uid {
            throw .conflict(
                .pod, name,
                "the UID in the bound object reference (\(uid)) does not match the UID in record. "
                    + "The object might have been deleted and then recreated")
        }
        let own = pod.spec["serviceAccountName"]?.string ?? "default"
        guard own == wish.account else {
            throw .badRequest(
                "cannot bind token for serviceaccount \"\(wish.account)\" to pod running with different "
                    + "serviceaccount name.")
        }
        wish.podName = name
        wish.podUID = pod.metadata.uid
    }
}
