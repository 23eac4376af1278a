public import KubernetesAPI
import Mesh
public import Serialization

/// Decides how many replicas a HorizontalPodAutoscaler's target has, by what its pods use and how many requests they get.
///
/// Source: Kubernetes' documentation, "Horizontal Pod Autoscaling", algorithm details and configurable scaling behavior.
public enum AutoscalerController {
    /// How often an autoscaler looks; Kubernetes does it every 15 s, with figures that are as old.
    public static let interval = Duration.seconds(5)
    /// The ratio of measured to wanted that changes nothing.
    static let tolerance = 0.1
    /// Seconds over which the highest recommendation counts before pods go, unless `behavior` says otherwise.
    static let scaleDownWindow = 300
    /// The metric that sidecars give.
    public static let requestRate = "requests_per_second"

    /// What an autoscaler remembers between two looks; what a restart forgets only makes it more careful.
    public struct Memory: Sendable, Hashable {
        /// A number of replicas that was computed.
        struct Recommendation: Sendable, Hashable {
            var time: Timestamp
            var replicas: Int
        }
        /// A change that was made: so many more or less.
        struct Step: Sendable, Hashable {
            var time: Timestamp
            var change: Int
        }
        var recommendations: [Recommendation] = []
        var steps: [Step] = []

        /// Nothing yet.
        public init() {}
    }

    /// What there is to scale by.
    public struct World {
        /// The object that is scaled; nil: it is not there.
        public var target: KubernetesObject?
        /// Its kind.
        public var targetKind: ResourceKind?
        /// Its pods.
        public var pods: [KubernetesObject]
        /// What pods use, by uid.
        public var usage: (String) -> PodUsage?
        /// The pods of an object that an `Object` metric names; nil when there is no such object.
        public var described: (ScaleTarget) -> [KubernetesObject]?

        /// What there is to scale by.
        public init(
            target: KubernetesObject?, targetKind: ResourceKind?, pods: [KubernetesObject],
            usage: @escaping (String) -> PodUsage?, described: @escaping (ScaleTarget) -> [KubernetesObject]?
        ) {
            self.target = target
            self.targetKind = targetKind
            self.pods = pods
            self.usage = usage
            self.described = described
        }
    }

    /// What to do for an autoscaler; `memory` is carried from look to look.
    public static func decide(
        _ object: KubernetesObject, _ world: World, memory: inout Memory, now: Timestamp
    ) -> Decision {
        guard object.metadata.deletionTimestamp == nil else { return Decision() }
        var look = AutoscalerLook(object, world, memory, now)
        look.act()
        memory = look.memory
        return look.decision
    }
}

/// One look of one autoscaler.
private struct AutoscalerLook {
    let object: KubernetesObject
    let spec: AutoscalerSpec
    let world: AutoscalerController.World
    let now: Timestamp
    var memory: AutoscalerController.Memory
    var decision = Decision()
    private var status: JSON

    init(
        _ object: KubernetesObject, _ world: AutoscalerController.World, _ memory: AutoscalerController.Memory,
        _ now: Timestamp
    ) {
        self.object = object
        self.world = world
        self.memory = memory
        self.now = now
        spec = AutoscalerSpec(json: object.spec)
        status = object.status
    }

