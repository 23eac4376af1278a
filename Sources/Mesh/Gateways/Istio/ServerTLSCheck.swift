import EnvoyAPI
import KubernetesAPI
import Serialization

/// What the TLS settings of an Istio Gateway's server mean.
enum ServerTLSCheck {
    /// What is asked of clients.
    enum Clients: Sendable, Hashable { case nothing, certificate, optionalCertificate, meshIdentity }

    /// What happens to TLS at a server.
    enum Mode: Sendable, Hashable {
        /// There is no TLS.
        case none
        /// It ends here.
        case terminate(Clients)
        /// It goes on, by server name, as VirtualServices say.
        case passthrough
        /// It goes on to the service that the server name spells.
        case autoPassthrough
    }

    static func mode(_ server: IstioGateway.Server) -> Mode {
        guard let tls = server.tls, family(server) == .tls else { return .none }
        switch tls.mode {
        case "SIMPLE": return .terminate(.nothing)
        case "MUTUAL": return .terminate(.certificate)
        case "OPTIONAL_MUTUAL": return .terminate(.optionalCertificate)
        case "ISTIO_MUTUAL": return .terminate(.meshIdentity)
        case "AUTO_PASSTHROUGH": return .autoPassthrough
        default: return .passthrough
        }
    }

    /// What the port speaks; `nil` when the server cannot be served.
    static func family(_ server: IstioGateway.Server) -> Entrances.Family? {
        switch server.portProtocol.uppercased() {
        case "HTTP", "HTTP2", "GRPC", "GRPC-WEB": .http
        case "HTTPS", "TLS": server.hasTLS ? .tls : nil
        case "TCP", "MONGO", "MYSQL", "REDIS": server.hasTLS ? .tls : .bytes
        default: nil
        }
    }

    static func isHTTPS(_ server: IstioGateway.Server) -> Bool { server.portProtocol.uppercased() == "HTTPS" }

    /// The settings of a server that ends TLS; `nil` when what it needs is missing: the server does not serve then.
    static func settings(_ opening: Entrances.Opening, _ clients: Clients, _ entrances: Entrances) -> DownstreamTLS? {
        guard let tls = opening.server.tls, tls.fileMembers.isEmpty || !tls.credentialNames.isEmpty else { return nil }
        var settings: DownstreamTLS
        if clients == .meshIdentity {
            settings = DownstreamTLS(certificates: [MeshSecrets.certificate])
        } else {
            let names = tls.credentialNames.compactMap { name in
                find(name, opening, entrances, problem: GatewaySecrets.problem(certificateIn:))
            }
            guard !names.isEmpty, names.count == tls.credentialNames.count else { return nil }
            settings = DownstreamTLS(certificates: names.map(GatewaySecrets.certificateName))
        }
        switch clients {
        case .nothing: break
        case .meshIdentity:
            settings.clients = DownstreamTLS.ClientCheck(authority: MeshSecrets.authority)
        case .certificate, .optionalCertificate:
            let name = tls.caCertCredentialName.isEmpty ? tls.credentialNames.first ?? "" : tls.caCertCredentialName
            let authority = find(name, opening, entrances) { secret in
                GatewaySecrets.problem(
                    authorityIn: "Secret", NamespacedName(namespace: secret.namespace, name: secret.name),
                    entrances.model.objects)
            }
            guard let authority else { return nil }
            settings.clients = DownstreamTLS.ClientCheck(
                authority: GatewaySecrets.authorityName("Secret", authority),
                isRequired: clients == .certificate)
        }
        settings.clients?.names = tls.subjectAltNames
        settings.clients?.keyPins = tls.verifyCertificateSpki
        settings.clients?.certificatePins = tls.verifyCertificateHash
        settings.minimumVersion = tls.minProtocolVersion
        settings.maximumVersion = tls.maxProtocolVersion
        settings.cipherSuites = tls.cipherSuites
        settings.curves = tls.ecdhCurves
        settings.clients?.allowsUntrusted = tls.insecureSkipVerify
        if isHTTPS(opening.server) { settings.applicationProtocols = DownstreamTLS.httpProtocols }
        return settings
    }

    /// The Secret that a credential name means: in the namespace of the gateway's pod, in the root namespace, where Istio's
    /// own gateway has its Secrets, or beside the Gateway.
    static func find(
        _ name: String, _ opening: Entrances.Opening, _ entrances: Entrances,
        problem: (KubernetesObject) -> String?
    ) -> NamespacedName? {
        candidates(name, gateway: opening.entrance.key.namespace, pod: entrances.namespace).first { key in
            entrances.model.objects.object(.secret, key).map { problem($0) == nil } ?? false
        }
    }

    static func candidates(_ name: String, gateway: String, pod: String) -> [NamespacedName] {
        let plain = name.hasPrefix(GatewaySecrets.scheme) ? String(name.dropFirst(GatewaySecrets.scheme.count)) : name
        var seen: Set<String> = []
        return [pod, Mesh.rootNamespace, gateway].filter { seen.insert($0).inserted }
            .map { NamespacedName(namespace: $0, name: plain) }
    }
}

/// The resources with the proxy's own identity in the mesh.
enum MeshSecrets {
    /// Its certificate and key.
    static let certificate = "default"
    /// The authorities of the mesh.
    static let authority = "ROOTCA"
}

extension FilterChains {
    /// The filter that reads the server name of a TLS connection.
    static var tlsInspector: ListenerFilter {
        var filter = ListenerFilter()
        filter.name = "envoy.filters.listener.tls_inspector"
        filter.configType = .typedConfig(AnyMessage(packing: TlsInspector()))
        return filter
    }
}
