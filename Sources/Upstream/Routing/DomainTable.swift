/// Which virtual host answers for an authority: exact domain, then longest suffix wildcard, then longest
/// prefix wildcard, then `*`.
///
/// Built once, then immutable; a look-up compares bytes and allocates nothing.
struct DomainTable: Sendable {
    /// Lower-case names of one length class in an open-addressing table.
    private struct Names: Sendable {
        private var slots: [Int32] = [Int32](repeating: -1, count: 8)
        private var keys: [(name: [UInt8], value: Int)] = []

        var isEmpty: Bool { keys.isEmpty }

        /// Adds a name; false when it is there already.
        mutating func insert(_ name: [UInt8], _ value: Int) -> Bool {
            if find(name.span) != nil { return false }
            keys.append((name, value))
            if keys.count * 2 > slots.count {
                slots = [Int32](repeating: -1, count: slots.count * 2)
                for index in keys.indices { place(index) }
            } else {
                place(keys.count - 1)
            }
            return true
        }

        private mutating func place(_ index: Int) {
            let name = keys[index].name
            var slot = Int(truncatingIfNeeded: Bytes.hash(lowercasing: name.span)) & (slots.count - 1)
            while slots[slot] >= 0 { slot = (slot + 1) & (slots.count - 1) }
            slots[slot] = Int32(truncatingIfNeeded: index)
        }

        func find(_ name: borrowing Span<UInt8>) -> Int? {
            var slot = Int(truncatingIfNeeded: Bytes.hash(lowercasing: name)) & (slots.count - 1)
            while slots[slot] >= 0 {
                let key = keys[Int(slots[slot])]
                if Bytes.equal(name, key.name.span, ignoringCase: true) { return key.value }
                slot = (slot + 1) & (slots.count - 1)
            }
            return nil
        }
    }

    private var exact = Names()
    /// Longest first.
    ///
    /// `*.foo.com` is kept as `.foo.com`.
    private var suffixes: [(count: Int, names: Names)] = []
    /// Longest first.
    ///
    /// `foo.*` is kept as `foo.`.
    private var prefixes: [(count: Int, names: Names)] = []
    private var catchAll: Int?

    init() {}

    /// Adds a domain; the answer is why it is refused, or nil.
    mutating func insert(_ domain: String, _ value: Int) -> String? {
        let name = domain.utf8.map { Bytes.lowercased($0) }
        let star: UInt8 = 0x2A
        let isNew: Bool
        if name == [star] {
            isNew = catchAll == nil
            if isNew { catchAll = value }
        } else if name.first == star {
            isNew = Self.insert(Array(name.dropFirst()), value, into: &suffixes)
        } else if name.last == star {
            isNew = Self.insert(Array(name.dropLast()), value, into: &prefixes)
        } else if name.contains(star) {
            return "\(domain): a * stands only at the beginning or the end"
        } else {
            isNew = exact.insert(name, value)
        }
        return isNew ? nil : "\(domain): another virtual host has this domain already; each domain stands once"
    }

    private static func insert(_ name: [UInt8], _ value: Int, into classes: inout [(count: Int, names: Names)]) -> Bool
    {
        if let index = classes.firstIndex(where: { $0.count == name.count }) {
            return classes[index].names.insert(name, value)
        }
        var names = Names()
        _ = names.insert(name, value)
        let index = classes.firstIndex { $0.count < name.count } ?? classes.endIndex
        classes.insert((name.count, names), at: index)
        return true
    }

    /// The value for an authority, which keeps its port here.
    func find(_ authority: borrowing Span<UInt8>) -> Int? {
        if !exact.isEmpty, let value = exact.find(authority) { return value }
        // A wildcard stands for at least one character, hence `<`.
        for group in suffixes where group.count < authority.count {
            if let value = group.names.find(authority.extracting((authority.count - group.count)..<authority.count)) {
                return value
            }
        }
        for group in prefixes where group.count < authority.count {
            if let value = group.names.find(authority.extracting(0..<group.count)) { return value }
        }
        return catchAll
    }

    /// The same look-up with everything that it tries on its way, in text.
    func trials(_ authority: borrowing Span<UInt8>) -> [(pattern: String, value: Int?)] {
        var trials: [(pattern: String, value: Int?)] = []
        func text(_ bytes: borrowing Span<UInt8>) -> String {
            String(decoding: Bytes.copy(bytes).map { Bytes.lowercased($0) }, as: UTF8.self)
        }
        if !exact.isEmpty {
            trials.append((text(authority), exact.find(authority)))
            if trials.last?.value != nil { return trials }
        }
        for group in suffixes where group.count < authority.count {
            let part = authority.extracting((authority.count - group.count)..<authority.count)
            trials.append(("*" + text(part), group.names.find(part)))
            if trials.last?.value != nil { return trials }
        }
        for group in prefixes where group.count < authority.count {
            let part = authority.extracting(0..<group.count)
            trials.append((text(part) + "*", group.names.find(part)))
            if trials.last?.value != nil { return trials }
        }
        if let catchAll { trials.append(("*", catchAll)) }
        return trials
    }

    /// How long the authority is without a port: `a:80` → 1, `[::1]:80` → 5, `[::1]` → 5.
    static func countWithoutPort(_ authority: borrowing Span<UInt8>) -> Int {
        var index = authority.count
        while index > 0, authority[index - 1] &- 0x30 < 10 { index -= 1 }
        guard index > 0, authority[index - 1] == 0x3A else { return authority.count }
        let host = index - 1
        // `::1` without brackets is an address, not a name with a port.
        if let first = Bytes.firstIndex(of: 0x3A, in: authority), first < host, authority[0] != 0x5B {
            return authority.count
        }
        return host
    }
}