    mutating func act() {
        decision.lookAgain(after: AutoscalerController.interval)
        status["observedGeneration"] = .integer(Int64(object.metadata.generation))
        defer {
            if status != object.status {
                decision.changes.append(.updateStatus(.horizontalPodAutoscaler, object.key, status))
            }
        }
        guard let target = world.target, let kind = world.targetKind else {
            let wanted = spec.target
            let why =
                "the HPA controller was unable to get the target's current scale: \(wanted.kind) \"\(wanted.name)\" not found"
            tell("FailedGetScale", why, about: "AbleToScale")
            set("AbleToScale", false, "FailedGetScale", why)
            return
        }
        let current = target.spec["replicas"]?.int ?? 1
        set("AbleToScale", true, "SucceededGetScale", "the HPA controller was able to get the target's current scale")
        status["currentReplicas"] = .integer(Int64(target.status["replicas"]?.int ?? 0))
        guard current > 0 else {
            set(
                "ScalingActive", false, "ScalingDisabled",
                "scaling is disabled since the replica count of the target is zero")
            status["desiredReplicas"] = 0
            return
        }
        var desired = current
        var reason = ""
        if current > spec.maxReplicas {
            (desired, reason) = (spec.maxReplicas, "Current number of replicas above Spec.MaxReplicas")
        } else if current < spec.minReplicas {
            (desired, reason) = (spec.minReplicas, "Current number of replicas below Spec.MinReplicas")
        } else {
            guard let proposal = proposal(current) else {
                status["desiredReplicas"] = .integer(Int64(current))
                return
            }
            reason = proposal.reason
            desired = limited(proposal.replicas, current)
            if desired < current, reason.isEmpty { reason = "All metrics below target" }
        }
        status["desiredReplicas"] = .integer(Int64(desired))
        guard desired != current else { return }
        var changed = target
        changed.spec["replicas"] = .integer(Int64(desired))
        decision.changes.append(.update(kind, changed))
        decision.changes.append(
            .event(EventNote(object, "SuccessfulRescale", "New size: \(desired); reason: \(reason)")))
        memory.steps.append(.init(time: now, change: desired - current))
        status["lastScaleTime"] = .string(now.secondsText)
        set(
            "AbleToScale", true, "SucceededRescale",
            "the HPA controller was able to update the target scale to \(desired)")
    }

    // MARK: Metrics

    /// The most that any metric asks for; nil when nothing can be said.
    private mutating func proposal(_ current: Int) -> (replicas: Int, reason: String)? {
        var best: (replicas: Int, reason: String)?
        var failure: (reason: String, message: String)?
        var shown: [JSON] = []
        for metric in spec.metrics {
            do throws(MetricFailure) {
                let answer = try evaluate(metric, current)
                shown.append(answer.shown)
                if best.map({ answer.replicas > $0.replicas }) ?? true {
                    let reason = answer.replicas > current ? "\(Self.title(metric)) above target" : ""
                    best = (answer.replicas, reason)
                }
            } catch {
                shown.append(["type": .string(metric.type)])
                failure = failure ?? ("FailedGet\(metric.type)Metric", error.message)
            }
        }
        status["currentMetrics"] = .array(shown)
        if let failure {
            // With a metric missing nothing shrinks: it could be the one that asks for more.
            let isUseless = best.map { $0.replicas < current } ?? true
            if isUseless {
                let text = "the HPA was unable to compute the replica count: \(failure.message)"
                tell(failure.reason, failure.message, about: "ScalingActive")
                set("ScalingActive", false, failure.reason, text)
                return nil
            }
        }
        set(
            "ScalingActive", true, "ValidMetricFound",
            "the HPA was able to successfully calculate a replica count from \(spec.metrics.map(Self.title).joined(separator: ", "))"
        )
        return best ?? (current, "")
    }

    private struct MetricFailure: Error { var message: String }

    private static func title(_ metric: AutoscalerMetric) -> String {
        switch metric.type {
        case "Resource":
            "\(metric.name) resource" + (metric.averageUtilization != nil ? " utilization (percentage of request)" : "")
        case "ContainerResource": "\(metric.name) container resource"
        case "Object": "\(metric.describedObject.kind) metric \(metric.name)"
        default: "pods metric \(metric.name)"
        }
    }

    private func evaluate(_ metric: AutoscalerMetric, _ current: Int) throws(MetricFailure) -> (
        replicas: Int, shown: JSON
    ) {
        metric.type == "Object" ? try evaluateObject(metric, current) : try evaluatePods(metric, current)
    }

