public import KubernetesAPI

/// Something about an object that its author should know.
public struct Diagnostic: Sendable, Hashable, CustomStringConvertible {
    /// How bad it is.
    public enum Severity: String, Sendable, Hashable {
        /// The object is accepted, but does not do what it says.
        case warning
        /// The object cannot mean anything; admission refuses it.
        case error
    }

    /// How bad it is.
    public var severity: Severity
    /// The kind of the object.
    public var kind: String
    /// Namespace and name of the object.
    public var object: NamespacedName
    /// The path of the field.
    public var field: String
    /// What is wrong, and what to do.
    public var message: String

    /// `VirtualService default/x: spec.http[0]…: no service "foo.default.svc.cluster.local"`.
    public var description: String { "\(kind) \(object): \(field): \(message)" }
}

extension MeshModel {
    /// Everything that is noteworthy about one object, seen together with all the others: for warnings at admission,
    /// ask a model that has the object already.
    public func analyze(_ object: KubernetesObject) -> [Diagnostic] {
        guard let kind = MeshObjects.kind(of: object) else { return [] }
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        switch kind {
        case .virtualService: return RuleAnalysis(model: self, rule: Rule(object)).diagnostics()
        case .destinationRule: return PolicyAnalysis(model: self, policy: Policy(object)).diagnostics()
        case .gateway:
            return EntranceAnalysis(model: self, key: key, gateway: IstioGateway(json: object.json)).diagnostics()
        case .ingress: return IngressAnalysis(model: self, key: key, object: object).diagnostics()
        case .service: return ServiceAnalysis(key: key, service: Service(json: object.json)).diagnostics()
        case .serviceEntry:
            return ServiceEntryAnalysis(model: self, key: key, entry: ServiceEntry(json: object.json)).diagnostics()
        case .workloadEntry, .workloadGroup: return WorkloadAnalysis(model: self, object: object).diagnostics()
        case .configMap:
            return config.problem.map {
                [Diagnostic(severity: .warning, kind: "ConfigMap", object: key, field: "data.mesh", message: $0)]
            } ?? []
        default: return []
        }
    }

    /// The diagnostics of all objects, in the order of the kinds.
    public func analyzeAll() -> [Diagnostic] {
        MeshObjects.Kind.allCases.flatMap { objects.inOrder($0).flatMap(analyze) }
    }
}
