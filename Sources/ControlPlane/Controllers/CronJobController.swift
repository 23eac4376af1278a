public import KubernetesAPI
import Mesh
public import Serialization

/// Makes Jobs at the times of a CronJob, and forgets the old ones.
///
/// Pure. Source: Kubernetes' documentation, "CronJob".
public enum CronJobController {
    static let scheduledAnnotation = "batch.kubernetes.io/cronjob-scheduled-timestamp"
    /// More missed times than that say that a clock is wrong, or a deadline missing.
    static let missedMax = 100

    /// What to do for a CronJob, given the Jobs of its namespace that it controls.
    ///
    /// - Parameter zone: the rules of a zone by its name; nil when nobody knows it.
    public static func decide(
        _ object: KubernetesObject, jobs: [KubernetesObject], now: Timestamp, zone: (String) -> TimeZoneRules?
    ) -> Decision {
        guard object.metadata.deletionTimestamp == nil else { return Decision() }
        var look = CronJobLook(object, jobs, now)
        look.act(zone)
        return look.decision
    }
}

/// One look at one CronJob.
private struct CronJobLook {
    let object: KubernetesObject
    let jobs: [KubernetesObject]
    let now: Timestamp
    var decision = Decision()
    private var status: JSON

    init(_ object: KubernetesObject, _ jobs: [KubernetesObject], _ now: Timestamp) {
        self.object = object
        self.jobs = jobs.sorted {
            ($0.metadata.creationTimestamp, $0.name) < ($1.metadata.creationTimestamp, $1.name)
        }
        self.now = now
        status = object.status
    }

    private var running: [KubernetesObject] { jobs.filter { !JobController.isFinished($0) } }

    mutating func act(_ zone: (String) -> TimeZoneRules?) {
        look(at: jobs)
        forget()
        schedule(zone)
        if status != object.status { decision.changes.append(.updateStatus(.cronJob, object.key, status)) }
    }

    private mutating func note(_ reason: String, _ message: String, isWarning: Bool = false) {
        decision.changes.append(.event(EventNote(object, reason, message, isWarning: isWarning)))
    }

    // MARK: What there is

    /// Brings the list of what runs up to date, and the time of the last success.
    private mutating func look(at jobs: [KubernetesObject]) {
        let known = Set((status["active"]?.array ?? []).compactMap { $0["uid"]?.string })
        var last = status["lastSuccessfulTime"]?.string.flatMap { Timestamp($0) }
        for job in jobs where JobController.isFinished(job) {
            let isComplete = Self.has(job, "Complete")
            if known.contains(job.metadata.uid) {
                note(
                    "SawCompletedJob",
                    "Saw completed job: \(job.name), condition: \(isComplete ? "Complete" : "Failed")")
            }
            guard isComplete, let time = job.status["completionTime"]?.string.flatMap({ Timestamp($0) }) else {
                continue
            }
            if last.map({ $0 < time }) ?? true { last = time }
        }
        let here = Set(jobs.map(\.metadata.uid))
        for entry in status["active"]?.array ?? [] where !here.contains(entry["uid"]?.string ?? "") {
            note("MissingJob", "Active job went missing: \(entry["name"]?.string ?? "")")
        }
        if let last { status["lastSuccessfulTime"] = .string(last.secondsText) }
        setActive(running)
    }

    private static func has(_ job: KubernetesObject, _ type: String) -> Bool {
        (job.status["conditions"]?.array ?? []).contains { $0["type"]?.string == type && $0["status"] == "True" }
    }

    private mutating func setActive(_ jobs: [KubernetesObject]) {
        let references: [JSON] = jobs.map { job in
            [
                "kind": "Job", "namespace": .string(job.namespace), "name": .string(job.name),
                "uid": .string(job.metadata.uid), "apiVersion": "batch/v1",
                "resourceVersion": .string(job.metadata.resourceVersion),
            ]
        }
        // A Job that changes is not another Job: the version under which it was first seen stays.
        let before = status["active"]?.array ?? []
        let kept: [JSON] = references.map { reference in
            before.first { $0["uid"] == reference["uid"] } ?? reference
        }
        status["active"] = kept.isEmpty ? nil : .array(kept)
    }

    /// Deletes the oldest of what has ended, past the numbers that are kept.
    private mutating func forget() {
        for (type, name) in [("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")] {
            guard let limit = object.spec[name]?.int, limit >= 0 else { continue }
            let ended = jobs.filter { Self.has($0, type) && $0.metadata.deletionTimestamp == nil }
            for job in ended.prefix(max(0, ended.count - limit)) { delete(job) }
        }
    }

