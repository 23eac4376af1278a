import Serialization

// The rules of what runs pods and of what scales it.
// Source: Kubernetes' API reference, apps/v1, batch/v1 and autoscaling/v2.
extension Validator {
    /// Numbers that must not be negative.
    mutating func counts(_ spec: JSON, _ names: [String], _ path: String) {
        for name in names {
            guard let value = spec[name]?.int, value < 0 else { continue }
            add(.invalid("\(path).\(name)", String(value), "must be greater than or equal to 0"))
        }
    }

    /// `maxUnavailable` and `maxSurge`: counts or percentages, and not both nothing.
    mutating func rollout(_ update: JSON?, _ path: String) {
        guard let update else { return }
        var isNothing = true
        for name in ["maxUnavailable", "maxSurge"] {
            guard let value = IntOrString(json: update[name]) else { continue }
            switch value {
            case .int(let number):
                if number < 0 {
                    add(.invalid("\(path).\(name)", String(number), "must be greater than or equal to 0"))
                }
                if number != 0 { isNothing = false }
            case .string(let text):
                guard let percent = value.scaled(of: 100, roundUp: true) else {
                    add(
                        .invalid(
                            "\(path).\(name)", text: text,
                            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
                        ))
                    isNothing = false
                    continue
                }
                if name == "maxUnavailable", percent > 100 {
                    add(.invalid("\(path).\(name)", text: text, "must not be greater than 100%"))
                }
                if percent != 0 { isNothing = false }
            }
        }
        if isNothing, update["maxUnavailable"] != nil {
            add(
                .invalid(
                    "\(path).maxUnavailable",
                    update["maxUnavailable"].map { $0.string.map { "\"\($0)\"" } ?? $0.text } ?? "0",
                    "may not be 0 when `maxSurge` is 0"))
        }
    }

    mutating func statefulSet(_ spec: JSON) {
        counts(spec["updateStrategy"]?["rollingUpdate"] ?? .null, ["partition"], "spec.updateStrategy.rollingUpdate")
        counts(spec["ordinals"] ?? .null, ["start"], "spec.ordinals")
        if spec["updateStrategy"]?["type"] == "OnDelete", spec["updateStrategy"]?["rollingUpdate"] != nil {
            add(
                .invalid(
                    "spec.updateStrategy.rollingUpdate",
                    Validator.short(spec["updateStrategy"]?["rollingUpdate"] ?? .null),
                    "only allowed for updateStrategy 'RollingUpdate'"))
        }
        if let unavailable = IntOrString(json: spec["updateStrategy"]?["rollingUpdate"]?["maxUnavailable"]) {
            rollout(["maxUnavailable": unavailable.json], "spec.updateStrategy.rollingUpdate")
        }
        claimTemplates(spec)
    }

