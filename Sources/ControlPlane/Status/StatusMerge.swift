public import Serialization

/// From what the mesh computed to what is written: times and generations are filled in, entries of others stay.
public enum StatusMerge {
    /// The new status of an object; equal to the old one when nothing is to be written.
    ///
    /// A condition whose `status` did not change keeps its time. In `parents` and `ancestors` the entries of other
    /// controllers stay; with `keepsOthers` the conditions of types that nothing was computed for stay as well.
    public static func merged(
        _ computed: JSON, into old: JSON?, generation: Int, now: String, controller: String, keepsOthers: Bool
    ) -> JSON {
        guard case .object(var members) = computed else { return computed }
        if let conditions = members["conditions"] {
            members["conditions"] = complete(
                conditions, old?["conditions"], generation, now, keepsOthers: keepsOthers)
        }
        if let listeners = members["listeners"]?.array {
            members["listeners"] = .array(
                listeners.map { listener in
                    var listener = listener
                    let known = old?["listeners"]?.array?.first { $0["name"] == listener["name"] }
                    listener["conditions"] = complete(
                        listener["conditions"] ?? [], known?["conditions"], generation, now, keepsOthers: false)
                    return listener
                })
        }
        for (list, reference) in [("parents", "parentRef"), ("ancestors", "ancestorRef")] {
            guard let own = members[list]?.array else { continue }
            let before = old?[list]?.array ?? []
            let others = before.filter { $0["controllerName"]?.string != controller }
            members[list] = .array(
                others
                    + own.map { entry in
                        var entry = entry
                        let known = before.first {
                            $0["controllerName"]?.string == controller && $0[reference] == entry[reference]
                        }
                        entry["conditions"] = complete(
                            entry["conditions"] ?? [], known?["conditions"], generation, now, keepsOthers: false)
                        return entry
                    })
        }
        return .object(members)
    }

    private static func complete(
        _ conditions: JSON, _ old: JSON?, _ generation: Int, _ now: String, keepsOthers: Bool
    ) -> JSON {
        let before = old?.array ?? []
        let own: [JSON] = (conditions.array ?? []).map { condition in
            var condition = condition
            let known = before.first { $0["type"] == condition["type"] }
            let isSame = known?["status"] == condition["status"]
            condition["lastTransitionTime"] = (isSame ? known?["lastTransitionTime"] : nil) ?? .string(now)
            condition["observedGeneration"] = .integer(Int64(generation))
            return condition
        }
        let others = keepsOthers ? before.filter { entry in !own.contains { $0["type"] == entry["type"] } } : []
        return .array(own + others)
    }
}
