/// The header (or trailer) fields of one message: offsets into bytes the table owns.
///
/// Names are stored in lower case. Nothing is allocated per field: both arrays keep their capacity when the table is cleared, so a
/// connection that reuses its table allocates for its largest message only. Every field in a table is well formed (a token as name, no control
/// byte but tab in the value), whoever put it there, so writing a table cannot split a message.
public struct HeaderTable: Sendable {
    /// A run of bytes in the table's storage.
    struct Run: Sendable {
        var start: UInt32
        var count: UInt32
        static let empty = Run(start: 0, count: 0)
        var range: Range<Int> { Int(start)..<(Int(start) &+ Int(count)) }
    }

    struct Field: Sendable {
        var name: Run
        var value: Run
        var id: HeaderID
        /// Whether the storage reads `name: value` CR LF from the name's start: then it can be written out as it lies there.
        var isLine = false
    }

    /// Shared by copies until one of them changes (`own`); nil while nothing was ever stored.
    private var storage: HeaderStorage?
    /// What `storage` owns: alive as long as this table holds that.
    private(set) nonisolated(unsafe) var memory: UnsafeMutablePointer<HeaderMemory>?

    /// All stored bytes, those of removed fields included.
    var bytes: RawSpan {
        @_lifetime(borrow self)
        @inline(__always) get {
            guard let memory else { return RawSpan() }
            return _overrideLifetime(
                UnsafeRawBufferPointer(start: memory.pointee.bytes, count: memory.pointee.byteCount).bytes,
                borrowing: self)
        }
    }

    var fields: Span<Field> {
        @_lifetime(borrow self)
        @inline(__always) get {
            guard let memory else { return Span() }
            return _overrideLifetime(
                UnsafeBufferPointer(start: memory.pointee.fields, count: memory.pointee.fieldCount).span,
                borrowing: self)
        }
    }

    /// Which ids may be present: one stays when its field is removed, so only its absence says something.
    var presence: HeaderIDSet { memory?.pointee.presence ?? HeaderIDSet() }

    /// What it stores, in memory that nobody else reads now, with room for so many bytes more.
    @inline(__always)
    mutating func own(room: Int = 0) -> UnsafeMutablePointer<HeaderMemory> {
        if isKnownUniquelyReferenced(&storage), let memory {
            if memory.pointee.byteCapacity &- memory.pointee.byteCount < room { memory.pointee.grow(by: room) }
            return memory
        }
        return replaceStorage(room: room)
    }

    @inline(never)
    private mutating func replaceStorage(room: Int) -> UnsafeMutablePointer<HeaderMemory> {
        let fresh = HeaderStorage(copying: memory, room: room)
        storage = fresh
        memory = fresh.memory
        return fresh.memory
    }

    /// An empty table.
    public init() {}

    /// How many fields there are.
    public var count: Int { memory?.pointee.fieldCount ?? 0 }

    /// Bytes of storage it holds, used or not.
    public var storageBytes: Int { memory?.pointee.byteCapacity ?? 0 }

    /// Whether there is no field.
    public var isEmpty: Bool { count == 0 }

    /// The known id of the field at a position.
    public func id(at index: Int) -> HeaderID { fields[index].id }

    /// The lower-case name of the field at a position.
    @_lifetime(borrow self)
    public func name(at index: Int) -> RawSpan { span(fields[index].name) }

    /// The value of the field at a position, without surrounding blanks.
    @_lifetime(borrow self)
    public func value(at index: Int) -> RawSpan { span(fields[index].value) }

    /// The value of the first field with an id.
    @_lifetime(borrow self)
    public func value(_ id: HeaderID) -> RawSpan? {
        guard let index = index(of: id) else { return nil }
        return span(fields[index].value)
    }

    /// What looking a value up needs, without a reference that would be counted: a table that is part of an object would be copied for it.
    public struct Parts {
        let memory: UnsafeMutablePointer<HeaderMemory>?

        /// Whether there is a field with an id.
        @inline(__always)
        public func contains(_ id: HeaderID) -> Bool {
            guard let memory, memory.pointee.presence.contains(id) else { return false }
            return value(of: id) != nil
        }

        /// The value of the first field with an id, good as long as nobody changes or drops the table.
        public func value(of id: HeaderID) -> UnsafeRawBufferPointer? {
            guard let memory, memory.pointee.presence.contains(id) else { return nil }
            for index in 0..<memory.pointee.fieldCount where memory.pointee.fields[index].id == id {
                return memory.pointee.run(memory.pointee.fields[index].value)
            }
            return nil
        }

