import KubernetesAPI
import Serialization

/// Whether a workload takes mutual TLS, plain text, or both.
enum PeerMode: String, Sendable, Hashable {
    /// Plain text; TLS is the application's own.
    case disable = "DISABLE"
    /// Both, told apart by the first bytes.
    case permissive = "PERMISSIVE"
    /// Mutual TLS only.
    case strict = "STRICT"
}

/// A PeerAuthentication (`security.istio.io`, peer_authentication.proto).
struct PeerPolicy: Sendable, Hashable {
    var key: NamespacedName
    /// The labels of the pods that it is for; nil means all of its namespace.
    var selector: [String: String]?
    /// `mtls.mode`; nil inherits.
    var mode: PeerMode?
    /// `portLevelMtls`, by the port of the workload; a nil mode inherits.
    var ports: [Int: PeerMode?]

    init(_ object: KubernetesObject) {
        key = NamespacedName(namespace: object.namespace, name: object.name)
        selector = Selectors.labels(object.spec)
        mode = Self.mode(object.spec["mtls"])
        var ports: [Int: PeerMode?] = [:]
        for (port, settings) in object.spec["portLevelMtls"]?.object ?? [:] {
            if let number = Int(port) { ports[number] = .some(Self.mode(settings)) }
        }
        self.ports = ports
    }

    private static func mode(_ json: JSON?) -> PeerMode? { json?["mode"]?.string.flatMap(PeerMode.init(rawValue:)) }
}

/// Which pods a policy is for.
enum Selectors {
    /// `selector.matchLabels`; nil when there is no selector or it is empty.
    static func labels(_ spec: JSON) -> [String: String]? {
        let labels = (spec["selector"]?["matchLabels"]?.object ?? [:]).compactMapValues(\.string)
        return labels.isEmpty ? nil : labels
    }

    /// Whether all labels are there.
    static func covers(_ selector: [String: String]?, _ labels: [String: String]) -> Bool {
        selector?.allSatisfy { labels[$0.key] == $0.value } ?? true
    }
}

/// The PeerAuthentications that count for one workload.
struct PeerModes: Sendable {
    private let workload: PeerPolicy?
    /// The mode where the workload's own policy says nothing.
    private let inherited: PeerMode
    /// The policies that decide, for provenance.
    private let namespace: PeerPolicy?
    private let mesh: PeerPolicy?

    init(_ policies: [PeerPolicy], namespace: String, labels: [String: String]) {
        // The list is in order of age: the first of a level wins.
        let root = policies.first { $0.key.namespace == Mesh.rootNamespace && $0.selector == nil }
        let own = policies.first { $0.key.namespace == namespace && $0.selector == nil }
        // A selector in the root namespace selects nothing: it would reach into other namespaces.
        workload =
            namespace == Mesh.rootNamespace
            ? nil
            : policies.first {
                $0.key.namespace == namespace && $0.selector != nil && Selectors.covers($0.selector, labels)
            }
        self.namespace = own
        mesh = root
        inherited = own?.mode ?? root?.mode ?? .permissive
    }

    /// The mode of a port of the workload.
    func mode(port: Int) -> PeerMode {
        guard let workload else { return inherited }
        if let own = workload.ports[port], let mode = own { return mode }
        return mode
    }

    /// The mode of ports that nobody mentions.
    var mode: PeerMode { workload?.mode ?? inherited }

    /// The ports whose mode is their own.
    var exceptionalPorts: [Int] { (workload?.ports.keys).map { $0.sorted() } ?? [] }

    /// Where the mode of a port is written; nil when it is the default.
    func place(port: Int) -> Provenance? {
        if let workload, let own = workload.ports[port], own != nil {
            return Provenance(
                kind: "PeerAuthentication", object: workload.key, field: "spec.portLevelMtls[\(port)].mode")
        }
        return [workload, namespace, mesh].compactMap(\.self).first { $0.mode != nil }.map {
            Provenance(kind: "PeerAuthentication", object: $0.key, field: "spec.mtls.mode")
        }
    }
}

extension MeshModel {
    /// The modes of a workload's ports.
    func peerModes(namespace: String, labels: [String: String]) -> PeerModes {
        PeerModes(security.peers, namespace: namespace, labels: labels)
    }

    /// Whether a pod has a sidecar that takes mutual TLS.
    func hasSidecar(_ pod: NamespacedName) -> Bool {
        guard let wish = workload(pod)?.sidecar, !wish.isExcluded else { return false }
        return wish.isWanted ?? !security.uninjected.contains(pod.namespace)
    }

    /// Whether connections to that port of an endpoint are to be mutual TLS: it has a sidecar, which takes it.
    func speaksMutualTLS(_ endpoint: MeshEndpoint, port: Int, service: MeshService) -> Bool {
        guard config.security.usesAutomaticTLS, !service.isExternal else { return false }
        guard let pod = endpoint.pod else {
            // What is no pod says it by a label.
            return endpoint.labels[SidecarWish.modeLabel] == "istio"
        }
        let mode = peerModes(namespace: pod.namespace, labels: endpoint.labels).mode(port: port)
        // gRPC cannot take both: it speaks mutual TLS where nothing else is allowed.
        if workload(pod)?.sidecar.isProxyless == true { return mode == .strict }
        return hasSidecar(pod) && mode != .disable
    }

    /// The identities that may answer for a service: those of its endpoints, and those that it lists itself.
    func identities(of service: MeshService) -> [String] {
        var found = Set(service.subjectAltNames)
        for endpoint in endpoints(of: service) where endpoint.pod != nil || !endpoint.serviceAccount.isEmpty {
            found.insert(
                config.security.identity(
                    namespace: endpoint.pod?.namespace ?? service.key.namespace,
                    serviceAccount: endpoint.serviceAccount.isEmpty ? "default" : endpoint.serviceAccount))
        }
        return found.sorted()
    }
}
