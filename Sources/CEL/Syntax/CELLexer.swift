/// Splits a text into CEL's words.
struct CELLexer {
    /// A word.
    enum Token: Equatable {
        case identifier(String)
        case int(UInt64)
        case uint(UInt64)
        case double(Double)
        case string(String)
        case bytes([UInt8])
        /// An operator or a bracket.
        case sign(String)
        case end
    }

    private let text: [UInt8]
    private var position = 0
    /// Where the word that was read last begins.
    private(set) var start = 0

    init(_ text: String) { self.text = Array(text.utf8) }

    /// An error at the word that was read last.
    func error(_ problem: String) -> CELSyntaxError {
        var line = 1
        var column = 1
        for byte in text[..<min(start, text.count)] {
            if byte == UInt8(ascii: "\n") {
                line += 1
                column = 1
            } else if byte & 0xC0 != 0x80 {
                column += 1
            }
        }
        return CELSyntaxError("\(line):\(column): \(problem)")
    }

    private func byte(_ offset: Int = 0) -> UInt8? {
        position + offset < text.count ? text[position + offset] : nil
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (byte | 0x20) &- 97 < 26 || byte == UInt8(ascii: "_")
    }

    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

    /// The next word.
    mutating func next() throws(CELSyntaxError) -> Token {
        skipBlanks()
        start = position
        guard let first = byte() else { return .end }
        if let quoted = try quoted(first) { return quoted }
        if Self.isLetter(first) {
            while let byte = byte(), Self.isLetter(byte) || Self.isDigit(byte) { position += 1 }
            return .identifier(String(decoding: text[start..<position], as: UTF8.self))
        }
        if Self.isDigit(first) || first == UInt8(ascii: "."), Self.isDigit(first) || byte(1).map(Self.isDigit) == true {
            return try number()
        }
        if first == UInt8(ascii: "`") { return try escapedName() }
        let two = String(decoding: text[position..<min(position + 2, text.count)], as: UTF8.self)
        if ["&&", "||", "==", "!=", "<=", ">="].contains(two) {
            position += 2
            return .sign(two)
        }
        guard "+-*/%<>!?:.,()[]{}".utf8.contains(first) else {
            throw error("\"\(String(decoding: [first], as: UTF8.self))\" means nothing here")
        }
        position += 1
        return .sign(String(decoding: [first], as: UTF8.self))
    }

    private mutating func skipBlanks() {
        while let byte = byte() {
            if byte == UInt8(ascii: "/"), self.byte(1) == UInt8(ascii: "/") {
                while let byte = self.byte(), byte != UInt8(ascii: "\n") { position += 1 }
            } else if byte == 0x20 || (0x09...0x0D).contains(byte) {
                position += 1
            } else {
                return
            }
        }
    }

    /// A name of a field in backquotes, where it has dots, dashes or slashes.
    private mutating func escapedName() throws(CELSyntaxError) -> Token {
        position += 1
        let from = position
        while let byte = byte(), byte != UInt8(ascii: "`") {
            guard Self.isLetter(byte) || Self.isDigit(byte) || ".-/ ".utf8.contains(byte) else {
                throw error("a name in backquotes has letters, digits, _ . - / and blanks only")
            }
            position += 1
        }
        guard byte() != nil, position > from else { throw error("a name in backquotes has no end, or is empty") }
        position += 1
        return .identifier("`" + String(decoding: text[from..<(position - 1)], as: UTF8.self))
    }

    // MARK: Numbers

    private mutating func number() throws(CELSyntaxError) -> Token {
        if byte() == UInt8(ascii: "0"), byte(1).map({ $0 | 0x20 == UInt8(ascii: "x") }) == true {
            position += 2
            let from = position
            while let byte = byte(), Self.isDigit(byte) || (byte | 0x20) &- 97 < 6 { position += 1 }
            guard let value = UInt64(String(decoding: text[from..<position], as: UTF8.self), radix: 16) else {
                throw error("is no hexadecimal number of 64 bits")
            }
            return try unsigned(value)
        }
        var isDouble = false
        while let byte = byte(), Self.isDigit(byte) { position += 1 }
        if byte() == UInt8(ascii: "."), byte(1).map(Self.isDigit) == true {
            isDouble = true
            position += 1
            while let byte = byte(), Self.isDigit(byte) { position += 1 }
        }
        if let byte = byte(), byte | 0x20 == UInt8(ascii: "e") {
            let sign = self.byte(1).map { $0 == UInt8(ascii: "+") || $0 == UInt8(ascii: "-") } == true ? 1 : 0
            guard self.byte(1 + sign).map(Self.isDigit) == true else { throw error("the exponent has no digits") }
            isDouble = true
            position += 1 + sign
            while let byte = self.byte(), Self.isDigit(byte) { position += 1 }
        }
        let written = String(decoding: text[start..<position], as: UTF8.self)
        if isDouble {
            guard let value = Double(written), value.isFinite else { throw error("\(written) is out of range") }
            return .double(value)
        }
        guard let value = UInt64(written) else { throw error("\(written) is more than 64 bits") }
        return try unsigned(value)
    }

