import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("Status of the Gateway API (I-16)")
struct GatewayStatusTests {
    private let web = "{backendRefs: [{name: web, port: 80}]}"

    @Test("I-16 a class with our controller is accepted, parameters are not")
    func classes() throws {
        let world = try World.gatewayAPI(
            """
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: other}
            spec: {controllerName: example.com/other}
            ---
            apiVersion: gateway.networking.k8s.io/v1
            kind: GatewayClass
            metadata: {name: odd}
            spec: {controllerName: skein.dev/gateway-controller, parametersRef: {group: g, kind: K, name: n}}

            """)
        func conditions(_ name: String) throws -> [String] {
            World.outline(try world.status(.gatewayClass, name, namespace: "")["conditions"])
        }
        #expect(try conditions("skein") == ["Accepted=True:Accepted"])
        #expect(try conditions("odd") == ["Accepted=False:InvalidParameters"])
        #expect(!world.hasStatus(.gatewayClass, "other", namespace: ""))
    }

    @Test("I-16 Programmed waits for the proxy's acknowledgement and tells its refusal")
    func programmed() throws {
        let world = try World.gatewayAPI(GatewayYAML.gateway(GatewayYAML.listener), GatewayYAML.http("r", web))
        func programmed(_ state: GatewayState) throws -> String? {
            World.outline(try world.status(.gatewayAPIGateway, "gw", state)["conditions"]).last
        }
        func state(_ own: [String], isProgrammed: Bool, refusal: String? = nil) -> GatewayState {
            GatewayState(
                addresses: ["10.0.0.1"], ownAddresses: [NamespacedName(namespace: "default", name: "gw"): own],
                isProgrammed: isProgrammed, refusal: refusal)
        }
        #expect(try programmed(state(["10.0.0.2"], isProgrammed: true)) == "Programmed=True:Programmed")
        #expect(try programmed(state(["10.0.0.2"], isProgrammed: false)) == "Programmed=False:Pending")
        #expect(
            try programmed(state(["10.0.0.2"], isProgrammed: false, refusal: "no")) == "Programmed=False:Invalid")
        #expect(try programmed(state([], isProgrammed: true)) == "Programmed=False:AddressNotAssigned")
        #expect(
            try world.listener("http") == [
                "Accepted=True:Accepted", "Programmed=True:Programmed", "ResolvedRefs=True:ResolvedRefs",
                "Conflicted=False:NoConflicts",
            ])
        #expect(
            try world.status(.gatewayAPIGateway, "gw")["addresses"]
                == [["type": "IPAddress", "value": "10.97.0.2"]])
        #expect(
            try world.status(.gatewayAPIGateway, "gw", state(["lb.example"], isProgrammed: true))["addresses"]
                == [["type": "Hostname", "value": "lb.example"]])
    }

    @Test("I-16 a Gateway of a class that is not ours gets no status, nor do routes to it")
    func foreign() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener).replacing("gatewayClassName: skein", with: "gatewayClassName: x"),
            GatewayYAML.http("r", web))
        #expect(!world.hasStatus(.gatewayAPIGateway, "gw"))
        #expect(try world.status(.httpRoute, "r")["parents"] == [])
    }

    @Test("I-16 a route tells each parent's answer, with the parent as it is written")
    func parents() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway(GatewayYAML.listener),
            GatewayYAML.http(
                "r", parents: "{name: gw, sectionName: http}, {name: gw, sectionName: nope}, {name: gw, port: 81}", web)
        )
        let parents = try world.status(.httpRoute, "r")["parents"]?.array ?? []
        #expect(
            parents.map { World.outline($0["conditions"]).first } == [
                "Accepted=True:Accepted", "Accepted=False:NoMatchingParent", "Accepted=False:NoMatchingParent",
            ])
        #expect(parents.first?["parentRef"] == ["name": "gw", "sectionName": "http"])
        #expect(parents.first?["controllerName"] == "skein.dev/gateway-controller")
    }

    @Test(
        "I-16 what a certificate reference lacks is told, and never what it holds",
        arguments: [
            ("{name: gone}", "InvalidCertificateRef"), ("{name: broken}", "InvalidCertificateRef"),
            ("{name: cert, kind: ConfigMap}", "InvalidCertificateRef"),
            ("{name: cert, group: x.io}", "InvalidCertificateRef"),
        ])
    func certificates(reference: String, reason: String) throws {
        let world = try World.gatewayAPI(
            GatewayYAML.secret("cert"), GatewayYAML.secret("broken", certificate: "hello"),
            GatewayYAML.gateway("name: tls, port: 443, protocol: HTTPS, tls: {certificateRefs: [\(reference)]}"))
        #expect(
            try world.listener("tls") == [
                "Accepted=True:Accepted", "Programmed=False:Invalid", "ResolvedRefs=False:\(reason)",
                "Conflicted=False:NoConflicts",
            ])
        let text = try world.status(.gatewayAPIGateway, "gw").pretty
        #expect(!text.contains("PRIVATE") && !text.contains("hello"))
    }

    @Test("I-16 unknown protocols and addresses are refused")
    func unsupported() throws {
        let world = try World.gatewayAPI(
            GatewayYAML.gateway("name: odd, port: 80, protocol: example.com/Odd"),
            GatewayYAML.gateway(named: "good", GatewayYAML.listener, "name: odd, port: 81, protocol: example.com/Odd"),
            GatewayYAML.gateway(
                named: "address", more: "addresses: [{type: example.com/T, value: x}]", GatewayYAML.listener))
        func conditions(_ name: String) throws -> [String] {
            World.outline(try world.status(.gatewayAPIGateway, name)["conditions"])
        }
        #expect(try conditions("gw") == ["Accepted=False:ListenersNotValid", "Programmed=False:Invalid"])
        #expect(try conditions("good") == ["Accepted=True:ListenersNotValid", "Programmed=True:Programmed"])
        #expect(try conditions("address").first == "Accepted=False:UnsupportedAddress")
        #expect(try world.listener("odd").first == "Accepted=False:UnsupportedProtocol")
    }

    @Test("I-15 producer routes count for all callers, consumer routes for their own namespace; unmatched is 404")
    func mesh() throws {
        let match = "matches: [{path: {value: /a}}]"
        let yaml =
            GatewayYAML.object(
                "HTTPRoute", "producer",
                "parentRefs: [{group: '', kind: Service, name: web, port: 80}], rules: [{\(match), backendRefs: [{name: other, port: 80}]}]"
            )
            + GatewayYAML.object(
                "HTTPRoute", "consumer", namespace: "other",
                "parentRefs: [{group: '', kind: Service, name: web, namespace: default}], rules: [{backendRefs: [{name: far, port: 80}]}]"
            )
        let rule = World.rule("vs", "hosts: [web]\nhttp: [{route: [{destination: {host: third}}]}]")
        let world = try World.gatewayAPI(yaml, rule)
        let name = "web.default.svc.cluster.local"
        let own = "80|\(name)"
        #expect(
            try world.snapshot("default/caller").virtualHost(own, name).outline
                == ["elements:/a -> outbound|80||other.default.svc.cluster.local"])
        #expect(
            try world.snapshot("other/caller").virtualHost(own, name).outline
                == ["prefix:/ -> outbound|80||far.other.svc.cluster.local"])
        #expect(try world.route("producer") == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
        // A consumer may send his own requests to the producer's service, which he could call anyway: no grant is asked for.
        let back = "rules: [{backendRefs: [{name: web, namespace: default, port: 80}]}]"
        func consumer(_ parents: String) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.gateway("name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}"),
                GatewayYAML.object("HTTPRoute", "c", namespace: "other", "parentRefs: [\(parents)], \(back)"))
        }
        let inside = try consumer("{group: '', kind: Service, name: web, namespace: default}")
        #expect(
            try inside.snapshot("other/caller").virtualHost(own, name).outline
                == ["prefix:/ -> outbound|80||web.default.svc.cluster.local"])
        #expect(
            try inside.status(.httpRoute, "c", namespace: "other")["parents"]?.array?.first.map {
                World.outline($0["conditions"])
            } == ["Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs"])
        let edge = try consumer("{name: gw, namespace: default}")
        #expect(
            try edge.status(.httpRoute, "c", namespace: "other")["parents"]?.array?.first.map {
                World.outline($0["conditions"])
            } == ["Accepted=True:Accepted", "ResolvedRefs=False:RefNotPermitted"])
        let lost = try World.gatewayAPI(
            GatewayYAML.object(
                "HTTPRoute", "r", "parentRefs: [{group: '', kind: Service, name: gone}], rules: [\(web)]"))
        #expect(try lost.route("r").first == "Accepted=False:NoMatchingParent")
    }

    @Test("Istio's objects tell whether the mesh took them, and what it thinks of them")
    func istio() throws {
        let world = try World(World.rule("r", "hosts: [web]\nhttp: [{route: [{destination: {host: gone}}]}]"))
        let status = try world.status(.virtualService, "r")
        #expect(World.outline(status["conditions"]) == ["Reconciled=True:Reconciled"])
        #expect(status["validationMessages"]?.array?.first?["level"] == "WARNING")
    }
}
