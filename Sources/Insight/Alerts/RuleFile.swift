internal import Serialization

/// What is wrong with a file of rules, with the field's path.
public struct RuleError: Error, Hashable, Sendable, CustomStringConvertible {
    /// Path and reason.
    public var description: String

    /// An error with that text.
    public init(_ description: String) { self.description = description }
}

/// Rules in Prometheus' own file format.
public struct RuleFile: Sendable {
    /// Rules that are evaluated one after the other.
    public struct Group: Sendable {
        /// Its name.
        public var name: String
        /// The file that it stands in.
        public var file: String
        /// The rules.
        public var rules: [Rule]
    }

    /// A rule of alerts.
    public struct Rule: Sendable {
        /// The alert's name.
        public var alert: String
        /// The condition: each series that it has is an alert.
        public var expression: String
        /// Milliseconds for which it must hold.
        public var holdTime: Int64
        /// Milliseconds for which an alert goes on when the condition holds no more.
        public var keepTime: Int64
        /// Labels that are added.
        var labels: [String: AlertTemplate]
        /// Texts that tell more.
        var annotations: [String: AlertTemplate]
        /// The labels as they were written.
        public var labelTexts: [String: String]
        /// The annotations as they were written.
        public var annotationTexts: [String: String]
    }

    /// Rules of a file at most.
    static let rulesMax = 1000

    /// The groups, in order.
    public var groups: [Group] = []

    /// Reads a file; whatever is not known in it is refused.
    public init(yaml text: String, file: String) throws(RuleError) {
        let documents: [YAMLDocument]
        do throws(YAMLError) { documents = try YAML.parse(text, file: file) } catch {
            throw RuleError("\(error)")
        }
        for document in documents { try take(document.json, file) }
    }

    private mutating func take(_ json: JSON, _ file: String) throws(RuleError) {
        guard let root = json.object else { throw RuleError("\(file): not an object") }
        try Self.only(["groups"], root, file)
        var count = 0
        for (place, group) in (root["groups"]?.array ?? []).enumerated() {
            let path = "\(file): groups[\(place)]"
            guard let members = group.object, let name = members["name"]?.string else {
                throw RuleError("\(path).name is needed")
            }
            // Every group is evaluated when samples come: a shorter interval would see nothing new.
            try Self.only(["name", "interval", "rules", "labels"], members, path)
            guard members["labels"] == nil else { throw RuleError("\(path).labels is not supported") }
            var found = Group(name: name, file: file, rules: [])
            for (number, rule) in (members["rules"]?.array ?? []).enumerated() {
                count += 1
                guard count <= Self.rulesMax else { throw RuleError("\(path): more than \(Self.rulesMax) rules") }
                found.rules.append(try Self.rule(rule, "\(path).rules[\(number)]"))
            }
            groups.append(found)
        }
    }

    private static func only(_ known: Set<String>, _ members: [String: JSON], _ path: String) throws(RuleError) {
        for name in members.keys.sorted() where !known.contains(name) {
            throw RuleError("\(path).\(name) is not known")
        }
    }

    private static func rule(_ json: JSON, _ path: String) throws(RuleError) -> Rule {
        guard let members = json.object else { throw RuleError("\(path): not an object") }
        guard members["record"] == nil else { throw RuleError("\(path).record: recording rules are not supported") }
        try only(["alert", "expr", "for", "keep_firing_for", "labels", "annotations"], members, path)
        guard let alert = members["alert"]?.string, !alert.isEmpty else {
            throw RuleError("\(path).alert is needed")
        }
        guard let expression = members["expr"].map({ $0.string ?? $0.text }) else {
            throw RuleError("\(path).expr is needed")
        }
        do throws(QueryError) { try QueryEngine.check(expression) } catch {
            throw RuleError("\(path).expr: \(error)")
        }
        func time(_ name: String) throws(RuleError) -> Int64 {
            guard let text = members[name] else { return 0 }
            if text.int == 0 { return 0 }
            guard let time = text.string.flatMap(QueryLexer.duration) else {
                throw RuleError("\(path).\(name): \(text.text) is no time like 5m")
            }
            return time
        }
        func texts(_ name: String) throws(RuleError) -> (texts: [String: String], templates: [String: AlertTemplate]) {
            var found: (texts: [String: String], templates: [String: AlertTemplate]) = ([:], [:])
            for (key, value) in members[name]?.object ?? [:] {
                guard let text = value.string else {
                    throw RuleError("\(path).\(name).\(key): not a text")
                }
                do throws(QueryError) { found.templates[key] = try AlertTemplate(text) } catch {
                    throw RuleError("\(path).\(name).\(key): \(error)")
                }
                found.texts[key] = text
            }
            return found
        }
        let (labels, annotations) = (try texts("labels"), try texts("annotations"))
        return Rule(
            alert: alert, expression: expression, holdTime: try time("for"), keepTime: try time("keep_firing_for"),
            labels: labels.templates, annotations: annotations.templates, labelTexts: labels.texts,
            annotationTexts: annotations.texts)
    }
}