    private mutating func unsigned(_ value: UInt64) throws(CELSyntaxError) -> Token {
        if let byte = byte(), byte | 0x20 == UInt8(ascii: "u") {
            position += 1
            return .uint(value)
        }
        if let byte = byte(), Self.isLetter(byte) { throw error("a number and a name stand together") }
        return .int(value)
    }

    // MARK: Texts

    /// A text or bytes, when what begins here is one: `'a'`, `r"a"`, `b'''a'''`, `br"a"`.
    private mutating func quoted(_ first: UInt8) throws(CELSyntaxError) -> Token? {
        var isRaw = false
        var isBytes = false
        var offset = 0
        while let letter = byte(offset), offset < 2 {
            if letter | 0x20 == UInt8(ascii: "r"), !isRaw {
                isRaw = true
            } else if letter | 0x20 == UInt8(ascii: "b"), !isBytes {
                isBytes = true
            } else {
                break
            }
            offset += 1
        }
        guard let quote = byte(offset), quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else { return nil }
        position += offset
        let isLong = byte(1) == quote && byte(2) == quote
        position += isLong ? 3 : 1
        var result: [UInt8] = []
        while true {
            guard let byte = byte() else { throw error("a text has no end") }
            if byte == quote {
                if !isLong { break }
                if self.byte(1) == quote, self.byte(2) == quote { break }
            }
            if !isLong, byte == UInt8(ascii: "\n") || byte == UInt8(ascii: "\r") {
                throw error("a text has no end on its line")
            }
            if byte == UInt8(ascii: "\\"), !isRaw {
                try escape(isBytes, &result)
            } else {
                result.append(byte)
                position += 1
            }
        }
        position += isLong ? 3 : 1
        if isBytes { return .bytes(result) }
        guard let string = String(validating: result, as: UTF8.self) else { throw error("a text is not UTF-8") }
        return .string(string)
    }

    private mutating func escape(_ isBytes: Bool, _ result: inout [UInt8]) throws(CELSyntaxError) {
        guard let letter = byte(1) else { throw error("a text has no end") }
        position += 2
        switch letter {
        case UInt8(ascii: "a"): result.append(0x07)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "v"): result.append(0x0B)
        case UInt8(ascii: "\\"), UInt8(ascii: "?"), UInt8(ascii: "\""), UInt8(ascii: "'"), UInt8(ascii: "`"):
            result.append(letter)
        case UInt8(ascii: "x"), UInt8(ascii: "X"): try character(digits(2, radix: 16), isBytes, &result)
        case UInt8(ascii: "u") where !isBytes: try character(digits(4, radix: 16), false, &result)
        case UInt8(ascii: "U") where !isBytes: try character(digits(8, radix: 16), false, &result)
        case UInt8(ascii: "0")...UInt8(ascii: "3"):
            position -= 1
            try character(digits(3, radix: 8), isBytes, &result)
        default: throw error("\\\(String(decoding: [letter], as: UTF8.self)) is no escape")
        }
    }

    private mutating func digits(_ count: Int, radix: Int) throws(CELSyntaxError) -> UInt32 {
        guard position + count <= text.count,
            text[position..<(position + count)].allSatisfy({ Self.isDigit($0) || ($0 | 0x20) &- 97 < 6 }),
            let value = UInt32(String(decoding: text[position..<(position + count)], as: UTF8.self), radix: radix)
        else { throw error("an escape needs \(count) digits") }
        position += count
        return value
    }

    /// In bytes the number is a byte, in texts a character.
    private func character(_ value: UInt32, _ isBytes: Bool, _ result: inout [UInt8]) throws(CELSyntaxError) {
        if isBytes, let byte = UInt8(exactly: value) {
            result.append(byte)
            return
        }
        guard let scalar = Unicode.Scalar(value) else { throw error("\(value) is no character") }
        result += Array(String(Character(scalar)).utf8)
    }
}
