import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Mutual TLS (sections A and D)")
struct MutualTLSTests {
    private func modes(_ world: World) throws -> [String: Bool] {
        var found: [String: Bool] = [:]
        for chain in try Security.chains(world) { found[chain.name] = chain.transportSocket != nil }
        return found
    }

    @Test("A-12 without a policy a port takes both, told apart by the first bytes")
    func permissive() throws {
        let found = try modes(try Security.world())
        #expect(found["0.0.0.0_8080_mtls"] == true)
        #expect(found["0.0.0.0_8080"] == false)
        #expect(found["0.0.0.0_8080_tls"] == false)
    }

    @Test(
        "A-12 workload beats namespace beats mesh; UNSET inherits",
        arguments: [
            ("mtls: {mode: STRICT}", "", "", true, false),
            ("mtls: {mode: STRICT}", "mtls: {mode: PERMISSIVE}", "", true, true),
            ("mtls: {mode: STRICT}", "mtls: {mode: UNSET}", "", true, false),
            ("mtls: {mode: STRICT}", "mtls: {mode: PERMISSIVE}", "mtls: {mode: DISABLE}", false, true),
            ("mtls: {mode: DISABLE}", "", "mtls: {mode: UNSET}", false, true),
            ("", "mtls: {mode: STRICT}", "mtls: {mode: PERMISSIVE}", true, true),
        ])
    func levels(mesh: String, namespace: String, workload: String, takesTLS: Bool, takesPlain: Bool) throws {
        var more = ""
        if !mesh.isEmpty { more += Security.policy("PeerAuthentication", "m", mesh, namespace: "istio-system") }
        if !namespace.isEmpty { more += Security.policy("PeerAuthentication", "n", namespace) }
        if !workload.isEmpty {
            more += Security.policy("PeerAuthentication", "w", "selector: {matchLabels: {app: web}}, \(workload)")
        }
        let found = try modes(try Security.world(more))
        #expect((found["0.0.0.0_8080_mtls"] == true) == takesTLS)
        #expect((found["0.0.0.0_8080"] == false) == takesPlain)
        #expect(found.contains { $0.key.hasPrefix("virtualInbound") && !$0.value } == takesPlain)
    }

    @Test("A-12 the oldest of a level wins, and a selector in the root namespace selects nothing")
    func oldest() throws {
        let young = Security.policy("PeerAuthentication", "a", "mtls: {mode: STRICT}", created: "2026-03-01T00:00:00Z")
        let old = Security.policy("PeerAuthentication", "z", "mtls: {mode: DISABLE}")
        #expect(try modes(try Security.world(young + old))["0.0.0.0_8080_mtls"] == nil)
        let reaching = Security.policy(
            "PeerAuthentication", "r", "selector: {matchLabels: {app: web}}, mtls: {mode: STRICT}",
            namespace: "istio-system")
        #expect(try modes(try Security.world(reaching))["0.0.0.0_8080"] == false)
    }

    @Test("A-12 portLevelMtls goes by the port of the workload, also one of no service")
    func ports() throws {
        let world = try Security.world(
            Security.policy(
                "PeerAuthentication", "w",
                """
                selector: {matchLabels: {app: web}}, mtls: {mode: STRICT},
                portLevelMtls: {8080: {mode: DISABLE}, 9999: {mode: PERMISSIVE}, 80: {mode: DISABLE}}
                """))
        let found = try modes(world)
        #expect(found["0.0.0.0_8080"] == false && found["0.0.0.0_8080_mtls"] == nil)
        #expect(found["0.0.0.0_9999_passthrough_mtls"] == true && found["0.0.0.0_9999_passthrough"] == false)
        #expect(found["virtualInbound-passthrough_mtls"] == true && found["virtualInbound-passthrough"] == nil)
        // Connections to port 8080 have no first bytes to wait for.
        let listener = try world.snapshot("default/web-1").listener("virtualInbound")
        #expect(listener.listenerFilters.map(\.name).contains("envoy.filters.listener.tls_inspector"))
        let endpoint = try world.snapshot().assignment(Security.web).endpoints.first?.lbEndpoints.first
        #expect(endpoint?.metadata?.filterMetadata["envoy.transport_socket_match"] == nil)
    }

