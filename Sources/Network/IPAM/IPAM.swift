public import IO
internal import Synchronization

/// The addresses of a node's pods, remembered over crashes.
///
/// An address is in the journal, on disk, before anybody is told of it, and the record of its return is there before
/// it may rest. So after `kill -9` at any point nothing is given twice; what was written and never used is found by
/// `reconcile`. A reboot takes all namespaces with it, and the journal starts anew.
public final class IPAM: Sendable {
    private let path: String
    private let boot: String
    private let ranges: [Prefix]
    private let state: Mutex<State>

    private struct State {
        var pools: [AddressPool]
        /// Lines in the file, to know when most of them are history.
        var lines: Int
        /// The end of the file is not what we think: write it anew before anything is added.
        var isTorn: Bool
    }

    /// Reads the journal, or begins it.
    ///
    /// - Parameters:
    ///   - ranges: the node's block of each family.
    ///   - excluded: addresses that no pod gets, such as the gateway's.
    ///   - boot: tells this run of the machine from others; `/proc/sys/kernel/random/boot_id` when nil.
    public init(
        path: String, ranges: [Prefix], excluded: Set<IPAddress>, reuseDelay: Duration = .seconds(30),
        boot: String? = nil
    ) throws(NetworkError) {
        self.path = path
        self.ranges = ranges
        if let boot {
            self.boot = boot
        } else {
            let text = try system { () throws(SystemError) in try File.text("/proc/sys/kernel/random/boot_id") }
            self.boot = String(text.prefix { $0 != "\n" })
        }
        let pools = ranges.map { AddressPool($0, excluding: excluded, reuseDelay: reuseDelay) }
        var initial = State(pools: pools, lines: 0, isTorn: true)
        if File.exists(path) {
            let bytes = try system { () throws(SystemError) in try File.read(path) }
            let (records, isTorn) = try IPAMRecord.read(bytes, file: path)
            try IPAM.replay(records, isTorn, self.boot, ranges, path, &initial)
        } else {
            try system { () throws(SystemError) in try File.makeDirectory(File.parent(of: path), mode: 0o700) }
        }
        state = Mutex(initial)
    }

    /// The addresses of a node's blocks, with its gateways left out.
    public convenience init(
        _ configuration: HostNetworkConfiguration, reuseDelay: Duration = .seconds(30)
    ) throws(NetworkError) {
        try self.init(
            path: configuration.addressFile, ranges: configuration.families.map(\.nodeBlock),
            excluded: Set(configuration.families.map(\.gateway)), reuseDelay: reuseDelay)
    }

    private static func replay(
        _ records: [IPAMRecord], _ isTorn: Bool, _ boot: String, _ ranges: [Prefix], _ path: String,
        _ state: inout State
    ) throws(NetworkError) {
        // Nothing but a torn header: no address was ever given.
        guard case .header(let oldBoot, let oldRanges)? = records.first else {
            guard records.isEmpty else {
                throw .damaged("\(path): it does not begin as it must; run 'skein down', which removes the file")
            }
            return
        }
        guard oldBoot == boot else { return }
        guard oldRanges == ranges else {
            var open: Set<String> = []
            for record in records {
                if case .allocated(let owner, _, _) = record { open.insert(owner) }
                if case .released(let owner, _) = record { open.remove(owner) }
            }
            guard open.isEmpty else {
                let old = oldRanges.map(\.description).joined(separator: ", ")
                throw .pool("\(open.count) pods still have addresses of \(old); run 'skein down' first")
            }
            return
        }
        for record in records.dropFirst() {
            switch record {
            case .header: throw .damaged("\(path): it begins twice; run 'skein down', which removes the file")
            case .allocated(let owner, let addresses, _):
                guard addresses.count == state.pools.count else {
                    throw .damaged("\(path): \(owner) has \(addresses.count) addresses; run 'skein down'")
                }
                for (index, address) in addresses.enumerated() {
                    guard state.pools[index].restore(address, owner: owner) else {
                        throw .damaged("\(path): \(owner) cannot have \(address); run 'skein down'")
                    }
                }
            case .released(let owner, let time):
                for index in state.pools.indices { state.pools[index].release(owner: owner, now: time) }
            }
        }
        state.lines = records.count
        state.isTorn = isTorn
    }

