/// XXH64, the hash that Envoy uses for hash policies and rings.
enum Hash {
    private static let prime1: UInt64 = 0x9E37_79B1_85EB_CA87
    private static let prime2: UInt64 = 0xC2B2_AE3D_27D4_EB4F
    private static let prime3: UInt64 = 0x1656_67B1_9E37_79F9
    private static let prime4: UInt64 = 0x85EB_CA77_C2B2_AE63
    private static let prime5: UInt64 = 0x27D4_EB2F_1656_67C5

    static func xxh64(_ text: String, seed: UInt64 = 0) -> UInt64 {
        let bytes = Array(text.utf8)
        return xxh64(bytes.span, seed: seed)
    }

    static func xxh64(_ bytes: borrowing Span<UInt8>, seed: UInt64 = 0) -> UInt64 {
        var index = 0
        var hash: UInt64
        if bytes.count >= 32 {
            var lanes = (seed &+ prime1 &+ prime2, seed &+ prime2, seed, seed &- prime1)
            while index + 32 <= bytes.count {
                lanes.0 = round(lanes.0, word(bytes, index))
                lanes.1 = round(lanes.1, word(bytes, index + 8))
                lanes.2 = round(lanes.2, word(bytes, index + 16))
                lanes.3 = round(lanes.3, word(bytes, index + 24))
                index += 32
            }
            hash = rotate(lanes.0, 1) &+ rotate(lanes.1, 7) &+ rotate(lanes.2, 12) &+ rotate(lanes.3, 18)
            hash = merge(hash, lanes.0)
            hash = merge(hash, lanes.1)
            hash = merge(hash, lanes.2)
            hash = merge(hash, lanes.3)
        } else {
            hash = seed &+ prime5
        }
        hash = hash &+ UInt64(bytes.count)
        while index + 8 <= bytes.count {
            hash = rotate(hash ^ round(0, word(bytes, index)), 27) &* prime1 &+ prime4
            index += 8
        }
        if index + 4 <= bytes.count {
            var half: UInt64 = 0
            for offset in 0..<4 { half |= UInt64(bytes[index + offset]) << UInt64(8 * offset) }
            hash = rotate(hash ^ (half &* prime1), 23) &* prime2 &+ prime3
            index += 4
        }
        while index < bytes.count {
            hash = rotate(hash ^ (UInt64(bytes[index]) &* prime5), 11) &* prime1
            index += 1
        }
        hash ^= hash >> 33
        hash = hash &* prime2
        hash ^= hash >> 29
        hash = hash &* prime3
        return hash ^ (hash >> 32)
    }

    private static func word(_ bytes: borrowing Span<UInt8>, _ start: Int) -> UInt64 {
        var value: UInt64 = 0
        for offset in 0..<8 { value |= UInt64(bytes[start + offset]) << UInt64(8 * offset) }
        return value
    }

    private static func rotate(_ value: UInt64, _ count: UInt64) -> UInt64 { value << count | value >> (64 - count) }

    private static func round(_ lane: UInt64, _ input: UInt64) -> UInt64 {
        rotate(lane &+ input &* prime2, 31) &* prime1
    }

    private static func merge(_ hash: UInt64, _ lane: UInt64) -> UInt64 {
        (hash ^ round(0, lane)) &* prime1 &+ prime4
    }

    /// MurmurHash2 for 64 bits as libstdc++ has it in `std::hash`: Envoy's MURMUR_HASH_2.
    static func murmur2(_ bytes: borrowing Span<UInt8>, seed: UInt64 = 0xC70F_6907) -> UInt64 {
        let multiplier: UInt64 = 0xC6A4_A793_5BD1_E995
        func mix(_ value: UInt64) -> UInt64 { value ^ (value >> 47) }
        var hash = seed ^ (UInt64(bytes.count) &* multiplier)
        var index = 0
        while index + 8 <= bytes.count {
            hash = (hash ^ (mix(word(bytes, index) &* multiplier) &* multiplier)) &* multiplier
            index += 8
        }
        if index < bytes.count {
            var rest: UInt64 = 0
            var shift: UInt64 = 0
            while index < bytes.count {
                rest |= UInt64(bytes[index]) << shift
                shift += 8
                index += 1
            }
            hash = (hash ^ rest) &* multiplier
        }
        return mix(mix(hash) &* multiplier)
    }
}
