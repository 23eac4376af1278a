public import KubernetesAPI
import Mesh
public import Serialization

/// Keeps the numbered pods of a StatefulSet: `web-0`, `web-1` …, each with its own name, one after another.
public enum StatefulSetController {
    static let podNameLabel = "statefulset.kubernetes.io/pod-name"
    static let indexLabel = "apps.kubernetes.io/pod-index"

    /// What to do for a StatefulSet, given the pods and the ControllerRevisions that it controls, and the claims of its
    /// namespace.
    public static func decide(
        _ object: KubernetesObject, pods: [KubernetesObject], revisions: [KubernetesObject],
        claims: [KubernetesObject] = [], now: Timestamp
    ) -> Decision {
        var look = StatefulSetLook(object, pods, revisions, claims, now)
        if object.metadata.deletionTimestamp == nil { look.act() }
        look.writeStatus()
        return look.decision
    }

    /// The number at the end of a pod's name; nil for a pod that is none of that set.
    static func ordinal(_ pod: String, of set: String) -> Int? {
        guard pod.hasPrefix(set + "-") else { return nil }
        let digits = pod.dropFirst(set.count + 1)
        guard !digits.isEmpty, digits.allSatisfy({ $0.isASCII && $0.isNumber }), digits == "0" || digits.first != "0"
        else { return nil }
        return Int(digits)
    }
}

/// One look at one StatefulSet.
private struct StatefulSetLook {
    private struct Member {
        var ordinal: Int
        var state: PodState
        var name: String { state.object.name }
        var revision: String { state.object.metadata.labels[RevisionHistory.hashLabel] ?? "" }
    }

    let object: KubernetesObject
    let spec: StatefulSetSpec
    let now: Timestamp
    var decision = Decision()
    private var members: [Member]
    private var history: RevisionHistory
    private var currentRevision: String
    private var created = 0
    private let claims: StatefulSetClaims
    private var collisions: Int { object.status["collisionCount"]?.int ?? 0 }

    init(
        _ object: KubernetesObject, _ pods: [KubernetesObject], _ revisions: [KubernetesObject],
        _ claims: [KubernetesObject], _ now: Timestamp
    ) {
        self.object = object
        self.claims = StatefulSetClaims(object, claims)
        self.now = now
        spec = StatefulSetSpec(json: object.spec)
        history = RevisionHistory(
            object, .statefulSet, revisions, collisions: object.status["collisionCount"]?.int ?? 0)
        members = pods.compactMap { pod in
            StatefulSetController.ordinal(pod.name, of: object.name).map { Member(ordinal: $0, state: PodState(pod)) }
        }.sorted { $0.ordinal < $1.ordinal }
        let known = object.status["currentRevision"]?.string ?? ""
        currentRevision = history.named(known) == nil ? history.update.name : known
    }

    private var slots: Range<Int> {
        spec.firstOrdinal..<(spec.firstOrdinal + min(max(0, spec.replicas), 1_000_000))
    }

    private func isAvailable(_ member: Member) -> Bool {
        member.state.phase == "Running"
            && member.state.isAvailable(minReadySeconds: spec.minReadySeconds, now: now)
    }

    /// Waits for a pod: it comes by the watch, or by the clock when only its time as ready is missing.
    private mutating func wait(for member: Member) {
        guard spec.minReadySeconds > 0, let since = member.state.readySince else { return }
        let due = since + .seconds(spec.minReadySeconds)
        if due > now { decision.lookAgain(after: due - now) }
    }

    mutating func act() {
        for member in members where !member.state.isTerminating {
            decision.changes += claims.owned(member.state.object, isSurplus: !slots.contains(member.ordinal))
        }
        switch fill() {
        case .waits: return
        case .unready: break  // A broken pod of an old template must not stop the template that mends it.
        case .complete: guard condense() else { return }
        }
        roll()
    }

    /// How far the pods are that there should be.
    private enum Filling {
        case complete
        case unready
        case waits
    }

    /// Makes what is missing, from the lowest number up.
    private mutating func fill() -> Filling {
        var filling = Filling.complete
        for ordinal in slots {
            guard let member = members.first(where: { $0.ordinal == ordinal }) else {
                guard created < ReplicaSetController.burstMax else { return .waits }
                if claims.isLeaving("\(object.name)-\(ordinal)") {
                    if !spec.isParallel { return .waits }
                    filling = .waits
                    continue
                }
                create(ordinal)
                if !spec.isParallel { return .waits }
                filling = .waits
                continue
            }
            if !member.state.isTerminating { decision.changes += claims.missing(member.name) }
            if member.state.isFinished, !member.state.isTerminating {
                delete(member, "RecreatingFailedPod", isWarning: member.state.phase == "Failed")
                if !spec.isParallel { return .waits }
                filling = .waits
                continue
            }
            if !spec.isParallel, member.state.isTerminating { return .waits }
            if !spec.isParallel, !isAvailable(member) {
                wait(for: member)
                return .unready
            }
        }
        return filling
    }

