public import IO

/// Which addresses of a range are taken, and by whom.
///
/// Pure: time is an argument. Giving and taking back cost the same however many addresses there are. An address that
/// was given back rests before somebody else gets it, so that late packets and stale endpoints do not meet a stranger;
/// its last owner gets it again at once.
public struct AddressPool: Sendable {
    /// The range.
    public let range: Prefix
    /// How long an address rests.
    public let reuseDelay: Duration

    /// Addresses by owner.
    public private(set) var allocations: [String: IPAddress] = [:]

    private struct Resting {
        var owner: String
        var since: MonotonicTime
        /// Tells the newest rest of an address from older ones, whose places in the queue are void.
        var serial: UInt64
    }

    private var excluded: Set<IPAddress>
    private var owners: [IPAddress: String] = [:]
    private var resting: [IPAddress: Resting] = [:]
    private var restingByOwner: [String: IPAddress] = [:]
    /// Given back, oldest first; entries before `queueStart` are done with.
    private var queue: [(address: IPAddress, serial: UInt64)] = []
    private var queueStart = 0
    private var serial: UInt64 = 0
    /// The first number in the range that was never given.
    private var fresh: UInt64
    private let end: UInt64

    /// Numbers that are used of a range, at most: an IPv6 block is larger than any node needs.
    static let sizeMax: UInt64 = 1 << 20

    /// How many addresses it can give away in all.
    public let capacity: Int

    /// All of the range but the excluded addresses and, in IPv4, the first and the last.
    public init(_ range: Prefix, excluding excluded: Set<IPAddress>, reuseDelay: Duration = .seconds(30)) {
        self.range = range
        self.reuseDelay = reuseDelay
        self.excluded = excluded
        let bits = UInt64(range.address.bitCount - range.length)
        let size = bits >= 20 ? AddressPool.sizeMax : 1 << bits
        let isWhole = bits >= 2  // A range of one or two has no network and broadcast addresses.
        fresh = isWhole ? 1 : 0
        end = isWhole && !range.address.isV6 ? size - 1 : size
        let inside = excluded.count { range.contains($0) }
        capacity = max(0, Int(clamping: end - fresh) - inside)
    }

    /// The owner's address: the one it has, the one it had, or a free one.
    public mutating func allocate(owner: String, now: MonotonicTime) throws(NetworkError) -> IPAddress {
        if let address = allocations[owner] { return address }
        if let address = restingByOwner[owner] {
            take(address, for: owner)
            return address
        }
        while fresh < end {
            let address = self.address(fresh)
            fresh += 1
            guard !excluded.contains(address), owners[address] == nil, resting[address] == nil else { continue }
            take(address, for: owner)
            return address
        }
        while queueStart < queue.count {
            let (address, serial) = queue[queueStart]
            if let rest = resting[address], rest.serial == serial {
                guard now >= rest.since + reuseDelay else { break }
                queueStart += 1
                take(address, for: owner)
                trimQueue()
                return address
            }
            queueStart += 1
        }
        trimQueue()
        let waiting = resting.isEmpty ? "" : "; \(resting.count) of them were given back and rest for \(reuseDelay)"
        throw .exhausted("no address is left in \(range): \(allocations.count) are taken\(waiting)")
    }

    /// Takes an owner's address back; nil when it has none.
    @discardableResult
    public mutating func release(owner: String, now: MonotonicTime) -> IPAddress? {
        guard let address = allocations.removeValue(forKey: owner) else { return nil }
        owners[address] = nil
        serial += 1
        resting[address] = Resting(owner: owner, since: now, serial: serial)
        restingByOwner[owner] = address
        queue.append((address, serial))
        return address
    }

    /// Gives an owner a certain address, as a record says.
    ///
    /// False when that cannot be: taken, excluded or foreign.
    mutating func restore(_ address: IPAddress, owner: String) -> Bool {
        guard range.contains(address), !excluded.contains(address), owners[address] == nil, allocations[owner] == nil
        else { return false }
        take(address, for: owner)
        return true
    }

    /// Who has an address.
    public func owner(of address: IPAddress) -> String? { owners[address] }

    private mutating func take(_ address: IPAddress, for owner: String) {
        if let rest = resting.removeValue(forKey: address) { restingByOwner[rest.owner] = nil }
        if let other = restingByOwner.removeValue(forKey: owner), other != address {
            // It rests on, but no longer for this owner, who has another one now.
            resting[other]?.owner = ""
        }
        allocations[owner] = address
        owners[address] = owner
    }

    /// Forgets the done part of the queue once it is the larger part.
    private mutating func trimQueue() {
        guard queueStart > 64, queueStart > queue.count / 2 else { return }
        queue.removeFirst(queueStart)
        queueStart = 0
    }

    private func address(_ number: UInt64) -> IPAddress {
        switch range.address {
        case .v4(let base): .v4(base &+ UInt32(truncatingIfNeeded: number))
        case .v6(let high, let low): .v6(high: high, low: low &+ number)
        }
    }
}