        /// The value of the first field with a name in lower case, good as long as nobody changes or drops the table.
        public func value(named name: RawSpan) -> UnsafeRawBufferPointer? {
            guard let memory else { return nil }
            for index in 0..<memory.pointee.fieldCount {
                let field = memory.pointee.fields[index]
                let isMeant = name.withUnsafeBytes { wanted in
                    wanted.count == Int(field.name.count) && wanted.elementsEqual(memory.pointee.run(field.name))
                }
                if isMeant { return memory.pointee.run(field.value) }
            }
            return nil
        }
    }

    /// What it consists of now.
    public var parts: Parts { @inline(__always) get { Parts(memory: memory) } }

    /// All stored bytes, good as long as nobody changes or drops the table.
    var unsafeBytes: UnsafeRawBufferPointer {
        @inline(__always) get {
            UnsafeRawBufferPointer(start: memory?.pointee.bytes, count: memory?.pointee.byteCount ?? 0)
        }
    }

    /// The position of the first field with an id, at or after a position.
    public func index(of id: HeaderID, from start: Int = 0) -> Int? {
        guard let memory, memory.pointee.presence.contains(id) else { return nil }
        let fields = fields
        var index = start
        while index < fields.count {
            if fields[index].id == id { return index }
            index &+= 1
        }
        return nil
    }

    /// The position of the first field with a name, in whatever case, at or after a position.
    public func index(named name: RawSpan, from start: Int = 0) -> Int? {
        let fields = fields
        var index = start
        while index < fields.count {
            if ByteScan.equalIgnoringCase(name, span(fields[index].name)) { return index }
            index &+= 1
        }
        return nil
    }

    /// The position of the first field with a name, in whatever case, at or after a position.
    public func index(named name: String, from start: Int = 0) -> Int? {
        index(named: Array(name.utf8).span.bytes, from: start)
    }

    /// Whether a name begins with eight bytes given in lower case.
    public func hasName(beginningWith start: StaticString) -> Bool {
        precondition(start.utf8CodeUnitCount == 8, "eight bytes are compared at once")
        let wanted = UnsafeRawPointer(start.utf8Start).loadUnaligned(as: UInt64.self)
        let (bytes, fields) = (bytes, fields)
        for index in 0..<fields.count {
            let name = fields[index].name
            if name.count >= 8, bytes.unsafeLoadUnaligned(fromByteOffset: Int(name.start), as: UInt64.self) == wanted {
                return true
            }
        }
        return false
    }

    /// Whether there is a field with an id.
    public func contains(_ id: HeaderID) -> Bool { index(of: id) != nil }

    /// Whether the value at a position is a word given in lower case, in either case.
    public func value(at index: Int, is word: StaticString) -> Bool {
        ByteScan.equalIgnoringCase(span(fields[index].value), word)
    }

    /// Whether a comma-separated list field has a member, over all fields with that id.
    public func list(_ id: HeaderID, contains word: StaticString) -> Bool {
        var start = 0
        while let index = index(of: id, from: start) {
            let value = span(fields[index].value)
            var low = 0
            while let member = HeaderTable.nextMember(of: value, from: &low) {
                if ByteScan.equalIgnoringCase(value.extracting(member), word) { return true }
            }
            start = index &+ 1
        }
        return false
    }

    /// The next member of a comma-separated list, empty members skipped.
    static func nextMember(of value: RawSpan, from low: inout Int) -> Range<Int>? {
        while low < value.byteCount {
            var high = low
            while high < value.byteCount, ByteScan.byte(value, high) != ASCII.comma { high &+= 1 }
            let member = ByteScan.trimmed(value, low..<high)
            low = high &+ 1
            if !member.isEmpty { return member }
        }
        return nil
    }

    @_lifetime(borrow self)
    @inline(__always)
    func span(_ run: Run) -> RawSpan { bytes.extracting(run.range) }
}

// MARK: Text, for code that is not on the request path

extension HeaderTable {
    /// The first value of a name (any case), as text.
    public subscript(_ name: String) -> String? {
        index(named: name).map { text(span(fields[$0].value)) }
    }

    /// The first value of an id, as text.
    public subscript(_ id: HeaderID) -> String? {
        index(of: id).map { text(span(fields[$0].value)) }
    }

    /// The name at a position, as text.
    public func nameText(at index: Int) -> String { text(name(at: index)) }

