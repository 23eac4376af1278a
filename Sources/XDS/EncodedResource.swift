import EnvoyAPI
public import Serialization

/// One resource of one version, encoded once for all streams that it is sent on.
///
/// Equality of versions stands for equality of content; the object itself may exist twice.
public final class EncodedResource: Sendable {
    /// The name that subscribers ask for.
    public let name: String
    /// Its version; a resource is sent again when this changes.
    public let version: String
    /// The type of the message.
    public let typeURL: String
    /// The fields of a `envoy.service.discovery.v3.Resource`, the body last.
    let fields: [UInt8]
    /// Where the field `resource` (number 2) begins: from there it is also the field `resources` of a state-of-the-world response.
    let bodyOffset: Int
    private let valueBytes: Int

    /// Encodes a message under a name; `aliases` are further names that it answers (VHDS).
    public init(name: String, version: String, message: AnyMessage, aliases: [String] = []) {
        self.name = name
        self.version = version
        typeURL = message.typeURL
        var fields: [UInt8] = []
        fields.reserveCapacity(message.value.count + message.typeURL.utf8.count + name.utf8.count + 64)
        fields.appendField(3, name)
        fields.appendField(1, version)
        for alias in aliases { fields.appendField(4, alias) }
        bodyOffset = fields.count
        let typeBytes = message.typeURL.utf8.count
        let inner =
            1 + WireBytes.varintBytes(typeBytes) + typeBytes
            + (message.value.isEmpty ? 0 : 1 + WireBytes.varintBytes(message.value.count) + message.value.count)
        fields.appendTag(2, bytes: inner)
        fields.appendField(1, message.typeURL)
        if !message.value.isEmpty { fields.appendField(2, message.value) }
        self.fields = fields
        valueBytes = message.value.count
    }

    /// A resource whose version is a hash of its bytes: what did not change is not sent, whoever made it.
    public convenience init(name: String, message: AnyMessage, aliases: [String] = []) {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325  // FNV-1a. Not against adversaries: only our own messages come here.
        func mix(_ byte: UInt8) { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        for byte in message.value { mix(byte) }
        for alias in aliases { alias.utf8.forEach(mix) }
        self.init(name: name, version: String(hash, radix: 16), message: message, aliases: aliases)
    }

    /// The message.
    public var message: AnyMessage { AnyMessage(typeURL: typeURL, value: Array(fields.suffix(valueBytes))) }

    /// The bytes that it takes in a response.
    public var count: Int { fields.count }
}

/// The little of the wire format that responses are put together from.
enum WireBytes {
    static func varintBytes(_ value: Int) -> Int {
        var rest = UInt64(clamping: value) >> 7
        var count = 1
        while rest > 0 {
            rest >>= 7
            count += 1
        }
        return count
    }
}

extension [UInt8] {
    mutating func appendVarint(_ value: Int) {
        var rest = UInt64(clamping: value)
        while rest >= 0x80 {
            append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        append(UInt8(truncatingIfNeeded: rest))
    }

    /// The tag of a delimited field (numbers below 16) and its length.
    mutating func appendTag(_ number: UInt8, bytes: Int) {
        append(number << 3 | 2)
        appendVarint(bytes)
    }

    mutating func appendField(_ number: UInt8, _ text: String) {
        appendTag(number, bytes: text.utf8.count)
        append(contentsOf: text.utf8)
    }

    mutating func appendField(_ number: UInt8, _ bytes: [UInt8]) {
        appendTag(number, bytes: bytes.count)
        append(contentsOf: bytes)
    }
}
