internal import HTTP
internal import IO
internal import Insight
internal import Serialization

extension Command {
    private static let window = Flag("window", short: "t", value: "TIME", "look back so long: 30s, 5m, 1h (default 1m)")
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json")
    private static let sort = Flag("sort", value: "COLUMN", "name, rps, success, p50, p95 or p99 (default rps)")
    private static let once = Flag("once", "one picture, also on a terminal")
    private static let common = [window, form, .namespace, .allNamespaces, .dataDirectory, .runDirectory]

    static let stat = Command(
        "stat", "[SERVICE…]", "Show rate, success and latency of services",
        details: """
            What the proxies of all who ask have seen in the last minute: requests a second, the share that was answered without 5xx, and the
            time in which 50, 95 and 99 % of the answers were there. Samples are taken every 10 seconds.
            """,
        flags: common
    ) { invocation throws(CommandError) in
        let form = try format(invocation, "stat", ["table", "json"])
        let view = try fetch(invocation, "stat")
        var services = view.items("services").filter { keeps($0, invocation) }
        if !invocation.operands.isEmpty {
            services = services.filter { item in
                invocation.operands.contains {
                    $0 == item["name"]?.string || $0 == item["host"]?.string || "\($0).default" == item["name"]?.string
                }
            }
            guard !services.isEmpty else {
                throw CommandError(
                    "no requests to \(invocation.operands.joined(separator: ", ")) in \(view.windowText)")
            }
        }
        if form == "json" {
            Console.out(JSON.array(services).pretty + "\n")
        } else {
            Console.out(TrafficTables.services(services).text)
        }
        return 0
    }

    static let edges = Command(
        "edges", "[WORKLOAD|SERVICE…]", "Show who asks whom, and whether with mTLS",
        details:
            "One line for each workload and service that it has asked in the last minute, as the asking proxy saw it.",
        flags: common
    ) { invocation throws(CommandError) in
        let form = try format(invocation, "edges", ["table", "json"])
        let view = try fetch(invocation, "edges")
        let edges = view.edges(invocation)
        if form == "json" {
            Console.out(JSON.array(edges).pretty + "\n")
        } else {
            Console.out(TrafficTables.edges(edges).text)
        }
        return 0
    }

    static let graph = Command(
        "graph", "", "Write the service graph for graphviz or mermaid",
        details:
            "skein graph -o dot | dot -Tsvg > graph.svg; -o mermaid goes into a page of Markdown between ```mermaid and ```.",
        flags: [
            window, Flag("output", short: "o", value: "FORMAT", "dot, mermaid or json (default dot)"), .namespace,
            .allNamespaces, .dataDirectory, .runDirectory,
        ]
    ) { invocation throws(CommandError) in
        guard invocation.operands.isEmpty else { throw CommandError.usage("graph", "takes no operands") }
        let form = try format(invocation, "graph", ["dot", "mermaid", "json"])
        let view = try fetch(invocation, "graph")
        let edges = view.edges(invocation)
        switch form {
        case "json": Console.out(JSON.array(edges).pretty + "\n")
        case "mermaid": Console.out(GraphText.mermaid(edges))
        default: Console.out(GraphText.dot(edges))
        }
        return 0
    }

