/// What an HTTP/2 client says first (RFC 9113 §3.4).
enum HTTP2Preface {
    enum Verdict { case undecided, yes, no }

    private static let text: StaticString = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

    /// `PRI * HTTP/2`: no request of HTTP/1 begins like that.
    private static let decisiveCount = 12

    /// Pure: what the bytes so far say.
    static func look(_ bytes: UnsafeRawBufferPointer) -> Verdict {
        let preface = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        let shared = min(bytes.count, decisiveCount)
        for position in 0..<shared where bytes[position] != preface[position] { return .no }
        // What begins so is meant as HTTP/2: whether the rest is right is the codec's matter (Envoy).
        return shared == decisiveCount ? .yes : .undecided
    }
}
