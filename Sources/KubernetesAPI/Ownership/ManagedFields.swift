public import Serialization

/// Who owns which fields of an object: `metadata.managedFields`, and the rules by which it changes.
///
/// Pure: time comes as an argument. Source: Kubernetes' documentation, "Server-Side Apply".
public struct ManagedFields: Sendable, Hashable {
    /// What a manager does with its fields.
    public enum Operation: String, Sendable, Hashable {
        /// It states them whole with every apply: what it no longer states is taken away.
        case apply = "Apply"
        /// It has written them.
        case update = "Update"
    }

    /// Who writes, and how.
    public struct Manager: Sendable, Hashable {
        /// Its name: `kubectl`.
        public var name: String
        /// Whether it applies or updates.
        public var operation: Operation
        /// The version that it speaks: `apps/v1`.
        public var apiVersion: String
        /// The sub-resource that it writes to; empty for the object itself.
        public var subresource: String

        /// A manager.
        public init(_ name: String, _ operation: Operation, apiVersion: String, subresource: String = "") {
            self.name = name
            self.operation = operation
            self.apiVersion = apiVersion
            self.subresource = subresource
        }

        /// Whether both are one to a conflict: who applies is the same under all versions.
        func isSame(_ other: Manager) -> Bool {
            name == other.name && operation == other.operation && subresource == other.subresource
                && (operation == .apply || apiVersion == other.apiVersion)
        }
    }

    /// The fields of one manager.
    public struct Entry: Sendable, Hashable {
        /// Whose.
        public var manager: Manager
        /// When they last changed (RFC 3339).
        public var time: String
        /// Which.
        public var fields: FieldSet
    }

    /// Fields of one other manager that an apply would change.
    public struct Conflict: Error, Sendable, Hashable {
        /// Who owns them.
        public var manager: Manager
        /// Which.
        public var paths: [String]
        /// As Kubernetes says it: `conflict with "kubectl-edit" using apps/v1`.
        public var description: String {
            var text = "\"\(manager.name)\""
            if !manager.subresource.isEmpty { text += " with subresource \"\(manager.subresource)\"" }
            if manager.operation == .update { text += " using \(manager.apiVersion)" }
            return text
        }
    }

    /// Why an apply is refused.
    public struct Conflicts: Error, Sendable {
        /// With whom.
        public var conflicts: [Conflict]
    }

    /// After so many managers that update, the oldest are put together.
    public static let updatersMax = 10
    /// The most managers that an object keeps.
    public static let entriesMax = 100
    static let ancient = "ancient-changes"
    static let firstApply = "before-first-apply"

    /// All managers of the object.
    public private(set) var entries: [Entry] = []

    /// Nobody.
    public init() {}

    /// From `metadata.managedFields`; `nil` when it is none.
    public init?(json: JSON?) {
        guard let elements = json?.array, elements.count <= Self.entriesMax else { return nil }
        for element in elements {
            guard let operation = Operation(rawValue: element["operation"]?.string ?? ""),
                element["fieldsType"] == nil || element["fieldsType"] == "FieldsV1",
                let fields = FieldSet(json: element["fieldsV1"] ?? .object([:]))
            else { return nil }
            let manager = Manager(
                element["manager"]?.string ?? "", operation, apiVersion: element["apiVersion"]?.string ?? "",
                subresource: element["subresource"]?.string ?? "")
            entries.append(Entry(manager: manager, time: element["time"]?.string ?? "", fields: fields))
        }
    }

    /// As `metadata.managedFields`; `nil` when nobody owns anything.
    public var json: JSON? {
        guard !entries.isEmpty else { return nil }
        return .array(
            entries.map { entry in
                var json: JSON = [
                    "manager": .string(entry.manager.name), "operation": .string(entry.manager.operation.rawValue),
                    "apiVersion": .string(entry.manager.apiVersion), "fieldsType": "FieldsV1",
                    "fieldsV1": entry.fields.json,
                ]
                if !entry.time.isEmpty { json["time"] = .string(entry.time) }
                if !entry.manager.subresource.isEmpty { json["subresource"] = .string(entry.manager.subresource) }
                return json
            })
    }

    /// Whether the entry of a client asks to forget all: `[{}]`, or an empty list.
    public static func isReset(_ json: JSON?) -> Bool { json == [[:]] || json == [] }

    /// Members that no manager owns: they belong to the system.
    private static let system: [String] = [
        "name", "namespace", "creationTimestamp", "selfLink", "uid", "clusterName", "generation", "managedFields",
        "resourceVersion",
    ]