    /// The owner's addresses, one of each range; the same when it asks again.
    public func allocate(owner: String, now: MonotonicTime = .now) throws(NetworkError) -> [IPAddress] {
        guard (1...253).contains(owner.utf8.count), !owner.utf8.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) else {
            throw .invalid("address owner '\(owner)': 1 to 253 printable characters without spaces are allowed")
        }
        return try change { (state) throws(NetworkError) in
            let held = state.pools.compactMap { $0.allocations[owner] }
            if held.count == state.pools.count { return held }
            var pools = state.pools
            var addresses: [IPAddress] = []
            for index in pools.indices { addresses.append(try pools[index].allocate(owner: owner, now: now)) }
            // The memory changes only after the disk has: a failed write gives nothing away.
            try self.write(.allocated(owner: owner, addresses: addresses, at: now), &state)
            state.pools = pools
            return addresses
        }
    }

    /// Takes the owner's addresses back; harmless when it has none.
    public func release(owner: String, now: MonotonicTime = .now) throws(NetworkError) {
        try change { (state) throws(NetworkError) in
            guard state.pools.contains(where: { $0.allocations[owner] != nil }) else { return }
            try self.write(.released(owner: owner, at: now), &state)
            for index in state.pools.indices { state.pools[index].release(owner: owner, now: now) }
        }
    }

    /// Takes back the addresses of everybody who is not in `owners`; returns who that was (ATK-41).
    @discardableResult
    public func reconcile(keeping owners: Set<String>, now: MonotonicTime = .now) throws(NetworkError) -> [String] {
        let lost = allocations.keys.filter { !owners.contains($0) }.sorted()
        for owner in lost { try release(owner: owner, now: now) }
        return lost
    }

    /// Of the pool with the smallest share left: how many of its addresses are in use, and how many it has.
    public var fullest: (used: Int, size: Int)? {
        state.withLock { state in
            state.pools.map { ($0.allocations.count, $0.capacity) }.max { $0.0 * $1.1 < $1.0 * $0.1 }
        }
    }

    /// All addresses by owner.
    public var allocations: [String: [IPAddress]] {
        state.withLock { state in
            var result: [String: [IPAddress]] = [:]
            for pool in state.pools {
                for (owner, address) in pool.allocations { result[owner, default: []].append(address) }
            }
            return result
        }
    }

    private func change<Value: Sendable>(
        _ body: @Sendable (inout State) throws(NetworkError) -> Value
    ) throws(NetworkError) -> Value {
        let outcome = state.withLock { (state) -> Result<Value, NetworkError> in
            do throws(NetworkError) { return .success(try body(&state)) } catch { return .failure(error) }
        }
        return try outcome.get()
    }

    private func write(_ record: IPAMRecord, _ state: inout State) throws(NetworkError) {
        let live = state.pools.first?.allocations.count ?? 0
        if state.isTorn || state.lines > 4 * live + 256 { try compact(&state) }
        do throws(SystemError) {
            try File.append(path, record.line, mode: 0o600, sync: true)
            state.lines += 1
        } catch {
            // Part of the line may be there; behind it, a good line would look like damage in the middle.
            state.isTorn = true
            throw .system(error)
        }
    }

    /// Replaces the file by one that holds what is true now.
    ///
    /// Rests are forgotten: they only delay.
    private func compact(_ state: inout State) throws(NetworkError) {
        var bytes = IPAMRecord.header(boot: boot, ranges: ranges).line
        var lines = 1
        let owners = state.pools.first.map { $0.allocations.keys.sorted() } ?? []
        for owner in owners {
            let addresses = state.pools.compactMap { $0.allocations[owner] }
            bytes += IPAMRecord.allocated(owner: owner, addresses: addresses, at: .now).line
            lines += 1
        }
        let content = bytes
        try system { () throws(SystemError) in try File.write(path, content, mode: 0o600) }
        state.lines = lines
        state.isTorn = false
    }
}
