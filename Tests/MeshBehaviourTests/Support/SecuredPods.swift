import EnvoyAPI
import IO
import Mesh
import Serialization
import TLS
import Testing

/// The certificates of a scene's proxies, in the place of those that the agents of nodes give out.
struct SceneIdentities: Sendable {
    private static let longAgo: Int64 = 1_000_000_000
    private static let farAhead: Int64 = 4_000_000_000
    private let authority: CertificateAuthority

    init() throws {
        authority = try .make(
            subject: DistinguishedName(commonName: "mesh"), key: .makeP256(), notBefore: Self.longAgo,
            notAfter: Self.farAhead)
    }

    /// A certificate with its key.
    private func identity(_ name: SubjectAlternativeName) throws -> (certificate: Certificate, key: PrivateKey) {
        let key = try PrivateKey.makeP256()
        let certificate = try authority.sign(
            CertificateAuthority.Leaf(
                subject: DistinguishedName(commonName: "leaf"), alternativeNames: [name], usage: [.client, .server],
                notBefore: Self.longAgo, notAfter: Self.farAhead),
            for: key.publicKey)
        return (certificate, key)
    }

    /// A server of that name that asks its clients for certificates of ours.
    func server(_ name: String) throws -> TLSContext {
        let (certificate, key) = try identity(.dns(name))
        var configuration = TLSConfiguration()
        configuration.certificateChain = [certificate]
        configuration.privateKey = key
        configuration.trust = [authority.certificate]
        return try TLSContext(configuration, role: .server)
    }

    /// A Secret in YAML with a certificate, and the authority beside it.
    func secret(_ name: String, namespace: String) throws -> String {
        let (certificate, key) = try identity(.dns(name))
        return """
            ---
            apiVersion: v1
            kind: Secret
            metadata: {name: \(name), namespace: \(namespace)}
            data:
              tls.crt: \(Base64.encode(certificate.pem))
              tls.key: \(Base64.encode(key.pem))
              ca.crt: \(Base64.encode(authority.certificate.pem))

            """
    }

    /// The secrets of a service account of `default`.
    func secrets(_ serviceAccount: String) throws -> JSON {
        let (certificate, key) = try identity(.uri("spiffe://cluster.local/ns/default/sa/\(serviceAccount)"))
        func inline(_ pem: [UInt8]) -> JSON { ["inline_string": .string(String(decoding: pem, as: UTF8.self))] }
        return [
            [
                "name": "default",
                "tls_certificate": [
                    "certificate_chain": inline(certificate.pem), "private_key": inline(key.pem),
                ],
            ],
            ["name": "ROOTCA", "validation_context": ["trusted_ca": inline(authority.certificate.pem)]],
        ]
    }
}

extension JSON {
    /// Secrets that would come from an agent are those of the bootstrap.
    var withStaticSecrets: JSON {
        switch self {
        case .array(let items): return .array(items.map(\.withStaticSecrets))
        case .object(var members):
            members["sds_config"] = nil
            return .object(members.mapValues(\.withStaticSecrets))
        default: return self
        }
    }
}

extension ProxySnapshot {
    /// A sidecar's way in to one port of its pod, as static configuration; the application listens at `application`.
    func sidecarBootstrap(port: Int, application: UInt16, _ identities: SceneIdentities?) throws -> JSON {
        var listener = try listener("virtualInbound")
        listener.address = EnvoyAPI.Address.local
        listener.useOriginalDst = nil
        listener.filterChains = listener.filterChains.compactMap { chain in
            guard chain.filterChainMatch?.destinationPort.map(Int.init) == port else { return nil }
            var chain = chain
            chain.filterChainMatch?.destinationPort = nil
            return chain
        }
        listener.listenerFilters = listener.listenerFilters.filter { $0.name != "envoy.filters.listener.original_dst" }
            .map { filter in
                var filter = filter
                filter.filterDisabled = nil  // By ports, which are others here.
                return filter
            }
        let clusters = try clusters.keys.sorted().filter { $0.hasPrefix("inbound|") }.map { name in
            var cluster = try cluster(name)
            cluster.clusterDiscoveryType = .type(.static)
            cluster.lbPolicy = .roundRobin
            cluster.upstreamBindConfig = nil
            var socket = EnvoyAPI.SocketAddress()
            socket.address = "127.0.0.1"
            socket.portSpecifier = .portValue(UInt32(application))
            var address = EnvoyAPI.Address()
            address.address = .socketAddress(socket)
            var endpoint = EnvoyAPI.Endpoint()
            endpoint.address = address
            var host = LbEndpoint()
            host.hostIdentifier = .endpoint(endpoint)
            var locality = LocalityLbEndpoints()
            locality.lbEndpoints = [host]
            var assignment = ClusterLoadAssignment()
            assignment.clusterName = name
            assignment.endpoints = [locality]
            cluster.loadAssignment = assignment
            return cluster.json
        }
        return [
            "static_resources": [
                "listeners": [listener.json.withStaticSecrets], "clusters": .array(clusters),
                "secrets": try identities?.secrets("default") ?? [],
            ]
        ]
    }
}
