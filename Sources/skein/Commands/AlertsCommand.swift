internal import HTTP
internal import IO
internal import Insight
internal import Serialization

extension Command {
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")
    private static let rules = Flag("rules", "the rules that are watched, also those without an alert")

    static let alerts = Command(
        "alerts", "", "Show what is wrong now",
        details: """
            The alerts that are pending or firing, since when, and what to do. Rules of your own, receivers and silences are in the ConfigMap
            skein-alerts of the namespace skein-system (docs/insight.md). Exit status 1 when one fires.
            """,
        flags: [rules, form, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("alerts", "-o \(form): table and json are known")
        }
        guard invocation.operands.isEmpty else { throw CommandError.usage("alerts", "takes no operands") }
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
