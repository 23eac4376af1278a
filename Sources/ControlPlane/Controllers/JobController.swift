public import KubernetesAPI
import Mesh
public import Serialization

/// Runs a Job's pods until enough have succeeded or too many have failed.
///
/// A pod counts once and for ever, also when it is deleted afterwards: it carries a finalizer until its end is written
/// down. First its uid goes into `status.uncountedTerminatedPods`, then the finalizer goes, then the number grows; a
/// controller that dies in between goes on where it was.
public enum JobController {
    static let finalizer = "batch.kubernetes.io/job-tracking"
    static let indexLabel = "batch.kubernetes.io/job-completion-index"
    /// The first pause after a failure; each further one is twice as long.
    static let backoffFirst = Duration.seconds(10)
    /// The longest pause.
    static let backoffMax = Duration.seconds(600)
    /// How many pods' ends wait to be counted at a time.
    static let uncountedMax = 500

    /// What to do for a Job, given the pods that it controls.
    public static func decide(_ object: KubernetesObject, pods: [KubernetesObject], now: Timestamp) -> Decision {
        let manager = JobSpec(json: object.spec).managedBy
        guard manager.isEmpty || manager == "kubernetes.io/job-controller" else { return Decision() }
        var look = JobLook(object, pods, now)
        look.act()
        return look.decision
    }

    /// Whether a Job has ended, with or without success.
    static func isFinished(_ object: KubernetesObject) -> Bool {
        (object.status["conditions"]?.array ?? []).contains {
            ["Complete", "Failed"].contains($0["type"]?.string ?? "") && $0["status"] == "True"
        }
    }
}

/// One look at one Job.
private struct JobLook {
    let object: KubernetesObject
    let spec: JobSpec
    let now: Timestamp
    var decision = Decision()
    private var status: JSON
    private let pods: [PodState]
    private var uncountedGood: Set<String>
    private var uncountedBad: Set<String>
    private var succeeded: Int
    private var failed: Int
    private var completed: IndexSet

    init(_ object: KubernetesObject, _ pods: [KubernetesObject], _ now: Timestamp) {
        self.object = object
        self.now = now
        spec = JobSpec(json: object.spec)
        status = object.status
        self.pods = pods.map(PodState.init).sorted { $0.object.name < $1.object.name }
        func uids(_ name: String) -> Set<String> {
            Set((object.status["uncountedTerminatedPods"]?[name]?.array ?? []).compactMap(\.string))
        }
        uncountedGood = uids("succeeded")
        uncountedBad = uids("failed")
        succeeded = object.status["succeeded"]?.int ?? 0
        failed = object.status["failed"]?.int ?? 0
        completed = IndexSet(object.status["completedIndexes"]?.string ?? "")
    }

    private func isTracked(_ pod: PodState) -> Bool { pod.object.metadata.finalizers.contains(JobController.finalizer) }
    private func index(_ pod: PodState) -> Int? {
        (pod.object.metadata.annotations[JobController.indexLabel]
            ?? pod.object.metadata.labels[JobController.indexLabel])
            .flatMap { Int($0) }
    }
    /// A pod that somebody deletes has failed, unless the Job says to wait for its end.
    private func hasFailed(_ pod: PodState) -> Bool {
        pod.phase == "Failed" || pod.isTerminating && pod.phase != "Succeeded" && !spec.replacesEndedOnly
    }

    private var active: [PodState] { pods.filter { !$0.isFinished && !$0.isTerminating } }

    mutating func act() {
        if JobController.isFinished(object) || object.metadata.deletionTimestamp != nil {
            release()
            endOfLife()
            return
        }
        if status["startTime"] == nil, !spec.suspend { status["startTime"] = .string(now.secondsText) }
        count()
        release()
        let good = spec.isIndexed ? completed.count : succeeded + uncountedGood.count
        let bad = failed + uncountedBad.count
        if let target = condition("FailureTarget") {
            finish("Failed", target["reason"]?.string ?? "", target["message"]?.string ?? "")
        } else if let failure = failure(bad) {
            set("FailureTarget", true, failure.reason, failure.message)
            finish("Failed", failure.reason, failure.message)
        } else if isComplete(good) {
            let (reason, message) = ("CompletionsReached", "Reached expected number of succeeded pods")
            if condition("SuccessCriteriaMet") == nil { set("SuccessCriteriaMet", true, reason, message) }
            finish("Complete", reason, message)
        } else if spec.suspend {
            suspend()
        } else {
            resume()
            scale(good)
        }
        writeStatus()
    }

