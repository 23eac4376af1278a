import APIServer
import HTTP
import IO
import Insight
import KubernetesAPI
import Mesh
import Serialization

/// What only the agents of nodes can tell: `explain`, `packet`, `policies`, `endpoints` of a service, and access logs.
///
/// `@unchecked Sendable`: used on one loop.
final class DashboardQuestions: @unchecked Sendable {
    /// How long an agent may take: each of two proxies may wait five seconds for the control plane, twice.
    private static let patience = Duration.seconds(30)
    /// Bytes of an answer at most.
    private static let answerBytesMax = 16 << 20
    /// Proxies whose logs are read, and lines of each.
    private static let logsMax = 24
    private static let linesMax = 400
    private static let logBytesMax = 1 << 20
    /// Lines that are shown.
    private static let shownMax = 500

    private let source: any ObjectSource
    private let agents: NodeClients
    private let node: String
    private let loop: EventLoop

    init(_ source: any ObjectSource, _ agents: @escaping NodeClients, node: String, on loop: EventLoop) {
        self.source = source
        self.agents = agents
        self.node = node
        self.loop = loop
    }

    /// The answer; nil when it is no question of these.
    func answer(_ name: String, _ items: [(name: String, value: String)]) async -> HTTPResponse? {
        switch name {
        case "explain", "packet", "policies", "endpoints": return await ask(name, items)
        case "access": return await access(items)
        default: return nil
        }
    }

    private static func query(_ items: [(name: String, value: String)]) -> String {
        let parts = items.map { "\(PercentEncoding.encoded($0.name))=\(PercentEncoding.encoded($0.value))" }
        return parts.isEmpty ? "" : "?" + parts.joined(separator: "&")
    }

    private func ask(_ name: String, _ items: [(name: String, value: String)]) async -> HTTPResponse {
        do throws(Refused) {
            let page = try await page("/questions/\(name)" + Self.query(items), of: node)
            return HTTPResponse(status: page.status, contentType: "application/json", body: page.bytes)
        } catch {
            let body: JSON = ["error": .string(error.reason)]
            return HTTPResponse(status: 503, contentType: "application/json", body: body.bytes)
        }
    }

    private struct Refused: Error {
        var reason: String
    }

    /// A page of a node's agent, with whatever status it has.
    private func page(_ path: String, of node: String) async throws(Refused) -> (status: UInt16, bytes: [UInt8]) {
        let task = Task(executorPreference: loop) { [agents] () -> Result<(UInt16, [UInt8]), Refused> in
            do {
                let response = try await agents(node).send(HTTPClientRequest(.get, path))
                return .success((response.status, try await response.collect(limit: Self.answerBytesMax)))
            } catch {
                return .failure(Refused(reason: "the agent of node \(node) does not answer: \(error)"))
            }
        }
        let timer = loop.schedule(after: Self.patience) { task.cancel() }
        defer { timer.cancel() }
        return try await task.value.get()
    }

    // MARK: Access logs

    /// Pods with a proxy, of the names that are asked for; gateways before others.
    private func pods(_ wanted: [String]) -> [KubernetesObject] {
        let running = source.all(.pod).filter { pod in
            pod.status["phase"]?.string == "Running"
                && (wanted.isEmpty || wanted.contains("\(pod.namespace)/\(pod.name)"))
        }
        return running.sorted {
            let (left, right) = (isGateway($0) ? 0 : 1, isGateway($1) ? 0 : 1)
            return (left, $0.namespace, $0.name) < (right, $1.namespace, $1.name)
        }
    }

    private func isGateway(_ pod: KubernetesObject) -> Bool {
        pod.metadata.annotations["skein.dev/gateway"] == "true"
    }

