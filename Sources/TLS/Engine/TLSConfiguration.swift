/// A version of the protocol.
public enum TLSVersion: Int32, Sendable, Hashable, Comparable {
    /// TLS 1.0.
    case v1_0 = 0x0301
    /// TLS 1.1.
    case v1_1 = 0x0302
    /// TLS 1.2.
    case v1_2 = 0x0303
    /// TLS 1.3.
    case v1_3 = 0x0304

    /// Older is less.
    public static func < (left: TLSVersion, right: TLSVersion) -> Bool { left.rawValue < right.rawValue }
}

/// A certificate with its key, as one side presents it.
public struct TLSIdentity: Sendable {
    /// The certificate, then its intermediates; exactly these are sent (TLS.md, measure 2).
    public var chain: [Certificate]
    /// The certificate's key.
    public var key: PrivateKey
    /// An OCSP response that is sent to clients who ask for one; DER.
    public var staple: OCSPStaple?

    /// A chain and its key.
    public init(chain: [Certificate], key: PrivateKey, staple: OCSPStaple? = nil) {
        self.chain = chain
        self.key = key
        self.staple = staple
    }
}

/// What one side of TLS connections presents, trusts and speaks.
public struct TLSConfiguration: Sendable {
    /// What is asked of the peer's certificate.
    public enum PeerCertificate: Sendable {
        /// None is asked for (server), or whatever comes is accepted (client: for tests and bootstrap only).
        case notVerified
        /// A server asks for one; a peer without is accepted, a wrong one is not.
        case optional
        /// There must be one that chains to `trust`.
        case required
    }

    /// When a certificate without a usable OCSP response is presented.
    public enum StaplePolicy: Sendable {
        /// Always.
        case lenient
        /// Unless it has a response that has expired.
        case strict
        /// Never.
        case must
    }

    /// Our certificate, then its intermediates; exactly these are sent (TLS.md, measure 2).
    public var certificateChain: [Certificate] = []
    /// The key of our certificate.
    public var privateKey: PrivateKey?
    /// Our certificates when there are several: a server chooses by the client's SNI and by the kinds of keys it knows.
    ///
    /// The first is presented where none fits. When it is not empty, `certificateChain` and `privateKey` are not looked at.
    public var identities: [TLSIdentity] = []
    /// Without a certificate for the name the client asks for, look for one by key type among all instead of taking the first.
    public var scansAllOnNameMismatch = false
    /// When a certificate is presented without its OCSP response.
    public var staplePolicy = StaplePolicy.lenient

    /// The authorities that peers' certificates must chain to.
    public var trust: [Certificate] = []
    /// What is asked of the peer's certificate.
    public var peerCertificate = PeerCertificate.required
    /// The peer's chain is not verified, only what `judge` says counts.
    public var acceptsUntrusted = false
    /// Certificates are accepted before and after their time.
    public var allowsExpired = false
    /// Revocation lists, PEM; with any, every certificate of a chain needs one of its issuer.
    public var revocationLists: [UInt8] = []
    /// Only the leaf is looked up in the revocation lists.
    public var checksLeafRevocationOnly = false
    /// Most certificates between leaf and authority; nil is OpenSSL's bound.
    public var verifyDepth: Int32?
    /// Asked at every connection, also on a resumed one, what else speaks against a peer whose chain is verified.
    public var judge: (@Sendable (PeerFacts) -> PeerRefusal?)?
    /// Verified leaves that are remembered (TLS.md, measure 4); 0 remembers none.
    public var remembersVerified = 0

    /// The oldest version spoken.
    public var minimumVersion = TLSVersion.v1_2
    /// The newest version spoken.
    public var maximumVersion = TLSVersion.v1_3
    /// Cipher suites of TLS 1.2, as OpenSSL's list.
    public var cipherList = "ECDHE+AESGCM:ECDHE+CHACHA20"
    /// A server follows the client's preference among cipher suites.
    public var prefersClientCiphers = false
    /// Key exchange groups, the preferred first, as OpenSSL's list; TLS.md, measure 5.
    ///
    /// With TLS 1.2 they are the curves of certificates too, which is what the last two are there for.
    public var groups = "X25519:P-256:P-384:P-521"
    /// Signature algorithms, as OpenSSL's list; nil is OpenSSL's.
    public var signatureAlgorithms: String?
    /// ALPN names, the preferred first: `h2`, `http/1.1`.
    public var applicationProtocols: [String] = []
    /// A client that offers other ALPN names only is refused (else: the connection goes on without one).
    public var refusesOtherProtocols = true

    /// Keys of session tickets, the first seals; none means no tickets (TLS.md, measure 1).
    ///
    /// Never used where client certificates are asked for: a resumed session would skip their verification.
    public var ticketKeys: [TLSTicketKey] = []
    /// How long a session may be resumed.
    public var sessionTimeout: Duration?
    /// Sessions that a client keeps for resumption, for each name.
    public var clientSessionsMax = 0

    /// A certificate presented as it is.
    var unreadCertificate: [UInt8]?

    /// Gets a line of the key log for connections that asked for it (`TLSEngine.logsKeys`).
    public var keyLog: (@Sendable (String) -> Void)?

    /// Nothing presented, nothing trusted.
    public init() {}

    /// From PEM texts: a chain and its key, and a bundle of authorities.
    public init(chainPEM: [UInt8]? = nil, keyPEM: [UInt8]? = nil, trustPEM: [UInt8]? = nil) throws(TLSError) {
        if let chainPEM { certificateChain = try Certificate.all(pem: chainPEM) }
        if let keyPEM { privateKey = try PrivateKey(pem: keyPEM) }
        if let trustPEM { trust = try Certificate.all(pem: trustPEM) }
    }

    /// Of a certificate that we would refuse to read: to test who accepts it.
    public init(presentingUnread der: [UInt8], key: PrivateKey, trusting authority: CertificateAuthority) {
        unreadCertificate = der
        privateKey = key
        trust = [authority.certificate]
    }

    /// What is presented, wherever it was put.
    func presented() throws(TLSError) -> [TLSIdentity] {
        guard identities.isEmpty else { return identities }
        guard let leaf = certificateChain.first else { return [] }
        guard let privateKey else {
            throw TLSError("TLS context", "no private key for the certificate of \(leaf.subject)")
        }
        return [TLSIdentity(chain: certificateChain, key: privateKey)]
    }
}

/// A key of session tickets: its name, and one half each for sealing and for authenticating.
public struct TLSTicketKey: Sendable, Hashable {
    /// 16 bytes in every ticket.
    let name: [UInt8]
    /// 32 bytes for HMAC-SHA-256.
    let authentication: [UInt8]
    /// 32 bytes for AES-256.
    let encryption: [UInt8]

    /// The bytes of a key, in Envoy's order: name, HMAC key, AES key.
    public static let byteCount = 80

    /// From 80 bytes; nil for any other number.
    public init?(_ bytes: [UInt8]) {
        guard bytes.count == TLSTicketKey.byteCount else { return nil }
        name = Array(bytes[0..<16])
        authentication = Array(bytes[16..<48])
        encryption = Array(bytes[48..<80])
    }
}
