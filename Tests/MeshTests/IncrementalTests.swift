import KubernetesAPI
import Mesh
import Serialization
import Testing

/// Random numbers that are the same on every run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
        return mixed ^ (mixed >> 31)
    }
}

/// Random objects of a small mesh: few names, so that they meet often.
struct RandomMesh {
    var random: SeededGenerator

    init(seed: UInt64) { random = SeededGenerator(state: seed) }

    mutating func one<T>(_ values: [T]) -> T { values[Int(random.next() % UInt64(values.count))] }
    mutating func isTrue(_ percent: UInt64) -> Bool { random.next() % 100 < percent }
    mutating func namespace() -> String { one(["a", "b", "istio-system"]) }
    mutating func exportTo() -> JSON { one([[], ["*"], ["."], ["a"]]) }
    mutating func serviceHost() -> String {
        one([
            "s0", "s1", "s2.b", "s0.a.svc.cluster.local", "s1.b.svc.cluster.local", "*.a.svc.cluster.local",
            "x.example.com", "y.example.com", "*.example.com", "nowhere",
        ])
    }

    func object(
        _ api: String, _ kind: String, _ namespace: String, _ name: String, _ day: Int, labels: JSON = [:],
        annotations: JSON = [:], _ members: [String: JSON]
    ) -> KubernetesObject {
        var json: JSON = [
            "apiVersion": .string(api), "kind": .string(kind),
            "metadata": [
                "name": .string(name), "namespace": .string(namespace), "labels": labels, "annotations": annotations,
                "creationTimestamp": .string("2026-01-0\(day)T00:00:00Z"),
            ],
        ]
        for (name, value) in members { json[name] = value }
        return KubernetesObject(json: json)
    }

    /// Any object; `entering` ones are those that decide about gateways more often.
    mutating func object(entering: Bool = false) -> KubernetesObject {
        let day = one([1, 2, 3])
        if entering, isTrue(70) { return entrance(day) }
        switch random.next() % 18 {
        case 0, 1: return service(day)
        case 2, 3: return slice(day)
        case 4, 5: return pod(day)
        case 6: return node(day)
        case 7, 8: return entry(day)
        case 9: return workload(day)
        case 10, 11: return rule(day)
        case 12, 13: return policy(day)
        case 14: return gateway(day)
        case 15: return ingress(day)
        case 16: return sidecar(day)
        default: return other(day)
        }
    }

    private mutating func service(_ day: Int) -> KubernetesObject {
        var spec: JSON = [
            "clusterIP": one(["10.96.0.1", "10.96.0.2", "None", "fd00::1"]),
            "selector": one([[:], ["app": "x"], ["app": "y"]]),
            "ports": one([
                [["name": "http", "port": 80, "targetPort": 8080]], [["name": "tcp", "port": 81, "targetPort": "web"]],
                [["port": 80], ["name": "grpc", "port": 82]], [["name": "http", "port": 81]],
            ]),
            "internalTrafficPolicy": one(["Cluster", "Cluster", "Local"]),
            "publishNotReadyAddresses": one([false, true]), "sessionAffinity": one(["None", "ClientIP"]),
        ]
        if isTrue(20) { spec["trafficDistribution"] = one(["PreferSameZone", "PreferSameNode"]) }
        if isTrue(10) {
            spec["type"] = "ExternalName"
            spec["externalName"] = .string(one(["s1.a.svc.cluster.local", "x.example.com"]))
        }
        return object(
            "v1", "Service", namespace(), one(["s0", "s1", "s2"]), day,
            annotations: isTrue(20) ? ["networking.istio.io/exportTo": "."] : [:], ["spec": spec])
    }

