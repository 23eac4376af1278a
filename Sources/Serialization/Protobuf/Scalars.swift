extension String: FieldValue {
    /// Strings are length delimited.
    public static var wireType: WireType { .delimited }

    /// Reads a string; on the wire it must be UTF-8.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> String {
        if decoder.isJSON {
            guard case .string(let text) = decoder.json else { throw decoder.unexpected("a string") }
            return text
        }
        guard let text = String(validating: try decoder.delimited(), as: UTF8.self) else {
            throw MessageError("a string that is not UTF-8")
        }
        return text
    }

    /// Writes the UTF-8 bytes.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON {
            encoder.json = .string(self)
        } else {
            encoder.varint(UInt64(utf8.count))
            encoder.bytes += utf8
        }
    }

    /// The string itself.
    public var mapKey: String { self }
    /// The string itself.
    public init?(mapKey: String) { self = mapKey }
}

extension Array: FieldValue where Element == UInt8 {
    /// Bytes are length delimited.
    public static var wireType: WireType { .delimited }

    /// Reads bytes, in JSON as base64.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> [UInt8] {
        guard decoder.isJSON else { return Array(try decoder.delimited()) }
        guard case .string(let text) = decoder.json else { throw decoder.unexpected("a base64 string") }
        guard let bytes = Base64.decode(text) else { throw MessageError("not base64") }
        return bytes
    }

    /// Writes the bytes, in JSON as base64.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON {
            encoder.json = .string(Base64.encode(self))
        } else {
            encoder.varint(UInt64(count))
            encoder.bytes += self
        }
    }
}

extension Bool: FieldValue {
    /// Booleans are variable-length integers.
    public static var wireType: WireType { .varint }

    /// Reads a boolean.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Bool {
        guard decoder.isJSON else { return try decoder.varint() != 0 }
        guard case .bool(let value) = decoder.json else { throw decoder.unexpected("true or false") }
        return value
    }

    /// Writes a boolean.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { encoder.json = .bool(self) } else { encoder.varint(self ? 1 : 0) }
    }

    /// `true` or `false`.
    public init?(mapKey: String) { self.init(mapKey) }
}

extension Int32: FieldValue {
    /// A variable-length integer.
    public static var wireType: WireType { .varint }
    /// Reads a number; on the wire the low 32 bits count.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Int32 {
        decoder.isJSON ? try integer(decoder) : Int32(truncatingIfNeeded: try decoder.varint())
    }
    /// Writes a number, sign-extended to 64 bits on the wire.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON {
            encoder.json = .integer(Int64(self))
        } else {
            encoder.varint(UInt64(bitPattern: Int64(self)))
        }
    }
    /// A decimal number.
    public init?(mapKey: String) { self.init(mapKey) }
}

extension UInt32: FieldValue {
    /// A variable-length integer.
    public static var wireType: WireType { .varint }
    /// Reads a number; on the wire the low 32 bits count.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> UInt32 {
        decoder.isJSON ? try integer(decoder) : UInt32(truncatingIfNeeded: try decoder.varint())
    }
    /// Writes a number.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { encoder.json = .integer(Int64(self)) } else { encoder.varint(UInt64(self)) }
    }
    /// A decimal number.
    public init?(mapKey: String) { self.init(mapKey) }
}

extension Int64: FieldValue {
    /// A variable-length integer.
    public static var wireType: WireType { .varint }
    /// Reads a number.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Int64 {
        decoder.isJSON ? try integer(decoder) : Int64(bitPattern: try decoder.varint())
    }
    /// Writes a number; proto3 JSON has 64-bit numbers as strings.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { encoder.json = .string("\(self)") } else { encoder.varint(UInt64(bitPattern: self)) }
    }
    /// A decimal number.
    public init?(mapKey: String) { self.init(mapKey) }
}

extension UInt64: FieldValue {
    /// A variable-length integer.
    public static var wireType: WireType { .varint }
    /// Reads a number.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> UInt64 {
        decoder.isJSON ? try integer(decoder) : try decoder.varint()
    }
    /// Writes a number; proto3 JSON has 64-bit numbers as strings.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { encoder.json = .string("\(self)") } else { encoder.varint(self) }
    }
    /// A decimal number.
    public init?(mapKey: String) { self.init(mapKey) }
}

extension Double: FieldValue {
    /// Eight bytes.
    public static var wireType: WireType { .fixed64 }
    /// Reads a number, or in JSON also `"NaN"`, `"Infinity"` and `"-Infinity"`.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Double {
        guard decoder.isJSON else { return Double(bitPattern: try decoder.fixed(8)) }
        return try floating(decoder)
    }
    /// Writes a number.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON { encoder.json = floatingJSON(self) } else { encoder.fixed(bitPattern, 8) }
    }
}

extension Float: FieldValue {
    /// Four bytes.
    public static var wireType: WireType { .fixed32 }
    /// Reads a number, or in JSON also `"NaN"`, `"Infinity"` and `"-Infinity"`.
    public static func decode(_ decoder: MessageDecoder) throws(MessageError) -> Float {
        guard decoder.isJSON else { return Float(bitPattern: UInt32(truncatingIfNeeded: try decoder.fixed(4))) }
        let value = try floating(decoder)
        guard Float(value).isFinite == value.isFinite else { throw MessageError("\(value) is out of range") }
        return Float(value)
    }
    /// Writes a number, in JSON with as many digits as a `Float` has.
    public func encode(_ encoder: MessageEncoder) {
        if encoder.isJSON {
            encoder.json = floatingJSON(isFinite ? Double("\(self)") ?? Double(self) : Double(self))
        } else {
            encoder.fixed(UInt64(bitPattern), 4)
        }
    }
}

private func integer<T: FixedWidthInteger>(_ decoder: MessageDecoder) throws(MessageError) -> T {
    let value: T? =
        switch decoder.json {
        case .integer(let number): T(exactly: number)
        case .number(let number): T(exactly: number)
        case .string(let text): T(text)
        default: throw decoder.unexpected("a whole number")
        }
    guard let value else { throw MessageError("not a whole number between \(T.min) and \(T.max)") }
    return value
}

private func floating(_ decoder: MessageDecoder) throws(MessageError) -> Double {
    switch decoder.json {
    case .integer(let number): return Double(number)
    case .number(let number): return number
    case .string("NaN"): return .nan
    case .string("Infinity"): return .infinity
    case .string("-Infinity"): return -.infinity
    case .string(let text):
        guard let number = Double(text), number.isFinite else { throw MessageError("\"\(text)\" is no number") }
        return number
    default: throw decoder.unexpected("a number")
    }
}

private func floatingJSON(_ value: Double) -> JSON {
    if value.isNaN { return "NaN" }
    if value.isInfinite { return value < 0 ? "-Infinity" : "Infinity" }
    return Int64(exactly: value).map(JSON.integer) ?? .number(value)
}
