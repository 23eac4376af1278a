import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Listeners of the Gateway API (section I)")
struct GatewayListenerTests {
    private let web = "{backendRefs: [{name: web, port: 80}]}"
    private let tls = "tls: {certificateRefs: [{name: cert}]}"

    @Test("I-2 a wildcard host of the Gateway API covers one or more labels, unlike that of an Ingress")
    func wildcards() throws {
        let host = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener), GatewayYAML.http("r", hosts: "'*.foo.com'", web)
        ).gatewaySnapshot().virtualHost("http.80", "*.foo.com")
        #expect(host.routes.first?.match?.headers.contains { $0.name == ":authority" } == false)
    }

    @Test("I-9 listeners with the same port, protocol and host are all refused, whatever their TLS settings")
    func hostConflict() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.secret("cert"), GatewayYAML.secret("cert2"),
            GatewayYAML.gateway(
                "name: a, port: 443, protocol: HTTPS, hostname: a.example, \(tls)",
                "name: b, port: 443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: cert2}]}",
                "name: c, port: 443, protocol: HTTPS, hostname: c.example, \(tls)"))
        for name in ["a", "b"] {
            #expect(try world.listener(name).contains("Conflicted=True:HostnameConflict"))
            #expect(try world.listener(name).contains("Programmed=False:Invalid"))
        }
        #expect(try world.listener("c").contains("Conflicted=False:NoConflicts"))
        let chains = try world.gatewaySnapshot().listener("0.0.0.0_443").filterChains
        #expect(chains.map { $0.filterChainMatch?.serverNames } == [["c.example"]])
    }

    @Test("I-9 a TCP listener conflicts with any other on its port")
    func protocolConflict() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(
                "name: a, port: 9000, protocol: TCP", "name: b, port: 9000, protocol: HTTP",
                "name: c, port: 9000, protocol: UDP"))
        #expect(try world.listener("a").contains("Conflicted=True:ProtocolConflict"))
        #expect(try world.listener("b").contains("Conflicted=True:ProtocolConflict"))
        #expect(try world.listener("c").contains("Conflicted=False:NoConflicts"), "datagrams have ports of their own")
    }

    @Test("I-9 what an older Gateway has at the pod's own ports, a newer one has at its own address only")
    func otherGateway() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(named: "gw", "name: tcp, port: 9000, protocol: TCP", GatewayYAML.listener),
            GatewayYAML.gateway(
                named: "newer", created: "2026-02-01T00:00:00Z", "name: tcp, port: 9000, protocol: TCP",
                GatewayYAML.listener))
        #expect(try world.listener("tcp").first == "Accepted=True:Accepted")
        #expect(try world.listener("tcp", gateway: "newer").first == "Accepted=True:Accepted")
        let status = try world.status(.gatewayAPIGateway, "newer")["listeners"]?.array?.first
        #expect(
            status?["conditions"]?.array?.first?["message"]
                == "at the Gateway's own address only: port 9000 is claimed by listener tcp of Gateway default/gw, too")
        #expect(try world.listener("tcp", gateway: "newer")[1] == "Programmed=True:Programmed")
        #expect(try world.listener("http", gateway: "newer").first == "Accepted=True:Accepted")
    }

    @Test("I-10 a request uses only the routes of the most specific listener, even when a wildcard has a route")
    func isolation() throws {
        func listener(_ name: String, _ host: String) -> String {
            "name: \(name), port: 80, protocol: HTTP" + (host.isEmpty ? "" : ", hostname: '\(host)'")
        }
        func route(_ name: String, hosts: String = "") -> String {
            GatewayYAML.http(
                name, parents: "{name: gw, sectionName: \(name)}", hosts: hosts,
                "{matches: [{path: {value: /\(name)}}], backendRefs: [{name: web, port: 80}]}")
        }
        let snapshot = try World.gatewayAPI(
            GatewayYAML.gateway(
                listener("all", ""), listener("wild", "*.example.com"), listener("foo", "*.foo.example.com"),
                listener("abc", "abc.foo.example.com"), listener("none", "none.example.com")),
            route("all", hosts: "bar.com, a.example.com, abc.foo.example.com"), route("wild"), route("foo"),
            route("abc")
        ).gatewaySnapshot()
        func paths(_ domain: String) throws -> [String] {
            try snapshot.virtualHost("http.80", domain).outline.map { String($0.prefix { $0 != " " }) }
        }
        #expect(try paths("bar.com") == ["elements:/all"])
        #expect(try paths("*.example.com") == ["elements:/wild"])
        #expect(try paths("*.foo.example.com") == ["elements:/foo"])
        #expect(try paths("abc.foo.example.com") == ["elements:/abc"])
        #expect(try paths("none.example.com") == [], "the listener answers 404, and no other answers for it")
        #expect(try snapshot.route("http.80").virtualHosts.allSatisfy { !$0.domains.contains("a.example.com") })
    }

    @Test("I-11 route and listener must have a host in common; the more specific of two counts")
    func hostIntersection() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway("name: l, port: 80, protocol: HTTP, hostname: '*.example.com'"),
            GatewayYAML.http("fits", hosts: "a.example.com, b.example.org", web),
            GatewayYAML.http("misses", hosts: "example.com, '*.org'", web),
            GatewayYAML.http("wide", hosts: "'*.com'", web))
        #expect(try world.route("fits").first == "Accepted=True:Accepted")
        #expect(try world.route("misses").first == "Accepted=False:NoMatchingListenerHostname")
        let hosts = try world.gatewaySnapshot().route("http.80").virtualHosts.flatMap(\.domains)
        #expect(hosts == ["*.example.com", "a.example.com"])
        let listeners = try world.status(.gatewayAPIGateway, "gw")["listeners"]?.array
        #expect(listeners?.first?["attachedRoutes"] == 2)
    }

    @Test("I-12 a request for another listener's host than the server name's gets 421, for nobody's host 404")
    func misdirected() throws {
        let snapshot = try World.gatewayAPI(
            GatewayYAML.secret("cert"),
            GatewayYAML.gateway(
                "name: any, port: 443, protocol: HTTPS, \(tls)",
                "name: second, port: 443, protocol: HTTPS, hostname: second.org, \(tls)",
                "name: wild, port: 443, protocol: HTTPS, hostname: '*.wild.org', \(tls)"),
            GatewayYAML.http("r1", parents: "{name: gw, sectionName: any}", hosts: "example.org", web),
            GatewayYAML.http("r2", parents: "{name: gw, sectionName: second}", web)
        ).gatewaySnapshot()
        func answers(_ routes: String) throws -> [String: [String]] {
            Dictionary(
                uniqueKeysWithValues: try snapshot.route(routes).virtualHosts.map {
                    ($0.domains.first ?? "", $0.outline)
                })
        }
        let any = try answers("https.443.*")
        #expect(any["second.org"] == ["prefix:/ -> status 421"] && any["*.wild.org"] == ["prefix:/ -> status 421"])
        #expect(any["*"] == [] && any["example.org"]?.isEmpty == false)
        let second = try answers("https.443.second.org")
        #expect(second["*"] == ["prefix:/ -> status 421"] && second["second.org"]?.count == 1)
        let chains = try snapshot.listener("0.0.0.0_443").filterChains
        #expect(chains.map { $0.filterChainMatch?.serverNames ?? [] } == [[], ["second.org"], ["*.wild.org"]])
    }

    @Test("I-13 a reference into another namespace needs a ReferenceGrant, and goes with it")
    func grants() throws {
        let gateway = GatewayYAML.gateway(
            GatewayYAML.listener,
            "name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert, namespace: other}]}")
        let route = GatewayYAML.http("r", "{backendRefs: [{name: far, namespace: other, port: 80}]}")
        let secret = GatewayYAML.secret("cert", namespace: "other")
        func grant(_ from: String, _ to: String) -> String {
            GatewayYAML.object(
                "ReferenceGrant", "g", namespace: "other",
                "from: [{group: gateway.networking.k8s.io, kind: \(from), namespace: default}], to: [{group: '', \(to)}]"
            )
        }
        let without = try World.gatewayAPI(gateway, route, secret)
        #expect(try without.route("r") == ["Accepted=True:Accepted", "ResolvedRefs=False:RefNotPermitted"])
        #expect(try without.listener("tls").contains("ResolvedRefs=False:RefNotPermitted"))
        #expect(without.gatewaySnapshot().secrets.isEmpty)
        let backend = try World.gatewayAPI(gateway, route, secret, grant("HTTPRoute", "kind: Service"))
        #expect(try backend.route("r").contains("ResolvedRefs=True:ResolvedRefs"))
        #expect(try backend.listener("tls").contains("ResolvedRefs=False:RefNotPermitted"))
        let certificate = try World.gatewayAPI(gateway, route, secret, grant("Gateway", "kind: Secret, name: cert"))
        #expect(try certificate.listener("tls").contains("ResolvedRefs=True:ResolvedRefs"))
        #expect(certificate.gatewaySnapshot().secrets.keys.sorted() == ["kubernetes://other/cert"])
        let another = try World.gatewayAPI(gateway, route, secret, grant("Gateway", "kind: Secret, name: another"))
        #expect(try another.listener("tls").contains("ResolvedRefs=False:RefNotPermitted"))
    }

    @Test("I-14 routes of other namespaces attach only where allowedRoutes lets them in; the default is Same")
    func allowedRoutes() throws {
        func world(_ allowed: String) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.gateway(GatewayYAML.listener + (allowed.isEmpty ? "" : ", allowedRoutes: {\(allowed)}")),
                GatewayYAML.http("r", namespace: "other", "{backendRefs: [{name: far, port: 80}]}"))
        }
        let refused = "Accepted=False:NotAllowedByListeners"
        #expect(try world("").route("r", namespace: "other").first == refused)
        #expect(try world("namespaces: {from: All}").route("r", namespace: "other").first == "Accepted=True:Accepted")
        for (team, expected) in [("b", "Accepted=True:Accepted"), ("a", refused)] {
            #expect(
                try world("namespaces: {from: Selector, selector: {matchLabels: {team: \(team)}}}")
                    .route("r", namespace: "other").first == expected)
        }
        let kinds = try world("namespaces: {from: All}, kinds: [{kind: GRPCRoute}]")
        #expect(try kinds.route("r", namespace: "other").first == refused)
        let unknown = try world("kinds: [{kind: HTTPRoute}, {kind: Nonsense}]")
        #expect(try unknown.listener("http").contains("ResolvedRefs=False:InvalidRouteKinds"))
    }

    @Test("I-17 HTTPS ends here; TLS passes through or ends as its mode says, by server name")
    func modes() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.secret("cert"),
            GatewayYAML.gateway(
                "name: bad, port: 8443, protocol: HTTPS, tls: {mode: Passthrough}",
                "name: through, port: 443, protocol: TLS, hostname: '*.through.org', tls: {mode: Passthrough}",
                "name: ends, port: 443, protocol: TLS, hostname: ends.org, \(tls)"),
            GatewayYAML.object(
                "TLSRoute", "t",
                "parentRefs: [{name: gw}], hostnames: [a.through.org, ends.org], rules: [{backendRefs: [{name: web, port: 80}]}]"
            ),
            GatewayYAML.http("h", parents: "{name: gw, sectionName: through}", web))
        #expect(try world.listener("bad").first == "Accepted=False:UnsupportedValue")
        #expect(try world.route("t", .tlsRoute).first == "Accepted=True:Accepted")
        #expect(try world.route("h").first == "Accepted=False:NotAllowedByListeners")
        let listener = try world.gatewaySnapshot().listener("0.0.0.0_443")
        #expect(
            listener.filterChains.map { $0.filterChainMatch?.serverNames ?? [] } == [["a.through.org"], ["ends.org"]])
        #expect(listener.filterChains.map { $0.transportSocket == nil } == [true, false])
        #expect(listener.listenerFilters.map(\.name) == ["envoy.filters.listener.tls_inspector"])
        let status = try world.status(.gatewayAPIGateway, "gw")["listeners"]?.array ?? []
        #expect(status.last?["supportedKinds"]?.array?.compactMap { $0["kind"]?.string } == ["TLSRoute"])
    }

    @Test("TCPRoutes and UDPRoutes: the oldest one that attached has the port, weights divide connections")
    func streams() throws {
        let dns = World.service("dns", ip: 9, port: "{name: d, port: 53, protocol: UDP}")
        let world = try World.gatewayAPI(
            dns,
            GatewayYAML.gateway("name: tcp, port: 9000, protocol: TCP", "name: udp, port: 5300, protocol: UDP"),
            GatewayYAML.object(
                "TCPRoute", "new", created: "2026-02-01T00:00:00Z",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: third, port: 80}]}]"),
            GatewayYAML.object(
                "TCPRoute", "old",
                "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: web, port: 80, weight: 9}, {name: other, port: 80}]}]"
            ),
            GatewayYAML.object(
                "UDPRoute", "u", "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: dns, port: 53}]}]"))
        let snapshot = world.gatewaySnapshot()
        guard
            case .typedConfig(let any) = try snapshot.listener("0.0.0.0_9000").filterChains.first?.filters.first?
                .configType
        else {
            Issue.record("no filter")
            return
        }
        let proxy: TcpProxy = try any.unpack()
        guard case .weightedClusters(let clusters) = proxy.clusterSpecifier else {
            Issue.record("no weights")
            return
        }
        #expect(clusters.clusters.map(\.weight) == [9, 1])
        #expect(snapshot.clusters["datagrams|53||dns.default.svc.cluster.local"] != nil)
        #expect(try snapshot.listener("0.0.0.0_5300_udp").listenerFilters.count == 1)
        for (name, kind) in [("old", MeshObjects.Kind.tcpRoute), ("new", .tcpRoute), ("u", .udpRoute)] {
            #expect(try world.route(name, kind) == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
        }
    }

    @Test("ListenerSets add listeners where the Gateway lets them, and never win a conflict")
    func listenerSets() throws {
        func world(_ allowed: String) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.gateway(more: allowed, GatewayYAML.listener + ", hostname: a.example"),
                GatewayYAML.object(
                    "ListenerSet", "set",
                    """
                    parentRef: {name: gw}, listeners: [{name: x, port: 80, protocol: HTTP, hostname: x.example},
                    {name: y, port: 80, protocol: HTTP, hostname: a.example}]
                    """),
                GatewayYAML.http("r", parents: "{kind: ListenerSet, name: set}", web))
        }
        let refused = try world("")
        #expect(
            World.outline(try refused.status(.listenerSet, "set")["conditions"]).first == "Accepted=False:NotAllowed")
        let allowed = try world("allowedListeners: {namespaces: {from: Same}}")
        #expect(
            World.outline(try allowed.status(.listenerSet, "set")["conditions"]) == [
                "Accepted=True:ListenersNotValid", "Programmed=True:Programmed",
            ])
        #expect(try allowed.listener("http").contains("Conflicted=False:NoConflicts"))
        #expect(try allowed.route("r").first == "Accepted=True:Accepted")
        #expect(try allowed.gatewaySnapshot().virtualHost("http.80", "x.example").outline.count == 1)
        #expect(try allowed.gatewaySnapshot().virtualHost("http.80", "a.example").outline.isEmpty)
        #expect(try allowed.status(.gatewayAPIGateway, "gw")["attachedListenerSets"] == 1)
    }

    @Test("Istio's options of a listener: cipher suites, and certificates of clients by the Secret's own authorities")
    func listenerOptions() throws {
        func world(_ option: String, authority: Bool = true) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.secret("cert", authority: authority),
                GatewayYAML.gateway(
                    "name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}], options: {\(option)}}"
                ))
        }
        func context(_ world: World) throws -> DownstreamTlsContext {
            let chain = try #require(try world.gatewaySnapshot().listener("0.0.0.0_443").filterChains.first)
            guard case .typedConfig(let any) = chain.transportSocket?.configType else { throw MessageError("none") }
            return try any.unpack()
        }
        let mutual = try context(world("gateway.istio.io/tls-terminate-mode: MUTUAL"))
        #expect(mutual.requireClientCertificate == true)
        let optional = try context(world("gateway.istio.io/tls-terminate-mode: OPTIONAL_MUTUAL"))
        #expect(optional.requireClientCertificate == false)
        guard case .combinedValidationContext(let check)? = optional.commonTlsContext?.validationContextType else {
            throw MessageError("nothing is checked")
        }
        #expect(check.defaultValidationContext?.trustChainVerification == .verifyTrustChain)
        let suites = try context(world("gateway.istio.io/tls-cipher-suites: 'A, B'"))
        #expect(suites.commonTlsContext?.tlsParams?.cipherSuites == ["A", "B"])
        let bare = try world("gateway.istio.io/tls-terminate-mode: MUTUAL", authority: false)
        #expect(try bare.listener("tls").first == "Accepted=False:NoValidCACertificate")
        #expect(try world("example.com/other: x").listener("tls").first == "Accepted=False:UnsupportedValue")
    }

    @Test("certificates of clients are asked for where the Gateway says so, else the listener does not serve")
    func clientValidation() throws {
        func world(_ reference: String) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.secret("cert"), GatewayYAML.authorities("cas"),
                GatewayYAML.gateway(
                    more: "tls: {frontend: {default: {validation: {caCertificateRefs: [\(reference)]}}}}",
                    "name: tls, port: 443, protocol: HTTPS, \(tls)"))
        }
        let good = try world("{group: '', kind: ConfigMap, name: cas}")
        #expect(
            good.gatewaySnapshot().secrets.keys.sorted() == ["configmap://default/cas", "kubernetes://default/cert"])
        let bad = try world("{group: '', kind: ConfigMap, name: gone}")
        #expect(
            try bad.listener("tls") == [
                "Accepted=False:NoValidCACertificate", "Programmed=False:Invalid",
                "ResolvedRefs=False:InvalidCACertificateRef", "Conflicted=False:NoConflicts",
            ])
        #expect(bad.gatewaySnapshot().listeners["0.0.0.0_443"] == nil)
    }
}
