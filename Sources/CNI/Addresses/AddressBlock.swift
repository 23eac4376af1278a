internal import Glibc
internal import IO

/// What one address of a block is to us: 48 bytes of the file, written by one call, so that a crash leaves the old or the new.
///
///     0 owner's key (16)   16 time, ns of this boot (8)   24 state (4)   28 begin of the container's id (16)   44 sum (4)
struct AddressSlot: Hashable, Sendable {
    enum State: UInt32 {
        case free = 0
        case held = 1
        /// Given back; its last owner gets it again at once, others when it has rested.
        case resting = 2
        /// The bytes are not as we write them: given to nobody.
        case damaged = 0xffff_ffff
    }

    var key: UInt128 = 0
    var time = MonotonicTime(nanoseconds: 0)
    var state = State.free
    /// For people who read the file.
    var note: [UInt8] = []

    static let size = 48
    private static let noteSize = 16

    init() {}

    init(key: UInt128, time: MonotonicTime, state: State, note: String) {
        self.key = key
        self.time = time
        self.state = state
        self.note = Array(note.utf8.prefix(AddressSlot.noteSize))
    }

    /// Reads the 48 bytes.
    init(_ bytes: ArraySlice<UInt8>) {
        guard bytes.contains(where: { $0 != 0 }) else { return }
        let sum = bytes.word(44, as: UInt32.self)
        guard let state = State(rawValue: bytes.word(24, as: UInt32.self)), sum == AddressSlot.sum(bytes.prefix(44))
        else {
            self.state = .damaged
            return
        }
        self.state = state
        key = UInt128(bytes.word(0, as: UInt64.self)) << 64 | UInt128(bytes.word(8, as: UInt64.self))
        time = MonotonicTime(nanoseconds: bytes.word(16, as: UInt64.self))
        note = Array(bytes.dropFirst(28).prefix(AddressSlot.noteSize).prefix { $0 != 0 })
    }

    var bytes: [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(AddressSlot.size)
        result.add(UInt64(truncatingIfNeeded: key >> 64))
        result.add(UInt64(truncatingIfNeeded: key))
        result.add(time.nanoseconds)
        result.add(state.rawValue)
        result += note + [UInt8](repeating: 0, count: max(0, AddressSlot.noteSize - note.count))
        result.add(AddressSlot.sum(result[...]))
        return result
    }

    /// FNV-1a, 32 bits; never that of an empty slot.
    private static func sum(_ bytes: ArraySlice<UInt8>) -> UInt32 {
        bytes.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    }
}

extension ArraySlice<UInt8> {
    /// The number at `offset` from the start; 0 when the bytes are not there.
    func word<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
        let size = MemoryLayout<Value>.size
        guard offset >= 0, offset + size <= count else { return 0 }
        return withUnsafeBytes { $0.loadUnaligned(fromByteOffset: offset, as: Value.self) }
    }
}

extension [UInt8] {
    mutating func add(_ value: some FixedWidthInteger & BitwiseCopyable) {
        Swift.withUnsafeBytes(of: value) { append(contentsOf: $0) }
    }
}

/// Which addresses of one range are held, and by whom: a file of fixed places, so that an ADD reads and writes a few hundred
/// bytes of it however many addresses are held.
///
///     header 64 bytes   index: buckets of eight numbers, by owner's key   slots: one for each address
///
/// **The slots alone are the truth**; each is written whole by one `pwrite`. The index only says where to look: an entry counts
/// when the slot it names carries the key, and a bucket that was ever full is followed by a walk over all slots. So the entry is
/// written before the slot, and a crash between them leaves a hint that leads nowhere.
///
/// Nothing is synced to the disk: what a killed process has written is in the kernel, and what a crash of the machine loses is
/// void anyway, since the header names the boot (`/proc/sys/kernel/random/boot_id`), and namespaces do not outlive it.
final class AddressBlock {
    let range: Prefix
    let slotCount: Int
    private let bucketCount: Int
    private let fd: Int32
    private let path: String

    /// Addresses of one file at most: 2^20 of IPv4, 2^16 of IPv6.
    static let bitsMax = (v4: 20, v6: 16)
    static let headerSize = 64
    private static let bucketSize = 32
    private static let magic: [UInt8] = Array("skeinip1".utf8)
    /// Slots that are read at once in a search.
    private static let piece = 128

    /// The part of a network around an address that one file is for.
    static func block(around address: IPAddress, in subnet: Prefix) -> Prefix {
        let bits = address.isV6 ? bitsMax.v6 : bitsMax.v4
        return Prefix(address, length: max(subnet.length, address.bitCount - bits)) ?? subnet
    }

    /// `skein-10.1.0.0-16`.
    static func fileName(_ range: Prefix) -> String { "skein-\(range.address)-\(range.length)" }

    /// The range of a file of that name.
    static func range(ofFile name: String) -> Prefix? {
        guard name.hasPrefix("skein-") else { return nil }
        let parts = name.dropFirst(6).split(separator: "-")
        guard parts.count == 2, let range = Prefix("\(parts[0])/\(parts[1])") else { return nil }
        return block(around: range.address, in: range) == range ? range : nil
    }

    /// Opens the file, or makes it; one from an earlier boot begins anew.
    ///
    /// The caller holds the lock of the directory.
    init(_ range: Prefix, in directory: String, boot: String) throws(SystemError) {
        self.range = range
        slotCount = 1 << min(range.address.bitCount - range.length, 20)
        bucketCount = max(8, slotCount / 2)
        path = "\(directory)/\(AddressBlock.fileName(range))"
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard fd >= 0 else { throw SystemError.last("open \(path)") }
        let header = AddressBlock.header(range, boot: boot)
        if try read(at: 0, count: header.count) == header { return }
        // Emptied, then as long as it must be, then the header: each step leaves a file that begins anew.
        guard ftruncate(fd, 0) == 0, ftruncate(fd, off_t(slotOffset(slotCount))) == 0 else {
            throw SystemError.last("begin \(path)")
        }
        try write(header, at: 0)
    }

