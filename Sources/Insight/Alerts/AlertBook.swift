public import Serialization

/// One alert.
public struct Alert: Sendable, Hashable {
    /// How far it is.
    public enum State: String, Sendable {
        /// The condition holds, but not for long enough yet.
        case pending
        /// Somebody is to be told.
        case firing
        /// It was firing, and the condition holds no more.
        case resolved
    }

    /// Its labels, the alert's name among them as `alertname`.
    public var labels: Labels
    /// Texts that tell more.
    public var annotations: [String: String]
    /// How far it is.
    public var state: State
    /// The condition's number.
    public var value: Double
    /// Since when the condition holds; milliseconds since 1970.
    public var activeAt: Int64
    /// When it began to fire.
    public var firedAt: Int64?
    /// When it was resolved.
    public var resolvedAt: Int64?
    /// When the condition was last seen to hold.
    var lastSeen: Int64
}

/// Rules and what has become of them: pure, the time comes in.
public struct AlertBook: Sendable {
    /// For how long an alert that is over is remembered; milliseconds.
    static let resolvedTime: Int64 = 15 * 60_000
    /// Alerts of a rule at most (ATK-19); more are left out, and the rule says so.
    static let alertsMax = 1000

    /// A rule with its alerts.
    struct Watched: Sendable {
        var rule: RuleFile.Rule
        var alerts: [Labels: Alert] = [:]
        var problem: String?
        var evaluatedAt: Int64 = 0
    }
    /// A group with its rules.
    struct Section: Sendable {
        var name: String
        var file: String
        var rules: [Watched]
    }

    private(set) var groups: [Section] = []

    /// No rules.
    public init() {}

    /// Takes other rules; alerts of rules that stay as they were stay.
    public mutating func use(_ files: [RuleFile]) {
        var before: [String: Watched] = [:]
        for group in groups {
            for watched in group.rules { before[Self.key(group.file, group.name, watched.rule)] = watched }
        }
        groups = files.flatMap(\.groups).map { group in
            Section(
                name: group.name, file: group.file,
                rules: group.rules.map { rule in
                    var watched = Watched(rule: rule)
                    if let old = before[Self.key(group.file, group.name, rule)] { watched.alerts = old.alerts }
                    return watched
                })
        }
    }

    private static func key(_ file: String, _ group: String, _ rule: RuleFile.Rule) -> String {
        "\(file)\n\(group)\n\(rule.alert)\n\(rule.expression)\n\(rule.labelTexts.sorted { $0.key < $1.key })"
    }

    /// The rules' conditions, to be asked.
    public var expressions: [String] { groups.flatMap { $0.rules.map(\.rule.expression) } }

    /// Asks every condition of a source, in the order of `expressions`.
    public static func ask(
        _ expressions: [String], _ source: any SampleSource, at time: Int64
    ) -> [Result<[VectorElement], QueryError>] {
        let engine = QueryEngine(source)
        return expressions.map { expression in
            do throws(QueryError) {
                switch try engine.query(expression, at: time) {
                case .vector(let elements): return .success(elements)
                case .scalar(let value): return .success([VectorElement(labels: Labels(), value: value)])
                case .matrix, .string: return .failure(QueryError("not a vector"))
                }
            } catch {
                return .failure(error)
            }
        }
    }

    /// Takes the answers of `ask`: alerts begin, go on and end.
    public mutating func take(_ answers: [Result<[VectorElement], QueryError>], at time: Int64) {
        var rest = answers[...]
        for group in groups.indices {
            for place in groups[group].rules.indices {
                guard let answer = rest.popFirst() else { return }
                groups[group].rules[place].evaluatedAt = time
                switch answer {
                case .failure(let error): groups[group].rules[place].problem = error.description
                case .success(let elements): groups[group].rules[place].take(elements, at: time)
                }
            }
        }
    }

    /// Every alert that is pending, firing, or was resolved lately.
    public var alerts: [Alert] {
        groups.flatMap { $0.rules.flatMap { $0.alerts.values } }.sorted { $0.labels < $1.labels }
    }
}

