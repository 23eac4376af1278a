internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

extension NodeAgent {
    private static let mergePatch = "application/merge-patch+json"

    /// Writes the pod's status when it has changed; at most one write per pod is under way.
    func writeStatus(_ record: PodRecord) {
        guard !record.isWritingStatus, !isStopping else { return }
        record.isWritingStatus = true
        begin { agent in
            // What the rest of this pass changes goes into the same write.
            await Task.yield()
            while !agent.isStopping, let status = agent.newStatus(record) {
                if await agent.send(status, record.pod.namespace, record.pod.name, uid: record.pod.uid) {
                    record.writtenStatus = status
                } else {
                    await agent.loop.sleep(for: .milliseconds(500))
                    guard agent.records[record.pod.uid] != nil else { break }
                }
            }
            record.isWritingStatus = false
        }
        if record.role == .gateway { updateGateway() }
    }

    private func newStatus(_ record: PodRecord) -> JSON? {
        guard !record.isRemoved else { return .none }
        let status = PodStatus.render(
            record.pod, record.life, facts: record.facts, startedAt: record.startedAt, now: WallClock.now.seconds,
            previous: record.writtenStatus)
        guard status != record.writtenStatus else { return .none }
        return status
    }

    /// Whether the status is written, or need not be any more.
    private func send(_ status: JSON, _ namespace: String, _ name: String, uid: String) async -> Bool {
        let path = "/api/v1/namespaces/\(namespace)/pods/\(name)/status"
        let body: JSON = ["metadata": ["uid": .string(uid)], "status": status]
        do throws(APIError) {
            _ = try await api.send("PATCH", path, body: body, contentType: Self.mergePatch)
            return true
        } catch {
            // Gone, or another pod of the same name: nobody wants this status.
            if error.status == 404 || error.status == 409 { return true }
            log.warning("status not written", ["pod": "\(namespace)/\(name)", "error": "\(error)"])
            return false
        }
    }

    /// Tells in the status why a pod cannot be run.
    func refuse(_ object: KubernetesObject, _ error: WorkloadError) async {
        let status = PodStatus.refused(error, now: WallClock.now.seconds)
        for _ in 0..<20 where !isStopping {
            if await send(status, object.namespace, object.name, uid: object.metadata.uid) { return }
            await loop.sleep(for: .milliseconds(500))
        }
    }

    func deleteObject(_ record: PodRecord) async {
        await deleteObject(namespace: record.pod.namespace, name: record.pod.name, uid: record.pod.uid)
    }

    /// Deletes the object of a pod of which nothing is left.
    func deleteObject(namespace: String, name: String, uid: String) async {
        let path = "/api/v1/namespaces/\(namespace)/pods/\(name)"
        let body: JSON = [
            "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0,
            "preconditions": ["uid": .string(uid)],
        ]
        while !isStopping {
            do throws(APIError) {
                _ = try await api.send("DELETE", path, body: body, contentType: "application/json")
                return
            } catch {
                if error.status == 404 || error.status == 409 { return }
                log.warning("pod object not deleted", ["pod": "\(namespace)/\(name)", "error": "\(error)"])
                await loop.sleep(for: .milliseconds(500))
            }
        }
    }

    /// Makes an event on the pod.
    ///
    /// One that is lost is no harm.
    func note(_ record: PodRecord, reason: String, message: String, isWarning: Bool) {
        let pod = record.pod
        let time = PodStatus.time(WallClock.now.seconds)
        let event: JSON = [
            "apiVersion": "v1", "kind": "Event",
            "metadata": [
                "name": .string("\(pod.name).\(String(UInt64.random(in: 0 ... .max), radix: 16))"),
                "namespace": .string(pod.namespace),
            ],
            "involvedObject": [
                "apiVersion": "v1", "kind": "Pod", "name": .string(pod.name), "namespace": .string(pod.namespace),
                "uid": .string(pod.uid),
            ],
            "reason": .string(reason), "message": .string(String(message.prefix(1000))),
            "type": isWarning ? "Warning" : "Normal", "count": 1, "firstTimestamp": time, "lastTimestamp": time,
            "source": ["component": "skein-node", "host": .string(configuration.nodeName)],
        ]
        begin { agent in
            _ = try? await agent.api.send(
                "POST", "/api/v1/namespaces/\(pod.namespace)/events", body: event, contentType: "application/json")
        }
    }
}
