internal import Glibc
internal import IO

/// The addresses of one network on this machine: a directory of blocks under one lock.
///
/// The directory and the lock are those of the reference plugin `host-local`, whose files (one for each address) are honoured:
/// containers that it has served keep their addresses, and lose them by our DEL.
final class AddressStore {
    let directory: String
    private let boot: String
    private let lock: Int32
    private var opened: [Prefix: AddressBlock] = [:]

    /// Longest wait for another process that holds the lock, in milliseconds; it holds it for less than one.
    static let patience = 10_000
    /// How long others leave an address alone while they find another one.
    static let restPreferred: UInt64 = 30_000_000_000

    /// Takes the lock, for as long as this object lives.
    init(_ configuration: IPAMConfiguration, network: String, boot: String? = nil) throws(CNIError) {
        directory = "\(configuration.dataDirectory)/\(network)"
        do throws(SystemError) {
            try File.makeDirectory(directory, mode: 0o755)
            if let boot {
                self.boot = boot
            } else {
                let text = String(decoding: try File.readPrefix("/proc/sys/kernel/random/boot_id", 36), as: UTF8.self)
                self.boot = text
            }
            lock = try AddressStore.lock("\(directory)/lock")
        } catch {
            guard error.errno != EWOULDBLOCK else {
                throw CNIError(
                    .tryAgainLater,
                    "\(error.operation): another process has held it for \(AddressStore.patience / 1000) s")
            }
            throw CNIError(.inputOutput, error.description)
        }
    }

    deinit { close(lock) }

