internal import HTTP
internal import Serialization

/// What the control plane has sent to proxies: T_cd, the bytes and messages per change and proxy.
struct TrafficReport: Sendable {
    let text: String

    init(_ client: KubernetesClient) async throws(CommandError) {
        let traffic = try await client.call(.get, "/skein/v1/traffic")
        let proxies = try await client.call(.get, "/skein/v1/proxies")
        guard traffic.isSuccess, proxies.isSuccess else { throw CommandError("Error from server: \(traffic.message)") }
        text = Self.text(traffic.json, proxies.json["proxies"]?.array ?? [])
    }

    static func text(_ json: JSON, _ proxies: [JSON]) -> String {
        func number(_ part: String, _ name: String) -> Int { json[part]?[name]?.int ?? 0 }
        let (count, changes) = (max(json["proxies"]?.int ?? 0, 1), max((json["generations"]?.int ?? 0) - 1, 1))
        func ratio(_ value: Int) -> String {
            let hundredths = value * 100 / changes / count
            let rest = hundredths % 100
            return "\(hundredths / 100).\(rest < 10 ? "0" : "")\(rest)"
        }
        var text = ""
        if let servers = json["servers"]?.int, servers > 1 {
            text += "Control planes:       \(servers)\n"
            if let silent = json["silent"]?.int, silent > 0 { text += "  of which not counted: \(silent)\n" }
        }
        text += "Proxies:              \(json["proxies"]?.int ?? 0)\n"
        text += "Changes:              \(changes)\n"
        text += "Per change and proxy: \(ratio(number("changes", "responseBytes"))) bytes, "
        text +=
            "\(ratio(number("changes", "responses"))) messages, \(ratio(number("changes", "resources"))) resources\n"
        text +=
            "Sent in all:          \(number("total", "responseBytes")) bytes, \(number("total", "responses")) messages\n"
        text +=
            "Received in all:      \(number("total", "requestBytes")) bytes, \(number("total", "requests")) messages\n"
        for (name, label) in [
            ("refused_streams", "streams refused (too many)"), ("refused_identities", "identities refused"),
            ("violations", "breaches of the protocol"), ("floods", "floods of requests"),
            ("unread", "proxies that did not read"), ("stale_answers", "answers to old responses"),
        ] {
            if let number = json[name]?.int, number > 0 { text += "\(number) \(label)\n" }
        }
        guard !proxies.isEmpty else { return text }
        let rows = proxies.map { proxy in
            // Another control plane tells the sum of its proxies only.
            func value(_ name: String) -> String {
                proxy["traffic"] == nil ? "-" : "\(proxy["traffic"]?[name]?.int ?? 0)"
            }
            return [
                "\(proxy["pod"]?.string ?? "").\(proxy["namespace"]?.string ?? "")", value("responses"),
                value("responseBytes"), value("resources"), value("requests"), value("requestBytes"),
            ]
        }
        let header = ["NAME", "RESPONSES", "BYTES", "RESOURCES", "REQUESTS", "BYTES"]
        return text + "\n" + TextTable(header: header, rows: rows).text
    }
}
