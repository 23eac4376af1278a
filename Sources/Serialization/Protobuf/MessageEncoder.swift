/// Writes the fields of messages as wire bytes or as JSON; the counterpart of `MessageDecoder`.
///
/// Fields come in the order of the description and entries of maps in the order of their keys, so equal messages have
/// equal bytes.
public final class MessageEncoder {
    /// Whether JSON is written.
    public var isJSON: Bool { names != nil }
    /// The JSON value written last.
    var json: JSON = .null
    /// The wire bytes so far.
    var bytes: [UInt8] = []
    /// The messages that may stand in an `Any`.
    let registry: MessageRegistry
    let names: FieldNames?

    /// Only the numbers of the fields that are set are wanted, not the fields.
    private var collectsNumbers = false
    private var numbers: [Int] = []

    private var members: [String: JSON] = [:]
    private var schema: MessageSchema?

    init(registry: MessageRegistry, names: FieldNames?) {
        self.registry = registry
        self.names = names
    }

    /// The numbers of the fields of a message that are set, in their order; nothing is written and nothing nested is looked at.
    static func setFields<M: Message>(of message: M) -> [Int] {
        let encoder = MessageEncoder(registry: .none, names: nil)
        encoder.collectsNumbers = true
        message.encodeFields(encoder)
        return encoder.numbers
    }

    private func collect(_ number: Int) -> Bool {
        guard collectsNumbers else { return false }
        if numbers.last != number { numbers.append(number) }
        return true
    }

    /// Writes the fields of a nested message.
    @_semantics("optimize.sil.specialize.generic.never")
    func fields<M: Message>(_ message: M) {
        guard isJSON else { return delimited { message.encodeFields(self) } }
        let outer = (members, schema)
        (members, schema) = ([:], M.schema)
        message.encodeFields(self)
        json = .object(members)
        (members, schema) = outer
    }
}

extension MessageEncoder {
    /// Writes a scalar or enumeration unless it is at its default.
    public func singular<T: FieldValue>(_ number: Int, _ value: T) {
        if value != T() { field(number, value) }
    }

    /// Writes a value that is present.
    public func optional<T: FieldValue>(_ number: Int, _ value: T?) {
        if let value { field(number, value) }
    }

    /// Writes one value, for a member of a oneof.
    public func field<T: FieldValue>(_ number: Int, _ value: T) {
        if collect(number) { return }
        if !isJSON { tag(number, T.wireType) }
        value.encode(self)
        if isJSON { add(number, json) }
    }

    /// Writes a wrapper that is present.
    public func wrapped<T: FieldValue>(_ number: Int, _ value: T?) {
        guard let value, !collect(number) else { return }
        guard !isJSON else { return field(number, value) }
        tag(number, .delimited)
        delimited { singular(1, value) }
    }

    /// Writes a repeated field; numbers are packed.
    public func repeated<T: FieldValue>(_ number: Int, _ values: [T]) {
        guard !values.isEmpty, !collect(number) else { return }
        if isJSON {
            var elements: [JSON] = []
            for value in values {
                value.encode(self)
                elements.append(json)
            }
            add(number, .array(elements))
        } else if T.wireType != .delimited {
            tag(number, .delimited)
            delimited { for value in values { value.encode(self) } }
        } else {
            for value in values { field(number, value) }
        }
    }

    /// Writes a map.
    @_semantics("optimize.sil.specialize.generic.never")
    public func map<K: FieldValue, V: FieldValue>(_ number: Int, _ entries: [K: V]) {
        guard !entries.isEmpty, !collect(number) else { return }
        let sorted = entries.map { ($0.key.mapKey, $0.key, $0.value) }.sorted { $0.0 < $1.0 }
        if isJSON {
            var object: [String: JSON] = [:]
            for (name, _, value) in sorted {
                value.encode(self)
                object[name] = json
            }
            add(number, .object(object))
        } else {
            for (_, key, value) in sorted {
                tag(number, .delimited)
                delimited {
                    field(1, key)
                    field(2, value)
                }
            }
        }
    }

    /// Writes a `google.protobuf.Struct`, `Value` or `ListValue` that is present.
    public func dynamic(_ number: Int, _ value: JSON?, _ kind: DynamicKind) {
        guard let value, !collect(number) else { return }
        if isJSON { return add(number, value) }
        tag(number, .delimited)
        delimited { wireDynamic(value, kind) }
    }

    /// Writes a map from strings to `google.protobuf.Struct`, `Value` or `ListValue`.
    public func dynamicMap(_ number: Int, _ entries: [String: JSON], _ kind: DynamicKind) {
        guard !entries.isEmpty, !collect(number) else { return }
        if isJSON { return add(number, .object(entries)) }
        for key in entries.keys.sorted() {
            tag(number, .delimited)
            delimited {
                field(1, key)
                dynamic(2, entries[key], kind)
            }
        }
    }

    private func add(_ number: Int, _ value: JSON) {
        members[schema?.name(of: number, names ?? .camel) ?? "\(number)"] = value
    }
}

// Wire bytes.
extension MessageEncoder {
    func tag(_ number: Int, _ type: WireType) { varint(UInt64(number) << 3 | UInt64(type.rawValue)) }

    func varint(_ value: UInt64) {
        var rest = value
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        bytes.append(UInt8(rest))
    }

    func fixed(_ value: UInt64, _ count: Int) {
        for index in 0..<count { bytes.append(UInt8(truncatingIfNeeded: value >> UInt64(8 * index))) }
    }

    /// Writes what `body` writes, after its length.
    func delimited(_ body: () -> Void) {
        let start = bytes.count
        bytes.append(0)
        body()
        let length = bytes.count - start - 1
        guard length >= 0x80 else {
            bytes[start] = UInt8(length)
            return
        }
        // The length takes more than the byte that was left for it: what it stands before makes room.
        let more = (length.bitWidth - length.leadingZeroBitCount + 6) / 7 - 1
        for _ in 0..<more { bytes.append(0) }
        bytes.withUnsafeMutableBytes { bytes in
            let moved = UnsafeMutableRawBufferPointer(rebasing: bytes[(start + 1 + more)...])
            moved.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[(start + 1)..<(start + 1 + length)]))
            var rest = UInt64(length)
            for index in start..<(start + more) {
                bytes[index] = UInt8(truncatingIfNeeded: rest) | 0x80
                rest >>= 7
            }
            bytes[start + more] = UInt8(truncatingIfNeeded: rest)
        }
    }
}
