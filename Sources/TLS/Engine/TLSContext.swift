internal import COpenSSL

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

    /// Our certificate, then its intermediates; exactly these are sent (TLS.md, measure 2).
    public var certificateChain: [Certificate] = []
    /// The key of our certificate.
    public var privateKey: PrivateKey?
    /// The authorities that peers' certificates must chain to.
    public var trust: [Certificate] = []
    /// What is asked of the peer's certificate.
    public var peerCertificate = PeerCertificate.required
    /// ALPN names, the preferred first: `h2`, `http/1.1`.
    public var applicationProtocols: [String] = []

    /// Nothing presented, nothing trusted.
    public init() {}

    /// From PEM texts: a chain and its key, and a bundle of authorities.
    public init(chainPEM: [UInt8]? = nil, keyPEM: [UInt8]? = nil, trustPEM: [UInt8]? = nil) throws(TLSError) {
        if let chainPEM { certificateChain = try Certificate.all(pem: chainPEM) }
        if let keyPEM { privateKey = try PrivateKey(pem: keyPEM) }
        if let trustPEM { trust = try Certificate.all(pem: trustPEM) }
    }
}

/// A configuration made ready for many connections.
///
/// Immutable; replace it whole when certificates or trust change. `@unchecked Sendable`: OpenSSL's contexts are counted atomically and only
/// read after they were set up (docs/threads.md).
public final class TLSContext: @unchecked Sendable {
    /// Which side of the handshake.
    public enum Role: Sendable {
        /// Answers handshakes.
        case server
        /// Begins handshakes.
        case client
    }

    /// Which side of the handshake.
    public let role: Role
    let pointer: OpaquePointer
    /// ALPN names, each behind its length; also what the selection callback looks at.
    fileprivate let protocols: [UInt8]
    let verifiesPeer: Bool

    /// Makes a context; fails when certificate, key and trust do not fit together.
    public init(_ configuration: TLSConfiguration, role: Role) throws(TLSError) {
        ERR_clear_error()
        self.role = role
        var protocols: [UInt8] = []
        for name in configuration.applicationProtocols {
            guard (1...255).contains(name.utf8.count) else { throw TLSError("TLS context", "ALPN name \"\(name)\"") }
            protocols.append(UInt8(name.utf8.count))
            protocols += Array(name.utf8)
        }
        self.protocols = protocols
        if case .notVerified = configuration.peerCertificate { verifiesPeer = false } else { verifiesPeer = true }
        pointer = try made(SSL_CTX_new(role == .server ? TLS_server_method() : TLS_client_method()), "TLS context")
        // All stored properties are set: a throw from here on runs deinit.
        try setUp()
        try present(configuration)
        try trust(configuration)
    }

    deinit { SSL_CTX_free(pointer) }

    private func setUp() throws(TLSError) {
        let operation = "TLS context"
        try checked(copenssl_set_min_version(pointer, TLS1_2_VERSION), operation)
        // TLS.md, measure 1: writing tickets costs a third of a mutual handshake, and resumption would skip verification.
        try checked(SSL_CTX_set_num_tickets(pointer, 0), operation)
        copenssl_no_session_cache(pointer)
        copenssl_set_options(pointer)
        // Measure 2, and buffers only while there is something in them; ACCEPT_MOVING_WRITE_BUFFER: a retried write may come from another array.
        let modes = SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        copenssl_set_mode(pointer, Int(modes))
        // Measure 5.
        try checked(copenssl_set_groups(pointer, "X25519:P-256"), operation)
        try checked(SSL_CTX_set_cipher_list(pointer, "ECDHE+AESGCM:ECDHE+CHACHA20"), operation)
        guard !protocols.isEmpty else { return }
        if role == .client {
            guard SSL_CTX_set_alpn_protos(pointer, protocols, UInt32(protocols.count)) == 0 else {
                throw TLSError.last(operation)
            }
        } else {
            // The context outlives its connections (each TLSEngine holds it), so an unretained reference is enough.
            SSL_CTX_set_alpn_select_cb(
                pointer,
                { _, chosen, chosenCount, offered, offeredCount, user in
                    guard let user, let chosen, let chosenCount, let offered else { return SSL_TLSEXT_ERR_NOACK }
                    let context = Unmanaged<TLSContext>.fromOpaque(user).takeUnretainedValue()
                    let list = UnsafeBufferPointer(start: offered, count: Int(offeredCount))
                    guard let range = TLSContext.select(context.protocols, among: list) else {
                        return SSL_TLSEXT_ERR_ALERT_FATAL
                    }
                    chosen.pointee = offered + range.lowerBound
                    chosenCount.pointee = UInt8(range.count)
                    return SSL_TLSEXT_ERR_OK
                }, Unmanaged.passUnretained(self).toOpaque())
        }
    }

    /// Where in the client's list our most preferred protocol is.
    private static func select(_ ours: [UInt8], among offered: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
        var position = 0
        while position < ours.count {
            let wanted = ours[(position + 1)..<(position + 1 + Int(ours[position]))]
            var other = 0
            while other < offered.count {
                let end = other + 1 + Int(offered[other])
                guard end <= offered.count else { return nil }
                if offered[(other + 1)..<end].elementsEqual(wanted) { return (other + 1)..<end }
                other = end
            }
            position = wanted.endIndex
        }
        return nil
    }

    private func present(_ configuration: TLSConfiguration) throws(TLSError) {
        guard let leaf = configuration.certificateChain.first else {
            if role == .server { throw TLSError("TLS context", "a server needs a certificate") }
            return
        }
        guard let key = configuration.privateKey else {
            throw TLSError("TLS context", "no private key for the certificate of \(leaf.subject)")
        }
        guard leaf.matches(key) else {
            throw TLSError("TLS context", "the private key belongs to another certificate than that of \(leaf.subject)")
        }
        try checked(SSL_CTX_use_certificate(pointer, leaf.pointer), "TLS context certificate")
        try checked(SSL_CTX_use_PrivateKey(pointer, key.pointer), "TLS context key")
        for intermediate in configuration.certificateChain.dropFirst() {
            try checked(copenssl_add_chain(pointer, intermediate.pointer), "TLS context chain")
        }
    }

    private func trust(_ configuration: TLSConfiguration) throws(TLSError) {
        let store = SSL_CTX_get_cert_store(pointer)
        for authority in configuration.trust {
            try checked(X509_STORE_add_cert(store, authority.pointer), "TLS context trust")
            if role == .server { try checked(SSL_CTX_add_client_CA(pointer, authority.pointer), "TLS context trust") }
        }
        switch configuration.peerCertificate {
        case .notVerified: SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
        case .optional: SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
        case .required:
            guard !configuration.trust.isEmpty else {
                throw TLSError("TLS context", "peers must be verified, but no authority is trusted")
            }
            SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        }
    }
}
