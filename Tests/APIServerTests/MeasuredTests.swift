import KubernetesAPI
import Serialization
import Testing

@testable import APIServer

@Suite("kubectl top, proxies and containers that join")
struct MeasuredTests {
    private let metrics = "/apis/metrics.k8s.io/v1beta1"

    private func ask(
        _ fixture: Fixture, _ path: String, _ report: UsageReport, accept: String = "", user: APIUser = .root
    ) throws -> (status: Int, json: JSON) {
        let request = try APIRequest(method: "GET", target: path, accept: accept, user: user)
        var answer = fixture.router.answer(request)
        if case .usage(let question) = answer.body { answer = fixture.router.answer(question, report) }
        guard case .bytes(let bytes) = answer.body else { throw Fixture.Unexpected(what: "a stream") }
        return (answer.status, try JSON.parse(bytes))
    }

    @Test("what was measured is told as metrics-server tells it; what was not is left out or not found")
    func usage() throws {
        let fixture = try Fixture()
        let made = try fixture.ask("POST", pods, Fixture.pod("a", labels: ["app": "a"]))
        try fixture.ask("POST", pods, Fixture.pod("b"))
        var report = UsageReport(time: Timestamp(seconds: 1_800_000_000))
        report.pods[made.json["metadata"]?["uid"]?.string ?? ""] = [
            "c": .init(cpuMilli: 1.5, memoryBytes: 2_097_152, seconds: 15.04)
        ]
        let list = try ask(fixture, metrics + "/pods", report).json
        #expect(list["kind"] == "PodMetricsList" && list["items"]?.array?.count == 1)
        #expect(
            list["items"]?[0]?["containers"] == [["name": "c", "usage": ["cpu": "1500000n", "memory": "2048Ki"]]])
        #expect(list["items"]?[0]?["window"] == "15.04s")
        #expect(try ask(fixture, metrics + "/pods?labelSelector=app%3Db", report).json["items"]?.array?.isEmpty == true)
        let missing = try ask(fixture, metrics + "/namespaces/default/pods/b", report)
        #expect(missing.status == 404)
        #expect(missing.json["message"] == "podmetrics.metrics.k8s.io \"default/b\" not found")
        let table = try ask(fixture, metrics + "/pods", report, accept: "application/json;as=Table;v=v1;g=meta.k8s.io")
            .json
        #expect(table["rows"]?[0]?["cells"] == ["a", "1500000n", "2048Ki", "15.04s"])
        #expect(try ask(fixture, metrics + "/pods?watch=true", report).status == 405)
        let user = APIUser(name: "somebody", groups: ["system:authenticated"])
        #expect(try ask(fixture, metrics + "/nodes", report, user: user).status == 403)
    }

    private func proxy(_ fixture: Fixture, _ path: String, method: String = "GET") throws -> (
        status: Int, wish: ProxyRequest?, message: String
    ) {
        let answer = fixture.router.answer(try APIRequest(method: method, target: path))
        if case .proxy(let wish) = answer.body { return (answer.status, wish, "") }
        guard case .bytes(let bytes) = answer.body else { throw Fixture.Unexpected(what: "a stream") }
        return (answer.status, nil, answer.location ?? (try? JSON.parse(bytes))?["message"]?.string ?? "")
    }

    @Test("a proxy leads to pods that are stored and to nothing else, whatever an EndpointSlice says")
    func places() throws {
        let fixture = try Fixture()
        var pod = Fixture.pod("web", labels: ["app": "web"])
        pod["spec"] = [
            "containers": [["name": "c", "image": "x:1", "ports": [["containerPort": 8080, "name": "http"]]]]
        ]
        try fixture.ask("POST", pods, pod)
        #expect(try proxy(fixture, pods + "/web/proxy/").status == 503)
        try fixture.ask(
            "PATCH", pods + "/web/status", ["status": ["podIP": "10.1.1.1"]], type: "application/merge-patch+json")
        let found = try proxy(fixture, pods + "/https:web:http/proxy/a%2Fb/c?d=e%20f")
        #expect(
            found.wish
                == ProxyRequest(
                    place: .pod(namespace: "default", name: "web", node: "node", port: 8080, isEncrypted: true),
                    path: "/a%2Fb/c?d=e%20f", prefix: "/api/v1/namespaces/default/pods/https:web:http/proxy"))
        #expect(try proxy(fixture, pods + "/web/proxy?a=b").message == pods + "/web/proxy/?a=b")
        #expect(try proxy(fixture, pods + "/ftp:web:80/proxy/").status == 400)
        #expect(try proxy(fixture, pods + "/web:70000/proxy/").status == 400)
        try fixture.ask("POST", services, Fixture.service("web", ["ports": [["port": 80, "name": "x"]]]))
        #expect(
            try proxy(fixture, services + "/web:81/proxy/").message == "no service port 81 found for service \"web\"")
        func slice(_ address: String, _ target: String) -> JSON {
            [
                "metadata": [
                    "generateName": "web-", "labels": ["kubernetes.io/service-name": "web"],
                ], "addressType": "IPv4", "ports": [["name": "x", "port": 9090, "protocol": "TCP"]],
                "endpoints": [
                    [
                        "addresses": [.string(address)],
                        "targetRef": ["kind": "Pod", "name": .string(target), "namespace": "default"],
                    ]
                ],
            ]
        }
        // An address that somebody has written is not asked.
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        #expect(try fixture.ask("POST", slices, slice("169.254.169.254", "web")).status == 201)
        #expect(try fixture.ask("POST", slices, slice("10.1.1.1", "other")).status == 201)
        #expect(
            try proxy(fixture, services + "/web:80/proxy/").message == "no endpoints available for service \"web:80\"")
        try fixture.ask("POST", slices, slice("10.1.1.1", "web"))
        #expect(
            try proxy(fixture, services + "/web:80/proxy/").wish?.place
                == .pod(namespace: "default", name: "web", node: "node", port: 9090, isEncrypted: false))
        try fixture.ask("POST", "/api/v1/nodes", ["metadata": ["name": "node"]])
        #expect(try proxy(fixture, "/api/v1/nodes/node/proxy/healthz").wish?.place == .node("node"))
        for path in ["exec/default/web/c?command=id", "portForward/default/web?port=1", "networks", ""] {
            #expect(try proxy(fixture, "/api/v1/nodes/node/proxy/" + path).status == 404)
        }
        #expect(try proxy(fixture, "/api/v1/nodes/node/proxy/pods", method: "POST").status == 405)
    }

    @Test("containers join a pod by their sub-resource alone, and stay as they are")
    func ephemeral() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("web"))
        func add(_ containers: JSON, to path: String = "/web/ephemeralcontainers") throws -> Fixture.Answer {
            try fixture.ask(
                "PATCH", pods + path, ["spec": ["ephemeralContainers": containers]],
                type: "application/strategic-merge-patch+json")
        }
        let one: JSON = ["name": "d", "image": "x", "targetContainerName": "c", "stdin": true, "tty": true]
        #expect(try add([one], to: "/web").status == 422)
        let added = try add([one])
        #expect(added.status == 200, "\(added.message)")
        #expect(added.json["spec"]?["ephemeralContainers"]?[0]?["targetContainerName"] == "c")
        #expect(added.json["spec"]?["ephemeralContainers"]?[0]?["imagePullPolicy"] == "Always")
        for (container, words) in [
            (["name": "d", "image": "y"], "existing ephemeral containers \"d\" may not be changed"),
            (["name": "c", "image": "y"], "Duplicate value: \"c\""),
            (["name": "e", "image": "y", "targetContainerName": "z"], "targetContainerName: Not found: \"z\""),
            (["name": "e", "image": "y", "ports": [["containerPort": 1]]], "cannot be set for an Ephemeral Container"),
            (["name": "e"], "image: Required value"),
        ] as [(JSON, String)] {
            let refused = try add([container])
            #expect(refused.status == 422 && refused.message.contains(words), "\(refused.message)")
        }
        var without = try fixture.ask("GET", pods + "/web/ephemeralcontainers").json
        without["spec"]?["ephemeralContainers"] = []
        let removed = try fixture.ask("PUT", pods + "/web/ephemeralcontainers", without)
        #expect(removed.message.contains("existing ephemeral containers \"d\" may not be removed"))
        // The rest of the object is not this sub-resource's.
        let aside = try fixture.ask(
            "PATCH", pods + "/web/ephemeralcontainers", ["metadata": ["labels": ["a": "b"]]],
            type: "application/merge-patch+json")
        #expect(aside.json["metadata"]?["labels"]?["a"] == nil)
    }
}
