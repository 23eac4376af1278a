internal import Serialization
internal import TLS

/// What oauth2 keeps in cookies and sends through the authorization server, and how it knows it again.
///
/// Pure but for the random nonce of an encryption. Names and forms are Envoy's, so that proxies of both kinds may stand side by side.
enum OAuth2Tokens {
    /// In front of what is encrypted.
    private static let marker = "gcm."

    /// The code over a session: where it is for, when it ends, and its tokens.
    static func sessionCode(
        secret: [UInt8], domain: String, expires: String, access: String, id: String, refresh: String
    ) -> String {
        let message = [domain, expires, access, id, refresh].joined(separator: "\n")
        return Base64.encode(HMACSHA256.authenticate(Array(message.utf8), key: secret))
    }

    /// Whether a session's code is ours, in constant time.
    static func isValid(_ code: String, _ expected: String) -> Bool {
        // Authenticating both under a key of the moment compares them in constant time, whatever their lengths.
        let key = SecureRandom.bytes(32)
        return HMACSHA256.isValid(
            HMACSHA256.authenticate(Array(code.utf8), key: key), for: Array(expected.utf8), key: key)
    }

    /// A token against forged callbacks: a number with its code.
    static func csrfToken(nonce: String, secret: [UInt8]) -> String {
        nonce + "." + Base64.encode(HMACSHA256.authenticate(Array(nonce.utf8), key: secret))
    }

    /// Whether such a token is ours.
    static func isOurs(_ token: String, secret: [UInt8]) -> Bool {
        guard let dot = token.firstIndex(of: ".") else { return false }
        return isValid(token, csrfToken(nonce: String(token[..<dot]), secret: secret))
    }

    /// The challenge that goes with a code verifier (RFC 7636: S256).
    static func challenge(of verifier: String) -> String { Base64.encodeURL(SHA256.hash(Array(verifier.utf8))) }

    /// Encrypted for a cookie.
    ///
    /// - Parameter isLegacy: As Envoy does by default, by AES-256-CBC, which nothing authenticates (CVE-2026-47775).
    static func encrypt(_ text: String, secret: [UInt8], isLegacy: Bool = false) -> String? {
        if isLegacy {
            guard let cipher = try? AESCBC(key: SHA256.hash(secret)), let sealed = try? cipher.seal(Array(text.utf8))
            else { return nil }
            return Base64.encodeURL(sealed)
        }
        guard let cipher = try? AESGCM(key: SHA256.hash(secret)),
            let sealed = try? cipher.seal(Array(text.utf8), context: [])
        else { return nil }
        return marker + Base64.encodeURL(sealed)
    }

    /// What was encrypted; nil when it is not, or not with this secret, or no text that a header field may have.
    static func decrypt(_ text: String, secret: [UInt8]) -> String? {
        guard text.hasPrefix(marker), let sealed = Base64.decode(String(text.dropFirst(marker.utf8.count))),
            let cipher = try? AESGCM(key: SHA256.hash(secret)), let opened = try? cipher.open(sealed, context: [])
        else { return nil }
        return fieldText(opened)
    }

    /// What was encrypted as Envoy does by default: without a marker, by AES-256-CBC.
    static func decryptLegacy(_ text: String, secret: [UInt8]) -> String? {
        guard !text.hasPrefix(marker), let sealed = Base64.decode(text),
            let cipher = try? AESCBC(key: SHA256.hash(secret)), let opened = try? cipher.open(sealed)
        else { return nil }
        return fieldText(opened)
    }

    private static func fieldText(_ bytes: [UInt8]) -> String? {
        guard bytes.allSatisfy({ $0 == 0x09 || ($0 >= 0x20 && $0 != 0x7F) }) else { return nil }
        return String(validating: bytes, as: UTF8.self)
    }

    /// The moment at which a token of JWT's form ends, in seconds since 1970; nil when it does not say.
    static func expiry(of token: String) -> Int64? {
        let parts = token.split(separator: ".", omittingEmptySubsequences: false)
        guard parts.count == 3, let bytes = Base64.decode(String(parts[1])), let claims = try? JSON.parse(bytes),
            case .integer(let seconds)? = claims["exp"], seconds > 0
        else { return nil }
        return seconds
    }

    /// Two lower-case digits for each byte.
    static func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    /// Percent-encoded but for letters, digits and `-._~`.
    static func escape(_ text: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"),
                UInt8(ascii: "~"):
                bytes.append(byte)
            default: bytes += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

/// What a user brings back from the authorization server: where he wanted to go, and what shows that we sent him there.
///
/// Pure. Nothing in it is trusted before its token is known.
enum OAuth2State {
    case complete((url: String, token: String, flow: String))
    /// JSON without what is needed.
    case incomplete(String)
    case noObject(String)

    init(reading state: String) {
        let bytes = Base64.decode(state) ?? []
        let text = String(decoding: bytes, as: UTF8.self)
        guard let json = try? JSON.parse(bytes), case .object = json else {
            self = .noObject(text)
            return
        }
        guard let url = json["url"]?.string, let token = json["csrf_token"]?.string else {
            self = .incomplete(text)
            return
        }
        self = .complete((url, token, json["flow_id"]?.string ?? ""))
    }
}

/// An absolute URL of HTTP.
struct AbsoluteURL: Sendable, Equatable {
    var scheme: String
    /// With its port, if it has one.
    var authority: String
    /// Path and query; `/` at least.
    var path: String

    init?(_ text: String) {
        guard let colon = text.firstRange(of: "://") else { return nil }
        scheme = String(text[..<colon.lowerBound])
        guard ["http", "https"].contains(scheme.lowercased()) else { return nil }
        let rest = text[colon.upperBound...]
        let end = rest.firstIndex { $0 == "/" || $0 == "?" || $0 == "#" } ?? rest.endIndex
        authority = String(rest[..<end])
        guard !authority.isEmpty, authority.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F && $0 != UInt8(ascii: "\\") }),
            !authority.contains("@")
        else { return nil }
        var path = rest[end...].prefix { $0 != "#" }
        if path.first != "/" { path = "/" + path }
        self.path = String(path)
    }

    /// Without its port, and without the brackets of an IPv6 address.
    var host: String {
        if authority.hasPrefix("["), let end = authority.firstIndex(of: "]") {
            return String(authority[authority.index(after: authority.startIndex)..<end])
        }
        return String(authority.prefix { $0 != ":" })
    }

    /// Whether its host is in a list of names and `*.` patterns; an empty list has all.
    func isAllowed(_ domains: [String]) -> Bool {
        let host = host.lowercased()
        return domains.isEmpty
            || domains.contains { domain in
                let domain = domain.lowercased()
                guard domain.hasPrefix("*.") else { return domain == host }
                let suffix = domain.dropFirst()
                return host.hasSuffix(suffix) && host.utf8.count > suffix.utf8.count
            }
    }
}
