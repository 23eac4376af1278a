/// A `google.protobuf.Any`: a serialized message together with its type.
public struct AnyMessage: FieldValue, CustomStringConvertible {
    static let prefix = "type.googleapis.com/"

    /// Which message it is, for example `type.googleapis.com/envoy.config.cluster.v3.Cluster`.
    public var typeURL = ""
    /// The bytes of the message.
    public var value: [UInt8] = []

    /// No message.
    public init() {}

    /// A message that is serialized already.
    public init(typeURL: String, value: [UInt8]) {
        self.typeURL = typeURL
        self.value = value
    }

    /// Serializes a message; equal messages give equal values.
    public init<M: Message>(packing message: M) {
        typeURL = M.typeURL
        value = message.serialized()
    }

    /// The full name of the message: what follows the last slash of the type URL.
    public var name: String { typeURL.split(separator: "/").last.map(String.init) ?? "" }

    /// Whether it holds a message of that type.
    public func holds<M: Message>(_ type: M.Type) -> Bool { name == M.schema.name }

    /// The message, which must be of that type.
    public func unpack<M: Message>(as type: M.Type = M.self) throws(MessageError) -> M {
        guard holds(type) else {
            throw MessageError("\(typeURL.isEmpty ? "an empty Any" : typeURL) instead of \(M.typeURL)")
        }
        return try M(serialized: value)
    }

    /// The type URL and the size.
    public var description: String { "\(typeURL) (\(value.count) bytes)" }

    /// A message on the wire.
    public static var wireType: WireType { .delimited }

    /// Reads the two fields; in JSON an object whose `@type` must be in the registry.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> AnyMessage {
        if decoder.isJSON { return try decodeJSON(decoder) }
        var result = AnyMessage()
        let outer = try decoder.enter()
        while let number = try decoder.nextTag() {
            switch number {
            case 1: result.typeURL = try decoder.value()
            case 2: result.value = try decoder.value()
            default: try decoder.skip()
            }
        }
        decoder.leave(outer)
        return try structured(result, decoder) ?? result
    }

    private static func decodeJSON(_ decoder: MessageDecoder) throws(MessageError) -> AnyMessage {
        guard case .object(var members) = decoder.json else { throw decoder.unexpected("an object with \"@type\"") }
        guard let type = members.removeValue(forKey: "@type") else {
            if members.isEmpty { return AnyMessage() }
            throw MessageError("\"@type\" is missing")
        }
        guard case .string(let typeURL) = type else { throw MessageError("expected a string", path: "@type") }
        if let name = typeURL.split(separator: "/").last, structures.contains(String(name)),
            let inner = (members["type_url"] ?? members["typeUrl"])?.string,
            members.keys.allSatisfy({ ["type_url", "typeUrl", "value"].contains($0) }),
            let message = try structured(inner, members["value"], decoder)
        {
            return message
        }
        if let value = try wellKnown(typeURL, members, decoder) { return AnyMessage(typeURL: typeURL, value: value) }
        guard let messageType = decoder.registry.type(of: typeURL) else {
            throw MessageError("unknown type URL \(typeURL)", path: "@type")
        }
        let value = try decoder.nested { () throws(MessageError) in try serialize(messageType, members, decoder) }
        return AnyMessage(typeURL: typeURL, value: value)
    }

    /// Messages that hold another as a structure, with its type beside it.
    private static let structures: Set<String> = ["xds.type.v3.TypedStruct", "udpa.type.v1.TypedStruct"]

    /// The message that a structure with a type stands for; nil where it is none, or its type is not known: then it stays as it is.
    private static func structured(
        _ message: AnyMessage, _ outer: MessageDecoder
    ) throws(MessageError) -> AnyMessage? {
        guard structures.contains(message.name) else { return nil }
        var (typeURL, value) = ("", JSON?.none)
        let decoder = MessageDecoder(bytes: message.value, registry: outer.registry)
        while let number = try decoder.nextTag() {
            switch number {
            case 1: typeURL = try decoder.value()
            case 2: try decoder.dynamic(&value, .structure)
            default: try decoder.skip()
            }
        }
        return try structured(typeURL, value, outer)
    }

    private static func structured(
        _ typeURL: String, _ value: JSON?, _ decoder: MessageDecoder
    ) throws(MessageError) -> AnyMessage? {
        guard let type = decoder.registry.type(of: typeURL) else { return nil }
        let value = value ?? .object([:])
        guard case .object = value else { throw MessageError("expected an object", path: "value") }
        do throws(MessageError) {
            return AnyMessage(typeURL: typeURL, value: try type.init(json: value).serialized())
        } catch {
            throw error.inside("value")
        }
    }

    private static func serialize<M: Message>(
        _ type: M.Type, _ members: [String: JSON], _ decoder: MessageDecoder
    ) throws(MessageError) -> [UInt8] {
        var message = M()
        try decoder.decode(members, &message)
        return message.serialized()
    }

    /// Writes the two fields; in JSON the message itself with `@type`, or its bytes when the type is not known.
    public func encode(_ encoder: MessageEncoder) {
        guard let names = encoder.names else {
            return encoder.delimited {
                encoder.singular(1, typeURL)
                encoder.singular(2, value)
            }
        }
        var members: [String: JSON] = [:]
        if let type = encoder.registry.type(of: typeURL), let message = try? type.init(serialized: value) {
            members = message.json(names: names).object ?? [:]
        } else if let special = Self.wellKnownJSON(self) {
            members = ["value": special]
        } else if !value.isEmpty {
            members = ["value": .string(Base64.encode(value))]
        }
        if !typeURL.isEmpty { members["@type"] = .string(typeURL) }
        encoder.json = .object(members)
    }
}

