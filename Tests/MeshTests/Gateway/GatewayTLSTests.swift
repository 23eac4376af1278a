import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Istio Gateways and Ingresses with TLS")
struct GatewayTLSTests {
    private struct Missing: Error {}

    /// A Gateway of Istio's with those servers, and a rule that is bound to it.
    private func world(_ servers: String, _ more: String...) throws -> World {
        try World(
            World.gatewayPod,
            """
            ---
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: g, namespace: default, creationTimestamp: "2026-01-01T00:00:00Z"}
            spec: {selector: {istio: ingressgateway}, servers: [\(servers)]}

            """, World.service("web", ip: 1), World.service("other", ip: 2), more.joined())
    }

    private func server(_ mode: String, hosts: String = "a.example", more: String = "") -> String {
        "{port: {number: 443, name: https, protocol: HTTPS}, hosts: [\(hosts)], tls: {mode: \(mode)\(more)}}"
    }

    private let rule = World.rule(
        "r", "hosts: ['*']\ngateways: [g]\nhttp: [{route: [{destination: {host: web}}]}]")

    private func context(_ world: World) throws -> DownstreamTlsContext {
        let chain = try #require(try world.gatewaySnapshot().listener("0.0.0.0_443").filterChains.first)
        guard case .typedConfig(let any) = chain.transportSocket?.configType else { throw Missing() }
        return try any.unpack()
    }

    @Test("SIMPLE: the Secret of credentialName by the stream, from the pod's, the root or the Gateway's namespace")
    func simple() throws {
        for namespace in ["skein-system", "istio-system", "default"] {
            let world = try world(
                server("SIMPLE", more: ", credentialName: cert"), rule,
                GatewayYAML.secret("cert", namespace: namespace))
            let common = try #require(try context(world).commonTlsContext)
            #expect(common.tlsCertificateSdsSecretConfigs.map(\.name) == ["kubernetes://\(namespace)/cert"])
            #expect(common.alpnProtocols == ["h2", "http/1.1"])
            #expect(common.tlsParams?.tlsMinimumProtocolVersion == .tlsv12)
            let snapshot = world.gatewaySnapshot()
            #expect(snapshot.secrets.keys.sorted() == ["kubernetes://\(namespace)/cert"])
            let chain = try #require(try snapshot.listener("0.0.0.0_443").filterChains.first)
            #expect(chain.filterChainMatch?.serverNames == ["a.example"])
            #expect(try snapshot.virtualHost("https.443.https.g.default", "a.example").outline.count == 1)
        }
        let foreign = try world(
            server("SIMPLE", more: ", credentialName: cert"), rule, GatewayYAML.secret("cert", namespace: "other"))
        #expect(foreign.gatewaySnapshot().secrets.isEmpty && foreign.gatewaySnapshot().listeners.isEmpty)
        #expect(foreign.warnings(.gateway).first?.contains("there is no Secret \"cert\"") == true)
    }

    @Test("MUTUAL asks for a certificate, OPTIONAL_MUTUAL takes one; authorities of NAME-cacert, the Secret or another")
    func mutual() throws {
        let own = try context(
            try world(
                server("MUTUAL", more: ", credentialName: cert, subjectAltNames: ['spiffe://a/b']"), rule,
                GatewayYAML.secret("cert", namespace: "skein-system", authority: true)))
        #expect(own.requireClientCertificate == true)
        guard case .combinedValidationContext(let check) = own.commonTlsContext?.validationContextType else {
            throw Missing()
        }
        #expect(check.validationContextSdsSecretConfig?.name == "kubernetes://skein-system/cert-cacert")
        #expect(check.defaultValidationContext?.matchTypedSubjectAltNames.map(\.sanType) == [.uri])
        let optional = try context(
            try world(
                server("OPTIONAL_MUTUAL", more: ", credentialName: cert"), rule,
                GatewayYAML.secret("cert", namespace: "skein-system"),
                GatewayYAML.secret("cert-cacert", namespace: "skein-system", authority: true)))
        #expect(optional.requireClientCertificate == false)
        let closed = try world(
            server("MUTUAL", more: ", credentialName: cert"), rule,
            GatewayYAML.secret("cert", namespace: "skein-system"))
        #expect(closed.gatewaySnapshot().listeners.isEmpty, "without authorities nothing is served")
    }

