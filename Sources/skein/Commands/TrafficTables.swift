internal import Insight
internal import Serialization

/// Tables of figures, 80 columns wide.
enum TrafficTables {
    /// What columns are sorted by.
    static let keys = [
        "rps": "requestsPerSecond", "success": "success", "p50": "p50Milliseconds", "p95": "p95Milliseconds",
        "p99": "p99Milliseconds",
    ]
    /// The same for pods.
    static let podKeys = ["cpu": "cores", "memory": "memoryBytes", "restarts": "restarts"]
    private static let nameWidth = 24

    /// A name that leaves room for the figures.
    private static func name(_ text: String, _ width: Int = nameWidth) -> String {
        text.count <= width ? text : text.prefix(width - 1) + "…"
    }

    private static func figures(_ item: JSON) -> [String] {
        func time(_ key: String) -> String { item[key]?.double.map(milliseconds) ?? "-" }
        return [
            NumberText.fixed(item["requestsPerSecond"]?.double ?? 0, 1),
            item["success"]?.double.map { NumberText.fixed($0 * 100, 2) + "%" } ?? "-",
            time("p50Milliseconds"), time("p95Milliseconds"), time("p99Milliseconds"),
        ]
    }

    /// `4.2ms`, `1.31s`.
    static func milliseconds(_ value: Double) -> String {
        if value >= 1000 { return NumberText.fixed(value / 1000, 2) + "s" }
        return NumberText.fixed(value, value < 10 ? 2 : value < 100 ? 1 : 0) + "ms"
    }

    static func services(_ items: [JSON]) -> TextTable {
        TextTable(
            header: ["SERVICE", "RPS", "SUCCESS", "P50", "P95", "P99"],
            rows: items.map { [name($0["name"]?.string ?? "", 32)] + figures($0) })
    }

    static func edges(_ items: [JSON]) -> TextTable {
        TextTable(
            header: ["SOURCE", "DESTINATION", "RPS", "SUCCESS", "P95", "MTLS"],
            rows: items.map { item in
                let figures = figures(item)
                let encrypted = item["mutualTLS"]?.bool.map { $0 ? "yes" : "no" } ?? "-"
                return [
                    name(item["source"]?.string ?? ""), name(item["destination"]?.string ?? ""), figures[0], figures[1],
                    figures[3], encrypted,
                ]
            })
    }

    static func pods(_ items: [JSON]) -> TextTable {
        TextTable(
            header: ["POD", "CPU", "MEMORY", "RESTARTS", "PROXY"],
            rows: items.map { item in
                [
                    name("\(item["namespace"]?.string ?? "")/\(item["pod"]?.string ?? "")", 44),
                    item["cores"]?.double.map { NumberText.fixed($0 * 1000, 0) + "m" } ?? "-",
                    item["memoryBytes"]?.double.map { NumberText.fixed($0 / 1_048_576, 0) + "Mi" } ?? "-",
                    item["restarts"]?.double.map { NumberText.fixed($0, 0) } ?? "-",
                    item["proxyAnswers"]?.bool.map { $0 ? "ok" : "silent" } ?? "-",
                ]
            })
    }
}

/// The service graph in the languages of graph tools.
enum GraphText {
    private static func label(_ edge: JSON) -> String {
        var label = NumberText.fixed(edge["requestsPerSecond"]?.double ?? 0, 1) + "/s"
        if let success = edge["success"]?.double, success < 1 {
            label += " " + NumberText.fixed(success * 100, 1) + "%"
        }
        if let time = edge["p95Milliseconds"]?.double { label += " " + TrafficTables.milliseconds(time) }
        return label
    }

    private static func names(_ edge: JSON, _ workloads: Set<[String]>) -> (source: String, destination: String) {
        let words = (edge["host"]?.string ?? "").split(separator: ".").map(String.init)
        // A service whose workload has its name is one box with it, whatever namespace it is called from.
        if edge["subset"]?.string ?? "" == "", words.count > 2, workloads.contains([words[1], words[0]]) {
            return (edge["source"]?.string ?? "", words[0])
        }
        return (edge["source"]?.string ?? "", edge["destination"]?.string ?? "")
    }

    private static func workloads(_ edges: [JSON]) -> Set<[String]> {
        Set(edges.map { [$0["sourceNamespace"]?.string ?? "", $0["source"]?.string ?? ""] })
    }

    /// Graphviz.
    static func dot(_ edges: [JSON]) -> String {
        var text = "digraph mesh {\n  rankdir=LR;\n  node [shape=box, style=rounded];\n"
        let workloads = workloads(edges)
        for edge in edges {
            let (source, destination) = names(edge, workloads)
            let isBad = (edge["success"]?.double ?? 1) < 0.99
            let line = edge["mutualTLS"]?.bool == false ? ", style=dashed" : ""
            text += "  \(quoted(source)) -> \(quoted(destination)) [label=\(quoted(label(edge)))"
            text += "\(isBad ? ", color=red" : "")\(line)];\n"
        }
        return text + "}\n"
    }

    /// Mermaid: nodes by numbers, since names may have any letter.
    static func mermaid(_ edges: [JSON]) -> String {
        var numbers: [String: Int] = [:]
        var text = "graph LR\n"
        func node(_ name: String) -> String {
            if let number = numbers[name] { return "n\(number)" }
            numbers[name] = numbers.count
            return "n\(numbers.count - 1)[\(quoted(name))]"
        }
        let workloads = workloads(edges)
        for edge in edges {
            let (source, destination) = names(edge, workloads)
            text += "  \(node(source)) -->|\(quoted(label(edge)))| \(node(destination))\n"
        }
        return text
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.replacing("\\", with: "\\\\").replacing("\"", with: "'").filter { !$0.isNewline } + "\""
    }
}