    @Test("A-12 STRICT takes no plain text on any path: there is no chain for it, and no default one")
    func strict() throws {
        for port in [
            "{name: http, port: 80, targetPort: 8080}", "{name: tcp, port: 80, targetPort: 8080}",
            "{port: 80, targetPort: 8080}",
        ] {
            let world = try Security.world(
                Security.policy("PeerAuthentication", "n", "mtls: {mode: STRICT}"), port: port)
            let chains = try Security.chains(world)
            #expect(!chains.isEmpty)
            #expect(chains.allSatisfy { $0.transportSocket != nil && $0.filterChainMatch?.transportProtocol == "tls" })
            #expect(try world.snapshot("default/web-1").listener("virtualInbound").defaultFilterChain == nil)
            for chain in chains {
                guard case .typedConfig(let config) = chain.transportSocket?.configType else { continue }
                #expect(try config.unpack(as: DownstreamTlsContext.self).requireClientCertificate == true)
            }
        }
    }

    @Test("A-13 only TLS with the mesh's ALPN is ours under PERMISSIVE, the application's own goes through as bytes")
    func alpn() throws {
        let world = try Security.world()
        let ours = try Security.chain(world, "0.0.0.0_8080_mtls").filterChainMatch
        #expect(ours?.transportProtocol == "tls")
        #expect(
            Set(ours?.applicationProtocols ?? [])
                == ["istio", "istio-peer-exchange", "istio-http/1.0", "istio-http/1.1", "istio-h2"])
        let theirs = try Security.chain(world, "0.0.0.0_8080_tls")
        #expect(theirs.filterChainMatch?.transportProtocol == "tls" && theirs.transportSocket == nil)
        #expect(try Chains.proxy(theirs).clusterSpecifier == .cluster("inbound|8080||"))
        let client = try Security.upstream(
            world.snapshot().cluster(Security.web).transportSocketMatches.first?.transportSocket)
        #expect(client.commonTlsContext?.alpnProtocols.first == "istio-http/1.1")
        let sniffed = try Security.world(port: "{port: 80, targetPort: 8080}")
        #expect(
            try Security.chain(sniffed, "0.0.0.0_8080_mtls_http").filterChainMatch?.applicationProtocols
                == ["istio-http/1.0", "istio-http/1.1", "istio-h2"])
        #expect(
            try Security.chain(sniffed, "0.0.0.0_8080_mtls").filterChainMatch?.applicationProtocols
                == ["istio", "istio-peer-exchange"])
    }

    @Test("A-14 mutual TLS goes to the endpoints with a sidecar, plain text to the others of the same service")
    func automatic() throws {
        let world = try Security.world(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: bare, namespace: default, labels: {app: web, sidecar.istio.io/inject: "false"}}
            spec: {containers: []}
            status: {podIP: 10.244.0.9}
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: bare, namespace: default, labels: {kubernetes.io/service-name: web}}
            addressType: IPv4
            ports: [{name: http, port: 8080}]
            endpoints: [{addresses: [10.244.0.9], targetRef: {kind: Pod, name: bare}}]
            """)
        let snapshot = world.snapshot()
        let cluster = try snapshot.cluster(Security.web)
        #expect(cluster.transportSocketMatches.map(\.name) == ["tlsMode-istio", "tlsMode-disabled"])
        #expect(cluster.transportSocketMatches.first?.match == ["tlsMode": "istio"])
        let hosts = try snapshot.assignment(Security.web).endpoints.flatMap(\.lbEndpoints)
        let marks = hosts.map { $0.metadata?.filterMetadata["envoy.transport_socket_match"] }
        #expect(marks == [["tlsMode": "istio"], nil])
        let off = try Security.world(Security.meshConfig("enableAutoMtls: false"))
        #expect(try off.snapshot().cluster(Security.web).transportSocketMatches.isEmpty)
    }

    @Test("A-14 no sidecar: host network, a gateway, a namespace without injection, the label that says so")
    func withoutSidecar() throws {
        func marks(_ metadata: String, _ spec: String, namespaceLabels: String = "{}") throws -> Bool {
            let world = try World(
                World.service("web", ip: 1), World.pod("web-1", "web", ip: 5),
                """
                ---
                apiVersion: v1
                kind: Pod
                metadata: {name: web-1, namespace: default, \(metadata)}
                spec: {containers: []\(spec)}
                status: {podIP: 10.244.0.5}
                ---
                apiVersion: v1
                kind: Namespace
                metadata: {name: default, labels: \(namespaceLabels)}
                """)
            let host = try world.snapshot().assignment(Security.web).endpoints.first?.lbEndpoints.first
            return host?.metadata?.filterMetadata["envoy.transport_socket_match"] != nil
        }
        #expect(try marks("labels: {app: web}", ""))
        #expect(try !marks("labels: {app: web}", ", hostNetwork: true"))
        #expect(try !marks("labels: {app: web, security.istio.io/tlsMode: disabled}", ""))
        #expect(try !marks("labels: {app: web}", "", namespaceLabels: "{istio-injection: disabled}"))
        #expect(
            try marks(
                "labels: {app: web, sidecar.istio.io/inject: \"true\"}", "",
                namespaceLabels: "{istio-injection: disabled}"))
        #expect(try !marks("labels: {app: web}, annotations: {skein.dev/gateway: \"true\"}", ""))
    }

    @Test("A-16 a client accepts the service accounts of that service's pods and nobody else")
    func identities() throws {
        let world = try Security.world(
            """
            apiVersion: v1
            kind: Pod
            metadata: {name: web-2, namespace: default, labels: {app: web}}
            spec: {serviceAccountName: blue, containers: []}
            status: {podIP: 10.244.0.6}
            ---
            apiVersion: discovery.k8s.io/v1
            kind: EndpointSlice
            metadata: {name: w2, namespace: default, labels: {kubernetes.io/service-name: web}}
            addressType: IPv4
            ports: [{name: http, port: 8080}]
            endpoints: [{addresses: [10.244.0.6], targetRef: {kind: Pod, name: web-2}}]
            """, World.service("other", ip: 3))
        let snapshot = world.snapshot()
        let context = try Security.upstream(
            snapshot.cluster(Security.web).transportSocketMatches.first?.transportSocket)
        #expect(
            Security.identities(context) == [
                "spiffe://cluster.local/ns/default/sa/blue", "spiffe://cluster.local/ns/default/sa/default",
            ])
        #expect(context.sni == "outbound_.80_._.web.default.svc.cluster.local")
        // A service without pods: an empty list would accept everybody.
        let empty = try Security.upstream(
            snapshot.cluster("outbound|80||other.default.svc.cluster.local").transportSocketMatches.first?
                .transportSocket)
        #expect(Security.identities(empty).count == 1)
    }

    @Test("A-17 sessions are not resumed between workloads: each connection is judged by what is trusted now")
    func resumption() throws {
        let world = try Security.world()
        guard case .typedConfig(let config) = try Security.chain(world, "0.0.0.0_8080_mtls").transportSocket?.configType
        else { throw Security.Absent() }
        let server = try config.unpack(as: DownstreamTlsContext.self)
        #expect(server.sessionTicketKeysType == .disableStatelessSessionResumption(true))
        #expect(server.disableStatefulSessionResumption)
        let client = try Security.upstream(
            world.snapshot().cluster(Security.web).transportSocketMatches.first?.transportSocket)
        #expect(client.maxSessionKeys == 0)
    }

    @Test("D-5 a rule without tls keeps automatic mutual TLS; DISABLE is plain text, ISTIO_MUTUAL is for all endpoints")
    func destinationRules() throws {
        func cluster(_ policy: String) throws -> Cluster {
            try Security.world(World.policy("p", "host: web\ntrafficPolicy: \(policy)")).snapshot().cluster(
                Security.web)
        }
        #expect(try cluster("{loadBalancer: {simple: RANDOM}}").transportSocketMatches.count == 2)
        let disabled = try cluster("{tls: {mode: DISABLE}}")
        #expect(disabled.transportSocketMatches.isEmpty && disabled.transportSocket == nil)
        let mutual = try cluster("{tls: {mode: ISTIO_MUTUAL}}")
        #expect(mutual.transportSocketMatches.isEmpty)
        #expect(
            try Security.identities(Security.upstream(mutual.transportSocket))
                == ["spiffe://cluster.local/ns/default/sa/default"])
        let simple = try Security.upstream(
            cluster("{tls: {mode: SIMPLE, sni: a.example.com, caCertificates: /etc/ca.pem}}").transportSocket)
        #expect(simple.sni == "a.example.com")
        #expect(try cluster("{tls: {mode: MUTUAL, clientCertificate: /c, privateKey: /k}}").transportSocket != nil)
    }

    @Test("A missing secret means that nobody is served: secrets are waited for without end")
    func failClosed() throws {
        let world = try Security.world()
        guard case .typedConfig(let config) = try Security.chain(world, "0.0.0.0_8080_mtls").transportSocket?.configType
        else { throw Security.Absent() }
        let common = try config.unpack(as: DownstreamTlsContext.self).commonTlsContext
        #expect(common?.tlsCertificateSdsSecretConfigs.map(\.name) == ["default"])
        #expect(common?.tlsCertificateSdsSecretConfigs.first?.sdsConfig?.initialFetchTimeout == .zero)
    }
}
