/// A value that can be one field of a message: a scalar, an enumeration or a message.
public protocol FieldValue: Hashable, Sendable {
    /// The proto3 default.
    init()
    /// How the value looks on the wire.
    static var wireType: WireType { get }
    /// Reads the value at which the decoder stands.
    static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Self
    /// Writes the bare value, without its tag or name.
    func encode(_ encoder: MessageEncoder)
    /// This value as the name of a JSON member, when it is the key of a map.
    var mapKey: String { get }
    /// The key of a map read from the name of a JSON member.
    init?(mapKey: String)
}

extension FieldValue {
    /// Only scalars are keys of maps.
    public var mapKey: String { "\(self)" }
    /// Only scalars are keys of maps.
    public init?(mapKey: String) { return nil }
}

/// The wire types of protobuf.
public enum WireType: UInt8, Sendable {
    /// An integer of variable length.
    case varint = 0
    /// Eight bytes, little endian.
    case fixed64 = 1
    /// A length and that many bytes.
    case delimited = 2
    /// Four bytes, little endian.
    case fixed32 = 5
}

/// A protobuf message: plain data with one description for the wire and for JSON.
public protocol Message: FieldValue {
    /// The names of the message and its fields.
    static var schema: MessageSchema { get }
    /// The messages that may stand in an `Any` inside this one.
    static var registry: MessageRegistry { get }
    /// Reads the field with that number from the place where the decoder stands.
    mutating func decodeField(_ number: Int, _ decoder: MessageDecoder) throws(MessageError)
    /// Writes all fields that are not at their default.
    func encodeFields(_ encoder: MessageEncoder)
}

extension Message {
    /// The type URL, for example `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
    public static var typeURL: String { schema.typeURL }

    /// The message that these bytes stand for.
    public init(serialized bytes: [UInt8]) throws(MessageError) {
        self.init()
        try MessageDecoder(bytes: bytes, registry: Self.registry).root(&self)
    }

    /// The message that this proto3 JSON stands for; unknown fields are refused.
    public init(json: JSON) throws(MessageError) {
        try self.init(json: json, registry: Self.registry)
    }

    /// The message that this JSON stands for, with its own table of what may stand in an `Any`.
    public init(json: JSON, registry: MessageRegistry) throws(MessageError) {
        self.init()
        try MessageDecoder(json: json, registry: registry).root(&self)
    }

    /// The numbers of the fields that are set, in the order of the description.
    public var setFields: [Int] { MessageEncoder.setFields(of: self) }

    /// The bytes on the wire; equal messages have equal bytes.
    public func serialized() -> [UInt8] {
        let encoder = MessageEncoder(registry: Self.registry, names: nil)
        encodeFields(encoder)
        return encoder.bytes
    }

    /// The message as proto3 JSON.
    public var json: JSON { json(names: .camel) }

    /// The message as proto3 JSON with those names of fields.
    public func json(names: FieldNames) -> JSON {
        let encoder = MessageEncoder(registry: Self.registry, names: names)
        encode(encoder)
        return encoder.json
    }

    /// Messages are length delimited.
    public static var wireType: WireType { .delimited }

    /// Reads a whole message.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Self {
        var message = Self()
        try decoder.fields(&message)
        return message
    }

    /// Writes a whole message.
    public func encode(_ encoder: MessageEncoder) { encoder.fields(self) }
}

/// A protobuf enumeration; numbers without a name are kept.
public protocol EnumValue: FieldValue {
    /// The names of the values.
    static var schema: EnumSchema { get }
    /// The value with that number.
    init(rawValue: Int32)
    /// The number.
    var rawValue: Int32 { get }
}

extension EnumValue {
    /// The value with number 0.
    public init() { self.init(rawValue: 0) }

    /// The name in the .proto file, or the number.
    public var protoName: String { Self.schema.name(of: rawValue) ?? "\(rawValue)" }

    /// Enumerations are variable-length integers.
    public static var wireType: WireType { .varint }

    /// Reads a number, or in JSON a name.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Self {
        if decoder.isJSON, case .string(let name) = decoder.json {
            guard let number = schema.number(of: name) else { throw MessageError("unknown value \"\(name)\"") }
            return Self(rawValue: number)
        }
        return Self(rawValue: try Int32.decode(decoder))
    }

    /// Writes the number, or in JSON the name.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON, let name = Self.schema.name(of: rawValue) {
            encoder.json = .string(name)
        } else {
            rawValue.encode(encoder)
        }
    }
}

/// Keeps a field outside the message that has it: large messages would make small ones large, and a message may
/// contain itself.
@propertyWrapper
public struct Indirect<Value: Hashable & Sendable>: Hashable, Sendable {
    // An array, because its size does not depend on the element: a message can then contain itself.
    private var storage: [Value] = []

    /// An absent value.
    public init() {}

    /// The value, if there is one.
    public var wrappedValue: Value? {
        get { storage.first }
        set { storage = if let newValue { [newValue] } else { [] } }
    }
}