extension AlertBook.Watched {
    fileprivate mutating func take(_ elements: [VectorElement], at time: Int64) {
        problem = elements.count > AlertBook.alertsMax ? "more than \(AlertBook.alertsMax) alerts of one rule" : nil
        var seen: Set<Labels> = []
        for element in elements.prefix(AlertBook.alertsMax) {
            var labels = element.labels.unnamed
            for (name, template) in rule.labels { labels[name] = template.text(element.value, element.labels) }
            labels["alertname"] = rule.alert
            guard seen.insert(labels).inserted else {
                problem = "several series have the labels \(labels.text)"
                continue
            }
            var alert =
                alerts[labels].flatMap { $0.state == .resolved ? nil : $0 }
                ?? Alert(
                    labels: labels, annotations: [:], state: .pending, value: element.value, activeAt: time,
                    lastSeen: time)
            alert.value = element.value
            alert.lastSeen = time
            alert.annotations = rule.annotations.mapValues { $0.text(element.value, element.labels) }
            if alert.state == .pending, time - alert.activeAt >= rule.holdTime {
                alert.state = .firing
                alert.firedAt = time
            }
            alerts[labels] = alert
        }
        for (labels, alert) in alerts where !seen.contains(labels) {
            switch alert.state {
            case .pending: alerts[labels] = nil
            case .firing:
                guard time - alert.lastSeen >= rule.keepTime else { continue }
                alerts[labels]?.state = .resolved
                alerts[labels]?.resolvedAt = time
            case .resolved:
                if time - (alert.resolvedAt ?? time) > AlertBook.resolvedTime { alerts[labels] = nil }
            }
        }
    }
}

extension AlertBook {
    private static func time(_ milliseconds: Int64) -> JSON {
        .string(
            Timestamp(seconds: milliseconds / 1000, nanoseconds: Int32(milliseconds % 1000) * 1_000_000).description)
    }

    private static func json(_ alert: Alert) -> JSON {
        [
            "labels": PrometheusAPI.json(alert.labels),
            "annotations": .object(alert.annotations.mapValues { .string($0) }),
            "state": .string(alert.state.rawValue), "activeAt": time(alert.activeAt),
            "value": .string(NumberText.text(alert.value)),
        ]
    }

    /// What `/api/v1/alerts` answers: what is pending or firing.
    public var alertsJSON: JSON {
        ["alerts": .array(alerts.filter { $0.state != .resolved }.map(Self.json))]
    }

    /// The same for people: with the expression that is the evidence, and whether anybody is told of it.
    ///
    /// - Parameter time: milliseconds since 1970; silences have a beginning and an end.
    public func alertsJSON(_ routing: AlertRouting, at time: Int64) -> JSON {
        let all = alerts
        let queries = Dictionary(
            groups.flatMap(\.rules).map { ($0.rule.alert, $0.rule.expression) }, uniquingKeysWith: { first, _ in first }
        )
        return [
            "alerts": .array(
                all.filter { $0.state != .resolved }.map { alert in
                    var json = Self.json(alert)
                    json["query"] = .string(queries[alert.labels["alertname"]] ?? "")
                    json["silenced"] = .bool(routing.isSilenced(alert, at: time))
                    json["inhibited"] = .bool(routing.isInhibited(alert, by: all))
                    return json
                })
        ]
    }

    /// What `/api/v1/rules` answers.
    public var rulesJSON: JSON {
        [
            "groups": .array(
                groups.map { group in
                    [
                        "name": .string(group.name), "file": .string(group.file),
                        "interval": .integer(Insight.step), "rules": .array(group.rules.map(Self.json)),
                    ]
                })
        ]
    }

    private static func json(_ watched: Watched) -> JSON {
        let active = watched.alerts.values.filter { $0.state != .resolved }.sorted { $0.labels < $1.labels }
        let state = active.contains { $0.state == .firing } ? "firing" : active.isEmpty ? "inactive" : "pending"
        var members: [String: JSON] = [
            "type": "alerting", "name": .string(watched.rule.alert), "query": .string(watched.rule.expression),
            "duration": .number(Double(watched.rule.holdTime) / 1000),
            "keepFiringFor": .number(Double(watched.rule.keepTime) / 1000),
            "labels": .object(watched.rule.labelTexts.mapValues { .string($0) }),
            "annotations": .object(watched.rule.annotationTexts.mapValues { .string($0) }),
            "alerts": .array(active.map(json)), "state": .string(state),
            "health": .string(watched.problem == nil ? "ok" : "err"),
            "lastEvaluation": time(watched.evaluatedAt),
        ]
        if let problem = watched.problem { members["lastError"] = .string(problem) }
        return .object(members)
    }
}
