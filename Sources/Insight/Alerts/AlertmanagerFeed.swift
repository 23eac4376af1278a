public import Serialization

/// The Alertmanagers that are told of every alert, by the form of Prometheus' `alerting.alertmanagers`.
///
/// `static_configs` with `targets`, `path_prefix`, `scheme: http`, `api_version: v2`. Anything else is refused with its path. Which alerts people hear of, when, grouped
/// how and silenced by whom is theirs to say, so that all that fire are told.
public struct AlertmanagerTargets: Sendable, Hashable {
    /// Alertmanagers at most.
    static let targetsMax = 16

    /// Where alerts are posted to, `http://ADDRESS:PORT/api/v2/alerts`, without repetition.
    public private(set) var urls: [String] = []

    /// None.
    public init() {}

    /// Reads a list of groups of Alertmanagers.
    public init(yaml text: String, file: String) throws(RuleError) {
        guard let groups = try AlertRouting.parse(text, file).array else { throw RuleError("\(file): not a list") }
        for (place, group) in groups.enumerated() {
            let path = "\(file)[\(place)]"
            let members = try AlertRouting.members(group, path)
            try AlertRouting.only(["static_configs", "path_prefix", "scheme", "api_version"], members, path)
            guard (members["scheme"]?.string ?? "http") == "http" else { throw RuleError("\(path).scheme: only http") }
            guard (members["api_version"]?.string ?? "v2") == "v2" else {
                throw RuleError("\(path).api_version: only v2")
            }
            let prefix = (members["path_prefix"]?.string ?? "/").split(separator: "/").map { "/" + $0 }.joined()
            for (number, configuration) in (members["static_configs"]?.array ?? []).enumerated() {
                let path = "\(path).static_configs[\(number)]"
                let members = try AlertRouting.members(configuration, path)
                try AlertRouting.only(["targets"], members, path)
                for (index, target) in (members["targets"]?.array ?? []).enumerated() {
                    let url = "http://\(target.string ?? "")\(prefix)/api/v2/alerts"
                    guard let target = target.string, !target.contains("/"), WebhookAddress(url) != nil else {
                        throw RuleError(
                            "\(path).targets[\(index)]: ADDRESS:PORT is needed, with an IP address or localhost")
                    }
                    if !urls.contains(url) { urls.append(url) }
                }
            }
        }
        guard urls.count <= Self.targetsMax else { throw RuleError("\(file): more than \(Self.targetsMax) targets") }
    }
}

/// What one Alertmanager has to be told, and when: as Prometheus does it.
///
/// An alert is told when it begins to fire, again each minute, and when it is over, which is repeated for a quarter of an hour. What fires is told to end in
/// four minutes: if nobody says otherwise until then, the Alertmanager takes it as over. Pure.
public struct AlertmanagerFeed: Sendable {
    /// Between two messages about an alert that stays as it is; milliseconds.
    static let repeatTime: Int64 = 60_000
    /// Until when an alert fires for an Alertmanager that hears no more; milliseconds.
    static let validTime: Int64 = 4 * repeatTime
    /// Alerts in one message at most; the others are in the next ones, ten seconds apart.
    static let alertsMax = 1000

    /// A message to be sent.
    public struct Message: Sendable {
        /// What `/api/v2/alerts` takes.
        public var body: JSON
        var told: [Labels: Alert.State]
    }

    private struct Told: Sendable {
        var state: Alert.State
        var time: Int64
    }
    private var told: [Labels: Told] = [:]
    private var isOnTheWay = false

    /// Nothing told yet.
    public init() {}

    /// The message that is due, if there is one and none is on the way.
    public mutating func due(_ alerts: [Alert], at time: Int64) -> Message? {
        let known = Set(alerts.map(\.labels))
        for labels in told.keys where !known.contains(labels) { told[labels] = nil }
        guard !isOnTheWay else { return nil }
        let due = alerts.filter { alert in
            let before = told[alert.labels]
            switch alert.state {
            case .pending: return false
            case .firing: break
            // Who was never told that it fired need not hear that it is over.
            case .resolved: if before == nil { return false }
            }
            guard let before, before.state == alert.state else { return true }
            return time - before.time >= Self.repeatTime
        }.prefix(Self.alertsMax)
        guard !due.isEmpty else { return nil }
        isOnTheWay = true
        let body = due.map { alert -> JSON in
            let end = alert.state == .resolved ? alert.resolvedAt ?? time : time + Self.validTime
            return [
                "labels": PrometheusAPI.json(alert.labels),
                "annotations": .object(alert.annotations.mapValues { .string($0) }),
                "startsAt": AlertNotifier.time(alert.firedAt ?? alert.activeAt), "endsAt": AlertNotifier.time(end),
                "generatorURL": .string(AlertNotifier.origin + "/dashboard#/alerts"),
            ]
        }
        return Message(
            body: .array(body), told: Dictionary(due.map { ($0.labels, $0.state) }, uniquingKeysWith: { $1 }))
    }

    /// A message has arrived, or has not: then what is in it is due again.
    public mutating func sent(_ message: Message, at time: Int64, arrived: Bool) {
        isOnTheWay = false
        guard arrived else { return }
        for (labels, state) in message.told { told[labels] = Told(state: state, time: time) }
    }
}
