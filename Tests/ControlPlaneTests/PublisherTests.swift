import ControlPlane
import EnvoyAPI
import IO
import KubernetesAPI
import Mesh
import Serialization
import Testing
import XDS

@Suite("Snapshots to proxies")
struct PublisherTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000)
    private let pod = NamespacedName(namespace: "default", name: "caller")
    private let web = "outbound|80||web.default.svc.cluster.local"

    private func publisher() throws -> SnapshotPublisher {
        var publisher = SnapshotPublisher()
        for document in try YAML.parse(
            """
            apiVersion: v1
            kind: Service
            metadata: {name: web, namespace: default}
            spec: {clusterIP: 10.96.0.1, selector: {app: web}, ports: [{name: http, port: 80}]}
            ---
            apiVersion: v1
            kind: Pod
            metadata: {name: web-1, namespace: default, uid: u1, labels: {app: web}}
            status: {podIP: 10.244.0.5}
            """, file: "test")
        {
            publisher.set(KubernetesObject(json: document.json), now: start)
        }
        publisher.set(slice(["10.244.0.5": true, "10.244.0.6": true]), now: start)
        return publisher
    }

    private func slice(_ endpoints: [String: Bool]) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": [
                "name": "s", "namespace": "default", "labels": ["kubernetes.io/service-name": "web"],
            ],
            "addressType": "IPv4", "ports": [["name": "http", "port": 80]],
            "endpoints": .array(
                endpoints.sorted { $0.key < $1.key }.map { address, isReady in
                    [
                        "addresses": [.string(address)], "conditions": ["ready": .bool(isReady)],
                        "targetRef": ["kind": "Pod", "name": address == "10.244.0.5" ? "web-1" : "web-2"],
                    ]
                }),
        ])
    }

    private func terminating() -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": [
                "name": "web-1", "namespace": "default", "uid": "u1", "labels": ["app": "web"],
                "deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 4,
            ],
            "status": ["podIP": "10.244.0.5"],
        ])
    }

    private func request(_ type: String, _ names: [String] = [], nonce: String = "") -> DeltaDiscoveryRequest {
        var request = DeltaDiscoveryRequest()
        request.typeUrl = type
        request.resourceNamesSubscribe = names
        request.responseNonce = nonce
        return request
    }

    private func receive(
        _ publisher: inout SnapshotPublisher, _ request: DeltaDiscoveryRequest, _ stream: Int
    ) throws -> [DeltaDiscoveryResponse] {
        try publisher.received(.delta(request), on: stream).map { try DeltaDiscoveryResponse(serialized: $0.bytes) }
    }

    private func flush(_ publisher: inout SnapshotPublisher) throws -> [(
        stream: Int, responses: [DeltaDiscoveryResponse]
    )] {
        try publisher.flush().map {
            ($0.stream, try $0.responses.map { try DeltaDiscoveryResponse(serialized: $0.bytes) })
        }
    }

    /// A proxy that has what it asked for: clusters, and the endpoints of `web`.
    private func connect(_ publisher: inout SnapshotPublisher) throws -> Int {
        let stream = publisher.open(ProxyIdentity(pod: pod, role: .sidecar))
        let clusters = try #require(try receive(&publisher, request(Cluster.typeURL), stream).first)
        #expect(clusters.resources.map(\.name).contains(web))
        _ = try receive(&publisher, request(Cluster.typeURL, nonce: clusters.nonce), stream)
        let endpoints = try #require(
            try receive(&publisher, request(ClusterLoadAssignment.typeURL, [web]), stream).first)
        _ = try receive(&publisher, request(ClusterLoadAssignment.typeURL, nonce: endpoints.nonce), stream)
        return stream
    }

    @Test("only what changed is sent, and a pod's status changes nothing")
    func deltas() throws {
        var publisher = try publisher()
        let stream = try connect(&publisher)
        #expect(publisher.flush().isEmpty)
        publisher.set(slice(["10.244.0.6": true]), now: start)
        let output = try flush(&publisher)
        #expect(output.map(\.stream) == [stream])
        #expect(output.first?.responses.map(\.typeUrl) == [ClusterLoadAssignment.typeURL])
        #expect(output.first?.responses.first?.resources.map(\.name) == [web])
    }

    @Test("a pod is drained when every proxy that uses it has acknowledged, not before")
    func draining() throws {
        var publisher = try publisher()
        let stream = try connect(&publisher)
        publisher.set(terminating(), now: start)
        _ = publisher.flush()
        #expect(publisher.drained(now: start).isEmpty, "it still takes traffic")
        publisher.set(slice(["10.244.0.5": false, "10.244.0.6": true]), now: start)
        let response = try #require(try flush(&publisher).first?.responses.first)
        #expect(publisher.drained(now: start).isEmpty, "not acknowledged yet")
        _ = try receive(&publisher, request(ClusterLoadAssignment.typeURL, nonce: response.nonce), stream)
        #expect(publisher.drained(now: start).map(\.pod.name) == ["web-1"])
        #expect(publisher.drained(now: start).isEmpty, "told once")
    }

    @Test("a laggard holds a pod up for half its grace period at most; one that is gone holds up nobody")
    func laggards() throws {
        var publisher = try publisher()
        let first = try connect(&publisher)
        let second = try connect(&publisher)
        publisher.set(terminating(), now: start)
        publisher.set(slice(["10.244.0.5": false, "10.244.0.6": true]), now: start)
        #expect(publisher.flush().count == 2)
        publisher.close(first)
        #expect(publisher.drained(now: start + .milliseconds(1_999)).isEmpty)
        let outcome = publisher.drained(now: start + .seconds(2))
        #expect(outcome.map(\.laggards) == [[second]])
    }

    @Test("a rejection is kept with the pod and the proxy's words")
    func rejection() throws {
        var publisher = try publisher()
        let stream = publisher.open(ProxyIdentity(pod: pod, role: .sidecar))
        let clusters = try #require(try receive(&publisher, request(Cluster.typeURL), stream).first)
        var refusal = request(Cluster.typeURL, nonce: clusters.nonce)
        var status = Status()
        status.code = 13
        status.message = "outbound|80||web.default.svc.cluster.local: no"
        refusal.errorDetail = status
        _ = try receive(&publisher, refusal, stream)
        #expect(publisher.takeRejections().map(\.message) == ["outbound|80||web.default.svc.cluster.local: no"])
        #expect(
            publisher.proxies.first?.rejected == [Cluster.typeURL: "outbound|80||web.default.svc.cluster.local: no"])
    }

    @Test("the time to wait is 5 s, at most half the grace period", arguments: [(30, 5_000), (4, 2_000), (0, 0)])
    func patience(grace: Int, milliseconds: Int) {
        #expect(DrainTracker.patience(gracePeriodSeconds: grace) == .milliseconds(milliseconds))
    }
}
