internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Synchronization
internal import TLS
internal import Upstream

/// Makes TLS contexts of configuration messages and the secrets they name.
struct TLSCompiler {
    let secrets: SecretStore
    let path: String
    var ingredients = Ingredients()
    /// Where secrets of connections are written for whoever looks into them.
    private(set) var keyLog: KeyLog?

    init(secrets: SecretStore, path: String) {
        self.secrets = secrets
        self.path = path
    }

    /// The context; nil when a secret is missing.
    mutating func context(_ recipe: TransportContext.Recipe) throws(ConfigurationError) -> TLSContext? {
        let configuration: TLSConfiguration?
        let role: TLSContext.Role
        switch recipe {
        case .downstream(let message):
            role = .server
            configuration = try downstream(message)
        case .upstream(let message, let protocols):
            role = .client
            configuration = try upstream(message, protocols)
        }
        guard let configuration, ingredients.missing.isEmpty else { return nil }
        do throws(TLSError) {
            return try TLSContext(configuration, role: role)
        } catch {
            throw ConfigurationError(at: path, "\(error)")
        }
    }

    // MARK: The two sides

    private mutating func downstream(_ message: DownstreamTlsContext) throws(ConfigurationError) -> TLSConfiguration? {
        try FieldCheck.check(
            message,
            reads: [
                "common_tls_context", "require_client_certificate", "require_sni", "session_ticket_keys",
                "session_ticket_keys_sds_secret_config", "disable_stateless_session_resumption",
                "session_timeout", "ocsp_staple_policy",
                "full_scan_certs_on_sni_mismatch", "prefer_client_ciphers",
            ], at: path)
        if message.requireSni == true {
            throw ConfigurationError(at: path + ".require_sni", "not supported (Envoy ignores it); remove the field")
        }
        var configuration = TLSConfiguration()
        configuration.refusesOtherProtocols = false
        try common(message.commonTlsContext ?? CommonTlsContext(), &configuration, role: .server)
        if configuration.identities.isEmpty, ingredients.missing.isEmpty {
            throw ConfigurationError(
                at: path + ".common_tls_context.tls_certificates", "a server needs at least one certificate")
        }
        let requires = message.requireClientCertificate ?? false
        let validates = !configuration.trust.isEmpty || configuration.judge != nil
        configuration.peerCertificate = requires ? .required : validates ? .optional : .notVerified
        if configuration.trust.isEmpty { configuration.acceptsUntrusted = true }
        switch message.ocspStaplePolicy {
        case .lenientStapling: configuration.staplePolicy = .lenient
        case .strictStapling: configuration.staplePolicy = .strict
        case .mustStaple: configuration.staplePolicy = .must
        case .unrecognized(let number):
            throw ConfigurationError(at: path + ".ocsp_staple_policy", "\(number) is no policy")
        }
        configuration.scansAllOnNameMismatch = message.fullScanCertsOnSniMismatch ?? false
        configuration.prefersClientCiphers = message.preferClientCiphers
        configuration.sessionTimeout = message.sessionTimeout
        switch message.sessionTicketKeysType {
        case .sessionTicketKeys(let keys):
            configuration.ticketKeys = try ticketKeys(keys, at: path + ".session_ticket_keys")
        case .sessionTicketKeysSdsSecretConfig(let config):
            let here = path + ".session_ticket_keys_sds_secret_config"
            if case .sessionTicketKeys(let keys) = try secret(config, at: here, kind: "session_ticket_keys") {
                configuration.ticketKeys = try ticketKeys(keys, at: here)
            }
        case .disableStatelessSessionResumption, nil: break
        }
        return configuration
    }

