/// The first line of a message: request line (RFC 9112 §3) and status line (§4).
enum HTTP1StartLine {
    static func parseRequest(_ line: HeaderTable.Run, into head: inout RequestHead) throws(HTTP1Error) {
        let (method, target, version) = try split(line, head.headers)
        head.adoptMethod(method)
        if head.method == .other, !HeaderTable.isName(head.headers.span(method)) { throw .startLine }
        do throws(HTTP1Error) {
            head.minorVersion = try minorVersion(head.headers.span(version))
        } catch {
            // HTTP/2's preface is no request of another version: it is no request.
            throw ByteScan.equalIgnoringCase(head.headers.span(method), "pri") ? .startLine : error
        }
        guard target.count > 0, RequestHead.isTargetText(head.headers.span(target)) else { throw .target }
        try parseTarget(target, into: &head)
        try takeHost(&head)
    }

    static func parseResponse(_ line: HeaderTable.Run, into head: inout ResponseHead) throws(HTTP1Error) {
        (head.minorVersion, head.status) = try parseStatusLine(head.headers.span(line))
    }

    /// Where the reason phrase of a status line stands that `parseResponse` has taken; empty where it has none.
    static func reason(of line: HeaderTable.Run) -> Range<Int> {
        let range = line.range
        return min(range.lowerBound &+ 13, range.upperBound)..<range.upperBound
    }

    /// HTTP/1.x SP 3DIGIT [SP reason]; a missing last space is common and harmless.
    private static func parseStatusLine(_ text: RawSpan) throws(HTTP1Error) -> (UInt8, UInt16) {
        guard text.byteCount >= 12, ByteScan.byte(text, 8) == ASCII.space else { throw .startLine }
        let version = try minorVersion(text.extracting(0..<8))
        var status: UInt16 = 0
        for position in 9..<12 {
            let digit = ByteScan.byte(text, position) &- 0x30
            guard digit < 10 else { throw .startLine }
            status = status &* 10 &+ UInt16(digit)
        }
        guard status >= 100 else { throw .startLine }
        if text.byteCount > 12, ByteScan.byte(text, 12) != ASCII.space { throw .startLine }
        return (version, status)
    }

    private static func split(
        _ line: HeaderTable.Run, _ table: HeaderTable
    ) throws(HTTP1Error) -> (HeaderTable.Run, HeaderTable.Run, HeaderTable.Run) {
        let text = table.span(line)
        let end = text.byteCount
        let first = ByteScan.first(ASCII.space, in: text, from: 0, to: end)
        let second = first < end ? ByteScan.first(ASCII.space, in: text, from: first &+ 1, to: end) : end
        guard second < end, ByteScan.first(ASCII.space, in: text, from: second &+ 1, to: end) == end else {
            // `GET /` is HTTP/0.9's.
            let isOld = second == end && first < end && HTTPMethod.of(text.extracting(0..<first)) != .other
            throw isOld ? .version : .startLine
        }
        func run(_ low: Int, _ high: Int) -> HeaderTable.Run {
            HeaderTable.Run(start: line.start &+ UInt32(low), count: UInt32(high &- low))
        }
        return (run(0, first), run(first &+ 1, second), run(second &+ 1, text.byteCount))
    }