    /// The fields that can be owned of an object, or by a writer of `subresource`.
    public static func ownable(_ fields: FieldSet, subresource: String, hasStatus: Bool) -> FieldSet {
        var result = fields
        if subresource == "status" { return result.only(field: "status") }
        result.remove(field: "apiVersion")
        result.remove(field: "kind")
        if hasStatus { result.remove(field: "status") }
        if var metadata = result.children[.field("metadata")] {
            for name in system { metadata.remove(field: name) }
            metadata.isMember = false
            result.children[.field("metadata")] = metadata.isEmpty ? nil : metadata
        }
        return result
    }

    /// `manager` has written what differs between two states of the object.
    public mutating func update(_ manager: Manager, _ changes: FieldChanges, hasStatus: Bool, time: String) {
        let written = Self.ownable(changes.written, subresource: manager.subresource, hasStatus: hasStatus)
        let removed = Self.ownable(changes.removed, subresource: manager.subresource, hasStatus: hasStatus)
        guard !written.isEmpty || !removed.isEmpty else { return }
        take(written, from: manager)
        forget(removed)
        if let index = entries.firstIndex(where: { $0.manager == manager }) {
            let fields = entries[index].fields.union(written)
            if fields != entries[index].fields || !written.isEmpty { entries[index].time = time }
            entries[index].fields = fields
        } else if !written.isEmpty {
            entries.append(Entry(manager: manager, time: time, fields: written))
        }
        tidy()
    }

    /// `manager` states `fields`, of which `written` differ from what was there.
    ///
    /// Throws when somebody else owns what differs and nothing is forced.
    public mutating func apply(
        _ manager: Manager, _ fields: FieldSet, written: FieldSet, removed: FieldSet, isForced: Bool, time: String
    ) throws(Conflicts) {
        if !isForced {
            let conflicts = entries.filter { !$0.manager.isSame(manager) }.compactMap { entry -> Conflict? in
                let paths = entry.fields.intersection(written).paths
                return paths.isEmpty ? nil : Conflict(manager: entry.manager, paths: paths)
            }
            guard conflicts.isEmpty else { throw Conflicts(conflicts: conflicts) }
        }
        take(written, from: manager)
        forget(removed)
        let previous = entries.first { $0.manager.isSame(manager) }
        entries.removeAll { $0.manager.isSame(manager) }
        let isSame = previous?.fields == fields && previous?.manager == manager && written.isEmpty && removed.isEmpty
        let entry = Entry(manager: manager, time: isSame ? previous?.time ?? time : time, fields: fields)
        if !fields.isEmpty { entries.append(entry) }
        tidy()
    }

    /// What the manager stated with its last apply.
    public func stated(by manager: Manager) -> FieldSet {
        entries.first { $0.manager.isSame(manager) }?.fields ?? FieldSet()
    }

    /// Everything that anybody but `manager` owns.
    public func owned(exceptBy manager: Manager) -> FieldSet {
        entries.reduce(into: FieldSet()) { result, entry in
            if !entry.manager.isSame(manager) { result.formUnion(entry.fields) }
        }
    }

    /// The first apply to an object whose managers nobody knows: all its fields were written by somebody before.
    public mutating func assumeWritten(_ fields: FieldSet, apiVersion: String, time: String) {
        guard entries.isEmpty, !fields.isEmpty else { return }
        entries.append(
            Entry(manager: Manager(Self.firstApply, .update, apiVersion: apiVersion), time: time, fields: fields))
    }

    private mutating func take(_ fields: FieldSet, from manager: Manager) {
        for index in entries.indices where !entries[index].manager.isSame(manager) {
            entries[index].fields = entries[index].fields.subtracting(fields)
        }
    }

    private mutating func forget(_ fields: FieldSet) {
        for index in entries.indices { entries[index].fields = entries[index].fields.subtracting(fields) }
    }

    /// Drops who owns nothing, puts old updaters together, and puts all into Kubernetes' order.
    private mutating func tidy() {
        entries.removeAll { $0.fields.isEmpty }
        var updaters = entries.filter { $0.manager.operation == .update }.sorted { $0.time < $1.time }
        if updaters.count > Self.updatersMax {
            var merged = Entry(
                manager: Manager(Self.ancient, .update, apiVersion: updaters[0].manager.apiVersion), time: "",
                fields: FieldSet())
            while updaters.count >= Self.updatersMax {
                let oldest = updaters.removeFirst()
                merged.fields.formUnion(oldest.fields)
                merged.time = max(merged.time, oldest.time)
            }
            entries = entries.filter { $0.manager.operation == .apply } + [merged] + updaters
        }
        let order: (Entry) -> (String, String, String, String) = {
            ($0.manager.operation.rawValue, $0.time, $0.manager.name, $0.manager.apiVersion)
        }
        entries.sort { order($0) < order($1) }
    }
}
