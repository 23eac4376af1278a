import KubernetesAPI
import Mesh
import Serialization
import Testing

@testable import ControlPlane

@Suite("What the dashboard shows administrators")
struct DashboardViewsTests {
    private static let reviews = "reviews.shop.svc.cluster.local"

    @Test(
        "routes of a host say what they match, where they lead, and which field made them; the same of two ports once")
    func routes() throws {
        let provenance: JSON = [
            "filterMetadata": [
                "skein.provenance": [
                    "kind": "VirtualService", "namespace": "shop", "name": "reviews", "field": "spec.http[0]",
                ]
            ]
        ]
        let first: JSON = [
            "match": [
                "prefix": "/",
                "headers": [
                    ["name": "end-user", "stringMatch": ["exact": "jason"]], ["name": "x-debug", "presentMatch": true],
                ],
            ],
            "route": ["cluster": "outbound|80|v2|reviews.shop.svc.cluster.local"], "metadata": provenance,
        ]
        let second: JSON = [
            "match": ["pathSeparatedPrefix": "/api"],
            "route": [
                "weightedClusters": [
                    "clusters": [
                        ["name": "outbound|80|v1|reviews.shop.svc.cluster.local", "weight": 90],
                        ["name": "outbound|80|v2|reviews.shop.svc.cluster.local", "weight": 10],
                    ]
                ]
            ],
        ]
        let other: JSON = ["domains": ["ratings.shop.svc.cluster.local"], "routes": [["match": ["path": "/x"]]]]
        let host: JSON = ["domains": [.string(Self.reviews), "reviews"], "routes": [first, second]]
        let found = DashboardRoutes.list(
            [["virtualHosts": [other, host]], ["virtualHosts": [host]]], host: Self.reviews)
        #expect(
            found.map { $0["match"]?.string } == ["path /*, end-user = jason, x-debug present", "path /api/*"])
        #expect(
            found.map { $0["action"]?.string } == [
                "reviews.shop.svc.cluster.local:80 v2",
                "90 % reviews.shop.svc.cluster.local:80 v1, 10 % reviews.shop.svc.cluster.local:80 v2",
            ])
        #expect(found.first?["source"]?["field"]?.string == "spec.http[0]" && found.last?["source"]?.isNull == true)
    }

    @Test("ATK-32 of objects names and states are shown, no data, environment or annotation")
    func objects() {
        let secret = KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Secret", "metadata": ["name": "key", "namespace": "shop"],
            "data": ["tls.key": "c2VjcmV0"],
        ])
        let pod = KubernetesObject(json: [
            "apiVersion": "v1", "kind": "Pod",
            "metadata": ["name": "web-1", "namespace": "shop", "annotations": ["note": "c2VjcmV0"]],
            "spec": [
                "nodeName": "a",
                "containers": [["name": "web", "env": [["name": "PASSWORD", "value": "c2VjcmV0"]]]],
            ],
            "status": [
                "phase": "Running", "podIP": "10.244.0.9", "conditions": [["type": "Ready", "status": "True"]],
                "containerStatuses": [["restartCount": 2]],
            ],
        ])
        let shown = DashboardViews.objects([pod, secret], [])
        let network = DashboardViews.network(nodes: [], pods: [pod], services: [], endpoints: { _ in [] })
        for json in [shown, network] {
            let text = String(decoding: json.bytes, as: UTF8.self)
            #expect(!text.contains("c2VjcmV0") && !text.contains("PASSWORD"))
        }
        #expect(shown["total"]?.int == 2 && shown["objects"]?[1]?["name"]?.string == "key")
        let line = network["pods"]?[0]
        #expect(
            line?["ready"]?.bool == true && line?["restarts"]?.int == 2
                && line?["addresses"]?[0]?.string == "10.244.0.9")
    }
}