    @Test("versions, cipher suites and several certificates are passed on; ISTIO_MUTUAL is the mesh's own identity")
    func settings() throws {
        let world = try world(
            server(
                "SIMPLE",
                more:
                    ", credentialNames: [one, two], minProtocolVersion: TLSV1_3, maxProtocolVersion: TLSV1_3, cipherSuites: [X], ecdhCurves: [P-256]"
            ), rule, GatewayYAML.secret("one", namespace: "skein-system"),
            GatewayYAML.secret("two", namespace: "skein-system"))
        let common = try #require(try context(world).commonTlsContext)
        #expect(common.tlsCertificateSdsSecretConfigs.count == 2)
        #expect(common.tlsParams?.tlsMinimumProtocolVersion == .tlsv13 && common.tlsParams?.cipherSuites == ["X"])
        #expect(common.tlsParams?.ecdhCurves == ["P-256"])
        let mesh = try context(try self.world(server("ISTIO_MUTUAL"), rule))
        #expect(mesh.commonTlsContext?.tlsCertificateSdsSecretConfigs.map(\.name) == ["default"])
        #expect(mesh.requireClientCertificate == true)
    }

    @Test("I-17 PASSTHROUGH: TLS routes by server name, only names that the server has")
    func passthrough() throws {
        let tls = """
            hosts: ['*.example']
            gateways: [g]
            tls:
            - {match: [{port: 443, sniHosts: [a.example, x.org]}], route: [{destination: {host: web, port: {number: 80}}}]}
            - {match: [{port: 8443, sniHosts: [b.example]}], route: [{destination: {host: other, port: {number: 80}}}]}
            - {match: [{sniHosts: ["*.c.example"]}], route: [{destination: {host: other, port: {number: 80}}}]}
            """
        let listener = try world(server("PASSTHROUGH", hosts: "'*.example'"), World.rule("t", tls)).gatewaySnapshot()
            .listener("0.0.0.0_443")
        #expect(
            listener.filterChains.map { $0.filterChainMatch?.serverNames ?? [] } == [["a.example"], ["*.c.example"]])
        #expect(listener.filterChains.allSatisfy { $0.transportSocket == nil })
        #expect(listener.listenerFilters.map(\.name) == ["envoy.filters.listener.tls_inspector"])
    }

    @Test("AUTO_PASSTHROUGH: the server name spells the cluster, for connections of the mesh only")
    func autoPassthrough() throws {
        let snapshot = try world(
            "{port: {number: 15443, name: tls, protocol: TLS}, hosts: ['*.local'], tls: {mode: AUTO_PASSTHROUGH}}"
        ).gatewaySnapshot()
        let chain = try #require(try snapshot.listener("0.0.0.0_15443").filterChains.first)
        #expect(chain.filters.map(\.name).first == "envoy.filters.network.sni_cluster")
        #expect(chain.filterChainMatch?.applicationProtocols.contains("istio") == true)
        let cluster = try snapshot.cluster("outbound_.80_._.web.default.svc.cluster.local")
        #expect(cluster.edsClusterConfig?.serviceName == "outbound|80||web.default.svc.cluster.local")
    }

    @Test("H-6 rules of several Gateways on one port are merged in order, a catch-all stays last; R-7 binding decides")
    func merged() throws {
        let second = """
            ---
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: h, namespace: default, creationTimestamp: "2026-02-01T00:00:00Z"}
            spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]}

            """
        func rule(_ name: String, _ gateway: String, _ match: String, created: String) -> String {
            World.rule(
                name, created: created,
                "hosts: [a.example]\ngateways: [\(gateway)]\nhttp: [{\(match)route: [{destination: {host: \(name)}}]}]")
        }
        let host = try world(
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: [a.example]}", second,
            rule("web", "g", "", created: "2026-01-01T00:00:00Z"),
            rule("other", "h", "match: [{uri: {prefix: /x}}], ", created: "2026-01-02T00:00:00Z"),
            World.rule(
                "mesh", "hosts: [a.example]\nhttp: [{route: [{destination: {host: nobody}}]}]")
        ).gatewaySnapshot().virtualHost("http.80", "a.example")
        #expect(
            host.outline == [
                "prefix:/x -> outbound|80||other.default.svc.cluster.local",
                "prefix:/ -> outbound|80||web.default.svc.cluster.local",
            ])
    }

    @Test("httpsRedirect sends plain requests to HTTPS")
    func httpsRedirect() throws {
        let host = try world(
            "{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*'], tls: {httpsRedirect: true}}", rule
        ).gatewaySnapshot().virtualHost("http.80", "*")
        guard case .redirect(let action) = host.routes.first?.action else { throw Missing() }
        #expect(action.schemeRewriteSpecifier == .httpsRedirect(true))
    }

    @Test("private keys are in the secrets of the snapshot and nowhere else")
    func keys() throws {
        let world = try world(
            server("SIMPLE", more: ", credentialName: cert"), rule,
            GatewayYAML.secret("cert", namespace: "skein-system"))
        #expect(!(try world.gatewaySnapshot().json.pretty.contains("PRIVATE KEY")))
        #expect(!world.model.analyzeAll().map(\.description).joined().contains("PRIVATE KEY"))
        #expect(world.snapshot().secrets.isEmpty, "sidecars get none")
    }

    // MARK: Ingress

    private func ingress(_ spec: String, annotations: String = "") -> String {
        """
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: i, namespace: default, annotations: {\(annotations)}}
        spec: {\(spec)}

        """
    }

    private let paths =
        "http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}"

    @Test("Ingress tls: the hosts of an entry get its certificate; without a usable Secret they are not served")
    func ingressTLS() throws {
        let yaml = ingress(
            "rules: [{host: a.example, \(paths)}], tls: [{hosts: [a.example], secretName: cert}, {hosts: [b.example], secretName: gone}]"
        )
        let world = try World(
            World.gatewayPod, World.service("web", ip: 1), GatewayYAML.secret("cert"), yaml)
        let snapshot = world.gatewaySnapshot()
        let chains = try snapshot.listener("0.0.0.0_443").filterChains
        #expect(chains.map { $0.filterChainMatch?.serverNames ?? [] } == [["a.example"]])
        #expect(try snapshot.virtualHost("https.443.ingress", "a.example").outline.count == 1)
        #expect(try snapshot.virtualHost("http.80", "a.example").outline.count == 1)
        #expect(
            world.warnings(.ingress) == [
                "Ingress default/i: spec.tls[1].secretName: there is no Secret default/gone: "
                    + "its hosts are not served with TLS [SKN0512]"
            ])
    }

    @Test("I-3 ingressClassName beats the annotation; with neither the default class acts")
    func classes() throws {
        func ingressClass(_ name: String, _ controller: String, isDefault: Bool = false) -> String {
            """
            ---
            apiVersion: networking.k8s.io/v1
            kind: IngressClass
            metadata: {name: \(name), annotations: {ingressclass.kubernetes.io/is-default-class: "\(isDefault)"}}
            spec: {controller: \(controller)}

            """
        }
        func serves(_ spec: String, _ annotation: String = "", defaultIsOurs: Bool) throws -> Bool {
            try World(
                World.gatewayPod, World.service("web", ip: 1),
                ingressClass("mine", "skein.dev/ingress-controller", isDefault: defaultIsOurs),
                ingressClass("theirs", "example.com/x", isDefault: !defaultIsOurs),
                ingress(
                    "\(spec)rules: [{\(paths)}]",
                    annotations: annotation.isEmpty ? "" : "kubernetes.io/ingress.class: \(annotation)")
            ).gatewaySnapshot().listeners["0.0.0.0_80"] != nil
        }
        #expect(try serves("ingressClassName: mine, ", "theirs", defaultIsOurs: false))
        #expect(try !serves("ingressClassName: theirs, ", "mine", defaultIsOurs: true))
        #expect(try serves("", "mine", defaultIsOurs: false))
        #expect(try serves("", defaultIsOurs: true))
        #expect(try !serves("", defaultIsOurs: false))
    }
}
