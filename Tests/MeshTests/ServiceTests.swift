import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Services, endpoints and listeners (sections S, B, D, O)")
struct ServiceTests {
    private let web = "outbound|80||web.default.svc.cluster.local"

    @Test(
        "S-1 S-2 the protocol of a port",
        arguments: [
            ("{port: 80}", PortProtocol.sniffed), ("{name: http, port: 80}", .http),
            ("{name: HTTP-web, port: 80}", .http),
            ("{name: web, port: 80}", .sniffed), ("{name: grpc-web-x, port: 80}", .http),
            ("{name: grpc-x, port: 80}", .http2),
            ("{name: tcp-x, port: 80}", .tcp), ("{name: https, port: 443}", .tls),
            ("{name: tcp, appProtocol: http, port: 80}", .http),
            ("{name: http, appProtocol: kubernetes.io/wss, port: 80}", .tls),
            ("{name: http, appProtocol: kubernetes.io/h2c, port: 80}", .http2),
            ("{port: 3306}", .tcp), ("{port: 25}", .tcp), ("{name: http, port: 3306}", .http),
        ])
    func protocols(port: String, expected: PortProtocol) throws {
        let world = try World(World.service("web", ip: 1, port: port))
        #expect(world.model.services.values.first?.ports.first?.portProtocol == expected)
    }

