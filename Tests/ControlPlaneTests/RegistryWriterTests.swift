import APIServer
import KubernetesAPI
import Registry
import Serialization
import Store
import Testing

@testable import ControlPlane

@Suite("What follows from registered programs is written")
struct RegistryWriterTests {
    private struct Scene {
        var registry: ObjectRegistry
        var state: RegistryState
        var router: RegistryRouter
        var writer: RegistryWriter

        init() throws {
            let store = try SQLiteStore(path: ":memory:")
            registry = ObjectRegistry(store: store, now: { Timestamp(seconds: 1_800_000_000) })
            try registry.bootstrap()
            var settings = RegistrySettings(node: "here")
            settings.address = "192.0.2.1"
            state = RegistryState(store, settings)
            router = RegistryRouter(state)
            writer = RegistryWriter(registry)
        }

        func put(_ path: String, _ body: JSON = .null) -> UInt16 {
            let moment = RegistryMoment(milliseconds: 1_800_000_000_000, random: Array(repeating: 7, count: 16))
            let method = path == "connect/intentions" ? "POST" : "PUT"
            return router.answer(RegistryRequest(method, path, body: body.bytes), moment).status
        }

        /// Writes what follows now; whether all of it could be written.
        func follow() -> Bool {
            let view = state.view(trustDomain: "cluster.local")
            writer.learn(view)
            return writer.write(view)
        }

        func names(_ kind: ResourceKind) -> [String] { registry.list(kind).map(\.name).sorted() }
    }

    @Test("a ServiceEntry comes, changes and goes with its registration, and those of others stay")
    func entries() throws {
        let scene = try Scene()
        _ = try scene.registry.create(
            [
                "apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": ["name": "mine"],
                "spec": ["hosts": ["mine.example"], "resolution": "DNS", "ports": [["number": 80, "name": "http"]]],
            ], .serviceEntry, namespace: "skein-system")
        #expect(scene.put("agent/service/register", ["Name": "web", "Port": 80]) == 200)
        #expect(scene.follow())
        #expect(scene.names(.serviceEntry) == ["mine", "registered-web"])
        #expect(scene.writer.hosts == ["web.service.consul"])
        let first = try scene.registry.get(.serviceEntry, "skein-system", "registered-web")
        #expect(first.metadata.labels["skein.dev/managed-by"] == "registry")
        #expect(scene.follow())
        let same = try scene.registry.get(.serviceEntry, "skein-system", "registered-web")
        #expect(same.metadata.resourceVersion == first.metadata.resourceVersion)
        #expect(scene.put("agent/service/register", ["Name": "web", "Port": 81]) == 200)
        #expect(scene.follow())
        let changed = try scene.registry.get(.serviceEntry, "skein-system", "registered-web")
        #expect(changed.spec["ports"]?[0]?["number"] == 81)
        #expect(scene.put("agent/service/deregister/web") == 200)
        #expect(scene.follow())
        #expect(scene.names(.serviceEntry) == ["mine"])
    }

    @Test("an intention becomes an AuthorizationPolicy that the API takes; one of a missing namespace is tried again")
    func intentions() throws {
        let scene = try Scene()
        let deny: JSON = ["SourceName": "web", "DestinationName": "db", "Action": "deny"]
        #expect(scene.put("connect/intentions", deny) == 200)
        #expect(scene.follow())
        #expect(scene.names(.authorizationPolicy) == ["intentions-deny-db"])
        var elsewhere = deny
        elsewhere["DestinationNS"] = "shop"
        #expect(scene.put("connect/intentions", elsewhere) == 200)
        #expect(!scene.follow())
        #expect(scene.writer.failures == 1)
        _ = try scene.registry.create(
            ["apiVersion": "v1", "kind": "Namespace", "metadata": ["name": "shop"]], .namespace)
        #expect(scene.follow())
        #expect(scene.names(.authorizationPolicy) == ["intentions-deny-db", "intentions-deny-db"])
    }
}
