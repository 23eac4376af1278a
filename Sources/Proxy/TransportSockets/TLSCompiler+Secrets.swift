internal import EnvoyAPI
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

extension TLSCompiler {
    /// Largest file of certificates, keys or lists that is read.
    private static let fileBytesMax = 16 << 20
    /// Debian's bundle of the authorities that browsers trust.
    private static let systemRoots = "/etc/ssl/certs/ca-certificates.crt"

    // MARK: Secrets and their sources

    /// A secret by name; nil while it has not arrived.
    mutating func secret(
        _ config: SdsSecretConfig, at path: String, kind: String
    ) throws(ConfigurationError) -> Secret.TypeSpecifier? {
        guard !config.name.isEmpty else { throw ConfigurationError(at: path + ".name", "a name is needed") }
        ingredients.secrets.insert(config.name)
        let found = try secrets.secret(config, at: path)
        guard let found else {
            ingredients.missing.insert(config.name)
            return nil
        }
        switch (found.type, kind) {
        case (.tlsCertificate, "tls_certificate"), (.sessionTicketKeys, "session_ticket_keys"),
            (.validationContext, "validation_context"):
            return found.type
        default: throw ConfigurationError(at: path, "secret \"\(config.name)\" is no \(kind)")
        }
    }

    /// The bytes of a data source; nil when it is not set.
    mutating func bytes(_ source: DataSource?, at path: String) throws(ConfigurationError) -> [UInt8]? {
        switch source?.specifier {
        case nil: return nil
        case .inlineBytes(let bytes): return bytes
        case .inlineString(let text): return Array(text.utf8)
        case .environmentVariable(let name):
            guard let value = Environment.variable(name) else {
                throw ConfigurationError(at: path + ".environment_variable", "\(name) is not set")
            }
            return Array(value.utf8)
        case .filename(let file):
            ingredients.files.insert(file)
            do throws(SystemError) {
                return try File.read(file, limit: Self.fileBytesMax)
            } catch {
                throw ConfigurationError(at: path + ".filename", "\(error)")
            }
        }
    }

    mutating func identity(_ message: TlsCertificate, at path: String) throws(ConfigurationError) -> TLSIdentity {
        try FieldCheck.check(
            message,
            reads: [
                "certificate_chain", "private_key", "pkcs12", "password", "watched_directory", "ocsp_staple",
            ], at: path)
        let password = try bytes(message.password, at: path + ".password")
        let chain: [Certificate]
        let key: PrivateKey
        if let container = try bytes(message.pkcs12, at: path + ".pkcs12") {
            guard message.certificateChain == nil, message.privateKey == nil else {
                throw ConfigurationError(
                    at: path + ".pkcs12", "it stands in place of certificate_chain and private_key, not beside them")
            }
            (chain, key) = try tried(path + ".pkcs12") { () throws(TLSError) in
                try PKCS12.read(container, password: password ?? [])
            }
        } else {
            guard let chainPEM = try bytes(message.certificateChain, at: path + ".certificate_chain") else {
                throw ConfigurationError(at: path + ".certificate_chain", "a certificate is needed")
            }
            guard let keyPEM = try bytes(message.privateKey, at: path + ".private_key") else {
                throw ConfigurationError(at: path + ".private_key", "a private key is needed")
            }
            chain = try tried(path + ".certificate_chain") { () throws(TLSError) in
                try Certificate.all(pem: chainPEM)
            }
            key = try tried(path + ".private_key") { () throws(TLSError) in
                try PrivateKey(pem: keyPEM, password: password)
            }
        }
        guard let leaf = chain.first else {
            throw ConfigurationError(at: path + ".certificate_chain", "a certificate is needed")
        }
        var staple: OCSPStaple?
        if let der = try bytes(message.ocspStaple, at: path + ".ocsp_staple"), !der.isEmpty {
            staple = try tried(path + ".ocsp_staple") { () throws(TLSError) in try OCSPStaple(der: der, for: leaf) }
        }
        for certificate in chain { note(certificate, message.certificateChain, \.certificates) }
        return TLSIdentity(chain: chain, key: key, staple: staple)
    }

    mutating func ticketKeys(
        _ message: TlsSessionTicketKeys, at path: String
    ) throws(ConfigurationError) -> [TLSTicketKey] {
        guard !message.keys.isEmpty else { throw ConfigurationError(at: path + ".keys", "at least one key is needed") }
        var keys: [TLSTicketKey] = []
        for (index, source) in message.keys.enumerated() {
            let here = "\(path).keys[\(index)]"
            guard let bytes = try bytes(source, at: here), let key = TLSTicketKey(bytes) else {
                throw ConfigurationError(at: here, "exactly \(TLSTicketKey.byteCount) bytes are needed")
            }
            keys.append(key)
        }
        return keys
    }

    // MARK: Validation

