import KubernetesAPI
import Serialization

/// What a Telemetry says that cannot mean anything, or does not take effect.
struct TelemetryAnalysis {
    let model: MeshModel
    let key: NamespacedName
    let telemetry: IstioTelemetry

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if telemetry.hasTargets { found.append(warn("spec.targetRefs", "has no effect: use selector")) }
        if let winner = rival() {
            found.append(
                warn("spec.selector", "the older Telemetry \(winner) is for the same workloads; this one has no effect")
            )
        }
        for (index, entry) in telemetry.accessLogging.enumerated() {
            let field = "spec.accessLogging[\(index)]"
            found += providers("\(field).providers", entry.providers, "access logs", AccessLogs.isLog)
            guard let text = entry.filter else { continue }
            do throws(LogExpression.Refusal) {
                _ = try LogExpression.filter(text)
            } catch {
                found.append(refuse("\(field).filter.expression", error.description))
            }
        }
        for (index, entry) in telemetry.tracing.enumerated() {
            let field = "spec.tracing[\(index)]"
            found += providers("\(field).providers", entry.providers, "traces", Traces.isTracer)
            if entry.providers.count > 1 {
                found.append(warn("\(field).providers", "traces go to the first one only"))
            }
            if let sampling = entry.sampling, !(0...100).contains(sampling) {
                found.append(refuse("\(field).randomSamplingPercentage", "\(sampling) is no percentage"))
            }
            for (name, tag) in entry.customTags.sorted(by: { $0.key < $1.key }) where Traces.tag(name, tag) == nil {
                found.append(
                    refuse("\(field).customTags[\(name)]", "one of literal, environment and header is required"))
            }
            for member in ["useRequestIdForTraceSampling", "enableIstioTags"] where entry.json[member] != nil {
                found.append(warn("\(field).\(member)", "has no effect: proxies decide as Envoy does by default"))
            }
        }
        for (index, entry) in telemetry.metrics.enumerated() {
            let field = "spec.metrics[\(index)]"
            if !(entry["overrides"]?.array ?? []).isEmpty {
                found.append(warn("\(field).overrides", "has no effect: metrics and their labels are fixed"))
            }
            if entry["reportingInterval"] != nil {
                found.append(warn("\(field).reportingInterval", "has no effect: metrics are asked for"))
            }
            for provider in entry["providers"]?.array ?? [] where provider["name"]?.string != "prometheus" {
                found.append(
                    warn("\(field).providers", "metrics go to prometheus, not to \(provider["name"]?.string ?? "")"))
            }
        }
        return found
    }

    private func rival() -> NamespacedName? {
        let first = model.objects.inOrder(.telemetry).first { object in
            let other = IstioTelemetry(json: object.json)
            return object.namespace == key.namespace && other.selector == telemetry.selector && !other.hasTargets
        }
        guard let first, first.name != key.name, !telemetry.hasTargets else { return nil }
        return NamespacedName(namespace: first.namespace, name: first.name)
    }

    private func providers(
        _ field: String, _ names: [String], _ what: String, _ fits: (ExtensionProvider) -> Bool
    ) -> [Diagnostic] {
        names.enumerated().compactMap { index, name in
            guard let provider = ProxyTelemetry.provider(name, model.config) else {
                return warn("\(field)[\(index)].name", "no extension provider \"\(name)\" in the mesh configuration")
            }
            guard fits(provider) else {
                return warn("\(field)[\(index)].name", "\"\(name)\" takes no \(what)")
            }
            guard provider.kind != .fileAccessLog, model.service(host: provider.service) == nil else { return nil }
            return warn("\(field)[\(index)].name", "there is no service \"\(provider.service)\" for \"\(name)\"")
        }
    }

    private func warn(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .warning, kind: "Telemetry", object: key, field: field, message: message)
    }

    private func refuse(_ field: String, _ message: String) -> Diagnostic {
        Diagnostic(severity: .error, kind: "Telemetry", object: key, field: field, message: message)
    }
}
