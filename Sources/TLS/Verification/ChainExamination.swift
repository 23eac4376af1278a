internal import COpenSSL

extension TLSContext {
    /// Why a peer that shows these certificates would be refused; nil when it would be accepted.
    ///
    /// The verification of a handshake without its connection: the same trust, limits and policy (`judge`), asked about a chain that somebody
    /// else has. That the peer has the key is not known, and host names that a connection adds are not looked at.
    ///
    /// - Parameter chain: DER, the leaf first.
    public func refusal(ofPeer chain: [[UInt8]]) -> String? {
        guard verifiesPeer else { return nil }
        do throws(TLSError) {
            guard let first = chain.first else { return "no certificate" }
            let leaf = try Certificate(der: first)
            var others: [Certificate] = []
            for der in chain.dropFirst() { others.append(try Certificate(der: der)) }
            return try refusal(of: leaf, others)
        } catch {
            return "\(error)"
        }
    }

    private func refusal(of leaf: Certificate, _ others: [Certificate]) throws(TLSError) -> String? {
        let stack = OPENSSL_sk_new_null()
        defer { OPENSSL_sk_free(stack) }
        for other in others { OPENSSL_sk_push(stack, UnsafeRawPointer(other.pointer)) }
        guard verifiesChain else { return text(of: judge?(try PeerFacts(leaf.pointer, chain: stack, verified: nil))) }
        let store = try made(X509_STORE_CTX_new(), "verification")
        defer { X509_STORE_CTX_free(store) }
        try checked(
            X509_STORE_CTX_init(store, SSL_CTX_get_cert_store(pointer), leaf.pointer, stack), "verification")
        // As libssl itself does before each handshake.
        try checked(X509_STORE_CTX_set_default(store, role == .server ? "ssl_client" : "ssl_server"), "verification")
        try checked(
            X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(store), SSL_CTX_get0_param(pointer)), "verification")
        guard X509_verify_cert(store) == 1 else {
            ERR_clear_error()
            let reason = X509_verify_cert_error_string(Int(X509_STORE_CTX_get_error(store)))
            let depth = X509_STORE_CTX_get_error_depth(store)
            return (reason.map { String(cString: $0) } ?? "the chain does not hold")
                + (depth > 0 ? " (above the leaf)" : "")
        }
        return text(
            of: judge?(try PeerFacts(leaf.pointer, chain: stack, verified: X509_STORE_CTX_get0_chain(store))))
    }

    private func text(of refusal: PeerRefusal?) -> String? {
        switch refusal {
        case nil: nil
        case .name: "none of its names is accepted (subject alternative name mismatch)"
        case .pin: "certificate or key is not one of those pinned"
        case .other(let reason): reason
        }
    }

    /// Whether peers are asked for a certificate, and cannot do without.
    public var asksForPeer: Bool { verifiesPeer }
}
