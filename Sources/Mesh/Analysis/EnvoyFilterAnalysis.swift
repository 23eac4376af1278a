import KubernetesAPI
import Serialization

/// What an EnvoyFilter says that cannot be applied, or does nothing.
struct EnvoyFilterAnalysis {
    let model: MeshModel
    let key: NamespacedName
    let object: KubernetesObject

    /// How many of the selected proxies are tried.
    static let proxiesMax = 8

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if object.spec["targetRefs"] != nil {
            found.append(diagnostic(.warning, "spec.targetRefs", "has no effect: use workloadSelector"))
        }
        var places: Set<Provenance> = []
        for (json, place) in EnvoyPatches.entries(object) {
            do throws(EnvoyPatch.Refusal) {
                _ = try EnvoyPatch(json, place: place)
                places.insert(place)
            } catch {
                found.append(
                    diagnostic(error.isError ? .error : .warning, "\(place.field).\(error.field)", error.message))
            }
        }
        return found + (object.spec["targetRefs"] == nil ? trials(places) : [])
    }

    private func diagnostic(_ severity: Diagnostic.Severity, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: severity, kind: "EnvoyFilter", object: key, field: field, message: message)
    }

    /// Applies the patches to some of the proxies that they are for.
    private func trials(_ places: Set<Provenance>) -> [Diagnostic] {
        let labels = EnvoyPatches.labels(object)
        let pods = model.workloads.filter { pod, workload in
            (key.namespace == Mesh.rootNamespace || pod.namespace == key.namespace)
                && labels.allSatisfy { workload.labels[$0.key] == $0.value }
        }.sorted { $0.key < $1.key }
        guard !pods.isEmpty else {
            return labels.isEmpty
                ? [] : [diagnostic(.warning, "spec.workloadSelector", "no pod has these labels")]
        }
        var found: [Diagnostic] = []
        var applied: Set<Provenance> = []
        let gateways = pods.filter { isGateway($0.value) }
        let tried =
            Array(gateways.prefix(Self.proxiesMax)) + pods.filter { !isGateway($0.value) }.prefix(Self.proxiesMax)
        var translator = MeshTranslator(model, isPatching: false)
        for (pod, workload) in tried {
            let role: ProxyIdentity.Role = isGateway(workload) ? .gateway : .sidecar
            var resources = translator.snapshot(for: ProxyIdentity(pod: pod, role: role)).resources
            let patches = EnvoyPatches(model: model, namespace: pod.namespace, labels: workload.labels)
            var run = PatchRun(patches, role: role, model: model)
            run.apply(to: &resources)
            applied.formUnion(run.applied)
            for problem in run.problems where problem.place.object == key {
                let new = diagnostic(.warning, problem.place.field, "is left out: \(problem.message)")
                if !found.contains(new) { found.append(new) }
            }
        }
        let failed = Set(found.map(\.field))
        for place in places.subtracting(applied).sorted(by: { $0.field < $1.field }) where !failed.contains(place.field)
        {
            found.append(diagnostic(.warning, "\(place.field).match", "matches nothing in the proxies that it is for"))
        }
        return found
    }

    private func isGateway(_ workload: MeshModel.Workload) -> Bool {
        model.entrances.contains { entrance in
            !entrance.gateway.selector.isEmpty
                && entrance.gateway.selector.allSatisfy { workload.labels[$0.key] == $0.value }
        } || Mesh.ingressGatewayLabels.allSatisfy { workload.labels[$0.key] == $0.value }
    }
}
