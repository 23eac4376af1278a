import EnvoyAPI
import KubernetesAPI
import Serialization

/// What a DestinationRule says about TLS, and the mutual TLS of the mesh where it says nothing (D-5, A-14).
enum UpstreamSecurity {
    /// A setting that cannot be kept.
    struct Problem: Sendable, Hashable {
        /// The field below `tls`.
        var field: String
        /// What is wrong, and what happens then.
        var message: String
    }

    /// Gives a cluster its transport sockets; false when it must not be made at all, because it would have to be
    /// something that it cannot.
    static func apply(
        _ tls: DestinationRule.ClientTLS?, to cluster: inout Cluster, service: MeshService, port: MeshService.Port,
        subset: String, model: MeshModel
    ) -> Bool {
        guard let tls else {
            // TLS from end to end is the application's: a second one inside would be for nothing, but does no harm.
            MutualTLS.automatic(&cluster, service: service, port: port, subset: subset, model: model)
            return true
        }
        switch tls.mode {
        case "DISABLE": return true  // D-5: plain text also to a STRICT server, where every request fails.
        case "ISTIO_MUTUAL":
            let serverName =
                tls.sni.isEmpty ? MutualTLS.serverName(host: service.host, port: port.number, subset: subset) : tls.sni
            let identities =
                tls.subjectAltNames.isEmpty ? MutualTLS.accepted(service, model: model) : tls.subjectAltNames
            cluster.transportSocket = MutualTLS.client(
                identities: identities, serverName: serverName, protocols: MutualTLS.protocols(port.portProtocol))
            return true
        case "SIMPLE", "MUTUAL":
            guard problems(tls).isEmpty else { return false }
            cluster.transportSocket = originated(tls, host: service.host, port: port)
            return true
        default: return false
        }
    }

    /// What stands in the way of TLS settings.
    static func problems(_ tls: DestinationRule.ClientTLS?) -> [Problem] {
        guard let tls else { return [] }
        var found: [Problem] = []
        func note(_ field: String, _ message: String) {
            found.append(Problem(field: field, message: "\(message); such requests get 503"))
        }
        switch tls.mode {
        case "DISABLE": break
        case "ISTIO_MUTUAL":
            for (name, value) in [
                ("clientCertificate", tls.clientCertificate), ("privateKey", tls.privateKey),
                ("caCertificates", tls.caCertificates), ("credentialName", tls.credentialName),
            ] where !value.isEmpty {
                found.append(Problem(field: name, message: "has no effect with ISTIO_MUTUAL"))
            }
        case "SIMPLE", "MUTUAL":
            if !tls.credentialName.isEmpty {
                note("credentialName", "Secrets for connections of sidecars are not supported yet: use files")
            }
            if tls.mode == "MUTUAL", tls.clientCertificate.isEmpty || tls.privateKey.isEmpty,
                tls.credentialName.isEmpty
            {
                note("clientCertificate", "MUTUAL needs clientCertificate and privateKey")
            }
            for (name, path) in [
                ("clientCertificate", tls.clientCertificate), ("privateKey", tls.privateKey),
                ("caCertificates", tls.caCertificates), ("caCrl", tls.caCrl),
            ] where !path.isEmpty && !path.hasPrefix("/") {
                note(name, "must be an absolute path in the proxy's container")
            }
        default: note("mode", "\(tls.mode) is unknown")
        }
        return found
    }

    /// TLS to a server outside of the mesh, as a client anywhere would do it.
    private static func originated(
        _ tls: DestinationRule.ClientTLS, host: String, port: MeshService.Port
    ) -> TransportSocket {
        var validation = CertificateValidationContext()
        var common = CommonTlsContext()
        var context = UpstreamTlsContext()
        context.sni = tls.sni.isEmpty && !HostName.isWildcard(host) ? host : tls.sni
        if !tls.insecureSkipVerify {
            if tls.caCertificates.isEmpty {
                validation.systemRootCerts = CertificateValidationContext.SystemRootCerts()  // D-8
            } else {
                validation.trustedCa = file(tls.caCertificates)
            }
            if !tls.caCrl.isEmpty { validation.crl = file(tls.caCrl) }
            let names = tls.subjectAltNames.isEmpty ? [context.sni].filter { !$0.isEmpty } : tls.subjectAltNames
            validation.matchTypedSubjectAltNames = names.flatMap(Self.matchers)
            common.validationContextType = .validationContext(validation)
        }
        if tls.mode == "MUTUAL" {
            var certificate = TlsCertificate()
            certificate.certificateChain = file(tls.clientCertificate)
            certificate.privateKey = file(tls.privateKey)
            common.tlsCertificates = [certificate]
        }
        common.alpnProtocols = port.portProtocol == .http2 ? ["h2"] : port.portProtocol == .http ? ["http/1.1"] : []
        context.commonTlsContext = common
        var socket = TransportSocket()
        socket.name = "envoy.transport_sockets.tls"
        socket.configType = .typedConfig(AnyMessage(packing: context))
        return socket
    }

    /// A name as a certificate may carry it: a SPIFFE id is a URI, all others are DNS names.
    private static func matchers(_ name: String) -> [SubjectAltNameMatcher] {
        var text = StringMatcher()
        text.matchPattern = .exact(name)
        var matcher = SubjectAltNameMatcher()
        matcher.sanType = name.contains("://") ? .uri : .dns
        matcher.matcher = text
        return [matcher]
    }

    private static func file(_ path: String) -> DataSource {
        var source = DataSource()
        source.specifier = .filename(path)
        return source
    }
}
