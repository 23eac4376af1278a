/// A set of known header names: two words, asked on the request path.
public struct HeaderIDSet: Sendable, Hashable {
    private var low: UInt64 = 0
    private var high: UInt64 = 0

    /// The empty set.
    public init() {}

    /// A set of these; `.other` stands for every name that is not known.
    public init(_ ids: [HeaderID]) {
        for id in ids { insert(id) }
    }

    @inline(__always)
    mutating func insert(_ id: HeaderID) {
        if id.rawValue < 64 { low |= 1 << UInt64(id.rawValue) } else { high |= 1 << UInt64(id.rawValue & 63) }
    }

    /// Whether an id is in it.
    @inline(__always)
    public func contains(_ id: HeaderID) -> Bool {
        (id.rawValue < 64 ? low >> UInt64(id.rawValue) : high >> UInt64(id.rawValue & 63)) & 1 == 1
    }

    /// Whether both have an id in common.
    @inline(__always)
    public func intersects(_ other: HeaderIDSet) -> Bool { low & other.low != 0 || high & other.high != 0 }
}
