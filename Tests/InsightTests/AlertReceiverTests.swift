import Serialization
import Testing

@testable import Insight

@Suite("Receivers of alerts")
struct AlertReceiverTests {
    private static func alert(
        _ name: String, _ state: Alert.State = .firing, at time: Int64 = 1_000, labels: [String: String] = [:]
    ) -> Alert {
        Alert(
            labels: Labels(labels.merging(["alertname": name]) { first, _ in first }),
            annotations: ["summary": "it is \(name)"], state: state, value: 1, activeAt: 0, firedAt: time,
            resolvedAt: state == .resolved ? time + 500 : nil, lastSeen: time)
    }

    private static func names(_ message: AlertmanagerFeed.Message?) -> [String] {
        (message?.body.array ?? []).compactMap { $0["labels"]?["alertname"]?.string }.sorted()
    }

    // MARK: Alertmanagers

    @Test("an Alertmanager is told of what fires at once and each minute, of its end, and of nothing that only waits")
    func feed() throws {
        var feed = AlertmanagerFeed()
        let (a, waits) = (Self.alert("A"), Self.alert("W", .pending))
        let firstMessage = feed.due([a, waits], at: 10_000)
        let first = try #require(firstMessage)
        #expect(Self.names(first) == ["A"])
        let told = try #require(first.body.array?.first)
        #expect(told["startsAt"]?.string == "1970-01-01T00:00:01Z" && told["annotations"]?["summary"] == "it is A")
        // Who hears no more of it takes it as over after four minutes.
        #expect(told["endsAt"]?.string == "1970-01-01T00:04:10Z")
        // One message at a time, and what has not arrived is due again.
        let busy = feed.due([a], at: 20_000)
        #expect(busy == nil)
        feed.sent(first, at: 20_000, arrived: false)
        let againMessage = feed.due([a], at: 30_000)
        let again = try #require(againMessage)
        feed.sent(again, at: 30_000, arrived: true)
        let quiet = feed.due([a], at: 89_999)
        #expect(quiet == nil)
        let repeatedMessage = feed.due([a, Self.alert("B")], at: 90_000)
        let repeated = try #require(repeatedMessage)
        #expect(Self.names(repeated) == ["A", "B"])
        feed.sent(repeated, at: 90_000, arrived: true)
        let overMessage = feed.due([Self.alert("A", .resolved), Self.alert("C", .resolved)], at: 100_000)
        let over = try #require(overMessage)
        #expect(Self.names(over) == ["A"])
        #expect(over.body.array?.first?["endsAt"]?.string == "1970-01-01T00:00:01.500Z")
        feed.sent(over, at: 100_000, arrived: true)
        let known = feed.due([Self.alert("A", .resolved)], at: 110_000)
        #expect(known == nil)
        let reminded = feed.due([Self.alert("A", .resolved)], at: 160_000)
        #expect(Self.names(reminded) == ["A"])
    }

    @Test(
        "an alert that comes back while its end is still told fires again at once; one that is forgotten leaves nothing"
    )
    func comesBack() throws {
        var feed = AlertmanagerFeed()
        func tell(_ alerts: [Alert], _ time: Int64) -> [String] {
            guard let message = feed.due(alerts, at: time) else { return [] }
            feed.sent(message, at: time, arrived: true)
            return Self.names(message)
        }
        let told = [
            tell([Self.alert("A")], 0), tell([Self.alert("A", .resolved)], 10_000), tell([Self.alert("A")], 20_000),
            tell([], 30_000), tell([Self.alert("A", .resolved)], 40_000),
        ]
        #expect(told == [["A"], ["A"], ["A"], [], []])
    }

    @Test("ATK-19 a message to an Alertmanager is bounded, and the rest is in the next ones")
    func bounded() throws {
        var feed = AlertmanagerFeed()
        let alerts = (0..<2_500).map { Self.alert("A\(10_000 + $0)") }
        var counts: [Int] = []
        var seen: Set<String> = []
        for time in stride(from: Int64(0), to: 40_000, by: 10_000) {
            guard let message = feed.due(alerts, at: time) else { continue }
            counts.append(message.body.array?.count ?? 0)
            seen.formUnion(Self.names(message))
            feed.sent(message, at: time, arrived: true)
        }
        #expect(counts == [1_000, 1_000, 500] && seen.count == 2_500)
    }

