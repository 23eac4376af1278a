internal import ControlPlane
internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Mesh
internal import Network
internal import Serialization
internal import Workloads

/// Answers what the dashboard asks of this machine, with the code of `skein explain`.
///
/// Reads only, for the control plane alone (`kubelet.sock`). No file of a user's is opened: places in files are for the command. No value of a header field, body or
/// secret is in an answer. `@unchecked Sendable`: used on the agent's loop.
final class NodeQuestions: @unchecked Sendable {
    /// Questions that are worked on at once; more are told to come again.
    private static let runningMax = 4
    /// Parameters of a question, and bytes of all of them.
    private static let itemsMax = 64
    private static let bytesMax = 16 << 10
    /// Proxies that one question goes to.
    private static let proxiesMax = 24
    /// Lines of a proxy's sample.
    private static let recordedMax = 200
    /// Rules and flows that are listed.
    private static let listedMax = 2_000

    private let dataDirectory: String
    private let runDirectory: String
    private let loop: EventLoop
    private var running = 0

    init(dataDirectory: String, runDirectory: String, on loop: EventLoop) {
        self.dataDirectory = dataDirectory
        self.runDirectory = runDirectory
        self.loop = loop
    }

    func answer(_ question: NodeQuestion) async -> NodeAnswer {
        let bytes = question.items.reduce(0) { $0 + $1.name.utf8.count + $1.value.utf8.count }
        guard question.items.count <= Self.itemsMax, bytes <= Self.bytesMax else {
            return NodeAnswer(
                status: 400, error: "at most \(Self.itemsMax) parameters and \(Self.bytesMax >> 10) KiB of them")
        }
        guard running < Self.runningMax else {
            return NodeAnswer(status: 503, error: "\(Self.runningMax) questions are worked on already; ask again")
        }
        running += 1
        defer { running -= 1 }
        do throws(CommandError) {
            switch question.name {
            case "explain": return NodeAnswer(try await explain(question))
            case "packet": return NodeAnswer(try await packet(question))
            case "policies": return NodeAnswer(await policies())
            case "endpoints": return NodeAnswer(try await endpoints(question))
            case "recorded": return NodeAnswer(try await recorded(question))
            default:
                return NodeAnswer(
                    status: 404, error: "explain, packet, policies, endpoints and recorded can be asked")
            }
        } catch {
            return NodeAnswer(status: 422, error: error.message)
        }
    }

    private var admin: ProxyAdmin { ProxyAdmin(runDirectory: runDirectory, loop: loop) }

    private func objects(also kinds: [(String, String)] = []) async throws(CommandError) -> KnownObjects {
        let client = KubernetesClient(runDirectory: runDirectory, on: loop)
        return try await KnownObjects.load(client, dataDirectory: dataDirectory, also: kinds)
    }

    // MARK: A request

    private func explain(_ question: NodeQuestion) async throws(CommandError) -> JSON {
        var operands = [question.first("to")]
        if !question.first("method").isEmpty { operands.append(question.first("method")) }
        let path = question.first("path")
        if !path.isEmpty { operands.append(path.hasPrefix("/") ? path : "/" + path) }
        let target = try ExplainTarget(operands, headers: question.all("header").filter { !$0.isEmpty })
        let objects = try await objects()
        let namespace = question.first("namespace")
        let (from, inNamespace) = (question.first("from"), namespace.isEmpty ? nil : namespace)
        let entrance = try GatewayEntrance.find(from, target, in: objects, namespace: inNamespace)
        let pod = if let entrance { entrance.pod } else { try objects.pod(from, namespace: inNamespace) }
        let explainer = MeshExplainer(
            objects: objects, files: ObjectFiles(KnownObjects()), admin: admin,
            client: KubernetesClient(runDirectory: runDirectory, on: loop), seed: nil,
            answer: question.first("answer").isEmpty ? nil : question.first("answer"))
        return Self.shown(await explainer.explain(from: pod, target, at: entrance))
    }

    /// The explanation without what proxies would write into header fields, and without certificates.
    private static func shown(_ explanation: MeshExplanation) -> JSON {
        var json = explanation.json
        var walk: [JSON] = []
        for (side, answer) in [
            ("outbound", explanation.outbound), ("gateway", explanation.passage?.answer),
            ("inbound", explanation.inbound),
        ] {
            json[side] = nil
            for step in answer?.steps ?? [] {
                walk.append([
                    "side": .string(side), "name": .string(step.name), "text": .string(step.text),
                    "level": .integer(Int64(step.level)), "source": step.origin?.json ?? .null,
                    "path": step.path.map { .string($0) } ?? .null,
                ])
            }
            if let answer, answer.outcome != .forwarded {
                let summary = answer.json["summary"]?.string ?? ""
                walk.append([
                    "side": .string(side), "name": "result", "text": .string(summary), "level": 0, "source": .null,
                    "path": .null,
                ])
            }
        }
        json["steps"] = .array(walk)
        return json
    }

