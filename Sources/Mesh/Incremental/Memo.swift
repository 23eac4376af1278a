/// Results that are kept until something that they were made from differs.
///
/// Every result is made with a copy of the model that notes what is asked of it, so that no dependency can be forgotten:
/// whatever a result was made from is in its facts.
struct Memo<Key: Hashable & Sendable, Value: Sendable>: Sendable {
    private struct Entry: Sendable {
        var value: Value
        var facts: Set<Fact>
    }

    private var entries: [Key: Entry] = [:]
    private var readers: [Fact: Set<Key>] = [:]

    /// How many results are kept.
    var count: Int { entries.count }

    /// The result for a key: as it was made before, or made now.
    mutating func value(_ key: Key, of model: MeshModel, make: (MeshModel) -> Value) -> Value {
        let entry: Entry
        if let known = entries[key] {
            entry = known
        } else {
            var noting = model
            let log = ReadLog()
            noting.reads = log
            entry = Entry(value: make(noting), facts: log.facts)
            for fact in entry.facts { readers[fact, default: []].insert(key) }
            entries[key] = entry
        }
        if let outer = model.reads { entry.facts.forEach(outer.note) }
        return entry.value
    }

    /// What is kept, in no order.
    var values: some Sequence<Value> { entries.values.lazy.map(\.value) }

    /// Puts an equal value in the place of a kept one.
    mutating func replace(_ key: Key, _ value: Value) { entries[key]?.value = value }

    /// What is kept for a key.
    subscript(_ key: Key) -> Value? { entries[key]?.value }

    /// Forgets what was made from something that differs now; tells which.
    mutating func forget(_ touched: Touched) -> Set<Key> {
        if touched.everything {
            defer { removeAll() }
            return Set(entries.keys)
        }
        var keys: Set<Key> = []
        for fact in touched.facts { keys.formUnion(readers[fact] ?? []) }
        take(touched.ruleHosts, Fact.rules, &keys)
        take(touched.policyHosts, Fact.policies, &keys)
        for key in keys { remove(key) }
        return keys
    }

    /// The results that asked for objects about one of those hosts; a wildcard is compared with every host asked for.
    private func take(_ hosts: Set<String>, _ fact: (String) -> Fact, _ keys: inout Set<Key>) {
        let wildcards = hosts.filter(HostName.isWildcard)
        for host in hosts.subtracting(wildcards) { keys.formUnion(readers[fact(host)] ?? []) }
        guard !wildcards.isEmpty else { return }
        for (known, readers) in readers {
            let host: String
            switch known {
            case .rules(let name), .policies(let name): host = name
            default: continue
            }
            if known == fact(host), wildcards.contains(where: { HostName.covers($0, host) }) { keys.formUnion(readers) }
        }
    }

    /// Forgets one result.
    mutating func remove(_ key: Key) {
        guard let entry = entries.removeValue(forKey: key) else { return }
        for fact in entry.facts {
            readers[fact]?.remove(key)
            if readers[fact]?.isEmpty == true { readers[fact] = nil }
        }
    }

    /// Forgets everything.
    mutating func removeAll() {
        entries = [:]
        readers = [:]
    }
}
