/// Tells HTTP from anything else by the first bytes.
enum HTTPSniffer {
    enum Verdict: Equatable { case undecided, http1(String), http2, other }

    private static let preface = Array("PRI * HTTP/2.0\r\n".utf8)
    /// Longest request line worth waiting for; what is longer is not told from binary data.
    private static let lineBytesMax = 8192
    private static let methodBytesMax = 20

    /// Pure: what the bytes so far say.
    static func look(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        if bytes.isEmpty { return .undecided }
        let shared = min(bytes.count, preface.count)
        if bytes.prefix(shared).elementsEqual(preface.prefix(shared)) {
            return shared == preface.count ? .http2 : .undecided
        }
        var position = 0
        while position < bytes.count, bytes[position] != UInt8(ascii: " ") {
            let byte = bytes[position]
            let isMethodByte = (byte &- 65 < 26) || (byte &- 97 < 26) || byte == UInt8(ascii: "-")
            guard isMethodByte, position < methodBytesMax else { return .other }
            position += 1
        }
        if position == bytes.count { return .undecided }
        if position == 0 { return .other }
        guard let end = bytes.firstIndex(of: UInt8(ascii: "\n")) else {
            return bytes.count > lineBytesMax ? .other : .undecided
        }
        let line = bytes[..<end]
        if line.ends(with: "HTTP/1.1\r") { return .http1("http/1.1") }
        if line.ends(with: "HTTP/1.0\r") { return .http1("http/1.0") }
        return .other
    }
}

extension Slice<UnsafeRawBufferPointer> {
    fileprivate func ends(with text: StaticString) -> Bool {
        let count = text.utf8CodeUnitCount
        guard self.count >= count else { return false }
        return suffix(count).elementsEqual(UnsafeBufferPointer(start: text.utf8Start, count: count))
    }
}
