public import KubernetesAPI
import Serialization
import Store

// What a namespace allows: ranges, quotas, and the priorities of its pods.
extension ObjectRegistry {
    /// The annotation in which it stands what a range has filled in.
    private static let rangerAnnotation = "kubernetes.io/limit-ranger"

    private func all(_ kind: ResourceKind, _ namespace: String) -> [JSON] {
        store.list(kind.storeResource, namespace: kind.isNamespaced ? namespace : nil).map(\.object)
    }

    /// Fills in what ranges and priority classes say of a new object, before it is validated.
    func fill(_ object: inout JSON, _ kind: ResourceKind, _ namespace: String) throws(StatusError) {
        guard kind == .pod else {
            if kind == .priorityClass { try checkDefaultPriority(object, name: "") }
            return
        }
        var told: [String] = []
        for range in all(.limitRange, namespace) {
            told += LimitRangeSpec(json: range["spec"] ?? .null).fill(&object)
        }
        if !told.isEmpty {
            var metadata = object["metadata"] ?? .object([:])
            var annotations = metadata["annotations"] ?? .object([:])
            annotations[Self.rangerAnnotation] = .string("LimitRanger plugin set: " + told.joined(separator: "; "))
            metadata["annotations"] = annotations
            object["metadata"] = metadata
        }
        try prioritize(&object)
    }

    /// Resolves the priority of a new pod.
    private func prioritize(_ object: inout JSON) throws(StatusError) {
        let podName = object["metadata"]?["name"]?.string ?? ""
        var spec = object["spec"] ?? .object([:])
        var (priority, policy) = (0, "PreemptLowerPriority")
        let name = spec["priorityClassName"]?.string ?? ""
        if name.isEmpty {
            let usual = all(.priorityClass, "").filter { $0["globalDefault"] == true }
                .min { ($0["value"]?.int ?? 0) < ($1["value"]?.int ?? 0) }
            if let usual {
                spec["priorityClassName"] = usual["metadata"]?["name"]
                priority = usual["value"]?.int ?? 0
                policy = usual["preemptionPolicy"]?.string ?? policy
            }
        } else {
            guard let found = store.get(key(.priorityClass, "", name))?.object else {
                throw .forbidden(.pod, podName, "no PriorityClass with name \(name) was found")
            }
            priority = found["value"]?.int ?? 0
            policy = found["preemptionPolicy"]?.string ?? policy
        }
        if let told = spec["priority"]?.int, told != priority {
            throw .forbidden(
                .pod, podName,
                "the integer value of priority (\(told)) must not be provided in pod spec; priority admission controller "
                    + "computed \(priority) from the given PriorityClass name")
        }
        if let told = spec["preemptionPolicy"]?.string, told != policy,
            ["Never", "PreemptLowerPriority"].contains(told)
        {
            throw .forbidden(
                .pod, podName,
                "the string value of PreemptionPolicy (\(told)) must not be provided in pod spec; priority admission "
                    + "controller computed \(policy) from the given PriorityClass name")
        }
        spec["priority"] = .integer(Int64(priority))
        // What is none of them, validation refuses.
        if spec["preemptionPolicy"] == nil { spec["preemptionPolicy"] = .string(policy) }
        object["spec"] = spec
    }

    /// Of priority classes one may be the default.
    func checkDefaultPriority(_ object: JSON, name: String) throws(StatusError) {
        guard object["globalDefault"] == true else { return }
        let own = object["metadata"]?["name"]?.string ?? ""
        for other in all(.priorityClass, "") where other["globalDefault"] == true {
            let known = other["metadata"]?["name"]?.string ?? ""
            guard known != own else { continue }
            throw .forbidden(
                .priorityClass, own,
                "PriorityClass \(known) is already marked as default. Only one default can exist")
        }
    }

    /// Refuses what ranges or quotas of its namespace do not allow.
    ///
    /// What is used is counted anew from what is stored: no count can be wrong, and no two writers can share what is left.
    func checkAllowance(
        _ object: JSON, old: JSON?, _ kind: ResourceKind, _ namespace: String
    ) throws(StatusError) {
        guard kind.isNamespaced else { return }
        let name = object["metadata"]?["name"]?.string ?? ""
        if kind == .persistentVolumeClaim || kind == .pod && old == nil {
            let problems = all(.limitRange, namespace).flatMap {
                LimitRangeSpec(json: $0["spec"] ?? .null).problems(object, kind)
            }
            if !problems.isEmpty {
                let text = problems.count == 1 ? problems[0] : "[" + problems.joined(separator: ", ") + "]"
                throw .forbidden(kind, name, text)
            }
        }
        guard old == nil || [.service, .persistentVolumeClaim].contains(kind) else { return }
        for quota in all(.resourceQuota, namespace) {
            let spec = QuotaSpec(json: quota["spec"] ?? .null)
            let quotaName = quota["metadata"]?["name"]?.string ?? ""
            let (hard, wanted) = (spec.hard, spec.use(of: object, kind))
            let before = old.map { spec.use(of: $0, kind) } ?? ResourceUse()
            var more = ResourceUse()
            for (resource, amount) in wanted.amounts where hard.amounts[resource] != nil {
                let known = before.amounts[resource] ?? Quantity(milli: 0)
                if amount > known {
                    more.add(
                        resource, Quantity(milli: amount.milli - known.milli),
                        isBinary: wanted.binary.contains(resource))
                }
            }
            if kind == .pod {
                let missing = spec.missing(of: object)
                guard missing.isEmpty else {
                    throw .forbidden(kind, name, "failed quota: \(quotaName): must specify \(missing)")
                }
            }
            guard !more.amounts.isEmpty else { continue }
            let used = use(spec, namespace, only: kind)
            let exceeded = more.amounts.keys.filter { resource in
                let sum =
                    (used.amounts[resource] ?? Quantity(milli: 0)) + (more.amounts[resource] ?? Quantity(milli: 0))
                return hard.amounts[resource].map { sum > $0 } ?? false
            }
            guard exceeded.isEmpty else {
                throw .forbidden(
                    kind, name,
                    "exceeded quota: \(quotaName), requested: \(more.text(exceeded)), used: \(used.text(exceeded)), "
                        + "limited: \(hard.text(exceeded))")
            }
        }
    }

    private func use(_ spec: QuotaSpec, _ namespace: String, only kind: ResourceKind) -> ResourceUse {
        var sum = ResourceUse()
        for object in all(kind, namespace) { sum.add(spec.use(of: object, kind)) }
        return sum
    }

    /// What is used of what a quota bounds: the status that it should have.
    public func quotaStatus(_ quota: KubernetesObject) -> (hard: [String: String], used: [String: String]) {
        let spec = QuotaSpec(json: quota.spec)
        let hard = spec.hard
        var sum = ResourceUse()
        let counted = Set(hard.amounts.keys.compactMap { $0.hasPrefix("count/") ? String($0.dropFirst(6)) : nil })
        for kind in kinds.all where kind.isNamespaced && kind.viewOf == nil && !kind.isMeasured && !kind.isReview {
            let always: [ResourceKind] = [.pod, .service, .persistentVolumeClaim, .configMap, .secret, .resourceQuota]
            guard always.contains(kind) || counted.contains(kind.qualifiedPlural) else { continue }
            sum.add(use(spec, quota.namespace, only: kind))
        }
        var used: [String: String] = [:]
        for name in hard.amounts.keys { used[name] = sum.text(name) ?? "0" }
        let told = quota.spec["hard"]?.object ?? [:]
        return (told.mapValues { $0.string ?? $0.text }, used)
    }
}
