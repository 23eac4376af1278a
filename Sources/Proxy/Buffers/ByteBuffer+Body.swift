internal import HTTP

extension ByteBuffer {
    /// Puts small pieces of one body together: chunks of a few bytes would otherwise cost their sender little and everybody behind
    /// us much (ATK-09).
    ///
    /// `body` is the piece that was found, `offset` stands behind it. Moves to `body`'s end what `next` finds in the bytes that are
    /// there, and gives all of it. `end` is set when the parser has come to the end of the message, which it says once.
    func gather(
        _ body: Range<Int>, _ offset: inout Int, end: inout Bool,
        next: (RawSpan, inout Int) throws(HTTP1Error) -> HTTP1Event
    ) -> Range<Int> {
        var body = body
        while body.count < Limits.gatheredBytes, offset < count {
            // An error is said again when the parser is asked again.
            guard let event = try? next(bytes.bytes, &offset) else { return body }
            switch event {
            case .body(let more):
                let bytes = mutableBytes
                UnsafeMutableRawBufferPointer(rebasing: bytes[body.upperBound..<(body.upperBound + more.count)])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[more]))
                body = body.lowerBound..<(body.upperBound + more.count)
            case .end:
                end = true
                return body
            case .needMore, .head: return body
            }
        }
        return body
    }
}
