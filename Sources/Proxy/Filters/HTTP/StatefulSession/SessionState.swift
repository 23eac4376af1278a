internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// The host that a request must go to, named by a filter.
final class HostOverride {
    let address: HostAddress
    /// Without that host the request fails.
    let isStrict: Bool

    init(_ text: String, isStrict: Bool) {
        // What is no address is no host's either: a strict session fails by it.
        address = HostAddress(parsing: text) ?? .pipe(text)
        self.isStrict = isStrict
    }
}

/// Where a client keeps the host of its session: in a cookie or in a header.
///
/// Pure: headers and time go in. The client may write what it likes; it can name a host of the cluster, and nothing else.
enum SessionState: Sendable {
    case cookie(name: String, lifetime: Int64, path: String, attributes: String)
    case header(HeaderName)

    /// Whether requests with this path have a session.
    func covers(path request: [UInt8]) -> Bool {
        guard case .cookie(_, _, let path, _) = self, !path.isEmpty, path != "/" else { return true }
        let wanted = Array(path.utf8)
        guard request.starts(with: wanted) else { return false }
        if wanted.last == UInt8(ascii: "/") || request.count == wanted.count { return true }
        let next = request[wanted.count]
        return next == UInt8(ascii: "/") || next == UInt8(ascii: "?") || next == UInt8(ascii: "#")
    }

    /// The host that the client names; nil where there is none, or where its time is over.
    func host(in headers: borrowing HeaderTable, now: Int64) -> String? {
        switch self {
        case .header(let name):
            guard let value = headers.value(of: name),
                let text = Base64.decode(String(decoding: value, as: UTF8.self)), !text.isEmpty
            else { return nil }
            return String(decoding: text, as: UTF8.self)
        case .cookie(let name, let lifetime, _, _):
            guard let value = Cookies.value(Array(name.utf8), in: headers), !value.isEmpty,
                let bytes = Base64.decode(String(decoding: value, as: UTF8.self)), !bytes.isEmpty
            else { return nil }
            guard let content = SessionCookie(parsing: bytes) else { return String(decoding: bytes, as: UTF8.self) }
            if lifetime > 0, content.expires <= now { return nil }
            return content.address.isEmpty ? nil : content.address
        }
    }

    /// Tells the client which host it got.
    func tell(_ host: String, in headers: inout HeaderTable, now: Int64) {
        switch self {
        case .header(let name):
            try? headers.set(name.description, Base64.encode(Array(host.utf8)))
        case .cookie(let name, let lifetime, let path, let attributes):
            let expires = lifetime > 0 ? now.addingReportingOverflow(lifetime).partialValue : 0
            let value = Base64.encode(SessionCookie(address: host, expires: expires).bytes)
            var line = "\(name)=\"\(value)\""
            if lifetime > 0 { line += "; Max-Age=\(lifetime)" }
            if !path.isEmpty { line += "; Path=\(path)" }
            try? headers.append("set-cookie", line + attributes + "; HttpOnly")
        }
    }
}

/// What a session's cookie holds: Envoy's message `envoy.Cookie`, by hand.
struct SessionCookie: Hashable {
    let address: String
    /// Seconds since 1970; 0 is never.
    let expires: Int64

    init(address: String, expires: Int64) {
        self.address = address
        self.expires = expires
    }

    /// Nil when the bytes are no such message: then they are an address.
    init?(parsing bytes: [UInt8]) {
        var address: [UInt8] = []
        var expires: UInt64 = 0
        var index = 0
        func number() -> UInt64? {
            var value: UInt64 = 0
            var shift: UInt64 = 0
            while index < bytes.count, shift < 64 {
                let byte = bytes[index]
                index += 1
                value |= UInt64(byte & 0x7F) << shift
                if byte < 0x80 { return value }
                shift += 7
            }
            return nil
        }
        while index < bytes.count {
            switch number() {
            case 0x0A:
                guard let count = number().flatMap({ Int(exactly: $0) }), count <= bytes.count - index else {
                    return nil
                }
                address = Array(bytes[index..<(index + count)])
                index += count
            case 0x10:
                guard let value = number() else { return nil }
                expires = value
            default: return nil
            }
        }
        self.init(address: String(decoding: address, as: UTF8.self), expires: Int64(clamping: expires))
    }

    var bytes: [UInt8] {
        var bytes: [UInt8] = []
        ProtobufParts.field(1, Array(address.utf8), to: &bytes)
        guard expires > 0 else { return bytes }
        bytes.append(0x10)
        var value = UInt64(expires)
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        bytes.append(UInt8(truncatingIfNeeded: value))
        return bytes
    }
}