    private mutating func delete(_ job: KubernetesObject) {
        decision.changes.append(.delete(.job, job.key, uid: job.metadata.uid))
        note("SuccessfulDelete", "Deleted job \(job.name)")
    }

    // MARK: What is due

    private mutating func schedule(_ zone: (String) -> TimeZoneRules?) {
        guard object.spec["suspend"] != true else { return }
        let zoneName = object.spec["timeZone"]?.string ?? ""
        guard let rules = zoneName.isEmpty ? .utc : zone(zoneName) else {
            return note(
                "UnknownTimeZone", "invalid timeZone: \"\(zoneName)\": unknown time zone \(zoneName)", isWarning: true)
        }
        let text = object.spec["schedule"]?.string ?? ""
        let schedule: CronSchedule
        do throws(CronSchedule.Problem) { schedule = try CronSchedule(text) } catch {
            return note(
                "UnparseableSchedule", "unparseable schedule: \"\(text)\" : \(error.message)", isWarning: true)
        }
        let due = dueTime(schedule, rules)
        if let next = schedule.next(after: now.seconds, in: rules) {
            decision.lookAgain(after: .seconds(next - now.seconds) + .milliseconds(100))
        }
        guard let due else { return }
        if let deadline = object.spec["startingDeadlineSeconds"]?.int,
            due.addingReportingOverflow(Int64(deadline)).partialValue < now.seconds
        {
            return note(
                "MissSchedule", "Missed scheduled time to start a job: \(Timestamp(seconds: due).secondsText)",
                isWarning: true)
        }
        start(due)
    }

    /// The last time that has come since the last one that was seen.
    private mutating func dueTime(_ schedule: CronSchedule, _ rules: TimeZoneRules) -> Int64? {
        let told = status["lastScheduleTime"]?.string ?? object.metadata.creationTimestamp
        guard var earliest = Timestamp(told)?.seconds else { return nil }
        if let deadline = object.spec["startingDeadlineSeconds"]?.int {
            earliest = max(earliest, now.seconds - min(Int64(deadline), now.seconds))
        }
        var (due, missed, time) = (nil as Int64?, 0, earliest)
        while let next = schedule.next(after: time, in: rules), next <= now.seconds {
            (due, time) = (next, next)
            missed += 1
            guard missed > CronJobController.missedMax else { continue }
            note(
                "TooManyMissedTimes",
                "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew",
                isWarning: true)
            // What is due now is found from near now, not by going through a year of minutes.
            return lastBefore(schedule, rules)
        }
        return due
    }

    private func lastBefore(_ schedule: CronSchedule, _ rules: TimeZoneRules) -> Int64? {
        for span in [3600, 86_400, 7 * 86_400] as [Int64] {
            var (found, time, steps) = (nil as Int64?, now.seconds - span, 0)
            while steps < 4000, let next = schedule.next(after: time, in: rules), next <= now.seconds {
                (found, time, steps) = (next, next, steps + 1)
            }
            if let found { return found }
        }
        return nil
    }

    private mutating func start(_ due: Int64) {
        let name = "\(object.name)-\(due / 60)"
        let policy = object.spec["concurrencyPolicy"]?.string ?? "Allow"
        if jobs.contains(where: { $0.name == name }) {
            // Made, and its time not written down before we ended.
            status["lastScheduleTime"] = .string(Timestamp(seconds: due).secondsText)
            return
        }
        if policy == "Forbid", !running.isEmpty {
            note(
                "JobAlreadyActive",
                "Not starting job because prior execution is running and concurrency policy is Forbid")
            return
        }
        if policy == "Replace" {
            for job in running where job.metadata.deletionTimestamp == nil { delete(job) }
            setActive([])
        }
        let template = object.spec["jobTemplate"] ?? .object([:])
        var metadata: JSON = [
            "name": .string(name), "namespace": .string(object.namespace),
            "ownerReferences": [object.controllerReference(.cronJob)],
        ]
        metadata["labels"] = template["metadata"]?["labels"]
        var annotations = template["metadata"]?["annotations"] ?? .object([:])
        annotations[CronJobController.scheduledAnnotation] = .string(Timestamp(seconds: due).secondsText)
        metadata["annotations"] = annotations
        let job = KubernetesObject(json: [
            "apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"] ?? .object([:]),
        ])
        decision.changes.append(.create(.job, job))
        note("SuccessfulCreate", "Created job \(name)")
        status["lastScheduleTime"] = .string(Timestamp(seconds: due).secondsText)
    }
}
