/// What one subscriber may want, in 64 bytes: who publishes to thousands asks this first, without looking at their streams.
///
/// A bit for each name: a name that is wanted always has its bit, one that is not seldom. Names that tell nothing apart (too many of them)
/// have all bits.
public struct Interest: Sendable {
    /// More names than this leave few bits free.
    private static let namesMax = 512

    private var bits: SIMD8<UInt64>

    /// May want anything.
    public static let anything = Interest(bits: SIMD8(repeating: .max))
    static let nothing = Interest(bits: .zero)

    private init(bits: SIMD8<UInt64>) { self.bits = bits }

    fileprivate static func place(_ text: String) -> Int {
        Int(truncatingIfNeeded: UInt(bitPattern: text.hashValue) & 511)
    }

    mutating func insert(_ text: String) {
        let place = Self.place(text)
        bits[place >> 6] |= 1 << UInt64(place & 63)
    }

    fileprivate func has(_ place: Int) -> Bool { bits[place >> 6] & (1 << UInt64(place & 63)) != 0 }

    /// What somebody wants who asked for these names of a type, or all.
    mutating func insert(_ typeURL: String, _ type: TypeSubscription) {
        guard type.made.isEmpty, type.names.count <= Self.namesMax else { return self = .anything }
        if type.isWildcard { insert(typeURL) }
        for name in type.names { insert(name) }
    }
}

/// Which bits of an `Interest` a difference concerns.
struct InterestProbe: Sendable {
    /// nil: it takes more than names to tell.
    private let places: [Int]?

    init(_ types: [(typeURL: String, changes: TypeChanges)]) {
        guard types.allSatisfy({ $0.changes.isOfNames }) else {
            places = nil
            return
        }
        places = types.flatMap { typeURL, changes in
            (changes.names.isEmpty ? [] : [Interest.place(typeURL)]) + changes.sole.map(Interest.place)
        }
    }

    /// Whether names alone tell who is concerned.
    var isOfNames: Bool { places != nil }

    func concerns(_ interest: Interest) -> Bool {
        guard let places else { return true }
        for place in places where interest.has(place) { return true }
        return false
    }
}
