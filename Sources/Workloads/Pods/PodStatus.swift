internal import IO
public import Serialization

/// `status` of a Pod object, as Kubernetes shows it.
public enum PodStatus {
    /// The status of a pod whose life stands as `life` says.
    ///
    /// `previous` keeps the times of conditions that did not change.
    public static func render(
        _ pod: PodManifest, _ life: PodLifecycle, facts: PodFacts, startedAt: Int64, now: Int64, previous: JSON
    ) -> JSON {
        let isReady = life.isReady
        var status: JSON = [
            "phase": .string(life.phase.rawValue), "startTime": time(startedAt), "qosClass": "Burstable",
        ]
        if let first = facts.hostIPs.first {
            status["hostIP"] = .string(first)
            status["hostIPs"] = .array(facts.hostIPs.map { ["ip": .string($0)] })
        }
        if !facts.podIP.isEmpty {
            status["podIP"] = .string(facts.podIP)
            status["podIPs"] = .array(facts.podIPs.map { ["ip": .string($0)] })
        }
        let isDone = life.phase == .succeeded || life.phase == .failed
        let waiting = life.containers.filter { ![.initial, .ephemeral].contains($0.role) && !$0.isReady }.map(\.name)
        let notReady = "containers with unready status: [\(waiting.joined(separator: " "))]"
        let reason = isDone ? "PodCompleted" : "ContainersNotReady"
        let conditions: [(String, Bool, String, String)] = [
            ("PodScheduled", true, "", ""),
            ("Initialized", life.isInitialized, "ContainersNotInitialized", "init containers have not completed"),
            ("ContainersReady", isReady, reason, notReady),
            ("Ready", isReady, reason, notReady),
        ]
        let old = previous["conditions"]?.array ?? []
        status["conditions"] = .array(
            conditions.map { type, isTrue, reason, message in
                let state = isTrue ? "True" : "False"
                let before = old.first { $0["type"]?.string == type && $0["status"]?.string == state }
                var condition: JSON = [
                    "type": .string(type), "status": .string(state), "lastProbeTime": .null,
                    "lastTransitionTime": before?["lastTransitionTime"] ?? time(now),
                ]
                if !isTrue {
                    condition["reason"] = .string(reason)
                    condition["message"] = .string(message)
                }
                return condition
            })
        let images = Dictionary(
            (pod.initContainers + pod.containers + pod.ephemeralContainers).map { ($0.name, $0.image) },
            uniquingKeysWith: { first, _ in first })
        func list(_ belongs: (ContainerRecord) -> Bool) -> JSON {
            .array(
                life.containers.filter(belongs).map {
                    container(
                        $0, pod: pod, image: images[$0.name] ?? SidecarPlan.image, isInitialized: life.isInitialized)
                })
        }
        status["initContainerStatuses"] = list { $0.role == .initial || $0.role == .sidecar }
        status["containerStatuses"] = list { $0.role == .main || $0.role == .proxy }
        if !pod.ephemeralContainers.isEmpty {
            status["ephemeralContainerStatuses"] = list { $0.role == .ephemeral }
        }
        if life.hasFailed { status["reason"] = "InitContainerFailed" }
        return status
    }

    /// The status of a pod that cannot be run at all.
    public static func refused(_ error: WorkloadError, now: Int64) -> JSON {
        [
            "phase": "Failed", "reason": .string(error.reason), "message": .string(error.message),
            "startTime": time(now),
            "conditions": [
                [
                    "type": "Ready", "status": "False", "reason": .string(error.reason),
                    "message": .string(error.message), "lastTransitionTime": time(now),
                ]
            ],
        ]
    }

    private static func container(
        _ record: ContainerRecord, pod: PodManifest, image: String, isInitialized: Bool
    ) -> JSON {
        var status: JSON = [
            "name": .string(record.name), "image": .string(image), "imageID": .string(image),
            "restartCount": .integer(Int64(record.restartCount)),
            "ready": .bool(
                record.role == .ephemeral
                    ? false : record.role == .initial ? record.terminated?.exitCode == 0 : record.isReady),
            "started": .bool(record.isStarted), "lastState": [:],
        ]
        switch record.state {
        case .starting: status["state"] = ["waiting": ["reason": "ContainerCreating"]]
        case .waiting(let reason, let message):
            let isHeldUp = record.role == .main && !isInitialized
            var waiting: JSON = [
                "reason": .string(reason == "PodInitializing" && !isHeldUp ? "ContainerCreating" : reason)
            ]
            if reason == "PodInitializing", isHeldUp { waiting["reason"] = "PodInitializing" }
            if !message.isEmpty { waiting["message"] = .string(message) }
            status["state"] = ["waiting": waiting]
        case .running(let running):
            status["state"] = ["running": ["startedAt": time(running.startedAt)]]
            status["containerID"] = .string("runc://\(running.id)")
        case .terminated(let end):
            status["state"] = terminated(end)
            if !end.id.isEmpty { status["containerID"] = .string("runc://\(end.id)") }
        }
        if let last = record.last, record.terminated == nil { status["lastState"] = terminated(last) }
        return status
    }

    private static func terminated(_ end: ContainerState.Terminated) -> JSON {
        var json: JSON = ["exitCode": .integer(Int64(end.exitCode)), "reason": .string(end.reason)]
        if !end.message.isEmpty { json["message"] = .string(end.message) }
        if end.startedAt > 0 { json["startedAt"] = time(end.startedAt) }
        if end.finishedAt > 0 { json["finishedAt"] = time(end.finishedAt) }
        if !end.id.isEmpty { json["containerID"] = .string("runc://\(end.id)") }
        return ["terminated": json]
    }

    static func time(_ seconds: Int64) -> JSON { .string(Timestamp(seconds: seconds).secondsText) }
}
