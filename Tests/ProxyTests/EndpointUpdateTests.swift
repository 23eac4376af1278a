import EnvoyAPI
import IO
import Serialization
import Testing
import Upstream
import XDS

@testable import Proxy

@Suite("Updates of endpoints")
struct EndpointUpdateTests {
    private static func cluster(_ name: String, service: String) -> Cluster {
        var source = ConfigSource()
        source.configSourceSpecifier = .ads(AggregatedConfigSource())
        var eds = Cluster.EdsClusterConfig()
        eds.edsConfig = source
        eds.serviceName = service
        var cluster = Cluster()
        cluster.name = name
        cluster.clusterDiscoveryType = .type(.eds)
        cluster.edsClusterConfig = eds
        return cluster
    }

    private static func resource(_ name: String, _ message: some Message, version: String = "1") -> Resource {
        var resource = Resource()
        resource.name = name
        resource.version = version
        resource.resource = AnyMessage(packing: message)
        return resource
    }

    private static func endpoints(_ name: String) -> Resource {
        var assignment = ClusterLoadAssignment()
        assignment.clusterName = name
        return resource(name, assignment)
    }

    @Test("what one response says of endpoints reaches the workers in one step, two clusters with one name both")
    func together() async throws {
        let shared = ["one", "other"].map { Self.resource($0, Self.cluster($0, service: "shared")) }
        let all = (0..<50).map { Self.endpoints("c\($0)") }
        let loop = try EventLoop.start(name: "endpoints")
        defer { loop.stop() }
        await Task(executorPreference: loop) {
            let metrics = MetricSet(workers: 0)
            var context = CompileContext(metrics: metrics, secrets: SecretStore())
            context.adsCluster = "ads"
            let store = ConfigurationStore(
                loop: loop, workers: [], metrics: metrics, context: context, runtime: Runtime())
            let applier = ResourceApplier(store: store)
            func update(_ typeURL: String, _ resources: [Resource], removed: [String] = []) {
                #expect(
                    applier.apply(
                        DeltaClient.Update(typeURL: typeURL, resources: resources, removed: removed, nonce: "")
                    ).problems
                        .isEmpty)
            }
            update(
                Cluster.typeURL,
                (0..<50).map { Self.resource("c\($0)", Self.cluster("c\($0)", service: "")) } + shared)
            #expect(store.published.clusters.isEmpty)
            let before = store.publications
            update(ClusterLoadAssignment.typeURL, all + [Self.endpoints("shared")])
            #expect(store.publications - before == 1 && store.published.clusters.count == 52)
            update(ClusterLoadAssignment.typeURL, all)
            #expect(store.publications - before == 2)
            update(ClusterLoadAssignment.typeURL, [], removed: ["c1", "shared"])
            #expect(store.publications - before == 3 && store.published.endpoints["other"] == EndpointTable())
            // The endpoints of a cluster go with the last that has them.
            update(Cluster.typeURL, [], removed: ["one"])
            #expect(store.endpoints["shared"] != nil)
            update(Cluster.typeURL, [], removed: ["other"])
            #expect(store.endpoints["shared"] == nil)
        }.value
    }
}
