/// What one subscriber wants, type by type, in the order in which types are sent.
///
/// There are five of them on most streams: looked for one by one, without hashing their long names.
struct SubscribedTypes: Sendable {
    /// One type.
    struct Entry: Sendable {
        let typeURL: String
        var type: TypeSubscription
    }

    private(set) var entries: [Entry] = []

    var count: Int { entries.count }
    var isEmpty: Bool { entries.isEmpty }
    var indices: Range<Int> { entries.indices }
    /// The types in order.
    var typeURLs: [String] { entries.map(\.typeURL) }

    func index(of typeURL: String) -> Int? {
        for index in entries.indices where entries[index].typeURL == typeURL { return index }
        return nil
    }

    /// The type whose name has these bytes.
    func index(of typeURL: UnsafeRawBufferPointer) -> Int? {
        for index in entries.indices where entries[index].typeURL.utf8.count == typeURL.count {
            let isSame = entries[index].typeURL.utf8.withContiguousStorageIfAvailable { bytes in
                bytes.indices.allSatisfy { bytes[$0] == typeURL[$0] }
            }
            if isSame == true { return index }
        }
        return nil
    }

    subscript(index: Int) -> TypeSubscription {
        _read { yield entries[index].type }
        _modify { yield &entries[index].type }
    }

    /// What is wanted of a type; nil when nothing was ever asked for.
    subscript(typeURL: String) -> TypeSubscription? { index(of: typeURL).map { entries[$0].type } }

    /// The place of a type, which it is given if it has none.
    mutating func place(of typeURL: String) -> Int {
        if let index = index(of: typeURL) { return index }
        let place = ResourceOrder.place(typeURL)
        let index = entries.firstIndex { ResourceOrder.place($0.typeURL) > place } ?? entries.count
        // Our own string, where there is one: it is found without looking at its bytes.
        let own = ResourceOrder.rank(typeURL).map { ResourceOrder.typeURLs[$0] } ?? typeURL
        entries.insert(Entry(typeURL: own, type: TypeSubscription()), at: index)
        if entries.capacity > entries.count + 1 { entries = Array(entries) }
        return index
    }
}

/// Sets of names that many subscribers want alike, held once.
///
/// The copies of a workload ask for the same thousand names.
struct SharedNames {
    /// Smaller sets cost less than looking for another.
    private static let smallest = 32
    /// More are forgotten together: who still holds one goes on with it.
    private static let kept = 64

    private var sets: Set<Set<String>> = []
    private var maps: Set<[String: String]> = []

    mutating func share(_ names: inout Set<String>) {
        guard names.count >= Self.smallest else { return }
        if let known = sets.firstIndex(of: names) { return names = sets[known] }
        if sets.count >= Self.kept { sets = [] }
        sets.insert(names)
    }

    mutating func share(_ names: inout [String: String]) {
        guard names.count >= Self.smallest else { return }
        if let known = maps.firstIndex(of: names) { return names = maps[known] }
        if maps.count >= Self.kept { maps = [] }
        maps.insert(names)
    }
}