    private mutating func pod(_ day: Int) -> KubernetesObject {
        let name = one(["p0", "p1", "p2", "p3"])
        return object(
            "v1", "Pod", namespace(), name, day,
            labels: [
                "app": one(["x", "y", "z"]), "version": one(["v1", "v2"]), "stage": one(["one", "two"]),
                "istio": name == "p2" ? one(["ingressgateway", "ingressgateway", "none"]) : "none",
            ],
            [
                "spec": [
                    "nodeName": one(["n0", "n1"]), "serviceAccountName": one(["default", "other"]),
                    "containers": [["ports": [["name": "web", "containerPort": one([8080, 9090])]]]],
                ],
                "status": [
                    "podIP": .string("10.244.0.\(name.suffix(1))"),
                    "conditions": [["type": "Ready", "status": one(["True", "False"])]],
                ],
            ])
    }

    private mutating func slice(_ day: Int) -> KubernetesObject {
        let endpoints = (0..<3).map { _ -> JSON in
            let index = one([0, 1, 2, 3])
            return [
                "addresses": [.string("10.244.0.\(index)")], "nodeName": one(["n0", "n1"]),
                "conditions": ["ready": one([true, true, false]), "terminating": one([false, true])],
                "targetRef": ["kind": "Pod", "name": .string("p\(index)")],
            ]
        }
        return object(
            "discovery.k8s.io/v1", "EndpointSlice", namespace(), one(["e0", "e1", "e2"]), day,
            labels: ["kubernetes.io/service-name": one(["s0", "s1", "s2"])],
            [
                "addressType": one(["IPv4", "IPv4", "FQDN"]), "endpoints": .array(endpoints),
                "ports": one([
                    [["name": "http", "port": 8080]], [["name": "", "port": 81]], [["name": "tcp", "port": 9]],
                ]),
            ])
    }

    private mutating func node(_ day: Int) -> KubernetesObject {
        object(
            "v1", "Node", "", one(["n0", "n1"]), day,
            labels: [
                "topology.kubernetes.io/region": one(["eu", "us"]), "topology.kubernetes.io/zone": one(["1", "2"]),
            ], [:])
    }