    @Test("S-1 UDP is never proxied")
    func udp() throws {
        let world = try World(World.service("dns", ip: 1, port: "{name: dns, port: 53, protocol: UDP}"))
        #expect(
            world.snapshot().clusters.keys.sorted() == [
                "BlackHoleCluster", "InboundPassthroughCluster", "PassthroughCluster",
            ])
    }

    @Test("S-2 X-3 an unnamed port is sniffed on both sides, other ports never wait for the client")
    func sniffing() throws {
        let world = try World(
            World.service("web", ip: 1, port: "{port: 80, targetPort: 8080}"),
            World.service("db", ip: 2, port: "{port: 3306}"),
            World.pod("p", "web", ip: 5, portName: ""))
        let listener = try world.snapshot("default/p").listener("virtualOutbound")
        #expect(
            listener.filterChains.map(\.name) == [
                "web.default.svc.cluster.local_80_http", "web.default.svc.cluster.local_80_tcp",
                "db.default.svc.cluster.local_3306_tcp",
            ])
        #expect(listener.filterChains.first?.filterChainMatch?.applicationProtocols == ["http/1.1", "http/1.0", "h2c"])
        #expect(listener.filterChains.first?.filterChainMatch?.prefixRanges.first?.addressPrefix == "10.96.0.1")
        #expect(
            listener.listenerFilters.map(\.name) == [
                "envoy.filters.listener.original_dst", "envoy.filters.listener.http_inspector",
            ])
        #expect(listener.listenerFiltersTimeout == .milliseconds(100) && listener.continueOnListenerFiltersTimeout)
        guard case .notMatch(let onlyFor) = listener.listenerFilters.last?.filterDisabled?.rule,
            case .destinationPortRange(let range) = onlyFor.rule
        else { return #expect(Bool(false), "the inspector must be off for other ports") }
        #expect(range.start == 80 && range.end == 81)
        let inbound = try world.snapshot("default/p").listener("virtualInbound")
        let names = ["_mtls_http", "_mtls", "_http", "_tcp", "_tls"].map { "0.0.0.0_8080\($0)" }
        #expect(inbound.filterChains.prefix(5).map(\.name) == names)
        #expect(inbound.filterChains.prefix(5).allSatisfy { $0.filterChainMatch?.destinationPort == 8080 })
    }

    @Test(
        "S-1 S-2 a sidecar speaks HTTP/2 to an application whose port says so, as the caller does where it says nothing, else HTTP/1.1",
        arguments: [
            ("name: grpc, ", true, false), ("name: http, ", false, false), ("", false, true),
            ("name: tcp, ", false, false),
        ])
    func inboundProtocol(name: String, isHTTP2: Bool, followsCaller: Bool) throws {
        let cluster = try World(
            World.service("web", ip: 1, port: "{\(name)port: 80, targetPort: 8080}"), World.pod("p", "web", ip: 5)
        ).snapshot("default/p").cluster("inbound|8080||")
        let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        let options = try cluster.typedExtensionProtocolOptions[key]?.unpack(as: UpstreamHttpProtocolOptions.self)
        if case .useDownstreamProtocolConfig? = options?.upstreamProtocolOptions {
            return #expect(followsCaller)
        }
        #expect(!followsCaller)
        guard case .explicitHttpConfig(let explicit) = options?.upstreamProtocolOptions,
            case .http2ProtocolOptions = explicit.protocolConfig
        else {
            #expect(!isHTTP2)
            return
        }
        #expect(isHTTP2)
    }

    @Test(
        "S-2 gateways speak HTTP/1.1 to a port that says nothing, unless useClientProtocol is set; sidecars as their caller"
    )
    func gatewayProtocol() throws {
        func follows(_ policy: String, gateway: Bool) throws -> Bool {
            let world = try World(
                World.service("web", ip: 1, port: "{port: 80, targetPort: 8080}"),
                policy.isEmpty ? "" : World.policy("p", "host: web\ntrafficPolicy: \(policy)"),
                World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: web}}]}]"),
                Security.meshConfig("skein: {gatewayClusters: istio}"))
            let snapshot = gateway ? world.gatewaySnapshot() : world.snapshot()
            let cluster = try snapshot.cluster("outbound|80||web.default.svc.cluster.local")
            let options = try cluster.typedExtensionProtocolOptions[
                "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]?
                .unpack(as: UpstreamHttpProtocolOptions.self)
            if case .useDownstreamProtocolConfig? = options?.upstreamProtocolOptions { return true }
            return false
        }
        #expect(try follows("", gateway: false))
        #expect(try !follows("", gateway: true))
        #expect(try follows("{connectionPool: {http: {useClientProtocol: true}}}", gateway: true))
    }

    @Test(
        "S-2 routes to a sniffed port say that HTTP is inside of the mesh's TLS, and of no other TLS",
        arguments: [
            ("", "", true), ("{tls: {mode: ISTIO_MUTUAL}}", "", true), ("{tls: {mode: SIMPLE}}", "", false),
            ("{tls: {mode: DISABLE}}", "", false), ("", "enableAutoMtls: false", false),
        ])
    func sniffedUpstreams(policy: String, config: String, isMarked: Bool) throws {
        let world = try World(
            World.service("web", ip: 1, port: "{port: 80, targetPort: 8080}"),
            World.service("named", ip: 2),
            World.rule(
                "r",
                """
                hosts: [named]
                http: [{route: [{destination: {host: web}, weight: 1}, {destination: {host: named}, weight: 1}]}]
                """),
            policy.isEmpty ? "" : World.policy("p", "host: web\ntrafficPolicy: \(policy)"),
            Security.meshConfig(config))
        let snapshot = world.snapshot()
        let name = "skein.upstream_protocols"
        func text(_ any: AnyMessage?) throws -> String? {
            guard let message = try any?.unpack(as: HTTPSetFilterState.self),
                case .formatString(let format) = message.onRequestHeaders.first?.value,
                case .textFormatSource(let source) = format.format, case .inlineString(let text) = source.specifier
            else { return nil }
            return text
        }
        let own = try snapshot.virtualHost("80", "web").routes
        #expect(!own.isEmpty)
        for route in own {
            #expect(try text(route.typedPerFilterConfig[name]) == (isMarked ? "istio-http/1.1" : nil))
        }
        for route in try snapshot.virtualHost("80", "named").routes {
            guard case .weightedClusters(let clusters) = route.forward?.clusterSpecifier else {
                Issue.record("no weights")
                continue
            }
            #expect((route.typedPerFilterConfig[name] != nil) == isMarked)
            #expect(
                clusters.clusters.map { $0.typedPerFilterConfig[name] != nil } == [isMarked, false])
        }
        let manager = try Chains.manager(snapshot.listener("virtualOutbound").filterChains.first)
        #expect(manager.httpFilters.first { $0.name == name }?.disabled == true)
    }

    @Test("a named HTTP port has one chain for the port, a TCP service on it one for its address")
    func outboundChains() throws {
        let world = try World(World.service("web", ip: 1), World.service("raw", ip: 2, port: "{name: tcp, port: 80}"))
        let chains = try world.snapshot().listener("virtualOutbound").filterChains
        #expect(chains.map(\.name) == ["0.0.0.0_80", "raw.default.svc.cluster.local_80_tcp"])
        #expect(try Chains.manager(chains.first).statPrefix == "outbound_0.0.0.0_80")
        #expect(
            try Chains.proxy(chains.last).clusterSpecifier == .cluster("outbound|80||raw.default.svc.cluster.local"))
        #expect(try !world.snapshot().route("80").virtualHosts.contains { $0.domains.contains("raw") })
    }

    @Test("a sidecar sends inbound traffic to the original destination from 127.0.0.6")
    func inbound() throws {
        let world = try World(
            World.service("web", ip: 1, port: "{name: http, port: 80, targetPort: web}"),
            World.pod("p", "web", ip: 5, port: 9090))
        let snapshot = world.snapshot("default/p")
        let cluster = try snapshot.cluster("inbound|9090||")
        #expect(cluster.clusterDiscoveryType == .type(.originalDst))
        #expect(cluster.upstreamBindConfig?.sourceAddress?.address == "127.0.0.6")
        let listener = try snapshot.listener("virtualInbound")
        #expect(listener.defaultFilterChain == nil, "it would take what the chains of a port refuse")
        #expect(
            try Chains.proxy(listener.filterChains.last).clusterSpecifier == .cluster("InboundPassthroughCluster"))
    }

    @Test("services that disagree about a target port make it sniffed")
    func disagreement() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("p", "web", ip: 5),
            """
            apiVersion: v1
            kind: Service
            metadata: {name: raw, namespace: default}
            spec: {clusterIP: 10.96.0.9, selector: {app: web}, ports: [{name: tcp, port: 99, targetPort: 8080}]}
            """)
        #expect(
            try world.snapshot("default/p").listener("virtualInbound").filterChains.map(\.name).contains(
                "0.0.0.0_8080_mtls_http"))
    }

    @Test("S-5 endpoints of one service may have different port numbers")
    func namedTargetPorts() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("a", "web", ip: 5, port: 8080),
            World.pod("b", "web", ip: 6, port: 9090))
        #expect(try world.snapshot().hosts(web) == ["10.244.0.5:8080", "10.244.0.6:9090"])
    }

    @Test("S-6 only ready endpoints; if none is ready, those that still serve while terminating")
    func readiness() throws {
        func slice(_ conditions: String...) -> String {
            let endpoints = conditions.enumerated().map {
                "{addresses: [10.244.0.\($0.offset + 1)], conditions: {\($0.element)}}"
            }
            return """
                apiVersion: discovery.k8s.io/v1
                kind: EndpointSlice
                metadata: {name: s, namespace: default, labels: {kubernetes.io/service-name: web}}
                addressType: IPv4
                ports: [{name: http, port: 1}]
                endpoints: [\(endpoints.joined(separator: ", "))]
                """
        }
        let service = World.service("web", ip: 1)
        #expect(
            try World(service, slice("", "ready: false", "ready: true")).snapshot().hosts(web) == [
                "10.244.0.1:1", "10.244.0.3:1",
            ])
        #expect(
            try World(
                service,
                slice(
                    "ready: false, serving: true, terminating: true", "ready: false",
                    "ready: false, serving: false, terminating: true")
            )
            .snapshot().hosts(web) == ["10.244.0.1:1"])
    }

    @Test("S-7 publishNotReadyAddresses makes every endpoint count")
    func notReady() throws {
        let world = try World(
            World.service("web", ip: 1, extra: ", publishNotReadyAddresses: true"),
            World.pod("a", "web", ip: 5, ready: false))
        #expect(try world.snapshot().hosts(web) == ["10.244.0.5:8080"])
    }

    @Test("S-8 a headless service keeps the chosen address in sidecars and is balanced by gateways")
    func headless() throws {
        let world = try World(
            World.service("web", ip: 1).replacing("10.96.0.1", with: "None"),
            World.pod("a", "web", ip: 5).replacing("targetRef:", with: "hostname: a-0, targetRef:"), World.gateway,
            Security.meshConfig("skein: {gatewayClusters: istio}"))
        #expect(try world.snapshot().cluster(web).clusterDiscoveryType == .type(.originalDst))
        #expect(try world.gatewaySnapshot().cluster(web).clusterDiscoveryType == .type(.eds))
        let domains = try world.snapshot().virtualHost("80", "web").domains
        #expect(domains.contains("10.244.0.5:80") && domains.contains("a-0.web.default.svc.cluster.local"))
    }

    @Test("S-9 an external name is an alias: the rules of its target apply")
    func externalName() throws {
        let world = try World(
            World.service("web", ip: 1),
            """
            apiVersion: v1
            kind: Service
            metadata: {name: alias, namespace: default}
            spec: {type: ExternalName, externalName: web.default.svc.cluster.local}
            """)
        #expect(try world.snapshot().virtualHost("80", "alias").name == "web.default.svc.cluster.local:80")
    }

    @Test("S-12 an address in two slices counts once")
    func duplicates() throws {
        let pod = World.pod("a", "web", ip: 5)
        let world = try World(
            World.service("web", ip: 1), pod,
            pod.replacing("kind: EndpointSlice\nmetadata: {name: a", with: "kind: EndpointSlice\nmetadata: {name: b"))
        #expect(try world.snapshot().hosts(web) == ["10.244.0.5:8080"])
    }

    @Test(
        "B-1 B-11 least request is the default and the meaning of LEAST_CONN",
        arguments: [
            ("LEAST_CONN", Cluster.LbPolicy.leastRequest), ("ROUND_ROBIN", .roundRobin), ("RANDOM", .random),
            ("", .leastRequest),
        ])
    func balancing(simple: String, expected: Cluster.LbPolicy) throws {
        let policy =
            simple.isEmpty ? "" : World.policy("p", "host: web\ntrafficPolicy: {loadBalancer: {simple: \(simple)}}")
        #expect(try World(World.service("web", ip: 1), policy).snapshot().cluster(web).lbPolicy == expected)
    }

    @Test("O-1 O-3 O-6 O-7 ejection as Istio means it")
    func ejection() throws {
        #expect(try World(World.service("web", ip: 1)).snapshot().cluster(web).outlierDetection == nil)
        let cluster = try World(
            World.service("web", ip: 1),
            World.policy(
                "p",
                "host: web\ntrafficPolicy: {outlierDetection: {consecutive5xxErrors: 2, interval: 1s, baseEjectionTime: 3s, maxEjectionPercent: 100}}"
            )
        ).snapshot().cluster(web)
        let outlier = try #require(cluster.outlierDetection)
        #expect(outlier.consecutive5xx == 2 && outlier.interval == .seconds(1) && outlier.maxEjectionPercent == 100)
        #expect(outlier.enforcingConsecutiveGatewayFailure == 0 && outlier.enforcingSuccessRate == 0)
        #expect(cluster.commonLbConfig?.healthyPanicThreshold?.value == 0)
    }

    @Test("D-1 the caller's namespace comes first, then the service's, then the root's")
    func lookUp() throws {
        func policy(_ namespace: String, _ simple: String) -> String {
            World.policy(
                "p", namespace: namespace,
                "host: web.shop.svc.cluster.local\ntrafficPolicy: {loadBalancer: {simple: \(simple)}}")
        }
        let service = World.service("web", ip: 1, namespace: "shop")
        let name = "outbound|80||web.shop.svc.cluster.local"
        let all = try World(
            service, policy("default", "RANDOM"), policy("shop", "ROUND_ROBIN"), policy("istio-system", "LEAST_REQUEST")
        )
        #expect(try all.snapshot("default/c").cluster(name).lbPolicy == .random)
        #expect(try all.snapshot("else/c").cluster(name).lbPolicy == .roundRobin)
        #expect(
            try World(service, policy("istio-system", "RANDOM")).snapshot("else/c").cluster(name).lbPolicy == .random)
    }

    @Test("D-2 rules of one host are merged: subsets joined, the oldest policy wins whole")
    func merging() throws {
        let world = try World(
            World.service("web", ip: 1), World.pod("a", "web", ip: 5), World.pod("b", "web", ip: 6, version: "v2"),
            World.policy(
                "young", created: "2026-02-01T00:00:00Z",
                "host: web\ntrafficPolicy: {loadBalancer: {simple: RANDOM}, connectionPool: {http: {maxRetries: 1}}}\nsubsets: [{name: v1, labels: {version: v2}}, {name: v2, labels: {version: v2}}]"
            ),
            World.policy(
                "old", created: "2026-01-01T00:00:00Z",
                "host: web\ntrafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}\nsubsets: [{name: v1, labels: {version: v1}}]"
            ))
        let snapshot = world.snapshot()
        #expect(try snapshot.cluster(web).lbPolicy == .roundRobin)
        #expect(try snapshot.cluster(web).circuitBreakers?.thresholds.first?.maxRetries == .max)
        #expect(try snapshot.hosts("outbound|80|v1|web.default.svc.cluster.local") == ["10.244.0.5:8080"])
        #expect(try snapshot.hosts("outbound|80|v2|web.default.svc.cluster.local") == ["10.244.0.6:8080"])
        #expect(world.warnings(.destinationRule).filter { $0.contains("D-2") }.count == 1)
    }

    @Test("D-3 only the most specific host's rule is used")
    func noInheritance() throws {
        let world = try World(
            World.service("web", ip: 1),
            World.policy("wide", "host: '*.default.svc.cluster.local'\ntrafficPolicy: {outlierDetection: {}}"),
            World.policy("exact", "host: web\ntrafficPolicy: {loadBalancer: {simple: RANDOM}}"))
        let cluster = try world.snapshot().cluster(web)
        #expect(cluster.lbPolicy == .random && cluster.outlierDetection == nil)
    }

    @Test("D-4 a subset overrides block by block, a port replaces everything")
    func overriding() throws {
        let world = try World(
            World.service("web", ip: 1),
            World.policy(
                "p",
                """
                host: web
                trafficPolicy: {loadBalancer: {simple: RANDOM}, outlierDetection: {consecutive5xxErrors: 3}}
                subsets: [{name: s, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}]
                """))
        let subset = try world.snapshot().cluster("outbound|80|s|web.default.svc.cluster.local")
        #expect(subset.lbPolicy == .roundRobin && subset.outlierDetection != nil)
        let port = try World(
            World.service("web", ip: 1),
            World.policy(
                "p",
                "host: web\ntrafficPolicy: {loadBalancer: {simple: RANDOM}, outlierDetection: {}, portLevelSettings: [{port: {number: 80}, connectionPool: {tcp: {maxConnections: 4}}}]}"
            )
        ).snapshot().cluster(web)
        #expect(port.lbPolicy == .leastRequest && port.outlierDetection == nil)
        #expect(port.circuitBreakers?.thresholds.first?.maxConnections == 4)
    }

    @Test("TCP routes of a rule choose the cluster by weight")
    func tcpRoutes() throws {
        let world = try World(
            World.service("raw", ip: 2, port: "{name: tcp, port: 99}"),
            World.rule(
                "r",
                "hosts: [raw]\ntcp: [{match: [{port: 99}], route: [{destination: {host: raw, subset: a}, weight: 1}, {destination: {host: raw, subset: b}, weight: 3}]}]"
            ))
        guard
            case .weightedClusters(let clusters) = try Chains.proxy(
                try world.snapshot().listener("virtualOutbound").filterChains.first
            ).clusterSpecifier
        else { return #expect(Bool(false)) }
        #expect(clusters.clusters.map(\.weight) == [1, 3])
    }

    @Test("equal objects give equal versions, and only what changed differs")
    func versions() throws {
        let base = [World.service("web", ip: 1), World.service("other", ip: 2), World.pod("a", "web", ip: 5)]
        let before = try World(base[0], base[1], base[2]).snapshot()
        let after = try World(base[0], base[1], base[2], World.pod("b", "web", ip: 6)).snapshot()
        #expect(try World(base[2], base[1], base[0]).snapshot() == before)
        #expect(
            before.clusters == after.clusters && before.listeners == after.listeners && before.routes == after.routes)
        #expect(before.endpoints.filter { after.endpoints[$0.key] != $0.value }.map(\.key) == [web])
    }
}