    private func evaluateObject(_ metric: AutoscalerMetric, _ current: Int) throws(MetricFailure) -> (Int, JSON) {
        let about = metric.describedObject
        guard let pods = world.described(about) else {
            throw MetricFailure(
                message:
                    "unable to get metric \(metric.name): \(about.kind) \"\(about.name)\" has no pods of its own here")
        }
        let rates = pods.compactMap { world.usage($0.metadata.uid)?.requestsPerSecond }
        guard !rates.isEmpty || pods.isEmpty else {
            throw MetricFailure(message: "no sidecar of \(about.kind) \"\(about.name)\" has told its requests yet")
        }
        let total = rates.reduce(0, +)
        let source: JSON = ["metric": ["name": .string(metric.name)], "describedObject": about.json]
        var present: JSON = [:]
        let replicas: Int
        if let value = metric.value {
            let ratio = total / (Double(value.milli) / 1000)
            replicas = isTolerated(ratio) ? current : ceiling(ratio * Double(max(1, readyCount)))
            present["value"] = .string(Self.amount(total))
        } else {
            let each = Double(metric.averageValue?.milli ?? 1000) / 1000
            replicas = isTolerated(total / (each * Double(current))) ? current : ceiling(total / each)
            present["averageValue"] = .string(Self.amount(total / Double(max(1, current))))
        }
        return (replicas, ["type": "Object", "object": source.with("current", present)])
    }

    private var readyCount: Int { world.pods.map(PodState.init).filter { $0.isActive && $0.isReady }.count }

    private func evaluatePods(_ metric: AutoscalerMetric, _ current: Int) throws(MetricFailure) -> (Int, JSON) {
        var measured: [Double] = []
        var asked: [Double] = []
        var waiting = 0
        var missing = 0
        var waitingAsked = 0.0
        var missingAsked = 0.0
        let byUtilization = metric.averageUtilization != nil
        for pod in world.pods.map(PodState.init) where pod.isActive {
            let request = byUtilization ? try self.request(metric, pod.object) : 1
            if pod.phase == "Pending" || !pod.isReady {
                waiting += 1
                waitingAsked += request
            } else if let value = value(metric, pod.object) {
                measured.append(value)
                asked.append(request)
            } else {
                missing += 1
                missingAsked += request
            }
        }
        guard !measured.isEmpty else {
            throw MetricFailure(message: "unable to get metric \(metric.name): no pod has been measured yet")
        }
        // Per pod and in units of the target: 1 means as much as wanted.
        let target: Double =
            byUtilization ? Double(metric.averageUtilization ?? 1) / 100 : Double(metric.averageValue?.milli ?? 1000)
        let sum = measured.reduce(0, +)
        let used = sum / max(asked.reduce(0, +), 1e-9)
        var ratio = used / target
        var replicas = current
        if missing + waiting == 0 {
            if !isTolerated(ratio) { replicas = ceiling(ratio * Double(measured.count)) }
        } else if !isTolerated(ratio) || waiting > 0 {
            // What is not known counts against a change: as nothing on the way up, as what is wanted on the way down.
            let before = ratio
            let (extra, base): (Double, Double) =
                before > 1
                ? (0, missingAsked + waitingAsked) : (target * missingAsked, missingAsked)
            let count = measured.count + missing + (before > 1 ? waiting : 0)
            ratio = (sum + extra) / max(asked.reduce(0, +) + base, 1e-9) / target
            let proposed = ceiling(ratio * Double(count))
            let isOpposite = before < 1 && ratio > 1 || before > 1 && ratio < 1
            if !isTolerated(ratio), !isOpposite, !(ratio < 1 && proposed > current), !(ratio > 1 && proposed < current)
            {
                replicas = proposed
            }
        }
        var now: JSON = ["averageValue": .string(shownAverage(metric, sum / Double(measured.count)))]
        if byUtilization { now["averageUtilization"] = .integer(Int64((used * 100).rounded())) }
        let member = ["Resource": "resource", "ContainerResource": "containerResource"][metric.type] ?? "pods"
        var source: JSON = ["current": now]
        if metric.type == "Pods" {
            source["metric"] = ["name": .string(metric.name)]
        } else {
            source["name"] = .string(metric.name)
        }
        if let container = metric.container { source["container"] = .string(container) }
        var shown: JSON = ["type": .string(metric.type)]
        shown[member] = source
        return (replicas, shown)
    }

