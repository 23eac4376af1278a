internal import HTTP
internal import IO
internal import Insight
internal import Serialization

extension Command {
    private static let whatIf = Flag(
        "what-if", value: "CHANGE",
        "'rate web x2', 'add 50ms ratings', 'replicas orders=5', 'split v1,v2 v2=20%', 'lose node b', 'lose pod web'; may be repeated"
    )
    private static let target = Flag(
        "target", value: "GOAL", "pods needed for a goal: 'web p99<200ms', 'web mean<50ms'")
    private static let window = Flag("window", short: "t", value: "TIME", "learn from so long: 5m, 1h (default 10m)")
    private static let change = Flag(
        "change", "with -f FILE: what these objects would have the control plane send, to which nodes")
    private static let form = Flag("output", short: "o", value: "FORMAT", "table or json (default table)")

    static let plan = Command(
        "plan", "", "Predict times and loads of workloads, as they are and after a change",
        details: """
            From the time series: who calls whom how often for a request (P) and how long each takes for itself (L), solved as R = P*R + L. ERROR
            tells by how much the same model of the earlier half of the window misses the later half. It refuses when it knows too little.

            With --change -f FILE: the messages and bytes that applying the file would have the control plane send, by node, by the object that
            causes them and by type, as the code that sends would make them. Nothing is applied.
            """,
        flags: [whatIf, target, window, change, .files, .namespace, form, .dataDirectory, .runDirectory]
    ) { invocation throws(CommandError) in
        guard invocation.operands.isEmpty else { throw CommandError.usage("plan", "takes no operands") }
        let form = invocation.value(form) ?? "table"
        guard ["table", "json"].contains(form) else {
            throw CommandError.usage("plan", "-o \(form): table and json are known")
        }
        guard invocation.has(change) == invocation.has(.files) else {
            throw CommandError.usage("plan", "--change and -f FILE belong together")
        }
        if invocation.has(change) {
            guard !invocation.has(whatIf), !invocation.has(target) else {
                throw CommandError.usage("plan", "--change is about the control plane: without --what-if and --target")
            }
            let manifests = try Manifest.load(invocation.all(.files), namespace: invocation.value(.namespace))
            let traffic = try onLoop { loop throws(CommandError) in
                try await ChangeTraffic.ask(
                    KubernetesClient(runDirectory: invocation.runDirectory, on: loop), manifests)
            }
            Console.out(form == "json" ? traffic.json.pretty + "\n" : traffic.text)
            return 0
        }
        var changes: [WhatIf] = []
        do throws(PlanRefusal) {
            for text in invocation.all(whatIf) { changes.append(try WhatIf(text)) }
        } catch {
            throw CommandError.usage("plan", "--what-if \(error)")
        }
        let seconds = try Self.seconds(invocation)
        let answer = try onLoop { loop throws(CommandError) in
            let client = KubernetesClient(runDirectory: invocation.runDirectory, on: loop)
            let answer = try await client.call(.get, "/skein/v1/plan", query: [("window", String(seconds))])
            guard answer.isSuccess else {
                throw CommandError("the time series are not there: \(answer.message.filter { $0 != "\n" })")
            }
            return answer.json
        }
        let goal = try Goal(invocation.value(target))
        do throws(PlanRefusal) {
            let observed = PlanObservations.read(answer["all"] ?? .null)
            let planner = try Planner(observed, nodes: PlanObservations.readNodes(answer["nodes"] ?? .null))
            var changed = planner
            for change in changes { changed = try changed.changed(change) }
            let errors = try Planner.fit(
                earlier: PlanObservations.read(answer["earlier"] ?? .null),
                later: PlanObservations.read(answer["later"] ?? .null))
            if let goal {
                let pods = try changed.replicas(for: goal.name, below: goal.milliseconds, isP99: goal.isP99)
                Console.out(
                    form == "json"
                        ? JSON.object(pods.mapValues { .integer(Int64($0)) }).pretty + "\n"
                        : TextTable(
                            header: ["WORKLOAD", "PODS"],
                            rows: pods.sorted { $0.key < $1.key }.map { [$0.key, "\($0.value)"] }
                        ).text)
                return 0
            }
            let (now, then) = (try planner.predict(), try changed.predict())
            Console.out(
                form == "json"
                    ? JSON.object(PlanView.table((planner, now), (changed, then), errors)).pretty + "\n"
                    : table((planner, now), (changed, then), errors))
            return 0
        } catch {
            throw CommandError("skein plan: \(error)")
        }
    }

    /// `web p99<200ms`.
    private struct Goal {
        var name = ""
        var milliseconds = 0.0
        var isP99 = false

        init?(_ text: String?) throws(CommandError) {
            guard let text else { return nil }
            let words = text.split(separator: " ")
            let parts = words.last?.split(separator: "<") ?? []
            guard words.count == 2, parts.count == 2, ["p99", "mean"].contains(parts[0]), parts[1].hasSuffix("ms"),
                let time = Double(parts[1].dropLast(2)), time > 0
            else { throw CommandError.usage("plan", "--target \(text): like 'web p99<200ms' or 'web mean<50ms'") }
            (name, milliseconds, isP99) = (String(words[0]), time, parts[0] == "p99")
        }
    }

    private static func seconds(_ invocation: Invocation) throws(CommandError) -> Int64 {
        let text = invocation.value(window) ?? "10m"
        let units: [Character: Int64] = ["s": 1, "m": 60, "h": 3600]
        guard let unit = text.last.flatMap({ units[$0] }), let number = Int64(text.dropLast()), number > 0,
            number <= 86_400, number * unit >= 40, number * unit <= 86_400
        else { throw CommandError.usage("plan", "--window \(text): not a time from 40s to 24h") }
        return number * unit
    }

    private static func table(
        _ now: (planner: Planner, times: [WorkloadPrediction]), _ then: (planner: Planner, times: [WorkloadPrediction]),
        _ errors: [String: Double]
    ) -> String {
        func percent(_ share: Double?) -> String { share.map { NumberText.fixed($0 * 100, 0) + "%" } ?? "-" }
        let rows = zip(now.times, then.times).map { now, then in
            [
                now.name.count > 20 ? now.name.prefix(19) + "…" : now.name, NumberText.fixed(then.rate, 1),
                percent(then.utilisation),
                TrafficTables.milliseconds(now.response), TrafficTables.milliseconds(then.response),
                TrafficTables.milliseconds(then.p99), NumberText.fixed(then.inside, 2), percent(errors[now.name]),
            ]
        }
        let table = TextTable(header: ["WORKLOAD", "RPS", "BUSY", "NOW", "THEN", "P99", "INSIDE", "ERROR"], rows: rows)
        let busiest = then.times.filter { $0.utilisation != nil }.max { ($0.utilisation ?? 0) < ($1.utilisation ?? 0) }
        var text = table.text
        if let busiest { text += "\nThe bottleneck is \(busiest.name): \(percent(busiest.utilisation)) busy.\n" }
        let before = now.planner.loads(now.times)
        for node in then.planner.loads(then.times) where node.busy != nil {
            let busy = before.first { $0.name == node.name }?.busy
            text += "Node \(node.name): \(percent(busy)) busy now, \(percent(node.busy)) then.\n"
        }
        for note in then.planner.notes { text += "\nNote: \(note)." }
        return then.planner.notes.isEmpty ? text : text + "\n"
    }
}
