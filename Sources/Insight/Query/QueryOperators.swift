internal import Upstream

/// Operators between values.
enum QueryOperators {
    static func join(
        _ name: String, _ left: QueryValue, _ right: QueryValue, _ matching: VectorMatching, _ isBool: Bool
    ) throws(QueryError) -> QueryValue {
        let isComparison = QueryParser.comparisons.contains(name)
        switch (left, right) {
        case (.scalar(let left), .scalar(let right)): return .scalar(number(name, left, right))
        case (.vector(let elements), .scalar(let right)):
            return .vector(
                elements.compactMap { each(name, $0, $0.value, right, isComparison, isBool) })
        case (.scalar(let left), .vector(let elements)):
            return .vector(
                elements.compactMap { each(name, $0, left, $0.value, isComparison, isBool) })
        case (.vector(let left), .vector(let right)):
            if QueryParser.sets.contains(name) { return .vector(set(name, left, right, matching)) }
            return .vector(try vectors(name, left, right, matching, isComparison, isBool))
        default: throw QueryError("\(name) is for scalars and instant vectors")
        }
    }

    private static func each(
        _ name: String, _ element: VectorElement, _ left: Double, _ right: Double, _ isComparison: Bool, _ isBool: Bool
    ) -> VectorElement? {
        let result = number(name, left, right)
        guard isComparison, !isBool else { return VectorElement(labels: element.labels.unnamed, value: result) }
        return result == 1 ? element : nil
    }

    /// The result; of a comparison 0 or 1.
    private static func number(_ name: String, _ left: Double, _ right: Double) -> Double {
        switch name {
        case "+": left + right
        case "-": left - right
        case "*": left * right
        case "/": left / right
        case "%": QueryMath.remainder(left, right)
        case "^": QueryMath.power(left, right)
        case "==": left == right ? 1 : 0
        case "!=": left != right ? 1 : 0
        case "<": left < right ? 1 : 0
        case ">": left > right ? 1 : 0
        case "<=": left <= right ? 1 : 0
        case ">=": left >= right ? 1 : 0
        default: .nan
        }
    }

    private static func key(_ labels: Labels, _ matching: VectorMatching) -> Labels {
        matching.isOn
            ? labels.keeping(Set(matching.labels))
            : labels.dropping(Set(matching.labels + [Labels.metricName]))
    }

    private static func set(
        _ name: String, _ left: [VectorElement], _ right: [VectorElement], _ matching: VectorMatching
    ) -> [VectorElement] {
        switch name {
        case "or":
            let known = Set(left.map { key($0.labels, matching) })
            return left + right.filter { !known.contains(key($0.labels, matching)) }
        case "and":
            let known = Set(right.map { key($0.labels, matching) })
            return left.filter { known.contains(key($0.labels, matching)) }
        default:
            let known = Set(right.map { key($0.labels, matching) })
            return left.filter { !known.contains(key($0.labels, matching)) }
        }
    }

    private static func vectors(
        _ name: String, _ left: [VectorElement], _ right: [VectorElement], _ matching: VectorMatching,
        _ isComparison: Bool, _ isBool: Bool
    ) throws(QueryError) -> [VectorElement] {
        let isSwapped = matching.group == .right
        let (many, one) = isSwapped ? (right, left) : (left, right)
        var ones: [Labels: VectorElement] = [:]
        for element in one {
            guard ones.updateValue(element, forKey: key(element.labels, matching)) == nil else {
                throw QueryError(
                    "many-to-many matching not allowed: several series have the labels \(key(element.labels, matching).text)",
                    kind: .execution)
            }
        }
        var seen: Set<Labels> = []
        var found: [VectorElement] = []
        for element in many {
            let key = key(element.labels, matching)
            guard let partner = ones[key] else { continue }
            let (first, second) = isSwapped ? (partner.value, element.value) : (element.value, partner.value)
            let result = number(name, first, second)
            if isComparison, !isBool, result != 1 { continue }
            let value = isComparison && !isBool ? (isSwapped ? partner.value : element.value) : result
            let isNamed = isComparison && !isBool
            var labels: Labels
            if matching.group == .none {
                labels =
                    matching.isOn
                    ? element.labels.keeping(Set(matching.labels))
                    : element.labels.dropping(Set(matching.labels + (isNamed ? [] : [Labels.metricName])))
            } else {
                labels = isNamed ? element.labels : element.labels.unnamed
                for name in matching.included { labels[name] = partner.labels[name] }
            }
            guard seen.insert(matching.group == .none ? key : labels).inserted else {
                throw QueryError(
                    matching.group == .none
                        ? "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)"
                        : "multiple matches for labels: grouping labels must ensure unique matches", kind: .execution)
            }
            found.append(VectorElement(labels: labels, value: value))
        }
        return found
    }
}

