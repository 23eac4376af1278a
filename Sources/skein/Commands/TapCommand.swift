internal import HTTP
internal import IO
internal import KubernetesAPI
internal import Serialization

extension Command {
    private static let to = Flag("to", value: "NAME", "to this service: catalog, or catalog.default")
    private static let from = Flag("from", value: "NAME", "from this workload")
    private static let method = Flag("method", value: "METHOD", "with this method")
    private static let path = Flag("path", value: "PREFIX", "whose path begins so")
    private static let statusFlag = Flag("status", value: "STATUS", "with this status: 503, 5xx")
    private static let flag = Flag("flag", value: "FLAG", "with this response flag: UH, UF, URX …")
    private static let headers = Flag("headers", "with their header fields (values of credentials are never shown)")
    private static let inbound = Flag("inbound", "as the called proxy saw them (default: as the calling one did)")
    private static let rate = Flag("rate", value: "NUMBER", "events a second at most, over all proxies (default 200)")
    private static let limit = Flag("limit", value: "NUMBER", "end after so many")
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")

    /// Proxies that are looked at at once.
    private static let proxiesMax = 64
    /// Events a second that may be asked for.
    private static let ratesMax = 2_000

    static let tap = Command(
        "tap", "[POD|WORKLOAD…]", "Show requests as they happen",
        details: """
            Of all proxies of the namespace (-A: of all namespaces), or of those named. A request is shown when it has ended. What is more than --rate is left out
            and counted, so that looking does not slow down what is looked at. Ends with Ctrl-C, or when the proxies have gone.
            """,
        flags: [
            to, from, method, path, statusFlag, flag, headers, inbound, rate, limit, form, .namespace, .allNamespaces,
            .dataDirectory, .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("tap", "-o \(form): table and json are known")
        }
        func number(_ flag: Flag, _ range: ClosedRange<Int>) throws(CommandError) -> Int? {
            guard let text = invocation.value(flag) else { return nil }
            guard let number = Int(text), range.contains(number) else {
                throw CommandError.usage("tap", "--\(flag.name) \(text): a number up to \(range.upperBound)")
            }
            return number
        }
        let rate = try number(rate, 1...ratesMax) ?? 200
        let limit = try number(limit, 1...Int(Int32.max)) ?? .max
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let pods = try await TapPods(client)
            let taps = try chosen(pods, invocation)
            var query = filters(invocation, pods)
            query.append(("rate", String(max(1, rate / taps.count))))
            let screen = TapScreen(pods, isJSON: form == "json", limit: limit)
            let parameters = query
            let tasks = taps.map { pod in
                Task(executorPreference: loop) { () -> String? in
                    do throws(CommandError) {
                        try await watch(
                            pod, ProxyAdmin(runDirectory: invocation.runDirectory, loop: loop), parameters, screen)
                        return nil
                    } catch {
                        return "\(pod.name): \(error.message)"
                    }
                }
            }
            screen.onEnd = { tasks.forEach { $0.cancel() } }
            var problems: [String] = []
            for task in tasks { if let problem = await task.value { problems.append(problem) } }
            if screen.isDone { return 0 }
            for problem in problems { Console.error("skein tap: \(problem)\n") }
            if problems.count == taps.count { return 1 }
            Console.error("skein tap: the proxies have gone\n")
            return 0
        }
    }

    /// The proxies that are looked at.
    private static func chosen(_ pods: TapPods, _ invocation: Invocation) throws(CommandError) -> [TapPods.Pod] {
        let namespace = invocation.has(.allNamespaces) ? nil : invocation.value(.namespace) ?? "default"
        var taps = pods.all.filter { $0.hasProxy && (namespace == nil || $0.namespace == namespace) }
        if !invocation.operands.isEmpty {
            taps = taps.filter { pod in invocation.operands.contains { pod.isCalled($0) } }
        }
        // The calling proxy knows whom it asks, and the called one who asks.
        if let name = invocation.value(invocation.has(inbound) ? to : from) { taps = taps.filter { $0.isCalled(name) } }
        guard !taps.isEmpty else { throw CommandError("skein tap: there is no such pod with a proxy") }
        guard taps.count <= proxiesMax else {
            throw CommandError("skein tap: \(taps.count) proxies; name some: \(proxiesMax) can be looked at at once")
        }
        return taps
    }

    /// What the proxies are asked for.
    private static func filters(_ invocation: Invocation, _ pods: TapPods) -> [(String, String)] {
        var query: [(String, String)] = [("direction", invocation.has(inbound) ? "inbound" : "outbound")]
        for (flag, name) in [(method, "method"), (path, "path"), (statusFlag, "status"), (flag, "flag")] {
            if let value = invocation.value(flag) { query.append((name, value)) }
        }
        if invocation.has(headers) { query.append(("headers", "true")) }
        if invocation.has(inbound), let name = invocation.value(from) {
            let addresses = pods.all.filter { $0.isCalled(name) }.flatMap(\.addresses)
            query.append(("source", addresses.joined(separator: ",")))
        } else if !invocation.has(inbound), let name = invocation.value(to) {
            query.append(("cluster", name))
        }
        return query
    }

    private static func watch(
        _ pod: TapPods.Pod, _ admin: ProxyAdmin, _ query: [(String, String)], _ screen: TapScreen
    ) async throws(CommandError) {
        var rest: [UInt8] = []
        try await admin.follow(pod.uid, "/tap", query: query) { piece in
            rest += piece
            while let end = rest.firstIndex(of: 0x0A) {
                let line = Array(rest[..<end])
                rest.removeFirst(end + 1)
                if let json = try? JSON.parse(line) { screen.show(json, of: pod) }
                if screen.isDone { return false }
            }
            return true
        }
    }
}