// The well-known types that have a JSON form of their own stand in an `Any` under the name "value".
extension AnyMessage {
    private static func wellKnown(
        _ typeURL: String, _ members: [String: JSON], _ decoder: MessageDecoder
    ) throws(MessageError) -> [UInt8]? {
        let google = "google.protobuf."
        guard let name = typeURL.split(separator: "/").last, name.hasPrefix(google) else { return nil }
        if name == "google.protobuf.Empty" && members.isEmpty { return [] }
        for key in members.keys where key != "value" { throw MessageError("unknown field", path: key) }
        decoder.json = members["value"] ?? .null
        let encoder = MessageEncoder(registry: decoder.registry, names: nil)
        do throws(MessageError) {
            switch name.dropFirst(google.count) {
            case "Struct": encoder.wireDynamic(try decoder.dynamicValue(.structure), .structure)
            case "Value": encoder.wireDynamic(try decoder.dynamicValue(.value), .value)
            case "ListValue": encoder.wireDynamic(try decoder.dynamicValue(.list), .list)
            case "Duration": return dropLength(try Duration.decode(decoder))
            case "Timestamp": return dropLength(try Timestamp.decode(decoder))
            case "StringValue": encoder.singular(1, try String.decode(decoder))
            case "BytesValue": encoder.singular(1, try [UInt8].decode(decoder))
            case "BoolValue": encoder.singular(1, try Bool.decode(decoder))
            case "UInt32Value": encoder.singular(1, try UInt32.decode(decoder))
            case "UInt64Value": encoder.singular(1, try UInt64.decode(decoder))
            case "Int32Value": encoder.singular(1, try Int32.decode(decoder))
            case "Int64Value": encoder.singular(1, try Int64.decode(decoder))
            case "DoubleValue": encoder.singular(1, try Double.decode(decoder))
            case "FloatValue": encoder.singular(1, try Float.decode(decoder))
            default: return nil
            }
        } catch { throw error.inside("value") }
        return encoder.bytes
    }

    /// The bytes of a message without the length in front.
    private static func dropLength(_ value: some FieldValue) -> [UInt8] {
        let encoder = MessageEncoder(registry: .none, names: nil)
        value.encode(encoder)
        return Array(encoder.bytes.dropFirst())  // These two are shorter than 128 bytes: the length is one byte.
    }

    private static func wellKnownJSON(_ message: AnyMessage) -> JSON? {
        let encoder = MessageEncoder(registry: .none, names: nil)
        encoder.varint(UInt64(message.value.count))
        let decoder = MessageDecoder(bytes: encoder.bytes + message.value, registry: .none)
        switch message.name {
        case "google.protobuf.Struct": return try? decoder.wireDynamic(.structure)
        case "google.protobuf.Value": return try? decoder.wireDynamic(.value)
        case "google.protobuf.ListValue": return try? decoder.wireDynamic(.list)
        case "google.protobuf.Duration": return (try? Duration.decode(decoder)).map { .string(DurationText.write($0)) }
        case "google.protobuf.Timestamp": return (try? Timestamp.decode(decoder)).map { .string($0.description) }
        case "google.protobuf.StringValue": return (try? decoder.wrappedBare(String.self)).map(JSON.string)
        case "google.protobuf.BoolValue": return (try? decoder.wrappedBare(Bool.self)).map(JSON.bool)
        case "google.protobuf.UInt32Value":
            return (try? decoder.wrappedBare(UInt32.self)).map { .integer(Int64($0)) }
        default: return nil
        }
    }
}

extension MessageDecoder {
    /// Reads field 1 of a wrapper whose length comes next.
    fileprivate func wrappedBare<T: FieldValue>(_ type: T.Type) throws(MessageError) -> T {
        let outer = try enter()
        var result = T()
        while let number = try nextTag() {
            if number == 1 { result = try value() } else { try skip() }
        }
        leave(outer)
        return result
    }
}