    private static func minorVersion(_ version: RawSpan) throws(HTTP1Error) -> UInt8 {
        guard version.byteCount == 8 else { throw .startLine }
        let word = version.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self).bigEndian
        switch word {
        case 0x4854_5450_2F31_2E31: return 1  // HTTP/1.1
        case 0x4854_5450_2F31_2E30: return 0  // HTTP/1.0
        default: throw word >> 24 == 0x48_5454_502F ? .version : .startLine
        }
    }

    /// A request target's parts, as ranges of its bytes.
    private struct Target {
        var scheme: StaticString?
        var authority = 0..<0
        var path = 0..<0
    }

    private static func parseTarget(_ target: HeaderTable.Run, into head: inout RequestHead) throws(HTTP1Error) {
        let parts = try parts(head.headers.span(target), method: head.method)
        func run(_ range: Range<Int>) -> HeaderTable.Run {
            HeaderTable.Run(start: target.start &+ UInt32(range.lowerBound), count: UInt32(range.count))
        }
        head.authorityRun = run(parts.authority)
        head.pathRun = run(parts.path)
        guard let scheme = parts.scheme else { return }
        head.setScheme(scheme)
        // http://host has an empty path, which means "/" (RFC 9112 §3.2.2).
        if parts.path.isEmpty { head.setRootPath() }
    }

    private static func parts(_ text: RawSpan, method: HTTPMethod) throws(HTTP1Error) -> Target {
        let all = 0..<text.byteCount
        if method == .connect {
            guard isAuthority(text) else { throw .target }
            return Target(authority: all)
        }
        switch ByteScan.byte(text, 0) {
        case ASCII.slash: return Target(path: all)
        case 0x2A:  // "*": OPTIONS about the server itself.
            guard text.byteCount == 1 else { throw .target }
            guard method == .options else { throw .asterisk }
            return Target(path: all)
        default:
            let prefix = schemePrefix(text)
            guard prefix > 0 else { throw .target }
            var end = prefix
            while end < text.byteCount {
                let byte = ByteScan.byte(text, end)
                if byte == ASCII.slash || byte == 0x3F || byte == 0x23 { break }
                end &+= 1
            }
            guard end > prefix, isAuthority(text.extracting(prefix..<end)) else { throw .target }
            // A query or fragment right behind the host is legal to write and means nothing we forward.
            if end < text.byteCount, ByteScan.byte(text, end) != ASCII.slash { throw .target }
            return Target(
                scheme: prefix == 8 ? "https" : "http", authority: prefix..<end, path: end..<text.byteCount)
        }
    }

    /// The length of `http://` or `https://` in any case (ATK-18); 0 for anything else.
    private static func schemePrefix(_ text: RawSpan) -> Int {
        if text.byteCount > 7, ByteScan.equalIgnoringCase(text.extracting(0..<7), "http://") { return 7 }
        if text.byteCount > 8, ByteScan.equalIgnoringCase(text.extracting(0..<8), "https://") { return 8 }
        return 0
    }

    /// No user information, path or query inside host and port.
    static func isAuthority(_ text: RawSpan) -> Bool {
        guard text.byteCount > 0 else { return false }
        for position in 0..<text.byteCount {
            let byte = ByteScan.byte(text, position)
            let bits = byte < 64 ? authorityLow : authorityHigh
            if byte >= 128 || (bits >> UInt64(byte & 63)) & 1 == 0 { return false }
        }
        return true
    }

    // Letters, digits, - . _ ~ : [ ] % and the sub-delimiters ! $ & ' ( ) * + ; = of a registered name: bytes 0–63 and 64–127.
    private static var authorityLow: UInt64 {
        @inline(__always) get { 0x2FFF_6FF2_0000_0000 }
    }
    private static var authorityHigh: UInt64 {
        @inline(__always) get { 0x47FF_FFFE_AFFF_FFFE }
    }

    /// Moves `Host` out of the fields: there is one authority (ATK-18).
    private static func takeHost(_ head: inout RequestHead) throws(HTTP1Error) {
        guard let index = head.headers.index(of: .host) else {
            // HTTP/1.0 may omit it; an absolute target does not replace it in 1.1 (RFC 9112 §3.2).
            if head.minorVersion >= 1 { throw .host }
            return
        }
        if head.headers.index(of: .host, from: index &+ 1) != nil { throw .host }
        let value = head.headers.fields[index].value
        if value.count > 0, !isAuthority(head.headers.span(value)) { throw .host }
        if head.authorityRun.count > 0 {
            guard ByteScan.equalIgnoringCase(head.headers.span(value), head.authority) else { throw .host }
        } else {
            head.authorityRun = value
        }
        head.headers.remove(at: index)
    }
}
