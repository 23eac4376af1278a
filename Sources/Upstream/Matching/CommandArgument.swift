/// The argument of a command operator, `%NAME(argument):length%`, in bytes.
public enum CommandArgument {
    /// Where the closing parenthesis stands; nil where there is none.
    ///
    /// That is the first behind which the operator ends, since an expression has parentheses of its own; without one the first of all.
    public static func end(in bytes: [UInt8], from start: Int) -> Int? {
        var first: Int?
        var next = bytes[start...].firstIndex(of: 0x29)
        while let close = next {
            if first == nil { first = close }
            var index = close + 1
            if index < bytes.count, bytes[index] == 0x3A {
                index += 1
                while index < bytes.count, bytes[index] &- 0x30 < 10 { index += 1 }
            }
            if index < bytes.count, bytes[index] == 0x25 { return close }
            next = bytes[(close + 1)...].firstIndex(of: 0x29)
        }
        return first
    }
}
