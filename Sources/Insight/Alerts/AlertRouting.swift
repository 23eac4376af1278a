public import Serialization

/// Whom alerts are told to: the part of Alertmanager's configuration that one route needs, and silences.
///
/// `route` (`receiver`, `group_by`, `group_wait`, `group_interval`, `repeat_interval`), `receivers` with `webhook_configs` (`url`, `send_resolved`,
/// `max_alerts`), `inhibit_rules`. Anything else is refused with its path.
public struct AlertRouting: Sendable {
    /// Somebody who is told.
    public struct Webhook: Sendable, Hashable {
        /// The receiver's name.
        public var receiver: String
        /// Where it is posted to.
        public var url: String
        /// Whether it is told of the end, too.
        public var tellsResolved: Bool
        /// Alerts in one message at most; 0: all.
        public var alertsMax: Int
    }

    struct Inhibition: Sendable {
        var source: [LabelMatcher]
        var target: [LabelMatcher]
        var equal: [String]
    }

    /// Alerts that nobody is to be told of for a while.
    public struct Silence: Sendable {
        var matchers: [LabelMatcher]
        var from: Int64
        var to: Int64
    }

    /// Who is told.
    public var webhooks: [Webhook] = []
    /// Labels whose values make a group; nil: all labels.
    var groupBy: [String]? = []
    var groupWait: Int64 = 30_000
    var groupInterval: Int64 = 300_000
    var repeatInterval: Int64 = 4 * 3_600_000
    var inhibitions: [Inhibition] = []
    /// What is silenced.
    public var silences: [Silence] = []

    /// Nobody is told.
    public init() {}

    /// Reads a configuration and, if there is one, a list of silences.
    public init(yaml text: String, silences: String?, file: String) throws(RuleError) {
        let root = try Self.members(try Self.parse(text, file), file)
        try Self.only(["route", "receivers", "inhibit_rules"], root, file)
        let route = try Self.members(root["route"] ?? .object([:]), "\(file): route")
        try Self.only(
            ["receiver", "group_by", "group_wait", "group_interval", "repeat_interval"], route, "\(file): route")
        let labels = (route["group_by"]?.array ?? []).compactMap(\.string)
        groupBy = labels == ["..."] ? nil : labels
        groupWait = try Self.time(route["group_wait"], "\(file): route.group_wait") ?? groupWait
        groupInterval = try Self.time(route["group_interval"], "\(file): route.group_interval") ?? groupInterval
        repeatInterval = try Self.time(route["repeat_interval"], "\(file): route.repeat_interval") ?? repeatInterval
        let wanted = route["receiver"]?.string ?? ""
        var isKnown = false
        for (place, receiver) in (root["receivers"]?.array ?? []).enumerated() {
            let path = "\(file): receivers[\(place)]"
            let members = try Self.members(receiver, path)
            try Self.only(["name", "webhook_configs"], members, path)
            guard members["name"]?.string == wanted else { continue }
            isKnown = true
            for (number, hook) in (members["webhook_configs"]?.array ?? []).enumerated() {
                webhooks.append(try Self.webhook(hook, wanted, "\(path).webhook_configs[\(number)]"))
            }
        }
        guard isKnown else { throw RuleError("\(file): route.receiver: there is no receiver \"\(wanted)\"") }
        for (place, rule) in (root["inhibit_rules"]?.array ?? []).enumerated() {
            let path = "\(file): inhibit_rules[\(place)]"
            let members = try Self.members(rule, path)
            try Self.only(["source_matchers", "target_matchers", "equal"], members, path)
            inhibitions.append(
                Inhibition(
                    source: try Self.matchers(members["source_matchers"], "\(path).source_matchers"),
                    target: try Self.matchers(members["target_matchers"], "\(path).target_matchers"),
                    equal: (members["equal"]?.array ?? []).compactMap(\.string)))
        }
        if let silences { self.silences = try Self.silences(silences) }
    }

