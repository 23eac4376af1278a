import ControlPlane
import EnvoyAPI
import IO
import KubernetesAPI
import Mesh
import Serialization
import Testing
import XDS

/// Few numbers, the same in each run.
private struct Dice: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        var mixed = state
        mixed ^= mixed >> 33
        mixed = mixed &* 0xff51_afd7_ed55_8ccd
        return mixed ^ (mixed >> 33)
    }
}

@Suite("Many proxies")
struct ManyProxiesTests {
    private static let services = 12
    private let now = MonotonicTime(nanoseconds: 1_000_000_000)

    private static func service(_ number: Int) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Service",
            "metadata": ["name": .string("s\(number)"), "namespace": "default"],
            "spec": [
                "clusterIP": .string("10.96.1.\(number + 1)"),
                "ports": [["name": number % 3 == 2 ? "tcp" : "http", "port": .integer(number % 3 == 2 ? 90 : 80)]],
            ],
        ])
    }

    private static func slice(_ number: Int, _ version: Int) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": [
                "name": .string("s\(number)"), "namespace": "default",
                "labels": ["kubernetes.io/service-name": .string("s\(number)")],
            ],
            "addressType": "IPv4",
            "ports": [["name": number % 3 == 2 ? "tcp" : "http", "port": 8080]],
            "endpoints": [
                ["addresses": [.string("10.244.\(number).1")], "conditions": ["ready": true]],
                ["addresses": [.string("10.244.\(number).\(version % 200 + 2)")], "conditions": ["ready": true]],
            ],
        ])
    }

    private static func rule(_ number: Int, _ version: Int) -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": ["name": .string("s\(number)"), "namespace": "default"],
            "spec": [
                "hosts": [.string("s\(number)")],
                "http": [
                    [
                        "timeout": .string("\(version + 1)s"),
                        "route": [["destination": ["host": .string("s\(number)")]]],
                    ]
                ],
            ],
        ])
    }

    private static func connect(
        _ publisher: inout SnapshotPublisher, _ number: Int
    ) throws -> Subscriber {
        var dice = Dice(state: UInt64(number) + 77)
        let isOnDemand = number % 3 == 0
        let subscriber = Subscriber(
            &publisher, pod: "p\(number)", features: isOnDemand ? ["skein.on_demand"] : [],
            agent: number % 3 == 1 ? "envoy" : "skein-proxy")
        var used: [Int] = []
        for service in 0..<services where number % 5 == 0 || Int.random(in: 0..<3, using: &dice) == 0 {
            used.append(service)
        }
        let clusters = used.map {
            "outbound|\($0 % 3 == 2 ? 90 : 80)||s\($0).default.svc.cluster.local"
        }
        try subscriber.ask(&publisher, Cluster.typeURL, isOnDemand ? clusters + ["nothing"] : [])
        try subscriber.ask(&publisher, ClusterLoadAssignment.typeURL, clusters + ["nothing"])
        try subscriber.ask(&publisher, Listener.typeURL, [])
        try subscriber.ask(&publisher, RouteConfiguration.typeURL, ["80"])
        if isOnDemand {
            try subscriber.ask(
                &publisher, VirtualHost.typeURL, used.map { "80/s\($0)" } + ["80/elsewhere.example"])
        }
        return subscriber
    }

    @Test(
        "ATK-37 after any sequence of edits and answers each proxy has what a control plane that begins anew would give it",
        arguments: [1, 2, 3])
    func equality(seed: UInt64) throws {
        var dice = Dice(state: seed)
        var publisher = SnapshotPublisher()
        var objects: [String: KubernetesObject] = [:]
        func set(_ object: KubernetesObject) {
            objects["\(object.kind)/\(object.name)"] = object
            publisher.set(object, now: now)
        }
        func remove(_ object: KubernetesObject) {
            objects["\(object.kind)/\(object.name)"] = nil
            publisher.remove(object, now: now)
        }
        for number in 0..<Self.services - 2 {
            set(Self.service(number))
            set(Self.slice(number, 0))
        }
        _ = publisher.flush()
        var subscribers: [Subscriber] = []
        for number in 0..<9 { subscribers.append(try Self.connect(&publisher, number)) }
        for step in 0..<40 {
            let number = Int.random(in: 0..<Self.services, using: &dice)
            switch Int.random(in: 0..<8, using: &dice) {
            case 0...2: set(Self.slice(number, step))
            case 3, 4: set(Self.rule(number, step))
            case 5: remove(Self.rule(number, step))
            case 6: set(Self.service(number))
            default: remove(Self.service(number))
            }
            if step == 20 { subscribers.append(try Self.connect(&publisher, 9)) }
            for (stream, messages) in publisher.flush(revision: Int64(step)) {
                subscribers.first { $0.stream == stream }?.take(messages)
            }
            // Some are slow.
            for subscriber in subscribers where Int.random(in: 0..<3, using: &dice) > 0 {
                try subscriber.answer(&publisher)
            }
        }
        for subscriber in subscribers { try subscriber.answer(&publisher) }
        #expect(publisher.convergence(revision: 39).isComplete)

        var fresh = SnapshotPublisher()
        for object in objects.values { fresh.set(object, now: now) }
        _ = fresh.flush()
        for (number, subscriber) in subscribers.enumerated() {
            let other = try Self.connect(&fresh, number)
            for type in [
                Cluster.typeURL, ClusterLoadAssignment.typeURL, Listener.typeURL, RouteConfiguration.typeURL,
                VirtualHost.typeURL,
            ] {
                #expect(subscriber.names(type) == other.names(type), "proxy \(number), \(type)")
                for name in other.names(type) {
                    let (left, right) = (subscriber.resources[type]?[name], other.resources[type]?[name])
                    #expect(left?.version == right?.version && left?.resource == right?.resource, "\(number) \(name)")
                }
            }
        }
    }

    @Test("who wants nothing of a change hears nothing of it, counts as having it, and has it when asked for later")
    func unconcerned() throws {
        var publisher = SnapshotPublisher()
        for number in 0..<4 {
            publisher.set(Self.service(number), now: now)
            publisher.set(Self.slice(number, 0), now: now)
        }
        _ = publisher.flush(revision: 1)
        func cluster(_ number: Int) -> String {
            "outbound|\(number % 3 == 2 ? 90 : 80)||s\(number).default.svc.cluster.local"
        }
        var subscribers: [Subscriber] = []
        for number in 0..<3 {
            let subscriber = Subscriber(&publisher, pod: "p\(number)", features: ["skein.on_demand"])
            try subscriber.ask(&publisher, ClusterLoadAssignment.typeURL, [cluster(number)])
            subscribers.append(subscriber)
        }
        func change(_ number: Int, _ version: Int, revision: Int64) throws -> [Int] {
            publisher.set(Self.slice(number, version), now: now)
            let output = publisher.flush(revision: revision)
            #expect(publisher.convergence(revision: revision).waiting.count == output.count)
            for (stream, messages) in output { subscribers.first { $0.stream == stream }?.take(messages) }
            for subscriber in subscribers { try subscriber.answer(&publisher) }
            #expect(publisher.convergence(revision: revision).isComplete)
            return output.map(\.stream)
        }
        // The first change has them find out that they are of a kind.
        for revision in 2..<8 {
            let number = revision % 4
            let told = try change(number, revision, revision: Int64(revision))
            #expect(told == subscribers.indices.filter { $0 == number }.map { subscribers[$0].stream })
        }
        // Nobody had asked for the fourth; a new stream comes between a translation and its flush.
        publisher.set(Self.slice(3, 77), now: now)
        let late = Subscriber(&publisher, pod: "p3", features: ["skein.on_demand"])
        try late.ask(&publisher, ClusterLoadAssignment.typeURL, [cluster(3), cluster(0)])
        subscribers.append(late)
        try subscribers[0].ask(&publisher, ClusterLoadAssignment.typeURL, [cluster(3), cluster(1)])
        #expect(try change(0, 100, revision: 9).sorted() == [subscribers[0].stream, late.stream].sorted())
        #expect(try change(3, 101, revision: 10).sorted() == [subscribers[0].stream, late.stream].sorted())
        #expect(try change(1, 102, revision: 11) == [subscribers[0].stream, subscribers[1].stream])
        let type = ClusterLoadAssignment.typeURL
        for name in [cluster(0), cluster(3)] {
            let version = subscribers[0].resources[type]?[name]?.version
            #expect(version != nil && version == late.resources[type]?[name]?.version)
        }
        // One that goes takes nobody with him.
        publisher.close(subscribers[1].stream)
        #expect(try change(1, 103, revision: 12) == [subscribers[0].stream])
    }
}
