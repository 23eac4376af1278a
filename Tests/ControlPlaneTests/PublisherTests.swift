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
        publisher.set(slice(["10.244.0.5": true]), now: start)
        let output = try flush(&publisher)
        #expect(output.map(\.stream) == [stream])
        #expect(output.first?.responses.map(\.typeUrl) == [ClusterLoadAssignment.typeURL])
        #expect(output.first?.responses.first?.resources.map(\.name) == [web])
    }

    @Test("what a change would send is forecast to the byte, and nothing is sent or different for that")
    func forecast() throws {
        var publisher = try publisher()
        let stream = try connect(&publisher)
        let other = publisher.open(
            ProxyIdentity(pod: NamespacedName(namespace: "default", name: "idle"), role: .sidecar))
        let change = slice(["10.244.0.5": true])
        #expect(publisher.forecast([slice(["10.244.0.5": true, "10.244.0.6": true])]).isEmpty)
        let forecast = try #require(publisher.forecast([change]).first)
        #expect(publisher.forecast([change]).map(\.pod) == [pod], "\(other) wants no endpoints")
        #expect(forecast.isSettled && Array(forecast.types.keys) == [ClusterLoadAssignment.typeURL])
        #expect(publisher.flush().isEmpty)
        publisher.set(change, now: start)
        let sent = publisher.flush()
        #expect(sent.map(\.stream) == [stream])
        let messages = sent.first?.responses ?? []
        #expect(forecast.sum.responses == messages.count && forecast.sum.resources == 1)
        #expect(forecast.sum.responseBytes == messages.reduce(0) { $0 + $1.bytes.count })
        #expect(publisher.forecast([change]).isEmpty)
    }

    @Test("ATK-44 a pod is drained when every proxy that uses it has acknowledged, not before")
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

    @Test("ATK-44 beside other servers, whose proxies are not known here, a pod waits the whole time")
    func othersDraining() throws {
        var publisher = try publisher()
        publisher.hasOtherServers = true
        publisher.set(terminating(), now: start)
        publisher.set(slice(["10.244.0.5": false, "10.244.0.6": true]), now: start)
        _ = publisher.flush()
        #expect(publisher.drained(now: start + .milliseconds(1_999)).isEmpty)
        #expect(publisher.drained(now: start + .seconds(2)).map(\.laggards) == [[]])
    }

    @Test("ATK-44 a laggard holds a pod up for half its grace period at most; one that is gone holds up nobody")
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

    @Test("H-8 what cannot mean anything is refused with its field and value, what is odd is warned of")
    func admission() throws {
        var publisher = try publisher()
        let rule = try #require(
            try YAML.parse(
                """
                apiVersion: networking.istio.io/v1
                kind: VirtualService
                metadata: {name: r, namespace: default}
                spec:
                  hosts: [web]
                  http:
                  - {match: [{port: 0}], route: [{destination: {host: web}, weight: 0}, {destination: {host: none}, weight: 0}]}
                """, file: "test"
            ).first?.json)
        let problems = publisher.problems(of: KubernetesObject(json: rule))
        #expect(problems.map(\.path) == ["spec.http[0].route", "spec.http[0].match[0].port"])
        #expect(problems.last?.description == "spec.http[0].match[0].port: Invalid value: 0: 0 is no port [SKN0333]")
        #expect(publisher.warnings(for: KubernetesObject(json: rule)).allSatisfy { $0.contains("(H-10)") })
    }

    @Test("how far the proxies are with a revision, who is missing, and whose object is refused")
    func convergence() throws {
        var publisher = try publisher()
        _ = publisher.flush(revision: 7)
        let stream = try connect(&publisher)
        #expect(publisher.convergence(revision: 7).isComplete)
        #expect(publisher.convergence(revision: 8).isTranslated == false)
        publisher.set(slice(["10.244.0.6": true]), now: start)
        let bytes = try #require(publisher.flush(revision: 9).first?.responses.first?.bytes)
        let response = try DeltaDiscoveryResponse(serialized: bytes)
        #expect(publisher.convergence(revision: 9).waiting == [pod])
        #expect(publisher.states.first?.acknowledgedRevision == 7)
        #expect(publisher.states.first?.types[ClusterLoadAssignment.typeURL] == "STALE")
        _ = try receive(&publisher, request(ClusterLoadAssignment.typeURL, nonce: response.nonce), stream)
        #expect(publisher.convergence(revision: 9).isComplete)
        // A revision that concerns the mesh in nothing needs nobody's word.
        _ = publisher.flush(revision: 12)
        #expect(publisher.convergence(revision: 12).isComplete)

        publisher.set(
            KubernetesObject(json: [
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                "metadata": ["name": "web", "namespace": "default"],
                "spec": ["host": "web", "trafficPolicy": ["connectionPool": ["tcp": ["maxConnections": 7]]]],
            ]), now: start)
        let clusters = try DeltaDiscoveryResponse(
            serialized: try #require(publisher.flush(revision: 13).first?.responses.first?.bytes))
        var refusal = request(Cluster.typeURL, nonce: clusters.nonce)
        var status = Status()
        status.message = "7 is not my number"
        refusal.errorDetail = status
        _ = try receive(&publisher, refusal, stream)
        let state = publisher.convergence(revision: 13)
        #expect(state.waiting.isEmpty && !state.isComplete)
        let refused = try #require(state.refusals.first)
        #expect(refused.resource == web && refused.lastGood != nil && refused.message == "7 is not my number")
        #expect(!refused.sources.isEmpty)
        let other = ("VirtualService", NamespacedName(namespace: "default", name: "other"))
        #expect(publisher.convergence(revision: 13, of: other).isComplete, "another object is not to blame")
    }

    @Test("X-6 endpoints are pushed at once, other changes are collected for 50 ms at most")
    func batching() throws {
        var publisher = try publisher()
        _ = publisher.flush()
        func rule(_ number: Int) -> KubernetesObject {
            KubernetesObject(json: [
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                "metadata": ["name": "web", "namespace": "default"],
                "spec": [
                    "hosts": ["web"],
                    "http": [["timeout": .string("\(number)s"), "route": [["destination": ["host": "web"]]]]],
                ],
            ])
        }
        #expect(publisher.flushDelay(now: start) == nil)
        var now = start
        publisher.set(rule(1), now: now)
        #expect(publisher.flushDelay(now: now) == .milliseconds(10))
        for number in 2...9 {
            now = now + .milliseconds(6)
            publisher.set(rule(number), now: now)
        }
        #expect(publisher.flushDelay(now: now) == .milliseconds(2), "50 ms after the first at the latest")
        publisher.set(slice(["10.244.0.6": true]), now: now)
        #expect(publisher.flushDelay(now: now) == .zero, "endpoints do not wait, and take the rest along")
        _ = publisher.flush()
        #expect(publisher.flushDelay(now: now) == nil)
    }

    @Test("the time to wait is 5 s, at most half the grace period", arguments: [(30, 5_000), (4, 2_000), (0, 0)])
    func patience(grace: Int, milliseconds: Int) {
        #expect(DrainTracker.patience(gracePeriodSeconds: grace) == .milliseconds(milliseconds))
    }
}
