import Serialization

/// A kind that somebody has defined: a CustomResourceDefinition, taken apart.
public struct CustomDefinition: Sendable {
    /// One version of the kind.
    public struct Version: Sendable {
        /// `v1`.
        public var name: String
        /// What its objects look like.
        public var schema: StructuralSchema
        /// The columns of its tables: name, type, format, description, priority and where the value is.
        public var columns: [Column]
        /// What users are told when they use it; `nil` when it is not deprecated.
        public var deprecation: String?
        /// Where the sub-resource `scale` finds its numbers; `nil` without it.
        public var scale: Scale?
    }

    /// One column of the kind's tables.
    public struct Column: Sendable, Hashable {
        /// Its name.
        public var name: String
        /// `string`, `integer`, `number`, `boolean` or `date`.
        public var type: String
        /// OpenAPI's format, or empty.
        public var format: String
        /// For people.
        public var description: String
        /// 0 is always shown, more with `-o wide`.
        public var priority: Int
        /// Where the value is.
        public var path: FieldPath
    }

    /// Where `scale` finds its numbers.
    public struct Scale: Sendable, Hashable {
        /// The wanted replicas.
        public var spec: FieldPath
        /// The present ones.
        public var status: FieldPath
        /// The label selector as text; `nil` without one.
        public var selector: FieldPath?
    }

    /// The kind as it is served.
    public var kind: ResourceKind
    /// Its versions by name.
    public var versions: [String: Version] = [:]
    /// The version that is written to `status.storedVersions`.
    public var storageVersion = ""
    /// What its author should know.
    public var warnings: [String] = []
    /// Rules that are none: a new definition with one of them is refused.
    public var refusals: [FieldProblem] = []

    /// Rules of a version that are told of at most.
    private static let warningsMax = 8

    /// Reads `spec` of a definition.
    public init(_ object: KubernetesObject) throws(FieldProblem) {
        let spec = object.spec
        func text(_ json: JSON?, _ name: String) -> String { json?[name]?.string ?? "" }
        let names = spec["names"] ?? .object([:])
        let (group, plural) = (text(spec, "group"), text(names, "plural"))
        guard object.name == plural + "." + group else {
            throw .invalid("metadata.name", text: object.name, "must be spec.names.plural+\".\"+spec.group")
        }
        if let strategy = spec["conversion"]?["strategy"]?.string, strategy != "None" {
            throw .notSupported("spec.conversion.strategy", strategy, ["None"])
        }
        let all = spec["versions"]?.array ?? []
        guard all.count(where: { $0["storage"]?.bool == true }) == 1 else {
            throw .invalid(
                "spec.versions", "\(all.count) versions", "must have exactly one version marked as storage version")
        }
        var served: [String] = []
        var subresources: Set<String> = []
        for (index, json) in all.enumerated() {
            let path = "spec.versions[\(index)]"
            let name = text(json, "name")
            if let problem = Names.dns1035LabelProblem(name) { throw .invalid(path + ".name", text: name, problem) }
            guard versions[name] == nil else { throw .duplicate(path + ".name", "\"\(name)\"") }
            guard let schema = json["schema"]?["openAPIV3Schema"] else {
                throw .required(path + ".schema.openAPIV3Schema", "schemas are required")
            }
            var version = Version(
                name: name, schema: try StructuralSchema(schema, path: path + ".schema.openAPIV3Schema"), columns: [])
            guard version.schema.type == "object" else {
                throw .invalid(path + ".schema.openAPIV3Schema.type", text: version.schema.type, "must be object")
            }
            for rule in version.schema.unread {
                guard let text = rule.refusal else { continue }
                refusals.append(.invalid(rule.path + ".rule", text: text, "compilation failed: \(rule.reason)"))
            }
            for rule in version.schema.unread.prefix(Self.warningsMax) where rule.refusal == nil {
                warnings.append("\(rule.path): is kept, and not evaluated by this server: \(rule.reason)")
            }
            if json["selectableFields"] != nil {
                warnings.append("\(path).selectableFields: objects are not selected by these fields by this server")
            }
            version.columns = try Self.columns(json["additionalPrinterColumns"], path)
            if json["deprecated"]?.bool == true {
                version.deprecation =
                    json["deprecationWarning"]?.string ?? "\(group)/\(name) \(text(names, "kind")) is deprecated"
            }
            if json["subresources"]?["status"] != nil { subresources.insert("status") }
            if let scale = json["subresources"]?["scale"], !scale.isNull {
                version.scale = try Self.scale(scale, path + ".subresources.scale")
                subresources.insert("scale")
            }
            if json["storage"]?.bool == true { storageVersion = name }
            if json["served"]?.bool == true { served.append(name) }
            versions[name] = version
        }
        kind = ResourceKind(
            group, served.sorted(by: Self.isPreferred), text(names, "kind"), plural,
            short: (names["shortNames"]?.array ?? []).compactMap(\.string),
            categories: (names["categories"]?.array ?? []).compactMap(\.string),
            isNamespaced: text(spec, "scope") == "Namespaced", subresources: subresources.sorted(), schema: "")
        if let singular = names["singular"]?.string, !singular.isEmpty { kind.singular = singular }
        kind.isCustom = true
    }

    private static func columns(_ json: JSON?, _ path: String) throws(FieldProblem) -> [Column] {
        var result: [Column] = []
        for (index, column) in (json?.array ?? []).enumerated() {
            let here = "\(path).additionalPrinterColumns[\(index)]"
            let text = column["jsonPath"]?.string ?? ""
            guard let place = FieldPath(text) else {
                throw .invalid(here + ".jsonPath", text: text, "is an invalid path")
            }
            result.append(
                Column(
                    name: column["name"]?.string ?? "", type: column["type"]?.string ?? "string",
                    format: column["format"]?.string ?? "", description: column["description"]?.string ?? "",
                    priority: column["priority"]?.int ?? 0, path: place))
        }
        return result
    }

    private static func scale(_ json: JSON, _ path: String) throws(FieldProblem) -> Scale {
        func place(_ name: String) throws(FieldProblem) -> FieldPath? {
            guard let text = json[name]?.string, !text.isEmpty else { return nil }
            guard let place = FieldPath(text) else {
                throw .invalid("\(path).\(name)", text: text, "is an invalid path")
            }
            return place
        }
        guard let spec = try place("specReplicasPath") else { throw .required(path + ".specReplicasPath") }
        guard let status = try place("statusReplicasPath") else { throw .required(path + ".statusReplicasPath") }
        return Scale(spec: spec, status: status, selector: try place("labelSelectorPath"))
    }

    /// Kubernetes' order of versions: `v2`, `v1`, `v1beta2`, `v1alpha1`, then all others by their names.
    static func isPreferred(_ left: String, _ right: String) -> Bool {
        func rank(_ version: String) -> (Int, Int, Int)? {
            guard version.hasPrefix("v") else { return nil }
            let rest = version.dropFirst()
            let major = rest.prefix { $0.isNumber }
            guard let first = Int(major) else { return nil }
            let tail = rest.dropFirst(major.count)
            if tail.isEmpty { return (3, first, 0) }
            for (word, level) in [("beta", 2), ("alpha", 1)] where tail.hasPrefix(word) {
                return Int(tail.dropFirst(word.count)).map { (level, first, $0) }
            }
            return nil
        }
        switch (rank(left), rank(right)) {
        case (let one?, let two?): return one > two
        case (_?, nil): return true
        case (nil, _?): return false
        case (nil, nil): return left < right
        }
    }
}
