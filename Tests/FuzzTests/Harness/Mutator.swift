/// Makes inputs from seeds: a few small changes each, as a hostile or broken peer would.
struct Mutator {
    /// No input is longer: what grows with size is a budget's matter, not a decoder's.
    static let bytesMax = 16_384
    private static let edges: [UInt8] = [0, 1, 9, 10, 13, 32, 34, 37, 47, 58, 92, 0x7F, 0x80, 0xC0, 0xFE, 0xFF]
    private static let numbers = [
        "0", "-1", "1", "00", "+1", "9", "255", "256", "65535", "65536", "2147483648", "4294967296",
        "9223372036854775807", "9223372036854775808", "18446744073709551616", "1e999", "0x10", "1.5",
    ]

    let seeds: [[UInt8]]
    let words: [[UInt8]]

    init(seeds: [[UInt8]], words: [String]) {
        self.seeds = seeds.isEmpty ? [[]] : seeds
        self.words = words.map { Array($0.utf8) } + Self.numbers.map { Array($0.utf8) }
    }

    func input(using random: inout FuzzRandom) -> [UInt8] {
        var bytes = seeds[random.below(seeds.count)]
        for _ in 0..<(1 + random.below(5)) { change(&bytes, &random) }
        return Array(bytes.prefix(Self.bytesMax))
    }

    private func change(_ bytes: inout [UInt8], _ random: inout FuzzRandom) {
        let place = random.below(bytes.count + 1)
        let count = min(bytes.count - place, 1 + random.below(16))
        switch random.below(12) {
        case 0: if place < bytes.count { bytes[place] ^= 1 << UInt8(random.below(8)) }
        case 1: if place < bytes.count { bytes[place] = UInt8(truncatingIfNeeded: random.next()) }
        case 2: if place < bytes.count { bytes[place] = Self.edges[random.below(Self.edges.count)] }
        case 3: bytes.insert(Self.edges[random.below(Self.edges.count)], at: place)
        case 4: bytes.removeSubrange(place..<(place + count))
        case 5: bytes.insert(contentsOf: bytes[place..<(place + count)], at: place)
        case 6, 7: bytes.insert(contentsOf: words[random.below(words.count)], at: place)
        case 8: bytes.replaceSubrange(place..<(place + count), with: words[random.below(words.count)])
        case 9: replaceNumber(&bytes, from: place, &random)
        case 10:
            let other = seeds[random.below(seeds.count)]
            bytes.replaceSubrange(place..., with: other[random.below(other.count + 1)...])
        default:
            // A run of one thing: limits of length and of depth.
            guard place < bytes.count else { return }
            bytes.insert(
                contentsOf: (0..<random.below(300)).flatMap { _ in bytes[place..<(place + min(count, 4))] }, at: place)
        }
    }

    /// Puts another number in the place of the next run of digits.
    private func replaceNumber(_ bytes: inout [UInt8], from place: Int, _ random: inout FuzzRandom) {
        func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
        guard let start = bytes[place...].firstIndex(where: isDigit) else { return }
        let end = bytes[start...].firstIndex { !isDigit($0) } ?? bytes.count
        bytes.replaceSubrange(start..<end, with: Self.numbers[random.below(Self.numbers.count)].utf8)
    }
}
