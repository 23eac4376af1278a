import Serialization
import Testing

@testable import Insight

@Suite("Alerts")
struct AlertTests {
    static let rules = """
        groups:
          - name: g
            rules:
              - alert: Hot
                expr: temperature > 25
                for: 1m
                keep_firing_for: 20s
                labels: {severity: "page", room: "{{ $labels.place }}"}
                annotations: {summary: "{{ $labels.place }} has {{ $value | humanize }} degrees, {{ printf \\"%.2f\\" $value }}"}
        """

    /// Temperatures every ten seconds.
    static func source(_ values: [Double]) -> FixedSource {
        var source = FixedSource()
        source.add(Labels("temperature", ["place": "hall"]), values)
        return source
    }

    static func run(_ book: inout AlertBook, _ values: [Double], from: Int = 0, _ each: (Int64, AlertBook) -> Void) {
        let source = source(values)
        for index in from..<values.count {
            let time = Int64(index) * 10_000
            book.take(AlertBook.ask(book.expressions, source, at: time), at: time)
            each(time, book)
        }
    }

    @Test("an alert waits, fires, is kept a while, ends, and is forgotten")
    func states() throws {
        var book = AlertBook()
        book.use([try RuleFile(yaml: Self.rules, file: "r")])
        var states: [String] = []
        let values = [20.0, 30, 30, 30, 30, 30, 30, 30, 30, 20, 20, 20, 20] + Array(repeating: 20, count: 100)
        Self.run(&book, values) { _, book in states.append(book.alerts.first?.state.rawValue ?? "-") }
        #expect(
            Array(states.prefix(12)) == ["-"] + Array(repeating: "pending", count: 6) + [
                "firing", "firing", "firing", "resolved", "resolved",
            ])
        #expect(states.last == "-")
        var again = AlertBook()
        again.use([try RuleFile(yaml: Self.rules, file: "r")])
        Self.run(&again, [20, 26.5]) { _, _ in }
        let alert = try #require(again.alerts.first)
        #expect(alert.labels == Labels(["alertname": "Hot", "place": "hall", "room": "hall", "severity": "page"]))
        #expect(alert.annotations["summary"] == "hall has 26.5 degrees, 26.50")
        #expect(again.rulesJSON.text.contains(#""state":"pending","type":"alerting""#))
        #expect(again.alertsJSON.text.contains(#""activeAt":"1970-01-01T00:00:10Z""#))
    }

    @Test("a condition that holds no more before its time was up has never been an alert")
    func flapping() throws {
        var book = AlertBook()
        book.use([try RuleFile(yaml: Self.rules, file: "r")])
        Self.run(&book, (0..<40).map { $0 % 5 == 0 ? 20 : 30 }) { _, book in
            #expect(book.alerts.allSatisfy { $0.state == .pending })
        }
    }

    @Test(
        "what is not known in a file of rules is refused with its path",
        arguments: [
            ("groups: [{name: a, rules: [{alert: X, expr: up, fr: 5m}]}]", "groups[0].rules[0].fr is not known"),
            ("groups: [{name: a, rules: [{alert: X, expr: 'up{'}]}]", "groups[0].rules[0].expr: at"),
            ("groups: [{name: a, rules: [{record: x, expr: up}]}]", "record: recording rules"),
            ("groups: [{name: a, rules: [{alert: X, expr: up, for: soon}]}]", "is no time like 5m"),
            (
                "groups: [{name: a, rules: [{alert: X, expr: up, annotations: {s: '{{ query \"x\" }}'}}]}]",
                "annotations.s: {{"
            ),
            ("rules: []", "r.rules is not known"), ("groups: [{rules: []}]", "groups[0].name"), ("[", "r:2"),
        ])
    func refusals(_ text: String, _ reason: String) {
        let error = #expect(throws: RuleError.self) { try RuleFile(yaml: text, file: "r") }
        #expect(error?.description.contains(reason) ?? false, "\(error?.description ?? "")")
    }

    static let configuration = """
        route: {receiver: team, group_by: [severity], group_wait: 10s, group_interval: 1m, repeat_interval: 1h}
        receivers: [{name: team, webhook_configs: [{url: "http://127.0.0.1:9999/hook", max_alerts: 2}]}]
        inhibit_rules: [{source_matchers: ['severity="critical"'], target_matchers: [severity=warning], equal: [pod]}]
        """

    static func alert(_ name: String, _ severity: String, _ state: Alert.State = .firing, pod: String = "p") -> Alert {
        Alert(
            labels: Labels(["alertname": name, "severity": severity, "pod": pod]), annotations: ["summary": name],
            state: state, value: 1, activeAt: 0, firedAt: 0, resolvedAt: state == .resolved ? 5 : nil, lastSeen: 0)
    }

    @Test(
        "a group is told once after its wait, of news after its interval, of its end, and again after the repeat interval"
    )
    func grouping() throws {
        let routing = try AlertRouting(yaml: Self.configuration, silences: nil, file: "c")
        var notifier = AlertNotifier()
        func tell(_ alerts: [Alert], _ time: Int64, arrived: Bool = true) -> [String] {
            let messages = notifier.due(alerts, routing, at: time)
            for message in messages { notifier.sent(message, at: time, arrived: arrived) }
            return messages.map {
                "\($0.body["status"]?.string ?? "") \($0.body["alerts"]?.array?.count ?? 0)+\($0.body["truncatedAlerts"]?.int ?? 0)"
            }
        }
        let (a, b) = (Self.alert("A", "critical"), Self.alert("B", "critical"))
        #expect(tell([a], 0) == [])
        #expect(tell([a], 10_000, arrived: false) == ["firing 1+0"])
        #expect(tell([a], 20_000) == ["firing 1+0"])
        #expect(tell([a, b], 30_000) == [])
        #expect(tell([a, b], 80_000) == ["firing 2+0"])
        #expect(tell([a, b], 200_000) == [])
        #expect(tell([a, b], 3_700_000) == ["firing 2+0"])
        #expect(tell([a, b, Self.alert("C", "critical")], 3_800_000) == ["firing 2+1"])
        #expect(tell([a, Self.alert("B", "critical", .resolved)], 3_900_000) == ["firing 2+0"])
        #expect(tell([Self.alert("A", "critical", .resolved)], 4_000_000) == ["resolved 1+0"])
        #expect(tell([Self.alert("A", "critical", .resolved)], 4_100_000) == [])
        // Over before the wait was: nobody heard of it.
        #expect(tell([a], 5_000_000) == [] && tell([Self.alert("A", "critical", .resolved)], 5_020_000) == [])
    }

    @Test("the more severe alert of a pod silences the other, and a silence all that fit it, while it lasts")
    func inhibition() throws {
        let silences =
            "[{matchers: ['alertname=~\"S.*\"'], startsAt: '1970-01-01T00:00:00Z', endsAt: '1970-01-01T01:00:00Z', comment: x}]"
        let routing = try AlertRouting(yaml: Self.configuration, silences: silences, file: "c")
        var notifier = AlertNotifier()
        let alerts = [
            Self.alert("A", "critical"), Self.alert("W", "warning"), Self.alert("V", "warning", pod: "q"),
            Self.alert("S1", "critical"),
        ]
        func names(_ time: Int64) -> [String] {
            notifier.due(alerts, routing, at: time).flatMap { message in
                (message.body["alerts"]?.array ?? []).compactMap { $0["labels"]?["alertname"]?.string }
            }.sorted()
        }
        #expect(names(0) == [] && names(10_000) == ["A", "V"])
        notifier = AlertNotifier()
        #expect(names(4_000_000) == [] && names(4_010_000) == ["A", "S1", "V"])
    }

    @Test(
        "what is not supported of Alertmanager's configuration is refused with its path",
        arguments: [
            ("route: {receiver: a, routes: []}", "route.routes is not supported"),
            ("route: {receiver: a}\nreceivers: []", "there is no receiver"),
            ("route: {receiver: a}\nreceivers: [{name: a, slack_configs: []}]", "receivers[0].slack_configs"),
            (
                "route: {receiver: a}\nreceivers: [{name: a, webhook_configs: [{url: 'https://x'}]}]",
                "webhook_configs[0].url"
            ),
            ("global: {}", "global is not supported"),
        ])
    func configurationRefusals(_ text: String, _ reason: String) {
        let error = #expect(throws: RuleError.self) { try AlertRouting(yaml: text, silences: nil, file: "c") }
        #expect(error?.description.contains(reason) ?? false, "\(error?.description ?? "")")
    }

    @Test("the shipped rules are read, and stand in contrib as they are here")
    func shipped() throws {
        let file = try RuleFile(yaml: DefaultRules.text, file: "skein-rules.yaml")
        #expect(file.groups.flatMap(\.rules).count >= 12)
        #expect(
            file.groups.flatMap(\.rules).allSatisfy {
                $0.annotationTexts["action"] != nil && $0.annotationTexts["summary"] != nil
            })
    }

    @Test(
        "templates write numbers as Prometheus does",
        arguments: [
            ("{{ $value | humanizePercentage }}", 0.01234, "1.234%"), ("{{ $value | humanize }}", 1_234_567, "1.235M"),
            ("{{ $value | humanizeDuration }}", 3725, "1h 2m 5s"), ("{{ .Value }}!", 2, "2!"),
            ("a {{ $labels.x }} b", 0, "a y b"),
            ("{{ $value | humanize }}", 0.0015, "1.5m"), ("{{ $value | humanize }}", 0, "0"),
        ] as [(String, Double, String)])
    func templates(_ template: String, _ value: Double, _ text: String) throws {
        #expect(try AlertTemplate(template).text(value, Labels(["x": "y"])) == text)
    }
}
