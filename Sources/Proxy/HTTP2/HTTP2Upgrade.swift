internal import HTTP
internal import Upstream

/// The wish of an HTTP/1.1 request to go on in HTTP/2: `Upgrade: h2c` with `HTTP2-Settings` (RFC 7540 §3.2).
///
/// RFC 9113 has dropped it; clients that use it are still there.
enum HTTP2Upgrade {
    static func isAskedFor(_ headers: borrowing HeaderTable) -> Bool { headers.list(.upgrade, contains: "h2c") }

    /// The payload of the SETTINGS frame that the request carries; nil unless there is exactly one, well formed.
    static func settings(of headers: borrowing HeaderTable) -> [UInt8]? {
        guard let index = headers.index(of: .http2Settings), headers.index(of: .http2Settings, from: index + 1) == nil,
            headers.list(.connection, contains: "http2-settings"),
            let payload = decode([UInt8](copying: headers.value(at: index))), payload.count % 6 == 0
        else { return nil }
        return payload
    }

    /// Makes it a request that wishes nothing.
    static func remove(from head: inout RequestHead) {
        head.dropUpgrade()
        head.headers.remove(.http2Settings)
    }

    /// base64url without padding (RFC 4648 §5); nil for anything else.
    static func decode(_ text: [UInt8]) -> [UInt8]? {
        guard text.count % 4 != 1 else { return nil }
        var bytes: [UInt8] = []
        var (bits, count): (UInt32, UInt32) = (0, 0)
        for character in text {
            let value: UInt8
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character &- UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character &- UInt8(ascii: "a") &+ 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character &- UInt8(ascii: "0") &+ 52
            case UInt8(ascii: "-"): value = 62
            case UInt8(ascii: "_"): value = 63
            default: return nil
            }
            bits = bits << 6 | UInt32(value)
            count += 6
            if count >= 8 {
                count -= 8
                bytes.append(UInt8(truncatingIfNeeded: bits >> count))
            }
        }
        return bytes
    }
}

extension RequestHead {
    /// Passes over those wishes to speak another protocol; of several the others stay (RFC 9110 §7.8).
    mutating func dropUpgrades(matching matchers: [Upstream.StringMatcher]) {
        let wishes = (headers[.upgrade] ?? "").split(separator: ",").map { wish in
            String(wish.drop { $0 == " " || $0 == "\t" }.reversed().drop { $0 == " " || $0 == "\t" }.reversed())
        }
        let kept = wishes.filter { wish in
            let bytes = Array(wish.utf8)
            return !matchers.contains { $0.matches(bytes.span) }
        }
        guard kept.count < wishes.count else { return }
        if kept.isEmpty { dropUpgrade() } else { makeUpgrade(kept.joined(separator: ", ")) }
    }
}