    /// The value at a position, as text; bytes that are no UTF-8 are replaced, so decide nothing about safety by it.
    public func valueText(at index: Int) -> String { text(value(at: index)) }

    func text(_ span: RawSpan) -> String { span.withUnsafeBytes { String(decoding: $0, as: UTF8.self) } }
}

// MARK: Changing

extension HeaderTable {
    /// Forgets all fields and keeps the memory.
    public mutating func removeAll() {
        guard let memory else { return }
        if isKnownUniquelyReferenced(&storage) { return memory.pointee.removeAll() }
        storage = nil
        self.memory = nil
    }

    /// Adds a field whose value is written in the program.
    public mutating func append(_ id: HeaderID, constant value: StaticString) {
        let known = UnsafeRawBufferPointer(start: value.utf8Start, count: value.utf8CodeUnitCount).bytes
        assert(HeaderTable.isValue(known), "header value with a control character in the program")
        add(id, known)
    }

    /// Adds a field that many messages have.
    public mutating func append(_ field: borrowing PreparedField) {
        own(room: field.line.count).pointee.appendLine(field)
    }

    /// Adds a UUID in its text form (RFC 9562 §4).
    public mutating func append(_ id: HeaderID, uuid: (high: UInt64, low: UInt64)) {
        var text = InlineArray<36, UInt8>(repeating: UInt8(ascii: "-"))
        var words = text.mutableSpan
        var bytes = words.mutableBytes
        // Groups of 8, 4, 4, 4 and 12 digits.
        let digits = (
            ASCII.hexadecimal(UInt32(truncatingIfNeeded: uuid.high >> 32)),
            ASCII.hexadecimal(UInt32(truncatingIfNeeded: uuid.high)),
            ASCII.hexadecimal(UInt32(truncatingIfNeeded: uuid.low >> 32)),
            ASCII.hexadecimal(UInt32(truncatingIfNeeded: uuid.low))
        )
        bytes.storeBytes(of: digits.0.littleEndian, toByteOffset: 0, as: UInt64.self)
        bytes.storeBytes(of: UInt32(truncatingIfNeeded: digits.1).littleEndian, toByteOffset: 9, as: UInt32.self)
        bytes.storeBytes(of: UInt32(truncatingIfNeeded: digits.1 >> 32).littleEndian, toByteOffset: 14, as: UInt32.self)
        bytes.storeBytes(of: UInt32(truncatingIfNeeded: digits.2).littleEndian, toByteOffset: 19, as: UInt32.self)
        bytes.storeBytes(of: UInt32(truncatingIfNeeded: digits.2 >> 32).littleEndian, toByteOffset: 24, as: UInt32.self)
        bytes.storeBytes(of: digits.3.littleEndian, toByteOffset: 28, as: UInt64.self)
        add(id, text.span.bytes)
    }