@Suite("Ingress and Gateways (section I)")
struct EntranceTests {
    private func ingress(_ rules: String, extra: String = "") -> String {
        """
        ---
        apiVersion: networking.k8s.io/v1
        kind: Ingress
        metadata: {name: i, namespace: default}
        spec: {\(extra)rules: [\(rules)]}

        """
    }

    private func path(_ path: String, _ type: String, _ service: String) -> String {
        "{path: \(path), pathType: \(type), backend: {service: {name: \(service), port: {number: 80}}}}"
    }

    @Test("I-1 Exact before Prefix of equal length, the longest path first, prefixes by element")
    func precedence() throws {
        let world = try World(
            World.gatewayPod, World.service("hello", ip: 1), World.service("world", ip: 2),
            ingress(
                "{host: h.example.com, http: {paths: [\(path("/", "Prefix", "hello")), \(path("/world/", "Prefix", "world")), \(path("/world", "Exact", "hello"))]}}"
            ))
        #expect(
            try world.gatewaySnapshot().virtualHost("http.80", "h.example.com").outline == [
                "path:/world -> outbound|80||hello.default.svc.cluster.local",
                "elements:/world -> outbound|80||world.default.svc.cluster.local",
                "prefix:/ -> outbound|80||hello.default.svc.cluster.local",
            ])
        #expect(try world.gatewaySnapshot().listener("0.0.0.0_80").filterChains.count == 1)
    }

    @Test("I-2 a wildcard host of an Ingress covers exactly one label")
    func wildcard() throws {
        let world = try World(
            World.gatewayPod, World.service("hello", ip: 1),
            ingress("{host: '*.foo.com', http: {paths: [\(path("/", "Prefix", "hello"))]}}"))
        let match = try world.gatewaySnapshot().virtualHost("http.80", "*.foo.com").routes.first?.match?.headers.first
        #expect(match?.name == ":authority")
        guard case .stringMatch(let matcher) = match?.headerMatchSpecifier,
            case .safeRegex(let regex) = matcher.matchPattern
        else { return #expect(Bool(false)) }
        #expect(regex.regex == "[^.]+\\.foo\\.com(:[0-9]+)?")
    }

    @Test(
        "I-3 another controller's class is left alone",
        arguments: [
            ("ingressClassName: nginx, ", false), ("ingressClassName: skein, ", true),
            ("ingressClassName: istio, ", true), ("", true),
        ])
    func classes(extra: String, isServed: Bool) throws {
        let world = try World(
            World.gatewayPod, World.service("hello", ip: 1),
            ingress("{host: a.b, http: {paths: [\(path("/", "Prefix", "hello"))]}}", extra: extra))
        #expect((world.gatewaySnapshot().listeners["0.0.0.0_80"] != nil) == isServed)
    }

    @Test("an Ingress to a service that is not there is told so")
    func unknownBackend() throws {
        let world = try World(World.gatewayPod, ingress("{http: {paths: [\(path("/", "Prefix", "gone"))]}}"))
        #expect(
            world.warnings(.ingress) == [
                "Ingress default/i: spec.rules[0].http.paths[0].backend.service.name: no service "
                    + "\"gone.default.svc.cluster.local\": such requests get 503 [SKN0513]"
            ])
    }

    @Test("a gateway without rules answers 404, a TLS server without a certificate opens nothing and says so")
    func servers() throws {
        let world = try World(
            World.gateway,
            """
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: tls, namespace: default}
            spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 443, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE}}]}
            """)
        let snapshot = world.gatewaySnapshot()
        #expect(snapshot.listeners.keys.sorted() == ["0.0.0.0_80"])
        #expect(try snapshot.virtualHost("http.80", "*").routes.isEmpty)
        #expect(
            world.warnings(.gateway) == [
                "Gateway default/tls: spec.servers[0].tls.credentialName: a certificate is required: "
                    + "port 443 is not opened [SKN0506]"
            ])
    }

    @Test("a server's host with a namespace admits rules of that namespace only")
    func namespacedHosts() throws {
        func world(_ host: String) throws -> World {
            try World(
                World.service("web", ip: 1), World.gateway.replacing("[\"*\"]", with: "[\"\(host)\"]"),
                World.rule(
                    "r", "hosts: [a.example.com]\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: web}}]}]"
                ))
        }
        #expect(
            try world("default/*.example.com").gatewaySnapshot().virtualHost("http.80", "a.example.com").routes.count
                == 2)
        #expect(
            try world("./a.example.com").gatewaySnapshot().virtualHost("http.80", "a.example.com").routes.count == 2)
        #expect(try world("shop/*").gatewaySnapshot().route("http.80").virtualHosts.map(\.name) == ["blackhole:80"])
        #expect(
            try world("*.example.org").gatewaySnapshot().route("http.80").virtualHosts.map(\.name) == ["blackhole:80"])
    }

    @Test("a rule for a short name on a gateway answers to the short name, too")
    func shortHostAtGateway() throws {
        let world = try World(
            World.service("user", ip: 1), World.gateway,
            World.rule(
                "my-service",
                "hosts: [my-service]\ngateways: [my-gateway]\nhttp: [{match: [{uri: {prefix: /user}}], route: [{destination: {host: user}}]}]"
            ))
        let host = try world.gatewaySnapshot().virtualHost("http.80", "my-service")
        #expect(host.domains.contains("my-service.default.svc.cluster.local"))
        #expect(host.outline == ["prefix:/user -> outbound|80||user.default.svc.cluster.local"])
    }
}
