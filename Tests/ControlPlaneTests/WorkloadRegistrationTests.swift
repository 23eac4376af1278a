import APIServer
import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Serialization
import Store
import Testing
import XDS

@testable import ControlPlane
@testable import Mesh

@Suite("Workloads outside of the cluster that register themselves")
struct WorkloadRegistrationTests {
    private static let key = NamespacedName(namespace: "default", name: "vms-10.9.0.1")
    private static let vm = NamespacedName(namespace: "default", name: "vm")

    private static func node(
        _ id: String = "sidecar~10.9.0.1~machine.default~default.svc.cluster.local", _ members: [String: JSON] = [:]
    ) -> EnvoyAPI.Node {
        var node = EnvoyAPI.Node()
        node.id = id
        node.metadata = .object(["AUTO_REGISTER_GROUP": "vms"].merging(members) { $1 })
        return node
    }

    private static func group(_ spec: JSON) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup",
            "metadata": ["name": "vms", "namespace": "default", "uid": "g1"], "spec": spec,
        ])
    }

    @Test("an entry has what the node says, then what its group says, then the template")
    func entry() throws {
        var node = Self.node(
            "sidecar~fd00::7~machine.default~d", ["LABELS": ["version": "v9", "istio-locality": "x"], "NETWORK": "n1"])
        var place = Locality()
        place.region = "eu"
        place.zone = "a"
        node.locality = place
        let registration = try #require(try WorkloadRegistration(node))
        let object = KubernetesObject(
            json: registration.object(
                Self.group([
                    "metadata": ["labels": ["app": "vms", "version": "v2"], "annotations": ["who": "me"]],
                    "template": ["serviceAccount": "vm", "ports": ["http": 8080], "labels": ["app": "t", "own": "t"]],
                    "probe": ["tcpSocket": ["port": 80]],
                ]), controller: "c", now: Timestamp(seconds: 1_800_000_000)))
        #expect(object.name == "vms-fd00--7-n1" && object.namespace == "default")
        let entry = WorkloadEntry(json: object.json)
        #expect(
            entry.labels == [
                "app": "vms", "version": "v9", "own": "t", "security.istio.io/tlsMode": "istio",
            ])
        #expect(entry.address == "fd00::7" && entry.network == "n1" && entry.locality == "eu/a")
        #expect(entry.serviceAccount == "vm" && entry.ports == ["http": 8080])
        let annotations = object.metadata.annotations
        #expect(annotations["who"] == "me" && annotations["istio.io/autoRegistrationGroup"] == "vms")
        #expect(annotations["proxy.istio.io/health-checks-enabled"] == "true")
        #expect(object.metadata.ownerReferences.first?.uid == "g1")
    }

    @Test("a node that asks for a group and says no address, another namespace or too much is refused")
    func refused() throws {
        #expect(try WorkloadRegistration(EnvoyAPI.Node()) == nil)
        let many = Dictionary(uniqueKeysWithValues: (0...64).map { ("l\($0)", JSON.string("x")) })
        for node in [
            Self.node("machine"), Self.node("router~10.9.0.1~machine.default~d"),
            Self.node("sidecar~~machine.default~d"),
            Self.node("sidecar~10.9.0.1~machine.default~d", ["NAMESPACE": "bank"]),
            Self.node("sidecar~10.9.0.1~machine.default~d", ["LABELS": .object(many)]),
        ] {
            #expect(throws: GRPCStatus.self) { _ = try WorkloadRegistration(node) }
        }
    }

    @Test("an entry goes after the time of grace, or when nobody has been heard of it for three beats")
    func over() throws {
        let now = Timestamp(seconds: 1_800_000_000)
        func isOver(_ annotations: [String: Int]) -> Bool {
            var object = Self.group([:])
            object.metadata.annotations = annotations.mapValues {
                Timestamp(seconds: now.seconds - Int64($0)).description
            }
            return WorkloadRegistration.isOver(object, now: now)
        }
        let group = "istio.io/autoRegistrationGroup"
        #expect(isOver([group: 0, "istio.io/connectedAt": 1000, "istio.io/disconnectedAt": 10]))
        #expect(!isOver([group: 0, "istio.io/connectedAt": 1000, "istio.io/disconnectedAt": 9]))
        #expect(!isOver([group: 0, "istio.io/connectedAt": 899]) && isOver([group: 0, "istio.io/connectedAt": 900]))
        #expect(!isOver(["istio.io/connectedAt": 5000]), "one that somebody has written by hand")
        // A control plane that has lost the workload to another does not say goodbye for it.
        let entry: JSON = ["metadata": ["annotations": ["istio.io/workloadController": "b"]]]
        #expect(WorkloadRegistration.disconnected(entry, controller: "a", now: now) == entry)
        #expect(WorkloadRegistration.disconnected(entry, controller: "b", now: now) != entry)
    }

    /// `@unchecked Sendable`: belongs to one loop.
    private struct Scene: @unchecked Sendable {
        var loop: EventLoop
        var streams: ProxyStreams
        var registry: ObjectRegistry
        var time: Clock
        var path: String

        func call() async throws -> GRPCStream {
            let stream = try await SocketStream.connect(to: .unix(path), on: loop, timeout: .seconds(30))
            return try GRPCClient(stream, authority: "xds", on: loop).call(ProxyStreams.method)
        }

        /// How a call ends.
        func end(_ call: GRPCStream) async -> GRPCStatus {
            do throws(GRPCStatus) {
                while try await call.next() != nil {}
                return .ok
            } catch {
                return error
            }
        }

        var entry: KubernetesObject? { try? registry.get(.workloadEntry, key.namespace, key.name) }
        private var key: NamespacedName { WorkloadRegistrationTests.key }
        var endpoints: [String] {
            streams.objectsChanged()
            let model = streams.publisher.model
            return model.service(host: "vms.default.svc.cluster.local").map { model.endpoints(of: $0).map(\.address) }
                ?? []
        }

        func until(_ what: String, _ body: () -> Bool) async throws {
            let end = loop.now + .seconds(60)
            while !body() {
                guard loop.now < end else { throw GRPCStatus(.deadlineExceeded, what) }
                await loop.sleep(for: .milliseconds(10))
            }
        }
    }

    /// `@unchecked Sendable`: belongs to one loop.
    private final class Clock: @unchecked Sendable {
        var time = Timestamp(seconds: 1_800_000_000)
    }

    private static func request(_ type: String = Listener.typeURL, _ node: EnvoyAPI.Node? = nil, problem: String? = nil)
        -> DeltaDiscoveryRequest
    {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = type
        request.node = node
        if let problem {
            var status = EnvoyAPI.Status()
            status.code = 500
            status.message = problem
            request.errorDetail = status
        }
        return request
    }

    /// A control plane with a WorkloadGroup of account `vm` and a Service for it; callers are who `account` says.
    private static func run(
        probe: Bool = false, account: NamespacedName = vm, _ body: @escaping @Sendable (Scene) async throws -> Void
    ) async throws {
        let loop = try EventLoop.start(name: "workloads")
        let path = "/tmp/skein-workloads-\(Environment.processID)-\(UInt32.random(in: 0 ... .max)).sock"
        defer { try? File.remove(path) }
        try await Task(executorPreference: loop) {
            let clock = Clock()
            let registry = ObjectRegistry(store: try SQLiteStore(path: ":memory:"), now: { clock.time })
            try registry.bootstrap()
            var spec: JSON = ["metadata": ["labels": ["app": "vms"]], "template": ["serviceAccount": "vm"]]
            if probe { spec["probe"] = ["tcpSocket": ["port": 8080]] }
            _ = try registry.create(["metadata": ["name": "vms"], "spec": spec], .workloadGroup, namespace: "default")
            _ = try registry.create(
                [
                    "metadata": ["name": "vms"],
                    "spec": ["selector": ["app": "vms"], "ports": [["name": "http", "port": 80, "targetPort": 8080]]],
                ], .service, namespace: "default")
            let streams = ProxyStreams(RegistrySource(registry), on: loop, now: { clock.time })
            try streams.start {}
            let listener = try SocketListener(try Socket.listen(on: .unix(path)), on: loop)
            let server = streams.server { _ in .serviceAccount(account) }
            let task = Task(executorPreference: loop) {
                while !Task.isCancelled, let socket = try? await listener.accept() {
                    guard let stream = try? SocketStream(socket, on: loop) else { continue }
                    Task(executorPreference: loop) { await server.serve(stream) }
                }
            }
            try await body(Scene(loop: loop, streams: streams, registry: registry, time: clock, path: path))
            task.cancel()
            listener.close()
            streams.registrations.stop()
        }.value
        loop.stop()
    }

    @Test(
        "a proxy that connects is an endpoint of its services with a configuration of its own, until after its grace",
        .timeLimit(.minutes(5)))
    func lifetime() async throws {
        try await Self.run { scene in
            #expect(scene.endpoints.isEmpty)
            let call = try await scene.call()
            try await call.send(Self.request(Listener.typeURL, Self.node()).serialized())
            let response = try DeltaDiscoveryResponse(serialized: #require(try await call.next()))
            #expect(response.resources.contains { $0.name == "virtualInbound" })
            let first = try #require(scene.entry)
            #expect(scene.endpoints == ["10.9.0.1"])
            let own = scene.streams.publisher.model.workload(Self.key)
            #expect(own?.serviceAccount == "vm" && own?.labels["app"] == "vms" && own?.address == "10.9.0.1")
            #expect(scene.streams.publisher.model.services(of: Self.key).map(\.key.name) == ["vms"])
            // A second stream of the same workload is the same entry.
            let other = try await scene.call()
            try await other.send(Self.request(Listener.typeURL, Self.node()).serialized())
            _ = try await other.next()
            #expect(scene.entry?.metadata.uid == first.metadata.uid)
            other.cancel()
            try await scene.until("one stream") { scene.streams.publisher.streamCount(of: Self.key) == 1 }
            #expect(scene.entry?.metadata.annotations["istio.io/disconnectedAt"] == nil)
            // It may not become somebody else on its stream.
            try await call.send(
                Self.request(Cluster.typeURL, Self.node("sidecar~10.9.0.2~machine.default~d")).serialized())
            #expect(await scene.end(call).code == .permissionDenied)
            try await scene.until("goodbye") { scene.entry?.metadata.annotations["istio.io/disconnectedAt"] != nil }
            scene.time.time = scene.time.time + .seconds(9)
            scene.streams.registrations.sweep()
            #expect(scene.entry != nil && scene.endpoints == ["10.9.0.1"])
            // Who comes again in time keeps his entry.
            let again = try await scene.call()
            try await again.send(Self.request(Listener.typeURL, Self.node()).serialized())
            _ = try await again.next()
            #expect(scene.entry?.metadata.annotations["istio.io/disconnectedAt"] == nil)
            #expect(scene.entry?.metadata.uid == first.metadata.uid)
            again.cancel()
            try await scene.until("goodbye") { scene.entry?.metadata.annotations["istio.io/disconnectedAt"] != nil }
            scene.time.time = scene.time.time + .seconds(10)
            scene.streams.registrations.sweep()
            #expect(scene.entry == nil && scene.endpoints.isEmpty)
        }
    }

    @Test("with a probe an entry takes traffic only while its agent says that it is healthy", .timeLimit(.minutes(5)))
    func health() async throws {
        try await Self.run(probe: true) { scene in
            let call = try await scene.call()
            try await call.send(Self.request(Listener.typeURL, Self.node()).serialized())
            _ = try await call.next()
            #expect(scene.entry != nil && scene.endpoints.isEmpty)
            try await call.send(Self.request(WorkloadHealth.typeURL).serialized())
            try await scene.until("healthy") { scene.endpoints == ["10.9.0.1"] }
            try await call.send(Self.request(WorkloadHealth.typeURL, problem: "connection refused").serialized())
            try await scene.until("not healthy") { scene.endpoints.isEmpty }
            // Others write conditions of their own beside it.
            let conditions = scene.entry?.status["conditions"]?.array ?? []
            #expect(conditions.count { $0["type"] == "Healthy" } == 1)
            #expect(conditions.first { $0["type"] == "Healthy" }?["message"] == "connection refused")
        }
    }

    @Test(
        "ATK-39 whoever is another service account, or wants an entry that somebody has written, is refused",
        .timeLimit(.minutes(5)))
    func strangers() async throws {
        try await Self.run(account: NamespacedName(namespace: "default", name: "thief")) { scene in
            let call = try await scene.call()
            try await call.send(Self.request(Listener.typeURL, Self.node()).serialized())
            #expect(await scene.end(call).code == .permissionDenied)
            #expect(scene.entry == nil && scene.streams.counts.refusedIdentities == 1)
        }
        try await Self.run { scene in
            _ = try scene.registry.create(
                ["metadata": ["name": .string(Self.key.name)], "spec": ["address": "10.9.0.1"]], .workloadEntry,
                namespace: "default")
            let call = try await scene.call()
            try await call.send(Self.request(Listener.typeURL, Self.node()).serialized())
            #expect(await scene.end(call).code == .permissionDenied)
            let none = try await scene.call()
            try await none.send(
                Self.request(Listener.typeURL, Self.node(Self.node().id, ["AUTO_REGISTER_GROUP": "no"])).serialized())
            #expect(await scene.end(none).code == .failedPrecondition)
        }
    }

    @Test("an entry that is removed ends its workload's stream, which registers anew", .timeLimit(.minutes(5)))
    func removed() async throws {
        try await Self.run { scene in
            let call = try await scene.call()
            try await call.send(Self.request(Listener.typeURL, Self.node()).serialized())
            _ = try await call.next()
            try scene.registry.delete(.workloadEntry, "default", Self.key.name, options: DeleteOptions())
            scene.streams.objectsChanged()
            #expect(await scene.end(call).code != .ok)
            #expect(scene.streams.counts.endedWithPod == 1 && scene.endpoints.isEmpty)
        }
    }
}
