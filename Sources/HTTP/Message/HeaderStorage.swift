/// The bytes and fields of one header table, and of its copies while none of them changes.
///
/// Memory of its own rather than arrays: a head is built by some thirty small appends, each of which would ask an array who else holds it.
// Sendable although it changes: it is written only while one table alone holds it (`HeaderTable.own`), as the standard library's arrays are.
final class HeaderStorage: @unchecked Sendable {
    /// Lies in memory that does not move, so that a table reaches it without counting a reference; this object frees it.
    let memory: UnsafeMutablePointer<HeaderMemory>

    /// A copy of another table's, or an empty one, with room for so many bytes more.
    init(copying other: UnsafeMutablePointer<HeaderMemory>?, room: Int) {
        memory = .allocate(capacity: 1)
        memory.initialize(to: HeaderMemory(copying: other, room: room))
    }

    deinit {
        memory.pointee.free()
        memory.deallocate()
    }
}

/// What a `HeaderStorage` owns.
struct HeaderMemory {
    /// `byteCapacity` bytes, the first `byteCount` of them initialized.
    private(set) var bytes: UnsafeMutablePointer<UInt8>
    private(set) var byteCapacity: Int
    private(set) var byteCount: Int
    /// `fieldCapacity` fields, the first `fieldCount` of them initialized; apart from the bytes, so that a parser may hold these while it adds
    /// a field.
    private(set) var fields: UnsafeMutablePointer<HeaderTable.Field>
    private var fieldCapacity: Int
    private(set) var fieldCount: Int
    private(set) var presence: HeaderIDSet

    /// The bytes of a run, which lies in what is stored.
    @inline(__always)
    func run(_ run: HeaderTable.Run) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(start: bytes, count: byteCount)[run.range])
    }

    /// What a line has besides name and value.
    static var lineBytes: Int { 4 }

    // A usual request and a usual answer fit without growing; both stay below what the C library keeps at hand for a thread.
    private static var bytesAtFirst: Int { 512 }
    private static var fieldsAtFirst: Int { 16 }

    fileprivate init(copying other: UnsafeMutablePointer<HeaderMemory>?, room: Int) {
        byteCount = other?.pointee.byteCount ?? 0
        fieldCount = other?.pointee.fieldCount ?? 0
        presence = other?.pointee.presence ?? HeaderIDSet()
        byteCapacity = max(Self.bytesAtFirst, byteCount + room)
        fieldCapacity = max(Self.fieldsAtFirst, fieldCount)
        bytes = .allocate(capacity: byteCapacity)
        fields = .allocate(capacity: fieldCapacity)
        if let other {
            bytes.initialize(from: other.pointee.bytes, count: byteCount)
            fields.initialize(from: other.pointee.fields, count: fieldCount)
        }
    }

    fileprivate func free() {
        bytes.deallocate()
        fields.deallocate()
    }

    /// Makes room for so many bytes more.
    @inline(never)
    mutating func grow(by room: Int) {
        let capacity = max(byteCapacity * 2, byteCount + room)
        let fresh = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
        fresh.initialize(from: bytes, count: byteCount)
        bytes.deallocate()
        bytes = fresh
        byteCapacity = capacity
    }

    @inline(never)
    private mutating func growFields() {
        let fresh = UnsafeMutablePointer<HeaderTable.Field>.allocate(capacity: fieldCapacity * 2)
        fresh.initialize(from: fields, count: fieldCount)
        fields.deallocate()
        fields = fresh
        fieldCapacity *= 2
    }

    @inline(__always)
    mutating func add(_ field: HeaderTable.Field) {
        if fieldCount == fieldCapacity { growFields() }
        (fields + fieldCount).initialize(to: field)
        fieldCount &+= 1
        presence.insert(field.id)
    }

    /// Appends bytes; there is room for them (`HeaderTable.own`).
    @inline(__always)
    mutating func append(_ source: RawSpan) {
        let count = source.byteCount
        precondition(count <= byteCapacity &- byteCount, "header bytes without room")
        source.withUnsafeBytes { source in
            if let from = source.baseAddress {
                UnsafeMutableRawPointer(bytes + byteCount).copyMemory(from: from, byteCount: count)
            }
        }
        byteCount &+= count
    }

    /// Appends a field as HTTP/1 writes it, `name: value` CR LF; there is room for it (`HeaderTable.own`).
    @inline(__always)
    mutating func appendLine(_ name: RawSpan, _ value: RawSpan, _ id: HeaderID) {
        let start = byteCount
        precondition(
            name.byteCount &+ value.byteCount &+ Self.lineBytes <= byteCapacity &- start, "a header line without room")
        append(name)
        bytes[byteCount] = ASCII.colon
        bytes[byteCount &+ 1] = ASCII.space
        byteCount &+= 2
        let valueStart = byteCount
        append(value)
        bytes[byteCount] = ASCII.carriageReturn
        bytes[byteCount &+ 1] = ASCII.lineFeed
        byteCount &+= 2
        add(
            HeaderTable.Field(
                name: HeaderTable.Run(start: UInt32(start), count: UInt32(name.byteCount)),
                value: HeaderTable.Run(start: UInt32(valueStart), count: UInt32(value.byteCount)), id: id, isLine: true)
        )
    }

    /// Appends a field that was written before; there is room for it (`HeaderTable.own`).
    @inline(__always)
    mutating func appendLine(_ field: borrowing PreparedField) {
        let start = UInt32(byteCount)
        append(field.line.span.bytes)
        add(
            HeaderTable.Field(
                name: HeaderTable.Run(start: start, count: UInt32(field.nameCount)),
                value: HeaderTable.Run(
                    start: start &+ UInt32(field.nameCount &+ 2),
                    count: UInt32(field.line.count &- field.nameCount &- Self.lineBytes)),
                id: field.id, isLine: true))
    }

    /// The last field turns out to have a known name.
    mutating func nameLast(_ id: HeaderID) {
        guard fieldCount > 0 else { return }
        fields[fieldCount &- 1].id = id
        presence.insert(id)
    }

    /// Forgets everything and keeps the memory.
    mutating func removeAll() {
        byteCount = 0
        fieldCount = 0
        presence = HeaderIDSet()
    }

    /// Forgets the bytes from a position on, to which no field refers.
    mutating func truncateBytes(to count: Int) {
        precondition(count >= 0 && count <= byteCount, "header bytes truncated behind their end")
        byteCount = count
    }

    mutating func removeField(at index: Int) {
        precondition(index >= 0 && index < fieldCount, "no header field at this position")
        for position in index..<(fieldCount &- 1) { fields[position] = fields[position &+ 1] }
        fieldCount &-= 1
    }

    @inline(__always)
    mutating func removeFields(where isRemoved: (HeaderTable.Field) -> Bool) {
        var kept = 0
        for index in 0..<fieldCount where !isRemoved(fields[index]) {
            if kept != index { fields[kept] = fields[index] }
            kept &+= 1
        }
        fieldCount = kept
    }
}