    /// Reads a list of silences: `matchers`, `startsAt`, `endsAt` (RFC 3339), `comment`, `createdBy`.
    public static func silences(_ text: String, file: String = "silences") throws(RuleError) -> [Silence] {
        var found: [Silence] = []
        for (place, silence) in (try parse(text, file).array ?? []).enumerated() {
            let path = "\(file)[\(place)]"
            let members = try Self.members(silence, path)
            try only(["matchers", "startsAt", "endsAt", "comment", "createdBy"], members, path)
            guard let end = members["endsAt"]?.string.flatMap(PrometheusAPI.time) else {
                throw RuleError("\(path).endsAt: a time as in RFC 3339 is needed")
            }
            let begin = members["startsAt"]?.string
            guard let start = begin.map(PrometheusAPI.time) ?? 0 else {
                throw RuleError("\(path).startsAt: no time")
            }
            let matchers = try Self.matchers(members["matchers"], "\(path).matchers")
            guard !matchers.isEmpty else { throw RuleError("\(path).matchers is needed") }
            found.append(Silence(matchers: matchers, from: start, to: end))
        }
        return found
    }

    private static func parse(_ text: String, _ file: String) throws(RuleError) -> JSON {
        do throws(YAMLError) { return try YAML.parse(text, file: file).first?.json ?? .object([:]) } catch {
            throw RuleError("\(error)")
        }
    }

    private static func members(_ json: JSON, _ path: String) throws(RuleError) -> [String: JSON] {
        guard let members = json.object else { throw RuleError("\(path): not an object") }
        return members
    }

    private static func only(_ known: Set<String>, _ members: [String: JSON], _ path: String) throws(RuleError) {
        for name in members.keys.sorted() where !known.contains(name) {
            throw RuleError("\(path).\(name) is not supported")
        }
    }

    private static func time(_ json: JSON?, _ path: String) throws(RuleError) -> Int64? {
        guard let json else { return nil }
        guard let time = json.string.flatMap(QueryLexer.duration) else {
            throw RuleError("\(path): \(json.text) is no time like 5m")
        }
        return time
    }

    private static func webhook(_ json: JSON, _ receiver: String, _ path: String) throws(RuleError) -> Webhook {
        let members = try members(json, path)
        try only(["url", "send_resolved", "max_alerts"], members, path)
        guard let url = members["url"]?.string, WebhookAddress(url) != nil else {
            throw RuleError("\(path).url: http://ADDRESS:PORT/PATH is needed, with an IP address or localhost")
        }
        return Webhook(
            receiver: receiver, url: url, tellsResolved: members["send_resolved"]?.bool ?? true,
            alertsMax: max(0, members["max_alerts"]?.int ?? 0))
    }

    /// `severity="critical"`, `severity=~"a|b"`; the quotation marks may be left out.
    private static func matchers(_ json: JSON?, _ path: String) throws(RuleError) -> [LabelMatcher] {
        var found: [LabelMatcher] = []
        for (place, item) in (json?.array ?? []).enumerated() {
            let text = item.string ?? ""
            let name = text.prefix { $0 != "=" && $0 != "!" }
            let rest = text.dropFirst(name.count)
            let symbol = ["=~", "!~", "!=", "="].first { rest.hasPrefix($0) }
            guard let symbol, let operation = LabelMatcher.Operation(rawValue: symbol), !name.isEmpty else {
                throw RuleError("\(path)[\(place)]: \(text) is no condition like a=\"b\"")
            }
            var value = rest.dropFirst(symbol.count).drop { $0 == " " }
            if value.first == "\"", value.last == "\"", value.count > 1 { value = value.dropFirst().dropLast() }
            do throws(QueryError) {
                found.append(try LabelMatcher(name.filter { $0 != " " }, operation, String(value)))
            } catch {
                throw RuleError("\(path)[\(place)]: \(error)")
            }
        }
        return found
    }

