import EnvoyAPI
import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("What gateways need of services")
struct GatewayNeedsTests {
    private static let rule = World.rule(
        "r", "hosts: ['*']\ngateways: [my-gateway]\nhttp: [{route: [{destination: {host: web, subset: v1}}]}]")
    private static let mesh =
        World.gateway + World.service("web", ip: 1) + World.service("other", ip: 2) + World.pod("a", "web", ip: 5)
        + World.policy(
            "p", "host: web\nsubsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]")

    private static func filter(_ patch: String) -> String {
        """
        ---
        apiVersion: networking.istio.io/v1alpha3
        kind: EnvoyFilter
        metadata: {name: f, namespace: istio-system}
        spec: {configPatches: [\(patch)]}

        """
    }

    private static func services(_ snapshot: ProxySnapshot) -> Set<String> {
        Set(snapshot.clusters.keys.filter { $0.hasPrefix(ClusterReferences.prefix) })
    }

    private static func name(_ service: String, _ subset: String = "") -> String {
        "outbound|80|\(subset)|\(service).default.svc.cluster.local"
    }

    @Test("a gateway is told the services that its routes name, with all their subsets, and no others")
    func named() throws {
        let snapshot = try World(Self.mesh, Self.rule).gatewaySnapshot()
        #expect(Self.services(snapshot) == [Self.name("web"), Self.name("web", "v1"), Self.name("web", "v2")])
        #expect(Set(snapshot.endpoints.keys) == Self.services(snapshot))
        #expect(try Self.services(World(Self.mesh).gatewaySnapshot()).isEmpty)
    }

    @Test("with skein.gatewayClusters: istio it is told all of them")
    func switched() throws {
        let world = try World(Self.mesh, Self.rule, Security.meshConfig("skein: {gatewayClusters: istio}"))
        #expect(Self.services(world.gatewaySnapshot()).contains(Self.name("other")))
    }

    @Test(
        "a service that an EnvoyFilter names counts, in a field or in a script; one that chooses by what requests say needs all",
        arguments: [
            "{applyTo: HTTP_ROUTE, match: {context: GATEWAY}, patch: {operation: MERGE, value: {route: {cluster: 'outbound|80||other.default.svc.cluster.local'}}}}",
            """
            {applyTo: HTTP_FILTER, match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager}}}}, \
            patch: {operation: INSERT_FIRST, value: {name: envoy.filters.http.lua, typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua, \
            default_source_code: {inline_string: "function envoy_on_request(h) h:httpCall('outbound|80||other.default.svc.cluster.local', {}, '', 5) end"}}}}}
            """,
            "{applyTo: HTTP_ROUTE, match: {context: GATEWAY}, patch: {operation: MERGE, value: {route: {cluster_header: x-cluster}}}}",
        ])
    func patched(patch: String) throws {
        let names = try Self.services(World(Self.mesh, Self.rule, Self.filter(patch)).gatewaySnapshot())
        #expect(names.contains(Self.name("other")))
    }

    @Test("services that come and change without being named are nothing to a gateway: what it has is the same object")
    func untouched() throws {
        let world = try World(Self.mesh, Self.rule)
        var translator = MeshTranslator(world.model)
        let proxy = ProxyIdentity(pod: NamespacedName(namespace: "skein-system", name: "gateway"), role: .gateway)
        let before = translator.snapshot(for: proxy)
        for number in 3..<200 {
            for document in try YAML.parse(World.service("s\(number)", ip: number), file: "test") {
                translator.set(KubernetesObject(json: document.json))
            }
        }
        translator.refresh()
        let after = translator.snapshot(for: proxy)
        #expect(after.layers.count == before.layers.count)
        #expect(zip(after.layers, before.layers).allSatisfy { $0 === $1 })
        // And one that is named later comes.
        for document in try YAML.parse(Self.rule.replacing("host: web, subset: v1", with: "host: s7"), file: "test") {
            translator.set(KubernetesObject(json: document.json))
        }
        #expect(Self.services(translator.snapshot(for: proxy)) == [Self.name("s7")])
    }

    @Test("names end with the field's length, or where no name goes on")
    func names() {
        func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }
        let name = "outbound|80||a.b"
        // Behind the field the tag of the next one, which is a letter or a digit.
        #expect(
            ClusterReferences.names(in: [10, UInt8(name.utf8.count)] + bytes(name) + bytes("2x")) == [
                name, name + "2x",
            ])
        #expect(ClusterReferences.names(in: bytes("call('\(name)')")) == [name])
        let long = "outbound|80||" + String(repeating: "a", count: 150)
        #expect(
            ClusterReferences.names(in: [10, 0x80 | UInt8(163 & 0x7F), 1] + bytes(long) + bytes("z")) == [
                long, long + "z",
            ])
        #expect(ClusterReferences.names(in: bytes("outbound")).isEmpty)
        #expect(ClusterReferences.host(of: name) == "a.b")
        #expect(ClusterReferences.host(of: "outbound|80") == nil)
    }
}
