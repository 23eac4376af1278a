import KubernetesAPI
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("CronJobs")
struct CronJobControllerTests {
    private let start: Int64 = 1_800_000_000  // 2027-01-15T08:00:00Z

    private func cronJob(_ spec: [String: JSON] = [:], status: JSON = [:]) -> KubernetesObject {
        var all: [String: JSON] = [
            "schedule": "*/10 * * * *", "concurrencyPolicy": "Allow", "suspend": false, "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 1,
            "jobTemplate": ["metadata": ["labels": ["a": "b"]], "spec": ["template": ["spec": ["containers": []]]]],
        ]
        all.merge(spec) { $1 }
        return KubernetesObject(json: [
            "apiVersion": "batch/v1", "kind": "CronJob",
            "metadata": [
                "name": "tick", "namespace": "n", "uid": "u",
                "creationTimestamp": .string(Timestamp(seconds: start).secondsText),
            ], "spec": .object(all), "status": status,
        ])
    }

    private func job(_ name: String, _ condition: String? = nil, at seconds: Int64 = 0) -> KubernetesObject {
        let time = JSON.string(Timestamp(seconds: start + seconds).secondsText)
        var status: JSON = [:]
        if let condition {
            status = ["conditions": [["type": .string(condition), "status": "True"]], "completionTime": time]
        }
        return KubernetesObject(json: [
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": [
                "name": .string(name), "namespace": "n", "uid": .string("uid-" + name), "creationTimestamp": time,
            ],
            "spec": [:], "status": status,
        ])
    }

    private func decide(_ object: KubernetesObject, _ jobs: [KubernetesObject] = [], at seconds: Int64) -> Decision {
        CronJobController.decide(object, jobs: jobs, now: Timestamp(seconds: start + seconds)) {
            $0 == "UTC" ? .utc : nil
        }
    }

    private func created(_ decision: Decision) -> [KubernetesObject] {
        decision.changes.compactMap { if case .create(.job, let made) = $0 { made } else { nil } }
    }

    private func deleted(_ decision: Decision) -> [String] {
        decision.changes.compactMap { if case .delete(.job, let key, _) = $0 { key.name } else { nil } }
    }

    private func reasons(_ decision: Decision) -> [String] {
        decision.changes.compactMap { if case .event(let note) = $0 { note.reason } else { nil } }
    }

    private func status(_ decision: Decision) -> JSON? {
        decision.changes.compactMap { if case .updateStatus(.cronJob, _, let status) = $0 { status } else { nil } }.last
    }

    @Test(
        "before its time nothing is made, and it is looked again when that comes; then one Job, owned, with the time in its name"
    )
    func due() throws {
        let early = decide(cronJob(), at: 599)
        #expect(created(early).isEmpty && early.lookAgainAfter == .milliseconds(1100))
        let decision = decide(cronJob(), at: 601)
        let made = try #require(created(decision).first)
        #expect(made.name == "tick-\((start + 600) / 60)" && made.metadata.labels == ["a": "b"])
        #expect(made.metadata.annotations[CronJobController.scheduledAnnotation] == "2027-01-15T08:10:00Z")
        #expect(made.json["metadata"]?["ownerReferences"]?[0]?["kind"] == "CronJob")
        #expect(status(decision)?["lastScheduleTime"] == "2027-01-15T08:10:00Z")
        // Who died before the time was written down makes no second one.
        let again = decide(cronJob(), [job(made.name)], at: 602)
        #expect(created(again).isEmpty && status(again)?["lastScheduleTime"] == "2027-01-15T08:10:00Z")
        #expect(created(decide(cronJob(["suspend": true]), at: 601)).isEmpty)
    }

    @Test("of several missed times the last one counts; too many are told of; past the deadline none is made")
    func missed() {
        let late = decide(cronJob(), at: 3605)
        #expect(created(late).map(\.name) == ["tick-\((start + 3600) / 60)"])
        let years = decide(cronJob(), at: 400 * 86_400 + 5)
        #expect(reasons(years).contains("TooManyMissedTimes") && created(years).count == 1)
        let tooLate = decide(cronJob(["startingDeadlineSeconds": 5], status: [:]), at: 620)
        #expect(created(tooLate).isEmpty)
    }

    @Test("Forbid waits for what runs, Replace deletes it, Allow lets it run")
    func concurrency() {
        let running = [job("other")]
        let forbidden = decide(cronJob(["concurrencyPolicy": "Forbid"]), running, at: 601)
        #expect(created(forbidden).isEmpty && reasons(forbidden).contains("JobAlreadyActive"))
        let replaced = decide(cronJob(["concurrencyPolicy": "Replace"]), running, at: 601)
        #expect(deleted(replaced) == ["other"] && created(replaced).count == 1)
        let allowed = decide(cronJob(), running, at: 601)
        #expect(deleted(allowed).isEmpty && created(allowed).count == 1)
        #expect(status(allowed)?["active"]?[0]?["name"] == "other")
    }

    @Test("the oldest that have ended are deleted, each kind for itself, and the last success is written down")
    func history() {
        let jobs = [
            job("a", "Complete", at: 1), job("b", "Failed", at: 2), job("c", "Complete", at: 3),
            job("d", "Failed", at: 4),
            job("e"),
        ]
        let decision = decide(cronJob(), jobs, at: 10)
        #expect(deleted(decision) == ["a", "b"])
        #expect(status(decision)?["lastSuccessfulTime"] == "2027-01-15T08:00:03Z")
    }

    @Test("a zone that nobody knows is told of, and nothing is made")
    func zone() {
        let decision = decide(cronJob(["timeZone": "Mars/Olympus"]), at: 601)
        #expect(created(decision).isEmpty && reasons(decision) == ["UnknownTimeZone"])
    }

    // MARK: Disruption budgets

    private func pod(_ name: String, isReady: Bool = true) -> KubernetesObject {
        KubernetesObject(json: [
            "metadata": ["name": .string(name), "namespace": "n", "uid": .string(name)], "spec": [:],
            "status": [
                "phase": "Running",
                "conditions": [
                    [
                        "type": "Ready", "status": isReady ? "True" : "False",
                        "lastTransitionTime": .string(Timestamp(seconds: start).secondsText),
                    ]
                ],
            ],
        ])
    }

    private func budget(_ spec: JSON, _ pods: [KubernetesObject], status: JSON = [:], replicas: Int? = nil) -> JSON? {
        let object = KubernetesObject(json: [
            "metadata": ["name": "b", "namespace": "n", "uid": "b", "generation": 2], "spec": spec, "status": status,
        ])
        let decision = DisruptionController.decide(object, pods: pods, now: Timestamp(seconds: start)) { _ in
            replicas.map { ("owner", $0) }
        }
        return decision.changes.compactMap {
            if case .updateStatus(.podDisruptionBudget, _, let status) = $0 { status } else { nil }
        }.last
    }

    @Test(
        "how many pods may go: by number, by share, of those that are ready and stay",
        arguments: [
            (["minAvailable": 1], 2), (["minAvailable": "50%"], 1), (["maxUnavailable": 1], 0),
            (["maxUnavailable": "50%"], 1),
        ] as [(JSON, Int)])
    func disruptions(_ spec: JSON, _ allowed: Int) throws {
        // Three of four are ready.
        let pods = ["a", "b", "c"].map { pod($0) } + [pod("d", isReady: false)]
        let status = try #require(budget(spec, pods, replicas: 4))
        #expect(status["disruptionsAllowed"]?.int == allowed && status["currentHealthy"] == 3, "\(status)")
        #expect(status["observedGeneration"] == 2 && status["expectedPods"] == 4)
        #expect(status["conditions"]?[0]?["reason"]?.string == (allowed > 0 ? "SufficientPods" : "InsufficientPods"))
    }

    @Test("a pod that is about to go counts no more, until it has stayed for two minutes")
    func leaving() throws {
        func status(_ seconds: Int64) -> JSON {
            ["disruptedPods": ["a": .string(Timestamp(seconds: start - seconds).secondsText)]]
        }
        let pods = ["a", "b"].map { pod($0) }
        #expect(budget(["minAvailable": 1], pods, status: status(10))?["disruptionsAllowed"] == 0)
        let later = try #require(budget(["minAvailable": 1], pods, status: status(130)))
        #expect(later["disruptionsAllowed"] == 1 && later["disruptedPods"] == nil)
    }

    @Test("where nobody says how many pods there should be, none may go")
    func unknown() throws {
        let status = try #require(budget(["maxUnavailable": 1], [pod("a"), pod("b")]))
        #expect(status["disruptionsAllowed"] == 0 && status["conditions"]?[0]?["reason"] == "SyncFailed")
    }
}
