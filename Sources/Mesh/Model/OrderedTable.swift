import KubernetesAPI

/// The place of an object among those of its kind: oldest first, then by name and namespace (H-6).
struct ObjectAge: Sendable, Hashable, Comparable {
    var creation: String
    var name: String
    var namespace: String
    /// Which of several things of one object.
    var part = ""

    init(_ object: KubernetesObject) {
        creation = object.metadata.creationTimestamp
        name = object.name
        namespace = object.namespace
    }

    static func < (left: ObjectAge, right: ObjectAge) -> Bool {
        if left.creation != right.creation { return left.creation < right.creation }
        return (left.name, left.namespace, left.part) < (right.name, right.namespace, right.part)
    }
}

/// What is read from the objects of one kind, in the order of their age; an edit costs a search and a shift.
struct OrderedTable<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private var ages: [ObjectAge] = []
    /// The values, oldest object first.
    private(set) var values: [Value] = []
    private var byKey: [Key: (age: ObjectAge, value: Value)] = [:]

    /// An edit: the object's age and value now; `nil` when it is gone.
    typealias Edit = (key: Key, now: (age: ObjectAge, value: Value)?)

    /// What was read from that object.
    subscript(_ key: Key) -> Value? { byKey[key]?.value }
    /// The age of that object.
    func age(_ key: Key) -> ObjectAge? { byKey[key]?.age }

    /// Makes edits; many at once cost one sort.
    mutating func apply(_ edits: [Edit]) {
        if edits.count > 8 && edits.count > values.count / 16 {
            for edit in edits { byKey[edit.key] = edit.now }
            let sorted = byKey.values.sorted { $0.age < $1.age }
            ages = sorted.map(\.age)
            values = sorted.map(\.value)
            return
        }
        for edit in edits {
            if let old = byKey[edit.key] {
                let index = position(of: old.age)
                if let now = edit.now, now.age == old.age {
                    values[index] = now.value
                    byKey[edit.key] = now
                    continue
                }
                ages.remove(at: index)
                values.remove(at: index)
            }
            byKey[edit.key] = edit.now
            if let now = edit.now {
                let index = position(of: now.age)
                ages.insert(now.age, at: index)
                values.insert(now.value, at: index)
            }
        }
    }

    /// The first index whose age is not smaller.
    private func position(of age: ObjectAge) -> Int {
        var low = 0
        var high = ages.count
        while low < high {
            let middle = (low + high) / 2
            if ages[middle] < age { low = middle + 1 } else { high = middle }
        }
        return low
    }
}

/// Which objects are about a host: an exact name is looked up, wildcards are gone through.
struct HostIndex: Sendable {
    private var exact: [String: Set<NamespacedName>] = [:]
    private var wildcards: [String: Set<NamespacedName>] = [:]

    mutating func insert(_ key: NamespacedName, hosts: [String]) {
        for host in hosts {
            if HostName.isWildcard(host) {
                wildcards[host, default: []].insert(key)
            } else {
                exact[host, default: []].insert(key)
            }
        }
    }

    mutating func remove(_ key: NamespacedName, hosts: [String]) {
        for host in hosts {
            if HostName.isWildcard(host) {
                wildcards[host]?.remove(key)
                if wildcards[host]?.isEmpty == true { wildcards[host] = nil }
            } else {
                exact[host]?.remove(key)
                if exact[host]?.isEmpty == true { exact[host] = nil }
            }
        }
    }

    /// The objects that name exactly that host, be it a wildcard.
    func naming(_ host: String) -> Set<NamespacedName> { exact[host] ?? wildcards[host] ?? [] }

    /// The objects one of whose hosts covers that one.
    func covering(_ host: String) -> Set<NamespacedName> {
        var found = exact[host] ?? []
        for (pattern, keys) in wildcards where HostName.covers(pattern, host) { found.formUnion(keys) }
        return found
    }
}