    deinit { close(fd) }

    private static func header(_ range: Prefix, boot: String) -> [UInt8] {
        var bytes = magic
        let text = Array("\(boot) \(range)".utf8)
        // 48 bytes: a hash of both, and the begin of the boot's id for people.
        bytes.add(text.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
        bytes += boot.utf8.prefix(36)
        bytes += [UInt8](repeating: 0, count: max(0, 56 - bytes.count))
        return bytes
    }

    // MARK: Slots

    func slot(_ number: Int) throws(SystemError) -> AddressSlot {
        AddressSlot(try read(at: slotOffset(number), count: AddressSlot.size)[...])
    }

    func set(_ number: Int, _ slot: AddressSlot) throws(SystemError) {
        guard (0..<slotCount).contains(number) else { throw SystemError(ERANGE, "write \(path)") }
        if slot.state == .held { try addToIndex(number, slot.key) }
        try write(slot.bytes, at: slotOffset(number))
    }

    func address(_ number: Int) -> IPAddress { range.address.advanced(by: number) }

    /// The slot that an owner holds or held last.
    func find(_ key: UInt128) throws(SystemError) -> (number: Int, slot: AddressSlot)? {
        let bucket = try self.bucket(of: key)
        for entry in bucket where entry != 0 {
            let number = Int(entry) - 1
            guard number < slotCount else { continue }
            let slot = try slot(number)
            if slot.key == key, slot.state == .held || slot.state == .resting { return (number, slot) }
        }
        guard !bucket.contains(0) else { return nil }
        var found: (Int, AddressSlot)?
        try walk(from: 0, to: slotCount) { number, slot in
            guard slot.key == key, slot.state == .held || slot.state == .resting else { return true }
            found = (number, slot)
            return false
        }
        return found
    }

    /// Calls `body` with the slots of `from..<to` until it answers false.
    func walk(from: Int, to: Int, _ body: (Int, AddressSlot) -> Bool) throws(SystemError) {
        var number = max(0, from)
        let end = min(to, slotCount)
        while number < end {
            // The first look mostly finds what it needs.
            let count = min(number == from ? 8 : AddressBlock.piece, end - number)
            let bytes = try read(at: slotOffset(number), count: count * AddressSlot.size)
            for place in 0..<count {
                let slot = AddressSlot(bytes[(place * AddressSlot.size)..<((place + 1) * AddressSlot.size)])
                guard body(number + place, slot) else { return }
            }
            number += count
        }
    }

    /// Where the next search begins: only a hint, so that addresses are used in turn.
    var cursor: Int {
        get { (try? read(at: 60, count: 4)).map { Int($0[...].word(0, as: UInt32.self)) } ?? 0 }
        set {
            var bytes: [UInt8] = []
            bytes.add(UInt32(truncatingIfNeeded: newValue))
            try? write(bytes, at: 60)
        }
    }

    // MARK: Index

    private func bucketOffset(_ key: UInt128) -> Int {
        AddressBlock.headerSize + Int(UInt64(truncatingIfNeeded: key) % UInt64(bucketCount)) * AddressBlock.bucketSize
    }

    private func bucket(of key: UInt128) throws(SystemError) -> [UInt32] {
        let bytes = try read(at: bucketOffset(key), count: AddressBlock.bucketSize)
        return (0..<8).map { bytes[...].word($0 * 4, as: UInt32.self) }
    }

    /// Notes where the owner's slot is; a full bucket stays as it is, and searches in it walk.
    private func addToIndex(_ number: Int, _ key: UInt128) throws(SystemError) {
        let bucket = try self.bucket(of: key)
        let entry = UInt32(truncatingIfNeeded: number + 1)
        guard !bucket.contains(entry) else { return }
        var place = bucket.firstIndex(of: 0)
        if place == nil {
            // An entry whose slot belongs to nobody of this bucket (any more) is of no use.
            for (index, other) in bucket.enumerated() where place == nil {
                let slot = try self.slot(Int(other) - 1)
                if slot.state == .free || slot.state == .damaged || bucketOffset(slot.key) != bucketOffset(key) {
                    place = index
                }
            }
        }
        guard let place else { return }
        var bytes: [UInt8] = []
        bytes.add(entry)
        try write(bytes, at: bucketOffset(key) + place * 4)
    }

    // MARK: Bytes

    private func slotOffset(_ number: Int) -> Int {
        AddressBlock.headerSize + bucketCount * AddressBlock.bucketSize + number * AddressSlot.size
    }

    /// Bytes of the file; zeros beyond its end.
    private func read(at offset: Int, count: Int) throws(SystemError) -> [UInt8] {
        var bytes = [UInt8](repeating: 0, count: count)
        while pread(fd, &bytes, count, off_t(offset)) < 0 {
            guard errno == EINTR else { throw SystemError.last("read \(path)") }
        }
        return bytes
    }

    private func write(_ bytes: [UInt8], at offset: Int) throws(SystemError) {
        while true {
            let count = pwrite(fd, bytes, bytes.count, off_t(offset))
            if count == bytes.count { return }
            if count < 0, errno == EINTR { continue }
            // A full disk: what was written of a slot does not have its sum.
            throw count < 0 ? SystemError.last("write \(path)") : SystemError(ENOSPC, "write \(path)")
        }
    }
}