    static let top = Command(
        "top", "[services|edges|pods]", "Show the busiest services, edges or pods, again and again",
        details:
            "Ends with Ctrl-C. In a pipe, with --once or -o json one picture is shown. The columns are those of stat and edges.",
        flags: [sort, once] + common
    ) { invocation throws(CommandError) in
        let kind = invocation.operands.first ?? "services"
        guard ["services", "edges", "pods"].contains(kind), invocation.operands.count <= 1 else {
            throw CommandError.usage("top", "\(invocation.operands.joined(separator: " ")): services, edges or pods")
        }
        let form = try format(invocation, "top", ["table", "json"])
        let column = invocation.value(sort) ?? (kind == "pods" ? "cpu" : "rps")
        let keys = kind == "pods" ? TrafficTables.podKeys : TrafficTables.keys
        guard column == "name" || keys[column] != nil else {
            throw CommandError.usage("top", "--sort \(column): name, \(keys.keys.sorted().joined(separator: ", "))")
        }
        let isLive = Environment.isTerminal(1) && !invocation.has(once) && form == "table"
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            while true {
                let view = try await TrafficAnswer.ask(client, seconds: try seconds(invocation, "top"))
                var items = kind == "edges" ? view.edges(invocation) : view.items(kind).filter { keeps($0, invocation) }
                if column != "name", let key = keys[column] {
                    items.sort { ($0[key]?.double ?? -1, "") > ($1[key]?.double ?? -1, "") }
                    if column == "success" { items.reverse() }
                }
                if form == "json" {
                    Console.out(JSON.array(items).pretty + "\n")
                    return 0
                }
                let table =
                    kind == "pods"
                    ? TrafficTables.pods(items)
                    : kind == "edges" ? TrafficTables.edges(items) : TrafficTables.services(items)
                guard isLive else {
                    Console.out(table.text)
                    return 0
                }
                // Home, the picture, and nothing of the one before below it: no flicker.
                Console.out("\u{1B}[H\(table.text.replacing("\n", with: "\u{1B}[K\n"))\u{1B}[J")
                await loop.sleep(for: .seconds(2))
            }
        }
    }

    private static func format(_ invocation: Invocation, _ name: String, _ known: [String]) throws(CommandError)
        -> String
    {
        let form = invocation.value(self.form) ?? known[0]
        guard known.contains(form) else {
            throw CommandError.usage(name, "-o \(form): \(known.joined(separator: ", ")) are known")
        }
        return form
    }

    private static func seconds(_ invocation: Invocation, _ name: String) throws(CommandError) -> Int64 {
        let text = invocation.value(window) ?? "1m"
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int64(text.dropLast()), number > 0,
            number <= 86_400, number * unit <= 86_400
        else { throw CommandError.usage(name, "--window \(text): not a time from 1s to 24h") }
        return number * unit
    }

    private static func fetch(_ invocation: Invocation, _ name: String) throws(CommandError) -> TrafficAnswer {
        let seconds = try seconds(invocation, name)
        return try onLoop { loop throws(CommandError) in
            try await TrafficAnswer.ask(
                KubernetesClient(runDirectory: invocation.runDirectory, on: loop), seconds: seconds)
        }
    }

    private static func keeps(_ item: JSON, _ invocation: Invocation) -> Bool {
        guard let namespace = invocation.value(.namespace), !invocation.has(.allNamespaces) else { return true }
        if let own = item["namespace"]?.string { return own == namespace }
        return (item["name"]?.string ?? "").hasSuffix(".\(namespace)")
    }
}

/// What the control plane says about the traffic of a span of time.
struct TrafficAnswer: Sendable {
    let json: JSON
    let seconds: Int64

    static func ask(_ client: KubernetesClient, seconds: Int64) async throws(CommandError) -> TrafficAnswer {
        let answer = try await client.call(.get, "/skein/v1/traffic-view", query: [("window", String(seconds))])
        guard answer.isSuccess else {
            throw CommandError("the time series are not there: \(answer.message.filter { $0 != "\n" })")
        }
        let unseen = answer.json["unseenProxies"]?.int ?? 0
        if unseen > 0 {
            let servers = (answer.json["servers"]?.int ?? 2) - 1
            Console.error(
                "note: \(unseen) proxies are connected to \(servers) other control plane\(servers == 1 ? "" : "s") of this store; "
                    + "what they have seen is not counted here: ask there\n")
        }
        return TrafficAnswer(json: answer.json, seconds: seconds)
    }

    func items(_ name: String) -> [JSON] { json[name]?.array ?? [] }
    var windowText: String { seconds % 60 == 0 ? "the last \(seconds / 60) min" : "the last \(seconds) s" }

    /// The edges of the namespace and with the names that were asked for.
    func edges(_ invocation: Invocation) -> [JSON] {
        items("edges").filter { edge in
            let namespace = invocation.has(.allNamespaces) ? nil : invocation.value(.namespace)
            guard namespace == nil || edge["sourceNamespace"]?.string == namespace else { return false }
            let names = [edge["source"]?.string, edge["destination"]?.string, edge["host"]?.string]
            return invocation.operands.isEmpty || invocation.operands.contains { names.contains($0) }
                || ["edges", "services", "pods"].contains(invocation.operands[0])
        }
    }
}