    private static func lock(_ path: String) throws(SystemError) -> Int32 {
        let fd = Glibc.open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o600)
        guard fd >= 0 else { throw SystemError.last("open \(path)") }
        var waited = 0
        while flock(fd, LOCK_EX | LOCK_NB) != 0 {
            let error = SystemError.last("lock \(path)")
            guard error.errno == EINTR || error.errno == EWOULDBLOCK, waited < patience * 4 else {
                close(fd)
                throw error
            }
            usleep(250)
            waited += 1
        }
        return fd
    }

    // MARK: Reading

    /// The blocks that have a file.
    private func blocks() throws(SystemError) -> [AddressBlock] {
        var result: [AddressBlock] = []
        for name in try File.list(directory) {
            guard let range = AddressBlock.range(ofFile: name) else { continue }
            result.append(try open(range))
        }
        return result
    }

    /// What an owner holds.
    func held(by owner: AttachmentOwner) throws(CNIError) -> [IPAddress] {
        try reporting { () throws(SystemError) in
            var result: [IPAddress] = []
            for block in try blocks() {
                if let found = try block.find(owner.key), found.slot.state == .held {
                    result.append(block.address(found.number))
                }
            }
            return result
        }
    }

    /// Everything that is held, by owners' keys.
    func everythingHeld() throws(CNIError) -> [(key: UInt128, address: IPAddress, note: String)] {
        try reporting { () throws(SystemError) in
            var result: [(UInt128, IPAddress, String)] = []
            for block in try blocks() {
                try block.walk(from: 0, to: block.slotCount) { number, slot in
                    if slot.state == .held {
                        result.append((slot.key, block.address(number), String(decoding: slot.note, as: UTF8.self)))
                    }
                    return true
                }
            }
            return result
        }
    }

    // MARK: Giving

    /// What a search for an address depends on.
    struct Request {
        var owner: AttachmentOwner
        var exclusions: [Prefix] = []
        /// Addresses that somebody on this machine has otherwise.
        var foreign: Set<IPAddress> = []
        var reuseDelay: Int?
        var now = MonotonicTime.now
    }

    /// Gives one address of each set; those of `wanted` where one lies in the set.
    ///
    /// An owner that holds addresses already, because an earlier ADD ended before its answer, gets the same.
    func allocate(
        _ request: Request, sets: [[AddressRange]], wanted: [IPAddress]
    ) throws(CNIError) -> [(range: AddressRange, address: IPAddress)] {
        if let strange = wanted.first(where: { address in !sets.contains { $0.contains { $0.holds(address) } } }) {
            throw CNIError(
                .invalidConfiguration, "the address \(strange) that was asked for is in no range of the network")
        }
        var result: [(AddressRange, IPAddress)] = []
        var open = wanted
        do throws(CNIError) {
            for set in sets {
                let place = open.firstIndex { address in set.contains { $0.holds(address) } }
                let address = place.map { open.remove(at: $0) }
                result.append(try allocate(request, set, address))
            }
            if let first = open.first {
                throw CNIError(
                    .invalidConfiguration,
                    "the address \(first) that was asked for has no set of ranges left that it could come from")
            }
        } catch {
            _ = try? release(request.owner, now: request.now)
            throw error
        }
        return result
    }

    private func allocate(
        _ request: Request, _ set: [AddressRange], _ wanted: IPAddress?
    ) throws(CNIError) -> (AddressRange, IPAddress) {
        let gateways = Set(set.map(\.gateway))
        func isFree(_ address: IPAddress) -> Bool {
            !gateways.contains(address) && !request.exclusions.contains { $0.contains(address) }
                && !request.foreign.contains(address) && !File.exists("\(directory)/\(address)")
        }
        if let wanted {
            guard let range = set.first(where: { $0.holds(wanted) }) else {
                throw CNIError(.invalidConfiguration, "the address \(wanted) is in no range of the network")
            }
            return (range, try take(wanted, range, request, isFree(wanted)))
        }
        for range in set {
            if let address = try reporting({ () throws(SystemError) in try search(range, request, isFree) }) {
                return (range, address)
            }
        }
        let names = set.map { "\($0.start)-\($0.end)" }.joined(separator: ", ")
        throw CNIError(
            .tryAgainLater, "no address is left in \(names); remove containers, or run GC if they are gone already")
    }

    /// Takes a certain address.
    private func take(
        _ wanted: IPAddress, _ range: AddressRange, _ request: Request, _ isFree: Bool
    ) throws(CNIError) -> IPAddress {
        let taken = CNIError(.tryAgainLater, "the address \(wanted) is in use or excluded")
        guard isFree else { throw taken }
        return try reportingEither { () throws(EitherError) in
            do throws(SystemError) {
                let block = try self.block(range)
                guard let number = wanted.distance(from: block.range.address) else {
                    throw SystemError(ERANGE, "allocate")
                }
                let slot = try block.slot(number)
                guard slot.state == .free || slot.state == .resting || slot.key == request.owner.key else {
                    return .failure(taken)
                }
                try self.give(number, block, request)
                return .success(wanted)
            } catch {
                throw EitherError(error: error)
            }
        }
    }

    /// A free address of a range; nil when there is none.
    private func search(
        _ range: AddressRange, _ request: Request, _ isFree: (IPAddress) -> Bool
    ) throws(SystemError) -> IPAddress? {
        let block = try block(range)
        guard let first = range.start.distance(from: block.range.address) else { return nil }
        let last = min(range.end.distance(from: block.range.address) ?? Int.max, block.slotCount - 1)
        guard first <= last else { return nil }
        if let own = try block.find(request.owner.key), (first...last).contains(own.number) {
            let address = block.address(own.number)
            if own.slot.state == .held { return address }
            if isFree(address) {
                try give(own.number, block, request)
                return address
            }
        }
        let rest = request.reuseDelay.map { UInt64($0) &* 1_000_000_000 } ?? AddressStore.restPreferred
        var chosen: Int?
        var oldest: (number: Int, since: UInt64)?
        func look(_ number: Int, _ slot: AddressSlot) -> Bool {
            switch slot.state {
            case .held, .damaged: return true
            case .resting where request.now.nanoseconds(since: slot.time) < rest:
                if slot.time.nanoseconds < oldest?.since ?? .max, isFree(block.address(number)) {
                    oldest = (number, slot.time.nanoseconds)
                }
                return true
            case .free, .resting:
                guard isFree(block.address(number)) else { return true }
                chosen = number
                return false
            }
        }
        let start = min(max(block.cursor, first), last + 1)
        try block.walk(from: start, to: last + 1, look)
        if chosen == nil { try block.walk(from: first, to: start, look) }
        // Without a delay that somebody asked for, an address that was given back just now is better than none.
        guard let number = chosen ?? (request.reuseDelay == nil ? oldest?.number : nil) else { return nil }
        try give(number, block, request)
        block.cursor = number + 1
        return block.address(number)
    }

    private func give(_ number: Int, _ block: AddressBlock, _ request: Request) throws(SystemError) {
        try block.set(
            number,
            AddressSlot(key: request.owner.key, time: request.now, state: .held, note: request.owner.containerID))
    }

    private func block(_ range: AddressRange) throws(SystemError) -> AddressBlock {
        try open(AddressBlock.block(around: range.start, in: range.subnet))
    }

    /// Opens a block once.
    private func open(_ range: Prefix) throws(SystemError) -> AddressBlock {
        if let block = opened[range] { return block }
        let block = try AddressBlock(range, in: directory, boot: boot)
        opened[range] = block
        return block
    }

    // MARK: Taking back

    /// Takes back what an owner holds; harmless when that is nothing.
    @discardableResult
    func release(_ owner: AttachmentOwner, now: MonotonicTime = .now) throws(CNIError) -> [IPAddress] {
        var released = try release(key: owner.key, note: owner.containerID, now: now)
        if released.isEmpty {
            released = try reporting { () throws(SystemError) in try releaseForeign(owner) }
        }
        return released
    }

    /// Takes back what the owner with that key holds.
    func release(key: UInt128, note: String, now: MonotonicTime) throws(CNIError) -> [IPAddress] {
        try reporting { () throws(SystemError) in
            var released: [IPAddress] = []
            for block in try blocks() {
                guard let found = try block.find(key), found.slot.state == .held else { continue }
                try block.set(found.number, AddressSlot(key: key, time: now, state: .resting, note: note))
                released.append(block.address(found.number))
            }
            return released
        }
    }

    /// The file of an address that `host-local` gave, from before this configuration became ours: its first line is the
    /// container, its second the interface.
    private func releaseForeign(_ owner: AttachmentOwner) throws(SystemError) -> [IPAddress] {
        var released: [IPAddress] = []
        for name in try File.list(directory) {
            guard let address = IPAddress(name.replacing("_", with: ":")) else { continue }
            guard let text = try? File.readPrefix("\(directory)/\(name)", 512) else { continue }
            let lines = String(decoding: text, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
            guard lines.first == owner.containerID, lines.count < 2 || lines[1] == owner.interface else { continue }
            try File.remove("\(directory)/\(name)")
            released.append(address)
        }
        return released
    }

    // MARK: Errors

    private struct EitherError: Error { var error: SystemError }

    private func reportingEither<Value>(
        _ body: () throws(EitherError) -> Result<Value, CNIError>
    ) throws(CNIError) -> Value {
        let outcome: Result<Value, CNIError>
        do throws(EitherError) { outcome = try body() } catch {
            throw CNIError(.inputOutput, error.error.description)
        }
        return try outcome.get()
    }
}

extension AddressRange {
    /// Whether containers may have that address.
    func holds(_ address: IPAddress) -> Bool {
        address.isV6 == start.isV6 && start <= address && address <= end
    }
}
