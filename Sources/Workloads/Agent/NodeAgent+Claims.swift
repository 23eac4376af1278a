internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

// Storage that outlives pods: a pod waits for its claims, and what nobody claims any more goes.
extension NodeAgent {
    private static let mergePatch = "application/merge-patch+json"
    /// How long a claim may take before the pod's events say that it is waited for.
    private static let claimPatience = Duration.seconds(2)

    /// Returns when the volumes of a pod's claims are known, or the pod is to go.
    ///
    /// What is waited for is told as an event, again when it changes.
    func awaitClaims(_ record: PodRecord) async {
        let since = MonotonicTime.now
        var told = ""
        while !record.isRemoved, !isStopping, !record.life.isDeleting {
            do throws(WorkloadError) {
                for (name, volume) in record.pod.volumes {
                    guard case .claim(let claim, _) = volume.source else { continue }
                    _ = try place(of: claim, volume: name, record)
                }
                return
            } catch {
                if error.message != told, MonotonicTime.now - since > Self.claimPatience {
                    told = error.message
                    note(record, reason: error.reason, message: error.message, isWarning: true)
                    log.warning("pod waits for storage", ["pod": record.pod.fullName, "error": error.message])
                }
            }
            await loop.sleep(for: .milliseconds(20))
        }
    }

    func place(of claim: String, volume: String, _ record: PodRecord) throws(WorkloadError) -> ClaimedVolume {
        try ClaimedVolume.find(claim, of: record.pod, volume: volume, mirror: mirror, node: configuration.nodeName)
    }

    /// Removes the directories of volumes that nobody claims any more, once for many changes that come together.
    func reclaim() {
        guard !isReclaiming else { return }
        guard !ClaimedVolume.reclaimable(mirror.all(.volume), node: configuration.nodeName).isEmpty else { return }
        isReclaiming = true
        begin { agent in
            var pause = Duration.milliseconds(100)
            while !agent.isStopping {
                let due = ClaimedVolume.reclaimable(agent.mirror.all(.volume), node: agent.configuration.nodeName)
                if due.isEmpty { break }
                var isDone = true
                for volume in due { isDone = await agent.reclaim(volume.name, volume.handle) && isDone }
                // The watch tells of what was done; what failed is tried again, less and less often.
                await agent.loop.sleep(for: pause)
                pause = isDone ? .milliseconds(100) : min(pause * 2, .seconds(60))
            }
            agent.isReclaiming = false
        }
    }

    private func reclaim(_ name: String, _ handle: String) async -> Bool {
        let directory = configuration.layout.claim(handle)
        do throws(SystemError) {
            try await pool.run { () throws(SystemError) in
                if File.exists(directory) { try File.removeTree(directory) }
            }
        } catch {
            log.error("a volume's directory cannot be removed", ["volume": name, "error": "\(error)"])
            return false
        }
        let body: JSON = ["metadata": ["annotations": .object([LocalStorage.reclaimedAnnotation: "true"])]]
        do throws(APIError) {
            _ = try await api.send(
                "PATCH", "/api/v1/persistentvolumes/\(name)", body: body, contentType: Self.mergePatch)
            log.info("volume removed", ["volume": name])
            return true
        } catch {
            if error.status == 404 { return true }
            log.warning("a removed volume was not told of", ["volume": name, "error": "\(error)"])
            return false
        }
    }
}