    /// In thousandths: of a processor, of a byte, of a request per second.
    private func value(_ metric: AutoscalerMetric, _ pod: KubernetesObject) -> Double? {
        guard let usage = world.usage(pod.metadata.uid) else { return nil }
        if metric.type == "Pods" { return usage.requestsPerSecond.map { $0 * 1000 } }
        let chosen = usage.containers.filter { metric.container == nil || metric.container == $0.key }.values
        guard !chosen.isEmpty else { return nil }
        return metric.name == "cpu"
            ? chosen.reduce(0) { $0 + $1.cpuMilli } : chosen.reduce(0) { $0 + $1.memoryBytes * 1000 }
    }

    /// What the containers ask for, in thousandths.
    private func request(_ metric: AutoscalerMetric, _ object: KubernetesObject) throws(MetricFailure) -> Double {
        var sum = 0.0
        for container in Pod(json: object.content).spec.containers
        where metric.container.map({ $0 == container.name }) ?? true {
            guard let amount = container.resources.requests[metric.name] else {
                throw MetricFailure(
                    message:
                        "failed to get \(metric.name) utilization: missing request for \(metric.name) in container \(container.name) of Pod \(object.name)"
                )
            }
            sum += Double(amount.milli)
        }
        return sum
    }

    private func shownAverage(_ metric: AutoscalerMetric, _ milli: Double) -> String {
        metric.name == "memory" ? String(Int64(clamped(milli / 1000))) : Self.amount(milli / 1000)
    }

    private static func amount(_ value: Double) -> String {
        let milli = Int64(min(max(value * 1000, 0), 9e15).rounded())
        return milli % 1000 == 0 ? String(milli / 1000) : "\(milli)m"
    }

    private func clamped(_ value: Double) -> Double { value.isFinite ? min(max(value, 0), 1e15) : 0 }

    private func ceiling(_ value: Double) -> Int {
        value.isFinite ? Int(min(max(value - 1e-9, 0), 1e6).rounded(.up)) : 0
    }

    private func isTolerated(_ ratio: Double) -> Bool {
        let rules = ratio > 1 ? spec.scaleUp : spec.scaleDown
        let tolerance = rules?.tolerance.map { Double($0.milli) / 1000 } ?? AutoscalerController.tolerance
        return abs(1 - ratio) <= tolerance + 1e-9
    }

    // MARK: Bounds

    /// The proposal within its windows, rates and bounds.
    private mutating func limited(_ proposed: Int, _ current: Int) -> Int {
        let (upWindow, downWindow) = (
            spec.scaleUp?.stabilizationWindowSeconds ?? 0,
            spec.scaleDown?.stabilizationWindowSeconds ?? AutoscalerController.scaleDownWindow
        )
        let longest = max(upWindow, downWindow, 1)
        memory.recommendations.removeAll { $0.time + .seconds(longest) < now }
        memory.recommendations.append(.init(time: now, replicas: proposed))
        func within(_ window: Int) -> [Int] {
            memory.recommendations.filter { $0.time + .seconds(window) >= now }.map(\.replicas) + [proposed]
        }
        let (lowest, highest) = (within(upWindow).min() ?? proposed, within(downWindow).max() ?? proposed)
        var stable = current
        if stable < lowest { stable = lowest }
        if stable > highest { stable = highest }
        if stable > proposed {
            set(
                "AbleToScale", true, "ScaleDownStabilized",
                "recent recommendations were higher than current one, applying the highest recent recommendation")
        } else if stable < proposed {
            set(
                "AbleToScale", true, "ScaleUpStabilized",
                "recent recommendations were lower than current one, applying the lowest recent recommendation")
        } else {
            set("AbleToScale", true, "ReadyForNewScale", "recommended size matches current size")
        }
        return bounded(stable, current)
    }