    @Test("the form of Prometheus' alertmanagers is read, each address once")
    func targets() throws {
        let text = """
            - static_configs: [{targets: ["127.0.0.1:9093", "localhost:9094"]}, {targets: ["127.0.0.1:9093"]}]
            - {scheme: http, api_version: v2, path_prefix: /am/, static_configs: [{targets: ["[::1]:9093"]}]}
            """
        #expect(
            try AlertmanagerTargets(yaml: text, file: "t").urls == [
                "http://127.0.0.1:9093/api/v2/alerts", "http://localhost:9094/api/v2/alerts",
                "http://[::1]:9093/am/api/v2/alerts",
            ])
    }

    @Test(
        "what is not supported of Prometheus' alertmanagers is refused with its path",
        arguments: [
            ("{}", "not a list"), ("- {scheme: https}", "t[0].scheme"), ("- {api_version: v1}", "t[0].api_version"),
            ("- {kubernetes_sd_configs: []}", "t[0].kubernetes_sd_configs"), ("- {basic_auth: {}}", "t[0].basic_auth"),
            ("- static_configs: [{targets: [\"name:9093\"]}]", "t[0].static_configs[0].targets[0]"),
            ("- static_configs: [{targets: [\"127.0.0.1:1/x\"]}]", "t[0].static_configs[0].targets[0]"),
            ("- static_configs: [{targets: [], labels: {}}]", "static_configs[0].labels"),
            (
                "- static_configs: [{targets: [\((1...17).map { "\"127.0.0.1:\($0)\"" }.joined(separator: ","))]}]",
                "more than 16"
            ),
        ])
    func targetRefusals(_ text: String, _ reason: String) {
        let error = #expect(throws: RuleError.self) { try AlertmanagerTargets(yaml: text, file: "t") }
        #expect(error?.description.contains(reason) ?? false, "\(error?.description ?? "")")
    }

    // MARK: Mail

    private static func configuration(_ mail: String) -> String {
        "route: {receiver: a, group_wait: 0s}\nreceivers: [{name: a, email_configs: [\(mail)]}]"
    }

    private static func message(_ alerts: [Alert], _ mail: String = "{to: a@example.com}") throws -> (
        head: [String], body: String
    )? {
        let routing = try AlertRouting(yaml: configuration(mail), silences: nil, file: "c")
        var notifier = AlertNotifier()
        let messages = notifier.due(alerts, routing, at: 1_795_379_428_000)
        guard let message = messages.first, case .mail(let from, let to) = message.receiver.channel else { return nil }
        let text = AlertMail.text(message.body, from: from, to: to, at: 1_795_379_428_000)
        let parts = text.split(separator: "\n\n", maxSplits: 1)
        let body = try #require(Base64.decode(String(parts[1]).replacing("\n", with: "")))
        return (parts[0].split(separator: "\n").map(String.init), String(decoding: body, as: UTF8.self))
    }

    @Test("a message by mail has who, what, since when and what to do")
    func mail() throws {
        let made = try Self.message(
            [Self.alert("Hot", labels: ["place": "hall"])], "{to: 'a@example.com, b@example.com', from: m@example.com}")
        let message = try #require(made)
        #expect(
            message.head == [
                "From: m@example.com", "To: a@example.com,", " b@example.com", "Subject: [FIRING:1] Hot",
                "Date: Sun, 22 Nov 2026 20:30:28 +0000", "MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8",
                "Content-Transfer-Encoding: base64", "Auto-Submitted: auto-generated",
            ])
        #expect(
            message.body.contains("FIRING Hot since 1970-01-01T00:00:00Z\n  summary: it is Hot\n  place=\"hall\"\n"))
        #expect(message.body.contains("skein alerts"))
    }

    @Test("ATK-19 no value of a label makes a header field, an address or a line of its own")
    func injection() throws {
        let evil = "x\nBcc: evil@example.com\r\n\r\n.\nschön 温度"
        let made = try Self.message([Self.alert(evil, labels: ["place": evil])])
        let message = try #require(made)
        let names = message.head.filter { !$0.hasPrefix(" ") }.map { String($0.prefix { $0 != ":" }) }
        #expect(
            names == [
                "From", "To", "Subject", "Date", "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
                "Auto-Submitted",
            ])
        #expect(message.head.allSatisfy { $0.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7F } && $0.utf8.count <= 100 })
        let subject = message.head.first { $0.hasPrefix("Subject: ") }
        #expect(subject?.hasPrefix("Subject: =?utf-8?B?") == true)
        #expect(message.body.contains(evil))
    }

    @Test("ATK-19 a message by mail is bounded; what is left out is counted")
    func mailBounds() throws {
        let long = String(repeating: "长", count: 3_000)
        let alerts = (0..<200).map { Self.alert("A\($0)", labels: ["x": long]) }
        let routing = try AlertRouting(
            yaml: Self.configuration("{to: a@example.com}"), silences: nil, file: "c")
        var notifier = AlertNotifier()
        let messageMessages = notifier.due(alerts, routing, at: 0)
        let message = try #require(messageMessages.first)
        #expect(message.body["alerts"]?.array?.count == 50 && message.body["truncatedAlerts"]?.int == 150)
        let text = AlertMail.text(message.body, from: "a@b", to: ["c@d"], at: 0)
        #expect(text.utf8.count < 100_000)
        // However large one character is.
        let marks = "e" + String(repeating: "\u{301}", count: 5_000)
        #expect(
            AlertMail.text(["alerts": [["labels": ["alertname": .string(marks)]]]], from: "a@b", to: ["c@d"], at: 0)
                .utf8.count < 20_000)
    }

    @Test("an end is told by mail only where that is asked for")
    func resolved() throws {
        for (flag, count) in [("", 0), (", send_resolved: true", 1)] {
            let routing = try AlertRouting(
                yaml: Self.configuration("{to: a@example.com\(flag)}"), silences: nil, file: "c")
            var notifier = AlertNotifier()
            let firstMessages = notifier.due([Self.alert("A")], routing, at: 0)
            let first = try #require(firstMessages.first)
            notifier.sent(first, at: 0, arrived: true)
            let later = notifier.due([Self.alert("A", .resolved)], routing, at: 400_000)
            #expect(later.count == count, "\(flag)")
        }
    }

    @Test(
        "addresses that are none, or that a mail program could take for a flag, are refused with their path",
        arguments: [
            "{to: ''}", "{to: nobody}", "{to: '-oQ/tmp@example.com'}", "{to: 'a@example.com\\nBcc: b@example.com'}",
            "{to: 'a b@c@d'}", "{to: '\"a b\"@c'}", "{to: a@-x}", "{to: a@example.com, from: 'x y'}",
            "{to: a@example.com, smarthost: 'x:25'}", "{to: a@example.com, html: x}", "{}",
        ])
    func addresses(_ mail: String) {
        let error = #expect(throws: RuleError.self) {
            try AlertRouting(yaml: Self.configuration(mail), silences: nil, file: "c")
        }
        #expect(error?.description.contains("email_configs[0]") ?? false, "\(error?.description ?? "")")
    }
}
