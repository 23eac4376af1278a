internal import HTTP
internal import IO
internal import Insight
internal import Serialization

extension Command {
    private static let at = Flag("at", value: "TIME", "at that time: seconds since 1970, or RFC 3339 (default now)")
    private static let start = Flag("start", value: "TIME", "a range query from there, with --end and --step")
    private static let end = Flag("end", value: "TIME", "the end of a range query")
    private static let step = Flag("step", value: "TIME", "the step of a range query, like 30s")
    private static let samples = Flag(
        "samples", value: "FILE",
        "ask that file of OpenMetrics with time stamps instead of what runs; - is standard input")
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")

    static let query = Command(
        "query", "PROMQL", "Ask the time series a question in PromQL",
        details: """
            A subset of PromQL (docs/insight.md says which): skein query 'sum by (destination_service_name) (rate(istio_requests_total[5m]))'.
            -o json prints what Prometheus' API would. Exit status 1 when it is no query of the subset.
            """,
        flags: [at, start, end, step, samples, form, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.count == 1 else { throw CommandError.usage("query", "needs one query") }
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("query", "-o \(form): table and json are known")
        }
        let isRange = invocation.has(start) || invocation.has(end) || invocation.has(step)
        if isRange, !(invocation.has(start) && invocation.has(end) && invocation.has(step)) {
            throw CommandError.usage("query", "--start, --end and --step belong together")
        }
        let data: JSON
        if let file = invocation.value(samples) {
            data = try ask(file: file, invocation, isRange)
        } else {
            data = try ask(live: invocation, isRange)
        }
        Console.out(form == "json" ? data.pretty + "\n" : QueryTables.text(data))
        return 0
    }

    private static func ask(live invocation: Invocation, _ isRange: Bool) throws(CommandError) -> JSON {
        var query = [("query", invocation.operands[0])]
        for (flag, name) in [(at, "time"), (start, "start"), (end, "end"), (step, "step")] {
            if let value = invocation.value(flag) { query.append((name, value)) }
        }
        let parameters = query
        return try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let answer = try await client.call(
                .get, "/skein/v1/\(isRange ? "query_range" : "query")", query: parameters)
            guard answer.isSuccess, let data = answer.json["data"] else {
                throw CommandError("skein query: \(answer.json["error"]?.string ?? answer.message)")
            }
            return data
        }
    }

    private static func ask(file: String, _ invocation: Invocation, _ isRange: Bool) throws(CommandError) -> JSON {
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try File.read(file == "-" ? "/dev/stdin" : file) } catch {
            throw CommandError(error)
        }
        let source = SampleFile(bytes)
        func time(_ flag: Flag) throws(CommandError) -> Int64? {
            guard let text = invocation.value(flag) else { return nil }
            guard let time = PrometheusAPI.time(text) else {
                throw CommandError.usage("query", "--\(flag.name) \(text): no time")
            }
            return time
        }
        let (at, start, end) = (try time(at), try time(start), try time(end))
        do throws(QueryError) {
            if isRange, let start, let end {
                let series = try QueryEngine(source).query(
                    invocation.operands[0], from: start, to: end,
                    step: try PrometheusAPI.step(invocation.value(step) ?? ""))
                return ["resultType": "matrix", "result": .array(series.map { PrometheusAPI.json($0) })]
            }
            let moment = at ?? source.newest ?? 0
            return PrometheusAPI.json(try QueryEngine(source).query(invocation.operands[0], at: moment), at: moment)
        } catch {
            throw CommandError("skein query: \(error)")
        }
    }
}

/// Answers of queries for people.
enum QueryTables {
    static func text(_ data: JSON) -> String {
        let result = data["result"] ?? .null
        switch data["resultType"]?.string {
        case "scalar", "string": return (result[1]?.string ?? "") + "\n"
        case "vector":
            let rows = (result.array ?? []).map { [labels($0["metric"]), $0["value"]?[1]?.string ?? ""] }
            return TextTable(header: ["SERIES", "VALUE"], rows: rows).text
        default:
            let rows = (result.array ?? []).flatMap { series in
                (series["values"]?.array ?? []).map { point in
                    [labels(series["metric"]), point[0]?.text ?? "", point[1]?.string ?? ""]
                }
            }
            return TextTable(header: ["SERIES", "TIME", "VALUE"], rows: rows).text
        }
    }

    private static func labels(_ metric: JSON?) -> String {
        Labels((metric?.object ?? [:]).compactMapValues(\.string)).text
    }
}
