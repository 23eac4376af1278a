import KubernetesAPI
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("What the dashboard tells of changes, endpoints and access logs")
struct DashboardHistoryTests {
    private static func service(_ version: Int, weight: Int, note: String = "a") -> KubernetesObject {
        KubernetesObject(json: [
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
            "metadata": [
                "name": "reviews", "namespace": "shop", "resourceVersion": .string("\(version)"),
                "generation": .integer(Int64(version)), "annotations": ["note": .string(note)],
            ],
            "spec": [
                "http": [["route": [["weight": .integer(Int64(weight))], ["weight": .integer(Int64(100 - weight))]]]]
            ],
            "status": ["seen": .integer(Int64(version))],
        ])
    }

    private static let key = ObjectHistory.Key(
        kind: "VirtualService", name: NamespacedName(namespace: "shop", name: "reviews"))

    @Test(
        "a revision is what somebody wrote: a status is none; two are compared field by field, and a deletion is told")
    func revisions() {
        var history = ObjectHistory()
        history.take(.replaced([Self.service(1, weight: 90)]), "VirtualService", at: 1_000, isFirst: true)
        history.take(.set(Self.service(2, weight: 90)), "VirtualService", at: 2_000)
        history.take(.set(Self.service(3, weight: 80)), "VirtualService", at: 3_000)
        let found = history.json(Self.key, from: nil, to: nil)
        #expect(found["revisions"]?.array?.map { $0["revision"]?.int } == [1, 3])
        #expect(found["revisions"]?.array?.map { $0["what"]?.string } == ["found", "written"])
        #expect(
            found["differences"]?.array == [
                ["field": "spec.http[0].route[0].weight", "old": "90", "new": "80"],
                ["field": "spec.http[0].route[1].weight", "old": "10", "new": "20"],
            ])
        history.take(.deleted(Self.service(4, weight: 80)), "VirtualService", at: 4_000)
        let gone = history.json(Self.key, from: 1, to: 4)
        #expect(gone["revisions"]?[2]?["what"]?.string == "deleted" && gone["from"]?.int == 1)
        #expect(gone["differences"]?.array?.allSatisfy { $0["new"]?.isNull == true } == true)
        #expect(history.latest(10)["changes"]?.array?.map { $0["revision"]?.int } == [4, 3])
    }

    @Test("what is not among all objects of a kind any more was deleted")
    func replaced() {
        var history = ObjectHistory()
        history.take(.set(Self.service(1, weight: 90)), "VirtualService", at: 1_000)
        history.take(.replaced([]), "VirtualService", at: 2_000)
        #expect(history.revisions(of: Self.key).last?.content == nil && history.count == 2)
    }

    @Test("ATK-32 the history holds no data, environment, token or annotation, and tells that one changed")
    func covered() {
        let object: (String) -> JSON = { secret in
            [
                "metadata": ["annotations": ["note": .string(secret)]], "data": ["mesh": .string(secret)],
                "spec": [
                    "http": [["headers": ["request": ["set": ["authorization": .string(secret), "x-team": "blue"]]]]],
                    "vmConfig": ["env": [["name": "A", "value": .string(secret)]]],
                    "match": [["name": "x-api-key", "value": .string(secret)]], "jwks": .string(secret),
                    "tls": ["credentialName": "shop-cert"],
                ],
            ]
        }
        let (one, other) = (ShownConfiguration.of(object("c2VjcmV0")), ShownConfiguration.of(object("b3RoZXI")))
        let text = String(decoding: one.bytes, as: UTF8.self)
        #expect(!text.contains("c2VjcmV0") && text.contains("blue") && text.contains("shop-cert"))
        #expect(ConfigurationDiff.lines(one, other).count == 6)
        #expect(ConfigurationDiff.lines(one, ShownConfiguration.of(object("c2VjcmV0"))).isEmpty)
    }

    @Test("the history has bounds: revisions of an object, of all, and bytes; the oldest go and are counted")
    func bounds() {
        var limits = ObjectHistory.Limits()
        limits.perObject = 3
        limits.revisions = 10
        var history = ObjectHistory(limits)
        for version in 1...8 {
            history.take(.set(Self.service(version, weight: version)), "VirtualService", at: Int64(version))
        }
        #expect(history.revisions(of: Self.key).map(\.number) == [6, 7, 8] && history.evicted == 5)
        for index in 1...5_000 {
            var object = Self.service(index, weight: index % 100)
            object.json["metadata"]?["name"] = .string("n\(index)")
            history.take(.set(object), "VirtualService", at: Int64(index))
        }
        #expect(history.count == 10 && history.revisions(of: Self.key).isEmpty)
        limits.bytes = 2_000
        var small = ObjectHistory(limits)
        for version in 1...50 {
            small.take(.set(Self.service(version, weight: version)), "VirtualService", at: Int64(version))
        }
        #expect(small.bytes <= 2_000 && small.count >= 1)
    }

    @Test("an element that is put into a list is one line, and names that are no words stand in quotation marks")
    func lists() {
        let lines = ConfigurationDiff.lines(
            ["a": [1, 2, 3], "b/c": "x"] as JSON, ["a": [1, 9, 2, 3], "b/c": "y"] as JSON)
        #expect(lines.map(\.field) == ["a[1]", "[\"b/c\"]"] && lines.first?.old == nil && lines.first?.new == "9")
        #expect(ConfigurationDiff.lines(nil, ["a": ["b": 1]] as JSON).map(\.field) == ["a.b"])
    }

    @Test("endpoints are as all callers see them together: load is summed, and ejections are counted by view")
    func endpoints() {
        func page(_ active: Int64, ejected: Bool) -> JSON {
            [
                "cluster_statuses": [
                    [
                        "name": "outbound|80|v1|reviews.shop.svc.cluster.local",
                        "host_statuses": [
                            [
                                "address": ["socket_address": ["address": "10.244.0.7", "port_value": 8000]],
                                "stats": [
                                    ["name": "rq_active", "value": .string("\(active)"), "type": "GAUGE"],
                                    ["name": "cx_active", "value": "2", "type": "GAUGE"], ["name": "rq_error"],
                                ],
                                "health_status": [
                                    "eds_health_status": "HEALTHY", "failed_outlier_check": .bool(ejected),
                                ],
                            ]
                        ],
                    ],
                    ["name": "outbound|80||web.shop.svc.cluster.local", "host_statuses": [["address": [:]]]],
                ]
            ]
        }
        var book = EndpointBook(host: "reviews.shop.svc.cluster.local")
        for one in [page(3, ejected: true), page(4, ejected: false), [:]] { book.add(one) }
        let found = book.json[0]
        #expect(book.callers == 2 && book.json.array?.count == 1 && found?["address"]?.string == "10.244.0.7:8000")
        #expect(found?["ip"]?.string == "10.244.0.7")
        #expect(found?["activeRequests"]?.double == 7 && found?["activeConnections"]?.double == 4)
        #expect(found?["ejected"]?.int == 1 && found?["views"]?.int == 2 && found?["unhealthy"]?.int == 0)
    }

    @Test("lines of logs and recorders come newest first, within the time that is wanted; other lines are counted")
    func access() {
        var book = AccessBook(since: 1_795_371_422_000, until: 1_795_371_423_999)
        let line = "\" 200 - 0 5 7 6 \"-\" \"agent\" \"id-1\" \"web\" \"10.0.0.1:80\""
        book.add(
            log: "[2026-11-22T18:17:02.500Z] \"GET /a?token=x HTTP/1.1\(line)\n"
                + "[2026-11-22T18:17:09.500Z] \"GET /late HTTP/1.1\(line)\nsomething else\n", of: "shop/web-1")
        book.add(recorded: [
            [
                "time_ms": 1_795_371_422_939, "method": "GET", "path": "/b", "status": 503, "flags": "UH",
                "duration_us": 1500, "pod": "shop/web-1", "headers": [["cookie", "secret"]],
            ]
        ])
        let json = book.json(most: 10)
        #expect(json["lines"]?.array?.map { $0["path"]?.string } == ["/b", "/a"] && json["unread"]?.int == 1)
        #expect(json["lines"]?[0]?["durationMilliseconds"]?.double == 1.5)
        let text = String(decoding: json.bytes, as: UTF8.self)
        #expect(!text.contains("secret") && !text.contains("agent") && !text.contains("token"))
    }
}