/// The pods of the mesh, for names of addresses and services.
struct TapPods: Sendable {
    /// One pod.
    struct Pod: Sendable {
        var namespace: String
        var name: String
        var uid: String
        var workload: String
        var addresses: [String]
        var hasProxy: Bool

        /// Whether a word means the pod: its name, its workload's, with the kind before or the namespace behind.
        func isCalled(_ word: String) -> Bool {
            let plain = word.split(separator: "/").last.map(String.init) ?? word
            return [name, workload, "\(name).\(namespace)", "\(workload).\(namespace)"].contains(plain)
        }
    }

    let all: [Pod]
    private let byAddress: [String: Pod]

    init(_ client: KubernetesClient) async throws(CommandError) {
        let list = try await client.call(.get, "/api/v1/pods")
        let proxies = try await client.call(.get, "/skein/v1/proxies")
        guard list.isSuccess, proxies.isSuccess else {
            throw CommandError("Error from server: \(list.isSuccess ? proxies.message : list.message)")
        }
        let connected = Set(
            (proxies.json["proxies"]?.array ?? []).map { "\($0["namespace"]?.string ?? "")/\($0["pod"]?.string ?? "")" }
        )
        all = (list.json["items"]?.array ?? []).map { item in
            let object = KubernetesObject(json: item)
            let owner = object.metadata.ownerReferences.first?.json["name"]?.string ?? object.name
            let hash = "-" + (object.metadata.labels["pod-template-hash"] ?? "")
            let ips = (object.status["podIPs"]?.array ?? []).compactMap { $0["ip"]?.string }
            return Pod(
                namespace: object.namespace, name: object.name, uid: object.metadata.uid,
                workload: hash.count > 1 && owner.hasSuffix(hash) ? String(owner.dropLast(hash.count)) : owner,
                addresses: ips.isEmpty ? [object.status["podIP"]?.string].compactMap { $0 } : ips,
                hasProxy: connected.contains("\(object.namespace)/\(object.name)"))
        }
        byAddress = Dictionary(all.flatMap { pod in pod.addresses.map { ($0, pod) } }, uniquingKeysWith: { $1 })
    }

    /// Whose address it is: `10.244.0.7:4711`.
    func owner(of address: String) -> Pod? {
        let host = address.lastIndex(of: ":").map { String(address[..<$0]) } ?? address
        return byAddress[host.filter { $0 != "[" && $0 != "]" }]
    }
}

