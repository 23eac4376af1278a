import APIServer
import EnvoyAPI
import HTTP
import IO
import KubernetesAPI
import Mesh
import Serialization
import Store
import Testing
import XDS

@testable import ControlPlane

/// Two control planes over one store: each hears what the other reports of its proxies, as it does over etcd.
@Suite("Two control planes")
struct TwoServersTests {
    private struct Scene {
        var loop: EventLoop
        var registry: ObjectRegistry
        /// The first writes statuses, the proxies are connected to the second.
        var first: ProxyStreams
        var second: ProxyStreams
        var directory: String

        /// Each hears of the other, and looks at what was written.
        func hear() {
            for (one, other) in [(first, second), (second, first)] {
                one.objectsChanged()
                one.others = [ServerReport(DiscoveryPages.report(other).json.bytes)].compactMap(\.self)
            }
        }

        func until(_ what: @autoclosure () -> String, _ holds: () throws -> Bool) async throws {
            let deadline = loop.now + .seconds(30)
            while try !holds() {
                guard loop.now < deadline else { throw SystemError(110, what()) }
                hear()
                await loop.sleep(for: .milliseconds(5))
            }
        }

        /// What `skein apply --wait` asks of a server.
        func convergence(_ streams: ProxyStreams, _ revision: Int64) throws -> JSON {
            guard case .bytes(let bytes) = DiscoveryPages(streams).convergence(["revision": "\(revision)"]).body else {
                return .null
            }
            return try JSON.parse(bytes)
        }

        func write(_ name: String) throws -> Int64 {
            let made = try registry.create(
                ["metadata": ["name": .string(name)], "spec": ["ports": [["name": "http", "port": 80]]]], .service,
                namespace: "default")
            return try #require(Int64(made.object.metadata.resourceVersion))
        }

        /// A pod whose proxy is connected to the second server.
        func connect(_ name: String, namespace: String, isGateway: Bool, isHolding: Bool = false) async throws -> Proxy
        {
            var pod: JSON = [
                "metadata": ["name": .string(name)], "spec": ["containers": [["name": "c", "image": "i"]]],
            ]
            if isGateway {
                pod["metadata"]?["annotations"] = ["skein.dev/gateway": "true"]
                pod["metadata"]?["labels"] = ["app": "istio-ingressgateway", "istio": "ingressgateway"]
            }
            let made = try registry.create(pod, .pod, namespace: namespace)
            hear()
            let path = "\(directory)/\(name).sock"
            second.add(
                try Socket.listen(on: .unix(path)), uid: made.object.metadata.uid,
                pod: NamespacedName(namespace: namespace, name: name))
            let stream = try await SocketStream.connect(to: .unix(path), on: loop, timeout: .seconds(30))
            let call = try GRPCClient(stream, authority: "xds", on: loop).call(ProxyStreams.method)
            let proxy = Proxy(call, id: "\(isGateway ? "router" : "sidecar")~10.0.0.1~\(name).\(namespace)~d")
            proxy.isHolding = isHolding
            try await proxy.subscribe()
            proxy.begin(on: loop)
            return proxy
        }
    }

    /// A proxy that acknowledges, or holds back what it would say.
    ///
    /// Touched on one loop.
    private final class Proxy: @unchecked Sendable {
        private let call: GRPCStream
        private let id: String
        private var held: [DeltaDiscoveryResponse] = []
        var isHolding = false
        /// What it says instead of acknowledging.
        var refusal: String?

        init(_ call: GRPCStream, id: String) {
            self.call = call
            self.id = id
        }

        func subscribe() async throws {
            for type in [Cluster.typeURL, Listener.typeURL] {
                var request = DeltaDiscoveryRequest()
                request.typeUrl = type
                request.node = EnvoyAPI.Node()
                request.node?.id = id
                try await call.send(request.serialized())
            }
        }

        func begin(on loop: EventLoop) {
            Task(executorPreference: loop) { await self.read() }
        }

        private func read() async {
            while let bytes = try? await call.next(), let response = try? DeltaDiscoveryResponse(serialized: bytes) {
                if isHolding { held.append(response) } else { await answer(response) }
            }
        }

        func goOn() async {
            isHolding = false
            let all = held
            held = []
            for response in all { await answer(response) }
        }

        private func answer(_ response: DeltaDiscoveryResponse) async {
            var request = DeltaDiscoveryRequest()
            request.typeUrl = response.typeUrl
            request.responseNonce = response.nonce
            if let refusal {
                request.errorDetail = EnvoyAPI.Status()
                request.errorDetail?.code = 3
                request.errorDetail?.message = refusal
            }
            try? await call.send(request.serialized())
        }
    }

