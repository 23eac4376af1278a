import KubernetesAPI
import Serialization

/// What is only noteworthy of objects that are all there: at admission, where one comes after another, it would be noise.
struct WholeAnalysis {
    let tables: AnalysisTables
    private let workloads: WorkloadTables
    private let gatewayAPI: GatewayAPIAnalysis

    init(_ tables: AnalysisTables, _ objects: [KubernetesObject]) {
        self.tables = tables
        workloads = WorkloadTables(tables, objects)
        gatewayAPI = GatewayAPIAnalysis(tables)
    }

    func diagnostics(_ object: KubernetesObject) -> [Diagnostic] {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        switch (object.group, object.kind) {
        case ("", "Service"):
            return ServiceReach(tables: tables, workloads: workloads, key: key, service: Service(json: object.json))
                .diagnostics()
        case ("apps", "Deployment"): return workloads.diagnostics(key)
        default: break
        }
        switch MeshObjects.kind(of: object) {
        case .virtualService: return RuleReach(tables: tables, rule: tables.rule(object)).diagnostics()
        case .destinationRule: return PolicyReach(tables: tables, policy: MeshModel.Policy(object)).diagnostics()
        case .gateway: return GatewayReach(tables: tables, key: key, object: object).diagnostics()
        case .ingress: return workloads.diagnostics(ingress: key)
        case .serviceEntry:
            return EntryReach(tables: tables, key: key, entry: ServiceEntry(json: object.json)).diagnostics()
        case .sidecar: return sidecar(SidecarScope(object))
        case .telemetry:
            let telemetry = IstioTelemetry(json: object.json)
            return telemetry.hasTargets ? [] : selection(.telemetrySelectsNothing, object, telemetry.selector)
        case .proxyConfig:
            let selector = KubernetesObject(json: object.spec["selector"] ?? .null).map("matchLabels")
            return selection(.proxyConfigSelectsNothing, object, selector)
        case .peerAuthentication, .requestAuthentication, .authorizationPolicy:
            return SecurityReach(tables: tables, key: key, object: object).diagnostics()
        case .some(let kind) where kind.group == GatewayAPI.group: return gatewayAPI.diagnostics(kind, key, object)
        default: return []
        }
    }

    private func selection(
        _ code: DiagnosticCode, _ object: KubernetesObject, _ labels: [String: String]
    ) -> [Diagnostic] {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        let place = key.namespace == Mesh.rootNamespace ? nil : key.namespace
        guard !labels.isEmpty, !tables.hasPod(in: place, with: labels) else { return [] }
        return [
            Diagnostic(
                code, kind: object.kind, object: key, field: "spec.selector", message: "no pod has these labels")
        ]
    }

    /// Other Sidecars for some of the same pods; those with the same selector are told already.
    private func sidecar(_ scope: SidecarScope) -> [Diagnostic] {
        guard !scope.selector.isEmpty else { return [] }
        let same = tables.sidecars[AnalysisTables.Scope(namespace: scope.key.namespace, labels: scope.selector)] ?? []
        for pod in tables.pods(in: scope.key.namespace, with: scope.selector) {
            guard let older = tables.sidecarOfPod[pod.key], !same.contains(older) else { continue }
            return [
                Diagnostic(
                    .sidecarTwice, kind: "Sidecar", object: scope.key, field: "spec.workloadSelector",
                    message: "pod \(pod.key) belongs to the older Sidecar \(older), too, which wins (R-11)")
            ]
        }
        return []
    }
}
