internal import COpenSSL
internal import Glibc

/// Several certificates, of which a server presents one: by the client's SNI, by the key types it knows, by the staples there are.
struct IdentityChoice: Sendable {
    private let identities: [TLSIdentity]
    private let policy: TLSConfiguration.StaplePolicy
    private let scansAll: Bool
    /// Identities by exact name, lower case, in their order.
    private var exact: [String: [Int]] = [:]
    /// Identities by what follows the first label, for names that begin with `*.`.
    private var wildcard: [String: [Int]] = [:]
    private let isEC: [Bool]
    /// The certificate itself demands a staple.
    private let mustStaple: [Bool]

    init(
        _ identities: [TLSIdentity], policy: TLSConfiguration.StaplePolicy, scansAll: Bool
    ) throws(TLSError) {
        self.identities = identities
        self.policy = policy
        self.scansAll = scansAll
        isEC = identities.map { EVP_PKEY_get_base_id($0.key.pointer) == EVP_PKEY_EC }
        mustStaple = identities.map { identity in
            guard let leaf = identity.chain.first else { return false }
            return X509_get_ext_by_NID(leaf.pointer, NID_tlsfeature, -1) >= 0
        }
        for (index, identity) in identities.enumerated() {
            guard let leaf = identity.chain.first else { continue }
            var names = leaf.alternativeNames.compactMap { if case .dns(let name) = $0 { name } else { nil } }
            // As Envoy: the common name counts where there is no DNS name.
            if names.isEmpty, !leaf.subject.commonName.isEmpty { names = [leaf.subject.commonName] }
            for name in Set(names.map { $0.lowercased() }) {
                if name.hasPrefix("*.") {
                    wildcard[String(name.dropFirst(2)), default: []].append(index)
                } else {
                    exact[name, default: []].append(index)
                }
            }
            if policy == .must, identity.staple == nil {
                throw TLSError(
                    "TLS context", "no OCSP response for the certificate of \(leaf.subject), and one is demanded")
            }
            if mustStaple[index], identity.staple == nil {
                throw TLSError(
                    "TLS context", "the certificate of \(leaf.subject) must be stapled, but there is no OCSP response")
            }
        }
    }

    /// The identity for a client; nil refuses it.
    func find(serverName: String?, knowsEC: Bool, wantsStaple: Bool, at now: Int64) -> Int? {
        let name = serverName?.lowercased() ?? ""
        if !name.isEmpty {
            if let found = best(exact[name] ?? [], knowsEC, wantsStaple, now) { return found }
            if let dot = name.firstIndex(of: "."),
                let found = best(wildcard[String(name[name.index(after: dot)...])] ?? [], knowsEC, wantsStaple, now)
            {
                return found
            }
            if exact[name] == nil, !scansAll { return isUsable(0, wantsStaple, now) ? 0 : nil }
        }
        return best(Array(identities.indices), knowsEC, wantsStaple, now)
            ?? (isUsable(0, wantsStaple, now) ? 0 : nil)
    }

    /// The first whose key the client knows, EC before RSA; else the first that may be used at all.
    private func best(_ candidates: [Int], _ knowsEC: Bool, _ wantsStaple: Bool, _ now: Int64) -> Int? {
        let usable = candidates.filter { isUsable($0, wantsStaple, now) }
        if knowsEC, let found = usable.first(where: { isEC[$0] }) { return found }
        return usable.first { !isEC[$0] } ?? (knowsEC ? nil : usable.first)
    }

    private func isUsable(_ index: Int, _ wantsStaple: Bool, _ now: Int64) -> Bool {
        let staple = identities[index].staple
        let isCurrent = staple.map { !$0.hasExpired(at: now) } ?? false
        if wantsStaple, mustStaple[index], !isCurrent { return false }
        switch policy {
        case .lenient: return true
        case .strict: return staple == nil || isCurrent
        case .must: return isCurrent
        }
    }

    func staple(_ index: Int, at now: Int64) -> [UInt8]? {
        guard identities.indices.contains(index), let staple = identities[index].staple, !staple.hasExpired(at: now)
        else { return nil }
        return staple.der
    }

    /// Presents an identity on one connection.
    func use(_ index: Int, on ssl: OpaquePointer) -> Bool {
        guard index > 0 else { return true }
        let identity = identities[index]
        guard let leaf = identity.chain.first, let chain = copenssl_new_chain() else { return false }
        defer { copenssl_free_chain(chain) }
        for certificate in identity.chain.dropFirst() {
            guard copenssl_push_certificate(chain, certificate.pointer) == 1 else { return false }
        }
        // The context's certificate would go on competing with this one.
        SSL_certs_clear(ssl)
        return SSL_use_cert_and_key(ssl, leaf.pointer, identity.key.pointer, chain, 1) == 1
    }
}
