import EnvoyAPI
import KubernetesAPI
public import Serialization

/// The transport sockets of mutual TLS between workloads; the certificates come by SDS from the node's agent.
public enum MutualTLS {
    /// The cluster of the bootstrap that leads to the agent's SDS socket.
    public static let secretCluster = "sds-grpc"
    /// The secret with the workload's own certificate and key.
    static let certificateSecret = "default"
    /// The secret with the roots of the mesh.
    static let rootSecret = "ROOTCA"
    /// What endpoints with a sidecar have in their metadata, as with Istio.
    public static let endpointMatch: JSON = ["tlsMode": "istio"]
    /// The namespace of endpoint metadata by which a transport socket is chosen.
    public static let matchNamespace = "envoy.transport_socket_match"

    /// By these ALPN names a server tells our TLS from the application's own.
    static let meshProtocols = ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"]
    /// Those that say that HTTP is inside.
    static let httpProtocols = ["istio-http/1.0", "istio-http/1.1", "istio-h2"]
    /// Those that say that bytes are inside.
    static let byteProtocols = ["istio", "istio-peer-exchange"]

    // MARK: Secrets

    /// A secret that the proxy asks its agent for.
    static func secret(_ name: String) -> SdsSecretConfig {
        var grpc = GrpcService.EnvoyGrpc()
        grpc.clusterName = secretCluster
        var service = GrpcService()
        service.targetSpecifier = .envoyGrpc(grpc)
        var api = ApiConfigSource()
        api.apiType = .grpc
        api.transportApiVersion = .v3
        api.grpcServices = [service]
        var source = ConfigSource()
        source.configSourceSpecifier = .apiConfigSource(api)
        source.resourceApiVersion = .v3
        // For ever: without its secret a listener or cluster must not come up (decision 10).
        source.initialFetchTimeout = .zero
        var config = SdsSecretConfig()
        config.name = name
        config.sdsConfig = source
        return config
    }

    private static func common(accepting identities: [String]) -> CommonTlsContext {
        var validation = CertificateValidationContext()
        validation.matchTypedSubjectAltNames = identities.map { identity in
            var matcher = StringMatcher()
            matcher.matchPattern = .exact(identity)
            var name = SubjectAltNameMatcher()
            name.sanType = .uri
            name.matcher = matcher
            return name
        }
        var combined = CommonTlsContext.CombinedCertificateValidationContext()
        combined.defaultValidationContext = validation
        combined.validationContextSdsSecretConfig = secret(rootSecret)
        var parameters = TlsParameters()
        parameters.tlsMinimumProtocolVersion = .tlsv12
        parameters.tlsMaximumProtocolVersion = .tlsv13
        var common = CommonTlsContext()
        common.tlsParams = parameters
        common.tlsCertificateSdsSecretConfigs = [secret(certificateSecret)]
        common.validationContextType = .combinedValidationContext(combined)
        return common
    }

    private static func socket(_ config: AnyMessage) -> TransportSocket {
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.tls"
        socket.configType = .typedConfig(config)
        return socket
    }

    // MARK: Server

    /// What a sidecar presents, and that it asks for the caller's certificate.
    static func server() -> TransportSocket {
        var context = DownstreamTlsContext()
        var common = common(accepting: [])
        common.alpnProtocols = ["istio-peer-exchange", "h2", "http/1.1", "http/1.0"]
        context.commonTlsContext = common
        context.requireClientCertificate = true
        // a resumed session would be judged by what was trusted when it began.
        context.sessionTicketKeysType = .disableStatelessSessionResumption(true)
        context.disableStatefulSessionResumption = true
        return socket(AnyMessage(packing: context))
    }

    // MARK: Client

    /// Mutual TLS to one of these identities.
    static func client(identities: [String], serverName: String, protocols: [String]) -> TransportSocket {
        var context = UpstreamTlsContext()
        var common = common(accepting: identities)
        common.alpnProtocols = protocols
        context.commonTlsContext = common
        context.sni = serverName
        context.maxSessionKeys = 0
        return socket(AnyMessage(packing: context))
    }

    static var plain: TransportSocket {
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.raw_buffer"
        socket.configType = .typedConfig(AnyMessage(packing: RawBuffer()))
        return socket
    }

    /// What a client says that it will speak, by what the port says.
    static func protocols(_ port: PortProtocol) -> [String] {
        switch port {
        case .http: ["istio-http/1.1", "istio", "http/1.1"]
        case .http2: ["istio-h2", "istio", "h2"]
        default: ["istio"]
        }
    }

    /// `outbound_.80_.v1_.reviews.default.svc.cluster.local`: what a client asks for in SNI, as with Istio.
    static func serverName(host: String, port: Int, subset: String) -> String {
        "outbound_.\(port)_.\(subset)_.\(host)"
    }

    /// The identities for a service without pods: none answers, and nobody else may.
    static func accepted(_ service: MeshService, model: MeshModel) -> [String] {
        let known = model.identities(of: service)
        // An empty list would accept everybody that the mesh's root vouches for.
        return known.isEmpty
            ? [model.config.security.identity(namespace: service.key.namespace, serviceAccount: "none")] : known
    }

    /// Gives a cluster the mesh's mutual TLS as far as a DestinationRule leaves it to the mesh (D-5).
    ///
    /// Without a word of it: mutual TLS to those endpoints that speak it, plain text to the others.
    static func secure(
        _ cluster: inout Cluster, _ tls: DestinationRule.ClientTLS?, service: MeshService, port: MeshService.Port,
        subset: String, model: MeshModel
    ) {
        // D-5: DISABLE is plain text also to a STRICT server, where every request fails.
        guard tls == nil || tls?.mode == "ISTIO_MUTUAL" else { return }
        guard tls != nil || (model.config.security.usesAutomaticTLS && !service.isExternal) else { return }
        let named = tls?.sni ?? ""
        let listed = tls?.subjectAltNames ?? []
        let mutual = client(
            identities: listed.isEmpty ? accepted(service, model: model) : listed,
            serverName: named.isEmpty
                ? serverName(host: service.host, port: port.number, subset: subset) : named,
            protocols: protocols(port.portProtocol))
        if tls != nil {
            cluster.transportSocket = mutual
            return
        }
        if case .type(.originalDst) = cluster.clusterDiscoveryType {
            // Where the caller chooses the address there is no endpoint to ask: all of the service's must speak it.
            let endpoints = model.endpoints(of: service)
            let all = endpoints.allSatisfy { endpoint in
                endpoint.number(of: port).map {
                    model.speaksMutualTLS(endpoint, port: $0, service: service)
                } ?? true
            }
            if all, !endpoints.isEmpty { cluster.transportSocket = mutual }
            return
        }
        var match = Cluster.TransportSocketMatch()
        match.name = "tlsMode-istio"
        match.match = endpointMatch
        match.transportSocket = mutual
        var other = Cluster.TransportSocketMatch()
        other.name = "tlsMode-disabled"
        other.match = .object([:])
        other.transportSocket = plain
        cluster.transportSocketMatches = [match, other]
    }

    /// Writes on an endpoint that it speaks mutual TLS.
    static func mark(_ endpoint: inout LbEndpoint) {
        var metadata = endpoint.metadata ?? Metadata()
        metadata.filterMetadata[matchNamespace] = endpointMatch
        endpoint.metadata = metadata
    }
}