    // MARK: Counting

    /// Takes what has ended into the list of the uncounted, and from there into the numbers.
    private mutating func count() {
        let tracked = Set(pods.filter(isTracked).map(\.object.metadata.uid))
        let (goodNow, badNow) = (
            uncountedGood.filter { !tracked.contains($0) }, uncountedBad.filter { !tracked.contains($0) }
        )
        if !spec.isIndexed { succeeded += goodNow.count }
        failed += badNow.count
        uncountedGood.subtract(goodNow)
        uncountedBad.subtract(badNow)
        for pod in pods where isTracked(pod) {
            let uid = pod.object.metadata.uid
            guard !uncountedGood.contains(uid), !uncountedBad.contains(uid),
                uncountedGood.count + uncountedBad.count < JobController.uncountedMax
            else { continue }
            if pod.phase == "Succeeded" {
                if spec.isIndexed {
                    guard let index = index(pod), index < spec.completions ?? 0 else { continue }
                    completed.insert(index)
                }
                uncountedGood.insert(uid)
            } else if hasFailed(pod) {
                uncountedBad.insert(uid)
            }
        }
        if spec.isIndexed {
            completed.remove(from: spec.completions ?? 0)
            succeeded = completed.count
        }
    }

    /// Lets go of pods whose end the stored status already names; of all of them when nothing is counted any more.
    private mutating func release() {
        let isOver = JobController.isFinished(object) || object.metadata.deletionTimestamp != nil
        let noted = object.status["uncountedTerminatedPods"]
        let written = Set(
            ((noted?["succeeded"]?.array ?? []) + (noted?["failed"]?.array ?? [])).compactMap(\.string))
        for pod in pods where isTracked(pod) && (isOver || written.contains(pod.object.metadata.uid)) {
            var changed = pod.object
            let kept = changed.metadata.finalizers.filter { $0 != JobController.finalizer }
            changed.json["metadata"]?["finalizers"] = kept.isEmpty ? nil : .array(kept.map { .string($0) })
            decision.changes.append(.update(.pod, changed))
        }
    }

    // MARK: Ends

    private func failure(_ bad: Int) -> (reason: String, message: String)? {
        if bad > spec.backoffLimit || restartsPastLimit {
            return ("BackoffLimitExceeded", "Job has reached the specified backoff limit")
        }
        guard let seconds = spec.activeDeadlineSeconds, !spec.suspend,
            let start = status["startTime"]?.string.flatMap({ Timestamp($0) })
        else { return nil }
        return start + .seconds(seconds) <= now
            ? ("DeadlineExceeded", "Job was active longer than specified deadline") : nil
    }

    /// With `restartPolicy: OnFailure` containers fail in their pod: their restarts count.
    private var restartsPastLimit: Bool {
        guard spec.template.spec.restartPolicy == "OnFailure" else { return false }
        let restarts = active.reduce(0) { sum, pod in
            let mine = ["initContainerStatuses", "containerStatuses"].flatMap { pod.object.status[$0]?.array ?? [] }
                .filter { !["skein-proxy", "istio-proxy"].contains($0["name"]?.string ?? "") }
            return sum + mine.reduce(0) { $0 + ($1["restartCount"]?.int ?? 0) }
        }
        return spec.backoffLimit == 0 ? restarts > 0 : restarts >= spec.backoffLimit
    }

    private func isComplete(_ good: Int) -> Bool {
        if let completions = spec.completions { return good >= completions }
        // A work queue: one success says that nothing is left, the others end on their own.
        return good > 0 && active.isEmpty && pods.allSatisfy { $0.isFinished }
    }

    /// Stops what still runs; the end is told when nothing does.
    private mutating func finish(_ type: String, _ reason: String, _ message: String) {
        stopAll()
        guard pods.allSatisfy(\.isFinished), uncountedGood.isEmpty, uncountedBad.isEmpty else { return }
        set(type, true, reason, message)
        if type == "Complete" {
            status["completionTime"] = .string(now.secondsText)
            note("Completed", "Job completed")
        } else {
            note(reason, message, isWarning: true)
        }
        if let seconds = spec.ttlSecondsAfterFinished { decision.lookAgain(after: .seconds(seconds)) }
    }

    private mutating func stopAll() {
        for pod in active {
            decision.changes.append(.delete(.pod, pod.object.key, uid: pod.object.metadata.uid))
            note("SuccessfulDelete", "Deleted pod: \(pod.object.name)")
        }
    }

