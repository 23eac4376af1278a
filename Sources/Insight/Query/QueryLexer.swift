/// A piece of a query.
struct QueryToken: Sendable, Hashable {
    enum Kind: Sendable, Hashable {
        case word(String)
        case number(Double)
        /// Milliseconds.
        case duration(Int64)
        case string(String)
        case symbol(String)
        case end
    }
    var kind: Kind
    /// Bytes before it.
    var place: Int
}

/// Cuts a query into tokens.
struct QueryLexer {
    private let bytes: [UInt8]
    private var position = 0

    /// Bytes of a query at most.
    static let bytesMax = 16_384

    init(_ text: String) { bytes = Array(text.utf8) }

    static func tokens(_ text: String) throws(QueryError) -> [QueryToken] {
        guard text.utf8.count <= bytesMax else {
            throw QueryError("a query of \(text.utf8.count) bytes: at most \(bytesMax) are taken")
        }
        var lexer = QueryLexer(text)
        var tokens: [QueryToken] = []
        while true {
            let token = try lexer.next()
            tokens.append(token)
            if token.kind == .end { return tokens }
        }
    }

    private func byte(_ offset: Int = 0) -> UInt8 {
        position + offset < bytes.count ? bytes[position + offset] : 0
    }

    private static func isLetter(_ byte: UInt8) -> Bool { (byte | 0x20) &- 97 < 26 || byte == 0x5F || byte == 0x3A }
    private static func isDigit(_ byte: UInt8) -> Bool { byte &- 48 < 10 }

    private mutating func next() throws(QueryError) -> QueryToken {
        while true {
            while [0x20, 0x09, 0x0A, 0x0D].contains(byte()), position < bytes.count { position += 1 }
            guard byte() == 0x23 else { break }
            while position < bytes.count, byte() != 0x0A { position += 1 }
        }
        let place = position
        guard position < bytes.count else { return QueryToken(kind: .end, place: place) }
        let first = byte()
        if Self.isLetter(first) {
            while Self.isLetter(byte()) || Self.isDigit(byte()) { position += 1 }
            return QueryToken(kind: .word(String(decoding: bytes[place..<position], as: UTF8.self)), place: place)
        }
        if Self.isDigit(first) || first == 0x2E && Self.isDigit(byte(1)) { return try number(place) }
        if first == 0x22 || first == 0x27 || first == 0x60 { return try string(place, first) }
        for symbol in ["==", "!=", "<=", ">=", "=~", "!~"] where bytes[position...].starts(with: symbol.utf8) {
            position += 2
            return QueryToken(kind: .symbol(symbol), place: place)
        }
        position += 1
        let symbol = String(decoding: [first], as: UTF8.self)
        guard "+-*/%^<>=(){}[],:@".utf8.contains(first) else {
            throw QueryError("at \(place + 1): unexpected character \(symbol)")
        }
        return QueryToken(kind: .symbol(symbol), place: place)
    }

    private mutating func number(_ place: Int) throws(QueryError) -> QueryToken {
        if byte() == 0x30, byte(1) | 0x20 == 0x78 {
            position += 2
            let begin = position
            while Self.isDigit(byte()) || (byte() | 0x20) &- 97 < 6 { position += 1 }
            guard let value = UInt64(String(decoding: bytes[begin..<position], as: UTF8.self), radix: 16) else {
                throw QueryError("at \(place + 1): no number")
            }
            return QueryToken(kind: .number(Double(value)), place: place)
        }
        while Self.isDigit(byte()) || byte() == 0x2E { position += 1 }
        if byte() | 0x20 == 0x65, Self.isDigit(byte(1)) || [0x2B, 0x2D].contains(byte(1)) && Self.isDigit(byte(2)) {
            position += 2
            while Self.isDigit(byte()) { position += 1 }
        } else if Self.isLetter(byte()) {
            while byte() != 0x3A, Self.isLetter(byte()) || Self.isDigit(byte()) { position += 1 }
            let text = String(decoding: bytes[place..<position], as: UTF8.self)
            guard let milliseconds = Self.duration(text) else {
                throw QueryError("at \(place + 1): \(text) is no number and no time like 5m")
            }
            return QueryToken(kind: .duration(milliseconds), place: place)
        }
        let text = String(decoding: bytes[place..<position], as: UTF8.self)
        guard let value = Double(text.hasSuffix(".") ? text + "0" : text) else {
            throw QueryError("at \(place + 1): \(text) is no number")
        }
        return QueryToken(kind: .number(value), place: place)
    }

    /// `1h30m` in milliseconds.
    static func duration(_ text: String) -> Int64? {
        let units: [(String, Int64)] = [
            ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000), ("w", 604_800_000),
            ("y", 31_536_000_000),
        ]
        var rest = Substring(text)
        var sum: Int64 = 0
        guard !rest.isEmpty else { return nil }
        while !rest.isEmpty {
            let digits = rest.prefix { $0.isASCII && $0.isNumber }
            rest = rest.dropFirst(digits.count)
            let letters = rest.prefix { !($0.isASCII && $0.isNumber) }
            rest = rest.dropFirst(letters.count)
            guard let number = Int64(digits), number < 1_000_000_000_000,
                let unit = units.first(where: { $0.0 == letters })?.1
            else { return nil }
            let (product, overflows) = number.multipliedReportingOverflow(by: unit)
            guard !overflows, product < 1 << 50 else { return nil }
            sum += product
        }
        return sum < 1 << 51 ? sum : nil
    }

    private mutating func string(_ place: Int, _ quote: UInt8) throws(QueryError) -> QueryToken {
        position += 1
        var content: [UInt8] = []
        while position < bytes.count {
            let byte = byte()
            position += 1
            if byte == quote {
                return QueryToken(kind: .string(String(decoding: content, as: UTF8.self)), place: place)
            }
            if byte == 0x0A, quote != 0x60 { break }
            guard byte == 0x5C, quote != 0x60 else {
                content.append(byte)
                continue
            }
            let escaped = self.byte()
            position += 1
            switch escaped {
            case 0x6E: content.append(0x0A)
            case 0x74: content.append(0x09)
            case 0x72: content.append(0x0D)
            case 0x5C, 0x22, 0x27: content.append(escaped)
            default: throw QueryError("at \(position): this escape is not known")
            }
        }
        throw QueryError("at \(place + 1): the text does not end")
    }
}
