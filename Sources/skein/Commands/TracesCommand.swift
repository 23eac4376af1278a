internal import HTTP
internal import IO
internal import Serialization

extension Command {
    private static let service = Flag("service", value: "NAME", "that went through this service: web, or web.default")
    private static let longer = Flag("min", value: "TIME", "that took so long at least: 20ms, 1.5s")
    private static let shorter = Flag("max", value: "TIME", "that took so long at most")
    private static let statusFlag = Flag(
        "status", value: "STATUS", "503, 5xx, error, ok, or a response flag such as UH")
    private static let since = Flag("since", value: "TIME", "that began in the last so long: 5m, 1h")
    private static let limit = Flag("limit", value: "NUMBER", "so many, the newest (default 20)")
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")

    static let traces = Command(
        "traces", "[ID]", "Show the traces of requests, or one of them as a waterfall",
        details: """
            Of the traces that the proxies report (1 % of the requests, and each with the header x-client-trace-id) the control plane keeps those in which
            something went wrong, those that were asked for, the slowest, and a share of the others. With an ID, or its first digits: every hop of that request,
            when it began and how long it took. Spans are there five seconds after a request at the latest.
            """,
        flags: [service, longer, shorter, statusFlag, since, limit, form, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count <= 1 else { throw CommandError.usage("traces", "one ID at most") }
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("traces", "-o \(form): table and json are known")
        }
        let id = invocation.operands.first
        var query: [(String, String)] = []
        for (flag, name) in [
            (service, "service"), (longer, "min"), (shorter, "max"), (statusFlag, "status"), (since, "since"),
            (limit, "limit"),
        ] {
            guard let value = invocation.value(flag) else { continue }
            guard id == nil else { throw CommandError.usage("traces", "--\(flag.name) does not go with an ID") }
            query.append((name, value))
        }
        let parameters = query
        let json = try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let path = "/skein/v1/traces" + (id.map { "/\(PercentEncoding.encoded($0))" } ?? "")
            let answer = try await client.call(.get, path, query: parameters)
            guard answer.isSuccess else {
                throw CommandError("skein traces: \(answer.message.filter { $0 != "\n" })")
            }
            return answer.json
        }
        if form == "json" {
            Console.out((id == nil ? json["traces"] ?? .array([]) : json).pretty + "\n")
        } else if id == nil {
            Console.out(TraceTables.list(json["traces"]?.array ?? []).text)
        } else {
            Console.out(TraceTables.waterfall(json))
        }
        return 0
    }
}

/// Traces for people, 80 columns wide.
enum TraceTables {
    private static let columns = 80
    private static let barWidth = 26
    private static let nameWidth = 40

    static func list(_ traces: [JSON]) -> TextTable {
        TextTable(
            header: ["TRACE", "TIME", "SERVICE", "REQUEST", "TOOK", "SPANS", "STATUS"],
            rows: traces.map { trace in
                let flags = (trace["flags"]?.array ?? []).compactMap(\.string).joined(separator: ",")
                let status = trace["status"]?.int.map(String.init) ?? "-"
                let failed = (trace["errors"]?.int ?? 0) > 0
                return [
                    cut(trace["traceId"]?.string ?? "", 8, mark: false), clock(trace["startMicroseconds"]?.int ?? 0),
                    cut(shortened(trace["service"]?.string ?? ""), 13), cut(request(trace), 13),
                    time(trace["durationMicroseconds"]?.int ?? 0), String(trace["spans"]?.int ?? 0),
                    cut(status + (flags.isEmpty ? failed ? "!" : "" : " \(flags)"), 8),
                ]
            })
    }

    private static func request(_ trace: JSON) -> String {
        let path = trace["path"]?.string ?? ""
        return path.isEmpty ? trace["name"]?.string ?? "" : path
    }

    /// Without the part that nearly all have.
    private static func shortened(_ service: String) -> String {
        service.hasSuffix(".default") ? String(service.dropLast(8)) : service
    }

    /// `13:05:09` of the day, UTC.
    private static func clock(_ microseconds: Int) -> String {
        let text = "\(Timestamp(seconds: Int64(microseconds / 1_000_000)))"
        return String(text.drop { $0 != "T" }.dropFirst().prefix(8))
    }

    /// `850us`, `4.25ms`, `1.31s`.
    static func time(_ microseconds: Int) -> String {
        microseconds < 1000 ? "\(microseconds)us" : TrafficTables.milliseconds(Double(microseconds) / 1000)
    }

    private static func cut(_ text: String, _ width: Int, mark: Bool = true) -> String {
        text.count <= width ? text : mark ? text.prefix(width - 1) + "…" : String(text.prefix(width))
    }

    private static func padded(_ text: String, _ width: Int, left: Bool = false) -> String {
        let blanks = String(repeating: " ", count: max(0, width - text.count))
        return left ? blanks + text : text + blanks
    }

