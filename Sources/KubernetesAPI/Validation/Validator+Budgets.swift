import Serialization

// The rules of CronJobs, disruption budgets, priorities, quotas and ranges.
// Source: Kubernetes' API reference: batch/v1, policy/v1, scheduling.k8s.io/v1, v1.
extension Validator {
    /// The largest priority that is not the system's.
    static let priorityMax = 1_000_000_000

    mutating func cronJob(_ object: KubernetesObject) {
        let spec = object.spec
        // A Job's name is this one, a dash and ten digits.
        if object.name.utf8.count > 52 {
            add(.invalid("metadata.name", text: object.name, "must be no more than 52 characters"))
        }
        if let text = spec["schedule"]?.string, !text.isEmpty {
            if text.contains("TZ") {
                add(
                    .invalid(
                        "spec.schedule", text: text,
                        "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
            } else {
                do throws(CronSchedule.Problem) { _ = try CronSchedule(text) } catch {
                    add(.invalid("spec.schedule", text: text, error.message))
                }
            }
        }
        if let zone = spec["timeZone"]?.string {
            if zone.isEmpty {
                add(.invalid("spec.timeZone", text: zone, "timeZone must be nil or non-empty string"))
            } else if zone.lowercased() == "local" {
                add(
                    .invalid(
                        "spec.timeZone", text: zone,
                        "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
            } else if !TimeZoneRules.isName(zone) {
                add(.invalid("spec.timeZone", text: zone, "unknown time zone \(zone)"))
            }
        }
        counts(spec, ["startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"], "spec")
        guard let template = spec["jobTemplate"], let job = template["spec"] else {
            if spec["jobTemplate"] != nil { add(.required("spec.jobTemplate.spec")) }
            return
        }
        let here = "spec.jobTemplate.spec"
        labels("spec.jobTemplate.metadata.labels", ObjectMeta(json: template["metadata"] ?? .null).labels)
        counts(
            job, ["parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"],
            here)
        if job["manualSelector"] == true {
            add(.notSupported("\(here).manualSelector", "true", ["nil", "false"]))
        }
        guard let pod = job["template"] else { return }
        labels("\(here).template.metadata.labels", ObjectMeta(json: pod["metadata"] ?? .null).labels)
        let podSpec = PodSpec(json: pod["spec"] ?? .null)
        self.podSpec(podSpec, "\(here).template.spec")
        if podSpec.json["restartPolicy"] == nil {
            add(.required("\(here).template.spec.restartPolicy", "valid values: \"OnFailure\", \"Never\""))
        } else if !["Never", "OnFailure"].contains(podSpec.restartPolicy) {
            add(
                .notSupported(
                    "\(here).template.spec.restartPolicy", podSpec.restartPolicy, ["OnFailure", "Never"]))
        }
    }

    mutating func disruptionBudget(_ spec: JSON) {
        if spec["minAvailable"] != nil, spec["maxUnavailable"] != nil {
            add(
                .invalid(
                    "spec", Validator.short(spec), "minAvailable and maxUnavailable cannot be both set"))
        }
        for name in ["minAvailable", "maxUnavailable"] {
            guard let value = IntOrString(json: spec[name]) else { continue }
            switch value {
            case .int(let number):
                if number < 0 {
                    add(.invalid("spec.\(name)", String(number), "must be greater than or equal to 0"))
                }
            case .string(let text):
                guard let percent = value.scaled(of: 100, roundUp: true), text.hasSuffix("%") else {
                    add(
                        .invalid(
                            "spec.\(name)", text: text,
                            "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
                        ))
                    continue
                }
                if percent > 100 {
                    add(.invalid("spec.\(name)", text: text, "must not be greater than 100%"))
                }
            }
        }
        labelSelector(spec["selector"], "spec.selector")
    }

    mutating func priorityClass(_ object: KubernetesObject) {
        let value = object.json["value"]?.int ?? 0
        let system = ["system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000]
        if object.name.hasPrefix("system-") {
            guard system[object.name] == value else {
                add(
                    .forbidden(
                        "metadata.name",
                        "priority class names with 'system-' prefix are reserved for system use only. error: "
                            + (system[object.name].map { "value of \(object.name) PriorityClass must be \($0)" }
                                ?? "\(object.name) is not a known system priority class")))
                return
            }
        } else if value > Self.priorityMax {
            add(
                .forbidden(
                    "value", "maximum allowed value of a user defined priority is \(Self.priorityMax)"))
        }
    }

    mutating func resourceQuota(_ spec: JSON) {
        for (name, value) in (spec["hard"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            check("spec.hard[\(name)]", name, Names.qualifiedNameProblem)
            amount(value, "spec.hard[\(name)]")
        }
        let known = [
            "BestEffort", "CrossNamespacePodAffinity", "NotBestEffort", "NotTerminating", "PriorityClass",
            "Terminating",
        ]
        var scopes: Set<String> = []
        for (index, scope) in (spec["scopes"]?.array ?? []).compactMap(\.string).enumerated() {
            if !known.contains(scope) {
                add(.invalid("spec.scopes[\(index)]", text: scope, "unsupported scope"))
            }
            if scope == "CrossNamespacePodAffinity" {
                add(.forbidden("spec.scopes[\(index)]", "this server does not count affinity over namespaces"))
            }
            scopes.insert(scope)
        }
        for pair in [["BestEffort", "NotBestEffort"], ["Terminating", "NotTerminating"]]
        where scopes.isSuperset(of: pair) {
            add(.invalid("spec.scopes", Validator.short(spec["scopes"] ?? .null), "conflicting scopes"))
        }
    }

    mutating func limitRange(_ spec: JSON) {
        var types: Set<String> = []
        for (index, item) in (spec["limits"]?.array ?? []).enumerated() {
            let here = "spec.limits[\(index)]"
            let type = item["type"]?.string ?? ""
            if !type.contains("/"), !["Container", "Pod", "PersistentVolumeClaim"].contains(type), !type.isEmpty {
                add(
                    .invalid(
                        "\(here).type", text: type, "must be a standard limit type or fully qualified"))
            }
            if !types.insert(type).inserted { add(.duplicate("\(here).type", "\"\(type)\"")) }
            if type == "Pod" {
                for name in ["default", "defaultRequest"] where item[name]?.object?.isEmpty == false {
                    add(.forbidden("\(here).\(name)", "may not be specified when `type` is 'Pod'"))
                }
            }
            if type == "PersistentVolumeClaim", item["min"]?["storage"] == nil, item["max"]?["storage"] == nil {
                add(
                    .required(
                        "\(here).limits",
                        "either minimum or maximum storage value is required, but neither was provided"))
            }
            range(item, here)
        }
    }

    /// What one range says of each resource must fit together.
    private mutating func range(_ item: JSON, _ path: String) {
        func amounts(_ name: String) -> [String: Quantity] {
            (item[name]?.object ?? [:]).compactMapValues {
                $0.string.flatMap { Quantity($0) } ?? $0.int.flatMap { Quantity("\($0)") }
            }
        }
        func text(_ name: String, _ resource: String) -> String {
            item[name]?[resource].map { $0.string ?? $0.text } ?? ""
        }
        let (least, most) = (amounts("min"), amounts("max"))
        let (usual, asked) = (amounts("default"), amounts("defaultRequest"))
        let ratios = amounts("maxLimitRequestRatio")
        for resource in Set([least, most, usual, asked, ratios].flatMap(\.keys)).sorted() {
            let (low, high) = (least[resource], most[resource])
            if let low, let high, low > high {
                add(
                    .invalid(
                        "\(path).min[\(resource)]", text: text("min", resource),
                        "min value \(text("min", resource)) is greater than max value \(text("max", resource))"))
            }
            for (name, value) in [("defaultRequest", asked[resource]), ("default", usual[resource])] {
                guard let value else { continue }
                let shown = text(name, resource)
                let words = name == "default" ? "default" : "default request"
                if let low, value < low {
                    add(
                        .invalid(
                            "\(path).\(name)[\(resource)]", text: shown,
                            "min value \(text("min", resource)) is greater than \(words) value \(shown)"))
                }
                if let high, value > high {
                    add(
                        .invalid(
                            "\(path).\(name)[\(resource)]", text: shown,
                            "\(words) value \(shown) is greater than max value \(text("max", resource))"))
                }
            }
            if let asked = asked[resource], let usual = usual[resource], asked > usual {
                let shown = text("defaultRequest", resource)
                add(
                    .invalid(
                        "\(path).defaultRequest[\(resource)]", text: shown,
                        "default request value \(shown) is greater than default limit value \(text("default", resource))"
                    ))
            }
            if let ratio = ratios[resource], ratio.milli < 1000 {
                let shown = text("maxLimitRequestRatio", resource)
                add(
                    .invalid(
                        "\(path).maxLimitRequestRatio[\(resource)]", text: shown,
                        "ratio \(shown) is less than 1"))
            }
        }
    }

    private mutating func amount(_ value: JSON, _ path: String) {
        let text = value.string ?? value.text
        if let quantity = Quantity(text), quantity.milli < 0 {
            add(.invalid(path, text: text, "must be greater than or equal to 0"))
        }
    }
}
