import EnvoyAPI
import Mesh
import Serialization
import Testing

@Suite("TLS from gateways to services")
struct BackendTLSTests {
    private static let name = "outbound|80||web.default.svc.cluster.local"
    private static let route = GatewayYAML.http("r", "{backendRefs: [{name: web, port: 80}]}")

    private static func policy(
        _ name: String, created: String = "2026-01-01T00:00:00Z", target: String = "name: web", _ validation: String
    ) -> String {
        GatewayYAML.object(
            "BackendTLSPolicy", name, created: created,
            "targetRefs: [{group: '', kind: Service, \(target)}], validation: {hostname: tls.example, \(validation)}")
    }

    private static let authorities = "caCertificateRefs: [{group: '', kind: ConfigMap, name: cas}]"

    private func world(_ yaml: String...) throws -> World {
        try World.gatewayAPI(
            GatewayYAML.authorities("cas"), GatewayYAML.gateway(GatewayYAML.listener), Self.route, yaml.joined())
    }

    private func context(_ world: World) throws -> UpstreamTlsContext {
        let cluster = try world.gatewaySnapshot().cluster(Self.name)
        guard case .typedConfig(let any) = cluster.transportSocket?.configType else { throw Missing() }
        return try any.unpack()
    }

    private struct Missing: Error {}

    @Test("D-6 a BackendTLSPolicy has gateways speak TLS with its name and authorities; sidecars do not")
    func policy() throws {
        let world = try world(Self.policy("p", Self.authorities))
        let context = try context(world)
        #expect(context.sni == "tls.example")
        guard case .combinedValidationContext(let check) = context.commonTlsContext?.validationContextType else {
            throw Missing()
        }
        #expect(check.validationContextSdsSecretConfig?.name == "backendtls://default/p")
        #expect(check.defaultValidationContext?.matchTypedSubjectAltNames.map(\.sanType) == [.dns])
        #expect(world.gatewaySnapshot().secrets.keys.sorted() == ["backendtls://default/p"])
        #expect(try world.snapshot().cluster(Self.name).transportSocket == nil)
        let ancestors = try world.status(.backendTLSPolicy, "p")["ancestors"]?.array ?? []
        #expect(ancestors.count == 1)
        #expect(
            World.outline(ancestors.first?["conditions"]) == [
                "Accepted=True:Accepted", "ResolvedRefs=True:ResolvedRefs",
            ])
    }

    @Test("D-6 what a DestinationRule writes beats the policy, field by field")
    func userRule() throws {
        func with(_ tls: String) throws -> World {
            try world(
                Self.policy("p", Self.authorities),
                World.policy(
                    "d", namespace: "skein-system",
                    "host: web.default.svc.cluster.local\ntrafficPolicy: {tls: {\(tls)}}"))
        }
        let context = try context(try with("mode: SIMPLE, sni: mine.example"))
        #expect(context.sni == "mine.example")
        guard case .combinedValidationContext = context.commonTlsContext?.validationContextType else { throw Missing() }
        #expect(try with("mode: DISABLE").gatewaySnapshot().cluster(Self.name).transportSocket == nil)
    }

    @Test("names of the policy take the place of its host name; the machine's authorities are a word")
    func names() throws {
        let context = try context(
            try world(
                Self.policy(
                    "p",
                    """
                    wellKnownCACertificates: System, subjectAltNames: [{type: URI, uri: "spiffe://x/y"},
                    {type: Hostname, hostname: a.example}]
                    """)))
        guard case .validationContext(let check) = context.commonTlsContext?.validationContextType else {
            throw Missing()
        }
        #expect(check.systemRootCerts != nil)
        #expect(check.matchTypedSubjectAltNames.map(\.sanType) == [.uri, .dns])
    }

    @Test("a policy whose authorities cannot be used fails closed, and says so")
    func invalid() throws {
        let world = try world(Self.policy("p", "caCertificateRefs: [{group: '', kind: ConfigMap, name: gone}]"))
        #expect(world.gatewaySnapshot().clusters[Self.name] == nil)
        let ancestor = try world.status(.backendTLSPolicy, "p")["ancestors"]?.array?.first
        #expect(
            World.outline(ancestor?["conditions"]) == [
                "Accepted=False:NoValidCACertificate", "ResolvedRefs=False:InvalidCACertificateRef",
            ])
        let kind = try self.world(Self.policy("p", "caCertificateRefs: [{group: '', kind: Pod, name: x}]"))
        #expect(
            World.outline(try kind.status(.backendTLSPolicy, "p")["ancestors"]?.array?.first?["conditions"]).last
                == "ResolvedRefs=False:InvalidKind")
    }

    @Test("the Gateway's certificate for backends is shown where a policy has TLS spoken, and checked")
    func clientCertificate() throws {
        func world(_ secret: String) throws -> World {
            try World.gatewayAPI(
                GatewayYAML.authorities("cas"), GatewayYAML.secret("client"),
                GatewayYAML.gateway(
                    more: "tls: {backend: {clientCertificateRef: {name: \(secret)}}}", GatewayYAML.listener),
                Self.route, Self.policy("p", Self.authorities))
        }
        let good = try world("client")
        #expect(
            try context(good).commonTlsContext?.tlsCertificateSdsSecretConfigs.map(\.name)
                == ["kubernetes://default/client"])
        #expect(good.gatewaySnapshot().secrets.keys.contains("kubernetes://default/client"))
        let bad = try world("gone")
        #expect(
            World.outline(try bad.status(.gatewayAPIGateway, "gw")["conditions"]).last
                == "ResolvedRefs=False:InvalidClientCertificateRef")
    }

    @Test("of two policies with one target the older wins; one for a port beats one for the service")
    func conflicts() throws {
        let world = try world(
            Self.policy("new", created: "2026-02-01T00:00:00Z", Self.authorities), Self.policy("old", Self.authorities),
            Self.policy("port", target: "name: web, sectionName: http", Self.authorities))
        func accepted(_ name: String) throws -> String? {
            World.outline(
                try world.status(.backendTLSPolicy, name)["ancestors"]?.array?.first?["conditions"]
            ).first
        }
        #expect(try accepted("old") == "Accepted=True:Accepted")
        #expect(try accepted("new") == "Accepted=False:Conflicted")
        guard case .combinedValidationContext(let check) = try context(world).commonTlsContext?.validationContextType
        else { throw Missing() }
        #expect(check.validationContextSdsSecretConfig?.name == "backendtls://default/port")
    }
}
