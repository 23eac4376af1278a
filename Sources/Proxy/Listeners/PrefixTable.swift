internal import IO

/// Values by address range: the most specific range that holds an address wins.
struct PrefixTable<Value: Sendable>: Sendable {
    private struct Level: Sendable {
        let length: Int
        var values: [IPAddress: Value] = [:]
    }

    /// By falling length, for each family.
    private var v4: [Level] = []
    private var v6: [Level] = []

    init() {}

    var isEmpty: Bool { v4.isEmpty && v6.isEmpty }

    subscript(prefix: Prefix) -> Value? {
        get { levels(prefix.address).first { $0.length == prefix.length }?.values[prefix.address] }
        set {
            var levels = levels(prefix.address)
            if let index = levels.firstIndex(where: { $0.length == prefix.length }) {
                levels[index].values[prefix.address] = newValue
            } else {
                var level = Level(length: prefix.length)
                level.values[prefix.address] = newValue
                levels.insert(level, at: levels.firstIndex { $0.length < prefix.length } ?? levels.endIndex)
            }
            if prefix.address.isV6 { v6 = levels } else { v4 = levels }
        }
    }

    /// Every value.
    var all: [Value] { (v4 + v6).flatMap { Array($0.values.values) } }

    /// The value of the most specific range.
    func find(_ address: IPAddress) -> Value? {
        for level in levels(address) {
            if let masked = Prefix(address, length: level.length), let value = level.values[masked.address] {
                return value
            }
        }
        return nil
    }

    /// The values of all ranges that hold an address, the most specific first.
    func findAll(_ address: IPAddress) -> [Value] {
        levels(address).compactMap { level in
            Prefix(address, length: level.length).flatMap { level.values[$0.address] }
        }
    }

    private func levels(_ address: IPAddress) -> [Level] { address.isV6 ? v6 : v4 }
}