    private mutating func endOfLife() {
        guard object.metadata.deletionTimestamp == nil, let seconds = spec.ttlSecondsAfterFinished else { return }
        let end = (status["conditions"]?.array ?? []).first {
            ["Complete", "Failed"].contains($0["type"]?.string ?? "") && $0["status"] == "True"
        }?["lastTransitionTime"]?.string.flatMap { Timestamp($0) }
        guard let end else { return }
        let due = end + .seconds(seconds)
        if due <= now {
            decision.changes.append(.delete(.job, object.key, uid: object.metadata.uid))
        } else {
            decision.lookAgain(after: due - now)
        }
    }

    private mutating func suspend() {
        stopAll()
        guard condition("Suspended")?["status"] != "True" else { return }
        set("Suspended", true, "JobSuspended", "Job suspended")
        status["startTime"] = nil
        note("Suspended", "Job suspended")
    }

    private mutating func resume() {
        guard condition("Suspended")?["status"] == "True" else { return }
        set("Suspended", false, "JobResumed", "Job resumed")
        status["startTime"] = .string(now.secondsText)
        note("Resumed", "Job resumed")
    }

    // MARK: Running

    private mutating func scale(_ good: Int) {
        if let seconds = spec.activeDeadlineSeconds,
            let start = status["startTime"]?.string.flatMap({ Timestamp($0) }), start + .seconds(seconds) > now
        {
            decision.lookAgain(after: start + .seconds(seconds) - now)
        }
        // With podReplacementPolicy Failed a pod on its way out still has its place.
        let going = spec.replacesEndedOnly ? pods.filter { $0.isTerminating && !$0.isFinished }.count : 0
        var wanted = spec.parallelism
        if let completions = spec.completions {
            wanted = min(wanted, completions - good)
        } else if good > 0 {
            wanted = min(wanted, active.count)
        }
        if active.count > wanted {
            for pod in surplus(active.count - wanted) {
                decision.changes.append(.delete(.pod, pod.object.key, uid: pod.object.metadata.uid))
                note("SuccessfulDelete", "Deleted pod: \(pod.object.name)")
            }
            return
        }
        let missing = wanted - active.count - going
        guard missing > 0 else { return }
        if let pause = pause, pause > now {
            decision.lookAgain(after: pause - now)
            return
        }
        let indexes = spec.isIndexed ? freeIndexes(missing) : []
        for number in 0..<min(missing, ReplicaSetController.burstMax) {
            if spec.isIndexed {
                guard indexes.indices.contains(number) else { break }
                create(index: indexes[number])
            } else {
                create(index: nil)
            }
        }
    }

    /// The pods to stop: those that are least far.
    private func surplus(_ count: Int) -> [PodState] {
        Array(
            active.sorted { left, right in
                if left.isReady != right.isReady { return !left.isReady }
                return left.object.metadata.creationTimestamp > right.object.metadata.creationTimestamp
            }.prefix(count))
    }

    private func freeIndexes(_ count: Int) -> [Int] {
        let taken = Set(pods.filter { !$0.isFinished && !hasFailed($0) }.compactMap(index))
        var free: [Int] = []
        for index in 0..<max(0, min(spec.completions ?? 0, 100_000))
        where !taken.contains(index) && !completed.contains(index) {
            free.append(index)
            if free.count >= count { break }
        }
        return free
    }

    /// Until when no pod is made, after failures in a row.
    private var pause: Timestamp? {
        let ends = pods.filter { $0.isFinished || hasFailed($0) }.map {
            (time: endTime($0), isGood: $0.phase == "Succeeded")
        }
        .sorted { $0.time < $1.time }
        let failures = ends.reversed().prefix { !$0.isGood }
        guard let last = failures.first else { return nil }
        let doubled = JobController.backoffFirst * (1 << min(failures.count - 1, 10))
        return last.time + min(doubled, JobController.backoffMax)
    }

    private func endTime(_ pod: PodState) -> Timestamp {
        let ends = (pod.object.status["containerStatuses"]?.array ?? []).compactMap {
            $0["state"]?["terminated"]?["finishedAt"]?.string.flatMap { Timestamp($0) }
        }
        return ends.max() ?? pod.object.metadata.deletionTimestamp.flatMap { Timestamp($0) }
            ?? Timestamp(pod.object.metadata.creationTimestamp) ?? now
    }

