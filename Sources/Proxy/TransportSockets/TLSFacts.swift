internal import IO
internal import TLS

/// What is known of a connection's TLS: for headers, logs, metrics and policies.
///
/// Reads the engine when asked, so that a connection of which nobody asks anything pays nothing. `@unchecked Sendable`: touched on its
/// connection's loop alone, as everything that has a `ConnectionInfo`.
final class TLSFacts: @unchecked Sendable {
    private let engine: TLSEngine?
    private let stated: Stated?
    /// The connection's element of `x-forwarded-client-cert`, made for its first request.
    var forwardedElement: String?

    /// TLS of a connection that nobody opened, for explanations.
    struct Stated: Sendable {
        var peer: PeerFacts?
        var serverName: String?
        var applicationProtocol: String?
    }

    init(_ engine: TLSEngine) {
        self.engine = engine
        stated = nil
    }

    init(stated: Stated) {
        engine = nil
        self.stated = stated
    }

    /// What the peer's certificate says; nil when it showed none.
    var peer: PeerFacts? { engine?.peer ?? stated?.peer }
    /// What our certificate says.
    var local: PeerFacts? { engine?.local }
    /// Whether the peer showed a certificate.
    var isMutual: Bool { peer != nil }
    /// Whether the peer's certificate was verified.
    var isVerified: Bool { peer?.isVerified ?? false }
    /// `TLSv1.3`.
    var version: String { engine?.version ?? "" }
    /// `TLS_AES_128_GCM_SHA256`.
    var cipher: String { engine?.cipher ?? "" }
    /// `X25519`.
    var group: String { engine?.group ?? "" }
    /// SNI.
    var serverName: String? { engine?.serverName ?? stated?.serverName }
    /// ALPN's result.
    var applicationProtocol: String? { engine?.applicationProtocol ?? stated?.applicationProtocol }
    /// In hexadecimal digits.
    var sessionID: String { engine?.sessionID ?? "" }
    /// Whether an earlier session was resumed.
    var isResumed: Bool { engine?.isResumed ?? false }

    /// The value of a format command without its `DOWNSTREAM_` or `UPSTREAM_`: `PEER_URI_SAN`, `TLS_VERSION`; nil where there is none.
    ///
    /// Validity is not among them: it is a time, with a format of its own (`peer.notBefore`, `peer.notAfter`).
    func value(of command: String) -> String? {
        let text: String? =
            switch command {
            case "TLS_VERSION": version
            case "TLS_CIPHER": cipher
            case "TLS_SESSION_ID": sessionID
            case "TLS_GROUP", "TLS_CURVE": group
            case "TLS_SNI": serverName
            case "PEER_URI_SAN": Self.list(peer?.uris)
            case "PEER_DNS_SAN": Self.list(peer?.dnsNames)
            case "PEER_EMAIL_SAN": Self.list(peer?.emails)
            case "PEER_IP_SAN": Self.list(peer.map(Self.addresses))
            case "PEER_SUBJECT": peer?.subject
            case "PEER_ISSUER": peer?.issuer
            case "PEER_SERIAL": peer?.serial
            case "PEER_FINGERPRINT_256": peer.map { Hexadecimal.text($0.fingerprint) }
            case "PEER_FINGERPRINT_1": peer.map { Hexadecimal.text($0.fingerprintSHA1) }
            case "PEER_CHAIN_FINGERPRINTS_256":
                Self.list(peer?.chain.map { Hexadecimal.text(SHA256.hash($0)) })
            case "PEER_CERT": peer.map { PEMText.urlEncoded($0.chain.prefix(1)) }
            case "LOCAL_URI_SAN": Self.list(local?.uris)
            case "LOCAL_DNS_SAN": Self.list(local?.dnsNames)
            case "LOCAL_EMAIL_SAN": Self.list(local?.emails)
            case "LOCAL_IP_SAN": Self.list(local.map(Self.addresses))
            case "LOCAL_SUBJECT": local?.subject
            default: nil
            }
        return text?.isEmpty == false ? text : nil
    }

    private static func list(_ texts: [String]?) -> String? { texts?.joined(separator: ",") }

    private static func addresses(_ facts: PeerFacts) -> [String] {
        facts.addresses.compactMap { IPAddress(bytes: $0).map { "\($0)" } }
    }
}
