import KubernetesAPI
import Serialization
import Upstream

/// What a Telemetry says that cannot mean anything, or does not take effect.
struct TelemetryAnalysis {
    let tables: AnalysisTables
    let key: NamespacedName
    let telemetry: IstioTelemetry
    private var model: MeshModel { tables.model }

    func diagnostics() -> [Diagnostic] {
        var found: [Diagnostic] = []
        if telemetry.hasTargets {
            found.append(finding(.telemetryFieldWithoutEffect, "spec.targetRefs", "has no effect: use selector"))
        }
        let same = rivals()
        if let winner = same.first, winner != key {
            found.append(
                finding(
                    .telemetryTwice, "spec.selector",
                    "the older Telemetry \(winner) is for the same workloads; this one has no effect"))
        } else if let loser = same.dropFirst().first {
            found.append(
                finding(
                    .telemetryTwice, "spec.selector",
                    "Telemetry \(loser) is for the same workloads; this one is older and wins"))
        }
        for (index, entry) in telemetry.accessLogging.enumerated() {
            let field = "spec.accessLogging[\(index)]"
            found += providers("\(field).providers", entry.providers, "access logs", AccessLogs.isLog)
            guard let text = entry.filter else { continue }
            do throws(ConfigurationError) {
                _ = try LogExpression.filter(text)
            } catch {
                found.append(finding(.invalidTelemetry, "\(field).filter.expression", error.reason))
            }
        }
        for (index, entry) in telemetry.tracing.enumerated() {
            let field = "spec.tracing[\(index)]"
            found += providers("\(field).providers", entry.providers, "traces", Traces.isTracer)
            if entry.providers.count > 1 {
                found.append(
                    finding(.telemetryFieldWithoutEffect, "\(field).providers", "traces go to the first one only"))
            }
            if let sampling = entry.sampling, !(0...100).contains(sampling) {
                found.append(
                    finding(.invalidTelemetry, "\(field).randomSamplingPercentage", "\(sampling) is no percentage"))
            }
            for (name, tag) in entry.customTags.sorted(by: { $0.key < $1.key }) where Traces.tag(name, tag) == nil {
                found.append(
                    finding(
                        .invalidTelemetry, "\(field).customTags[\(name)]",
                        "one of literal, environment, header and formatter is required"))
            }
            for member in ["useRequestIdForTraceSampling", "enableIstioTags", "disableContextPropagation"]
            where entry.json[member] != nil {
                found.append(
                    finding(
                        .telemetryFieldWithoutEffect, "\(field).\(member)",
                        "has no effect: proxies decide as Envoy does by default"))
            }
        }
        for (index, entry) in telemetry.metrics.enumerated() {
            let field = "spec.metrics[\(index)]"
            for (number, override) in (entry["overrides"]?.array ?? []).enumerated() {
                found += MetricOverrides.problems(override).map { problem in
                    finding(
                        .telemetryFieldWithoutEffect, "\(field).overrides[\(number)].\(problem.field)",
                        problem.message)
                }
            }
            if entry["reportingInterval"] != nil {
                found.append(
                    finding(
                        .telemetryFieldWithoutEffect, "\(field).reportingInterval",
                        "has no effect: metrics are asked for"))
            }
            for provider in entry["providers"]?.array ?? [] where provider["name"]?.string != "prometheus" {
                found.append(
                    finding(
                        .telemetryFieldWithoutEffect, "\(field).providers",
                        "metrics go to prometheus, not to \(provider["name"]?.string ?? "")"))
            }
        }
        return found
    }

    /// The Telemetries for the same workloads, oldest first.
    private func rivals() -> [NamespacedName] {
        let scope = AnalysisTables.Scope(namespace: key.namespace, labels: telemetry.selector)
        return telemetry.hasTargets ? [] : tables.telemetries[scope] ?? []
    }

    private func providers(
        _ field: String, _ names: [String], _ what: String, _ fits: (ExtensionProvider) -> Bool
    ) -> [Diagnostic] {
        names.enumerated().compactMap { index, name in
            guard let provider = ProxyTelemetry.provider(name, model.config) else {
                return finding(
                    .unknownTelemetryProvider, "\(field)[\(index)].name",
                    "no extension provider \"\(name)\" in the mesh configuration")
            }
            guard fits(provider) else {
                return finding(.unknownTelemetryProvider, "\(field)[\(index)].name", "\"\(name)\" takes no \(what)")
            }
            guard ![.fileAccessLog, .traceStore].contains(provider.kind), model.service(host: provider.service) == nil
            else { return nil }
            return finding(
                .unknownTelemetryProvider, "\(field)[\(index)].name",
                "there is no service \"\(provider.service)\" for \"\(name)\"")
        }
    }

    private func finding(_ code: DiagnosticCode, _ field: String, _ message: String) -> Diagnostic {
        Diagnostic(code, kind: "Telemetry", object: key, field: field, message: message)
    }
}

/// Which Telemetries with selectors that differ meet in a pod: the oldest counts there.
struct TelemetryReach {
    private var ofPod: [NamespacedName: [NamespacedName]] = [:]
    private var selectors: [NamespacedName: [String: String]] = [:]

    init(_ tables: AnalysisTables) {
        for object in tables.model.objects(.telemetry) {
            let telemetry = IstioTelemetry(json: object.json)
            let key = NamespacedName(namespace: object.namespace, name: object.name)
            if telemetry.hasTargets || telemetry.selector.isEmpty { continue }
            selectors[key] = telemetry.selector
            for pod in tables.pods(in: Self.place(key), with: telemetry.selector) {
                tables.count(1)
                ofPod[pod.key, default: []].append(key)
            }
        }
    }

    /// Those of the root namespace are for the pods of all.
    private static func place(_ key: NamespacedName) -> String? {
        key.namespace == Mesh.rootNamespace ? nil : key.namespace
    }

    /// What meets one of them; the same selector in the same namespace is told elsewhere.
    func diagnostics(_ key: NamespacedName, _ selector: [String: String], _ tables: AnalysisTables) -> [Diagnostic] {
        guard !selector.isEmpty else { return [] }
        for pod in tables.pods(in: Self.place(key), with: selector) {
            let all = ofPod[pod.key] ?? []
            let other = all.first { $0 != key && ($0.namespace != key.namespace || selectors[$0] != selector) }
            guard let other, let winner = all.first else { continue }
            return [
                Diagnostic(
                    .telemetryTwice, kind: "Telemetry", object: key, field: "spec.selector",
                    message: winner == key
                        ? "Telemetry \(other) is for pod \(pod.key), too; this one is older and wins"
                        : "the older Telemetry \(winner) is for pod \(pod.key), too, and wins there")
            ]
        }
        return []
    }
}