    private mutating func upstream(
        _ message: UpstreamTlsContext, _ protocols: [String]
    ) throws(ConfigurationError) -> TLSConfiguration? {
        try FieldCheck.check(
            message,
            reads: [
                "common_tls_context", "sni", "auto_host_sni", "auto_sni_san_validation", "allow_renegotiation",
                "max_session_keys",
            ], at: path)
        if message.allowRenegotiation {
            throw ConfigurationError(
                at: path + ".allow_renegotiation", "renegotiation is not supported (it is unsafe, and gone in TLS 1.3)")
        }
        guard message.sni.utf8.count <= 255, !message.sni.utf8.contains(0) else {
            throw ConfigurationError(at: path + ".sni", "at most 255 bytes without NUL")
        }
        var configuration = TLSConfiguration()
        if secrets.usesEnvoyDefaults {
            // Envoy offers upstreams TLS 1.3 only where it is told to.
            configuration.maximumVersion = .v1_2
        }
        try common(message.commonTlsContext ?? CommonTlsContext(), &configuration, role: .client)
        if configuration.identities.count > 1 {
            throw ConfigurationError(
                at: path + ".common_tls_context.tls_certificates", "a client presents at most one certificate")
        }
        if configuration.applicationProtocols.isEmpty { configuration.applicationProtocols = protocols }
        if configuration.trust.isEmpty {
            if configuration.judge == nil { configuration.peerCertificate = .notVerified }
            configuration.acceptsUntrusted = true
            // A secret that has not arrived may bring the authorities; until then nothing is sent.
            if message.autoSniSanValidation, ingredients.missing.isEmpty {
                throw ConfigurationError(
                    at: path + ".auto_sni_san_validation", "it needs trusted_ca or system_root_certs")
            }
        }
        configuration.clientSessionsMax = Int(message.maxSessionKeys ?? 1)
        return configuration
    }

    // MARK: What both have

    private mutating func common(
        _ message: CommonTlsContext, _ configuration: inout TLSConfiguration, role: TLSContext.Role
    ) throws(ConfigurationError) {
        let here = path + ".common_tls_context"
        try FieldCheck.check(
            message,
            reads: [
                "tls_params", "tls_certificates", "tls_certificate_sds_secret_configs", "validation_context",
                "validation_context_sds_secret_config", "combined_validation_context", "alpn_protocols", "key_log",
            ], at: here)
        if let parameters = message.tlsParams { try take(parameters, &configuration, at: here + ".tls_params") }
        for (index, certificate) in message.tlsCertificates.enumerated() {
            configuration.identities.append(
                try identity(certificate, at: "\(here).tls_certificates[\(index)]"))
        }
        for (index, config) in message.tlsCertificateSdsSecretConfigs.enumerated() {
            let place = "\(here).tls_certificate_sds_secret_configs[\(index)]"
            if case .tlsCertificate(let certificate) = try secret(config, at: place, kind: "tls_certificate") {
                configuration.identities.append(try identity(certificate, at: place))
            }
        }
        for (index, name) in message.alpnProtocols.enumerated() {
            guard (1...255).contains(name.utf8.count) else {
                throw ConfigurationError(at: "\(here).alpn_protocols[\(index)]", "a name of 1 to 255 bytes is needed")
            }
        }
        configuration.applicationProtocols = message.alpnProtocols
        if let message = message.keyLog {
            let log = try KeyLog(compiling: message, at: here + ".key_log")
            configuration.keyLog = log.write
            keyLog = log
        }
        if let validation = try validationContext(message, at: here) {
            try take(validation.message, &configuration, at: validation.path)
        }
    }

    private mutating func validationContext(
        _ message: CommonTlsContext, at path: String
    ) throws(ConfigurationError) -> (message: CertificateValidationContext, path: String)? {
        switch message.validationContextType {
        case nil: return nil
        case .validationContext(let context): return (context, path + ".validation_context")
        case .validationContextSdsSecretConfig(let config):
            let here = path + ".validation_context_sds_secret_config"
            guard case .validationContext(let context) = try secret(config, at: here, kind: "validation_context")
            else { return nil }
            return (context, here)
        case .combinedValidationContext(let combined):
            let here = path + ".combined_validation_context"
            try FieldCheck.check(
                combined, reads: ["default_validation_context", "validation_context_sds_secret_config"], at: here)
            let base = combined.defaultValidationContext ?? CertificateValidationContext()
            guard let config = combined.validationContextSdsSecretConfig else {
                return (base, here + ".default_validation_context")
            }
            let place = here + ".validation_context_sds_secret_config"
            guard case .validationContext(let over) = try secret(config, at: place, kind: "validation_context") else {
                return nil
            }
            return (try Self.merge(base, over, at: place), here)
        case .validationContextCertificateProvider, .validationContextCertificateProviderInstance:
            throw ConfigurationError(at: path, "certificate providers are not supported (they are gRPC's); use SDS")
        }
    }