    /// One line for each span: who, what came of it, how long, and when in the whole.
    static func waterfall(_ trace: JSON) -> String {
        let whole = max(trace["durationMicroseconds"]?.int ?? 0, 1)
        let services = trace["services"]?.array?.count ?? 0
        var text = "\(trace["traceId"]?.string ?? "")   \(clock(trace["startMicroseconds"]?.int ?? 0)) UTC\n"
        text +=
            cut(
                "\(trace["method"]?.string ?? "") \(request(trace)): \(time(whole)), \(trace["spanCount"]?.int ?? 0) spans of \(services) services, kept: \(trace["kept"]?.string ?? "")",
                columns) + "\n"
        if trace["complete"]?.bool == false {
            text += "spans are missing: proxies that were not asked to trace, or late ones\n"
        }
        text += "\n"
        for span in trace["spans"]?.array ?? [] { text += line(span, whole) }
        return text
    }

    private static func line(_ span: JSON, _ whole: Int) -> String {
        let depth = span["depth"]?.int ?? 0
        let kinds = ["client": ">", "server": "<"]
        let mark = span["orphan"]?.bool == true ? "? " : ""
        let flags = (span["flags"]?.array ?? []).compactMap(\.string).joined(separator: ",")
        var what = "\(shortened(span["service"]?.string ?? "")) \(kinds[span["kind"]?.string ?? ""] ?? "·")"
        if span["kind"]?.string == "client" {
            what += " " + destination(span)
        } else if let path = span["attributes"]?["http.path"]?.string {
            what += " " + path
        } else {
            what += " " + (span["name"]?.string ?? "")
        }
        let indent = String(repeating: " ", count: min(depth, 12))
        let state = (span["status"]?.int.map(String.init) ?? "") + (flags.isEmpty ? "" : " \(flags)")
        let name = padded(cut(indent + mark + what, nameWidth), nameWidth)
        let took = padded(time(span["durationMicroseconds"]?.int ?? 0), 7, left: true)
        var text = "\(name) \(took) \(bar(span, whole))"
        if !state.isEmpty, span["error"]?.bool == true {
            text = "\(name) \(took) \(bar(span, whole, width: barWidth - 1 - state.count)) \(state)"
        }
        while text.last == " " { text.removeLast() }
        text += "\n"
        for event in span["events"]?.array ?? [] {
            guard let told = told(event) else { continue }
            text +=
                padded(cut("\(indent)  + \(told)", 58), nameWidth) + " at "
                + time(max(event["offsetMicroseconds"]?.int ?? 0, 0)) + "\n"
        }
        if let skew = span["skewMicroseconds"]?.int, skew != 0 {
            text +=
                "\(indent)  ! \(time(abs(skew))) \(skew < 0 ? "before its caller began" : "after its caller ended"): clocks differ\n"
        }
        return text
    }

    /// From this time on it is worth a line that a connection was waited for; microseconds.
    private static let notedWait = 1_000

    /// What is said of an event; nil of what happens to every request.
    ///
    /// All of it is in the JSON.
    private static func told(_ event: JSON) -> String? {
        let (name, attributes) = (event["name"]?.string ?? "", event["attributes"]?.object ?? [:])
        switch name {
        case "request sent", "response begun": return nil
        case "connection":
            guard let waited = attributes["waited_us"]?.string.flatMap({ Int($0) }), waited >= notedWait else {
                return nil
            }
            let tls = attributes["upstream_tls"]?.string.map { ", \($0)" } ?? ""
            return "waited \(time(waited)) for a connection\(tls)"
        default:
            let details = attributes.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value.string ?? "")" }
            return ([name] + details).joined(separator: " ")
        }
    }

    private static func destination(_ span: JSON) -> String {
        // outbound|8080||catalog.default.svc.cluster.local
        let cluster = (span["attributes"]?["upstream_cluster"]?.string ?? "").split(
            separator: "|", omittingEmptySubsequences: false)
        guard cluster.count == 4 else { return span["name"]?.string ?? "" }
        let host = cluster[3].split(separator: ".").prefix(2).joined(separator: ".")
        return shortened(host) + (cluster[2].isEmpty ? "" : "/\(cluster[2])")
    }

    /// The part of the whole, at least one mark long.
    private static func bar(_ span: JSON, _ whole: Int, width: Int = barWidth) -> String {
        let width = max(width, 4)
        let offset = max(0, span["offsetMicroseconds"]?.int ?? 0)
        let duration = max(0, span["durationMicroseconds"]?.int ?? 0)
        let begin = min(Int(Double(offset) / Double(whole) * Double(width)), width - 1)
        let length = max(1, min(Int((Double(duration) / Double(whole) * Double(width)).rounded()), width - begin))
        return String(repeating: " ", count: begin) + String(repeating: "▇", count: length)
    }
}