/// Aggregations over the elements of a vector.
enum QueryAggregation {
    static func aggregate(
        _ name: String, _ parameter: Double, _ elements: [VectorElement], _ names: Set<String>, _ isWithout: Bool
    ) -> [VectorElement] {
        var groups: [Labels: [VectorElement]] = [:]
        for element in elements {
            let key =
                isWithout ? element.labels.dropping(names.union([Labels.metricName])) : element.labels.keeping(names)
            groups[key, default: []].append(element)
        }
        var found: [VectorElement] = []
        for (labels, members) in groups.sorted(by: { $0.key < $1.key }) {
            if name == "topk" || name == "bottomk" {
                found += extremes(members, parameter, isTop: name == "topk")
            } else {
                found.append(VectorElement(labels: labels, value: value(name, parameter, members.map(\.value))))
            }
        }
        return found
    }

    private static func extremes(_ members: [VectorElement], _ parameter: Double, isTop: Bool) -> [VectorElement] {
        guard parameter >= 1 else { return [] }
        let count = parameter < 1e6 ? Int(parameter) : members.count
        let sorted = members.sorted { left, right in
            if left.value.isNaN || right.value.isNaN { return !left.value.isNaN && right.value.isNaN }
            return left.value == right.value
                ? left.labels < right.labels : isTop ? left.value > right.value : left.value < right.value
        }
        return Array(sorted.prefix(count))
    }

    private static func value(_ name: String, _ parameter: Double, _ values: [Double]) -> Double {
        switch name {
        case "sum": QueryRange.sum(values)
        case "avg": QueryRange.mean(values)
        case "min": values.reduce(.nan) { $0.isNaN || $1 < $0 ? $1 : $0 }
        case "max": values.reduce(.nan) { $0.isNaN || $1 > $0 ? $1 : $0 }
        case "count": Double(values.count)
        case "group": 1
        case "stdvar": QueryRange.variance(values)
        case "stddev": QueryRange.variance(values).squareRoot()
        case "quantile": QueryRange.quantile(parameter, values)
        default: .nan
        }
    }
}

/// `label_replace` and `label_join`.
enum QueryLabels {
    /// Labels at most that one call joins.
    static let joinedMax = 32

    static func join(
        _ elements: [VectorElement], destination: String, separator: String, sources: [String]
    ) throws(QueryError) -> [VectorElement] {
        guard isName(destination) else { throw QueryError("label_join: \(destination) is no label") }
        for source in sources where !isName(source) { throw QueryError("label_join: \(source) is no label") }
        return try relabelled(elements, "label_join") { labels in
            let value = sources.map { labels[$0] }.joined(separator: separator)
            labels[destination] = value
        }
    }

    private static func isName(_ text: String) -> Bool {
        !text.isEmpty
            && text.utf8.enumerated().allSatisfy { place, byte in
                (byte | 0x20) &- 97 < 26 || byte == 0x5F || place > 0 && byte &- 48 < 10
            }
    }

    /// Elements with other labels, which must differ afterwards, too.
    private static func relabelled(
        _ elements: [VectorElement], _ function: String, _ change: (inout Labels) -> Void
    ) throws(QueryError) -> [VectorElement] {
        var seen: Set<Labels> = []
        var found: [VectorElement] = []
        for element in elements {
            var labels = element.labels
            change(&labels)
            guard seen.insert(labels).inserted else {
                throw QueryError("\(function): several series would have the labels \(labels.text)", kind: .execution)
            }
            found.append(VectorElement(labels: labels, value: element.value))
        }
        return found
    }

    static func replace(
        _ elements: [VectorElement], destination: String, replacement: String, source: String, pattern: String
    ) throws(QueryError) -> [VectorElement] {
        guard isName(destination) else { throw QueryError("label_replace: \(destination) is no label") }
        let expression: RegularExpression
        do throws(RegularExpressionError) { expression = try RegularExpression("^(?s:\(pattern))$") } catch {
            throw QueryError("label_replace: \(error)")
        }
        return try relabelled(elements, "label_replace") { labels in
            let bytes = Array(labels[source].utf8)
            if let match = expression.find(in: bytes, groups: 7) {
                labels[destination] = expand(
                    replacement, match.groups.map { $0.map { String(decoding: bytes[$0], as: UTF8.self) } })
            }
        }
    }

    /// `$1` and `${1}` are the groups, `$$` is a dollar.
    private static func expand(_ template: String, _ groups: [String?]) -> String {
        var text = ""
        var rest = Substring(template)
        while let character = rest.popFirst() {
            guard character == "$" else {
                text.append(character)
                continue
            }
            if rest.first == "$" {
                rest.removeFirst()
                text.append("$")
                continue
            }
            let isBraced = rest.first == "{"
            if isBraced { rest.removeFirst() }
            let word = rest.prefix { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
            rest = rest.dropFirst(word.count)
            if isBraced, rest.first == "}" { rest.removeFirst() }
            if let number = Int(word), number >= 1, groups.indices.contains(number - 1) {
                text += groups[number - 1] ?? ""
            }
        }
        return text
    }
}
