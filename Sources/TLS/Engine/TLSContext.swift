internal import COpenSSL
internal import Synchronization

/// A configuration made ready for many connections.
///
/// Immutable; replace it whole when certificates or trust change: connections keep the one they began with. `@unchecked Sendable`: OpenSSL's
/// contexts are counted atomically and only read after they were set up (docs/threads.md).
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
    let protocols: [UInt8]
    let refusesOtherProtocols: Bool
    let verifiesPeer: Bool
    /// The chain must lead to an authority that is trusted.
    let verifiesChain: Bool
    let judge: (@Sendable (PeerFacts) -> PeerRefusal?)?
    let cache: VerifiedLeafCache?
    /// The earliest `nextUpdate` of the revocation lists.
    private(set) var revocationsHoldUntil = Int64.max
    let ticketKeys: [TLSTicketKey]
    let keyLog: (@Sendable (String) -> Void)?
    let sessions: ClientSessions?
    /// What is presented, when there is a choice.
    private(set) var choice: IdentityChoice?
    /// What the certificates say that are presented, in their order.
    private(set) var presented: [PeerFacts] = []

    /// Handshakes whose peer's chain was verified before, and those whose was not.
    public var verificationCacheUse: (hits: UInt64, misses: UInt64) {
        guard let cache else { return (0, 0) }
        return (cache.hits.load(ordering: .relaxed), cache.misses.load(ordering: .relaxed))
    }

    /// ALPN names as they are sent: each after its length (RFC 7301 section 3.1).
    static func protocolNames(_ names: [String]) throws(TLSError) -> [UInt8] {
        var bytes: [UInt8] = []
        for name in names {
            guard (1...255).contains(name.utf8.count) else { throw TLSError("TLS context", "ALPN name \"\(name)\"") }
            bytes.append(UInt8(name.utf8.count))
            bytes += Array(name.utf8)
        }
        return bytes
    }

    /// Makes a context; fails when certificate, key and trust do not fit together.
    public init(_ configuration: TLSConfiguration, role: Role) throws(TLSError) {
        ERR_clear_error()
        self.role = role
        protocols = try Self.protocolNames(configuration.applicationProtocols)
        refusesOtherProtocols = configuration.refusesOtherProtocols
        if case .notVerified = configuration.peerCertificate { verifiesPeer = false } else { verifiesPeer = true }
        verifiesChain = verifiesPeer && !configuration.acceptsUntrusted
        judge = configuration.judge
        cache =
            verifiesChain && configuration.remembersVerified > 0
            ? VerifiedLeafCache(maximum: configuration.remembersVerified) : nil
        // A session that is resumed brings its client's certificate along unverified.
        let asksForCertificate = role == .server && verifiesPeer
        ticketKeys = asksForCertificate || role == .client ? [] : configuration.ticketKeys
        keyLog = configuration.keyLog
        sessions =
            role == .client && configuration.clientSessionsMax > 0
            ? ClientSessions(maximum: configuration.clientSessionsMax) : nil
        let method = role == .server ? TLS_server_method() : TLS_client_method()
        pointer = try made(SSL_CTX_new_ex(copenssl_slim_context(), nil, method), "TLS context")
        // All stored properties are set: a throw from here on runs deinit.
        try setUp(configuration)
        try present(configuration)
        try trust(configuration)
        try setUpCallbacks(configuration)
        try setUpResumption(configuration)
    }

    deinit { SSL_CTX_free(pointer) }

    private func setUp(_ configuration: TLSConfiguration) throws(TLSError) {
        let operation = "TLS context"
        guard configuration.minimumVersion <= configuration.maximumVersion else {
            throw TLSError(operation, "the oldest version is newer than the newest")
        }
        try checked(copenssl_set_min_version(pointer, configuration.minimumVersion.rawValue), operation)
        try checked(copenssl_set_max_version(pointer, configuration.maximumVersion.rawValue), operation)
        // TLS.md, measure 1: writing tickets costs a third of a mutual handshake, and resumption would skip verification.
        try checked(SSL_CTX_set_num_tickets(pointer, 0), operation)
        copenssl_no_session_cache(pointer)
        copenssl_set_options(pointer)
        if !configuration.prefersClientCiphers { copenssl_prefer_server_ciphers(pointer) }
        // Measure 2, and buffers only while there is something in them; ACCEPT_MOVING_WRITE_BUFFER: a retried write may come from another array.
        let modes = SSL_MODE_NO_AUTO_CHAIN | SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER
        copenssl_set_mode(pointer, Int(modes))
        try checked(copenssl_set_groups(pointer, configuration.groups), "\(operation) groups \(configuration.groups)")
        try checked(
            SSL_CTX_set_ciphersuites(
                pointer, "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"), operation)
        try checked(
            SSL_CTX_set_cipher_list(pointer, configuration.cipherList),
            "\(operation) cipher suites \(configuration.cipherList)")
        if let algorithms = configuration.signatureAlgorithms {
            try checked(
                copenssl_set_signature_algorithms(pointer, algorithms),
                "\(operation) signature algorithms \(algorithms)")
        }
        if role == .client, !protocols.isEmpty {
            guard SSL_CTX_set_alpn_protos(pointer, protocols, UInt32(protocols.count)) == 0 else {
                throw TLSError.last(operation)
            }
        }
    }

    private func present(_ configuration: TLSConfiguration) throws(TLSError) {
        if let der = configuration.unreadCertificate {
            try checked(SSL_CTX_use_certificate_ASN1(pointer, Int32(clamping: der.count), der), "TLS context")
            if let key = configuration.privateKey {
                try checked(SSL_CTX_use_PrivateKey(pointer, key.pointer), "TLS context")
            }
            return
        }
        let identities = try configuration.presented()
        guard let first = identities.first, let leaf = first.chain.first else {
            if role == .server { throw TLSError("TLS context", "a server needs a certificate") }
            return
        }
        for identity in identities {
            guard let leaf = identity.chain.first else {
                throw TLSError("TLS context", "a chain without a certificate")
            }
            guard leaf.matches(identity.key) else {
                throw TLSError(
                    "TLS context", "the private key belongs to another certificate than that of \(leaf.subject)")
            }
        }
        try checked(SSL_CTX_use_certificate(pointer, leaf.pointer), "TLS context certificate")
        try checked(SSL_CTX_use_PrivateKey(pointer, first.key.pointer), "TLS context key")
        for intermediate in first.chain.dropFirst() {
            try checked(copenssl_add_chain(pointer, intermediate.pointer), "TLS context chain")
        }
        for identity in identities {
            if let leaf = identity.chain.first { presented.append(try PeerFacts(leaf)) }
        }
        guard role == .server else { return }
        let hasStaples = identities.contains { $0.staple != nil }
        if identities.count > 1 || configuration.staplePolicy != .lenient || hasStaples {
            choice = try IdentityChoice(
                identities, policy: configuration.staplePolicy, scansAll: configuration.scansAllOnNameMismatch)
        }
    }

    private func trust(_ configuration: TLSConfiguration) throws(TLSError) {
        let store = SSL_CTX_get_cert_store(pointer)
        for authority in configuration.trust {
            try checked(X509_STORE_add_cert(store, authority.pointer), "TLS context trust")
            if role == .server { try checked(SSL_CTX_add_client_CA(pointer, authority.pointer), "TLS context trust") }
        }
        // An intermediate that is trusted ends the chain as a root does (Envoy does the same).
        var flags = UInt(X509_V_FLAG_PARTIAL_CHAIN)
        if configuration.allowsExpired { flags |= UInt(X509_V_FLAG_NO_CHECK_TIME) }
        if !configuration.revocationLists.isEmpty {
            flags |= UInt(X509_V_FLAG_CRL_CHECK)
            if !configuration.checksLeafRevocationOnly { flags |= UInt(X509_V_FLAG_CRL_CHECK_ALL) }
            try addRevocationLists(configuration.revocationLists, to: store)
        }
        X509_STORE_set_flags(store, flags)
        if let depth = configuration.verifyDepth { SSL_CTX_set_verify_depth(pointer, depth) }
        switch configuration.peerCertificate {
        case .notVerified: SSL_CTX_set_verify(pointer, SSL_VERIFY_NONE, nil)
        case .optional: SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER, nil)
        case .required:
            guard !configuration.trust.isEmpty || configuration.acceptsUntrusted else {
                throw TLSError("TLS context", "peers must be verified, but no authority is trusted")
            }
            SSL_CTX_set_verify(pointer, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        }
    }

    private func addRevocationLists(_ pem: [UInt8], to store: OpaquePointer?) throws(TLSError) {
        let bio = try MemoryBIO(pem)
        var count = 0
        while let list = PEM_read_bio_X509_CRL(bio.pointer, nil, nil, nil) {
            defer { X509_CRL_free(list) }
            try checked(X509_STORE_add_crl(store, list), "revocation list")
            if let next = X509_CRL_get0_nextUpdate(list) {
                revocationsHoldUntil = min(revocationsHoldUntil, try Certificate.seconds(next))
            }
            count += 1
        }
        let error = ERR_peek_last_error()
        guard count > 0, error == 0 || copenssl_error_reason(error) == PEM_R_NO_START_LINE else {
            throw TLSError.last("revocation lists PEM")
        }
        ERR_clear_error()
    }

    private func setUpCallbacks(_ configuration: TLSConfiguration) throws(TLSError) {
        // The context outlives its connections (each TLSEngine holds it), so an unretained reference is enough.
        let user = Unmanaged.passUnretained(self).toOpaque()
        SSL_CTX_set_cert_verify_callback(pointer, { store, _ in TLSEngine.verify(store) }, nil)
        if role == .server, !protocols.isEmpty {
            SSL_CTX_set_alpn_select_cb(
                pointer,
                { _, chosen, chosenCount, offered, offeredCount, user in
                    guard let user, let chosen, let chosenCount, let offered else { return SSL_TLSEXT_ERR_NOACK }
                    let context = Unmanaged<TLSContext>.fromOpaque(user).takeUnretainedValue()
                    let list = UnsafeBufferPointer(start: offered, count: Int(offeredCount))
                    guard let range = ProtocolList.select(context.protocols, among: list) else {
                        return context.refusesOtherProtocols ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK
                    }
                    chosen.pointee = offered + range.lowerBound
                    chosenCount.pointee = UInt8(range.count)
                    return SSL_TLSEXT_ERR_OK
                }, user)
        }
        if choice != nil {
            SSL_CTX_set_cert_cb(pointer, { ssl, _ in TLSEngine.choosesIdentity(ssl) ? 1 : 0 }, nil)
            copenssl_set_status_callback(pointer, { ssl, _ in TLSEngine.staples(ssl) }, nil)
        }
        if keyLog != nil {
            SSL_CTX_set_keylog_callback(pointer) { ssl, line in
                guard let ssl, let line, let engine = TLSEngine.owner(of: ssl) else { return }
                engine.logKey(String(cString: line))
            }
        }
    }

    private func setUpResumption(_ configuration: TLSConfiguration) throws(TLSError) {
        // Sessions of another context are none of this one's: trust and policy may differ.
        let generation = SecureRandom.bytes(16)
        try checked(SSL_CTX_set_session_id_context(pointer, generation, UInt32(generation.count)), "TLS context")
        if let timeout = configuration.sessionTimeout {
            SSL_CTX_set_timeout(pointer, Int(clamping: timeout.components.seconds))
        }
        if !ticketKeys.isEmpty {
            copenssl_allow_tickets(pointer)
            try checked(SSL_CTX_set_num_tickets(pointer, 1), "TLS context")
            copenssl_set_ticket_callback(pointer) { ssl, name, vector, cipher, code, isSealing in
                TicketSealer.prepare(ssl, name, vector, cipher, code, isSealing: isSealing == 1)
            }
        }
        if sessions != nil {
            copenssl_allow_tickets(pointer)
            copenssl_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL))
            SSL_CTX_sess_set_new_cb(pointer) { ssl, session in
                guard let ssl, let session, let engine = TLSEngine.owner(of: ssl) else { return 0 }
                return engine.keepSession(session) ? 1 : 0
            }
        }
    }
}

/// ALPN's list format: names, each behind its length.
enum ProtocolList {
    /// Where in the client's list our most preferred protocol is.
    static func select(_ ours: [UInt8], among offered: UnsafeBufferPointer<UInt8>) -> Range<Int>? {
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
}

extension TLSContext {
    /// Whether a name is that of a cipher suite of TLS 1.2.
    public static func knows(cipher name: String) -> Bool {
        guard !name.isEmpty, name.utf8.allSatisfy({ $0 != 0x3A && $0 != 0x21 && $0 != 0x40 && $0 > 0x20 && $0 < 0x7F }),
            let context = SSL_CTX_new_ex(copenssl_slim_context(), nil, TLS_method())
        else { return false }
        defer {
            SSL_CTX_free(context)
            ERR_clear_error()
        }
        return SSL_CTX_set_cipher_list(context, name) == 1
    }
}
