internal import Docker
internal import Glibc
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

// The networks of `skein network create`, and containers on them, for the command line: the paths and members of Docker's API.
extension NodeAgent {
    /// Answers what begins with `/networks` and `/containers`; of root alone, since it changes the machine's network.
    func answerNetworks(_ request: HTTPRequest, _ parts: [String]) async -> HTTPResponse {
        guard request.peer.credentials?.uid == 0 else {
            return Self.refusal(403, "only root may ask for networks and containers")
        }
        guard let networks = configuration.networks else {
            return Self.refusal(501, "this node has no networks but the pods' own")
        }
        var body: JSON = [:]
        do throws(HTTPError) {
            let bytes = try await request.body.collect()
            if !bytes.isEmpty {
                do throws(JSONError) { body = try JSON.parse(bytes) } catch {
                    return Self.refusal(400, "the body is no JSON: \(error)")
                }
            }
        } catch { return Self.refusal(400, "the body cannot be read: \(error)") }
        if parts.first == "containers" { return await answerContainers(request, parts, networks) }
        let (method, ready) = (request.method, body)
        let wall = WallClock.now
        let now = Timestamp(seconds: wall.seconds, nanoseconds: wall.nanoseconds).description
        let answer = await pool.run { () -> HTTPResponse in
            do throws(Refusal) {
                return Self.page(try Self.answer(method, Array(parts.dropFirst()), ready, networks, now: now))
            } catch { return Self.refusal(error.status, error.message) }
        }
        refreshNames()
        return answer
    }

    private static func answer(
        _ method: String, _ parts: [String], _ body: JSON, _ networks: ContainerNetworks, now: String
    ) throws(Refusal) -> JSON {
        func container() throws(Refusal) -> String {
            guard let name = body["Container"]?.string, !name.isEmpty else { throw Refusal("Container: it is missing") }
            return name
        }
        switch (method, parts.count, parts.first ?? "", parts.last ?? "") {
        case ("GET", 0, _, _): return networks.list
        case ("GET", 1, let name, _): return try networks.inspect(name)
        case ("POST", 1, "create", _):
            return ["Id": .string(try networks.create(body, created: now)), "Warning": ""]
        case ("DELETE", 1, let name, _):
            try networks.remove(name)
            return [:]
        case ("POST", 2, let name, "connect"):
            try networks.connect(try container(), to: name, body["EndpointConfig"])
            return [:]
        case ("POST", 2, let name, "disconnect"):
            try networks.disconnect(try container(), from: name)
            return [:]
        default: throw Refusal("\(method) /networks/\(parts.joined(separator: "/")): unknown", status: 404)
        }
    }

    private func answerContainers(
        _ request: HTTPRequest, _ parts: [String], _ networks: ContainerNetworks
    ) async -> HTTPResponse {
        if request.method == "GET", parts.count == 1 { return Self.page(networks.containers) }
        guard request.method == "POST", parts.count == 3, parts[2] == "stop",
            let record = records.values.first(where: { $0.pod.namespace == "default" && $0.pod.name == parts[1] })
        else { return Self.refusal(404, "No such container: \(parts.dropFirst().first ?? "")") }
        guard record.pod.restartPolicy == .never else {
            return Self.refusal(
                409,
                "container \(parts[1]) was started with --restart: it would be started again; remove it with skein rm -f"
            )
        }
        let wished = request.queryItems.first { $0.name == "t" }?.value
        let patience = Duration.seconds(min(86_400, max(0, wished.flatMap { Int($0) } ?? 10)))
        await stopContainers(of: record, patience: patience)
        return Self.page([:])
    }

    /// Asks the pod's containers to end and ends those that have not after `patience`; returns when they have ended.
    private func stopContainers(of record: PodRecord, patience: Duration) async {
        let names = Array(record.instances.keys)
        for name in names { begin { await $0.terminate(name, record) } }
        let deadline = MonotonicTime.now + patience
        while !record.instances.isEmpty, !isStopping, MonotonicTime.now < deadline {
            await loop.sleep(for: .milliseconds(20))
        }
        for instance in record.instances.values { runtime.signal(instance, SIGKILL) }
        while !record.instances.isEmpty, !isStopping, !record.isRemoved { await loop.sleep(for: .milliseconds(20)) }
    }

    private static func page(_ json: JSON) -> HTTPResponse {
        HTTPResponse(status: 200, contentType: "application/json", body: json.bytes)
    }

    private static func refusal(_ status: UInt16, _ message: String) -> HTTPResponse {
        HTTPResponse(
            status: status, contentType: "application/json", body: (["message": .string(message)] as JSON).bytes)
    }

    // MARK: Names

    /// Brings /etc/hosts of the containers on networks up to date, in place: a mounted file cannot be replaced.
    func refreshNames() {
        guard let networks = configuration.networks else { return }
        for record in records.values where !record.isRemoved && record.pod.annotations[ContainerWish.annotation] != nil
        {
            guard let neighbours = networks.neighbours(of: record.pod.uid) else { continue }
            let path = configuration.layout.pod(record.pod.uid) + "/etc/hosts"
            guard let old = try? File.read(path) else { continue }
            var text = PodFiles.hosts(record.pod, addresses: record.facts.podIPs, neighbours: neighbours)
            // One write that leaves nothing of the old behind; readers pass over empty lines.
            text += String(repeating: "\n", count: max(0, old.count - text.utf8.count))
            guard Array(text.utf8) != old else { continue }
            do throws(SystemError) { try File.writeInPlace(path, text) } catch {
                log.error("names not brought up to date", ["pod": record.pod.fullName, "error": "\(error)"])
            }
        }
    }
}