    /// Protobuf's merge, as Envoy's: the delivered part over the default one, lists one behind the other.
    private static func merge(
        _ base: CertificateValidationContext, _ over: CertificateValidationContext, at path: String
    ) throws(ConfigurationError) -> CertificateValidationContext {
        var merged = base
        merged.trustedCa = over.trustedCa ?? base.trustedCa
        merged.systemRootCerts = over.systemRootCerts ?? base.systemRootCerts
        merged.watchedDirectory = over.watchedDirectory ?? base.watchedDirectory
        merged.caCertificateProviderInstance = over.caCertificateProviderInstance ?? base.caCertificateProviderInstance
        merged.verifyCertificateSpki += over.verifyCertificateSpki
        merged.verifyCertificateHash += over.verifyCertificateHash
        merged.matchTypedSubjectAltNames += over.matchTypedSubjectAltNames
        merged.matchSubjectAltNames += over.matchSubjectAltNames
        merged.requireSignedCertificateTimestamp =
            over.requireSignedCertificateTimestamp ?? base.requireSignedCertificateTimestamp
        merged.crl = over.crl ?? base.crl
        merged.allowExpiredCertificate = base.allowExpiredCertificate || over.allowExpiredCertificate
        if case .acceptUntrusted = over.trustChainVerification { merged.trustChainVerification = .acceptUntrusted }
        merged.customValidatorConfig = over.customValidatorConfig ?? base.customValidatorConfig
        merged.onlyVerifyLeafCertCrl = base.onlyVerifyLeafCertCrl || over.onlyVerifyLeafCertCrl
        merged.maxVerifyDepth = over.maxVerifyDepth ?? base.maxVerifyDepth
        return merged
    }

    private func take(
        _ message: TlsParameters, _ configuration: inout TLSConfiguration, at path: String
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "tls_minimum_protocol_version", "tls_maximum_protocol_version", "cipher_suites", "ecdh_curves",
                "signature_algorithms",
            ], at: path)
        if let version = try Self.version(
            message.tlsMinimumProtocolVersion, at: path + ".tls_minimum_protocol_version")
        {
            configuration.minimumVersion = version
        }
        if let version = try Self.version(
            message.tlsMaximumProtocolVersion, at: path + ".tls_maximum_protocol_version")
        {
            configuration.maximumVersion = version
            if configuration.minimumVersion > version,
                case .tlsAuto = message.tlsMinimumProtocolVersion
            {
                configuration.minimumVersion = version
            }
        }
        guard configuration.minimumVersion <= configuration.maximumVersion else {
            throw ConfigurationError(
                at: path + ".tls_minimum_protocol_version", "it is above tls_maximum_protocol_version")
        }
        if !message.cipherSuites.isEmpty {
            // `[A|B]` is a group of equal preference, which OpenSSL does not have: its order is the preference.
            let names = message.cipherSuites.flatMap { group in
                group.filter { $0 != "[" && $0 != "]" }.split(separator: "|").map(String.init)
            }
            for name in names where !TLSContext.knows(cipher: name) {
                throw ConfigurationError(at: path + ".cipher_suites", "\"\(name)\" is no cipher suite of TLS 1.2")
            }
            configuration.cipherList = names.joined(separator: ":")
        }
        // What is older than TLS 1.2 needs SHA-1 signatures.
        if configuration.minimumVersion < .v1_2 { configuration.cipherList += ":@SECLEVEL=0" }
        if !message.ecdhCurves.isEmpty { configuration.groups = message.ecdhCurves.joined(separator: ":") }
        if !message.signatureAlgorithms.isEmpty {
            configuration.signatureAlgorithms = message.signatureAlgorithms.joined(separator: ":")
        }
    }

    private static func version(
        _ value: TlsParameters.TlsProtocol, at path: String
    ) throws(ConfigurationError) -> TLSVersion? {
        switch value {
        case .tlsAuto: return nil
        case .tlsv10: return .v1_0
        case .tlsv11: return .v1_1
        case .tlsv12: return .v1_2
        case .tlsv13: return .v1_3
        case .unrecognized(let number): throw ConfigurationError(at: path, "\(number) is no version")
        }
    }
}