    mutating func take(
        _ message: CertificateValidationContext, _ configuration: inout TLSConfiguration, at path: String
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "trusted_ca", "system_root_certs", "watched_directory", "verify_certificate_spki",
                "verify_certificate_hash", "match_typed_subject_alt_names", "match_subject_alt_names", "crl",
                "allow_expired_certificate", "trust_chain_verification", "only_verify_leaf_cert_crl",
                "max_verify_depth", "custom_validator_config",
            ], at: path)
        if let pem = try bytes(message.trustedCa, at: path + ".trusted_ca") {
            configuration.trust = try authorities(pem, message.trustedCa, at: path + ".trusted_ca")
        } else if message.systemRootCerts != nil {
            var source = DataSource()
            source.specifier = .filename(Self.systemRoots)
            let pem = try bytes(source, at: path + ".system_root_certs") ?? []
            configuration.trust = try authorities(pem, nil, at: path + ".system_root_certs")
        }
        if let crl = try bytes(message.crl, at: path + ".crl") {
            guard !configuration.trust.isEmpty else {
                throw ConfigurationError(at: path + ".crl", "revocation lists need trusted_ca")
            }
            configuration.revocationLists = crl
            configuration.checksLeafRevocationOnly = message.onlyVerifyLeafCertCrl
        }
        var policyMessage = message
        policyMessage.trustedCa = nil
        policyMessage.crl = nil
        ingredients.validation = SHA256.hash(policyMessage.serialized() + configuration.revocationLists)
        configuration.allowsExpired = message.allowExpiredCertificate
        if case .acceptUntrusted = message.trustChainVerification { configuration.acceptsUntrusted = true }
        configuration.verifyDepth = message.maxVerifyDepth.map { Int32(clamping: $0) }
        configuration.remembersVerified = Limits.verifiedLeaves
        let policy = try PeerPolicy(compiling: message, at: path)
        if let custom = message.customValidatorConfig {
            guard configuration.trust.isEmpty else {
                throw ConfigurationError(at: path + ".trusted_ca", "the SPIFFE validator brings its own trust bundles")
            }
            let domains = try trustDomains(custom, &configuration, at: path + ".custom_validator_config")
            configuration.judge = { facts in domains.refusal(of: facts) ?? policy.refusal(of: facts) }
        } else if !policy.isEmpty {
            guard !configuration.trust.isEmpty || !policy.namesPeers || configuration.acceptsUntrusted else {
                throw ConfigurationError(
                    at: path + ".match_typed_subject_alt_names",
                    "names prove nothing without trusted_ca: anybody can write them into a certificate")
            }
            configuration.judge = { policy.refusal(of: $0) }
        }
    }

    /// The SPIFFE validator's bundles, all of which are trusted here; which one a peer needs, its name says.
    private mutating func trustDomains(
        _ message: TypedExtensionConfig, _ configuration: inout TLSConfiguration, at path: String
    ) throws(ConfigurationError) -> TrustDomains {
        guard let any = message.typedConfig, any.holds(SPIFFECertValidatorConfig.self) else {
            throw ConfigurationError(at: path, "only envoy.tls.cert_validator.spiffe is supported")
        }
        let here = path + ".typed_config"
        let config = try HTTPFilters.decode(any, as: SPIFFECertValidatorConfig.self, at: here)
        guard config.trustBundles == nil else {
            throw ConfigurationError(
                at: here + ".trust_bundles", "SPIFFE's own bundle format is not supported yet; use trust_domains")
        }
        guard !config.trustDomains.isEmpty else {
            throw ConfigurationError(at: here + ".trust_domains", "at least one is needed")
        }
        var domains = TrustDomains()
        for (index, domain) in config.trustDomains.enumerated() {
            let place = "\(here).trust_domains[\(index)]"
            guard !domain.name.isEmpty, let pem = try bytes(domain.trustBundle, at: place + ".trust_bundle") else {
                throw ConfigurationError(at: place, "a name and a trust_bundle are needed")
            }
            let bundle = try authorities(pem, domain.trustBundle, at: place + ".trust_bundle")
            guard domains.add(domain.name, Set(bundle.map(\.fingerprint))) else {
                throw ConfigurationError(at: place + ".name", "\"\(domain.name)\" is there twice")
            }
            configuration.trust += bundle
        }
        return domains
    }

    private mutating func authorities(
        _ pem: [UInt8], _ source: DataSource?, at path: String
    ) throws(ConfigurationError) -> [Certificate] {
        let authorities = try tried(path) { () throws(TLSError) in
            try Certificate.all(pem: pem, skippingDamaged: source == nil)
        }
        if source != nil { for authority in authorities { note(authority, source, \.authorities) } }
        return authorities
    }

    /// Remembers a certificate for `/certs`.
    mutating func note(
        _ certificate: Certificate, _ source: DataSource?, _ list: WritableKeyPath<Ingredients, [CertificateFact]>
    ) {
        guard let facts = try? PeerFacts(certificate) else { return }
        var path = "<inline>"
        if case .filename(let file) = source?.specifier { path = file }
        ingredients[keyPath: list].append(CertificateFact(path: path, facts: facts))
    }

    func tried<Value>(
        _ path: String, _ body: () throws(TLSError) -> Value
    ) throws(ConfigurationError) -> Value {
        do throws(TLSError) {
            return try body()
        } catch {
            throw ConfigurationError(at: path, "\(error)")
        }
    }
}