    private mutating func create(index: Int?) {
        var pod = PodFactory.pod(object.spec["template"] ?? .object([:]), of: object, .job)
        pod.json["metadata"]?["finalizers"] = [.string(JobController.finalizer)]
        if let index {
            pod.metadata.annotations[JobController.indexLabel] = String(index)
            pod.label(JobController.indexLabel, String(index))
            pod.json["metadata"]?["generateName"] = .string("\(object.name)-\(index)-")
            pod.spec["hostname"] = .string("\(object.name)-\(index)")
            for list in ["initContainers", "containers"] {
                guard let containers = pod.spec[list]?.array else { continue }
                pod.spec[list] = .array(containers.map(Self.numbered))
            }
        } else {
            pod.json["metadata"]?["generateName"] = .string(object.name + "-")
        }
        decision.changes.append(.create(.pod, pod))
    }

    /// The container with its number in its environment.
    private static func numbered(_ container: JSON) -> JSON {
        var container = container
        var environment = container["env"]?.array ?? []
        guard !environment.contains(where: { $0["name"] == "JOB_COMPLETION_INDEX" }) else { return container }
        environment.append([
            "name": "JOB_COMPLETION_INDEX",
            "valueFrom": ["fieldRef": ["fieldPath": .string("metadata.labels['\(JobController.indexLabel)']")]],
        ])
        container["env"] = .array(environment)
        return container
    }

    // MARK: Status

    private func condition(_ type: String) -> JSON? {
        (status["conditions"]?.array ?? []).first { $0["type"]?.string == type }
    }

    private mutating func set(_ type: String, _ value: Bool, _ reason: String, _ message: String) {
        var conditions = status["conditions"]?.array ?? []
        conditions.removeAll { $0["type"]?.string == type }
        let time: JSON = .string(now.secondsText)
        conditions.append([
            "type": .string(type), "status": value ? "True" : "False", "reason": .string(reason),
            "message": .string(message), "lastProbeTime": time, "lastTransitionTime": time,
        ])
        status["conditions"] = .array(conditions)
    }

    private mutating func note(_ reason: String, _ message: String, isWarning: Bool = false) {
        decision.changes.append(.event(EventNote(object, reason, message, isWarning: isWarning)))
    }

    private mutating func writeStatus() {
        func put(_ name: String, _ count: Int) { status[name] = count > 0 ? .integer(Int64(count)) : nil }
        put("active", active.count)
        put("succeeded", succeeded)
        put("failed", failed)
        status["ready"] = .integer(Int64(active.filter(\.isReady).count))
        status["terminating"] = .integer(Int64(pods.filter { $0.isTerminating && !$0.isFinished }.count))
        if spec.isIndexed { status["completedIndexes"] = completed.isEmpty ? nil : .string(completed.text) }
        var uncounted: JSON = [:]
        for (name, uids) in [("succeeded", uncountedGood), ("failed", uncountedBad)] where !uids.isEmpty {
            uncounted[name] = .array(uids.sorted().map { .string($0) })
        }
        status["uncountedTerminatedPods"] = uncounted
        if status != object.status {
            // Before finalizers go: what is written down may be let go of in the next look.
            decision.changes.append(.updateStatus(.job, object.key, status))
        }
    }
}

/// Numbers as Jobs write them: `0-2,5`.
struct IndexSet: Equatable {
    /// No Job has larger numbers.
    static let indexMax = 100_000
    private var members: Set<Int> = []

    /// Reads the text; what is no number is left out.
    init(_ text: String) {
        for part in text.split(separator: ",") {
            let ends = part.split(separator: "-").compactMap { Int($0) }
            guard let first = ends.first, let last = ends.last, first >= 0, first <= last, last < Self.indexMax else {
                continue
            }
            members.formUnion(first...last)
        }
    }

    var count: Int { members.count }
    var isEmpty: Bool { members.isEmpty }
    func contains(_ index: Int) -> Bool { members.contains(index) }
    mutating func insert(_ index: Int) { if (0..<Self.indexMax).contains(index) { members.insert(index) } }
    mutating func remove(from index: Int) { members = members.filter { $0 < index } }

    /// Runs of numbers with their ends; two neighbours stand apart, as Kubernetes writes them.
    var text: String {
        var runs: [ClosedRange<Int>] = []
        for index in members.sorted() {
            if let last = runs.last, last.upperBound + 1 == index {
                runs[runs.count - 1] = last.lowerBound...index
            } else {
                runs.append(index...index)
            }
        }
        return runs.map { run in
            switch run.count {
            case 1: "\(run.lowerBound)"
            case 2: "\(run.lowerBound),\(run.upperBound)"
            default: "\(run.lowerBound)-\(run.upperBound)"
            }
        }.joined(separator: ",")
    }
}
