/// What a plain (unquoted) scalar stands for.
enum YAMLScalar {
    /// The value; nil for a number that JSON has no way to write.
    static func resolve(_ text: String) -> JSON? {
        guard mayBeSpecial(text) else { return .string(text) }
        if let first = text.utf8.first, isDigit(first) { return decimal(text) ?? number(text) ?? .string(text) }
        switch text {
        case "", "~", "null", "Null", "NULL": return .null
        case "true", "True", "TRUE", "yes", "Yes", "YES", "on", "On", "ON": return .bool(true)
        case "false", "False", "FALSE", "no", "No", "NO", "off", "Off", "OFF": return .bool(false)
        case ".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF", "-.inf", "-.Inf", "-.INF", ".nan", ".NaN", ".NAN":
            return nil
        default: break
        }
        guard let first = text.utf8.first, first == 0x2B || first == 0x2D || first == 0x2E else {
            return .string(text)
        }
        return number(text) ?? .string(text)
    }

    /// Whether a scalar would be a number that is not whole, or is no number but infinite or none at all.
    static func isFraction(_ text: String) -> Bool {
        guard let first = text.utf8.first, isDigit(first) || first == 0x2B || first == 0x2D || first == 0x2E else {
            return false
        }
        guard let value = resolve(text) else { return true }
        if case .number = value { return true }
        return false
    }

    /// Whether the first byte is one that something else than a string begins with: most scalars are decided by it.
    private static func mayBeSpecial(_ text: String) -> Bool {
        guard let first = text.utf8.first else { return true }
        switch first {
        case UInt8(ascii: "t"), UInt8(ascii: "T"), UInt8(ascii: "f"), UInt8(ascii: "F"), UInt8(ascii: "y"),
            UInt8(ascii: "Y"), UInt8(ascii: "n"), UInt8(ascii: "N"), UInt8(ascii: "o"), UInt8(ascii: "O"):
            return text.utf8.count <= 5
        case UInt8(ascii: "~"), UInt8(ascii: "+"), UInt8(ascii: "-"), UInt8(ascii: "."): return true
        default: return isDigit(first)
        }
    }

    /// What nearly all numbers of a configuration are: some digits, no zero before them.
    private static func decimal(_ text: String) -> JSON? {
        var value: Int64 = 0
        for byte in text.utf8 {
            guard isDigit(byte) else { return nil }
            value = value &* 10 &+ Int64(byte &- 0x30)
        }
        return text.utf8.count < 19 && (text.utf8.first != 0x30 || text.utf8.count == 1) ? .integer(value) : nil
    }

    private static func number(_ text: String) -> JSON? {
        // `15s`, `10.0.0.0/8 and more`: no number ends so, in whatever base.
        guard let last = text.utf8.last, isDigit(last) || last == 0x2E || (0x41...0x46).contains(last & 0xDF) else {
            return nil
        }
        var body = text[...]
        let isNegative = body.hasPrefix("-")
        if isNegative || body.hasPrefix("+") { body = body.dropFirst() }
        for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] where body.hasPrefix(prefix) {
            return whole(body.dropFirst(2), radix, isNegative)
        }
        if body.utf8.allSatisfy(isDigit) {
            // 0644 is octal for Kubernetes; 0688 is no number in any base, but not octal either.
            if body.count > 1, body.hasPrefix("0"), let octal = whole(body.dropFirst(), 8, isNegative) { return octal }
            if let value = whole(body, 10, isNegative) { return value }
        }
        guard isFloat(body), let value = Double(text), value.isFinite else { return nil }
        return .number(value)
    }

    private static func whole(_ digits: Substring, _ radix: Int, _ isNegative: Bool) -> JSON? {
        guard let first = digits.first, first != "-", first != "+" else { return nil }
        return Int64((isNegative ? "-" : "") + digits, radix: radix).map(JSON.integer)
    }

    /// Whether it is `[0-9]*(\.[0-9]*)?([eE][-+]?[0-9]+)?` with a digit before the exponent.
    private static func isFloat(_ body: Substring) -> Bool {
        var rest = body.utf8[...]
        let whole = rest.prefix(while: isDigit).count
        rest = rest.dropFirst(whole)
        var fraction = 0
        if rest.first == 0x2E {
            rest = rest.dropFirst()
            fraction = rest.prefix(while: isDigit).count
            rest = rest.dropFirst(fraction)
        }
        guard whole + fraction > 0 else { return false }
        guard let exponent = rest.first else { return true }
        guard exponent == 0x65 || exponent == 0x45 else { return false }
        rest = rest.dropFirst()
        if rest.first == 0x2B || rest.first == 0x2D { rest = rest.dropFirst() }
        return !rest.isEmpty && rest.allSatisfy(isDigit)
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
}