    /// Adds a number.
    public mutating func append(_ id: HeaderID, number: Int) {
        var rest = UInt64(clamping: number)
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var first = 20
        repeat {
            first &-= 1
            digits[first] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        add(id, digits.span.bytes.extracting(first..<20))
    }

    /// Adds a field; refuses a value that would not survive being written.
    public mutating func append(_ id: HeaderID, _ value: RawSpan) throws(HTTPFieldError) {
        let kept = ByteScan.trimmed(value, 0..<value.byteCount)
        guard HeaderTable.isValue(value.extracting(kept)) else { throw HTTPFieldError(.value) }
        add(id, value.extracting(kept))
    }

    /// Adds a field; refuses a name or value that would not survive being written.
    public mutating func append(_ name: RawSpan, _ value: RawSpan) throws(HTTPFieldError) {
        guard HeaderTable.isName(name) else { throw HTTPFieldError(.name) }
        let kept = ByteScan.trimmed(value, 0..<value.byteCount)
        guard HeaderTable.isValue(value.extracting(kept)) else { throw HTTPFieldError(.value) }
        let memory = own(room: name.byteCount &+ kept.count &+ HeaderMemory.lineBytes)
        let start = memory.pointee.byteCount
        memory.pointee.appendLine(name, value.extracting(kept), .other)
        let stored = memory.pointee.bytes
        for position in start..<(start &+ name.byteCount) { stored[position] = ASCII.lowercase(stored[position]) }
        let id = HeaderID.of(lowercased: bytes.extracting(start..<(start &+ name.byteCount)))
        if id != .other { memory.pointee.nameLast(id) }
    }

    /// Adds a field that came by HTTP/2, as a line that HTTP/1 can write as it lies there.
    ///
    /// Refuses upper case in the name and blanks around the value, which HTTP/2 has not (RFC 9113 §8.2.1).
    ///
    /// - Parameter id: What `HeaderID.of(lowercased:)` says of the name.
    mutating func appendLine(_ name: RawSpan, _ value: RawSpan, _ id: HeaderID) throws(HTTPFieldError) {
        // A name that is known is well formed.
        if id == .other, !HeaderTable.isLowercaseName(name) { throw HTTPFieldError(.name) }
        let count = value.byteCount
        if count > 0 {
            guard !ASCII.isBlank(ByteScan.byte(value, 0)), !ASCII.isBlank(ByteScan.byte(value, count &- 1)),
                HeaderTable.isValue(value)
            else { throw HTTPFieldError(.value) }
        }
        own(room: name.byteCount &+ count &+ HeaderMemory.lineBytes).pointee.appendLine(name, value, id)
    }

    /// Makes one `cookie` field of those that HTTP/2 cuts it into (RFC 9113 §8.2.3).
    mutating func joinCookies() {
        guard let first = index(of: .cookie), let second = index(of: .cookie, from: first &+ 1) else { return }
        var joined = [UInt8](copying: value(at: first))
        var next: Int? = second
        while let index = next {
            joined.append("; ")
            joined.append(span: value(at: index))
            next = self.index(of: .cookie, from: index &+ 1)
        }
        remove(.cookie)
        add(.cookie, joined.span.bytes)
    }

    /// Adds a field given as text.
    public mutating func append(_ name: String, _ value: String) throws(HTTPFieldError) {
        try append(Array(name.utf8).span.bytes, Array(value.utf8).span.bytes)
    }

    /// Adds a field given as text.
    public mutating func append(_ id: HeaderID, _ value: String) throws(HTTPFieldError) {
        try append(id, Array(value.utf8).span.bytes)
    }

    /// Adds a copy of another table's field.
    public mutating func append(fieldAt index: Int, of other: borrowing HeaderTable) {
        let field = other.fields[index]
        own(room: Int(field.name.count) &+ Int(field.value.count) &+ HeaderMemory.lineBytes)
            .pointee.appendLine(other.span(field.name), other.span(field.value), field.id)
    }

    /// Replaces all fields of an id by one.
    public mutating func set(_ id: HeaderID, _ value: RawSpan) throws(HTTPFieldError) {
        let kept = ByteScan.trimmed(value, 0..<value.byteCount)
        guard HeaderTable.isValue(value.extracting(kept)) else { throw HTTPFieldError(.value) }
        remove(id)
        add(id, value.extracting(kept))
    }

    /// Replaces all fields of an id by one given as text.
    public mutating func set(_ id: HeaderID, _ value: String) throws(HTTPFieldError) {
        try set(id, Array(value.utf8).span.bytes)
    }

    /// Replaces all fields of a name by one given as text.
    public mutating func set(_ name: String, _ value: String) throws(HTTPFieldError) {
        remove(named: name)
        try append(name, value)
    }

    /// Removes all fields of an id.
    public mutating func remove(_ id: HeaderID) {
        if contains(id) { own().pointee.removeFields { $0.id == id } }
    }

    /// Removes all fields of several ids; a table that never had one of them is not looked through.
    public mutating func remove(_ ids: HeaderIDSet) {
        guard let memory, memory.pointee.presence.intersects(ids) else { return }
        own().pointee.removeFields { $0.id != .other && ids.contains($0.id) }
    }

    /// Removes all fields of a name, in whatever case.
    public mutating func remove(named name: RawSpan) {
        var index = 0
        while let found = self.index(named: name, from: index) {
            remove(at: found)
            index = found
        }
    }

    /// Removes all fields of a name, in whatever case.
    public mutating func remove(named name: String) { remove(named: Array(name.utf8).span.bytes) }

    /// Removes the field at a position.
    public mutating func remove(at index: Int) { own().pointee.removeField(at: index) }

    /// Removes what belongs to one connection and must not be forwarded (RFC 9110 §7.6.1): `Connection` and the fields it
    /// names, `Keep-Alive`, `Proxy-Connection`, `Transfer-Encoding`, `Upgrade`, and `TE` unless it says `trailers`.
    public mutating func removeHopByHopFields() {
        guard let memory, memory.pointee.presence.intersects(Self.hopByHop) else { return }
        // Names listed in Connection first, while the list is still there.
        var start = 0
        while let index = index(of: .connection, from: start) {
            let value = fields[index].value
            start = index &+ 1
            var low = 0
            while let member = HeaderTable.nextMember(of: span(value), from: &low) {
                let name = Run(start: value.start &+ UInt32(member.lowerBound), count: UInt32(member.count))
                markRemoved(named: name)
            }
        }
        let keepsTE = index(of: .te).map { value(at: $0, is: "trailers") } ?? false
        own().pointee.removeFields { field in
            switch field.id {
            case .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade: true
            case .te: !keepsTE
            default: field.name.count == 0
            }
        }
    }

    private static let hopByHop = HeaderIDSet([
        .connection, .keepAlive, .proxyConnection, .transferEncoding, .upgrade, .te,
    ])

    /// Empties the names of the fields that a member of `Connection` lists, for `removeHopByHopFields` to drop.
    private mutating func markRemoved(named name: Run) {
        let memory = own()
        for index in 0..<memory.pointee.fieldCount {
            switch memory.pointee.fields[index].id {
            case .connection, .te: continue  // Handled by their own rules.
            case .contentLength, .host: continue  // Naming these would let a peer change framing or authority.
            default: break
            }
            if ByteScan.equalIgnoringCase(span(name), span(memory.pointee.fields[index].name)) {
                memory.pointee.fields[index].name = .empty
            }
        }
    }

    private mutating func add(_ id: HeaderID, _ value: RawSpan) {
        precondition(id != .other, "HeaderID.other has no name")
        let name = id.name
        own(room: name.utf8CodeUnitCount &+ value.byteCount &+ HeaderMemory.lineBytes).pointee.appendLine(
            UnsafeRawBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount).bytes, value, id)
    }

