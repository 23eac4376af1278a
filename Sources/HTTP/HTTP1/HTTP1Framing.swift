/// What a head's fields say about body and connection (RFC 9112 §6 and §9).
enum HTTP1Framing {
    /// The length that `Content-Length` gives; nil without the field.
    ///
    /// Repeats of the same number are dropped from the table.
    static func contentLength(_ headers: inout HeaderTable) throws(HTTP1Error) -> Int? {
        guard let index = headers.index(of: .contentLength) else { return nil }
        guard let length = ASCII.number(headers.value(at: index)) else { throw .contentLength }
        while let repeated = headers.index(of: .contentLength, from: index &+ 1) {
            guard ASCII.number(headers.value(at: repeated)) == length else { throw .contentLength }
            headers.remove(at: repeated)
        }
        return length
    }

    /// Whether the body is chunked; anything but exactly one `chunked` is refused.
    static func isChunked(_ headers: HeaderTable, minorVersion: UInt8) throws(HTTP1Error) -> Bool {
        guard let index = headers.index(of: .transferEncoding) else { return false }
        guard minorVersion >= 1, headers.value(at: index, is: "chunked"),
            headers.index(of: .transferEncoding, from: index &+ 1) == nil
        else { throw .transferEncoding }
        return true
    }

    static func isKeepAlive(_ headers: HeaderTable, minorVersion: UInt8) -> Bool {
        if headers.list(.connection, contains: "close") { return false }
        return minorVersion >= 1 || headers.list(.connection, contains: "keep-alive")
    }

    /// The framing of a request's body.
    static func ofRequest(_ head: inout RequestHead) throws(HTTP1Error) {
        guard head.headers.presence.intersects(framingFields) else {
            // The usual GET: no field says anything about body or connection.
            head.body = .none
            head.isKeepAlive = head.minorVersion >= 1
            head.expectsContinue = false
            head.isUpgrade = false
            return
        }
        let hasEncoding = head.headers.contains(.transferEncoding)
        if hasEncoding, head.headers.contains(.contentLength) { throw .lengthAndEncoding }
        if let first = head.headers.index(of: .contentLength),
            head.headers.index(of: .contentLength, from: first &+ 1) != nil
        {
            // ATK-12: equal or not, two lengths are an attempt to be read differently further on.
            throw .contentLength
        }
        let length = try contentLength(&head.headers)
        if try isChunked(head.headers, minorVersion: head.minorVersion) {
            head.body = .chunked
        } else {
            head.body = length.map { $0 == 0 ? .none : .length($0) } ?? .none
        }
        // CONNECT has no body; one that claims to is a way to hide a request (RFC 9110 §9.3.6).
        if head.method == .connect, head.body != .none { throw hasEncoding ? .transferEncoding : .contentLength }
        head.isKeepAlive = isKeepAlive(head.headers, minorVersion: head.minorVersion)
        head.expectsContinue =
            head.minorVersion >= 1 && head.body != .none && head.headers.list(.expect, contains: "100-continue")
        head.isUpgrade =
            head.minorVersion >= 1 && head.headers.contains(.upgrade)
            && head.headers.list(.connection, contains: "upgrade")
    }

    private static let framingFields = HeaderIDSet([.contentLength, .transferEncoding, .connection, .expect, .upgrade])

    /// The framing of a response's body, which depends on the request.
    static func ofResponse(_ head: inout ResponseHead, to method: HTTPMethod) throws(HTTP1Error) {
        let hasEncoding = head.headers.contains(.transferEncoding)
        if hasEncoding, head.headers.contains(.contentLength) { throw .lengthAndEncoding }
        let length = try contentLength(&head.headers)
        let chunked = hasEncoding ? try isChunked(head.headers, minorVersion: head.minorVersion) : false
        head.isKeepAlive =
            head.headers.presence.contains(.connection)
            ? isKeepAlive(head.headers, minorVersion: head.minorVersion) : head.minorVersion >= 1
        if head.status == 101 || (method == .connect && (200..<300).contains(head.status)) {
            head.body = .tunnel
        } else if head.status < 200 || head.status == 204 {
            if hasEncoding { throw .transferEncoding }
            head.body = .none
        } else if method == .head || head.status == 304 {
            head.body = .none
        } else if chunked {
            head.body = .chunked
        } else if let length {
            head.body = length == 0 ? .none : .length(length)
        } else {
            head.body = .untilClose
            head.isKeepAlive = false
        }
    }
}