    private mutating func entry(_ day: Int) -> KubernetesObject {
        var spec: JSON = [
            "hosts": one([
                ["x.example.com"], ["y.example.com", "x.example.com"], ["*.example.com"], ["s0.a.svc.cluster.local"],
                ["z.example.com"],
            ]),
            "ports": one([
                [["number": 80, "name": "http", "protocol": "HTTP"]],
                [["number": 81, "name": "tcp", "protocol": "TCP", "targetPort": 8081]],
            ]),
            "resolution": one(["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]),
            "location": one(["MESH_EXTERNAL", "MESH_INTERNAL"]), "exportTo": exportTo(),
            "subjectAltNames": one([[], ["spiffe://x"]]),
        ]
        if isTrue(30) { spec["addresses"] = one([["192.0.2.1"], ["192.0.2.0/24"]]) }
        if isTrue(30) {
            spec["workloadSelector"] = ["labels": one([["app": "x"], ["app": "y", "version": "v1"]])]
        } else if isTrue(50) {
            spec["endpoints"] = one([[["address": "192.0.2.7", "weight": 2]], [["address": "x.example.com"]]])
        }
        return object(
            "networking.istio.io/v1", "ServiceEntry", namespace(), one(["x0", "x1", "x2"]), day, ["spec": spec])
    }

    private mutating func workload(_ day: Int) -> KubernetesObject {
        // Some have registered themselves, and some of these have the name of a pod.
        let group = "istio.io/autoRegistrationGroup"
        return object(
            "networking.istio.io/v1", "WorkloadEntry", namespace(), one(["w0", "w1", "p0", "p3"]), day,
            annotations: one([[:], [group: "g"], [group: "g", MeshModel.healthAnnotation: "true"]]),
            [
                "status": one([[:], ["conditions": [["type": "Healthy", "status": one(["True", "False"])]]]]),
                "spec": [
                    "address": one(["192.0.2.8", "192.0.2.9"]), "labels": one([["app": "x"], ["app": "y"]]),
                    "locality": one(["", "eu/1"]), "ports": one([[:], ["http": 88]]),
                ],
            ])
    }

    private mutating func rule(_ day: Int) -> KubernetesObject {
        var match: JSON = ["uri": ["prefix": one(["/", "/x"])]]
        if isTrue(20) { match["sourceLabels"] = one([["app": "x"], ["stage": "one"]]) }
        if isTrue(20) { match["sourceNamespace"] = "a" }
        let destination: JSON = ["host": .string(serviceHost()), "subset": one(["", "v1"])]
        var spec: JSON = [
            "hosts": [.string(serviceHost())], "exportTo": exportTo(),
            "http": [["match": [match], "route": [["destination": destination]]]],
        ]
        if isTrue(30) { spec["tcp"] = [["match": [["port": 81]], "route": [["destination": destination]]]] }
        if isTrue(30) { spec["gateways"] = one([["g0"], ["mesh", "g0"], ["a/g0"]]) }
        return object(
            "networking.istio.io/v1", "VirtualService", namespace(), one(["r0", "r1", "r2"]), day, ["spec": spec])
    }

    private mutating func policy(_ day: Int) -> KubernetesObject {
        let policies: [JSON] = [
            ["loadBalancer": ["simple": "RANDOM"]], ["outlierDetection": [:]],
            ["loadBalancer": ["consistentHash": ["httpHeaderName": "x"]]], ["tls": ["mode": "SIMPLE"]],
            ["tls": ["mode": "MUTUAL", "credentialName": one(["t0", "t1"])]],
            ["outlierDetection": [:], "loadBalancer": ["localityLbSetting": ["failoverPriority": ["stage"]]]],
            ["loadBalancer": ["localityLbSetting": ["distribute": [["from": "eu/*", "to": ["us/*": 100]]]]]],
            ["portLevelSettings": [["port": ["number": 80], "connectionPool": ["tcp": ["maxConnections": 3]]]]],
        ]
        var spec: JSON = [
            "host": .string(serviceHost()), "exportTo": exportTo(), "trafficPolicy": one(policies),
            "subsets": one([[], [["name": "v1", "labels": ["version": "v1"]]]]),
        ]
        if isTrue(20) { spec["workloadSelector"] = ["matchLabels": ["app": one(["x", "y"])]] }
        return object(
            "networking.istio.io/v1", "DestinationRule", namespace(), one(["d0", "d1", "d2"]), day, ["spec": spec])
    }

    private mutating func gateway(_ day: Int) -> KubernetesObject {
        object(
            "networking.istio.io/v1", "Gateway", namespace(), one(["g0", "g1"]), day,
            [
                "spec": [
                    "selector": one([["app": "x"], ["app": "z"]]),
                    "servers": [
                        [
                            "port": one([
                                ["number": 80, "name": "http", "protocol": "HTTP"],
                                ["number": 81, "name": "tcp", "protocol": "TCP"],
                            ]), "hosts": one([["*"], ["*.example.com"]]),
                        ]
                    ],
                ]
            ])
    }

    private mutating func ingress(_ day: Int) -> KubernetesObject {
        object(
            "networking.k8s.io/v1", "Ingress", namespace(), one(["i0", "i1"]), day,
            [
                "spec": [
                    "rules": [
                        [
                            "host": "x.example.com",
                            "http": [
                                "paths": [
                                    [
                                        "path": "/", "pathType": "Prefix",
                                        "backend": ["service": ["name": one(["s0", "s1"]), "port": ["number": 80]]],
                                    ]
                                ]
                            ],
                        ]
                    ]
                ]
            ])
    }

    private mutating func sidecar(_ day: Int) -> KubernetesObject {
        var spec: JSON = [
            "egress": one([
                [["hosts": ["./*"]]], [["hosts": ["a/*", "*/x.example.com"]]], [["hosts": ["~/*"]]],
                [["port": ["number": 81, "protocol": "TCP", "name": "t"], "hosts": ["*/*"]], ["hosts": ["./*"]]],
            ])
        ]
        if isTrue(40) { spec["workloadSelector"] = ["labels": one([["app": "x"], ["app": "y"]])] }
        if isTrue(30) { spec["outboundTrafficPolicy"] = ["mode": one(["REGISTRY_ONLY", "ALLOW_ANY"])] }
        if isTrue(30) {
            spec["ingress"] = [
                ["port": ["number": 9080, "protocol": "HTTP", "name": "h"], "defaultEndpoint": "127.0.0.1:8080"]
            ]
        }
        return object("networking.istio.io/v1", "Sidecar", namespace(), one(["c0", "c1"]), day, ["spec": spec])
    }

    private mutating func other(_ day: Int) -> KubernetesObject {
        switch random.next() % 3 {
        case 0:
            return object(
                "v1", "ConfigMap", "istio-system", "istio", day,
                [
                    "data": [
                        "mesh": one([
                            "accessLogFile: /dev/stdout", "outboundTrafficPolicy: {mode: REGISTRY_ONLY}",
                            "connectTimeout: 3s",
                        ])
                    ]
                ])
        case 1:
            return object(
                "security.istio.io/v1", "PeerAuthentication", namespace(), "default", day,
                ["spec": ["mtls": ["mode": one(["STRICT", "DISABLE", "PERMISSIVE"])]]])
        default:
            return object(
                "v1", "Namespace", "", one(["a", "b"]), day,
                labels: one([[:], ["istio-injection": "disabled"]]), [:])
        }
    }
}

@Suite("Edits")
struct IncrementalTests {
    /// Sidecars and gateways in all namespaces.
    private static let proxies = ["a/p0", "a/p1", "b/p0", "b/p2", "istio-system/p3"].flatMap {
        name -> [ProxyIdentity] in
        let parts = name.split(separator: "/").map(String.init)
        let pod = NamespacedName(namespace: parts[0], name: parts[1])
        return name == "b/p2"
            ? [ProxyIdentity(pod: pod, role: .gateway)]
            : [ProxyIdentity(pod: pod, role: .sidecar)]
    }

    /// What differs between two snapshots, by type and name.
    private static func differences(_ left: ProxySnapshot, _ right: ProxySnapshot) -> [String] {
        func compare(_ type: String, _ a: [String: MeshResource], _ b: [String: MeshResource]) -> [String] {
            Set(a.keys).union(b.keys).filter { a[$0] != b[$0] }.sorted().map { "\(type) \($0)" }
        }
        let (a, b) = (left.resources, right.resources)
        return compare("cluster", a.clusters, b.clusters) + compare("endpoints", a.endpoints, b.endpoints)
            + compare("listener", a.listeners, b.listeners) + compare("routes", a.routes, b.routes)
            + compare("secret", a.secrets, b.secrets)
    }

    @Test(
        "after any sequence of edits the result is that of a translator that begins with the objects",
        arguments: 0..<400)
    func sequence(seed: Int) {
        var mesh = RandomMesh(seed: UInt64(seed))
        var objects = MeshObjects()
        var present: [KubernetesObject] = []
        var translator = MeshTranslator(MeshModel(objects))
        for step in 0..<30 {
            let isRemoval = !present.isEmpty && mesh.random.next() % 4 == 0
            let edited: KubernetesObject
            if isRemoval {
                edited = present.remove(at: Int(mesh.random.next() % UInt64(present.count)))
                objects.remove(edited)
                translator.remove(edited)
            } else {
                edited = mesh.object(entering: seed % 2 == 1)
                objects.set(edited)
                translator.set(edited)
                present.removeAll {
                    $0.kind == edited.kind && $0.name == edited.name && $0.namespace == edited.namespace
                }
                present.append(edited)
            }
            // What is about to be written is tried, and leaves no trace.
            if mesh.random.next() % 8 == 0 {
                let tried = mesh.object(entering: seed % 2 == 1)
                let found = translator.trial(with: tried) { $0.analyze(tried) }
                var with = objects
                with.set(tried)
                #expect(found == MeshModel(with).analyze(tried), "seed \(seed), step \(step)")
            }
            // Some edits come together, and some proxies ask seldom.
            if step < 20 || step < 29 && mesh.random.next() % 3 == 0 { continue }
            let asking = Self.proxies.filter { _ in mesh.random.next() % 3 != 0 }
            let snapshots = asking.map { translator.snapshot(for: $0) }
            guard step == 29 else { continue }
            var fresh = MeshTranslator(MeshModel(objects))
            for (proxy, snapshot) in zip(asking, snapshots) {
                let differences = Self.differences(snapshot, fresh.snapshot(for: proxy))
                #expect(
                    differences.isEmpty,
                    "seed \(seed), step \(step), \(proxy.pod): \(differences.prefix(3)) after \(isRemoval ? "removal" : "write") of \(edited.kind) \(edited.namespace)/\(edited.name)"
                )
                if !differences.isEmpty { return }
            }
        }
    }

    @Test("to analyse one object costs the same in a mesh of ten as in one of a hundred")
    func analysisGrowth() throws {
        func work(_ count: Int) throws -> Int {
            var world = try World()
            for number in 0..<count {
                let more = try World(
                    World.service("s\(number)", ip: number + 1),
                    """
                    apiVersion: networking.istio.io/v1
                    kind: VirtualService
                    metadata: { name: s\(number), namespace: default }
                    spec: { hosts: [s\(number)], http: [{ route: [{ destination: { host: s\(number) } }] }] }
                    """,
                    """
                    apiVersion: networking.istio.io/v1
                    kind: DestinationRule
                    metadata: { name: s\(number), namespace: default }
                    spec: { host: s\(number), subsets: [{ name: v1, labels: { version: v1 } }] }
                    """)
                for kind in [MeshObjects.Kind.service, .virtualService, .destinationRule] {
                    more.objects.inOrder(kind).forEach { world.objects.set($0) }
                }
            }
            let model = MeshModel(world.objects)
            var work = 0
            for kind in [MeshObjects.Kind.service, .virtualService, .destinationRule] {
                _ = model.analyze(try #require(model.objects.inOrder(kind).first), work: &work)
            }
            return work
        }
        #expect(try work(10) == work(100))
    }

    @Test("what an edit does not concern stays the same object; an endpoint's edit makes the endpoints anew only")
    func identity() throws {
        var world = try World(
            World.service("web", ip: 1), World.service("other", ip: 2), World.pod("a", "web", ip: 5),
            World.pod("b", "web", ip: 6), World.pod("d", "other", ip: 8))
        var translator = MeshTranslator(world.model)
        let a = ProxyIdentity(pod: NamespacedName(namespace: "default", name: "a"), role: .sidecar)
        let b = ProxyIdentity(pod: NamespacedName(namespace: "default", name: "b"), role: .sidecar)
        let d = ProxyIdentity(pod: NamespacedName(namespace: "default", name: "d"), role: .sidecar)
        let first = translator.snapshot(for: a)
        // Equal callers share everything but their inbound side, which copies of one workload share, too.
        let second = translator.snapshot(for: b)
        #expect(zip(first.layers, second.layers).map { $0 === $1 } == [true, true, true, true, true])
        let third = translator.snapshot(for: d)
        #expect(zip(first.layers, third.layers).map { $0 === $1 } == [true, true, true, true, false])
        for document in try YAML.parse(World.pod("c", "web", ip: 7), file: "test") {
            translator.set(KubernetesObject(json: document.json))
            world.objects.set(KubernetesObject(json: document.json))
        }
        let after = translator.snapshot(for: a)
        // Its address is new, too.
        #expect(zip(first.layers, after.layers).map { $0 === $1 } == [true, false, true, false, true])
        #expect(after.layers[1].endpoints.count == 2)
        #expect(after.layers[1].endpoints.filter { first.layers[1].endpoints[$0.key] != $0.value }.count == 1)
        #expect(!translator.set(try #require(world.objects.inOrder(.service).first)))
        #expect(!translator.isStale)
    }
}
