internal import HTTP

// Looking at field values for filters.
extension RawSpan {
    /// Whether the bytes begin with a lower-case word, in either case.
    func hasPrefix(_ word: StaticString) -> Bool {
        let count = word.utf8CodeUnitCount
        guard byteCount >= count else { return false }
        return withUnsafeBytes { bytes in
            for index in 0..<count {
                let byte = bytes[index]
                let lower = byte >= 0x41 && byte <= 0x5A ? byte | 0x20 : byte
                if lower != word.utf8Start[index] { return false }
            }
            return true
        }
    }
}

extension String {
    /// Without spaces and tabs around it.
    var trimmedBlanks: Substring {
        var rest = Substring(self)
        while let first = rest.first, first == " " || first == "\t" { rest.removeFirst() }
        while let last = rest.last, last == " " || last == "\t" { rest.removeLast() }
        return rest
    }

    /// Whether both are the same when ASCII letters of either case count as equal.
    func isEqualIgnoringCase(_ other: some StringProtocol) -> Bool {
        utf8.count == other.utf8.count
            && zip(utf8, other.utf8).allSatisfy { left, right in
                left == right || (left | 0x20 == right | 0x20 && (0x61...0x7A).contains(left | 0x20))
            }
    }
}

extension HeaderTable {
    /// Whether the first field of a name begins with a lower-case word, in either case.
    func value(_ id: HeaderID, hasPrefix word: StaticString) -> Bool {
        guard let index = index(of: id) else { return false }
        return value(at: index).hasPrefix(word)
    }

    /// The values of all fields of a name as one list; nil when there is none.
    func joined(_ id: HeaderID) -> String? {
        guard var index = index(of: id) else { return nil }
        var text = valueText(at: index)
        while let next = self.index(of: id, from: index + 1) {
            text += "," + valueText(at: next)
            index = next
        }
        return text
    }
}
