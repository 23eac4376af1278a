public import IO

/// The ranges of one family from which nodes get their pods' addresses.
///
/// Pure. The first block belongs to the node beside the API server, which has it before there is anybody to ask.
public struct NodeBlocks: Sendable, Hashable {
    /// Addresses of all pods of the cluster.
    public let pool: Prefix
    /// Significant bits of a node's block.
    public let length: Int

    /// Blocks of one pool at most: of more, those behind are never given.
    public static let countMax = 1 << 16

    /// Blocks of that length out of the pool; nil when the pool has not two of them.
    ///
    /// The usual length is 24 for IPv4; for IPv6 64, and of a pool that has not 256 of these, eight bits more than its own, but
    /// 112 at least.
    public init?(_ pool: Prefix, length: Int? = nil) {
        let usual =
            pool.address.isV6 ? (pool.length <= 56 ? 64 : max(112, pool.length + 8)) : max(24, pool.length + 1)
        let length = length ?? usual
        guard length > pool.length, length <= pool.address.bitCount - 2 else { return nil }
        self.pool = pool
        self.length = length
    }

    /// How many there are.
    public var count: Int {
        min(Self.countMax, length - pool.length >= 16 ? Self.countMax : 1 << (length - pool.length))
    }

    /// The block of that number.
    public func block(_ number: Int) -> Prefix? {
        guard (0..<count).contains(number) else { return nil }
        let shift = UInt64(pool.address.bitCount - length)
        switch pool.address {
        case .v4(let base):
            return Prefix(.v4(base &+ UInt32(truncatingIfNeeded: number) << UInt32(shift)), length: length)
        case .v6(let high, let low):
            let number = UInt64(number)
            let address: IPAddress =
                shift >= 64
                ? .v6(high: high &+ number << (shift - 64), low: low)
                : .v6(high: shift == 0 ? high : high &+ number >> (64 - shift), low: low &+ number << shift)
            return Prefix(address, length: length)
        }
    }

    /// The lowest block that overlaps none of those; nil when there is none left.
    public func next(taken: [Prefix]) -> Prefix? {
        let same = Set(taken.filter { $0.length == length })
        let others = taken.filter { $0.length != length }
        for number in 1..<max(1, count) {
            guard let block = block(number) else { return nil }
            if !same.contains(block), !others.contains(where: { $0.overlaps(block) }) { return block }
        }
        return nil
    }
}