    private static func run(_ body: @escaping @Sendable (Scene) async throws -> Void) async throws {
        let loop = try EventLoop.start(name: "two-servers")
        let directory = "/tmp/skein-two-\(Environment.processID)-\(UInt32.random(in: 0 ... .max))"
        try File.makeDirectory(directory)
        defer { try? File.removeTree(directory) }
        try await Task(executorPreference: loop) {
            let time = Timestamp(seconds: 1_800_000_000)
            let registry = ObjectRegistry(store: try SQLiteStore(path: ":memory:"), now: { time })
            try registry.bootstrap()
            let follower = RegistrySource(registry)
            follower.isWriter = false
            let first = ProxyStreams(RegistrySource(registry), on: loop, now: { time })
            let second = ProxyStreams(follower, on: loop, now: { time })
            try first.start {}
            try second.start {}
            try await body(
                Scene(loop: loop, registry: registry, first: first, second: second, directory: directory))
        }.value
        loop.stop()
    }

    @Test(
        "apply --wait at one server waits for a proxy of the other, names it while it has not acknowledged and says what it refuses",
        .timeLimit(.minutes(5)))
    func applyWaits() async throws {
        try await Self.run { scene in
            let proxy = try await scene.connect("web", namespace: "default", isGateway: false)
            let one = try scene.write("one")
            try await scene.until("the first service is acknowledged") {
                try scene.convergence(scene.first, one)["complete"] == true
                    && scene.convergence(scene.first, one)["proxies"] == 1
            }
            proxy.isHolding = true
            let two = try scene.write("two")
            try await scene.until("the proxy is waited for") {
                try scene.convergence(scene.first, two)["waiting"] == ["default/web"]
            }
            for _ in 0..<20 {
                scene.hear()
                #expect(try scene.convergence(scene.first, two)["complete"] == false)
                await scene.loop.sleep(for: .milliseconds(1))
            }
            await proxy.goOn()
            try await scene.until("it is acknowledged") {
                try scene.convergence(scene.first, two)["complete"] == true
            }
            proxy.refusal = "not this"
            let three = try scene.write("three")
            try await scene.until("the refusal is told") {
                let state = try scene.convergence(scene.first, three)
                return state["complete"] == false
                    && (state["refused"]?.array ?? []).contains {
                        $0["pod"] == "default/web" && $0["message"]?.string?.contains("not this") == true
                    }
            }
        }
    }

    @Test(
        "I-16 a Gateway is Programmed when the gateway's proxy has acknowledged, also one that is connected to another server",
        .timeLimit(.minutes(5)))
    func programmed() async throws {
        try await Self.run { scene in
            // Without an address it would wait for one.
            _ = try scene.registry.create(
                [
                    "metadata": ["name": .string(GatewayObjects.name)],
                    "spec": ["type": "LoadBalancer", "ports": [["name": "http", "port": 80]]],
                ], .service, namespace: GatewayObjects.namespace)
            _ = try scene.registry.modify(
                .service, GatewayObjects.namespace, GatewayObjects.name, subresource: "status"
            ) { json throws(StatusError) in
                var json = json
                json["status"] = ["loadBalancer": ["ingress": [["ip": "192.0.2.1"]]]]
                return json
            }
            _ = try scene.registry.create(
                [
                    "metadata": ["name": "edge"],
                    "spec": [
                        "gatewayClassName": "skein",
                        "listeners": [["name": "http", "protocol": "HTTP", "port": 80]],
                    ],
                ], .gatewayAPIGateway, namespace: "default")
            _ = try scene.write("web")
            _ = try scene.registry.create(
                [
                    "metadata": ["name": "all"],
                    "spec": [
                        "parentRefs": [["name": "edge"]], "rules": [["backendRefs": [["name": "web", "port": 80]]]],
                    ],
                ], .httpRoute, namespace: "default")
            func condition() throws -> String {
                let gateway = try scene.registry.get(.gatewayAPIGateway, "default", "edge")
                let found = (gateway.status["conditions"]?.array ?? []).first { $0["type"] == "Programmed" }
                return "\(found?["status"]?.string ?? "none") \(found?["reason"]?.string ?? "")"
            }
            try await scene.until("it waits") { try condition() == "False Pending" }
            // It waits for the acknowledgement, not for the connection.
            let proxy = try await scene.connect(
                "gateway-1", namespace: "skein-system", isGateway: true, isHolding: true)
            try await scene.until("the first server hears of it") {
                scene.first.others.first?.gateways.map(\.isSettled) == [false]
            }
            for _ in 0..<50 {
                scene.hear()
                #expect(try condition() == "False Pending")
                await scene.loop.sleep(for: .milliseconds(2))
            }
            await proxy.goOn()
            try await scene.until("it is programmed") { try condition() == "True Programmed" }
        }
    }
}
