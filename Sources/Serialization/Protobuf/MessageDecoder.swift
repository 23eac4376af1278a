/// Reads the fields of messages from wire bytes or from JSON.
///
/// Generated code calls it with a place for each field; which of the two sources there is, only this class and the
/// scalar types know. The functions around whole messages stay generic: a copy of each for each of six hundred messages would take a
/// release build longer than all the rest. Those around a field are specialized: they would ask the runtime for the type of each.
public final class MessageDecoder {
    /// Messages nested deeper than this are refused, on the wire and in JSON, so that recursion has a bound.
    public static let depthMax = 100

    /// Whether the source is JSON.
    public let isJSON: Bool
    /// The JSON value to read next.
    var json: JSON
    /// The messages that may stand in an `Any`.
    let registry: MessageRegistry

    private let bytes: [UInt8]
    private var position = 0
    private var limit: Int
    private var wireType = WireType.varint
    private var depth = 0

    init(bytes: [UInt8], registry: MessageRegistry) {
        isJSON = false
        json = .null
        self.bytes = bytes
        limit = bytes.count
        self.registry = registry
    }

    init(json: JSON, registry: MessageRegistry) {
        isJSON = true
        self.json = json
        bytes = []
        limit = 0
        self.registry = registry
    }

    /// Reads the outermost message: on the wire it has no length.
    @_semantics("optimize.sil.specialize.generic.never")
    func root<M: Message>(_ message: inout M) throws(MessageError) {
        if isJSON { try members(&message) } else { try wireFields(&message) }
    }

    /// Reads the fields of a nested message into `message`.
    @_semantics("optimize.sil.specialize.generic.never")
    func fields<M: Message>(_ message: inout M) throws(MessageError) {
        guard depth < Self.depthMax else { throw MessageError("nested deeper than \(Self.depthMax) levels") }
        depth += 1
        defer { depth -= 1 }
        if isJSON { return try members(&message) }
        let outer = try enter()
        try wireFields(&message)
        limit = outer
    }
}

extension MessageDecoder {
    /// Reads a scalar or enumeration.
    public func singular<T: FieldValue>(_ field: inout T) throws(MessageError) { field = try value() }

    /// Reads a value whose presence matters.
    public func optional<T: FieldValue>(_ field: inout T?) throws(MessageError) { field = try value() }

    /// Reads a message; on the wire a second occurrence is merged into the first.
    public func message<M: Message>(_ field: inout M?) throws(MessageError) {
        var message = field ?? M()
        if !isJSON { try expect(.delimited) }
        try fields(&message)
        field = message
    }

    /// Reads a wrapper (`google.protobuf.UInt32Value` and its kin).
    public func wrapped<T: FieldValue>(_ field: inout T?) throws(MessageError) { field = try wrappedValue() }

    /// Reads one value, for a member of a oneof.
    public func value<T: FieldValue>() throws(MessageError) -> T {
        if !isJSON { try expect(T.wireType) }
        return try T.decode(self)
    }

    /// Reads one wrapped value, for a member of a oneof.
    public func wrappedValue<T: FieldValue>() throws(MessageError) -> T {
        if isJSON { return try T.decode(self) }
        try expect(.delimited)
        let outer = try enter()
        var result = T()
        while let number = try nextTag() {
            if number == 1 { result = try value() } else { try skip() }
        }
        limit = outer
        return result
    }

    /// Refuses a second member of a oneof in JSON; on the wire the last one counts.
    public func exclusive(_ isFree: Bool) throws(MessageError) {
        if isJSON && !isFree { throw MessageError("another field of the same oneof is set") }
    }