    /// `access?pod=&since=&until=` (milliseconds since 1970): lines of the proxies' access logs, where they are written, and of their recorders.
    private func access(_ items: [(name: String, value: String)]) async -> HTTPResponse {
        func number(_ name: String) -> Int64? { items.first { $0.name == name }.flatMap { Int64($0.value) } }
        let wanted = items.filter { $0.name == "pod" }.map(\.value).filter { !$0.isEmpty }
        let (since, until) = (number("since"), number("until"))
        let all = pods(wanted)
        let asked = Array(all.prefix(Self.logsMax))
        var book = AccessBook(since: since, until: until)
        for pod in asked {
            let path =
                "/containerLogs/\(pod.namespace)/\(pod.name)/skein-proxy"
                + Self.query([("tailLines", "\(Self.linesMax)"), ("limitBytes", "\(Self.logBytesMax)")])
            let place = pod.spec["nodeName"]?.string ?? node
            // A pod without a proxy of ours has no such container.
            guard let page = try? await page(path, of: place), page.status == 200 else { continue }
            book.add(log: String(decoding: page.bytes, as: UTF8.self), of: "\(pod.namespace)/\(pod.name)")
        }
        var questions: [(name: String, value: String)] = wanted.map { ("pod", $0) }
        if let since { questions.append(("since", "\(since - 1)")) }
        do throws(Refused) {
            let page = try await page("/questions/recorded" + Self.query(questions), of: node)
            let json = (try? JSON.parse(page.bytes)) ?? .null
            if page.status == 200 {
                book.add(recorded: json["lines"]?.array ?? [])
            } else {
                book.problems.append(json["error"]?.string ?? "status \(page.status)")
            }
        } catch {
            book.problems.append(error.reason)
        }
        var json = book.json(most: Self.shownMax)
        json["asked"] = .integer(Int64(asked.count))
        json["proxies"] = .integer(Int64(all.count))
        return HTTPResponse(status: 200, contentType: "application/json", body: json.bytes)
    }
}

/// Lines of access logs and of recorders, put in the order of their times.
///
/// Pure.
struct AccessBook {
    private var lines: [(time: Int64, json: JSON)] = []
    /// Lines in a format that is not read.
    private(set) var unread = 0
    var problems: [String] = []
    private let since: Int64?
    private let until: Int64?

    /// - Parameter since: milliseconds since 1970; nil: whatever there is.
    init(since: Int64?, until: Int64?) {
        self.since = since
        self.until = until
    }

    private func isWanted(_ time: Int64) -> Bool { time >= since ?? .min && time <= until ?? .max }

    /// Takes the lines of a proxy's log; what the proxy says of itself is none of them.
    mutating func add(log: String, of pod: String) {
        for text in log.split(separator: "\n") {
            guard let line = AccessLogLine(text) else {
                unread += 1
                continue
            }
            let time = Timestamp(line.time).map { $0.seconds * 1000 + Int64($0.nanoseconds) / 1_000_000 } ?? 0
            guard isWanted(time) else { continue }
            var json = line.json
            json["timeMilliseconds"] = .integer(time)
            json["pod"] = .string(pod)
            json["from"] = "log"
            lines.append((time, json))
        }
    }

    /// Takes lines of recorders.
    mutating func add(recorded: [JSON]) {
        for record in recorded {
            let time = record["time_ms"]?.int.map { Int64($0) } ?? 0
            guard isWanted(time) else { continue }
            var json: JSON = [
                "timeMilliseconds": .integer(time), "from": "recorder", "requestId": "",
                "status": record["status"] ?? 0,
                "durationMilliseconds": .number((record["duration_us"]?.double ?? 0) / 1000),
            ]
            for (name, member) in [
                ("pod", "pod"), ("method", "method"), ("path", "path"), ("authority", "authority"),
                ("protocol", "protocol"), ("upstream", "host"), ("cluster", "cluster"), ("route", "route"),
                ("details", "details"), ("listener", "listener"),
            ] {
                json[name] = .string(record[member]?.string ?? "")
            }
            let flags = record["flags"]?.string ?? ""
            json["flags"] = .string(flags == "-" ? "" : flags)
            lines.append((time, json))
        }
    }

    /// The newest lines, the newest first.
    func json(most: Int) -> JSON {
        [
            "lines": .array(lines.sorted { $0.time > $1.time }.prefix(most).map(\.json)),
            "total": .integer(Int64(lines.count)), "unread": .integer(Int64(unread)),
            "problems": .array(problems.map { .string($0) }),
        ]
    }
}
