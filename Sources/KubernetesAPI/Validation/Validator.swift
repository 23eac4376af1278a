import Serialization

/// Checks objects that have passed the schema: what must be there, what values are allowed, what may change.
public struct Validator {
    private let table: SchemaTable
    private(set) var problems: [FieldProblem] = []

    init(_ table: SchemaTable) { self.table = table }

    /// What is wrong with a new object of `kind` after defaulting.
    public static func problems(
        of object: KubernetesObject, kind: ResourceKind, table: SchemaTable = .standard
    ) -> [FieldProblem] {
        var validator = Validator(table)
        validator.metadata(object.metadata, kind)
        if let type = table.types[kind.schema] { validator.fields(object.json, type, "") }
        // Rules of one kind come after the general ones, so that they may take the shape for granted.
        validator.kind(object, kind)
        return validator.problems
    }

    /// What is wrong with replacing `old` by `new`.
    public static func problems(
        updating old: KubernetesObject, to new: KubernetesObject, kind: ResourceKind, table: SchemaTable = .standard
    ) -> [FieldProblem] {
        var validator = Validator(table)
        validator.immutable(old, new, kind)
        var found = problems(of: new, kind: kind, table: table)
        if !found.isEmpty {
            // What was accepted by an earlier version may be written again as it is: its labels and finalizers must not be stuck.
            let known = Set(problems(of: old, kind: kind, table: table))
            found = found.filter { !known.contains($0) }
        }
        return found + validator.problems
    }

    /// What is wrong with an object of a custom kind after defaulting, by its own schema.
    ///
    /// `matches` tells whether a pattern is found in a text; `nil` from it means that the pattern is none.
    public static func problems(
        of object: KubernetesObject, kind: ResourceKind, schema: StructuralSchema,
        matches: (_ pattern: String, _ text: String) -> Bool?
    ) -> [FieldProblem] {
        var validator = Validator(.standard)
        validator.metadata(object.metadata, kind)
        var body = object.json
        for name in ["apiVersion", "kind", "metadata"] { body[name] = nil }
        return validator.problems + schema.problems(body, "", matches: matches)
    }

    mutating func add(_ problem: FieldProblem) { problems.append(problem) }

    mutating func check(_ path: String, _ text: String, _ rule: (String) -> String?) {
        if let problem = rule(text) { add(.invalid(path, text: text, problem)) }
    }

    private mutating func metadata(_ metadata: ObjectMeta, _ kind: ResourceKind) {
        if metadata.name.isEmpty {
            add(.required("metadata.name", "name or generateName is required"))
        } else {
            switch kind {
            case .service: check("metadata.name", metadata.name, Names.dns1035LabelProblem)
            case .namespace: check("metadata.name", metadata.name, Names.dns1123LabelProblem)
            case .role, .clusterRole, .roleBinding, .clusterRoleBinding:
                check("metadata.name", metadata.name, Names.pathSegmentProblem)
            default: check("metadata.name", metadata.name, Names.dns1123SubdomainProblem)
            }
        }
        labels("metadata.labels", metadata.labels)
        var total = 0
        for (key, value) in metadata.annotations.sorted(by: { $0.key < $1.key }) {
            check("metadata.annotations", key.lowercased(), Names.qualifiedNameProblem)
            total += key.utf8.count + value.utf8.count
        }
        if total > 262_144 {
            add(.tooLong("metadata.annotations", 262_144))
        }
        bonds(metadata)
    }

    mutating func labels(_ path: String, _ labels: [String: String]) {
        for (key, value) in labels.sorted(by: { $0.key < $1.key }) {
            check(path, key, Names.qualifiedNameProblem)
            check(path, value, Names.labelValueProblem)
        }
    }

    /// Required members, allowed texts, base64 and quantities, wherever the schema says so.
    private mutating func fields(_ value: JSON, _ type: SchemaType, _ path: String) {
        for field in type.fields {
            let inner = path.isEmpty ? field.name : path + "." + field.name
            guard let member = value[field.name] else {
                if field.isRequired { add(.required(inner)) }
                continue
            }
            // The status is written by those who act on the object.
            if path.isEmpty && field.name == "status" { continue }
            // The empty group is a group: the core's.
            if field.isRequired, isEmpty(member), field.name != "group" { add(.required(inner)) }
            if !field.allowed.isEmpty, let text = member.string ?? member.int.map(String.init),
                !field.allowed.contains(text)
            {
                add(.notSupported(inner, text, field.allowed))
            }
            if field.bounds != FieldBounds() { bounds(member, field, inner) }
            walk(member, field.type, inner)
        }
    }