    /// Reads a repeated field: all of it in JSON, the next element or a packed run on the wire.
    ///
    /// One value in JSON is a list of one, as protobuf's own parser takes it and Envoy with it.
    public func repeated<T: FieldValue>(_ field: inout [T]) throws(MessageError) {
        if isJSON {
            guard case .array(let elements) = json else { return field.append(try T.decode(self)) }
            field.reserveCapacity(elements.count)
            for (index, element) in elements.enumerated() {
                json = element
                do throws(MessageError) { field.append(try T.decode(self)) } catch { throw error.inside("[\(index)]") }
            }
        } else if wireType == .delimited && T.wireType != .delimited {
            let outer = try enter()
            wireType = T.wireType
            while position < limit { field.append(try T.decode(self)) }
            limit = outer
        } else {
            do throws(MessageError) { field.append(try value()) } catch { throw error.inside("[\(field.count)]") }
        }
    }

    /// Reads a map: all of it in JSON, one entry on the wire.
    @_semantics("optimize.sil.specialize.generic.never")
    public func map<K: FieldValue, V: FieldValue>(_ field: inout [K: V]) throws(MessageError) {
        if isJSON {
            guard case .object(let members) = json else { throw unexpected("an object") }
            for name in members.keys.sorted() {
                guard let key = K(mapKey: name) else { throw MessageError("\"\(name)\" is no key of this map") }
                json = members[name] ?? .null
                do throws(MessageError) { field[key] = try V.decode(self) } catch { throw error.inside(name) }
            }
            return
        }
        try expect(.delimited)
        let outer = try enter()
        var key = K()
        var value: V?
        while let number = try nextTag() {
            switch number {
            case 1: key = try self.value()
            case 2: value = try self.value()
            default: try skip()
            }
        }
        limit = outer
        field[key] = value ?? V()
    }

    /// Reads a `google.protobuf.Struct`, `Value` or `ListValue`.
    public func dynamic(_ field: inout JSON?, _ kind: DynamicKind) throws(MessageError) {
        field = try dynamicValue(kind)
    }

    /// Reads a `google.protobuf.Struct`, `Value` or `ListValue`, for a member of a oneof.
    public func dynamicValue(_ kind: DynamicKind) throws(MessageError) -> JSON {
        if isJSON {
            switch (kind, json) {
            case (.value, _), (.structure, .object), (.list, .array): return json
            default: throw unexpected(kind == .list ? "a list" : "an object")
            }
        }
        try expect(.delimited)
        return try wireDynamic(kind)
    }

    /// Reads a map from strings to `google.protobuf.Struct`, `Value` or `ListValue`.
    public func dynamicMap(_ field: inout [String: JSON], _ kind: DynamicKind) throws(MessageError) {
        if isJSON {
            guard case .object(let members) = json else { throw unexpected("an object") }
            for name in members.keys.sorted() {
                json = members[name] ?? .null
                do throws(MessageError) { field[name] = try dynamicValue(kind) } catch { throw error.inside(name) }
            }
            return
        }
        try expect(.delimited)
        let outer = try enter()
        var key = ""
        var value = JSON.object([:])
        while let number = try nextTag() {
            switch number {
            case 1: key = try self.value()
            case 2: value = try dynamicValue(kind)
            default: try skip()
            }
        }
        leave(outer)
        field[key] = value
    }

    /// Passes over a field of unknown number (on the wire only: in JSON it is refused before).
    public func unknown() throws(MessageError) { try skip() }

    /// What to say when the JSON value is of the wrong kind.
    func unexpected(_ wanted: String) -> MessageError {
        let found =
            switch json {
            case .null: "null"
            case .bool: "a boolean"
            case .integer, .number: "a number"
            case .string: "a string"
            case .array: "a list"
            case .object: "an object"
            }
        return MessageError("expected \(wanted), found \(found)")
    }
}

// JSON.
extension MessageDecoder {
    @_semantics("optimize.sil.specialize.generic.never")
    private func members<M: Message>(_ message: inout M) throws(MessageError) {
        guard case .object(let members) = json else { throw unexpected("an object") }
        try decode(members, &message)
    }

