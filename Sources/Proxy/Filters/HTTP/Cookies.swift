internal import HTTP

/// Cookies of a request.
enum Cookies {
    /// The value of a cookie, without quotes.
    static func value(_ name: [UInt8], in headers: borrowing HeaderTable) -> [UInt8]? {
        var start = 0
        while let index = headers.index(of: .cookie, from: start) {
            let line = [UInt8](copying: headers.value(at: index))
            for part in line.split(separator: UInt8(ascii: ";")) {
                let trimmed = part.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
                guard let equals = trimmed.firstIndex(of: UInt8(ascii: "=")),
                    trimmed[..<equals].elementsEqual(name)
                else { continue }
                var value = Array(trimmed[trimmed.index(after: equals)...])
                while value.last == UInt8(ascii: " ") { value.removeLast() }
                if value.count >= 2, value.first == UInt8(ascii: "\""), value.last == UInt8(ascii: "\"") {
                    value = Array(value.dropFirst().dropLast())
                }
                return value
            }
            start = index + 1
        }
        return nil
    }

    /// Takes every cookie of a name away; other cookies stay as they were sent.
    static func remove(_ name: [UInt8], from headers: inout HeaderTable) {
        var lines: [[UInt8]] = []
        var isThere = false
        var start = 0
        while let index = headers.index(of: .cookie, from: start) {
            start = index + 1
            let line = [UInt8](copying: headers.value(at: index))
            let parts = line.split(separator: UInt8(ascii: ";"))
            let kept = parts.filter { !Self.isNamed(name, $0) }
            if kept.count < parts.count { isThere = true }
            let rest = Array(kept.joined(separator: [UInt8(ascii: ";")]).drop { $0 == UInt8(ascii: " ") })
            if !rest.isEmpty { lines.append(rest) }
        }
        guard isThere else { return }
        headers.remove(named: "cookie")
        for line in lines { try? headers.append(Array("cookie".utf8).span.bytes, line.span.bytes) }
    }

    private static func isNamed(_ name: [UInt8], _ part: ArraySlice<UInt8>) -> Bool {
        part.drop { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }
            .prefix { $0 != UInt8(ascii: "=") }.elementsEqual(name)
    }
}
