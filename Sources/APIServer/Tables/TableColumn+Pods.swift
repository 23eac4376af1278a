import KubernetesAPI
import Serialization

extension TableColumn {
    static let pods: [TableColumn] = [
        name,
        text("Ready") { object in
            let pod = Pod(json: object.json)
            let ready = pod.status.containerStatuses.filter { $0.ready && $0.state.running != nil }.count
            let sidecars = pod.spec.initContainers.filter { $0.restartPolicy == "Always" }.map(\.name)
            let readySidecars = pod.status.initContainerStatuses.filter { sidecars.contains($0.name) && $0.ready }.count
            // The agent's own sidecar has a status and no place in the specification.
            let containers = max(pod.spec.containers.count, pod.status.containerStatuses.count)
            return "\(ready + readySidecars)/\(containers + sidecars.count)"
        }, text("Status") { podStatus(Pod(json: $0.json)) },
        TableColumn("Restarts") { object, now in .string(restarts(Pod(json: object.json), now)) }, age,
        text("IP", wide: true) { shown(Pod(json: $0.json).status.podIP) },
        text("Node", wide: true) { shown(Pod(json: $0.json).spec.nodeName) },
        text("Nominated Node", wide: true) { shown($0.status["nominatedNodeName"]?.string ?? "") },
        text("Readiness Gates", wide: true) { object in
            let pod = Pod(json: object.json)
            let gates = pod.spec.readinessGates.map(\.conditionType)
            if gates.isEmpty { return "<none>" }
            let met = gates.filter { gate in pod.status.conditions.contains { $0.type == gate && $0.status == "True" } }
            return "\(met.count)/\(gates.count)"
        },
    ]

    /// The one word that stands for a pod's state: the phase, unless a container has something more precise to say.
    static func podStatus(_ pod: Pod) -> String {
        var word = pod.status.reason.isEmpty ? pod.status.phase : pod.status.reason
        if let initial = initStatus(pod) {
            word = initial
        } else {
            var hasRunning = false
            for container in pod.status.containerStatuses.reversed() {
                if let reason = container.state.waiting?.reason, !reason.isEmpty {
                    word = reason
                } else if let end = container.state.terminated {
                    word = ended(end)
                } else if container.ready, container.state.running != nil {
                    hasRunning = true
                }
            }
            if word == "Completed", hasRunning {
                let isReady = pod.status.conditions.contains { $0.type == "Ready" && $0.status == "True" }
                word = isReady ? "Running" : "NotReady"
            }
        }
        if pod.metadata.deletionTimestamp != nil, pod.status.phase != "Succeeded", pod.status.phase != "Failed" {
            return pod.status.reason == "NodeLost" ? "Unknown" : "Terminating"
        }
        return word.isEmpty ? "Unknown" : word
    }

    private static func ended(_ end: ContainerStateTerminated) -> String {
        if !end.reason.isEmpty { return end.reason }
        return end.signal.map { "Signal:\($0)" } ?? "ExitCode:\(end.exitCode)"
    }

    /// `Init:1/2`, `Init:CrashLoopBackOff`, … while init containers run; `nil` afterwards.
    private static func initStatus(_ pod: Pod) -> String? {
        for (index, container) in pod.status.initContainerStatuses.enumerated() {
            let isSidecar = pod.spec.initContainers.first { $0.name == container.name }?.restartPolicy == "Always"
            if let end = container.state.terminated {
                if end.exitCode == 0 { continue }
                return "Init:" + ended(end)
            }
            if isSidecar, container.started == true { continue }
            if let reason = container.state.waiting?.reason, !reason.isEmpty, reason != "PodInitializing" {
                return "Init:" + reason
            }
            return "Init:\(index)/\(pod.spec.initContainers.count)"
        }
        return nil
    }

    private static func restarts(_ pod: Pod, _ now: Timestamp) -> String {
        let sidecars = pod.spec.initContainers.filter { $0.restartPolicy == "Always" }.map(\.name)
        let counted =
            pod.status.containerStatuses + pod.status.initContainerStatuses.filter { sidecars.contains($0.name) }
        let count = counted.reduce(0) { $0 + $1.restartCount }
        guard count > 0 else { return "0" }
        let last = counted.compactMap { $0.lastState.terminated?.finishedAt }.max()
        guard let last, Timestamp(last) != nil else { return String(count) }
        return "\(count) (\(Age.since(last, now)) ago)"
    }
}