    // MARK: A packet

    private func packet(_ question: NodeQuestion) async throws(CommandError) -> JSON {
        let explainer = ExplainPacket(
            objects: try await objects(also: ExplainPacket.kinds), files: ObjectFiles(KnownObjects()), namespace: nil)
        let found = try explainer.explain([question.first("from"), question.first("to"), question.first("port")])
        let counters = await Self.counters()
        return [
            "ways": .array(
                found.map { explanation in
                    var json = explanation.json
                    let ends = zip(explanation.ends, json["ends"]?.array ?? []).map { end, shown in
                        var shown = shown
                        let comment = PolicyCounter.comment(end.decision.cause)
                        let counted = counters.filter {
                            $0.cause == comment && $0.isAllowed == end.decision.isAllowed
                        }
                        shown["counted"] = .integer(Int64(clamping: counted.reduce(0) { $0 &+ $1.packets }))
                        return shown
                    }
                    json["ends"] = .array(ends)
                    return json
                })
        ]
    }

    /// Read on another thread: the kernel may have many rules.
    ///
    /// Without the right, or without policies, there are none.
    private static func counters() async -> [PolicyCounter] {
        await Task.detached { (try? PolicyCounter.read()) ?? [] }.value
    }

    private func policies() async -> JSON {
        let counters = await Self.counters()
        let flows = await Task.detached { (try? PolicyFlow.read()) ?? [] }.value
        return [
            "counters": .array(
                counters.prefix(Self.listedMax).map {
                    [
                        "cause": .string($0.cause), "allowed": .bool($0.isAllowed),
                        "packets": .integer(Int64(clamping: $0.packets)),
                    ]
                }), "counterCount": .integer(Int64(counters.count)),
            "flows": .array(
                flows.prefix(Self.listedMax).map { ["flow": .string($0.flow), "dropped": .bool($0.isDropped)] }),
            "flowCount": .integer(Int64(flows.count)),
        ]
    }

    // MARK: Proxies

    /// The pods of this node with a proxy: those that are named, gateways before others.
    private func proxies(_ objects: KnownObjects, named names: [String]) -> [KubernetesObject] {
        let all = objects.all("Pod").filter { pod in
            objects.workload(pod, runDirectory: runDirectory).hasProxy
                && (names.isEmpty || names.contains("\(pod.namespace)/\(pod.name)"))
        }
        return all.filter { objects.isGateway($0) } + all.filter { !objects.isGateway($0) }
    }

    /// What the proxies that call a host see of its endpoints: health, ejection, requests and connections now.
    private func endpoints(_ question: NodeQuestion) async throws(CommandError) -> JSON {
        let host = question.first("host")
        let all = proxies(try await objects(), named: question.all("pod"))
        let asked = Array(all.prefix(Self.proxiesMax))
        var book = EndpointBook(host: host)
        var silent: [JSON] = []
        for pod in asked {
            do throws(CommandError) {
                let page = try await admin.ask(pod.metadata.uid, .get, "/clusters", query: [("format", "json")])
                guard page.status == 200, let json = try? JSON.parse(page.body) else {
                    throw CommandError("status \(page.status)")
                }
                book.add(json)
            } catch {
                silent.append(.string("\(pod.namespace)/\(pod.name): \(error.message)"))
            }
        }
        return [
            "endpoints": book.json, "asked": .integer(Int64(asked.count)), "proxies": .integer(Int64(all.count)),
            "callers": .integer(Int64(book.callers)), "silent": .array(silent),
        ]
    }

    /// The latest of what proxies have recorded, without header fields and queries.
    private func recorded(_ question: NodeQuestion) async throws(CommandError) -> JSON {
        let all = proxies(try await objects(), named: question.all("pod"))
        let asked = Array(all.prefix(Self.proxiesMax))
        var query = [("limit", String(Self.recordedMax))]
        if let since = Int64(question.first("since")) { query.append(("since", String(since))) }
        var lines: [JSON] = []
        var silent: [JSON] = []
        for pod in asked {
            let name = "\(pod.namespace)/\(pod.name)"
            do throws(CommandError) {
                let page = try await admin.ask(pod.metadata.uid, .get, "/recorder", query: query)
                guard page.status == 200 else { throw CommandError("status \(page.status)") }
                for line in page.body.split(separator: 0x0A) {
                    guard var json = try? JSON.parse(Array(line)) else { continue }
                    json["headers"] = nil
                    json["principal"] = nil
                    json["path"] = json["path"]?.string.map { .string(String($0.prefix { $0 != "?" })) }
                    json["pod"] = .string(name)
                    lines.append(json)
                }
            } catch {
                silent.append(.string("\(name): \(error.message)"))
            }
        }
        return [
            "lines": .array(lines), "asked": .integer(Int64(asked.count)), "proxies": .integer(Int64(all.count)),
            "silent": .array(silent),
        ]
    }
}
