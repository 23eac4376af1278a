/// A `fixed32`: a number that takes four bytes on the wire.
public struct Fixed32: FieldValue, RawRepresentable, ExpressibleByIntegerLiteral {
    /// The number.
    public var rawValue: UInt32
    /// The number.
    public init(rawValue: UInt32) { self.rawValue = rawValue }
    /// The number.
    public init(integerLiteral value: UInt32) { rawValue = value }
    /// Zero.
    public init() { rawValue = 0 }

    /// Four bytes.
    public static var wireType: WireType { .fixed32 }
    /// Reads a number.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Fixed32 {
        if decoder.isJSON { return Fixed32(rawValue: try UInt32.decode(decoder)) }
        return Fixed32(rawValue: UInt32(truncatingIfNeeded: try decoder.fixed(4)))
    }
    /// Writes the number.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { rawValue.encode(encoder) } else { encoder.fixed(UInt64(rawValue), 4) }
    }
}

/// A `fixed64`: a number that takes eight bytes on the wire.
public struct Fixed64: FieldValue, RawRepresentable, ExpressibleByIntegerLiteral {
    /// The number.
    public var rawValue: UInt64
    /// The number.
    public init(rawValue: UInt64) { self.rawValue = rawValue }
    /// The number.
    public init(integerLiteral value: UInt64) { rawValue = value }
    /// Zero.
    public init() { rawValue = 0 }

    /// Eight bytes.
    public static var wireType: WireType { .fixed64 }
    /// Reads a number.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Fixed64 {
        if decoder.isJSON { return Fixed64(rawValue: try UInt64.decode(decoder)) }
        return Fixed64(rawValue: try decoder.fixed(8))
    }
    /// Writes the number; proto3 JSON has 64-bit numbers as strings.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { rawValue.encode(encoder) } else { encoder.fixed(rawValue, 8) }
    }
}
