import KubernetesAPI
import Serialization
import Store

// Kinds that somebody has defined (CustomResourceDefinition): they are served like all others, by their own schema.
extension ObjectRegistry {
    static let definitionFinalizer = "customresourcecleanup.apiextensions.k8s.io"

    /// The definition of a kind in the version that a client speaks; `nil` for kinds that are compiled in.
    func definition(_ kind: ResourceKind, _ version: String) -> CustomDefinition.Version? {
        guard kind.isCustom else { return nil }
        return definitions[kind.storeResource]?.versions[version.isEmpty ? kind.preferredVersion : version]
    }

    /// Reads all definitions: at the start and whenever one has changed.
    func readDefinitions() {
        definitions = [:]
        var custom: [ResourceKind] = []
        for stored in store.list(ResourceKind.customResourceDefinition.storeResource, namespace: nil) {
            let object = KubernetesObject(json: stored.object)
            guard let definition = try? CustomDefinition(object), isEstablished(stored.object),
                standardKinds.kind(storeResource: definition.kind.storeResource) == nil,
                !definition.kind.versions.isEmpty
            else { continue }
            definitions[definition.kind.storeResource] = definition
            custom.append(definition.kind)
        }
        kinds = custom.isEmpty ? standardKinds : ResourceKinds(standardKinds.all + custom)
        kindsGeneration &+= 1
    }

    private func isEstablished(_ object: JSON) -> Bool {
        (object["status"]?["conditions"]?.array ?? []).contains {
            $0["type"] == "Established" && $0["status"] == "True"
        }
    }

    /// What is wrong with a definition, and what its author should know.
    func checkDefinition(_ object: JSON, old: JSON? = nil) throws(StatusError) -> [String] {
        do throws(FieldProblem) {
            let definition = try CustomDefinition(KubernetesObject(json: object))
            if standardKinds.kind(storeResource: definition.kind.storeResource) != nil {
                return []  // Its schema is compiled in; the definition is kept and changes nothing.
            }
            // What an earlier version took may be written again as it is.
            let known = old.flatMap { try? CustomDefinition(KubernetesObject(json: $0)).refusals } ?? []
            if let problem = definition.refusals.first(where: { !known.contains($0) }) { throw problem }
            return definition.warnings
        } catch {
            throw .invalid(.customResourceDefinition, object["metadata"]?["name"]?.string ?? "", [error])
        }
    }

    /// Writes the status of a definition that is stored next: its names are accepted unless another kind has them.
    func prepareDefinition(_ object: inout JSON, old: JSON?) {
        let spec = object["spec"] ?? .object([:])
        let group = spec["group"]?.string ?? ""
        var names = spec["names"] ?? .object([:])
        let kind = names["kind"]?.string ?? ""
        if names["singular"]?.string?.isEmpty ?? true { names["singular"] = .string(kind.lowercased()) }
        if names["listKind"]?.string?.isEmpty ?? true { names["listKind"] = .string(kind + "List") }
        object["spec"]?["names"] = names
        if spec["conversion"] == nil { object["spec"]?["conversion"] = ["strategy": "None"] }
        let plural = names["plural"]?.string ?? ""
        let other = kinds.all.first { $0.group == group && $0.kind == kind && $0.plural != plural }
        func condition(_ type: String, _ isTrue: Bool, _ reason: String, _ message: String) -> JSON {
            let status: JSON = isTrue ? "True" : "False"
            let before = old?["status"]?["conditions"]?.array?.first { $0["type"]?.string == type }
            let time = before?["status"] == status ? before?["lastTransitionTime"] : nil
            return [
                "type": .string(type), "status": status, "reason": .string(reason), "message": .string(message),
                "lastTransitionTime": time ?? .string(now().secondsText),
            ]
        }
        let isGood = other == nil
        let storage = (spec["versions"]?.array ?? []).first { $0["storage"]?.bool == true }?["name"]
        var versions = old?["status"]?["storedVersions"]?.array ?? []
        if let storage, !versions.contains(storage) { versions.append(storage) }
        object["status"] = [
            "acceptedNames": isGood ? names : ["kind": "", "plural": ""], "storedVersions": .array(versions),
            "conditions": [
                isGood
                    ? condition("NamesAccepted", true, "NoConflicts", "no conflicts found")
                    : condition("NamesAccepted", false, "KindConflict", "\"\(kind)\" is already in use"),
                isGood
                    ? condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted")
                    : condition("Established", false, "NotAccepted", "not all names are accepted"),
            ],
        ]
        var metadata = object["metadata"] ?? .object([:])
        let finalizers = metadata["finalizers"]?.array ?? []
        if metadata["deletionTimestamp"] == nil, !finalizers.contains(.string(Self.definitionFinalizer)) {
            metadata["finalizers"] = .array(finalizers + [.string(Self.definitionFinalizer)])
        }
        object["metadata"] = metadata
    }

