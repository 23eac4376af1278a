/// Comparisons of bytes without `String`: what runs for each request.
enum Bytes {
    @inline(__always)
    static func lowercased(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

    @inline(__always)
    static func equal(_ a: borrowing Span<UInt8>, _ b: borrowing Span<UInt8>, ignoringCase: Bool = false) -> Bool {
        a.count == b.count && hasPrefix(a, b, at: 0, ignoringCase: ignoringCase)
    }

    /// Whether `b` stands in `a` at an offset.
    @inline(__always)
    static func hasPrefix(
        _ a: borrowing Span<UInt8>, _ b: borrowing Span<UInt8>, at offset: Int = 0, ignoringCase: Bool = false
    ) -> Bool {
        guard offset >= 0, a.count - offset >= b.count else { return false }
        var index = 0
        if ignoringCase {
            while index < b.count {
                if lowercased(a[offset + index]) != lowercased(b[index]) { return false }
                index += 1
            }
        } else {
            while index < b.count {
                if a[offset + index] != b[index] { return false }
                index += 1
            }
        }
        return true
    }

    static func hasSuffix(
        _ a: borrowing Span<UInt8>, _ b: borrowing Span<UInt8>, ignoringCase: Bool = false
    ) -> Bool {
        hasPrefix(a, b, at: a.count - b.count, ignoringCase: ignoringCase)
    }

    static func contains(
        _ a: borrowing Span<UInt8>, _ b: borrowing Span<UInt8>, ignoringCase: Bool = false
    ) -> Bool {
        guard b.count <= a.count else { return false }
        var offset = 0
        while offset <= a.count - b.count {
            if hasPrefix(a, b, at: offset, ignoringCase: ignoringCase) { return true }
            offset += 1
        }
        return false
    }

    static func firstIndex(of byte: UInt8, in span: borrowing Span<UInt8>, from start: Int = 0) -> Int? {
        var index = start
        while index < span.count {
            if span[index] == byte { return index }
            index += 1
        }
        return nil
    }

    static func copy(_ span: borrowing Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(span.count)
        append(span, to: &result)
        return result
    }

    static func append(_ span: borrowing Span<UInt8>, to bytes: inout [UInt8]) {
        span.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    }

    /// The decimal number that the whole span is, with an optional sign; nil on anything else or when it does not fit.
    static func integer(_ span: borrowing Span<UInt8>) -> Int64? {
        var index = 0
        var negative = false
        if span.count > 0, span[0] == 0x2D || span[0] == 0x2B {
            negative = span[0] == 0x2D
            index = 1
        }
        guard index < span.count else { return nil }
        var value: Int64 = 0
        while index < span.count {
            let digit = span[index] &- 0x30
            guard digit < 10 else { return nil }
            let (scaled, overflow) = value.multipliedReportingOverflow(by: 10)
            let (next, overflow2) =
                negative
                ? scaled.subtractingReportingOverflow(Int64(digit)) : scaled.addingReportingOverflow(Int64(digit))
            if overflow || overflow2 { return nil }
            value = next
            index += 1
        }
        return value
    }

    /// FNV-1a over lower-cased bytes: the hash of names whose case does not count.
    static func hash(lowercasing span: borrowing Span<UInt8>, from start: Int = 0) -> UInt64 {
        var hash: UInt64 = 0xCBF2_9CE4_8422_2325
        var index = start
        while index < span.count {
            hash = (hash ^ UInt64(lowercased(span[index]))) &* 0x100_0000_01B3
            index += 1
        }
        return hash
    }
}
