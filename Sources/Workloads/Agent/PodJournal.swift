internal import IO
internal import KubernetesAPI
internal import Serialization

/// What the agent writes down about a pod, so that its next life can go on with it (ARCHITECTURE decision 11).
struct PodJournal {
    var object: KubernetesObject
    var role: PodLifecycle.ProxyRole
    var startedAt: Int64
    var place: PodPlace?
    var instances: [String: ContainerRuntime.Instance]
    var runs: [String: Int]
    var logs: [String: [Int]]
    var memory: PodLifecycle.Memory

    private static let version = 1

    var json: JSON {
        var containers: JSON = [:]
        for (name, memory) in memory.containers {
            var entry: JSON = [
                "state": Self.encode(memory.state), "restarts": .integer(Int64(memory.restartCount)),
                "started": .bool(memory.isStarted), "ready": .bool(memory.isReady),
                "runs": .integer(Int64(runs[name] ?? 0)),
                "logs": .array((logs[name] ?? []).map { .integer(Int64($0)) }),
            ]
            if let last = memory.last { entry["last"] = Self.encode(.terminated(last)) }
            if let instance = instances[name] { entry["instance"] = Self.encode(instance) }
            containers[name] = entry
        }
        var json: JSON = [
            "version": .integer(Int64(Self.version)), "object": object.json, "startedAt": .integer(startedAt),
            "role": role == .none ? "none" : role == .sidecar ? "sidecar" : "gateway",
            "initialized": .bool(memory.isInitialized), "failed": .bool(memory.hasFailed),
            "deleting": .bool(memory.isDeleting), "drained": .bool(memory.isDrained), "containers": containers,
        ]
        if let place {
            json["addresses"] = .array(place.addresses.map { .string($0) })
            json["namespace"] = .string(place.namespacePath)
        }
        return json
    }

    /// Reads a journal; nil when it is damaged or of another version.
    init?(_ json: JSON) {
        guard json["version"]?.int == Self.version, let object = json["object"] else { return nil }
        self.object = KubernetesObject(json: object)
        role = json["role"]?.string == "sidecar" ? .sidecar : json["role"]?.string == "gateway" ? .gateway : .none
        startedAt = Int64(json["startedAt"]?.int ?? 0)
        if let path = json["namespace"]?.string {
            place = PodPlace(
                addresses: (json["addresses"]?.array ?? []).compactMap(\.string), namespacePath: path)
        }
        instances = [:]
        runs = [:]
        logs = [:]
        memory = .init()
        memory.isInitialized = json["initialized"]?.bool ?? false
        memory.hasFailed = json["failed"]?.bool ?? false
        memory.isDeleting = json["deleting"]?.bool ?? false
        memory.isDrained = json["drained"]?.bool ?? false
        for (name, entry) in json["containers"]?.object ?? [:] {
            runs[name] = entry["runs"]?.int
            logs[name] = (entry["logs"]?.array ?? []).compactMap(\.int)
            if let instance = entry["instance"] { instances[name] = Self.instance(instance) }
            var last: ContainerState.Terminated?
            if let json = entry["last"], case .terminated(let end) = Self.state(json) { last = end }
            memory.containers[name] = .init(
                state: Self.state(entry["state"] ?? .null), last: last, restartCount: entry["restarts"]?.int ?? 0,
                isStarted: entry["started"]?.bool ?? false, isReady: entry["ready"]?.bool ?? false)
        }
    }

    init(_ record: PodRecord) {
        object = record.object
        role = record.role
        startedAt = record.startedAt
        place = record.place
        instances = record.instances
        runs = record.runs
        logs = record.logs
        memory = record.life.memory
    }

    private static func encode(_ state: ContainerState) -> JSON {
        switch state {
        case .waiting(let reason, let message):
            ["is": "waiting", "reason": .string(reason), "message": .string(message)]
        case .starting: ["is": "starting"]
        case .running(let running):
            ["is": "running", "id": .string(running.id), "startedAt": .integer(running.startedAt)]
        case .terminated(let end):
            [
                "is": "terminated", "id": .string(end.id), "code": .integer(Int64(end.exitCode)),
                "reason": .string(end.reason), "message": .string(end.message),
                "startedAt": .integer(end.startedAt), "finishedAt": .integer(end.finishedAt),
            ]
        }
    }

    private static func state(_ json: JSON) -> ContainerState {
        func text(_ name: String) -> String { json[name]?.string ?? "" }
        func number(_ name: String) -> Int64 { Int64(json[name]?.int ?? 0) }
        switch text("is") {
        case "starting": return .starting
        case "running":
            return .running(.init(id: text("id"), startedAt: number("startedAt"), since: MonotonicTime(nanoseconds: 0)))
        case "terminated":
            return .terminated(
                .init(
                    id: text("id"), exitCode: json["code"]?.int ?? 0, reason: text("reason"), message: text("message"),
                    startedAt: number("startedAt"), finishedAt: number("finishedAt")))
        default: return .waiting(reason: text("reason"), message: text("message"))
        }
    }

    private static func encode(_ instance: ContainerRuntime.Instance) -> JSON {
        [
            "id": .string(instance.id), "pid": .integer(Int64(instance.pid)),
            "pidStart": .string(String(instance.pidStart)), "monitor": .integer(Int64(instance.monitor)),
            "monitorStart": .string(String(instance.monitorStart)), "bundle": .string(instance.bundle),
            "log": .string(instance.log),
        ]
    }

    private static func instance(_ json: JSON) -> ContainerRuntime.Instance? {
        guard let id = json["id"]?.string, let pid = json["pid"]?.int, let monitor = json["monitor"]?.int else {
            return nil
        }
        return .init(
            id: id, pid: Int32(clamping: pid), pidStart: UInt64(json["pidStart"]?.string ?? "") ?? 0,
            monitor: Int32(clamping: monitor), monitorStart: UInt64(json["monitorStart"]?.string ?? "") ?? 0,
            bundle: json["bundle"]?.string ?? "", log: json["log"]?.string ?? "")
    }
}
