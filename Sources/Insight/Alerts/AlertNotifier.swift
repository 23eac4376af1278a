public import Serialization

/// Groups alerts into messages: who is told what, and when.
///
/// Pure: a message counts as told when the shell says that it has arrived.
public struct AlertNotifier: Sendable {
    /// A message to be sent.
    public struct Message: Sendable {
        /// The group that it is about.
        public var key: String
        /// To whom.
        public var receiver: AlertRouting.Receiver
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
    /// Where the evidence is.
    static let origin = "http://127.0.0.1:9400"

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
            for (number, receiver) in routing.receivers.enumerated() {
                let key = "{}/\(receiver.name)/\(number):\(labels.text)"
                known.insert(key)
                if let message = message(key, labels, alerts, receiver, routing, at: time) { messages.append(message) }
            }
        }
        for key in groups.keys where !known.contains(key) && groups[key]?.isOnTheWay == false { groups[key] = nil }
        return messages
    }

    private mutating func message(
        _ key: String, _ labels: Labels, _ alerts: [Alert], _ receiver: AlertRouting.Receiver, _ routing: AlertRouting,
        at time: Int64
    ) -> Message? {
        let firing = alerts.filter { $0.state == .firing }
        let before = groups[key]?.told ?? []
        let ended = receiver.tellsResolved ? alerts.filter { $0.state == .resolved && before.contains($0.labels) } : []
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
            key: key, receiver: receiver, body: Self.body(key, labels, firing + ended, receiver), firing: now)
    }

    /// A message has arrived, or has not: then it is sent again when it is due.
    public mutating func sent(_ message: Message, at time: Int64, arrived: Bool) {
        groups[message.key]?.isOnTheWay = false
        guard arrived else { return }
        groups[message.key]?.sentAt = time
        groups[message.key]?.told = message.firing
        if message.firing.isEmpty { groups[message.key] = nil }
    }

    static func time(_ milliseconds: Int64?) -> JSON {
        guard let milliseconds else { return "0001-01-01T00:00:00Z" }
        return .string(
            Timestamp(seconds: milliseconds / 1000, nanoseconds: Int32(milliseconds % 1000) * 1_000_000).description)
    }

    private static func body(
        _ key: String, _ labels: Labels, _ alerts: [Alert], _ receiver: AlertRouting.Receiver
    ) -> JSON {
        let shown = receiver.alertsMax > 0 ? Array(alerts.prefix(receiver.alertsMax)) : alerts
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
            "receiver": .string(receiver.name), "groupLabels": PrometheusAPI.json(labels),
            "commonLabels": common(alerts.map { dictionary($0.labels) }),
            "commonAnnotations": common(alerts.map(\.annotations)), "externalURL": .string(origin),
            "alerts": .array(
                shown.map { alert in
                    [
                        "status": .string(alert.state == .resolved ? "resolved" : "firing"),
                        "labels": PrometheusAPI.json(alert.labels),
                        "annotations": .object(alert.annotations.mapValues { .string($0) }),
                        "startsAt": time(alert.activeAt), "endsAt": time(alert.resolvedAt),
                        "generatorURL": .string(origin + "/api/v1/rules"),
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