    static func fits(_ matchers: [LabelMatcher], _ labels: Labels) -> Bool {
        matchers.allSatisfy { $0.fits(labels[$0.name]) }
    }

    /// Whether nobody is to be told of an alert now.
    public func isSilenced(_ alert: Alert, at time: Int64) -> Bool {
        silences.contains { $0.from <= time && time < $0.to && Self.fits($0.matchers, alert.labels) }
    }

    /// Whether another alert that fires makes this one superfluous.
    func isInhibited(_ alert: Alert, by others: [Alert]) -> Bool {
        inhibitions.contains { rule in
            Self.fits(rule.target, alert.labels)
                && others.contains { other in
                    other.state == .firing && other.labels != alert.labels && Self.fits(rule.source, other.labels)
                        // What is both source and target does not silence itself.
                        && !Self.fits(rule.target, other.labels)
                        && rule.equal.allSatisfy { other.labels[$0] == alert.labels[$0] }
                }
        }
    }
}

/// Where a webhook is: `http://ADDRESS:PORT/PATH`.
public struct WebhookAddress: Sendable, Hashable {
    /// Address and port.
    public var authority: String
    /// The path, with its query.
    public var path: String

    /// Reads a URL; nil unless it is one of that form.
    public init?(_ url: String) {
        guard url.hasPrefix("http://"), url.utf8.count < 2048, url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) else {
            return nil
        }
        let rest = url.dropFirst(7)
        let host = rest.prefix { $0 != "/" }
        let name = host.hasPrefix("localhost") ? "127.0.0.1" + host.dropFirst(9) : String(host)
        guard let first = name.first, first.isNumber || first == "[", !name.contains("@") else { return nil }
        let port = name.split(separator: "]").last?.split(separator: ":", omittingEmptySubsequences: false)
        authority = (port?.count ?? 1) > 1 ? name : name + ":80"
        let tail = rest.dropFirst(host.count)
        path = tail.isEmpty ? "/" : String(tail)
    }
}

/// Groups alerts into messages: who is told what, and when.
///
/// Pure: a message counts as told when the shell says that it has arrived.
public struct AlertNotifier: Sendable {
    /// A message to be sent.
    public struct Message: Sendable {
        /// The group that it is about.
        public var key: String
        /// To whom.
        public var webhook: AlertRouting.Webhook
        /// Alertmanager's webhook body, version 4.
        public var body: JSON
        var firing: Set<Labels>
    }

    private struct Group: Sendable {
        var since: Int64
        var sentAt: Int64?
        var told: Set<Labels> = []
        var isOnTheWay = false
    }
    private var groups: [String: Group] = [:]

    /// Nothing told yet.
    public init() {}

    /// The messages that are due.
    public mutating func due(_ alerts: [Alert], _ routing: AlertRouting, at time: Int64) -> [Message] {
        let told = alerts.filter {
            $0.state != .pending && !routing.isSilenced($0, at: time) && !routing.isInhibited($0, by: alerts)
        }
        var members: [Labels: [Alert]] = [:]
        for alert in told {
            let key = routing.groupBy.map { alert.labels.keeping(Set($0)) } ?? alert.labels
            members[key, default: []].append(alert)
        }
        var messages: [Message] = []
        var known: Set<String> = []
        for (labels, alerts) in members.sorted(by: { $0.key < $1.key }) {
            for (number, webhook) in routing.webhooks.enumerated() {
                let key = "{}/\(webhook.receiver)/\(number):\(labels.text)"
                known.insert(key)
                if let message = message(key, labels, alerts, webhook, routing, at: time) { messages.append(message) }
            }
        }
        for key in groups.keys where !known.contains(key) && groups[key]?.isOnTheWay == false { groups[key] = nil }
        return messages
    }