    mutating func job(_ object: KubernetesObject) {
        let spec = object.spec
        counts(
            spec,
            ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"], "spec")
        if spec["completionMode"] == "Indexed" {
            guard let completions = spec["completions"]?.int else {
                add(.required("spec.completions", "when completion mode is Indexed"))
                return
            }
            let parallelism = spec["parallelism"]?.int ?? 0
            if parallelism > 100_000 {
                add(
                    .invalid(
                        "spec.parallelism", String(parallelism),
                        "must be less than or equal to 100000 when completion mode is Indexed"))
            }
            if completions > 100_000 {
                add(
                    .invalid(
                        "spec.completions", String(completions),
                        "must be less than or equal to 100000 when completion mode is Indexed"))
            }
        }
        // Refused rather than ignored: a Job that goes on where its policy says stop is worse than none.
        for (name, what) in [
            ("podFailurePolicy", "pod failure policies"), ("successPolicy", "success policies"),
            ("backoffLimitPerIndex", "back-off limits per index"), ("maxFailedIndexes", "back-off limits per index"),
        ] where spec[name] != nil {
            add(.forbidden("spec.\(name)", "this server has no \(what): use backoffLimit and activeDeadlineSeconds"))
        }
        let template = DeploymentSpec(json: spec).template
        labels("spec.template.metadata.labels", template.metadata.labels)
        let selector = DeploymentSpec(json: spec).selector.matcher
        let identity = ["controller-uid", "batch.kubernetes.io/controller-uid"].map { ($0, object.metadata.uid) }
        if spec["manualSelector"] != true, !selector.matches(Dictionary(uniqueKeysWithValues: identity)) {
            add(.invalid("spec.selector", Validator.short(spec["selector"] ?? .null), "`selector` not auto-generated"))
        }
        if spec["selector"] != nil, !selector.requirements.isEmpty, !selector.matches(template.metadata.labels) {
            add(
                .invalid(
                    "spec.template.metadata.labels", labelText(template.metadata.labels),
                    "`selector` does not match template `labels`"))
        }
        guard spec["template"] != nil else { return }
        if spec["template"]?["spec"] == nil { add(.required("spec.template.spec.containers")) }
        podSpec(template.spec, "spec.template.spec")
        if !["OnFailure", "Never"].contains(template.spec.restartPolicy) {
            add(.required("spec.template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\""))
        }
    }

    mutating func immutableStatefulSet(_ old: JSON, _ new: JSON) {
        let free = [
            "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
            "persistentVolumeClaimRetentionPolicy", "minReadySeconds",
        ]
        let names = Set((old.object ?? [:]).keys).union((new.object ?? [:]).keys).subtracting(free)
        guard names.contains(where: { old[$0] != new[$0] }) else { return }
        add(
            .forbidden(
                "spec",
                "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            ))
    }

    mutating func immutableJob(_ old: JSON, _ new: JSON) {
        // An indexed Job may grow and shrink as long as all its indexes run at once.
        let isElastic = new["completionMode"] == "Indexed" && new["completions"] == new["parallelism"]
        // A suspended Job that never ran may still be given another place to run.
        let isOpen = old["suspend"] == true && new["suspend"] != nil
        for name in ["completions", "selector", "template", "completionMode", "managedBy"] where old[name] != new[name]
        {
            if name == "completions" && isElastic || name == "template" && isOpen { continue }
            add(.invalid("spec.\(name)", Validator.short(new[name] ?? .null), "field is immutable"))
        }
    }

    mutating func autoscaler(_ spec: JSON) {
        let most = spec["maxReplicas"]?.int ?? 0
        let least = spec["minReplicas"]?.int ?? 1
        if least < 1 { add(.invalid("spec.minReplicas", String(least), "must be greater than or equal to 1")) }
        if spec["maxReplicas"] != nil, most < 1 {
            add(.invalid("spec.maxReplicas", String(most), "must be greater than 0"))
        }
        if spec["maxReplicas"] != nil, most < least {
            add(.invalid("spec.maxReplicas", String(most), "must be greater than or equal to `minReplicas`"))
        }
        for (index, metric) in (spec["metrics"]?.array ?? []).enumerated() {
            self.metric(metric, "spec.metrics[\(index)]")
        }
        for (name, limit) in [("scaleUp", 3600), ("scaleDown", 3600)] {
            guard let rules = spec["behavior"]?[name] else { continue }
            let path = "spec.behavior.\(name)"
            if let window = rules["stabilizationWindowSeconds"]?.int, !(0...limit).contains(window) {
                add(
                    .invalid(
                        path + ".stabilizationWindowSeconds", String(window),
                        window < 0 ? "must be greater than or equal to zero" : "must be less than or equal to \(limit)")
                )
            }
            for (index, policy) in (rules["policies"]?.array ?? []).enumerated() {
                let here = "\(path).policies[\(index)]"
                if let value = policy["value"]?.int, value <= 0 {
                    add(.invalid(here + ".value", String(value), "must be greater than zero"))
                }
                if let period = policy["periodSeconds"]?.int, !(1...1800).contains(period) {
                    add(
                        .invalid(
                            here + ".periodSeconds", String(period),
                            period <= 0 ? "must be greater than zero" : "must be less than or equal to 1800"))
                }
            }
        }
    }

    private mutating func metric(_ metric: JSON, _ path: String) {
        let sources = [
            "Object": "object", "Pods": "pods", "Resource": "resource", "ContainerResource": "containerResource",
            "External": "external",
        ]
        guard let type = metric["type"]?.string, let member = sources[type] else { return }
        guard let source = metric[member] else {
            return add(.required("\(path).\(member)", "must populate information for the given metric source"))
        }
        for other in sources.values.sorted() where other != member && metric[other] != nil {
            add(.forbidden("\(path).\(other)", "must populate the given metric source only"))
        }
        if type == "External" {
            return add(
                .forbidden(
                    "\(path).external",
                    "this server has no external metrics: use Resource (cpu, memory), or Pods or Object with the metric requests_per_second"
                ))
        }
        let target = source["target"] ?? .null
        let kind = target["type"]?.string ?? ""
        if let name = source["name"]?.string, type.hasSuffix("Resource"), !["cpu", "memory"].contains(name) {
            add(.notSupported("\(path).\(member).name", name, ["cpu", "memory"]))
        }
        if let name = source["metric"]?["name"]?.string, name != "requests_per_second" {
            add(.notSupported("\(path).\(member).metric.name", name, ["requests_per_second"]))
        }
        if source["metric"]?["selector"] != nil {
            add(.forbidden("\(path).\(member).metric.selector", "the metric requests_per_second has no labels"))
        }
        let allowed: [String] =
            switch type {
            case "Pods": ["AverageValue"]
            case "Object": ["Value", "AverageValue"]
            default: ["Utilization", "AverageValue"]
            }
        let here = "\(path).\(member).target"
        if !kind.isEmpty, !allowed.contains(kind) { add(.notSupported(here + ".type", kind, allowed)) }
        switch kind {
        case "Utilization":
            guard let percent = target["averageUtilization"]?.int else {
                return add(.required(here + ".averageUtilization", "must specify a positive target averageUtilization"))
            }
            if percent < 1 {
                add(.invalid(here + ".averageUtilization", String(percent), "must be greater than 0"))
            }
        case "Value", "AverageValue":
            let field = kind == "Value" ? "value" : "averageValue"
            guard let text = target[field]?.string, let amount = Quantity(text) else {
                return add(.required(here + "." + field, "must specify a positive target \(field)"))
            }
            if amount.milli <= 0 { add(.invalid(here + "." + field, text: text, "must be positive")) }
        default: break
        }
    }
}
