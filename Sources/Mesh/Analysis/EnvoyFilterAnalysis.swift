import KubernetesAPI
import Serialization

/// What an EnvoyFilter says that cannot be applied, or does nothing.
struct EnvoyFilterAnalysis {
    let tables: AnalysisTables
    let key: NamespacedName
    let object: KubernetesObject

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if object.spec["targetRefs"] != nil {
            found.append(finding(.unsupportedPatch, "spec.targetRefs", "has no effect: use workloadSelector"))
        }
        var places: Set<Provenance> = []
        for (json, place) in EnvoyPatches.entries(object) {
            do throws(EnvoyPatch.Refusal) {
                _ = try EnvoyPatch(json, place: place)
                places.insert(place)
            } catch {
                found.append(
                    finding(
                        error.isError ? .invalidPatch : .unsupportedPatch, "\(place.field).\(error.field)",
                        error.message))
            }
        }
        found += unordered()
        return found + (object.spec["targetRefs"] == nil ? trials(places) : [])
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "EnvoyFilter", object: key, field: field, message: message)
    }

    /// What counts on what is there already, without saying whether that is before or after another EnvoyFilter's patches.
    private func unordered() -> [Diagnostic] {
        guard Self.priority(object) == 0 else { return [] }
        let labels = EnvoyPatches.labels(object)
        let others = tables.model.objects(.envoyFilter).filter { other in
            other.namespace == key.namespace && other.name != key.name && Self.priority(other) == 0
                && EnvoyPatches.labels(other).allSatisfy { labels[$0.key] ?? $0.value == $0.value }
        }
        guard !others.isEmpty else { return [] }
        return EnvoyPatches.entries(object).compactMap { json, place in
            guard let operation = json["patch"]?["operation"]?.string, Self.relative.contains(operation),
                let other = others.first(where: { other in
                    EnvoyPatches.entries(other).contains { $0.json["applyTo"] == json["applyTo"] }
                })
            else { return nil }
            return finding(
                .patchOrder, "\(place.field).patch.operation",
                "\(operation) depends on what EnvoyFilter \(other.namespace)/\(other.name) does, which has the same priority: the older one is applied first"
            )
        }
    }

    private static let relative: Set<String> = ["INSERT_BEFORE", "INSERT_AFTER", "REPLACE", "REMOVE"]

    private static func priority(_ object: KubernetesObject) -> Int { object.spec["priority"]?.int ?? 0 }

    /// Applies the patches to one proxy of each kind that they are for.
    private func trials(_ places: Set<Provenance>) -> [Diagnostic] {
        let labels = EnvoyPatches.labels(object)
        let proxies = tables.proxies(in: key.namespace == Mesh.rootNamespace ? nil : key.namespace, with: labels)
        guard !proxies.isEmpty else {
            return labels.isEmpty
                ? [] : [finding(.patchSelectsNothing, "spec.workloadSelector", "no pod has these labels")]
        }
        var found: [Diagnostic] = []
        var applied: Set<Provenance> = []
        var areTried = true
        for proxy in proxies {
            guard let trial = tables.trial(proxy) else {
                areTried = false
                continue
            }
            applied.formUnion(trial.applied)
            for problem in trial.problems[key] ?? [] {
                let new = finding(.patchLeftOut, problem.place.field, "is left out: \(problem.message)")
                if !found.contains(new) { found.append(new) }
            }
        }
        // Of a proxy that was not looked at nobody knows whether it has what the patch wants.
        guard areTried else { return found }
        let failed = Set(found.map(\.field))
        for place in places.subtracting(applied).sorted(by: { $0.field < $1.field }) where !failed.contains(place.field)
        {
            found.append(
                finding(.patchMatchesNothing, "\(place.field).match", "matches nothing in the proxies that it is for"))
        }
        return found
    }
}
