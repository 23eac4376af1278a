internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// Which peers are accepted among those whose chain holds: by their names, certificates or keys.
///
/// ATK-26: names are compared byte for byte and kind by kind; only a DNS name of the certificate may be a wildcard, and only its first label.
struct PeerPolicy: Sendable {
    private enum Kind: Sendable {
        case dns, uri, email, ip
        case other(String)
    }

    private struct NameMatcher: Sendable {
        var kind: Kind
        var matcher: Upstream.StringMatcher
        /// The name of an exact DNS matcher, which a wildcard in the certificate may stand for.
        var exactName: String?
    }

    private var names: [NameMatcher] = []
    /// SHA-256 of accepted certificates.
    private var certificates: Set<[UInt8]> = []
    /// SHA-256 of accepted public keys.
    private var keys: Set<[UInt8]> = []

    var isEmpty: Bool { names.isEmpty && certificates.isEmpty && keys.isEmpty }

    /// Names are all that it goes by.
    var namesPeers: Bool { !names.isEmpty && certificates.isEmpty && keys.isEmpty }

    init(compiling message: CertificateValidationContext, at path: String) throws(ConfigurationError) {
        for (index, matcher) in message.matchTypedSubjectAltNames.enumerated() {
            let here = "\(path).match_typed_subject_alt_names[\(index)]"
            let kind: Kind
            switch matcher.sanType {
            case .dns: kind = .dns
            case .uri: kind = .uri
            case .email: kind = .email
            case .ipAddress: kind = .ip
            case .otherName:
                guard !matcher.oid.isEmpty else {
                    throw ConfigurationError(at: here + ".oid", "an OID is needed for OTHER_NAME")
                }
                kind = .other(matcher.oid)
            case .unspecified, .unrecognized:
                throw ConfigurationError(
                    at: here + ".san_type", "one of EMAIL, DNS, URI, IP_ADDRESS, OTHER_NAME is needed")
            }
            names.append(try Self.compile(matcher.matcher, kind, at: here + ".matcher"))
        }
        for (index, matcher) in message.matchSubjectAltNames.enumerated() {
            let here = "\(path).match_subject_alt_names[\(index)]"
            for kind in [Kind.dns, .uri, .email, .ip] { names.append(try Self.compile(matcher, kind, at: here)) }
        }
        for (index, text) in message.verifyCertificateHash.enumerated() {
            guard let digest = Self.hexadecimal(text) else {
                throw ConfigurationError(
                    at: "\(path).verify_certificate_hash[\(index)]", "a SHA-256 in 64 hexadecimal digits is needed")
            }
            certificates.insert(digest)
        }
        for (index, text) in message.verifyCertificateSpki.enumerated() {
            guard let digest = Base64.decode(text), digest.count == 32 else {
                throw ConfigurationError(
                    at: "\(path).verify_certificate_spki[\(index)]", "a SHA-256 in Base64 is needed")
            }
            keys.insert(digest)
        }
    }

    private static func compile(
        _ message: EnvoyAPI.StringMatcher?, _ kind: Kind, at path: String
    ) throws(ConfigurationError) -> NameMatcher {
        guard let message else { throw ConfigurationError(at: path, "a matcher is needed") }
        var exact: String?
        if case .dns = kind, case .exact(let name) = message.matchPattern { exact = name.lowercased() }
        return NameMatcher(
            kind: kind, matcher: try Upstream.StringMatcher(compiling: message, path: path), exactName: exact)
    }

    private static func hexadecimal(_ text: String) -> [UInt8]? {
        let digits = text.filter { $0 != ":" }
        guard digits.utf8.count == 64 else { return nil }
        var bytes: [UInt8] = []
        var high: UInt8?
        for digit in digits {
            guard let value = digit.hexDigitValue.map({ UInt8($0) }) else { return nil }
            if let first = high {
                bytes.append(first << 4 | value)
                high = nil
            } else {
                high = value
            }
        }
        return bytes
    }

    /// Why a peer is refused; nil when it is accepted.
    func refusal(of facts: PeerFacts) -> PeerRefusal? {
        if !names.isEmpty, !facts.names.contains(where: { name in names.contains { Self.matches($0, name) } }) {
            return .name
        }
        guard !certificates.isEmpty || !keys.isEmpty else { return nil }
        return certificates.contains(facts.fingerprint) || keys.contains(facts.keyFingerprint) ? nil : .pin
    }

    private static func matches(_ matcher: NameMatcher, _ name: PeerFacts.Name) -> Bool {
        let text: String
        switch (matcher.kind, name) {
        case (.dns, .dns(let dns)):
            if let exact = matcher.exactName { return HostName.isGood(certificate: dns, for: exact) }
            text = dns
        case (.uri, .uri(let uri)): text = uri
        case (.email, .email(let email)): text = email
        case (.ip, .ip(let bytes)):
            guard let address = IPAddress(bytes: bytes) else { return false }
            text = "\(address)"
        case (.other(let wanted), .other(let oid, let value)):
            guard wanted == oid else { return false }
            text = value
        default: return false
        }
        return matcher.matcher.matches(Array(text.utf8).span)
    }
}

/// Host names of certificates (RFC 6125).
enum HostName {
    /// Whether a name of a certificate, perhaps a wildcard, is good for a host; `host` in lower case.
    ///
    /// A wildcard is a whole first label and stands for exactly one.
    static func isGood(certificate: String, for host: String) -> Bool {
        let name = certificate.lowercased()
        if name == host { return true }
        guard name.hasPrefix("*."), let dot = host.firstIndex(of: "."), dot > host.startIndex else { return false }
        let rest = name.dropFirst(2)
        // `*.com` is good for nothing.
        return rest.contains(".") && host[host.index(after: dot)...] == rest
    }
}