    private mutating func bounds(_ value: JSON, _ field: SchemaField, _ path: String) {
        let (elements, count): ([(String, JSON)], Int)
        switch value {
        case .array(let list): (elements, count) = (list.enumerated().map { ("\(path)[\($0)]", $1) }, list.count)
        case .object(let members):
            let sorted = members.sorted { $0.key < $1.key }
            (elements, count) = (sorted.map { ("\(path)[\($0.key)]", $0.value) }, members.count)
        default: (elements, count) = ([(path, value)], 1)
        }
        // Of an empty list that must not be missing, that has been said already.
        if let range = field.bounds.count, !range.contains(count), !(field.isRequired && count == 0) {
            add(
                .invalid(
                    path, String(count),
                    count < range.lowerBound
                        ? "must have at least \(range.lowerBound) items" : "must have at most \(range.upperBound) items"
                ))
        }
        for (path, element) in elements {
            if let range = field.bounds.number, let number = element.double, !range.contains(number) {
                let (least, most) = (Self.plain(range.lowerBound), Self.plain(range.upperBound))
                add(
                    .invalid(
                        path, Self.plain(number),
                        number < range.lowerBound
                            ? "must be greater than or equal to \(least)" : "must be less than or equal to \(most)"))
            }
            if let range = field.bounds.length, let text = element.string {
                let length = text.unicodeScalars.count
                if length < range.lowerBound, !(field.isRequired && length == 0) {
                    add(
                        .invalid(
                            path, text: text,
                            range.lowerBound == 1
                                ? "must not be empty" : "must have at least \(range.lowerBound) characters"))
                } else if length > range.upperBound {
                    add(.invalid(path, text: "…", "must have at most \(range.upperBound) characters"))
                }
            }
        }
    }

    private static func plain(_ number: Double) -> String { Int(exactly: number).map(String.init) ?? "\(number)" }

    private func isEmpty(_ value: JSON) -> Bool {
        switch value {
        case .string(let text): text.isEmpty
        case .array(let elements): elements.isEmpty
        default: false
        }
    }

    private mutating func walk(_ value: JSON, _ type: FieldType, _ path: String) {
        switch type {
        case .reference(let name): if let known = table.types[name] { fields(value, known, path) }
        case .array(let element):
            for (index, inner) in (value.array ?? []).enumerated() { walk(inner, element, "\(path)[\(index)]") }
        case .map(let element):
            for (key, inner) in (value.object ?? [:]).sorted(by: { $0.key < $1.key }) {
                walk(inner, element, "\(path)[\(key)]")
            }
        case .quantity:
            if let text = value.string, Quantity(text) == nil {
                add(
                    .invalid(
                        path, text: text,
                        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"))
            }
        case .bytes:
            if let text = value.string, !Base64Text.isValid(text) {
                // Mostly a Secret's: what somebody forgot to encode must not stand in answers and logs.
                add(.invalid(path, "(not shown)", "illegal base64 data"))
            }
        case .duration:
            guard let text = value.string else { break }
            if let nanoseconds = Validator.duration(text) {
                // As Istio's own definitions say it; 0 switches off what can be switched off.
                if nanoseconds > 0, nanoseconds < 1e6 {
                    add(.invalid(path, text: text, "must be a valid duration greater than 1ms"))
                } else if nanoseconds.rounded().truncatingRemainder(dividingBy: 1e6) != 0 {
                    add(.invalid(path, text: text, "must be whole milliseconds"))
                }
            } else {
                add(.invalid(path, text: text, "must be a duration such as \"1.5s\", \"100ms\" or \"1h10m\""))
            }
        default: break
        }
    }

    /// Go's duration text (`1h2m3.5s`) in nanoseconds.
    static func duration(_ text: String) -> Double? {
        var rest = text[...]
        var total = 0.0
        if rest == "0" { return 0 }
        if rest.first == "-" || rest.isEmpty { return nil }
        let units: [(String, Double)] = [
            ("ns", 1), ("us", 1e3), ("µs", 1e3), ("ms", 1e6), ("s", 1e9), ("m", 6e10), ("h", 3.6e12),
        ]
        while !rest.isEmpty {
            let digits = rest.prefix { ("0"..."9").contains($0) || $0 == "." }
            rest = rest.dropFirst(digits.count)
            guard let number = Double(digits.hasPrefix(".") ? "0" + digits : digits) ?? Double(digits.dropLast()),
                let unit = units.first(where: { rest.hasPrefix($0.0) && !($0.0 == "m" && rest.hasPrefix("ms")) })
            else { return nil }
            total += number * unit.1
            rest = rest.dropFirst(unit.0.count)
        }
        return total
    }
}
