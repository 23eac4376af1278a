public import KubernetesAPI

/// Something about an object that its author should know.
public struct Diagnostic: Sendable, Hashable, CustomStringConvertible {
    /// How bad it is.
    public enum Severity: String, Sendable, Hashable, CaseIterable, Comparable {
        /// Worth a look; often as it is meant to be, and so never said at admission.
        case info
        /// The object is accepted, but does not do what it says.
        case warning
        /// The object cannot mean anything: admission refuses it, or the status says that it is not accepted.
        case error

        private var rank: Int {
            switch self {
            case .info: 0
            case .warning: 1
            case .error: 2
            }
        }

        /// By how bad it is.
        public static func < (left: Severity, right: Severity) -> Bool { left.rank < right.rank }
    }

    /// What kind of finding it is.
    public var code: DiagnosticCode
    /// The kind of the object.
    public var kind: String
    /// Namespace and name of the object.
    public var object: NamespacedName
    /// The path of the field.
    public var field: String
    /// What is wrong, and what to do.
    public var message: String

    /// How bad it is: as its code says.
    public var severity: Severity { code.severity }

    init(_ code: DiagnosticCode, kind: String, object: NamespacedName, field: String, message: String) {
        self.code = code
        self.kind = kind
        self.object = object
        self.field = field
        self.message = message
    }

    /// `VirtualService default/x: spec.http[0]…: no service "foo.default.svc.cluster.local" [SKN0301]`.
    public var description: String { "\(kind) \(object): \(field): \(message) [\(code.id)]" }
}

extension MeshModel {
    /// Everything that is noteworthy about one object, seen together with all the others: for warnings at admission,
    /// ask a model that has the object already.
    public func analyze(_ object: KubernetesObject) -> [Diagnostic] {
        var work = 0
        return analyze(object, work: &work)
    }

    /// The same; adds to `work` how many other things were looked at for it.
    public func analyze(_ object: KubernetesObject, work: inout Int) -> [Diagnostic] {
        let tables = AnalysisTables(self)
        defer { work += tables.work }
        return analyze(object, tables)
    }

    /// The same, with look-ups that the analyses of several objects share.
    func analyze(_ object: KubernetesObject, _ tables: AnalysisTables) -> [Diagnostic] {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        let annotations = AnnotationAnalysis(key: key, object: object).diagnostics()
        guard let kind = MeshObjects.kind(of: object) else { return annotations }
        return annotations + analyze(object, kind, key, tables)
    }

    private func analyze(
        _ object: KubernetesObject, _ kind: MeshObjects.Kind, _ key: NamespacedName, _ tables: AnalysisTables
    ) -> [Diagnostic] {
        switch kind {
        case .virtualService: return RuleAnalysis(tables: tables, rule: tables.rule(object)).diagnostics()
        case .destinationRule: return PolicyAnalysis(model: self, policy: Policy(object)).diagnostics()
        case .gateway:
            return EntranceAnalysis(tables: tables, key: key, gateway: IstioGateway(json: object.json)).diagnostics()
        case .telemetry:
            return TelemetryAnalysis(tables: tables, key: key, telemetry: IstioTelemetry(json: object.json))
                .diagnostics()
        case .proxyConfig: return ProxyConfigAnalysis(model: self, key: key, object: object).diagnostics()
        case .envoyFilter: return EnvoyFilterAnalysis(tables: tables, key: key, object: object).diagnostics()
        case .ingress: return IngressAnalysis(tables: tables, key: key, object: object).diagnostics()
        case .service: return ServiceAnalysis(key: key, service: Service(json: object.json)).diagnostics()
        case .peerAuthentication, .requestAuthentication, .authorizationPolicy:
            return SecurityAnalysis(tables: tables, kind: kind, object: object).diagnostics()
        case .serviceEntry:
            return ServiceEntryAnalysis(tables: tables, key: key, entry: ServiceEntry(json: object.json)).diagnostics()
        case .sidecar: return SidecarAnalysis(tables: tables, object: object).diagnostics()
        case .workloadEntry, .workloadGroup: return WorkloadAnalysis(tables: tables, object: object).diagnostics()
        case .configMap:
            // The mesh configuration is one object; other ConfigMaps have nothing to do with its problems.
            guard key == NamespacedName(namespace: Mesh.rootNamespace, name: "istio") else { return [] }
            return config.problems.map {
                Diagnostic(
                    .meshConfigFieldWithoutEffect, kind: "ConfigMap", object: key,
                    field: $0.field.isEmpty ? "data.mesh" : "data.mesh: \($0.field)", message: $0.message)
            }
        default: return []
        }
    }

    /// The diagnostics of all objects, in the order of the kinds.
    public func analyzeAll() -> [Diagnostic] {
        let tables = AnalysisTables(self)
        return MeshObjects.Kind.allCases.flatMap { objects.inOrder($0).flatMap { analyze($0, tables) } }
    }
}