    /// A definition that is being deleted takes its objects with it, and goes when the last has gone.
    func finishDefinitions() {
        for stored in store.list(ResourceKind.customResourceDefinition.storeResource, namespace: nil)
        where stored.object["metadata"]?["deletionTimestamp"] != nil {
            let names = stored.object["spec"]?["names"]?["plural"]?.string ?? ""
            let resource = (stored.object["spec"]?["group"]?.string ?? "") + "/" + names
            if let kind = definitions[resource]?.kind {
                for object in store.list(resource, namespace: nil)
                where object.object["metadata"]?["deletionTimestamp"] == nil {
                    _ = try? delete(kind, object.key.namespace, object.key.name)
                }
                guard store.list(resource, namespace: nil).isEmpty else { continue }
            }
            guard let again = store.get(stored.key) else { continue }
            var object = again.object
            let kept = (object["metadata"]?["finalizers"]?.array ?? []).filter {
                $0 != .string(Self.definitionFinalizer)
            }
            object["metadata"]?["finalizers"] = kept.isEmpty ? JSON?.none : .array(kept)
            guard let changed = try? replace(again, with: object, .customResourceDefinition, "") else { continue }
            if isFree(object, .customResourceDefinition) { _ = try? remove(changed, .customResourceDefinition) }
        }
    }

    /// Reads an object of a custom kind: prunes what its schema does not know, and tells of it.
    func decodedCustom(
        _ json: JSON, _ kind: ResourceKind, _ version: CustomDefinition.Version
    ) throws(StatusError) -> (JSON, [String]) {
        guard case .object(let members) = json else {
            throw .badRequest("the object provided is unrecognized (must be of type \(kind.kind))")
        }
        var unknown: [String] = []
        var body = members
        for name in ["apiVersion", "kind", "metadata"] { body[name] = nil }
        guard case .object(var result) = version.schema.pruned(.object(body), "", &unknown) else { return (json, []) }
        var decoder = SchemaDecoder()
        do {
            let metadata = try decoder.decode(["metadata": members["metadata"] ?? .object([:])], as: kind)
            result["metadata"] = metadata["metadata"]
        } catch {
            throw .badRequest(
                "\(kind.kind) in version \"\(version.name)\" cannot be handled as a \(kind.kind): \(error)")
        }
        return (.object(result), decoder.unknownFields + unknown)
    }

    /// The object with its defaults, by the table or by its own schema.
    func defaulted(_ object: JSON, _ kind: ResourceKind, _ version: String) -> JSON {
        guard let definition = definition(kind, version) else {
            return SchemaTable.standard.applyDefaults(to: object, of: kind)
        }
        return definition.schema.defaulted(object)
    }

    /// What is wrong with an object, by the table or by its own schema.
    func problems(of object: JSON, old: JSON?, _ kind: ResourceKind, _ version: String) -> [FieldProblem] {
        let view = KubernetesObject(json: object)
        if kind == .cronJob, let zone = object["spec"]?["timeZone"]?.string, TimeZoneRules.isName(zone),
            !knowsTimeZone(zone),
            old?["spec"]?["timeZone"]?.string != zone
        {
            return [.invalid("spec.timeZone", text: zone, "unknown time zone \(zone)")]
        }
        guard let definition = definition(kind, version) else {
            return old.map { Validator.problems(updating: KubernetesObject(json: $0), to: view, kind: kind) }
                ?? Validator.problems(of: view, kind: kind)
        }
        let found = Validator.problems(of: view, kind: kind, schema: definition.schema, matches: patternMatches)
        // Rules speak of values that have their shape.
        guard found.isEmpty else { return found }
        return definition.schema.expressionProblems(
            object, old: old, matches: patternMatches, finds: patternFinds)
    }

    /// What is wrong with an object, with the codes of its kind if it has any.
    ///
    /// Where admission knows a field better than the schema does, its word stands alone: so `skein analyze` says it, too.
    func refusals(of object: JSON, old: JSON?, _ kind: ResourceKind, _ version: String) -> [FieldProblem] {
        let isNewPod = kind == .pod && old == nil
        let found =
            problems(of: object, old: old, kind, version)
            + (isNewPod ? Validator.unsharable(KubernetesObject(json: object)) : [])
        guard !found.isEmpty, let codes = schemaCodes(kind) else { return found }
        let more = old?["spec"] == object["spec"] ? [] : admissionProblems(KubernetesObject(json: object), kind)
        let better = Set(more.map(\.path))
        return found.filter { !better.contains($0.path) }.map { $0.coded(codes.invalidValue) } + more
    }

    /// How an object of the kind is merged and owned.
    func mergeType(_ kind: ResourceKind, _ version: String) -> MergeType {
        definition(kind, version).map { MergeType($0.schema) } ?? MergeType(kind)
    }
}

/// The codes under which refusals of a kind's schema are documented.
public struct SchemaCodes: Sendable {
    /// Of a value that is not allowed or has the wrong type.
    public var invalidValue: String
    /// Of a field that the kind does not have.
    public var unknownField: String

    /// The codes of a kind.
    public init(invalidValue: String, unknownField: String) {
        self.invalidValue = invalidValue
        self.unknownField = unknownField
    }
}
