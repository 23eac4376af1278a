internal import Serialization

/// What `skein certs` prints.
enum CertificateTables {
    private static func text(_ json: JSON, _ name: String) -> String { json[name]?.string ?? "" }

    /// Roots, workloads and alarms.
    static func overview(_ facts: JSON) -> String {
        var output = roots(facts) + "\n"
        var table = TextTable(
            header: ["NAMESPACE", "POD", "IDENTITY", "ROOT", "ENDS", "RENEWED", "HEALTH"], rows: [])
        for workload in facts["workloads"]?.array ?? [] {
            table = TextTable(
                header: table.header,
                rows: table.rows + [
                    [
                        text(workload, "namespace"), text(workload, "pod"), text(workload, "identity"),
                        text(workload, "root"), text(workload, "notAfter"), text(workload, "renewal"),
                        text(workload, "health"),
                    ]
                ])
        }
        output += table.text
        let clients = (facts["clients"]?.array ?? []).map { client in
            [
                text(client, "client"), text(client, "notAfter"),
                client["hasPresentRoots"]?.bool == true ? "present" : "old",
                client["follows"]?.bool == true ? "yes" : "no",
            ]
        }
        if !clients.isEmpty {
            output += "\n" + TextTable(header: ["CLIENT WITH FILES", "ENDS", "ROOTS", "FOLLOWS"], rows: clients).text
        }
        let alarms = alarms(facts)
        if !alarms.isEmpty { output += "\n" + alarms.map { $0 + "\n" }.joined() }
        return output
    }

    /// The roots and the intermediate.
    static func roots(_ facts: JSON) -> String {
        var rows = (facts["roots"]?.array ?? []).map { root in
            [
                "root", text(root, "id"), text(root, "stage"), text(root, "notAfter"),
                root["hasKey"]?.bool == true ? "here" : "elsewhere", text(root, "waitsFor"),
            ]
        }
        if let intermediate = facts["intermediate"] {
            rows.append(
                ["intermediate", text(intermediate, "id"), "Signing", text(intermediate, "notAfter"), "here", ""])
        }
        return TextTable(header: ["KIND", "ID", "STAGE", "ENDS", "KEY", "WAITS FOR"], rows: rows).text
    }

    /// What somebody must look at, a line each.
    static func alarms(_ facts: JSON) -> [String] {
        (facts["alarms"]?.array ?? []).map {
            "ALARM \(text($0, "subject")): \(text($0, "problem")); \(text($0, "remedy"))"
        }
    }

    /// Something that ends.
    struct Expiry {
        var subject: String
        /// Unix seconds.
        var notAfter: Int64
    }

    /// Everything that ends, the first to end first; retired roots are meant to.
    static func expiries(_ facts: JSON) -> [Expiry] {
        func entry(_ subject: String, _ json: JSON) -> Expiry? {
            Timestamp(text(json, "notAfter")).map { Expiry(subject: subject, notAfter: $0.seconds) }
        }
        var found = (facts["roots"]?.array ?? []).filter { text($0, "stage") != "Retired" }.compactMap {
            entry("root \(text($0, "id"))", $0)
        }
        if let intermediate = facts["intermediate"] {
            found += [entry("intermediate \(text(intermediate, "id"))", intermediate)].compactMap(\.self)
        }
        found += (facts["workloads"]?.array ?? []).compactMap {
            entry("pod \(text($0, "namespace"))/\(text($0, "pod"))", $0)
        }
        return found.sorted { ($0.notAfter, $0.subject) < ($1.notAfter, $1.subject) }
    }

    /// What ends when.
    static func expiry(_ entries: [Expiry], now: Int64) -> String {
        let rows = entries.map { entry -> [String] in
            let left = entry.notAfter - now
            let span =
                left <= 0
                ? "ended" : left < 172_800 ? "\(left / 3600)h\(left % 3600 / 60)m" : "\(left / 86_400)d"
            return [entry.subject, Timestamp(seconds: entry.notAfter).secondsText, span]
        }
        return TextTable(header: ["SUBJECT", "ENDS", "LEFT"], rows: rows).text
    }

    /// What does not fit together.
    static func problems(_ facts: JSON) -> [String] {
        let present = Set((facts["roots"]?.array ?? []).map { text($0, "id") })
        var found: [String] = []
        for workload in facts["workloads"]?.array ?? [] {
            let name = "pod \(text(workload, "namespace"))/\(text(workload, "pod"))"
            if !["Good", "ExpiresSoon"].contains(text(workload, "health")) {
                found.append("\(name): its certificate is \(text(workload, "health").lowercased())")
            } else if !present.contains(text(workload, "root")) {
                found.append("\(name): its certificate leads to no present root")
            } else if workload["hasPresentRoots"]?.bool == false {
                found.append("\(name): its proxy has not taken the present roots")
            }
        }
        return found + alarms(facts)
    }
}
