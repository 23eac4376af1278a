import EnvoyAPI
import Mesh
import Serialization
import XDS

/// Mutual TLS of gRPC without a proxy: its keys are in files that a certificate provider of its bootstrap reads (A29 of gRPC's proposals).
///
/// gRPC chooses TLS for a cluster as a whole, and for a listening address as a whole: not for each endpoint, and not by what a caller sends first. So a
/// cluster has mutual TLS when all its endpoints speak it, and a server under STRICT alone.
struct ProxylessTLS {
    /// The member of `node.metadata` with the name of the certificate provider of the bootstrap.
    static let metadataKey = "skein.certificates"

    /// The instance of the bootstrap's `certificate_providers`; nil: the program has no certificates.
    let provider: String?

    init(_ node: EnvoyAPI.Node?) {
        provider = node?.metadata?[Self.metadataKey]?.string.flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What stands for a cluster's transport.
    enum Transport {
        case plain
        case secure(TransportSocket)
        /// What the mesh demands cannot be had: there is no such cluster, rather than one in plain text (decision 10).
        case impossible
    }

    /// The transport of a cluster that is `full` for Envoy, with these endpoints.
    func transport(of full: Cluster, endpoints: EncodedResource?) -> Transport {
        if let socket = full.transportSocket {
            guard let context = Self.context(socket) else { return .impossible }
            return client(context).map(Transport.secure) ?? .impossible
        }
        guard let match = full.transportSocketMatches.first(where: { $0.match == MutualTLS.endpointMatch }),
            let socket = match.transportSocket, let context = Self.context(socket), provider != nil,
            Self.allSpeak(endpoints)
        else { return .plain }
        return client(context).map(Transport.secure) ?? .impossible
    }

    /// The settings of the mesh's own mutual TLS; nil for any other transport.
    private static func context(_ socket: TransportSocket) -> UpstreamTlsContext? {
        guard case .typedConfig(let config)? = socket.configType,
            let context = try? config.unpack(as: UpstreamTlsContext.self),
            context.commonTlsContext?.tlsCertificateSdsSecretConfigs.first?.name == WorkloadSecrets.certificateName
        else { return nil }
        return context
    }

    private static func allSpeak(_ endpoints: EncodedResource?) -> Bool {
        guard let assignment = try? endpoints?.message.unpack(as: ClusterLoadAssignment.self) else { return false }
        let all = assignment.endpoints.flatMap(\.lbEndpoints)
        return !all.isEmpty
            && all.allSatisfy { $0.metadata?.filterMetadata[MutualTLS.matchNamespace] == MutualTLS.endpointMatch }
    }

    private func instance() -> CertificateProviderPluginInstance? {
        provider.map { name in
            var instance = CertificateProviderPluginInstance()
            instance.instanceName = name
            return instance
        }
    }

    private func common(accepting identities: [StringMatcher]) -> CommonTlsContext? {
        guard let instance = instance() else { return nil }
        var validation = CertificateValidationContext()
        validation.caCertificateProviderInstance = instance
        // gRPC reads the older of the two fields for names.
        validation.matchSubjectAltNames = identities
        var combined = CommonTlsContext.CombinedCertificateValidationContext()
        combined.defaultValidationContext = validation
        var common = CommonTlsContext()
        common.tlsCertificateProviderInstance = instance
        common.validationContextType = .combinedValidationContext(combined)
        return common
    }

    private func client(_ full: UpstreamTlsContext) -> TransportSocket? {
        var identities: [StringMatcher] = []
        if case .combinedValidationContext(let combined)? = full.commonTlsContext?.validationContextType {
            identities = (combined.defaultValidationContext?.matchTypedSubjectAltNames ?? []).compactMap(\.matcher)
        }
        // Without a name any workload of the mesh could answer.
        guard !identities.isEmpty, let common = common(accepting: identities) else { return nil }
        var context = UpstreamTlsContext()
        context.commonTlsContext = common
        context.sni = full.sni
        return Self.socket(AnyMessage(packing: context))
    }

    /// What a server presents, and that it asks for the caller's certificate; nil without a certificate provider.
    func server() -> TransportSocket? {
        guard let common = common(accepting: []) else { return nil }
        var context = DownstreamTlsContext()
        context.commonTlsContext = common
        context.requireClientCertificate = true
        return Self.socket(AnyMessage(packing: context))
    }

    private static func socket(_ config: AnyMessage) -> TransportSocket {
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.tls"
        socket.configType = .typedConfig(config)
        return socket
    }
}
