internal import Serialization

/// Whom alerts are told to: the part of Alertmanager's configuration that one route needs, and silences.
///
/// `route` (`receiver`, `group_by`, `group_wait`, `group_interval`, `repeat_interval`), `receivers` with `webhook_configs` (`url`, `send_resolved`,
/// `max_alerts`) and `email_configs` (`to`, `from`, `send_resolved`), `inhibit_rules`. Anything else is refused with its path.
public struct AlertRouting: Sendable {
    /// Somebody who is told.
    public struct Receiver: Sendable, Hashable {
        /// How somebody is told.
        public enum Channel: Sendable, Hashable {
            /// By a POST to this URL.
            case webhook(url: String)
            /// By a message that the mail program takes (`--mail-program`).
            case mail(from: String, to: [String])
        }

        /// The receiver's name.
        public var name: String
        /// How it is told.
        public var channel: Channel
        /// Whether it is told of the end, too.
        public var tellsResolved: Bool
        /// Alerts in one message at most; 0: all.
        public var alertsMax: Int
        /// Whether it needs a mail program.
        public var isMail: Bool {
            if case .mail = channel { return true }
            return false
        }
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
    public var receivers: [Receiver] = []
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
            try Self.only(["name", "webhook_configs", "email_configs"], members, path)
            guard members["name"]?.string == wanted else { continue }
            isKnown = true
            for (number, hook) in (members["webhook_configs"]?.array ?? []).enumerated() {
                receivers.append(try Self.webhook(hook, wanted, "\(path).webhook_configs[\(number)]"))
            }
            for (number, mail) in (members["email_configs"]?.array ?? []).enumerated() {
                receivers.append(try Self.mail(mail, wanted, "\(path).email_configs[\(number)]"))
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

    static func parse(_ text: String, _ file: String) throws(RuleError) -> JSON {
        do throws(YAMLError) { return try YAML.parse(text, file: file).first?.json ?? .object([:]) } catch {
            throw RuleError("\(error)")
        }
    }

    static func members(_ json: JSON, _ path: String) throws(RuleError) -> [String: JSON] {
        guard let members = json.object else { throw RuleError("\(path): not an object") }
        return members
    }

    static func only(_ known: Set<String>, _ members: [String: JSON], _ path: String) throws(RuleError) {
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

    private static func webhook(_ json: JSON, _ receiver: String, _ path: String) throws(RuleError) -> Receiver {
        let members = try members(json, path)
        try only(["url", "send_resolved", "max_alerts"], members, path)
        guard let url = members["url"]?.string, WebhookAddress(url) != nil else {
            throw RuleError("\(path).url: http://ADDRESS:PORT/PATH is needed, with an IP address or localhost")
        }
        return Receiver(
            name: receiver, channel: .webhook(url: url), tellsResolved: members["send_resolved"]?.bool ?? true,
            alertsMax: max(0, members["max_alerts"]?.int ?? 0))
    }

    /// As in Alertmanager an end is told only where that is asked for.
    private static func mail(_ json: JSON, _ receiver: String, _ path: String) throws(RuleError) -> Receiver {
        let members = try members(json, path)
        try only(["to", "from", "send_resolved"], members, path)
        let to = (members["to"]?.string ?? "").split(separator: ",").map { $0.filter { $0 != " " } }
        guard !to.isEmpty, to.count <= AlertMail.addressesMax, to.allSatisfy(AlertMail.isAddress) else {
            throw RuleError(
                "\(path).to: addresses like a@example.com, at most \(AlertMail.addressesMax), are needed")
        }
        let from = members["from"]?.string ?? AlertMail.sender
        guard AlertMail.isAddress(from) else { throw RuleError("\(path).from: no address like a@example.com") }
        return Receiver(
            name: receiver, channel: .mail(from: from, to: to), tellsResolved: members["send_resolved"]?.bool ?? false,
            alertsMax: AlertMail.alertsMax)
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