    private mutating func bounded(_ wanted: Int, _ current: Int) -> Int {
        memory.steps.removeAll { $0.time + .seconds(1800) < now }
        if wanted > current {
            let limit = max(rate(spec.scaleUp, current, isUp: true), current)
            let most = min(limit, spec.maxReplicas)
            guard wanted > most else { return within(wanted) }
            limit < spec.maxReplicas
                ? set(
                    "ScalingLimited", true, "ScaleUpLimit",
                    "the desired replica count is increasing faster than the maximum scale rate")
                : set(
                    "ScalingLimited", true, "TooManyReplicas",
                    "the desired replica count is more than the maximum replica count")
            return most
        }
        if wanted < current {
            let limit = min(rate(spec.scaleDown, current, isUp: false), current)
            let fewest = max(limit, spec.minReplicas)
            guard wanted < fewest else { return within(wanted) }
            limit > spec.minReplicas
                ? set(
                    "ScalingLimited", true, "ScaleDownLimit",
                    "the desired replica count is decreasing faster than the maximum scale rate")
                : set(
                    "ScalingLimited", true, "TooFewReplicas",
                    "the desired replica count is less than the minimum replica count")
            return fewest
        }
        return within(wanted)
    }

    private mutating func within(_ wanted: Int) -> Int {
        set("ScalingLimited", false, "DesiredWithinRange", "the desired count is within the acceptable range")
        return min(max(wanted, spec.minReplicas), spec.maxReplicas)
    }

    /// How many replicas the policies of one direction allow now.
    private func rate(_ rules: ScalingRules?, _ current: Int, isUp: Bool) -> Int {
        let select = rules?.selectPolicy ?? "Max"
        if select == "Disabled" { return current }
        var policies = (rules?.policies ?? []).map { ($0.isPercent, $0.value, $0.periodSeconds) }
        if policies.isEmpty { policies = isUp ? [(false, 4, 15), (true, 100, 15)] : [(true, 100, 15)] }
        let limits = policies.map { isPercent, value, period in
            let change = memory.steps.filter { $0.time + .seconds(period) > now }.reduce(0) { $0 + $1.change }
            let before = max(0, current - change)
            if isUp { return isPercent ? ceiling(Double(before) * (1 + Double(value) / 100)) : before + value }
            return isPercent ? Int(clamped(Double(before) * (1 - Double(value) / 100))) : max(0, before - value)
        }
        // Max means the greatest change.
        return (select == "Max") == isUp ? limits.max() ?? current : limits.min() ?? current
    }

    // MARK: Status

    /// An event for a failure that was not there in the last look.
    private mutating func tell(_ reason: String, _ message: String, about type: String) {
        let known = (object.status["conditions"]?.array ?? []).first { $0["type"]?.string == type }
        guard known?["reason"]?.string != reason else { return }
        decision.changes.append(.event(EventNote(object, reason, message, isWarning: true)))
    }

    private mutating func set(_ type: String, _ value: Bool, _ reason: String, _ message: String) {
        var conditions = status["conditions"]?.array ?? []
        let position = conditions.firstIndex { $0["type"]?.string == type }
        let known = position.map { conditions[$0] }
        let text: JSON = value ? "True" : "False"
        let condition: JSON = [
            "type": .string(type), "status": text, "reason": .string(reason), "message": .string(message),
            "lastTransitionTime": known?["status"] == text
                ? known?["lastTransitionTime"] ?? .string(now.secondsText) : .string(now.secondsText),
        ]
        if let position { conditions[position] = condition } else { conditions.append(condition) }
        status["conditions"] = .array(conditions)
    }
}

extension JSON {
    /// The object with one more member.
    fileprivate func with(_ name: String, _ value: JSON) -> JSON {
        var copy = self
        copy[name] = value
        return copy
    }
}