    /// Deletes what is too many, from the highest number down; false when a pod must be waited for first.
    private mutating func condense() -> Bool {
        let surplus = members.filter { !slots.contains($0.ordinal) }.sorted { $0.ordinal > $1.ordinal }
        var isDone = true
        for member in surplus {
            isDone = false
            if member.state.isTerminating {
                if !spec.isParallel { return false }
                continue
            }
            delete(member, "SuccessfulDelete", isWarning: false)
            if !spec.isParallel { return false }
        }
        return isDone
    }

    /// Replaces pods of an old template, from the highest number down to the partition.
    private mutating func roll() {
        guard !spec.isOnDelete else { return }
        let total = slots.count
        let allowed = max(1, spec.maxUnavailable?.scaled(of: total, roundUp: true) ?? 1)
        let mine = members.filter { slots.contains($0.ordinal) }
        var missing = mine.filter { $0.state.isTerminating || !isAvailable($0) }.count + (total - mine.count)
        for member in mine.reversed() where member.ordinal >= spec.firstOrdinal + max(0, spec.partition) {
            if member.revision != history.update.name {
                if member.state.isTerminating { continue }
                let isBroken = !isAvailable(member)
                guard isBroken || missing < allowed else { return }
                delete(member, "SuccessfulDelete", isWarning: false)
                if !isBroken { missing += 1 }
                if missing >= allowed { return }
            } else if !isAvailable(member) {
                wait(for: member)
                if missing >= allowed { return }
            }
        }
    }

    private mutating func create(_ ordinal: Int) {
        let name = "\(object.name)-\(ordinal)"
        // A number below the partition comes back with the template that it had.
        let isOld =
            !spec.isOnDelete && ordinal < spec.firstOrdinal + spec.partition && currentRevision != history.update.name
        let revision = (isOld ? history.named(currentRevision) : nil) ?? history.update
        var pod = PodFactory.pod(RevisionHistory.template(revision), of: object, .statefulSet)
        pod.metadata.name = name
        pod.label(StatefulSetController.podNameLabel, name)
        pod.label(StatefulSetController.indexLabel, String(ordinal))
        pod.label(RevisionHistory.hashLabel, revision.name)
        pod.spec["hostname"] = .string(name)
        if !spec.serviceName.isEmpty { pod.spec["subdomain"] = .string(spec.serviceName) }
        decision.changes += claims.missing(name)
        decision.changes.append(.create(.pod, claims.mounted(pod)))
        note("SuccessfulCreate", "create Pod \(name) in StatefulSet \(object.name) successful")
        created += 1
    }

    private mutating func delete(_ member: Member, _ reason: String, isWarning: Bool) {
        if reason == "RecreatingFailedPod" {
            note(
                reason,
                "StatefulSet \(object.namespace)/\(object.name) is recreating \(member.state.phase) Pod \(member.name)",
                isWarning: isWarning)
        }
        decision.changes.append(.delete(.pod, member.state.object.key, uid: member.state.object.metadata.uid))
        note("SuccessfulDelete", "delete Pod \(member.name) in StatefulSet \(object.name) successful")
    }

    private mutating func note(_ reason: String, _ message: String, isWarning: Bool = false) {
        decision.changes.append(.event(EventNote(object, reason, message, isWarning: isWarning)))
    }

    // MARK: Status

    mutating func writeStatus() {
        let update = history.update.name
        let active = members.filter { !$0.state.isFinished }
        let living = active.filter { !$0.state.isTerminating }
        let ready = active.filter { $0.state.phase == "Running" && $0.state.isReady }
        let available = ready.filter(isAvailable).count
        var current = living.filter { $0.revision == currentRevision }.count
        let updated = living.filter { $0.revision == update }.count
        if !spec.isOnDelete, updated == active.count, ready.count == active.count, active.count == slots.count,
            created == 0
        {
            currentRevision = update
            current = updated
        }
        if let next = active.compactMap(\.state.readySince).map({ $0 + .seconds(spec.minReadySeconds) })
            .filter({ $0 > now }).min()
        {
            decision.lookAgain(after: next - now)
        }
        var status: JSON = [
            "observedGeneration": .integer(Int64(object.metadata.generation)),
            "replicas": .integer(Int64(active.count)), "availableReplicas": .integer(Int64(available)),
            "currentRevision": .string(currentRevision), "updateRevision": .string(update),
            "collisionCount": .integer(Int64(collisions)),
        ]
        for (name, count) in [
            ("readyReplicas", ready.count), ("currentReplicas", current), ("updatedReplicas", updated),
        ] where count > 0 {
            status[name] = .integer(Int64(count))
        }
        if let conditions = object.status["conditions"] { status["conditions"] = conditions }
        if object.metadata.deletionTimestamp == nil {
            history.trim(
                limit: spec.revisionHistoryLimit, live: Set(members.map(\.revision)).union([currentRevision, update]))
            decision.changes = history.changes + decision.changes
        }
        if status != object.status { decision.changes.append(.updateStatus(.statefulSet, object.key, status)) }
    }
}
