public import KubernetesAPI
public import Serialization
import Store

extension ObjectRegistry {
    /// The name under which this process's own controllers own fields of objects that others have written.
    static let ownManager = "skein"

    /// Applies `config` to the object of that name: server-side apply.
    ///
    /// What the manager of `options` stated before and states no longer is taken away, unless somebody else owns it.
    /// Changes of what others own are a conflict (409), or with `isForced` become this manager's. An object that is not
    /// there is created.
    public func apply(
        _ config: JSON, _ kind: ResourceKind, _ namespace: String = "", _ name: String, subresource: String = "",
        options: WriteOptions, isForced: Bool = false
    ) throws(StatusError) -> (written: Written, isNew: Bool) {
        var options = options
        options.operation = .apply
        guard let stored = store.get(key(kind, namespace, name)) else {
            if let uid = config["metadata"]?["uid"]?.string, !uid.isEmpty {
                throw .conflict(
                    kind, name,
                    "uid mismatch: the provided object specified uid \(uid), and no existing object was found")
            }
            guard subresource.isEmpty else { throw .notFound(kind, name) }
            var object = config
            object["metadata"]?["name"] = .string(name)
            object["metadata"]?["managedFields"] = nil
            return (try create(object, kind, namespace: namespace, options: options), true)
        }
        var (wanted, warnings) = try decoded(config, kind, options)
        if subresource.isEmpty, kind.subresources.contains("status") { wanted["status"] = nil }
        if subresource == "status" {
            wanted = ["metadata": wanted["metadata"] ?? [:], "status": wanted["status"] ?? [:]]
        }
        wanted["apiVersion"] = nil
        wanted["kind"] = nil
        let (merged, managed) = try merged(wanted, stored, kind, subresource, options, isForced)
        options.managed = managed
        var result = try modify(kind, namespace, name, subresource: subresource, options: options) { current in
            // A proposal has the form of the version in which it is made.
            var object = ObjectView(kind, version: options.version)?.shown(merged) ?? merged
            object["apiVersion"] = current["apiVersion"]
            object["kind"] = current["kind"]
            if wanted["metadata"]?["resourceVersion"] == nil {
                object["metadata"]?["resourceVersion"] = current["metadata"]?["resourceVersion"]
            }
            return object
        }
        warnings += result.warnings
        result.warnings = warnings
        return (result, false)
    }

    /// The object with `wanted` laid over it and what the manager gave up taken out, and who owns what then.
    private func merged(
        _ wanted: JSON, _ stored: StoredObject, _ kind: ResourceKind, _ subresource: String, _ options: WriteOptions,
        _ isForced: Bool
    ) throws(StatusError) -> (JSON, ManagedFields) {
        let live = stored.object
        let type = mergeType(kind, options.version)
        let hasStatus = kind.subresources.contains("status")
        let manager = manager(options, kind, subresource)
        let time = now().secondsText
        func ownable(_ fields: FieldSet) -> FieldSet {
            ManagedFields.ownable(fields, subresource: subresource, hasStatus: hasStatus)
        }
        var managed = ManagedFields(json: live["metadata"]?["managedFields"]) ?? ManagedFields()
        managed.assumeWritten(
            ManagedFields.ownable(FieldWalk.fields(of: live, type), subresource: "", hasStatus: hasStatus),
            apiVersion: kind.apiVersion, time: time)
        let stated = ownable(FieldWalk.fields(of: wanted, type))
        let lost = managed.stated(by: manager).subtracting(stated)
        let owned = managed.owned(exceptBy: manager).union(stated)
        var merged = FieldWalk.merge(live, wanted, type)
        merged = FieldWalk.prune(merged, lost, stillOwned: owned, type) ?? merged
        let changes = FieldWalk.changes(from: live, to: merged, type)
        do throws(ManagedFields.Conflicts) {
            try managed.apply(
                manager, stated, written: ownable(changes.written), removed: ownable(changes.removed),
                isForced: isForced, time: time)
        } catch {
            throw .applyConflict(kind, stored.key.name, error.conflicts)
        }
        return (merged, managed)
    }

    private func manager(_ options: WriteOptions, _ kind: ResourceKind, _ subresource: String) -> ManagedFields.Manager
    {
        ManagedFields.Manager(
            options.manager.isEmpty ? Self.ownManager : options.manager, options.operation,
            apiVersion: options.version.isEmpty ? kind.apiVersion : kind.apiVersion(options.version),
            subresource: options.subresource ?? subresource)
    }