    /// Copies bytes into the storage.
    mutating func store(_ value: RawSpan) -> Run {
        let memory = own(room: value.byteCount)
        let start = memory.pointee.byteCount
        memory.pointee.append(value)
        return Run(start: UInt32(start), count: UInt32(value.byteCount))
    }

    static func isValue(_ value: RawSpan) -> Bool {
        ByteScan.firstControl(in: value, from: 0, to: value.byteCount) == value.byteCount
    }

    static func isLowercaseName(_ name: RawSpan) -> Bool {
        guard name.byteCount > 0 else { return false }
        for position in 0..<name.byteCount {
            let byte = ByteScan.byte(name, position)
            if !ASCII.isToken(byte) || byte &- 0x41 < 26 { return false }
        }
        return true
    }

    static func isName(_ name: RawSpan) -> Bool {
        guard name.byteCount > 0 else { return false }
        for position in 0..<name.byteCount where !ASCII.isToken(ByteScan.byte(name, position)) { return false }
        return true
    }
}

/// A field that cannot be put into a message.
public struct HTTPFieldError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Which part is malformed.
    public enum Part: String, Sendable {
        /// The name is no token.
        case name
        /// The value has a control character.
        case value
    }
    /// Which part is malformed.
    public var part: Part

    init(_ part: Part) { self.part = part }

    /// What is wrong and what to do.
    public var description: String {
        switch part {
        case .name: "header field name is not a token (letters, digits and !#$%&'*+-.^_`|~); rename it"
        case .value: "header field value has a control character (CR, LF, NUL…); remove it"
        }
    }
}

extension [UInt8] {
    fileprivate init(copying span: RawSpan) {
        self = span.withUnsafeBytes { [UInt8]($0) }
    }

    /// Appends the bytes of a span.
    mutating func append(span: RawSpan) {
        guard span.byteCount > 0 else { return }
        span.withUnsafeBytes { append(contentsOf: $0) }
    }

    mutating func append(_ text: StaticString) {
        append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Appends a number that is not negative, in decimal.
    mutating func append(decimal number: Int) {
        var rest = UInt64(clamping: number)
        var digits = InlineArray<20, UInt8>(repeating: 0)
        var used = 0
        repeat {
            digits[used] = 0x30 &+ UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
            used &+= 1
        } while rest > 0
        while used > 0 {
            used &-= 1
            append(digits[used])
        }
    }

    mutating func append(hexadecimal number: Int) {
        let value = UInt64(clamping: number)
        var shift = Swift.max(0, (63 - value.leadingZeroBitCount) / 4 * 4)
        while shift >= 0 {
            let digit = UInt8(truncatingIfNeeded: value >> UInt64(shift)) & 15
            append(digit < 10 ? 0x30 &+ digit : 0x57 &+ digit)
            shift -= 4
        }
    }
}
