internal import HTTP
internal import IO
internal import Insight
internal import KubernetesAPI
internal import Serialization

extension Command {
    private static let container = Flag(
        "container", short: "c", value: "NAME",
        "the container (default: the pod's first); skein-proxy has the access log")
    private static let allContainers = Flag("all-containers", "of all containers, the proxy's access log among them")
    private static let follow = Flag("follow", short: "f", "go on as the containers write")
    private static let tail = Flag("tail", value: "LINES", "only the last lines of each container")
    private static let previous = Flag("previous", short: "p", "of the container before its last restart")
    private static let timestamps = Flag("timestamps", "each line with the time it was written")
    private static let since = Flag("since", value: "TIME", "only what was written in the last so long: 5m, 1h")
    private static let sinceTime = Flag("since-time", value: "TIME", "only what was written since then (RFC 3339)")
    private static let level = Flag(
        "level", value: "LEVEL",
        "only lines of this level or above: debug, info, warning, error; access logs go by their status")
    private static let trace = Flag(
        "trace", value: "ID", "only lines with this trace's id, or with the ids of its requests")
    private static let prefix = Flag("prefix", "each line with its pod, also of a single one")

    /// Containers that are read at once.
    private static let sourcesMax = 64

    static let logs = Command(
        "logs", "POD | KIND/NAME", "Show what containers wrote",
        details: """
            KIND/NAME takes all pods of a Deployment, StatefulSet, DaemonSet, Job or Service; -l all pods with these labels. Of several, the lines come in the order in
            which they were written, each with its pod; with --follow as they come. A line without a level belongs to the one before it.
            """,
        flags: [
            .namespace, .selector, container, allContainers, follow, tail, since, sinceTime, level, trace, previous,
            timestamps, prefix, .dataDirectory, .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        let query = try logQuery(invocation)
        var filter = LogFilter()
        if let name = invocation.value(level) {
            guard let known = LogSeverity(name: name) else {
                throw CommandError.usage("logs", "--level \(name): debug, info, warning and error are known")
            }
            filter.level = known
        }
        let byLevel = filter
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            var filter = byLevel
            if let id = invocation.value(trace) { filter.words = try await words(ofTrace: id, client) }
            let sources = try await sources(invocation, client)
            guard sources.count <= sourcesMax else {
                throw CommandError("\(sources.count) containers; choose some: \(sourcesMax) can be read at once")
            }
            let isPrefixed = sources.count > 1 || invocation.has(prefix)
            let screen = LogScreen(isPrefixed: isPrefixed, showsTimes: invocation.has(timestamps))
            if invocation.has(follow) {
                try await followAll(sources, client, query, filter, screen, on: loop)
            } else {
                var lines: [(time: String, source: Int, order: Int, text: String)] = []
                for (index, source) in sources.enumerated() {
                    var filter = filter
                    for text in try await source.read(client, query) {
                        let (time, body) = LogScreen.divided(text)
                        if filter.takes(body) { lines.append((String(time), index, lines.count, text)) }
                    }
                }
                if sources.count > 1 { lines.sort { ($0.time, $0.order) < ($1.time, $1.order) } }
                for line in lines { screen.show(line.text, of: sources[line.source]) }
            }
            return 0
        }
    }

    private static func followAll(
        _ sources: [LogSource], _ client: KubernetesClient, _ query: [(String, String)], _ filter: LogFilter,
        _ screen: LogScreen, on loop: EventLoop
    ) async throws(CommandError) {
        let tasks = sources.map { source in
            Task(executorPreference: loop) { () -> CommandError? in
                var filter = filter
                do throws(CommandError) {
                    try await source.follow(client, query) { line in
                        if filter.takes(LogScreen.divided(line).text) { screen.show(line, of: source) }
                    }
                    return nil
                } catch { return error }
            }
        }
        var failure: CommandError?
        for task in tasks { if let error = await task.value { failure = error } }
        if let failure { throw failure }
    }

    private static func logQuery(_ invocation: Invocation) throws(CommandError) -> [(String, String)] {
        // Lines of several are put in order by their times, which are taken away again.
        var query = [("timestamps", "true")]
        if let lines = invocation.value(tail) {
            guard let number = Int(lines), number >= 0 else {
                throw CommandError.usage("logs", "--tail \(lines): not a number")
            }
            query.append(("tailLines", lines))
        }
        if let text = invocation.value(since) {
            guard let time = TimeText.nanoseconds(text) else {
                throw CommandError.usage("logs", "--since \(text): no time like 30s, 5m or 1h")
            }
            query.append(("sinceSeconds", String(max(1, time / 1_000_000_000))))
        }
        if let text = invocation.value(sinceTime) {
            guard Timestamp(text) != nil, !invocation.has(since) else {
                throw CommandError.usage(
                    "logs",
                    invocation.has(since) ? "--since or --since-time" : "--since-time \(text): no time of RFC 3339")
            }
            query.append(("sinceTime", text))
        }
        if invocation.has(follow) { query.append(("follow", "true")) }
        if invocation.has(previous) { query.append(("previous", "true")) }
        return query
    }

    /// The trace's id and the ids of its requests, which access logs have.
    private static func words(ofTrace id: String, _ client: KubernetesClient) async throws(CommandError) -> [String] {
        let answer = try await client.call(.get, "/skein/v1/traces/\(PercentEncoding.encoded(id))")
        guard answer.isSuccess else {
            // A trace of another store: its id is what can be looked for.
            guard let known = TraceID(id) else {
                throw CommandError("skein logs: --trace: \(answer.message.filter { $0 != "\n" })")
            }
            return ["\(known)"]
        }
        let requests = (answer.json["spans"]?.array ?? []).compactMap {
            $0["attributes"]?["guid:x-request-id"]?.string
        }
        return [answer.json["traceId"]?.string ?? id] + Set(requests.filter { $0.utf8.count == 36 }).sorted()
    }

