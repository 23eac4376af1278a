internal import KubernetesAPI
internal import Serialization
internal import Telemetry

// Containers that join a pod while it runs (`kubectl debug`).
extension NodeAgent {
    /// Containers that join one pod; more are refused, as each takes what a container takes and none ever goes.
    static let joinedMax = 64

    /// Starts what was added to a pod since it was last looked at.
    func takeEphemeral(_ record: PodRecord) {
        let told = record.object.spec["ephemeralContainers"]?.array ?? []
        guard told.count > record.pod.ephemeralContainers.count, !record.life.isDeleting else { return }
        let security = record.object.spec["securityContext"] ?? [:]
        var hasNew = false
        for (index, json) in told.enumerated() {
            let name = json["name"]?.string ?? ""
            guard record.container(name) == nil, !record.refusedContainers.contains(name) else { continue }
            do throws(WorkloadError) {
                let path = "spec.ephemeralContainers[\(index)]"
                let container = try ContainerManifest(json, pod: security, path: path, isInit: false)
                guard PodManifest.isPlain(name) else { throw .field("\(path).name", "\(name) is no name") }
                guard record.pod.ephemeralContainers.count < Self.joinedMax else {
                    throw .field(path, "at most \(Self.joinedMax) containers join a pod")
                }
                for mount in container.mounts where record.pod.volumes[mount.volume] == nil {
                    throw .field("\(path).volumeMounts", "there is no volume named \(mount.volume)")
                }
                record.pod.ephemeralContainers.append(container)
                record.life.add(ephemeral: name)
                hasNew = true
                log.info("container joins a pod", ["pod": record.pod.fullName, "container": name])
            } catch {
                record.refusedContainers.insert(name)
                note(record, reason: "Failed", message: "\(name): \(error.message)", isWarning: true)
            }
        }
        guard hasNew else { return }
        followReferences()
        writeJournal(record)
        apply(.tick, to: record)
        writeStatus(record)
    }
}
