import APIServer
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization
import Store
import Testing

@testable import ControlPlane

@Suite("Convergence")
struct ConvergenceTests {
    /// Streams over a registry that nothing wakes: what is written is known when it is looked for.
    private struct Scene {
        var loop: EventLoop
        var streams: ProxyStreams
        var registry: ObjectRegistry

        func write(_ name: String) throws -> Int64 {
            let made = try registry.create(
                ["metadata": ["name": .string(name)], "spec": ["ports": [["name": "http", "port": 80]]]], .service,
                namespace: "default")
            return try #require(Int64(made.object.metadata.resourceVersion))
        }

        func isTranslated(_ name: String) -> Bool {
            streams.publisher.model.services[NamespacedName(namespace: "default", name: name)] != nil
        }

        func convergence(_ query: [String: String] = [:]) throws -> JSON {
            guard case .bytes(let bytes) = DiscoveryPages(streams).convergence(query).body else { return .null }
            return try JSON.parse(bytes)
        }
    }

    private static func run(_ body: @escaping @Sendable (Scene) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "convergence")
        try await Task(executorPreference: loop) {
            let time = Timestamp(seconds: 1_800_000_000)
            let registry = ObjectRegistry(store: try SQLiteStore(path: ":memory:"), now: { time })
            try registry.bootstrap()
            let streams = ProxyStreams(RegistrySource(registry), on: loop, now: { time })
            try streams.start {}
            try await body(Scene(loop: loop, streams: streams, registry: registry))
        }.value
        loop.stop()
    }

    @Test(
        "what is written while an earlier change waits for its translation is not complete before it is translated",
        .timeLimit(.minutes(1)))
    func writtenMeanwhile() async throws {
        try await Self.run { scene in
            _ = try scene.write("first")
            // Known now, and held back for what may come after it.
            scene.streams.objectsChanged()
            #expect(!scene.isTranslated("first"))
            let revision = try scene.write("second")
            while !scene.isTranslated("first") { await scene.loop.sleep(for: .milliseconds(1)) }
            let publisher = scene.streams.publisher
            #expect(publisher.convergence(revision: revision).isTranslated == scene.isTranslated("second"))
        }
    }

    @Test(
        "without a revision it is about everything that is written, not about what is translated",
        .timeLimit(.minutes(1)))
    func everythingWritten() async throws {
        try await Self.run { scene in
            #expect(try scene.convergence()["complete"] == true)
            let revision = try scene.write("first")
            var state = try scene.convergence()
            #expect(!scene.isTranslated("first"))
            #expect(
                state["revision"]?.int == Int(revision) && state["complete"] == false && state["translated"] == false)
            #expect(try scene.convergence(["revision": "\(revision)"])["complete"] == false)
            while state["complete"] != true {
                await scene.loop.sleep(for: .milliseconds(1))
                state = try scene.convergence()
            }
            #expect(scene.isTranslated("first"))
        }
    }
}