    private mutating func message(
        _ key: String, _ labels: Labels, _ alerts: [Alert], _ webhook: AlertRouting.Webhook, _ routing: AlertRouting,
        at time: Int64
    ) -> Message? {
        let firing = alerts.filter { $0.state == .firing }
        let before = groups[key]?.told ?? []
        let ended = webhook.tellsResolved ? alerts.filter { $0.state == .resolved && before.contains($0.labels) } : []
        guard !firing.isEmpty || !ended.isEmpty else {
            if groups[key]?.isOnTheWay == false { groups[key] = nil }
            return nil
        }
        var group = groups[key] ?? Group(since: time)
        defer { groups[key] = group }
        guard !group.isOnTheWay else { return nil }
        let now = Set(firing.map(\.labels))
        if let sentAt = group.sentAt {
            let isNew = !now.isSubset(of: before) || !ended.isEmpty
            guard time - sentAt >= (isNew ? routing.groupInterval : routing.repeatInterval) else { return nil }
        } else {
            guard time - group.since >= routing.groupWait else { return nil }
        }
        group.isOnTheWay = true
        return Message(
            key: key, webhook: webhook, body: Self.body(key, labels, firing + ended, webhook), firing: now)
    }

    /// A message has arrived, or has not: then it is sent again when it is due.
    public mutating func sent(_ message: Message, at time: Int64, arrived: Bool) {
        groups[message.key]?.isOnTheWay = false
        guard arrived else { return }
        groups[message.key]?.sentAt = time
        groups[message.key]?.told = message.firing
        if message.firing.isEmpty { groups[message.key] = nil }
    }

    private static func time(_ milliseconds: Int64?) -> JSON {
        guard let milliseconds else { return "0001-01-01T00:00:00Z" }
        return .string(
            Timestamp(seconds: milliseconds / 1000, nanoseconds: Int32(milliseconds % 1000) * 1_000_000).description)
    }

    private static func body(
        _ key: String, _ labels: Labels, _ alerts: [Alert], _ webhook: AlertRouting.Webhook
    ) -> JSON {
        let shown = webhook.alertsMax > 0 ? Array(alerts.prefix(webhook.alertsMax)) : alerts
        func common(_ all: [[String: String]]) -> JSON {
            guard let first = all.first else { return [:] }
            return .object(
                first.filter { pair in all.allSatisfy { $0[pair.key] == pair.value } }.mapValues { .string($0) })
        }
        func dictionary(_ labels: Labels) -> [String: String] {
            Dictionary(labels.pairs.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
        }
        return [
            "version": "4", "groupKey": .string(key), "truncatedAlerts": .integer(Int64(alerts.count - shown.count)),
            "status": alerts.contains { $0.state == .firing } ? "firing" : "resolved",
            "receiver": .string(webhook.receiver), "groupLabels": PrometheusAPI.json(labels),
            "commonLabels": common(alerts.map { dictionary($0.labels) }),
            "commonAnnotations": common(alerts.map(\.annotations)), "externalURL": "http://127.0.0.1:9400",
            "alerts": .array(
                shown.map { alert in
                    [
                        "status": .string(alert.state == .resolved ? "resolved" : "firing"),
                        "labels": PrometheusAPI.json(alert.labels),
                        "annotations": .object(alert.annotations.mapValues { .string($0) }),
                        "startsAt": time(alert.activeAt), "endsAt": time(alert.resolvedAt),
                        "generatorURL": "http://127.0.0.1:9400/api/v1/rules",
                        "fingerprint": .string(fingerprint(alert.labels)),
                    ]
                }),
        ]
    }

    /// FNV-1a over the labels: the same alert has the same one each time.
    private static func fingerprint(_ labels: Labels) -> String {
        var hash: UInt64 = 14_695_981_039_346_656_037
        for pair in labels.pairs {
            for byte in pair.name.utf8 + [0xFF] + pair.value.utf8 + [0xFF] {
                hash = (hash ^ UInt64(byte)) &* 1_099_511_628_211
            }
        }
        let text = String(hash, radix: 16)
        return String(repeating: "0", count: 16 - text.count) + text
    }
}