    // MARK: Sources

    private static func sources(
        _ invocation: Invocation, _ client: KubernetesClient
    ) async throws(CommandError) -> [LogSource] {
        let namespace = invocation.value(.namespace) ?? "default"
        var found: [LogSource] = []
        for pod in try await pods(invocation, client, namespace) {
            if let name = invocation.value(container) {
                found.append(LogSource(namespace: namespace, pod: pod.name, container: name, isNamed: true))
            } else if invocation.has(allContainers) {
                var names = (pod.spec["containers"]?.array ?? []).compactMap { $0["name"]?.string }
                let running = (pod.status["containerStatuses"]?.array ?? []).compactMap { $0["name"]?.string }
                names += running.filter { !names.contains($0) }
                found += names.map { LogSource(namespace: namespace, pod: pod.name, container: $0, isNamed: true) }
            } else {
                found.append(LogSource(namespace: namespace, pod: pod.name, container: nil, isNamed: false))
            }
        }
        return found
    }

    private static func pods(
        _ invocation: Invocation, _ client: KubernetesClient, _ namespace: String
    ) async throws(CommandError) -> [KubernetesObject] {
        var labels = invocation.value(.selector)
        if labels == nil {
            guard invocation.operands.count == 1, let name = invocation.operands.first else {
                throw CommandError.usage("logs", "needs one pod, KIND/NAME or -l LABELS")
            }
            let target =
                name.contains("/") ? try ObjectNames.parse([name])[0] : ObjectNames(kind: .pod, names: [name])
            let owner = try await client.call(.get, target.kind.path(namespace: namespace, name: target.names[0]))
            guard owner.isSuccess else { throw CommandError("Error from server: \(owner.message)") }
            if target.kind.kind == "Pod" { return [KubernetesObject(json: owner.json)] }
            let selector = owner.json["spec"]?["selector"]
            let map = selector?["matchLabels"]?.object ?? selector?.object ?? [:]
            labels = map.compactMap { key, value in value.string.map { "\(key)=\($0)" } }.sorted().joined(
                separator: ",")
            guard labels != "" else { throw CommandError("\(name) selects no pods by labels") }
        }
        let list = try await client.call(
            .get, ResourceKind.pod.path(namespace: namespace), query: [("labelSelector", labels ?? "")])
        guard list.isSuccess else { throw CommandError("Error from server: \(list.message)") }
        let found = (list.json["items"]?.array ?? []).map { KubernetesObject(json: $0) }.sorted { $0.name < $1.name }
        guard !found.isEmpty else {
            throw CommandError("no pods with labels \(labels ?? "") in namespace \(namespace)")
        }
        return found
    }
}

/// Which lines are shown.
private struct LogFilter: Sendable {
    var level: LogSeverity?
    /// One of these must stand in a line; empty for all lines.
    var words: [String] = []
    private var wasShown = true

    mutating func takes(_ line: some StringProtocol) -> Bool {
        if let level {
            if let own = LogSeverity(line: line) {
                wasShown = own >= level
            } else if !line.hasPrefix(" "), !line.hasPrefix("\t") {
                // Neither a level nor the rest of a line that had one.
                wasShown = level <= .info
            }
            guard wasShown else { return false }
        }
        return words.isEmpty || words.contains { line.contains($0) }
    }
}

/// The log of one container.
private struct LogSource: Sendable {
    var namespace: String
    var pod: String
    var container: String?
    var isNamed: Bool

    var prefix: String { isNamed ? "[\(pod)/\(container ?? "")] " : "[\(pod)] " }

    private func open(
        _ client: KubernetesClient, _ query: [(String, String)]
    ) async throws(CommandError) -> HTTPClientResponse {
        let path = ResourceKind.pod.path(namespace: namespace, name: pod) + "/log"
        return try await client.open(
            path, query: query + (container.map { [("container", $0)] } ?? []), accept: "text/plain")
    }

    func read(_ client: KubernetesClient, _ query: [(String, String)]) async throws(CommandError) -> [String] {
        let response = try await open(client, query)
        do throws(HTTPError) {
            let bytes = try await response.collect()
            return bytes.split(separator: 0x0A, omittingEmptySubsequences: true).map {
                String(decoding: $0, as: UTF8.self)
            }
        } catch {
            throw CommandError("the log of \(pod) ended early: \(error)")
        }
    }

    func follow(
        _ client: KubernetesClient, _ query: [(String, String)], _ take: (String) -> Void
    ) async throws(CommandError) {
        let response = try await open(client, query)
        var rest: [UInt8] = []
        do throws(HTTPError) {
            while let piece = try await response.next() {
                rest += piece
                while let end = rest.firstIndex(of: 0x0A) {
                    take(String(decoding: rest[..<end], as: UTF8.self))
                    rest.removeSubrange(...end)
                }
            }
        } catch {
            throw CommandError("the log of \(pod) ended early: \(error)")
        }
        if !rest.isEmpty { take(String(decoding: rest, as: UTF8.self)) }
    }
}

/// Prints lines of several containers.
private struct LogScreen: Sendable {
    var isPrefixed: Bool
    var showsTimes: Bool

    /// `TIME TEXT` in its parts.
    static func divided(_ line: String) -> (time: Substring, text: Substring) {
        guard let blank = line.firstIndex(of: " ") else { return (line[...], "") }
        return (line[..<blank], line[line.index(after: blank)...])
    }

    func show(_ line: String, of source: LogSource) {
        Console.out((isPrefixed ? source.prefix : "") + (showsTimes ? line[...] : Self.divided(line).text) + "\n")
    }
}
