/// The name and value pairs of a stream, and the dictionary that packs them (SPDY draft 3.1, section 2.6.10).
enum SPDYHeaders {
    /// Pairs of one stream at most.
    static let countMax = 64

    /// Words that both sides know: each with its length before it, then a text of values.
    static let dictionary: [UInt8] = {
        let names = """
            options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age \
            allow authorization cache-control connection content-base content-encoding content-language \
            content-length content-location content-md5 content-range content-type date etag expect expires from \
            host if-match if-modified-since if-none-match if-range if-unmodified-since last-modified location \
            max-forwards pragma proxy-authenticate proxy-authorization range referer retry-after server te trailer \
            transfer-encoding upgrade user-agent vary via warning www-authenticate method get status
            """.split(separator: " ")
        let words =
            names.map(String.init) + [
                "200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin",
            ]
        let values =
            "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
            + "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
            + "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
            + "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
            + "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
            + "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
        return words.flatMap { [0, 0, 0, UInt8($0.utf8.count)] + Array($0.utf8) } + Array(values.utf8)
    }()

    /// The pairs in unpacked bytes; nil when they are none.
    static func parse(_ bytes: [UInt8]) -> [String: String]? {
        var rest = bytes[...]
        func number() -> Int? {
            guard rest.count >= 4 else { return nil }
            defer { rest = rest.dropFirst(4) }
            return rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        }
        func text() -> String? {
            guard let count = number(), count <= rest.count else { return nil }
            defer { rest = rest.dropFirst(count) }
            return String(decoding: rest.prefix(count), as: UTF8.self)
        }
        guard let count = number(), count <= countMax else { return nil }
        var headers: [String: String] = [:]
        for _ in 0..<count {
            guard let name = text(), let value = text() else { return nil }
            headers[name.lowercased()] = value
        }
        return headers
    }

    /// The bytes of pairs, not packed yet.
    static func bytes(_ headers: [String: String]) -> [UInt8] {
        func number(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
        func text(_ value: String) -> [UInt8] { number(value.utf8.count) + Array(value.utf8) }
        return number(headers.count)
            + headers.sorted { $0.key < $1.key }.flatMap { text($0.key.lowercased()) + text($0.value) }
    }
}
