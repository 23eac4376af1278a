import EnvoyAPI
import KubernetesAPI
import Serialization

/// How a gateway speaks TLS with its clients at one listener.
struct DownstreamTLS: Sendable, Hashable {
    /// What is asked of certificates of clients.
    struct ClientCheck: Sendable, Hashable {
        /// The resource with the authorities.
        var authority: String
        /// Whether a connection without certificate is refused.
        var isRequired = true
        /// Whether a certificate that cannot be verified is let in.
        var allowsUntrusted = false
        /// Names of which the certificate must have one; empty means any.
        var names: [String] = []
        /// Base64 of SHA-256 over the public key, one of which the certificate must have.
        var keyPins: [String] = []
        /// SHA-256 over the certificate, one of which it must have.
        var certificatePins: [String] = []
    }

    /// The resources with certificates and keys.
    var certificates: [String]
    /// What is asked of clients; `nil` means nothing.
    var clients: ClientCheck?
    /// Protocols for ALPN, best first; empty for streams of bytes.
    var applicationProtocols: [String] = []
    /// `TLSV1_2` … as in Istio; empty means the proxy's own.
    var minimumVersion = ""
    var maximumVersion = ""
    /// OpenSSL's names; empty means the proxy's own.
    var cipherSuites: [String] = []
    /// Groups for key exchange; empty means the proxy's own.
    var curves: [String] = []

    /// The protocols of listeners that speak HTTP.
    static let httpProtocols = ["h2", "http/1.1"]

    /// The resources that the proxy asks for.
    var resources: [String] { certificates + [clients?.authority].compactMap { $0 } }

    /// The transport socket of a filter chain.
    func transportSocket() -> TransportSocket {
        var common = CommonTlsContext()
        common.tlsCertificateSdsSecretConfigs = certificates.map(Self.reference)
        common.alpnProtocols = applicationProtocols
        var parameters = TlsParameters()
        parameters.tlsMinimumProtocolVersion = Self.version(minimumVersion) ?? .tlsv12
        parameters.tlsMaximumProtocolVersion = Self.version(maximumVersion) ?? .tlsAuto
        parameters.cipherSuites = cipherSuites
        parameters.ecdhCurves = curves
        common.tlsParams = parameters
        var context = DownstreamTlsContext()
        if let clients {
            var check = CertificateValidationContext()
            check.verifyCertificateSpki = clients.keyPins
            check.verifyCertificateHash = clients.certificatePins
            check.matchTypedSubjectAltNames = clients.names.flatMap(Self.names)
            if clients.allowsUntrusted { check.trustChainVerification = .acceptUntrusted }
            var combined = CommonTlsContext.CombinedCertificateValidationContext()
            combined.defaultValidationContext = check
            combined.validationContextSdsSecretConfig = Self.reference(clients.authority)
            common.validationContextType = .combinedValidationContext(combined)
            context.requireClientCertificate = clients.isRequired
        }
        if certificates == [MeshSecrets.certificate] {
            // a resumed session would be judged by what was trusted when it began.
            context.sessionTicketKeysType = .disableStatelessSessionResumption(true)
            context.disableStatefulSessionResumption = true
        }
        context.commonTlsContext = common
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.tls"
        socket.configType = .typedConfig(AnyMessage(packing: context))
        return socket
    }

    static func reference(_ name: String) -> SdsSecretConfig {
        // The gateway's own identity is where that of every workload is: with the agent.
        if [MeshSecrets.certificate, MeshSecrets.authority].contains(name) { return MutualTLS.secret(name) }
        var config = SdsSecretConfig()
        config.name = name
        config.sdsConfig = ConfigSources.ads
        return config
    }

    /// A name may be any kind of name of the certificate.
    static func names(_ name: String) -> [SubjectAltNameMatcher] {
        var value = StringMatcher()
        value.matchPattern = .exact(name)
        let types: [SubjectAltNameMatcher.SanType] = name.contains("://") ? [.uri] : [.dns, .uri, .email, .ipAddress]
        return types.map { type in
            var matcher = SubjectAltNameMatcher()
            matcher.sanType = type
            matcher.matcher = value
            return matcher
        }
    }

    /// Istio's and Envoy's spelling of versions; `nil` for none.
    static func version(_ name: String) -> TlsParameters.TlsProtocol? {
        switch name.uppercased() {
        case "TLSV1_0": .tlsv10
        case "TLSV1_1": .tlsv11
        case "TLSV1_2": .tlsv12
        case "TLSV1_3": .tlsv13
        default: nil
        }
    }
}
