import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("Requests and answers")
struct RouterTests {
    static let table = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"

    @Test("the aggregated discovery repeats the parameters of its content type")
    func aggregated() throws {
        let fixture = try Fixture()
        let accept =
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
        let answer = try fixture.ask("GET", "/apis", accept: accept)
        #expect(answer.contentType == "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")
        #expect(answer.json["items"]?[0]?["metadata"]?["name"] == "apps")
        let plain = try fixture.ask("GET", "/apis", accept: "application/json, */*")
        #expect(plain.json["kind"] == "APIGroupList")
        #expect(try fixture.ask("GET", "/api").json["versions"] == ["v1"])
        // As where both are CustomResourceDefinitions: a plain `kubectl get gateway` means the Gateway API's.
        let names = (plain.json["groups"]?.array ?? []).compactMap { $0["name"]?.string }
        let places = ["networking.k8s.io", "gateway.networking.k8s.io", "networking.istio.io"].map {
            names.firstIndex(of: $0) ?? 99
        }
        #expect(places == places.sorted() && !places.contains(99), "\(names)")
        let istio = try fixture.ask("GET", "/apis/networking.istio.io").json
        #expect(istio["preferredVersion"]?["version"] == "v1")
        #expect(istio["versions"]?.array?.count == 3)
        let core = try fixture.ask("GET", "/api/v1").json["resources"]?.array ?? []
        #expect(core.contains { $0["name"] == "pods/log" })
        #expect(
            core.contains { $0["name"] == "services" && $0["shortNames"] == ["svc"] && $0["singularName"] == "service" }
        )
    }

    @Test("OpenAPI: version 2 as a message, version 3 with the operations that kubectl looks for")
    func openAPI() throws {
        let fixture = try Fixture()
        let message = try fixture.ask("GET", "/openapi/v2").bytes
        #expect(message.starts(with: [0x0a, 0x03, 0x32, 0x2e, 0x30]))
        let text = String(decoding: message, as: UTF8.self)
        for name in ["io.k8s.api.apps.v1.DeploymentSpec", "x-kubernetes-patch-merge-key", "fieldValidation"] {
            #expect(text.contains(name))
        }
        let index = try fixture.ask("GET", "/openapi/v3").json
        let url = try #require(index["paths"]?["apis/apps/v1"]?["serverRelativeURL"]?.string)
        let document = try fixture.ask("GET", url).json
        let patch = document["paths"]?["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]?["patch"]
        #expect(patch?["x-kubernetes-group-version-kind"] == ["group": "apps", "version": "v1", "kind": "Deployment"])
        #expect(patch?["parameters"]?.array?.contains { $0["name"] == "fieldValidation" } == true)
        let pod = document["components"]?["schemas"]?["io.k8s.api.core.v1.PodSpec"]
        #expect(pod?["properties"]?["containers"]?["x-kubernetes-patch-merge-key"] == "name")
    }

    @Test("one object of a kind is seen under all its versions")
    func versions() throws {
        let fixture = try Fixture()
        let object: JSON = [
            "apiVersion": "networking.istio.io/v1alpha3", "kind": "VirtualService", "metadata": ["name": "a"],
            "spec": ["hosts": ["x"], "http": [["route": [["destination": ["host": "x"]]]]]],
        ]
        let path = "/namespaces/default/virtualservices"
        let created = try fixture.ask("POST", "/apis/networking.istio.io/v1alpha3" + path, object)
        #expect(created.json["apiVersion"] == "networking.istio.io/v1alpha3")
        let seen = try fixture.ask("GET", "/apis/networking.istio.io/v1" + path + "/a").json
        #expect(seen["apiVersion"] == "networking.istio.io/v1")
        #expect(try fixture.registry.get(.virtualService, "default", "a").apiVersion == "networking.istio.io/v1")
        let wrong = try fixture.ask("POST", "/apis/networking.istio.io/v1" + path, object)
        #expect(
            wrong.message
                == "the API version in the data (networking.istio.io/v1alpha3) does not match the expected API version (networking.istio.io/v1)"
        )
        let patch = try fixture.ask(
            "PATCH", "/apis/networking.istio.io/v1beta1" + path + "/a", ["spec": ["hosts": ["y"]]],
            type: "application/merge-patch+json")
        #expect(patch.json["apiVersion"] == "networking.istio.io/v1beta1")
        #expect(
            try fixture.ask(
                "PATCH", "/apis/networking.istio.io/v1" + path + "/a", [:],
                type: "application/strategic-merge-patch+json"
            ).status == 415)
    }

    @Test("unknown fields: an error, a warning or nothing")
    func fieldValidation() throws {
        let fixture = try Fixture()
        let object: JSON = ["metadata": ["name": "a"], "data": ["x": "y"], "dat": 1]
        let path = "/api/v1/namespaces/default/configmaps"
        let strict = try fixture.ask("POST", path + "?fieldValidation=Strict", object)
        #expect(strict.status == 400)
        #expect(
            strict.message
                == "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"dat\""
        )
        #expect(
            try fixture.ask("POST", path + "?fieldValidation=Warn&dryRun=All", object).warnings == [
                "unknown field \"dat\""
            ])
        let ignored = try fixture.ask("POST", path + "?fieldValidation=Ignore", object)
        #expect(ignored.warnings.isEmpty && ignored.status == 201)
        #expect(ignored.json["dat"] == nil)
        #expect(try fixture.ask("POST", path + "?fieldValidation=Foo", object).status == 400)
    }

    @Test("fields that are there twice: an error, a warning or nothing, each with its path; the later counts")
    func duplicates() throws {
        let fixture = try Fixture()
        func send(_ method: String, _ target: String, _ text: String, type: String = "application/json") throws -> (
            APIResponse, JSON
        ) {
            let response = fixture.router.answer(
                try APIRequest(method: method, target: target, contentType: type, body: Array(text.utf8)))
            guard case .bytes(let bytes) = response.body else { return (response, .null) }
            return (response, try JSON.parse(bytes))
        }
        let path = "/api/v1/namespaces/default/services"
        let text =
            #"{"metadata":{"name":"a"},"spec":{"selector":{"a":"b"},"ports":[{"port":80},{"port":81,"name":"x","name":"y","port":82}],"selector":{"c":"d"}}}"#
        let (strict, status) = try send("POST", path + "?fieldValidation=Strict", text)
        #expect(strict.status == 400)
        for field in ["spec.ports[1].name", "spec.ports[1].port", "spec.selector"] {
            #expect(status["message"]?.string?.contains("duplicate field \"\(field)\"") == true, "\(status)")
        }
        let one = text.replacing(#"{"port":80}"#, with: #"{"port":80,"name":"w"}"#)
        let (warned, made) = try send("POST", path + "?fieldValidation=Warn", one)
        #expect(warned.status == 201 && warned.warnings.contains("duplicate field \"spec.selector\""))
        #expect(made["spec"]?["selector"] == ["c": "d"] && made["spec"]?["ports"]?[1]?["name"] == "y")
        let (ignored, _) = try send(
            "PATCH", path + "/a?fieldValidation=Ignore", #"{"metadata":{"labels":{"a":"1","a":"2"}}}"#,
            type: "application/merge-patch+json")
        #expect(ignored.status == 200 && ignored.warnings.isEmpty)
        let (patched, _) = try send(
            "PATCH", path + "/a?fieldValidation=Strict", #"{"metadata":{"labels":{"a":"1","a":"2"}}}"#,
            type: "application/merge-patch+json")
        #expect(patched.status == 400)
    }

    @Test("events of events.k8s.io are those of the core group under other names")
    func eventView() throws {
        let fixture = try Fixture()
        let view = "/apis/events.k8s.io/v1/namespaces/default/events"
        let core = "/api/v1/namespaces/default/events"
        let made = try fixture.ask(
            "POST", view,
            [
                "metadata": ["name": "e"], "eventTime": "2026-01-01T00:00:00.000000Z", "reason": "Tested",
                "action": "Testing", "type": "Normal", "note": "it was tested", "reportingController": "tester",
                "reportingInstance": "tester-1", "regarding": ["kind": "Pod", "name": "p", "namespace": "default"],
            ])
        #expect(made.status == 201 && made.json["apiVersion"] == "events.k8s.io/v1", "\(made.message)")
        #expect(made.json["note"] == "it was tested" && made.json["message"] == nil)
        let stored = try fixture.ask("GET", core + "/e").json
        #expect(stored["apiVersion"] == "v1" && stored["message"] == "it was tested")
        #expect(stored["involvedObject"]?["name"] == "p" && stored["reportingComponent"] == "tester")
        let list = try fixture.ask("GET", view + "?fieldSelector=regarding.name%3Dp").json
        #expect(list["apiVersion"] == "events.k8s.io/v1" && list["kind"] == "EventList")
        #expect(list["items"]?.array?.count == 1 && list["items"]?[0]?["regarding"]?["name"] == "p")
        #expect(
            try fixture.ask("GET", core + "?fieldSelector=involvedObject.name%3Dq").json["items"]?.array?.isEmpty
                == true)
        let strict = try fixture.ask(
            "PATCH", view + "/e?fieldValidation=Strict", ["message": "x"], type: "application/merge-patch+json")
        #expect(strict.message.contains("unknown field \"message\""), "\(strict.message)")
        let watch = try fixture.watch(view + "?watch=1&resourceVersion=0")
        #expect(String(decoding: watch.next() ?? [], as: UTF8.self).contains("\"note\""))
        let groups = try fixture.ask("GET", "/apis/events.k8s.io/v1").json
        #expect(groups["resources"]?[0]?["kind"] == "Event")
        let user = APIUser(name: "jane", groups: ["system:authenticated"])
        let refused = try fixture.ask("GET", view, user: user)
        #expect(refused.status == 403 && refused.message.contains("events.k8s.io"), "\(refused.message)")
    }

    @Test("lists come in pages, and by label and field")
    func lists() throws {
        let fixture = try Fixture()
        for index in 0..<7 {
            try fixture.ask(
                "POST", pods, Fixture.pod("p\(index)", labels: ["odd": .string(index % 2 == 1 ? "yes" : "no")]))
        }
        var names: [String] = []
        var token = ""
        repeat {
            let page = try fixture.ask("GET", pods + "?limit=3&continue=" + token).json
            names += (page["items"]?.array ?? []).compactMap { $0["metadata"]?["name"]?.string }
            token = page["metadata"]?["continue"]?.string ?? ""
        } while !token.isEmpty
        #expect(names == (0..<7).map { "p\($0)" })
        #expect(try fixture.ask("GET", pods + "?labelSelector=odd%3Dyes").json["items"]?.array?.count == 3)
        #expect(try fixture.ask("GET", pods + "?fieldSelector=metadata.name%3Dp3").json["items"]?.array?.count == 1)
        #expect(try fixture.ask("GET", pods + "?fieldSelector=spec.nodeName%21%3Dnode").json["items"] == [])
        #expect(
            try fixture.ask("GET", pods + "?fieldSelector=spec.foo%3Dx").message
                == "field label not supported: spec.foo")
        #expect(try fixture.ask("GET", pods + "?labelSelector=a+b").status == 400)
        #expect(try fixture.ask("GET", pods + "?continue=rubbish").status == 400)
        #expect(try fixture.ask("GET", pods + "?resourceVersion=999999").status == 504)
        // So is one object: nobody who has seen a later state is shown an earlier one.
        #expect(try fixture.ask("GET", pods + "/p3?resourceVersion=999999").status == 504)
        #expect(try fixture.ask("GET", pods + "/p3?resourceVersion=0").status == 200)
        #expect(try fixture.ask("GET", pods + "/p3?resourceVersion=x").status == 400)
    }

    @Test("the columns of the tables are kubectl's")
    func columns() throws {
        let fixture = try Fixture()
        func columns(_ path: String) throws -> [String] {
            try fixture.ask("GET", path, accept: Self.table).json["columnDefinitions"]?.array?
                .filter { $0["priority"] == 0 }.compactMap { $0["name"]?.string?.uppercased() } ?? []
        }
        #expect(try columns(services) == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"])
        #expect(
            try columns("/apis/networking.k8s.io/v1/namespaces/default/ingresses") == [
                "NAME", "CLASS", "HOSTS", "ADDRESS", "PORTS", "AGE",
            ])
        #expect(try columns(pods) == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"])
        #expect(try columns(deployments) == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"])
        #expect(try columns("/apis/networking.istio.io/v1/virtualservices") == ["NAME", "GATEWAYS", "HOSTS", "AGE"])
        #expect(try columns("/apis/networking.istio.io/v1/destinationrules") == ["NAME", "HOST", "AGE"])
        for kind in ResourceKind.standard where !kind.isReview && !kind.isMeasured {
            let base = kind.group.isEmpty ? "/api/v1/" : "/apis/\(kind.apiVersion)/"
            #expect(try columns(base + kind.plural).isEmpty == false, "\(kind.kind)")
        }
    }

    @Test("a row shows what the object says")
    func rows() throws {
        let fixture = try Fixture()
        func cells(_ path: String) throws -> [JSON] {
            try fixture.ask("GET", path, accept: Self.table).json["rows"]?[0]?["cells"]?.array ?? []
        }
        try fixture.ask("POST", services, Fixture.service("lb", ["type": "LoadBalancer", "selector": ["a": "b"]]))
        fixture.seconds += 200
        #expect(
            try cells(services + "/lb") == [
                "lb", "LoadBalancer", "10.96.0.2", "10.97.0.1", "80:30000/TCP", "3m20s", "a=b",
            ])
        try fixture.ask("POST", pods, Fixture.pod("p"))
        func status(_ status: JSON) throws -> [JSON] {
            try fixture.ask("PATCH", pods + "/p/status", ["status": status], type: "application/merge-patch+json")
            return Array(try cells(pods + "/p")[1...3])
        }
        #expect(try status([:]) == ["0/1", "Pending", "0"])
        let running: JSON = ["name": "c", "ready": true, "restartCount": 0, "state": ["running": [:]]]
        #expect(try status(["phase": "Running", "containerStatuses": [running]]) == ["1/1", "Running", "0"])
        let ended = Timestamp(seconds: fixture.seconds - 30).secondsText
        let looping: JSON = [
            "name": "c", "ready": false, "restartCount": 4, "state": ["waiting": ["reason": "CrashLoopBackOff"]],
            "lastState": ["terminated": ["finishedAt": .string(ended), "exitCode": 1]],
        ]
        #expect(
            try status(["phase": "Running", "containerStatuses": [looping]]) == [
                "0/1", "CrashLoopBackOff", "4 (30s ago)",
            ])
        #expect(
            try status([
                "phase": "Pending", "containerStatuses": .null,
                "initContainerStatuses": [["name": "i", "state": ["running": [:]]]],
            ]) == ["0/1", "Init:0/0", "0"])
    }

    @Test("a watch gets the present state first, then changes, as the selector sees them")
    func watch() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("a", labels: ["x": "1"]))
        let stream = try fixture.watch(pods + "?watch=true&labelSelector=x%3D1")
        #expect(try stream.events().map { $0["type"] } == ["ADDED"])
        try fixture.ask("POST", pods, Fixture.pod("b", labels: ["x": "1"]))
        try fixture.ask("POST", pods, Fixture.pod("c"))
        func label(_ pod: String, _ value: JSON) throws {
            try fixture.ask(
                "PATCH", pods + "/" + pod, ["metadata": ["labels": ["x": value]]], type: "application/merge-patch+json")
        }
        try label("c", "1")
        try label("b", "2")
        try label("b", "3")
        #expect(
            try stream.events().map {
                "\($0["type"]?.string ?? "") \($0["object"]?["metadata"]?["name"]?.string ?? "")"
            } == [
                "ADDED b", "ADDED c", "DELETED b",
            ])
    }

    @Test("a watch from a revision goes on from there; a forgotten one is an event with 410 Expired, and the end")
    func watchFrom() throws {
        let fixture = try Fixture()
        let revision = try fixture.ask("GET", pods).json["metadata"]?["resourceVersion"]?.string ?? ""
        try fixture.ask("POST", pods, Fixture.pod("a"))
        let stream = try fixture.watch(pods + "?watch=1&resourceVersion=" + revision)
        #expect(try stream.events().count == 1)
        let lost = try fixture.watch(pods + "?watch=1&resourceVersion=999999")
        let event = try #require(try lost.events().first)
        #expect(event["type"] == "ERROR" && event["object"]?["code"] == 410 && event["object"]?["reason"] == "Expired")
        #expect(lost.next() == nil)
    }

    @Test("a table watch sends tables of one row, the columns once")
    func tableWatch() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("a"))
        try fixture.ask("POST", pods, Fixture.pod("b"))
        let events = try fixture.watch(pods + "?watch=true", accept: Self.table).events()
        #expect(events.map { $0["object"]?["kind"] } == ["Table", "Table"])
        #expect(events.map { $0["object"]?["rows"]?.array?.count } == [1, 1])
        #expect(events.map { $0["object"]?["columnDefinitions"]?.array != nil } == [true, false])
    }

    @Test("sendInitialEvents ends the present state with a bookmark")
    func initialEvents() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("a"))
        let stream = try fixture.watch(
            pods + "?watch=true&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true")
        let events = try stream.events()
        #expect(events.map { $0["type"] } == ["ADDED", "BOOKMARK"])
        #expect(events.last?["object"]?["metadata"]?["annotations"]?["k8s.io/initial-events-end"] == "true")
    }

    @Test("scale reads and writes the replicas")
    func scale() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", deployments, Fixture.deployment())
        let scale = try fixture.ask("GET", deployments + "/web/scale").json
        #expect(scale["spec"]?["replicas"] == 1)
        #expect(scale["status"]?["selector"] == "app=web")
        try fixture.ask(
            "PATCH", deployments + "/web/scale", ["spec": ["replicas": 5]], type: "application/merge-patch+json")
        #expect(try fixture.registry.get(.deployment, "default", "web").spec["replicas"] == 5)
        var change = scale
        change["spec"] = ["replicas": 2]
        #expect(try fixture.ask("PUT", deployments + "/web/scale", change).status == 409)
        #expect(
            try fixture.ask(
                "PATCH", deployments + "/web/scale", ["spec": ["replicas": -1]], type: "application/merge-patch+json"
            ).status == 422)
    }

    @Test("protobuf creates are read: a namespace, and a kind we do not read is refused")
    func protobuf() throws {
        let fixture = try Fixture()
        func message(_ number: UInt8, _ bytes: [UInt8]) -> [UInt8] { [number << 3 | 2, UInt8(bytes.count)] + bytes }
        func body(_ version: String, _ kind: String, _ raw: [UInt8]) -> [UInt8] {
            [0x6b, 0x38, 0x73, 0x00] + message(1, message(1, Array(version.utf8)) + message(2, Array(kind.utf8)))
                + message(2, raw)
        }
        func post(_ path: String, _ body: [UInt8]) throws -> Int {
            fixture.router.answer(
                try APIRequest(
                    method: "POST", target: path, contentType: "application/vnd.kubernetes.protobuf", body: body)
            ).status
        }
        let metadata = message(
            1, message(1, Array("proto".utf8)) + message(11, message(1, Array("k".utf8)) + message(2, Array("v".utf8))))
        #expect(try post("/api/v1/namespaces", body("v1", "Namespace", metadata)) == 201)
        #expect(try fixture.registry.get(.namespace, "", "proto").metadata.labels["k"] == "v")
        let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        #expect(
            try post(definitions, body("apiextensions.k8s.io/v1", "CustomResourceDefinition", metadata)) == 415)
        for length in 0..<20 {
            _ = try post("/api/v1/namespaces", Array(body("v1", "Namespace", metadata).prefix(length)))
        }
    }

    @Test(
        "a new pod that would share processes is refused with the field and what to do",
        arguments: ["shareProcessNamespace", "hostPID", "hostIPC"])
    func sharing(field: String) throws {
        let fixture = try Fixture()
        let pods = "/api/v1/namespaces/default/pods"
        var pod: JSON = ["metadata": ["name": "p"], "spec": ["containers": [["name": "c", "image": "x"]]]]
        pod["spec"]?[field] = true
        let answer = try fixture.ask("POST", pods, pod)
        #expect(answer.status == 422 && answer.message.contains("spec.\(field): Forbidden: "), "\(answer.message)")
        pod["spec"]?[field] = false
        #expect(try fixture.ask("POST", pods, pod).status == 201)
    }

    @Test(
        "a pod in protobuf, as `kubectl debug --copy-to` sends it: volumes, probes, security; a zero behind a pointer is kept"
    )
    func protobufPod() throws {
        let fixture = try Fixture()
        func varint(_ number: Int, _ value: UInt8) -> [UInt8] {
            [UInt8(number << 3 & 0x7f | (number > 15 ? 0x80 : 0))] + (number > 15 ? [UInt8(number >> 4)] : []) + [value]
        }
        func message(_ number: Int, _ bytes: [UInt8]) -> [UInt8] {
            var head = varint(number, UInt8(bytes.count & 0x7f | (bytes.count > 127 ? 0x80 : 0)))
            head[0] |= 2
            return head + (bytes.count > 127 ? [UInt8(bytes.count >> 7)] : []) + bytes
        }
        func text(_ number: Int, _ text: String) -> [UInt8] { message(number, Array(text.utf8)) }
        let reference = message(3, message(1, text(1, "settings")) + text(2, "key") + varint(3, 0))
        let security = varint(4, 0) + varint(5, 0) + varint(7, 0) + message(1, text(1, "NET_ADMIN"))
        let probe = message(1, message(2, text(1, "/ready") + message(2, varint(1, 0) + varint(2, 80)))) + varint(2, 3)
        let container =
            text(1, "c") + text(2, "x") + message(15, security) + message(11, probe)
            + message(7, text(1, "A") + message(3, reference)) + message(9, text(1, "v") + text(3, "/v"))
        let terms = message(1, message(1, text(1, "kubernetes.io/os") + text(2, "In") + text(3, "linux")))
        let spec =
            message(1, text(1, "v") + message(2, message(19, message(1, text(1, "settings")) + varint(3, 0))))
            + message(2, container) + message(18, message(1, message(1, terms)))
            + message(22, text(1, "a") + text(2, "Exists") + text(4, "NoExecute") + varint(5, 0))
        let raw = message(1, text(1, "p")) + message(2, spec)
        let body =
            [0x6b, 0x38, 0x73, 0x00] + message(1, text(1, "v1") + text(2, "Pod")) + message(2, raw)
        let answer = fixture.router.answer(
            try APIRequest(
                method: "POST", target: pods, contentType: "application/vnd.kubernetes.protobuf", body: body))
        guard case .bytes(let bytes) = answer.body else { throw Fixture.Unexpected(what: "a stream") }
        #expect(answer.status == 201, "\(String(decoding: bytes, as: UTF8.self))")
        let made = try JSON.parse(bytes)["spec"] ?? .null
        let first = made["containers"]?[0]
        #expect(
            first?["securityContext"] == [
                "runAsUser": 0, "runAsNonRoot": false, "allowPrivilegeEscalation": false,
                "capabilities": ["add": ["NET_ADMIN"]],
            ])
        #expect(first?["readinessProbe"]?["httpGet"]?["port"] == 80)
        #expect(first?["readinessProbe"]?["initialDelaySeconds"] == 3)
        #expect(
            first?["env"]?[0]?["valueFrom"]?["configMapKeyRef"] == [
                "name": "settings", "key": "key", "optional": false,
            ])
        #expect(made["volumes"]?[0]?["configMap"]?["name"] == "settings")
        #expect(made["volumes"]?[0]?["configMap"]?["defaultMode"] == 0)
        #expect(
            made["affinity"]?["nodeAffinity"]?["requiredDuringSchedulingIgnoredDuringExecution"]?["nodeSelectorTerms"]
                == [["matchExpressions": [["key": "kubernetes.io/os", "operator": "In", "values": ["linux"]]]]])
        #expect(made["tolerations"]?[0]?["tolerationSeconds"] == 0)
    }

    @Test("a dry run of a change shows the version of what is there")
    func dryRunVersion() throws {
        let fixture = try Fixture()
        let made = try fixture.ask("POST", deployments, Fixture.deployment())
        let type = "application/merge-patch+json"
        let dry = try fixture.ask("PATCH", deployments + "/web?dryRun=All", ["spec": ["replicas": 7]], type: type).json
        #expect(dry["spec"]?["replicas"] == 7)
        #expect(dry["metadata"]?["resourceVersion"] == made.json["metadata"]?["resourceVersion"])
    }

    @Test(
        "flags are on whatever they hold but false and 0: clients in Python send True",
        arguments: ["True", "1", "", "t"])
    func flags(value: String) throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("p"))
        #expect(try fixture.watch(pods + "?watch=" + value).events().count == 1)
        #expect(try fixture.ask("GET", pods + "?watch=False").json["kind"] == "PodList")
        let answer = fixture.router.answer(
            try APIRequest(method: "GET", target: pods + "/p/log?follow=\(value)&timestamps=0&tailLines=3"))
        guard case .log(let wish) = answer.body else { throw Fixture.Unexpected(what: "no log") }
        #expect(wish.query == "follow=true&tailLines=3")
    }

    @Test("everybody must say who they are, except for health and version")
    func authentication() throws {
        let fixture = try Fixture()
        for path in ["/healthz", "/livez", "/readyz", "/version"] {
            #expect(try fixture.ask("GET", path, user: nil).status == 200)
        }
        for path in ["/api", "/apis", pods, "/openapi/v2", "/"] {
            let answer = try fixture.ask("GET", path, user: nil)
            #expect(answer.status == 401)
            #expect(answer.reason == "Unauthorized")
        }
        let nobody = APIUser(name: "jane", groups: ["staff"])
        let answer = try fixture.ask("GET", pods, user: nobody)
        #expect(answer.status == 403)
        #expect(
            answer.message
                == "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\""
        )
        #expect(try fixture.ask("DELETE", "/api/v1/namespaces/default", user: nobody).status == 403)
    }

    @Test(
        "a request that makes no sense is answered, not trapped over",
        arguments: [
            ("GET", "/api/v1/pods/x/y/z"), ("POST", "/api/v1/pods"), ("GET", "/api/v1/nodes/a/b"),
            ("PUT", "/api/v1/namespaces"),
            ("BREW", "/api/v1/namespaces"), ("GET", "/apis/a/b/c"),
            ("GET", "/api/v1/namespaces/default/pods/a/nonsense"),
            ("GET", "/openapi/v3/apis/x/y"), ("GET", "/api/v1/namespaces//pods"),
            ("PATCH", "/api/v1/namespaces/default"),
            ("GET", "/api/v1/pods?limit=x"), ("GET", "/api/v1/pods?watch=1&resourceVersion=x"),
            ("GET", "/api/v1/namespaces/default/nodes"),
        ])
    func nonsense(method: String, path: String) throws {
        let answer = try Fixture().ask(method, path)
        #expect((400..<500).contains(answer.status))
        #expect(answer.json["kind"] == "Status")
    }

    @Test("what we do not have yet is said plainly", arguments: ["binding", "resize"])
    func notYet(subresource: String) throws {
        let answer = try Fixture().ask("POST", pods + "/a/" + subresource)
        #expect(answer.status == 501)
        #expect(answer.message == "pods/\(subresource) is not supported by this server yet")
    }

    @Test("bad percent encoding is refused")
    func encoding() {
        for target in ["/api/%", "/api/%zz", "/api/%ff"] {
            #expect(throws: StatusError.self) { try APIRequest(method: "GET", target: target) }
        }
    }
}
