internal import CNI
internal import IO
internal import Serialization

extension PluginState {
    /// RequestPool: what was asked for, or the first network that nobody uses.
    func givePool(_ wish: PoolWish, _ outside: Outside) throws(Refusal) -> Decision {
        guard pools.count < Limits.pools else {
            throw Refusal("there are \(pools.count) address pools already, which is the limit", status: 500)
        }
        let used = pools.values.filter { $0.space == wish.space }.map(\.prefix)
        var chosen = wish.prefix
        if chosen == nil { chosen = try free(wish, used, outside) }
        guard let prefix = chosen else {
            throw Refusal(
                "--subnet is missing, and no network is left in \(wish.isV6 ? outside.pools.v6 : outside.pools.v4)")
        }
        if let other = used.first(where: { $0.overlaps(prefix) }) {
            throw Refusal("--subnet \(prefix): it overlaps \(other), which another network has")
        }
        let pool = AddressPool(space: wish.space, prefix: prefix, part: wish.part)
        return Decision(
            answer: ["PoolID": .string(pool.id), "Pool": .string(prefix.description), "Data": [:]],
            records: [.pool(pool.id)])
    }

    private func free(_ wish: PoolWish, _ used: [Prefix], _ outside: Outside) throws(Refusal) -> Prefix? {
        let source = wish.isV6 ? outside.pools.v6 : outside.pools.v4
        let length = wish.isV6 ? outside.pools.v6Length : outside.pools.v4Length
        let view = try outside.view()
        let avoided =
            used + view.routed + view.connected.map(\.prefix).filter { $0.length > 0 }
            + networks.values.flatMap { $0.wish.subnets.map(\.prefix) }
        let step = 1 << min(40, source.address.bitCount - length)
        // As many tries as something can stand in the way, and no more than there are pieces.
        let pieces = 1 << min(20, length - source.length)
        for number in 0..<pieces {
            // Pieces of more than 2^40 addresses lie in the first eight bytes.
            let begin = source.address.bitCount - length > 40 ? nil : source.address.advanced(by: number * step)
            guard let begin = begin ?? PluginState.piece(number, of: source, length) else { return nil }
            guard let prefix = Prefix(begin, length: length) else { return nil }
            if !avoided.contains(where: { $0.overlaps(prefix) }) { return prefix }
        }
        return nil
    }

    private static func piece(_ number: Int, of source: Prefix, _ length: Int) -> IPAddress? {
        guard case .v6(let high, let low) = source.address else { return nil }
        let sum = (UInt128(high) << 64 | UInt128(low)) &+ UInt128(number) << UInt128(128 - length)
        return .v6(high: UInt64(truncatingIfNeeded: sum >> 64), low: UInt64(truncatingIfNeeded: sum))
    }

    /// RequestAddress.
    func giveAddress(_ wish: AddressWish) throws(Refusal) -> Decision {
        // The id says everything: a pool that an earlier life of ours has lost is there again.
        guard let pool = pools[wish.pool] ?? AddressPool(id: wish.pool) else {
            throw Refusal("PoolID: '\(wish.pool.prefix(80))' is no pool of ours")
        }
        let revived: [Record] = pools[wish.pool] == nil ? [.pool(wish.pool)] : []
        guard pool.taken.count < Limits.addresses else {
            throw Refusal("\(pool.prefix): \(pool.taken.count) addresses are held, which is the limit", status: 500)
        }
        let place: Int
        if let address = wish.address {
            guard let found = pool.place(of: address) else {
                throw Refusal("the address \(address) is none of \(pool.prefix) that may be given")
            }
            guard !pool.taken.contains(found) else {
                throw Refusal("the address \(address) is already in use", status: 500)
            }
            place = found
        } else {
            // The gateway is the first address of the whole, also when containers get theirs from a part.
            let first = wish.isGateway && !pool.taken.contains(1) ? 1 : nil
            guard let found = first ?? pool.next() else {
                throw Refusal("no address is left in \(pool.part ?? pool.prefix); remove containers", status: 500)
            }
            place = found
        }
        let address = pool.address(place)
        return Decision(
            answer: ["Address": .string("\(address)/\(pool.prefix.length)"), "Data": [:]],
            records: revived + [.take(pool: wish.pool, address)])
    }
}