    /// Reads the fields of a message from the members of an object; `@type` has been taken out of it.
    @_semantics("optimize.sil.specialize.generic.never")
    func decode<M: Message>(_ members: [String: JSON], _ message: inout M) throws(MessageError) {
        let schema = M.schema
        // Of several errors it is always the same that is told. Most objects of a large file have one member.
        if members.count == 1, let (name, value) = members.first {
            guard let number = schema.number(of: name) else { throw MessageError("unknown field", path: name) }
            return try decode(number, name, value, &message)
        }
        var seen: Set<Int> = []
        for (name, value) in members.sorted(by: { $0.key < $1.key }) {
            guard let number = schema.number(of: name) else { throw MessageError("unknown field", path: name) }
            guard seen.insert(number).inserted else { throw MessageError("given twice", path: name) }
            try decode(number, name, value, &message)
        }
    }

    @_semantics("optimize.sil.specialize.generic.never")
    private func decode<M: Message>(
        _ number: Int, _ name: String, _ value: JSON, _ message: inout M
    ) throws(MessageError) {
        // In proto3 JSON null is an absent field.
        if case .null = value { return }
        json = value
        do throws(MessageError) { try message.decodeField(number, self) } catch { throw error.inside(name) }
    }
}

// Wire bytes.
extension MessageDecoder {
    @_semantics("optimize.sil.specialize.generic.never")
    private func wireFields<M: Message>(_ message: inout M) throws(MessageError) {
        while let number = try nextTag() {
            do throws(MessageError) {
                try message.decodeField(number, self)
            } catch {
                throw error.inside(M.schema.name(of: number, .proto))
            }
        }
    }

    /// Reads a length and makes its end the limit; returns the limit to go back to.
    func enter() throws(MessageError) -> Int {
        let length = try varint()
        guard length <= UInt64(limit - position) else { throw MessageError("length \(length) beyond the end") }
        let outer = limit
        limit = position + Int(length)
        return outer
    }

    func leave(_ outer: Int) { limit = outer }

    /// The field number of the next tag; nil at the end of this message.
    func nextTag() throws(MessageError) -> Int? {
        guard position < limit else { return nil }
        let tag = try varint()
        guard tag >> 3 >= 1, tag >> 3 <= 536_870_911 else { throw MessageError("field number \(tag >> 3)") }
        guard let type = WireType(rawValue: UInt8(tag & 7)) else { throw MessageError("wire type \(tag & 7)") }
        wireType = type
        return Int(tag >> 3)
    }

    func expect(_ type: WireType) throws(MessageError) {
        guard wireType == type else { throw MessageError("wire type \(wireType.rawValue) instead of \(type.rawValue)") }
    }

    func skip() throws(MessageError) {
        switch wireType {
        case .varint: _ = try varint()
        case .fixed64: _ = try fixed(8)
        case .fixed32: _ = try fixed(4)
        case .delimited:
            let outer = try enter()
            position = limit
            limit = outer
        }
    }

    func varint() throws(MessageError) -> UInt64 {
        var result: UInt64 = 0
        var shift: UInt64 = 0
        while position < limit {
            let byte = bytes[position]
            position += 1
            if shift == 63 && byte > 1 { throw MessageError("integer of more than 64 bits") }
            result |= UInt64(byte & 0x7F) << shift
            if byte < 0x80 { return result }
            shift += 7
        }
        throw MessageError("the bytes end inside an integer")
    }

    func fixed(_ count: Int) throws(MessageError) -> UInt64 {
        guard limit - position >= count else { throw MessageError("the bytes end inside a number") }
        var result: UInt64 = 0
        for index in 0..<count { result |= UInt64(bytes[position + index]) << UInt64(8 * index) }
        position += count
        return result
    }

    func delimited() throws(MessageError) -> ArraySlice<UInt8> {
        let outer = try enter()
        defer { limit = outer }
        defer { position = limit }
        return bytes[position..<limit]
    }

    /// Runs `body` one level deeper; for the messages that are not generated.
    func nested<T>(_ body: () throws(MessageError) -> T) throws(MessageError) -> T {
        guard depth < Self.depthMax else { throw MessageError("nested deeper than \(Self.depthMax) levels") }
        depth += 1
        defer { depth -= 1 }
        return try body()
    }
}
