import KubernetesAPI
import Serialization

/// What the model knows of identities and of the policies about them, read once.
struct SecurityModel: Sendable {
    /// A pod, as far as security cares.
    struct Workload: Sendable, Hashable {
        /// Its service account: with the namespace and the trust domain it is the pod's identity.
        var serviceAccount: String
        /// Whether a sidecar takes its inbound connections: only then it speaks mutual TLS.
        var hasSidecar: Bool
    }

    /// Pods by namespace and name.
    let workloads: [NamespacedName: Workload]
    /// PeerAuthentications, the oldest first.
    let peers: [PeerPolicy]
    /// AuthorizationPolicies, the oldest first.
    let authorizations: [AuthorizationPolicy]
    /// RequestAuthentications, the oldest first.
    let tokens: [RequestAuthentication]

    init(_ objects: MeshObjects) {
        var disabled: Set<String> = []
        for namespace in objects.inOrder(.namespace)
        where namespace.metadata.labels["istio-injection"] == "disabled" {
            disabled.insert(namespace.name)
        }
        var workloads: [NamespacedName: Workload] = [:]
        for pod in objects.inOrder(.pod) {
            workloads[NamespacedName(namespace: pod.namespace, name: pod.name)] = Workload(pod, disabled: disabled)
        }
        self.workloads = workloads
        peers = objects.inOrder(.peerAuthentication).map(PeerPolicy.init)
        authorizations = objects.inOrder(.authorizationPolicy).map(AuthorizationPolicy.init)
        tokens = objects.inOrder(.requestAuthentication).map(RequestAuthentication.init)
    }
}

extension SecurityModel.Workload {
    /// The same decision as the node agent's (ARCHITECTURE section 4): the pod's label or annotation decides, else the
    /// namespace.
    init(_ pod: KubernetesObject, disabled: Set<String>) {
        let name = pod.spec["serviceAccountName"]?.string ?? ""
        serviceAccount = name.isEmpty ? "default" : name
        let key = "sidecar.istio.io/inject"
        let wish = pod.metadata.labels[key] ?? pod.metadata.annotations[key]
        let isGateway = pod.metadata.annotations["skein.dev/gateway"] == "true"
        let usesHostNetwork = pod.spec["hostNetwork"]?.bool ?? false
        // Istio's own label: somebody says that this pod speaks no mutual TLS in spite of its sidecar.
        let isOptedOut = pod.metadata.labels["security.istio.io/tlsMode"] == "disabled"
        hasSidecar =
            !isGateway && !usesHostNetwork && !isOptedOut
            && (wish == "true" || (wish != "false" && !disabled.contains(pod.namespace)))
    }
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
