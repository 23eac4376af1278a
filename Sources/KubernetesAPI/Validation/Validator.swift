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
        return problems(of: new, kind: kind, table: table) + validator.problems
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
            add(.invalid("metadata.annotations", text: "", "may not be more than 262144 bytes"))
        }
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
            if field.isRequired, isEmpty(member) { add(.required(inner)) }
            if !field.allowed.isEmpty, let text = member.string ?? member.int.map(String.init),
                !field.allowed.contains(text)
            {
                add(.notSupported(inner, text, field.allowed))
            }
            walk(member, field.type, inner)
        }
    }

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
            if let text = value.string, Validator.duration(text) == nil {
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
