import EnvoyAPI
import Mesh
import Serialization
import Testing

/// What the Gateway API's conformance tests ask for, by their short names.
@Suite("Conformance to the Gateway API")
struct GatewayConformanceTests {
    private static let sets = "allowedListeners: {namespaces: {from: All}}"

    private func set(_ name: String, namespace: String = "default", created: String, _ listeners: String) -> String {
        GatewayYAML.object(
            "ListenerSet", name, namespace: namespace, created: created,
            "parentRef: {name: gw, namespace: default}, listeners: [\(listeners)]")
    }

    private func conditions(_ world: World, _ name: String, namespace: String = "default") throws -> [String] {
        World.outline(try world.status(.listenerSet, name, namespace: namespace)["conditions"])
    }

    private func listener(_ world: World, _ set: String, _ name: String) throws -> [String] {
        let listeners = try world.status(.listenerSet, set)["listeners"]?.array ?? []
        return World.outline(try #require(listeners.first { $0["name"]?.string == name })["conditions"])
    }

    private static let good = ["Accepted=True:Accepted", "Programmed=True:Programmed"]
    private static let bad = ["Accepted=False:ListenersNotValid", "Programmed=False:ListenersNotValid"]

    @Test("ListenerSetHostnameConflict a set is attached while one of its listeners is accepted")
    func hostnameConflict() throws {
        func http(_ name: String, _ host: String) -> String {
            "{name: \(name), port: 80, protocol: HTTP, hostname: \(host)}"
        }
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(more: Self.sets, GatewayYAML.listener + ", hostname: a.example"),
            set("one", created: "2026-01-01T00:00:01Z", http("own", "b.example") + "," + http("taken", "a.example")),
            set("two", created: "2026-01-01T00:00:02Z", http("taken", "a.example")),
            set("three", created: "2026-01-01T00:00:03Z", http("own", "c.example") + "," + http("late", "b.example")),
            set("four", created: "2026-01-01T00:00:04Z", http("late", "b.example")))
        #expect(try world.listener("http").prefix(2) == Self.good[...])
        #expect(try conditions(world, "one") == ["Accepted=True:ListenersNotValid", "Programmed=True:Programmed"])
        #expect(try conditions(world, "two") == Self.bad)
        #expect(try conditions(world, "three") == ["Accepted=True:ListenersNotValid", "Programmed=True:Programmed"])
        #expect(try conditions(world, "four") == Self.bad)
        for (name, entry) in [("one", "taken"), ("two", "taken"), ("three", "late"), ("four", "late")] {
            #expect(
                try listener(world, name, entry) == [
                    "Accepted=False:HostnameConflict", "Programmed=False:HostnameConflict",
                    "ResolvedRefs=True:ResolvedRefs", "Conflicted=True:HostnameConflict",
                ])
        }
        #expect(try world.status(.gatewayAPIGateway, "gw")["attachedListenerSets"] == 2)
    }

    @Test("ListenerSetProtocolConflict a listener that speaks something else on the port is told so by each condition")
    func protocolConflict() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(more: Self.sets, GatewayYAML.listener),
            set("set", created: "2026-01-01T00:00:01Z", "{name: other, port: 80, protocol: TCP}"))
        #expect(try conditions(world, "set") == Self.bad)
        #expect(
            try listener(world, "set", "other") == [
                "Accepted=False:ProtocolConflict", "Programmed=False:ProtocolConflict",
                "ResolvedRefs=True:ResolvedRefs", "Conflicted=True:ProtocolConflict",
            ])
        #expect(try world.status(.gatewayAPIGateway, "gw")["attachedListenerSets"] == 0)
    }

    @Test("ListenerSetReferenceGrant a set whose only certificate is not granted is not accepted")
    func referenceGrant() throws {
        func world(_ kind: String) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.secret("cert", namespace: "other"),
                GatewayYAML.object(
                    "ReferenceGrant", "grant", namespace: "other",
                    "from: [{group: gateway.networking.k8s.io, kind: \(kind), namespace: default}], to: [{group: '', kind: Secret}]"
                ), GatewayYAML.gateway(more: Self.sets, GatewayYAML.listener),
                set(
                    "set", created: "2026-01-01T00:00:01Z",
                    """
                    {name: tls, port: 443, protocol: HTTPS, hostname: a.example,
                    tls: {certificateRefs: [{name: cert, namespace: other}]}}
                    """))
        }
        #expect(try conditions(world("ListenerSet"), "set") == Self.good)
        let refused = try world("Gateway")
        #expect(try conditions(refused, "set") == Self.bad)
        #expect(try listener(refused, "set", "tls").contains("ResolvedRefs=False:RefNotPermitted"))
    }

    @Test(
        "GatewayFrontendClientCertificateValidationInsecureFallback the Gateway tells that it lets unknown clients in",
        arguments: [
            ("default: {validation: {MODE}}", true), ("perPort: [{port: 443, tls: {validation: {MODE}}}]", true),
            ("default: {validation: {}}", false),
        ])
    func insecureFallback(frontend: String, isTold: Bool) throws {
        let references = "caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]"
        let written = frontend.replacing("MODE", with: references + ", mode: AllowInsecureFallback")
            .replacing("validation: {}", with: "validation: {\(references)}")
        let world = try World.gatewayAPI(
            GatewayYAML.secret("cert"), GatewayYAML.authorities("ca"),
            GatewayYAML.gateway(
                more: "tls: {frontend: {\(written)}}",
                "name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}"))
        let told = World.outline(try world.status(.gatewayAPIGateway, "gw")["conditions"])
        #expect(told == Self.good + (isTold ? ["InsecureFrontendValidationMode=True:ConfigurationChanged"] : []))
    }

    @Test("BackendTLSPolicyGRPCRoute a port that says nothing gets HTTP/2 where calls are sent to it")
    func calls() throws {
        let policy = GatewayYAML.object(
            "BackendTLSPolicy", "p",
            """
            targetRefs: [{group: '', kind: Service, name: quiet}],
            validation: {hostname: quiet.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: ca}]}
            """)
        let service = """
            ---
            apiVersion: v1
            kind: Service
            metadata: {name: quiet, namespace: default}
            spec: {clusterIP: 10.96.0.77, selector: {app: quiet}, ports: [{name: btls, port: 443}]}

            """
        func cluster(_ kind: String) throws -> Cluster {
            let route = GatewayYAML.object(
                kind, "r", "parentRefs: [{name: gw}], rules: [{backendRefs: [{name: quiet, port: 443}]}]")
            let world = try World.gatewayAPI(
                GatewayYAML.authorities("ca"), policy, service, GatewayYAML.gateway(GatewayYAML.listener), route)
            return try world.gatewaySnapshot().cluster("outbound|443||quiet.default.svc.cluster.local")
        }
        func protocols(_ cluster: Cluster) throws -> [String] {
            guard case .typedConfig(let any) = cluster.transportSocket?.configType else { return ["none"] }
            return try any.unpack(as: UpstreamTlsContext.self).commonTlsContext?.alpnProtocols ?? []
        }
        let options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
        let calls = try cluster("GRPCRoute")
        #expect(try protocols(calls) == ["h2"])
        let written = try #require(calls.typedExtensionProtocolOptions[options])
            .unpack(as: UpstreamHttpProtocolOptions.self)
        guard case .explicitHttpConfig(let explicit) = written.upstreamProtocolOptions,
            case .http2ProtocolOptions = explicit.protocolConfig
        else {
            Issue.record("not HTTP/2")
            return
        }
        #expect(try protocols(cluster("HTTPRoute")).isEmpty)
    }

    @Test("GatewayPort8080 what is opened: the served listeners of both APIs that select the pod")
    func openedPorts() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(
                GatewayYAML.listener, "name: more, port: 8080, protocol: HTTP", "name: dns, port: 53, protocol: UDP",
                "name: refused, port: 9000, protocol: HTTPS"),
            """
            ---
            apiVersion: networking.istio.io/v1
            kind: Gateway
            metadata: {name: istio, namespace: default}
            spec:
              selector: {app: istio-ingressgateway, istio: ingressgateway}
              servers: [{port: {number: 31400, name: tcp, protocol: TCP}, hosts: ["*"]}]

            """)
        let labels = ["istio": "ingressgateway", "app": "istio-ingressgateway"]
        #expect(
            world.model.openedPorts(labels: labels) == [
                OpenedPort(number: 80), OpenedPort(number: 8080), OpenedPort(number: 31400),
                OpenedPort(number: 53, isDatagram: true),
            ])
        #expect(world.model.openedPorts(labels: ["istio": "egressgateway"]).isEmpty)
    }

    @Test("GatewayClass supportedFeatures are sorted, told once, and leave out what is only done in part")
    func features() throws {
        let world = try World.gatewayAPI()
        let names = (try world.status(.gatewayClass, "skein", namespace: "")["supportedFeatures"]?.array ?? [])
            .compactMap { $0["name"]?.string }
        #expect(names == Set(names).sorted())
        #expect(names.contains("HTTPRouteRetryConnectionError") && names.contains("MeshHTTPRouteRedirectPath"))
        #expect(names.contains("GatewayInfrastructurePropagation") && names.contains("GatewayStaticAddresses"))
        #expect(names.contains("MeshClusterIPMatching"))
        for missing in ["HTTPRouteBackendRequestRedirect", "HTTPRouteBackendURLRewrite"] {
            #expect(!names.contains(missing))
        }
    }
}
