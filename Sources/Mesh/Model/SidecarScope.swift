import EnvoyAPI
import KubernetesAPI

/// What an Istio Sidecar says about the proxies that it is for.
struct SidecarScope: Sendable {
    /// A name pattern of an egress list: `NAMESPACE/HOST`.
    struct Pattern: Sendable, Hashable {
        /// A namespace, or `*` for all.
        var namespace: String
        /// A full host name, `*`, or `*.suffix`.
        var host: String

        /// Reads it; `nil` when it imports nothing: what begins with `~` leaves out.
        init?(_ written: String, owner: String) {
            guard !written.hasPrefix("~") else { return nil }
            self.init(part: written, owner: owner)
        }

        /// Reads what an entry that begins with `~` leaves out: `~NAMESPACE/HOST`, and `~/HOST` of every namespace.
        init?(leavingOut written: String, owner: String) {
            guard written.hasPrefix("~") else { return nil }
            let rest = String(written.dropFirst())
            self.init(part: rest.hasPrefix("/") ? "*" + rest : rest, owner: owner)
        }

        private init?(part: String, owner: String) {
            let parts = part.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 2, let first = parts.first, let name = parts.last else { return nil }
            namespace = first == "." ? owner : first
            host = name.lowercased()
        }

        /// Whether a host of an object in a namespace is meant.
        func covers(_ name: String, in owner: String) -> Bool {
            (namespace == "*" || namespace == owner) && (host == "*" || HostName.covers(host, name))
        }
    }

    /// An entry of `egress`.
    struct Egress: Sendable {
        /// The only port that it is for; `nil` means all for which no other entry is.
        var port: Int?
        /// What is spoken there.
        var portProtocol: PortProtocol
        /// Where connections are taken that nothing captures: an address or `unix://PATH`; `nil` means captured ones.
        var bind: String?
        var patterns: [Pattern]
        /// What is not imported, whatever `patterns` say.
        var leftOut: [Pattern]
        /// Its position in the list.
        var index: Int

        /// Whether a service is imported.
        func imports(_ host: String, in namespace: String) -> Bool {
            patterns.contains { $0.covers(host, in: namespace) } && !leftOut.contains { $0.covers(host, in: namespace) }
        }
    }

    /// An entry of `ingress`.
    struct Ingress: Sendable {
        var port: Int
        var portProtocol: PortProtocol
        /// Where the application listens; `nil` means on the same port of the pod.
        var endpoint: Address?
        var pool: DestinationRule.ConnectionPool?
        /// Where it is written.
        var place: Provenance
    }

    let key: NamespacedName
    let selector: [String: String]
    /// `nil` means everything, as without a Sidecar.
    let egress: [Egress]?
    /// `nil` means as the services of the pod say.
    let ingress: [Ingress]?
    /// `nil` means as the mesh says.
    let outboundPolicy: MeshConfig.OutboundPolicy?
    let inboundPool: DestinationRule.ConnectionPool?

    /// Reads an object.
    init(_ object: KubernetesObject) {
        let sidecar = IstioSidecar(json: object.json)
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        self.key = key
        selector = sidecar.workloadSelector
        outboundPolicy = MeshConfig.OutboundPolicy(rawValue: sidecar.outboundMode)
        inboundPool = sidecar.inboundConnectionPool
        egress = sidecar.egress?.enumerated().map { index, entry in
            let written = entry.port
            let isBound = !entry.bind.isEmpty || entry.captureMode == "NONE"
            return Egress(
                port: written.flatMap { (1...65535).contains($0.number) ? $0.number : nil },
                portProtocol: Self.portProtocol(written), bind: isBound ? Self.bind(entry.bind) : nil,
                patterns: entry.hosts.compactMap { Pattern($0, owner: key.namespace) },
                leftOut: entry.hosts.compactMap { Pattern(leavingOut: $0, owner: key.namespace) }, index: index)
        }
        let entries = sidecar.ingress.enumerated().compactMap { index, entry -> Ingress? in
            guard (1...65535).contains(entry.port.number) else { return nil }
            return Ingress(
                port: entry.port.number, portProtocol: Self.portProtocol(entry.port),
                endpoint: Self.endpoint(entry.defaultEndpoint),
                pool: entry.connectionPool ?? sidecar.inboundConnectionPool,
                place: Provenance(kind: "Sidecar", object: key, field: "spec.ingress[\(index)]"))
        }
        ingress = sidecar.ingress.isEmpty ? nil : entries
    }

    private static func portProtocol(_ port: ServiceEntry.Port?) -> PortProtocol {
        guard let port else { return .sniffed }
        return PortProtocol(transport: "TCP", appProtocol: port.protocol, name: port.name, port: port.number)
    }

    /// Unless it is said, nothing but the pod itself reaches a port that is not captured.
    private static func bind(_ written: String) -> String { written.isEmpty ? "127.0.0.1" : written }

    /// `127.0.0.1:8080`, `[::1]:8080` and `unix:///PATH`; `0.0.0.0:8080` is the pod's own address, where the application
    /// is reached by the loopback address, too.
    static func endpoint(_ written: String) -> Address? {
        if written.hasPrefix("unix://") { return Addresses.of(written, port: 0) }
        guard let colon = written.lastIndex(of: ":"), let port = Int(written[written.index(after: colon)...]),
            (1...65535).contains(port)
        else { return nil }
        let host = written[..<colon].filter { $0 != "[" && $0 != "]" }
        let loopback = ["": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"]
        let address = loopback[host] ?? host
        return Addresses.isAddress(address) ? Addresses.of(address, port: port) : nil
    }

    /// The entry for connections to a port.
    func egress(port: Int) -> Egress? {
        egress?.first { $0.port == port && $0.bind == nil } ?? egress?.first { $0.port == nil && $0.bind == nil }
    }

    /// Whether a proxy is to know a service at all.
    func sees(_ host: String, in namespace: String) -> Bool {
        guard let egress else { return true }
        return egress.contains { $0.imports(host, in: namespace) }
    }

    /// Whether a proxy is to know a rule: one of its hosts is meant.
    func sees(_ rule: MeshModel.Rule) -> Bool {
        guard let egress else { return true }
        return egress.contains { entry in
            entry.patterns.contains { pattern in
                (pattern.namespace == "*" || pattern.namespace == rule.key.namespace)
                    && rule.hosts.contains { HostName.intersection($0, pattern.host) != nil }
            }
        }
    }

    /// Whether a service is reached by captured connections to a port.
    func sees(_ host: String, in namespace: String, port: Int) -> Bool {
        guard egress != nil else { return true }
        return egress(port: port)?.imports(host, in: namespace) ?? false
    }

    /// The Sidecar for a pod: one that selects it, else that of its namespace, else that of the root namespace;
    /// of several at one level the oldest.
    static func choose(_ all: [SidecarScope], namespace: String, labels: [String: String]) -> SidecarScope? {
        all.first {
            $0.key.namespace == namespace && !$0.selector.isEmpty && Labels.match($0.selector, labels)
        } ?? all.first { $0.key.namespace == namespace && $0.selector.isEmpty }
            ?? all.first { $0.key.namespace == Mesh.rootNamespace && $0.selector.isEmpty }
    }
}
