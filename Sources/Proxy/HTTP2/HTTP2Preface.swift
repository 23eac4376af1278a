/// What an HTTP/2 client says first (RFC 9113 §3.4).
enum HTTP2Preface {
    enum Verdict { case undecided, yes, no }

    private static let text: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// Pure: what the bytes so far say.
    static func look(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        let preface = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        let shared = min(bytes.count, preface.count)
        for position in 0..<shared where bytes[position] != preface[position] { return .no }
        return shared == preface.count ? .yes : .undecided
    }
}