/// Shows events of several proxies, a line each.
///
/// `@unchecked Sendable`: used on one loop.
final class TapScreen: @unchecked Sendable {
    private let pods: TapPods
    private let isJSON: Bool
    private var left: Int
    private var hasHeader = false
    private var dropped: [String: Int] = [:]
    /// As many as were wanted have been shown.
    private(set) var isDone = false
    var onEnd: () -> Void = {}

    init(_ pods: TapPods, isJSON: Bool, limit: Int) {
        self.pods = pods
        self.isJSON = isJSON
        left = limit
    }

    func show(_ event: JSON, of pod: TapPods.Pod) {
        guard !isDone else { return }
        if let count = event["dropped"]?.int {
            dropped[pod.uid] = count
            let all = dropped.values.reduce(0, +)
            return Console.error("skein tap: \(all) requests left out: more than --rate\n")
        }
        guard event["status"] != nil else { return }
        let isOutbound = event["direction"]?.string == "outbound"
        let source = isOutbound ? pod.workload : pods.owner(of: event["source"]?.string ?? "")?.workload
        let destination =
            isOutbound
            ? Self.service(event, pod) ?? pods.owner(of: event["host"]?.string ?? "")?.workload : pod.workload
        if isJSON {
            var event = event
            event["namespace"] = .string(pod.namespace)
            event["pod"] = .string(pod.name)
            event["from"] = source.map { .string($0) } ?? .null
            event["to"] = destination.map { .string($0) } ?? .null
            Console.out(event.text + "\n")
        } else {
            if !hasHeader {
                hasHeader = true
                Console.out(Self.line("TIME", "FROM", "TO", "REQUEST", "STATUS", "TOOK"))
            }
            let milliseconds = event["time_ms"]?.int ?? 0
            let clock = "\(Timestamp(seconds: Int64(milliseconds / 1000)))".drop { $0 != "T" }.dropFirst().prefix(8)
            let flags = event["flags"]?.string ?? "-"
            Console.out(
                Self.line(
                    String(clock), source ?? event["source"]?.string ?? "-",
                    destination ?? event["authority"]?.string ?? "-",
                    "\(event["method"]?.string ?? "") \(event["path"]?.string ?? "")",
                    "\(event["status"]?.int ?? 0)\(flags == "-" ? "" : " \(flags)")",
                    TraceTables.time(event["duration_us"]?.int ?? 0)))
            for field in event["headers"]?.array ?? [] {
                Console.out("         \(field[0]?.string ?? ""): \(field[1]?.string ?? "")\n")
            }
        }
        left -= 1
        if left == 0 {
            isDone = true
            onEnd()
        }
    }

    /// The service of a cluster's name: `outbound|80||catalog.default.svc.cluster.local`.
    private static func service(_ event: JSON, _ pod: TapPods.Pod) -> String? {
        let parts = (event["cluster"]?.string ?? "").split(separator: "|", omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        let words = parts[3].split(separator: ".")
        guard words.count > 2, words[2] == "svc" else { return String(parts[3]) }
        let name = words[1] == pod.namespace ? String(words[0]) : "\(words[0]).\(words[1])"
        return parts[2].isEmpty ? name : "\(name)/\(parts[2])"
    }

    private static func line(
        _ time: String, _ from: String, _ to: String, _ request: String, _ status: String, _ took: String
    ) -> String {
        func fit(_ text: String, _ width: Int) -> String {
            // What a client sent is not what moves somebody's terminal.
            let text = String(text.unicodeScalars.filter { $0.value >= 32 && $0.value != 127 }.map { Character($0) })
            let cut = text.count > width ? text.prefix(width - 1) + "…" : text
            return cut + String(repeating: " ", count: max(0, width - cut.count))
        }
        var line = "\(fit(time, 8)) \(fit(from, 15)) \(fit(to, 15)) \(fit(request, 22)) \(fit(status, 8)) \(took)"
        while line.last == " " { line.removeLast() }
        return line + "\n"
    }
}
