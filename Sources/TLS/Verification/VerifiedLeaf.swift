internal import COpenSSL
internal import Glibc

/// Verification of a peer's chain in the middle of a handshake.
enum VerifiedLeaf {
    /// Unix seconds.
    static var now: Int64 { Int64(time(nil)) }
}

extension TLSEngine {
    /// OpenSSL's question whether the peer's certificates are accepted; 1 is yes.
    static func verify(_ store: OpaquePointer?) -> Int32 {
        guard let store, let ssl = copenssl_verifying(store), let engine = owner(of: ssl),
            let leaf = X509_STORE_CTX_get0_cert(store)
        else { return 0 }
        let context = engine.context
        guard context.verifiesPeer else { return 1 }
        do throws(TLSError) {
            let facts = try engine.verified(store, leaf)
            guard let facts else {
                let isOther = [X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH].contains(
                    X509_STORE_CTX_get_error(store))
                engine.refusal = isOther ? .name : .chain
                return 0
            }
            engine.peer = facts
            guard let refusal = context.judge?(facts) else {
                X509_STORE_CTX_set_error(store, X509_V_OK)
                return 1
            }
            switch refusal {
            case .name:
                engine.refusal = .name
                engine.refusalReason = "subject alternative name mismatch"
            case .pin:
                engine.refusal = .pin
                engine.refusalReason = "certificate or key is not one of those pinned"
            case .other(let reason):
                engine.refusal = .chain
                engine.refusalReason = reason
            }
        } catch {
            engine.refusal = .chain
            engine.refusalReason = error.description
        }
        X509_STORE_CTX_set_error(store, X509_V_ERR_APPLICATION_VERIFICATION)
        return 0
    }

    /// The facts of a leaf that holds; nil when OpenSSL says it does not.
    private func verified(_ store: OpaquePointer, _ leaf: OpaquePointer) throws(TLSError) -> PeerFacts? {
        let others = X509_STORE_CTX_get0_untrusted(store)
        guard context.verifiesChain else { return try PeerFacts(leaf, chain: others, verified: nil) }
        guard let cache = context.cache, let key = VerifiedLeafCache.Key(leaf), !checksHost(store) else {
            guard X509_verify_cert(store) == 1 else { return nil }
            chainHoldsUntil = try TLSEngine.window(store, context).until
            return try PeerFacts(leaf, chain: others, verified: X509_STORE_CTX_get0_chain(store))
        }
        let now = VerifiedLeaf.now
        let entry = cache.find(key, at: now)
        wasRemembered = entry != nil
        if let entry {
            chainHoldsUntil = entry.until
            return entry.facts
        }
        guard X509_verify_cert(store) == 1 else { return nil }
        let window = try TLSEngine.window(store, context)
        let facts = try PeerFacts(leaf, chain: others, verified: X509_STORE_CTX_get0_chain(store))
        cache.insert(key, VerifiedLeafCache.Entry(facts: facts, from: window.from, until: window.until))
        chainHoldsUntil = window.until
        return facts
    }

    /// Whether OpenSSL itself compares host names in this verification: the answer is then not the leaf's alone.
    private func checksHost(_ store: OpaquePointer) -> Bool {
        let parameters = X509_STORE_CTX_get0_param(store)
        if X509_VERIFY_PARAM_get0_host(parameters, 0) != nil { return true }
        guard let address = X509_VERIFY_PARAM_get1_ip_asc(parameters) else { return false }
        CRYPTO_free(address, "", 0)
        return true
    }

    /// From when until when a verified chain holds.
    private static func window(
        _ store: OpaquePointer, _ context: TLSContext
    ) throws(TLSError) -> (from: Int64, until: Int64) {
        var from = Int64.min
        var until = context.revocationsHoldUntil
        let chain = X509_STORE_CTX_get0_chain(store)
        for index in 0..<max(0, copenssl_chain_count(chain)) {
            guard let certificate = copenssl_chain_at(chain, index) else { continue }
            from = max(from, try Certificate.seconds(X509_get0_notBefore(certificate)))
            until = min(until, try Certificate.seconds(X509_get0_notAfter(certificate)))
        }
        return (from, until)
    }
}
