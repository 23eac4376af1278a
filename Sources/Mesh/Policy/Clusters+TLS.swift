import EnvoyAPI
import KubernetesAPI
import Serialization

extension Clusters {
    /// The TLS of the connections of a cluster, and the PROXY protocol header before it.
    ///
    /// The one place where that is decided: `DISABLE`, `SIMPLE` and `MUTUAL` are as the DestinationRule says; without a
    /// word (D-5) and with `ISTIO_MUTUAL` it is the mesh's mutual TLS, as far as the service is in the mesh (S-16).
    static func transportSocket(
        for settings: ClusterSettings, service: MeshService, port: MeshService.Port, subset: String, model: MeshModel,
        _ cluster: inout Cluster
    ) {
        if let tls = settings.tls, ["SIMPLE", "MUTUAL"].contains(tls.mode) {
            cluster.transportSocket = socket(context(tls, settings, service, port))
        } else {
            MutualTLS.secure(&cluster, settings.tls, service: service, port: port, subset: subset, model: model)
        }
        guard !settings.proxyProtocol.isEmpty else { return }
        cluster.transportSocket = headed(settings.proxyProtocol, cluster.transportSocket)
    }

    /// A socket whose connections begin with a PROXY protocol header.
    private static func headed(_ version: String, _ inner: TransportSocket?) -> TransportSocket {
        var header = ProxyProtocolConfig()
        header.version = version == "V2" ? .v2 : .v1
        var plain = TransportSocket()
        plain.name = "envoy.transport_sockets.raw_buffer"
        plain.configType = .typedConfig(AnyMessage(packing: RawBuffer()))
        var transport = ProxyProtocolUpstreamTransport()
        transport.config = header
        transport.transportSocket = inner ?? plain
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.upstream_proxy_protocol"
        socket.configType = .typedConfig(AnyMessage(packing: transport))
        return socket
    }

    private static func socket(_ context: UpstreamTlsContext) -> TransportSocket {
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.tls"
        socket.configType = .typedConfig(AnyMessage(packing: context))
        return socket
    }

    private static func context(
        _ tls: DestinationRule.ClientTLS, _ settings: ClusterSettings, _ service: MeshService, _ port: MeshService.Port
    ) -> UpstreamTlsContext {
        var common = CommonTlsContext()
        if tls.mode == "MUTUAL" {
            if let credentials = settings.credentials {
                common.tlsCertificateSdsSecretConfigs = [credentials.certificate].compactMap { $0 }.map(
                    DownstreamTLS.reference)
            } else if !tls.clientCertificate.isEmpty {
                var certificate = TlsCertificate()
                certificate.certificateChain = file(tls.clientCertificate)
                certificate.privateKey = file(tls.privateKey)
                common.tlsCertificates = [certificate]
            }
        }
        if !tls.insecureSkipVerify {
            var validation = CertificateValidationContext()
            let names = tls.subjectAltNames.isEmpty ? service.subjectAltNames : tls.subjectAltNames
            validation.matchTypedSubjectAltNames = names.map(name)
            if !tls.caCRL.isEmpty { validation.crl = file(tls.caCRL) }
            if let credentials = settings.credentials {
                var combined = CommonTlsContext.CombinedCertificateValidationContext()
                combined.defaultValidationContext = validation
                combined.validationContextSdsSecretConfig = DownstreamTLS.reference(credentials.authority)
                common.validationContextType = .combinedValidationContext(combined)
            } else {
                if tls.caCertificates.isEmpty || tls.caCertificates == "system" {
                    validation.systemRootCerts = CertificateValidationContext.SystemRootCerts()  // D-8
                } else {
                    validation.trustedCa = file(tls.caCertificates)
                }
                common.validationContextType = .validationContext(validation)
            }
        }
        let isHTTP2 = port.portProtocol == .http2 || settings.connectionPool?.h2UpgradePolicy == "UPGRADE"
        if settings.connectionPool?.useClientProtocol == true {
            common.alpnProtocols = ["h2", "http/1.1"]
        } else if isHTTP2 {
            common.alpnProtocols = ["h2"]
        }
        var context = UpstreamTlsContext()
        context.commonTlsContext = common
        context.sni = tls.sni
        return context
    }

    /// D-8: without `sni` the server name is the host of the request, and so is the name that its certificate must have
    /// unless others are listed.
    static func serverNames(_ settings: ClusterSettings, _ service: MeshService) -> UpstreamHttpNamesOptions? {
        guard let tls = settings.tls, ["SIMPLE", "MUTUAL"].contains(tls.mode), tls.sni.isEmpty else { return nil }
        var options = UpstreamHttpNamesOptions()
        options.autoSni = true
        options.autoSanValidation =
            tls.subjectAltNames.isEmpty && service.subjectAltNames.isEmpty && !tls.insecureSkipVerify
        return options
    }

    private static func file(_ path: String) -> DataSource {
        var source = DataSource()
        source.specifier = .filename(path)
        return source
    }

    private static func name(_ text: String) -> SubjectAltNameMatcher {
        var matcher = StringMatcher()
        matcher.matchPattern = .exact(text)
        var name = SubjectAltNameMatcher()
        name.sanType = text.contains("://") ? .uri : Addresses.isAddress(text) ? .ipAddress : .dns
        name.matcher = matcher
        return name
    }
}
