internal import CNI
internal import IO
internal import Serialization

/// A network out of which addresses are given, in turn, so that one that was given back rests longest.
struct AddressPool: Hashable, Sendable {
    var space: String
    var prefix: Prefix
    /// Where addresses without a wish come from; the whole when nil.
    var part: Prefix?
    /// Places of held addresses in the network.
    private(set) var taken: Set<Int> = []
    /// Those of them that belong to the network itself: gateways and `--aux-address`.
    private(set) var reserved: Set<Int> = []
    private var cursor = 0

    init(space: String, prefix: Prefix, part: Prefix? = nil) {
        self.space = space
        self.prefix = prefix
        self.part = part
    }

    /// What the engine calls it: everything that is needed to have it again.
    var id: String { "\(space)/\(prefix)" + (part.map { "/\($0)" } ?? "") }

    /// The pool that an id means; nil when it is none of ours.
    init?(id: String) {
        let parts = id.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 3 || parts.count == 5,
            let prefix = Prefix("\(parts[1])/\(parts[2])"),
            [AddressSpace.local, AddressSpace.global].contains(String(parts[0]))
        else { return nil }
        self.init(space: String(parts[0]), prefix: prefix)
        guard parts.count == 5 else { return }
        guard let part = Prefix("\(parts[3])/\(parts[4])"), prefix.contains(part.address), part.length >= prefix.length
        else { return nil }
        self.part = part
    }

    /// The member PoolID of a request.
    static func id(_ reader: FieldReader) throws(Refusal) -> String {
        guard let text = try reader.parsed("PoolID", "pool of ours", { AddressPool(id: $0)?.id }) else {
            throw reader.error("PoolID", "it is missing")
        }
        return text
    }

    func address(_ place: Int) -> IPAddress { prefix.address.advanced(by: place) }

    /// Where an address lies; nil when it is none that may be given: the network's own, the broadcast, or a stranger.
    func place(of address: IPAddress) -> Int? {
        guard prefix.contains(address), let place = address.distance(from: prefix.address), place > 0 else {
            return nil
        }
        if !address.isV6, address == prefix.last { return nil }
        return place
    }

    func holds(_ address: IPAddress) -> Bool { place(of: address).map(taken.contains) ?? false }

    /// A free place, if there is one.
    func next() -> Int? {
        let range = part ?? prefix
        guard let begin = range.address.distance(from: prefix.address), begin <= Int.max / 4 else { return nil }
        let first = max(1, begin)
        // A network of IPv6 has more addresses than anybody holds.
        let width = min(range.last.distance(from: range.address) ?? Int.max / 4, 1 << 40)
        let last = begin + width - (range.last == prefix.last && !prefix.address.isV6 ? 1 : 0)
        guard first <= last else { return nil }
        let start = (first...last).contains(cursor) ? cursor : first
        var place = start
        // Whoever has passed more places than are taken has found a free one.
        for _ in 0...taken.count {
            if !taken.contains(place) { return place }
            place = place == last ? first : place + 1
            if place == start { return nil }
        }
        return nil
    }

    mutating func take(_ place: Int) {
        taken.insert(place)
        cursor = place &+ 1
    }

    mutating func release(_ place: Int) {
        taken.remove(place)
        reserved.remove(place)
    }

    /// What is held before any container is there belongs to the network.
    mutating func reserve(_ place: Int) { if taken.contains(place) { reserved.insert(place) } }
}
