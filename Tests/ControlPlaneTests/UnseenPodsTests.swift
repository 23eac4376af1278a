import APIServer
import IO
import KubernetesAPI
import Serialization
import Store
import Testing

@testable import ControlPlane

@Suite("Controllers over a store that settles later")
struct UnseenPodsTests {
    @Test("a ReplicaSet that is scaled before its first pods are settled makes none too many")
    func scaled() async throws {
        let loop = try EventLoop.start(name: "unseen")
        defer { loop.stop() }
        let path = "/tmp/skein-unseen-\(UInt64.random(in: 0 ... .max)).db"
        defer { for end in ["", "-wal", "-shm"] { try? File.remove(path + end) } }
        try await Task(executorPreference: loop) {
            var options = SQLiteStore.Options()
            options.loop = loop
            let store = try SQLiteStore(path: path, options)
            let clock = Timestamp(seconds: 1_800_000_000)
            let registry = ObjectRegistry(store: store, now: { clock })
            registry.defaultNodeName = "node"
            try registry.bootstrap()
            let controllers = try Controllers(registry, now: { clock }, wake: {}, later: { _, _ in })
            controllers.run()
            let spec: JSON = [
                "replicas": 1, "selector": ["matchLabels": ["app": "a"]],
                "template": [
                    "metadata": ["labels": ["app": "a"]], "spec": ["containers": [["name": "c", "image": "x"]]],
                ],
            ]
            _ = try registry.create(
                ["metadata": ["name": "a"], "spec": spec], .replicaSet, namespace: "default")
            func pods() throws -> Int { store.list("core/pods", namespace: nil).count }
            let deadline = loop.now + .seconds(30)
            while try pods() < 1, loop.now < deadline {
                controllers.run()
                await loop.sleep(for: .milliseconds(1))
            }
            _ = try registry.modify(.replicaSet, "default", "a", subresource: "") { (json) throws(StatusError) in
                var json = json
                json["spec"]?["replicas"] = 3
                return json
            }
            while try pods() < 3, loop.now < deadline {
                controllers.run()
                await loop.sleep(for: .milliseconds(1))
            }
            for _ in 0..<50 {
                controllers.run()
                #expect(try pods() == 3)
                await loop.sleep(for: .milliseconds(2))
            }
            await store.close()
        }.value
    }
}