    /// Writes down who owns what of a new object; `stated` is the object before defaults.
    ///
    /// What our own controllers create has no managers until somebody applies it: nobody else writes there.
    func recordOwners(ofNew object: inout JSON, stated: JSON, _ kind: ResourceKind, _ options: WriteOptions) {
        guard !options.manager.isEmpty else { return }
        let hasStatus = kind.subresources.contains("status")
        let type = mergeType(kind, options.version)
        let manager = manager(options, kind, "")
        var managed = ManagedFields()
        switch options.operation {
        case .apply:
            let fields = ManagedFields.ownable(
                FieldWalk.fields(of: stated, type), subresource: "", hasStatus: hasStatus)
            // Nobody else owns anything: there is no conflict.
            try? managed.apply(
                manager, fields, written: fields, removed: FieldSet(), isForced: true, time: now().secondsText)
        case .update:
            managed.update(
                manager, FieldWalk.changes(from: [:], to: object, type), hasStatus: hasStatus, time: now().secondsText)
        }
        object["metadata"]?["managedFields"] = managed.json
    }

    /// Writes down who owns what of `object`, which was `old`; `stated` is what the client says about managers.
    func recordOwners(
        of object: inout JSON, old: JSON, stated: JSON?, _ kind: ResourceKind, _ subresource: String,
        _ options: WriteOptions
    ) {
        let known = old["metadata"]?["managedFields"]
        if let managed = options.managed {
            object["metadata"]?["managedFields"] = managed.json
            return
        }
        if ManagedFields.isReset(stated), known != nil {
            object["metadata"]?["managedFields"] = nil
            return
        }
        // A client may move fields from one manager to another; what is no list of managers is not taken.
        let given = stated == known ? nil : ManagedFields(json: stated)
        guard var managed = given ?? ManagedFields(json: known), !managed.entries.isEmpty,
            !(options.manager.isEmpty && subresource == "status")
        else {
            object["metadata"]?["managedFields"] = known
            return
        }
        managed.update(
            manager(options, kind, subresource),
            FieldWalk.changes(from: old, to: object, mergeType(kind, options.version)),
            hasStatus: kind.subresources.contains("status"), time: now().secondsText)
        object["metadata"]?["managedFields"] = managed.json
    }

    /// Whether two states differ in nothing but when their managers last wrote.
    func isUnchanged(_ object: JSON, _ old: JSON) -> Bool {
        if object == old { return true }
        let (new, before) = (object["metadata"]?["managedFields"], old["metadata"]?["managedFields"])
        guard new != before else { return false }
        var (left, right) = (object, old)
        left["metadata"]?["managedFields"] = nil
        right["metadata"]?["managedFields"] = nil
        guard left == right else { return false }
        func timeless(_ json: JSON?) -> Set<JSON> {
            Set(
                (json?.array ?? []).map { entry in
                    var entry = entry
                    entry["time"] = nil
                    return entry
                })
        }
        return timeless(new) == timeless(before)
    }
}

extension StatusError {
    /// An apply would change what others own.
    static func applyConflict(
        _ kind: ResourceKind, _ name: String, _ conflicts: [ManagedFields.Conflict]
    ) -> StatusError {
        let count = conflicts.reduce(0) { $0 + $1.paths.count }
        var text = "Apply failed with \(count) conflict\(count == 1 ? "" : "s"): "
        let sorted = conflicts.sorted { $0.description < $1.description }
        if count == 1, let only = sorted.first {
            text += "conflict with \(only.description): \(only.paths.joined())"
        } else {
            text += sorted.map { conflict in
                "conflicts with \(conflict.description):\n"
                    + conflict.paths.map { "- " + $0 }.joined(separator: "\n")
            }.joined(separator: "\n")
        }
        let causes: [JSON] = sorted.flatMap { conflict in
            conflict.paths.map {
                [
                    "reason": "FieldManagerConflict", "field": .string($0),
                    "message": .string("conflict with \(conflict.description)"),
                ]
            }
        }
        return StatusError(code: 409, reason: "Conflict", message: text, details: ["causes": .array(causes)])
    }
}
