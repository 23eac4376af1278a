import KubernetesAPI
import Serialization

/// The policies about identities, read once.
struct SecurityModel: Sendable {
    /// The kinds that it is made of.
    static let kinds: [MeshObjects.Kind] = [
        .peerAuthentication, .requestAuthentication, .authorizationPolicy, .namespace,
    ]

    /// PeerAuthentications, the oldest first.
    let peers: [PeerPolicy]
    /// AuthorizationPolicies, the oldest first.
    let authorizations: [AuthorizationPolicy]
    /// RequestAuthentications, the oldest first.
    let tokens: [RequestAuthentication]
    /// The namespaces whose pods get no sidecar unless they ask for one.
    let uninjected: Set<String>

    init(_ objects: MeshObjects) {
        peers = objects.inOrder(.peerAuthentication).map(PeerPolicy.init)
        authorizations = objects.inOrder(.authorizationPolicy).map(AuthorizationPolicy.init)
        tokens = objects.inOrder(.requestAuthentication).map(RequestAuthentication.init)
        uninjected = Set(
            objects.inOrder(.namespace).filter { $0.metadata.labels["istio-injection"] == "disabled" }.map(\.name))
    }
}

/// What a pod says about a sidecar of its own (ARCHITECTURE section 4); the same decision as the node agent's.
struct SidecarWish: Sendable, Hashable {
    /// The pod's label or annotation; nil leaves it to the namespace.
    var isWanted: Bool?
    /// Host network, a gateway, or a label that says that the pod speaks no mutual TLS in spite of its sidecar.
    var isExcluded = false
    /// Whether the program itself is a client of discovery (gRPC), and has no sidecar.
    var isProxyless = false

    init() {}

    init(_ pod: KubernetesObject) {
        let key = "sidecar.istio.io/inject"
        switch pod.metadata.labels[key] ?? pod.metadata.annotations[key] {
        case "true": isWanted = true
        case "false": isWanted = false
        default: break
        }
        isProxyless = Self.isProxyless(pod.metadata.annotations)
        isExcluded =
            isProxyless || pod.metadata.annotations["skein.dev/gateway"] == "true"
            || pod.spec["hostNetwork"]?.bool == true
            || pod.metadata.labels[Self.modeLabel] == "disabled"
    }

    /// Whether a pod's annotations say that its program needs no sidecar: Istio's templates for gRPC, or ours.
    static func isProxyless(_ annotations: [String: String]) -> Bool {
        (annotations["inject.istio.io/templates"] ?? "").split(separator: ",").contains { $0.hasPrefix("grpc-") }
            || annotations["skein.dev/proxyless"] == "true"
    }

    /// Istio's label for who speaks mutual TLS.
    static let modeLabel = "security.istio.io/tlsMode"
}

/// The part of the mesh configuration that security uses.
struct SecurityConfig: Sendable, Hashable {
    /// `trustDomain`.
    var trustDomain = Mesh.clusterDomain
    /// `trustDomainAliases`: names that policies may use for the trust domain.
    var trustDomainAliases: [String] = []
    /// `enableAutoMtls`: mutual TLS to every endpoint that has a sidecar.
    var usesAutomaticTLS = true
    /// The `extensionProviders` that decide about requests, by name.
    var providers: [String: Provider] = [:]

    init() {}

    init(_ json: JSON) {
        let config = KubernetesObject(json: json)
        if let domain = json["trustDomain"]?.string, !domain.isEmpty { trustDomain = domain }
        trustDomainAliases = config.strings("trustDomainAliases")
        usesAutomaticTLS = json["enableAutoMtls"]?.bool ?? true
        for entry in json["extensionProviders"]?.array ?? [] {
            if let name = entry["name"]?.string, let provider = Provider(entry) { providers[name] = provider }
        }
    }

    /// All names by which policies may call the trust domain; `cluster.local` always means our own.
    var names: [String] {
        var names = [trustDomain]
        for alias in trustDomainAliases where !names.contains(alias) { names.append(alias) }
        return names
    }

    /// The SPIFFE id of a service account.
    func identity(namespace: String, serviceAccount: String) -> String {
        "spiffe://\(trustDomain)/ns/\(namespace)/sa/\(serviceAccount)"
    }
}

extension MeshConfig {
    /// The mesh's trust domain: the first part of all identities.
    public var trustDomainName: String { security.trustDomain }
}
