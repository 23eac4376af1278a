import KubernetesAPI
import Serialization

/// What is only noteworthy of objects that are all there: at admission, where one comes after another, it would be noise.
struct WholeAnalysis {
    let tables: AnalysisTables
    private let workloads: WorkloadTables
    private let gatewayAPI: GatewayAPIAnalysis
    private let gateways: GatewayTables
    private let telemetries: TelemetryReach

    init(_ tables: AnalysisTables, _ objects: [KubernetesObject]) {
        self.tables = tables
        workloads = WorkloadTables(tables, objects)
        gatewayAPI = GatewayAPIAnalysis(tables)
        gateways = GatewayTables(tables)
        telemetries = TelemetryReach(tables)
    }

    func diagnostics(_ object: KubernetesObject) -> [Diagnostic] {
        let key = NamespacedName(namespace: object.namespace, name: object.name)
        return PodTemplateAnalysis(key: key, object: object).diagnostics() + reach(key, object)
            + StatusAnalysis(key: key, object: object).diagnostics()
    }

    private func reach(_ key: NamespacedName, _ object: KubernetesObject) -> [Diagnostic] {
        switch (object.group, object.kind) {
        case ("", "Service"):
            return ServiceReach(tables: tables, workloads: workloads, key: key, service: Service(json: object.json))
                .diagnostics()
        case ("apps", "Deployment"): return workloads.diagnostics(key)
        case ("", "Namespace"): return NamespaceAnalysis(key: key, object: object).diagnostics()
        default: break
        }
        switch MeshObjects.kind(of: object) {
        case .virtualService: return RuleReach(tables: tables, rule: tables.rule(object)).diagnostics()
        case .destinationRule: return PolicyReach(tables: tables, policy: MeshModel.Policy(object)).diagnostics()
        case .gateway:
            return GatewayReach(tables: tables, key: key, object: object).diagnostics() + gateways.diagnostics(key)
        case .ingress: return workloads.diagnostics(ingress: key)
        case .serviceEntry:
            return EntryReach(tables: tables, key: key, entry: ServiceEntry(json: object.json)).diagnostics()
        case .sidecar: return sidecar(SidecarScope(object))
        case .telemetry:
            let telemetry = IstioTelemetry(json: object.json)
            if telemetry.hasTargets { return [] }
            return selection(.telemetrySelectsNothing, object, telemetry.selector)
                + telemetries.diagnostics(key, telemetry.selector, tables)
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
            let all = tables.sidecarsOfPod[pod.key] ?? []
            guard let other = all.first(where: { $0 != scope.key && !same.contains($0) }) else { continue }
            return [
                Diagnostic(
                    .sidecarTwice, kind: "Sidecar", object: scope.key, field: "spec.workloadSelector",
                    message: all.first == scope.key
                        ? "pod \(pod.key) belongs to Sidecar \(other), too; this one is older and wins (R-11)"
                        : "pod \(pod.key) belongs to Sidecar \(all.first ?? other), too, which is older and wins (R-11)"
                )
            ]
        }
        return []
    }
}
