internal import HTTP
internal import IO
internal import Insight
internal import Serialization

extension Command {
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")
    private static let samples = Flag(
        "samples", value: "FILE",
        "what the rules say of that file of OpenMetrics with time stamps, every 10 seconds of it; - is standard input")
    private static let step = Flag("step", value: "TIME", "with --samples: tell what fires so often (default 1m)")
    private static let rules = Flag("rules", "the rules that are watched, also those without an alert")

    static let alerts = Command(
        "alerts", "", "Show what is wrong now",
        details: """
            The alerts that are pending or firing, since when, and what to do. Rules of your own, receivers and silences are in the ConfigMap
            skein-alerts of the namespace skein-system (docs/insight.md). Exit status 1 when one fires.
            """,
        flags: [rules, samples, step, .files, form, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("alerts", "-o \(form): table and json are known")
        }
        guard invocation.operands.isEmpty else { throw CommandError.usage("alerts", "takes no operands") }
        if let file = invocation.value(samples) {
            Console.out(try history(file, invocation).pretty + "\n")
            return 0
        }
        guard !invocation.has(.files), !invocation.has(step) else {
            throw CommandError.usage("alerts", "-f and --step go with --samples")
        }
        let isRules = invocation.has(rules)
        let json = try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let answer = try await client.call(.get, isRules ? "/skein/v1/rules" : "/skein/v1/alerts")
            guard answer.isSuccess, let data = answer.json["data"] else {
                throw CommandError("the alerts are not there: \(answer.message.filter { $0 != "\n" })")
            }
            return data
        }
        if form == "json" {
            Console.out(json.pretty + "\n")
        } else {
            Console.out(isRules ? rulesText(json) : alertsText(json))
        }
        let isFiring = (json["alerts"]?.array ?? []).contains { $0["state"]?.string == "firing" }
        return isFiring ? 1 : 0
    }

    /// What fires at each step of recorded samples, by the rules of files or by those that are built in.
    private static func history(_ file: String, _ invocation: Invocation) throws(CommandError) -> JSON {
        func read(_ path: String) throws(CommandError) -> [UInt8] {
            do throws(SystemError) { return try File.read(path == "-" ? "/dev/stdin" : path) } catch {
                throw CommandError(error)
            }
        }
        var book = AlertBook()
        let step: Int64
        do {
            var files: [RuleFile] = []
            for path in invocation.all(.files) {
                files.append(try RuleFile(yaml: String(decoding: try read(path), as: UTF8.self), file: path))
            }
            if files.isEmpty { files.append(try RuleFile(yaml: DefaultRules.text, file: "skein-rules.yaml")) }
            book.use(files)
            step = max(Insight.step * 1000, try PrometheusAPI.step(invocation.value(Self.step) ?? "1m"))
        } catch {
            throw CommandError("skein alerts: \(error)")
        }
        let source = SampleFile(try read(file))
        guard let newest = source.newest, let oldest = source.oldest else {
            throw CommandError("\(file): no samples with time stamps")
        }
        var history: [JSON] = []
        for time in stride(from: oldest, through: newest, by: Int(Insight.step * 1000)) {
            book.take(AlertBook.ask(book.expressions, source, at: time), at: time)
            guard (time - oldest) % step == 0 else { continue }
            let firing = (book.alertsJSON["alerts"]?.array ?? []).filter { $0["state"]?.string == "firing" }
            history.append(["time": .number(Double(time) / 1000), "alerts": .array(firing)])
        }
        return .array(history)
    }

    private static func alertsText(_ json: JSON) -> String {
        let alerts = json["alerts"]?.array ?? []
        var text = json["problem"]?.string.map { "The configuration is not in force: \($0)\n\n" } ?? ""
        guard !alerts.isEmpty else { return text + "No alerts.\n" }
        text +=
            TextTable(
                header: ["ALERT", "STATE", "SINCE", "SEVERITY"],
                rows: alerts.map { alert in
                    [
                        alert["labels"]?["alertname"]?.string ?? "", alert["state"]?.string ?? "",
                        String((alert["activeAt"]?.string ?? "").prefix(19)),
                        alert["labels"]?["severity"]?.string ?? "",
                    ]
                }
            ).text
        for alert in alerts {
            let summary = alert["annotations"]?["summary"]?.string ?? alert["labels"]?["alertname"]?.string ?? ""
            text += "\n\(summary)\n"
            if let action = alert["annotations"]?["action"]?.string { text += "    \(action)\n" }
        }
        return text
    }

    private static func rulesText(_ json: JSON) -> String {
        let rows = (json["groups"]?.array ?? []).flatMap { group in
            (group["rules"]?.array ?? []).map { rule in
                [
                    group["file"]?.string ?? "", rule["name"]?.string ?? "", rule["state"]?.string ?? "",
                    rule["lastError"]?.string ?? rule["health"]?.string ?? "",
                ]
            }
        }
        return TextTable(header: ["FILE", "ALERT", "STATE", "HEALTH"], rows: rows).text
    }
}
