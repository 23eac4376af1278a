internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization
internal import Telemetry

extension NodeAgent {
    /// Size from which a log is rotated, as the kubelet has it.
    private static let logSizeMax = 10 << 20
    /// Rotated files that are kept beside the current one.
    private static let rotatedMax = 4
    private static let pieceBytes = 1 << 20

    /// Moves logs that have grown too large aside, again and again.
    func rotateLogs() async {
        while !isStopping {
            await loop.sleep(for: .seconds(10))
            let (instances, runtime) = (records.values.flatMap(\.instances.values), runtime)
            let problems = await pool.run {
                instances.compactMap { instance -> String? in
                    // The pipe's other end is the monitor's: without it, opening would wait for ever.
                    guard File.size(instance.log) ?? 0 > Self.logSizeMax,
                        ProcessHandle.startTime(of: instance.monitor) == instance.monitorStart
                    else { return nil }
                    do throws(SystemError) {
                        try Self.rotate(instance.log)
                        try runtime.reopenLog(instance)
                        return nil
                    } catch { return "\(error)" }
                }
            }
            for problem in problems { log.error("log not rotated", ["error": problem]) }
        }
    }

    static func rotate(_ log: String) throws(SystemError) {
        for number in stride(from: rotatedMax - 1, through: 1, by: -1) where File.exists("\(log).\(number)") {
            try File.rename("\(log).\(number)", "\(log).\(number + 1)")
        }
        try File.rename(log, log + ".1")
    }

    // MARK: kubelet.sock

    /// Answers the control plane's questions about this node.
    func serveKubelet() throws(SystemError) {
        let path = configuration.kubeletSocket
        try File.remove(path)
        let socket = try Socket.listen(on: .unix(path))
        // Whoever connects is looked at by the kernel's word, below.
        try File.chmod(path, 0o666)
        let listener = try SocketListener(socket, on: loop)
        kubelet = listener
        let allowed: Set<UInt32> = [0, configuration.controlPlaneUser]
        let server = HTTPServer(on: loop) { [self] request in
            guard let user = request.peer.credentials?.uid, allowed.contains(user) else {
                return HTTPResponse(status: 403, text: "only root and the control plane may ask\n")
            }
            return await answer(request)
        }
        begin(isLasting: true) { _ in await server.run(listener) }
    }

    private func answer(_ request: HTTPRequest) async -> HTTPResponse {
        let parts = request.path.split(separator: "/").map { PercentEncoding.decoded($0, plusIsSpace: false) }
        switch (request.method, parts.first) {
        case ("GET", "pods") where parts.count == 1:
            let pods = records.values.map(\.object.json)
            return HTTPResponse(
                status: 200, contentType: "application/json",
                body: (["kind": "PodList", "apiVersion": "v1", "items": .array(pods)] as JSON).bytes)
        case ("GET", "healthz") where parts.count == 1: return HTTPResponse(status: 200, text: "ok")
        case ("POST", "cni") where parts.count == 1: return await answerPlugin(request)
        case ("GET", "podUsage") where parts.count == 1:
            let names = request.queryItems.filter { $0.name == "namespaces" }.flatMap { $0.value.split(separator: ",") }
            let countsRequests = !request.queryItems.contains { $0.name == "requests" && $0.value == "false" }
            var page = await usagePage(
                namespaces: names == ["*"] ? nil : Set(names.map(String.init)), countsRequests: countsRequests)
            if request.queryItems.contains(where: { $0.name == "node" && $0.value == "true" }) {
                page["node"] = await pool.run { MachineUsage.read()?.json }
            }
            return HTTPResponse(status: 200, contentType: "application/json", body: page.bytes)
        case ("GET", "containerLogs") where parts.count == 4:
            let wall = WallClock.now
            let options = LogOptions(
                query: request.queryItems, now: Timestamp(seconds: wall.seconds, nanoseconds: wall.nanoseconds))
            return logs(namespace: parts[1], pod: parts[2], container: parts[3], options)
        case ("GET", "exec") where parts.count == 4, ("GET", "attach") where parts.count == 4,
            ("GET", "portForward") where parts.count == 3:
            return await streams(request, parts)
        case ("GET", "questions") where parts.count == 2:
            guard let questions = configuration.questions else {
                return HTTPResponse(status: 404, text: "nothing is answered here about \(parts[1])\n")
            }
            let answer = await questions(NodeQuestion(parts[1], request.queryItems))
            return HTTPResponse(status: answer.status, contentType: "application/json", body: answer.json.bytes)
        case (_, "networks"), (_, "containers"): return await answerNetworks(request, parts)
        default: return HTTPResponse(status: 404, text: "\(request.method) \(request.path): unknown\n")
        }
    }

    private func logs(namespace: String, pod: String, container: String, _ options: LogOptions) -> HTTPResponse {
        // Of several pods of that name the youngest is meant.
        let found = records.values.filter { $0.pod.namespace == namespace && $0.pod.name == pod }
        guard let record = found.max(by: { $0.startedAt < $1.startedAt }) else {
            return HTTPResponse(status: 404, text: "pod \(namespace)/\(pod) is not on this node\n")
        }
        guard let manifest = record.container(container) else {
            return HTTPResponse(status: 400, text: "container \(container) is not valid for pod \(pod)\n")
        }
        let runs = record.logs[container] ?? []
        if options.isPrevious, runs.count < 2 {
            return HTTPResponse(
                status: 400, text: "previous terminated container \"\(container)\" in pod \"\(pod)\" not found\n")
        }
        guard let run = options.isPrevious ? runs.dropLast().last : runs.last else {
            let waits =
                "container \"\(container)\" in pod \"\(pod)\" is waiting to start: \(record.waitingReason(container))\n"
            return manifest.isCaptureInit
                ? HTTPResponse(status: 200, text: "") : HTTPResponse(status: 400, text: waits)
        }
        let path = "\(configuration.layout.logDirectory(record.pod, container))/\(run).log"
        let isLast = !options.isPrevious
        return .stream(contentType: "text/plain; charset=utf-8") { [self] writer throws(HTTPError) in
            try await send(path, options, to: writer, of: isLast ? record : nil, container, run: run)
        }
    }

    private func isRunning(_ container: String, run: Int, _ record: PodRecord?) -> Bool {
        guard let record else { return false }
        return !isStopping && !record.isRemoved && record.logs[container]?.last == run
            && record.instances[container] != nil
    }

    private func send(
        _ path: String, _ options: LogOptions, to writer: HTTPBodyWriter, of record: PodRecord?, _ container: String,
        run: Int
    ) async throws(HTTPError) {
        let reader = LogReader(options: options)
        // What was rotated away belongs to the log too, the oldest first.
        var old: [UInt8] = []
        for number in stride(from: Self.rotatedMax, through: 1, by: -1) {
            old += (try? File.read("\(path).\(number)")) ?? []
        }
        var position = 0
        var current = (try? File.read(path)) ?? []
        var end = current.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
        position = end
        try await writer.write(reader.render((old + current[..<end])[...], tail: options.tailLines))
        guard options.isFollowing, options.limitBytes == nil else { return }
        while !writer.isClientGone {
            let wasGoing = isRunning(container, run: run, record)
            if let size = File.size(path), size < position { position = 0 }  // Rotated.
            current = (try? File.read(path, from: position, count: Self.pieceBytes)) ?? []
            end = current.lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
            if end > 0 {
                position += end
                try await writer.write(reader.render(current[..<end], tail: nil))
            } else if !wasGoing {
                return
            } else {
                await loop.sleep(for: .milliseconds(100))
            }
        }
    }
}
