/// A random source that can be started again: SplitMix64.
struct FuzzRandom: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    /// The same for the same bytes, so that an input alone says how it is cut.
    init(of bytes: [UInt8]) {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        state = hash
    }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ mixed >> 30) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ mixed >> 27) &* 0x94D0_49BB_1331_11EB
        return mixed ^ mixed >> 31
    }

    /// A number below `bound`; 0 when there is none.
    mutating func below(_ bound: Int) -> Int { bound > 0 ? Int(next() % UInt64(bound)) : 0 }

    /// Places to cut so many bytes at, in order.
    mutating func cuts(of count: Int) -> [Int] {
        guard count > 1 else { return [] }
        if below(8) == 0, count <= 512 { return Array(1..<count) }
        return (0..<below(6)).map { _ in 1 + below(count - 1) }.sorted()
    }
}
