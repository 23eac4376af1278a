import APIServer
import KubernetesAPI
import Serialization
import Store
import Testing

@Suite("The life of objects")
struct ObjectLifeTests {
    @Test("what is there from the start")
    func bootstrap() throws {
        let fixture = try Fixture()
        let names = fixture.registry.list(.namespace).map(\.name)
        #expect(names == ["default", "istio-system", "kube-system", "skein-system"])
        let service = try fixture.registry.get(.service, "default", "kubernetes")
        #expect(Service(json: service.json).spec.clusterIP == "10.96.0.1")
        #expect(try fixture.registry.get(.serviceAccount, "default", "default").name == "default")
        try fixture.registry.bootstrap()
        #expect(fixture.registry.list(.namespace).count == 4)
    }

    @Test("a change of the spec counts a generation, a change of labels or status does not")
    func generation() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", deployments, Fixture.deployment())
        func generation() throws -> Int { try fixture.registry.get(.deployment, "default", "web").metadata.generation }
        #expect(try generation() == 1)
        try fixture.ask(
            "PATCH", deployments + "/web", ["metadata": ["labels": ["a": "b"]]], type: "application/merge-patch+json")
        try fixture.ask(
            "PATCH", deployments + "/web/status", ["status": ["replicas": 3]], type: "application/merge-patch+json")
        #expect(try generation() == 1)
        try fixture.ask("PATCH", deployments + "/web", ["spec": ["replicas": 3]], type: "application/merge-patch+json")
        #expect(try generation() == 2)
    }

    @Test("the status belongs to its sub-resource")
    func status() throws {
        let fixture = try Fixture()
        var object = Fixture.deployment()
        object["status"] = ["replicas": 7]
        try fixture.ask("POST", deployments, object)
        try fixture.ask(
            "PATCH", deployments + "/web", ["status": ["replicas": 8]], type: "application/merge-patch+json")
        #expect(try fixture.ask("GET", deployments + "/web").json["status"]?["replicas"] == nil)
        var change = try fixture.ask("GET", deployments + "/web").json
        change["status"] = ["replicas": 2]
        change["spec"] = ["replicas": 99]
        let answer = try fixture.ask("PUT", deployments + "/web/status", change)
        #expect(answer.json["status"]?["replicas"] == 2)
        #expect(answer.json["spec"]?["replicas"] == 1)
    }

    @Test("what the mesh refuses is answered with 422 and the field, and only when the spec is written")
    func refusedByTheMesh() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", services, Fixture.service("a"))
        fixture.registry.admissionProblems = { _, _ in [.invalid("spec.x", "1", "no")] }
        let refused = try fixture.ask("POST", services, Fixture.service("b"))
        #expect(refused.status == 422 && refused.json["reason"] == "Invalid")
        #expect(refused.json["message"]?.string?.contains("spec.x: Invalid value: 1: no") == true)
        let labelled = try fixture.ask(
            "PATCH", services + "/a", ["metadata": ["labels": ["a": "b"]]], type: "application/merge-patch+json")
        #expect(labelled.status == 200)
    }

    @Test("what the schema refuses of kinds with codes carries them; where admission knows the field better, it speaks")
    func codes() throws {
        let fixture = try Fixture()
        let rules = "/apis/networking.istio.io/v1/namespaces/default/destinationrules"
        func rule(_ warmup: JSON) -> JSON {
            [
                "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": ["name": "a"],
                "spec": ["host": "a", "trafficPolicy": ["loadBalancer": ["warmup": warmup]]],
            ]
        }
        let place = "spec.trafficPolicy.loadBalancer.warmup.minimumPercent"
        let large = rule(["duration": "3s", "minimumPercent": 150])
        let uncoded = try fixture.ask("POST", rules, large).message
        #expect(uncoded.hasSuffix("\(place): Invalid value: 150: must be less than or equal to 100"), "\(uncoded)")
        fixture.registry.schemaCodes = { kind in
            kind.group == "networking.istio.io" ? SchemaCodes(invalidValue: "V", unknownField: "U") : nil
        }
        let coded = try fixture.ask("POST", rules, large)
        #expect(coded.status == 422 && coded.message.hasSuffix("must be less than or equal to 100 [V]"))
        let type = try fixture.ask("POST", rules, rule(["duration": "3s", "minimumPercent": "much"]))
        #expect(type.status == 400 && type.message.hasSuffix("[V]"), "\(type.message)")
        let unknown = rule(["duration": "3s", "minimum": 1])
        let strict = try fixture.ask("POST", rules + "?fieldValidation=Strict", unknown)
        #expect(strict.status == 400 && strict.message.hasSuffix("warmup.minimum\" [U]"), "\(strict.message)")
        let warned = try fixture.ask("POST", rules + "?dryRun=All&fieldValidation=Warn", unknown)
        #expect(warned.warnings == ["unknown field \"spec.trafficPolicy.loadBalancer.warmup.minimum\" [U]"])
        fixture.registry.admissionProblems = { _, _ in [.invalid(place, "150", "too warm [W]")] }
        let better = try fixture.ask("POST", rules, large)
        #expect(better.message.hasSuffix("\(place): Invalid value: 150: too warm [W]"), "\(better.message)")
        let other = try fixture.ask("POST", services, ["metadata": ["name": "a"], "spec": ["ports": [["port": 0]]]])
        #expect(other.status == 422 && !other.message.contains("[V]"))
    }

    @Test("a write that changes nothing keeps the resource version")
    func unchanged() throws {
        let fixture = try Fixture()
        let before = try fixture.ask("POST", services, Fixture.service("a")).json
        #expect(
            try fixture.ask("PUT", services + "/a", before).json["metadata"]?["resourceVersion"]
                == before["metadata"]?["resourceVersion"])
    }

    @Test("a stale resource version is a conflict")
    func stale() throws {
        let fixture = try Fixture()
        let before = try fixture.ask("POST", services, Fixture.service("a")).json
        try fixture.ask(
            "PATCH", services + "/a", ["metadata": ["labels": ["x": "y"]]], type: "application/merge-patch+json")
        let answer = try fixture.ask("PUT", services + "/a", before)
        #expect(answer.status == 409)
        #expect(answer.reason == "Conflict")
        #expect(
            answer.message
                == "Operation cannot be fulfilled on services \"a\": the object has been modified; please apply your changes to the latest version and try again"
        )
    }

    @Test("a dry run computes the result and stores nothing, no address either")
    func dryRun() throws {
        let fixture = try Fixture()
        let revision = fixture.registry.store.revision
        let answer = try fixture.ask("POST", services + "?dryRun=All", Fixture.service("a", ["type": "LoadBalancer"]))
        #expect(answer.json["spec"]?["clusterIP"] == "10.96.0.2")
        #expect(fixture.registry.store.revision == revision)
        #expect(try fixture.ask("GET", services + "/a").status == 404)
        #expect(try fixture.ask("POST", services, Fixture.service("b")).json["spec"]?["clusterIP"] == "10.96.0.2")
    }

    @Test("service addresses are given once, kept, and given back")
    func addresses() throws {
        let fixture = try Fixture()
        func address(_ name: String, _ spec: JSON = [:]) throws -> String {
            let answer = try fixture.ask("POST", services, Fixture.service(name, spec))
            return answer.json["spec"]?["clusterIP"]?.string ?? answer.message
        }
        #expect(try address("a") == "10.96.0.2")
        #expect(try address("b") == "10.96.0.3")
        #expect(try address("c", ["clusterIP": "10.96.7.7"]) == "10.96.7.7")
        #expect(try address("d", ["clusterIP": "10.96.7.7"]).contains("provided IP is already allocated"))
        #expect(try address("e", ["clusterIP": "10.99.0.1"]).contains("not in the valid range"))
        #expect(try address("f", ["clusterIP": "None"]) == "None")
        try fixture.ask("DELETE", services + "/c")
        #expect(try address("g", ["clusterIP": "10.96.7.7"]) == "10.96.7.7")
        var changed = Fixture.service("a", ["type": "LoadBalancer"])
        changed["metadata"] = ["name": "a"]
        let answer = try fixture.ask("PUT", services + "/a", changed)
        #expect(answer.json["spec"]?["clusterIP"] == "10.96.0.2")
        #expect(answer.json["status"]?["loadBalancer"]?["ingress"]?[0]?["ip"] == "10.97.0.1")
        let back = try fixture.ask("PUT", services + "/a", Fixture.service("a"))
        #expect(back.json["status"]?["loadBalancer"] == [:])
    }

    @Test("N-16 the first family of a service is its address; a family that the cluster has not is refused")
    func families() throws {
        let fixture = try Fixture()
        func answer(_ name: String, _ spec: JSON) throws -> (status: Int, json: JSON, message: String) {
            let answer = try fixture.ask("POST", services, Fixture.service(name, spec))
            return (Int(answer.status), answer.json, answer.message)
        }
        let plain = try answer("a", [:]).json["spec"]
        #expect(plain?["ipFamilies"] == ["IPv4"] && plain?["ipFamilyPolicy"] == "SingleStack")
        #expect(plain?["clusterIP"] == plain?["clusterIPs"]?[0])
        let both = try answer("b", ["ipFamilyPolicy": "PreferDualStack"]).json["spec"]
        #expect(both?["ipFamilies"] == ["IPv4"] && both?["ipFamilyPolicy"] == "PreferDualStack")
        #expect(both?["clusterIPs"]?.array?.count == 1)
        let needed = try answer("c", ["ipFamilyPolicy": "RequireDualStack"])
        #expect(needed.status == 422)
        #expect(needed.message.contains("this cluster is not configured for dual-stack services"))
        let other = try answer("d", ["ipFamilies": ["IPv6"]])
        #expect(other.status == 422)
        #expect(other.message.contains("spec.ipFamilies[0]: Invalid value: \"IPv6\": not configured on this cluster"))
    }

    @Test("N-15 node ports are given out of 30000 to 32767, kept, and given back")
    func nodePorts() throws {
        let fixture = try Fixture()
        func port(_ name: String, _ spec: JSON, _ port: JSON = ["port": 80], method: String = "POST") throws -> String {
            var spec = spec
            spec["ports"] = [port]
            let path = method == "PUT" ? services + "/" + name : services
            let answer = try fixture.ask(method, path, Fixture.service(name, spec))
            guard answer.status < 300 else { return answer.message }
            return answer.json["spec"]?["ports"]?[0]?["nodePort"]?.int.map(String.init) ?? "none"
        }
        #expect(try port("a", ["type": "NodePort"]) == "30000")
        #expect(try port("b", ["type": "NodePort"], ["port": 80, "nodePort": 30080]) == "30080")
        #expect(
            try port("c", ["type": "NodePort"], ["port": 80, "nodePort": 30080])
                .contains("spec.ports[0].nodePort: Invalid value: 30080: provided port is already allocated"))
        #expect(
            try port("c", ["type": "NodePort"], ["port": 80, "nodePort": 80])
                .contains("The range of valid ports is 30000-32767"))
        #expect(
            try port("c", ["type": "ClusterIP"], ["port": 80, "nodePort": 30081])
                .contains("may not be used when `type` is 'ClusterIP'"))
        #expect(try port("d", ["type": "LoadBalancer", "allocateLoadBalancerNodePorts": false]) == "none")
        // Written again without it, it stays; of another type, it goes.
        #expect(try port("a", ["type": "NodePort"], method: "PUT") == "30000")
        #expect(try port("b", ["type": "ClusterIP"], method: "PUT") == "none")
        #expect(try port("c", ["type": "NodePort"], ["port": 80, "nodePort": 30080]) == "30080")
        let local = try fixture.ask(
            "POST", services, Fixture.service("e", ["type": "LoadBalancer", "externalTrafficPolicy": "Local"]))
        let health = try #require(local.json["spec"]?["healthCheckNodePort"]?.int)
        #expect((30_000...32_767).contains(health) && health != 30_000)
        let again = ObjectRegistry(store: fixture.registry.store) { Timestamp(seconds: 1_800_000_000) }
        let other = try again.create(Fixture.service("f", ["type": "NodePort"]), .service, namespace: "default")
        let given = other.object.spec["ports"]?[0]?["nodePort"]?.int
        #expect(given != nil && given != 30_000 && given != 30_080 && given != health)
    }

    @Test("addresses that stored services hold are not given again after a restart")
    func adoption() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", services, Fixture.service("a", ["type": "LoadBalancer"]))
        let again = ObjectRegistry(store: fixture.registry.store) { Timestamp(seconds: 1_800_000_000) }
        let other = try again.create(Fixture.service("b", ["type": "LoadBalancer"]), .service, namespace: "default")
        #expect(Service(json: other.object.json).spec.clusterIP == "10.96.0.3")
        #expect(Service(json: other.object.json).status.loadBalancer.ingress.first?.ip == "10.97.0.2")
    }

    @Test("a pod gets its grace period; a shorter one wins, a longer one does not; 0 ends it")
    func grace() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("a"))
        let first = try fixture.ask("DELETE", pods + "/a", ["gracePeriodSeconds": 10]).json["metadata"]
        #expect(first?["deletionGracePeriodSeconds"] == 10)
        #expect(first?["deletionTimestamp"] == .string(Timestamp(seconds: fixture.seconds + 10).secondsText))
        let longer = try fixture.ask("DELETE", pods + "/a", ["gracePeriodSeconds": 60]).json["metadata"]
        #expect(longer?["deletionGracePeriodSeconds"] == 10)
        let shorter = try fixture.ask("DELETE", pods + "/a", ["gracePeriodSeconds": 1]).json["metadata"]
        #expect(shorter?["deletionGracePeriodSeconds"] == 1)
        try fixture.ask("DELETE", pods + "/a", ["gracePeriodSeconds": 0])
        #expect(try fixture.ask("GET", pods + "/a").status == 404)
    }

    @Test("a pod that has ended goes at once")
    func endedPod() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", pods, Fixture.pod("a"))
        try fixture.ask(
            "PATCH", pods + "/a/status", ["status": ["phase": "Succeeded"]], type: "application/merge-patch+json")
        try fixture.ask("DELETE", pods + "/a")
        #expect(try fixture.ask("GET", pods + "/a").status == 404)
    }

    @Test("finalizers hold an object until the last is taken away")
    func finalizers() throws {
        let fixture = try Fixture()
        var service = Fixture.service("a")
        service["metadata"] = ["name": "a", "finalizers": ["x/y"]]
        try fixture.ask("POST", services, service)
        let answer = try fixture.ask("DELETE", services + "/a")
        #expect(answer.json["kind"] == "Service")
        #expect(answer.json["metadata"]?["deletionTimestamp"] != nil)
        try fixture.ask(
            "PATCH", services + "/a", ["metadata": ["finalizers": .null]], type: "application/merge-patch+json")
        #expect(try fixture.ask("GET", services + "/a").status == 404)
    }

    private func family(_ fixture: Fixture) throws -> JSON {
        let owner = try fixture.ask("POST", deployments, Fixture.deployment()).json
        let reference: JSON = [
            "apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": owner["metadata"]?["uid"] ?? .null,
            "controller": true, "blockOwnerDeletion": true,
        ]
        try fixture.ask("POST", pods, Fixture.pod("a", owner: reference))
        try fixture.ask("POST", pods, Fixture.pod("b", owner: reference))
        return owner
    }

    @Test("background deletion takes the dependents after the owner")
    func background() throws {
        let fixture = try Fixture()
        _ = try family(fixture)
        let answer = try fixture.ask("DELETE", deployments + "/web", ["propagationPolicy": "Background"])
        #expect(answer.json["status"] == "Success")
        #expect(answer.json["details"]?["uid"] != nil)
        #expect(fixture.registry.list(.pod).allSatisfy { $0.metadata.deletionTimestamp != nil })
    }

    @Test("orphaning leaves the dependents without an owner")
    func orphan() throws {
        let fixture = try Fixture()
        _ = try family(fixture)
        try fixture.ask("DELETE", deployments + "/web", ["propagationPolicy": "Orphan"])
        #expect(
            fixture.registry.list(.pod).allSatisfy {
                $0.metadata.deletionTimestamp == nil && $0.json["metadata"]?["ownerReferences"] == nil
            })
        #expect(fixture.registry.list(.pod).count == 2)
    }

    @Test("foreground deletion keeps the owner until the last dependent has gone")
    func foreground() throws {
        let fixture = try Fixture()
        _ = try family(fixture)
        try fixture.ask("DELETE", deployments + "/web", ["propagationPolicy": "Foreground"])
        #expect(try fixture.registry.get(.deployment, "default", "web").metadata.finalizers == ["foregroundDeletion"])
        for name in ["a", "b"] {
            #expect(try fixture.ask("GET", deployments + "/web").status == 200)
            try fixture.registry.delete(
                .pod, "default", name,
                options: {
                    var now = DeleteOptions(); now.gracePeriodSeconds = 0; return now
                }())
        }
        #expect(try fixture.ask("GET", deployments + "/web").status == 404)
    }

    @Test("only those hold an owner that waits who say so: blockOwnerDeletion")
    func blockOwnerDeletion() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", services, Fixture.service("owner"))
        let uid = try fixture.registry.get(.service, "default", "owner").metadata.uid
        func reference(_ blocks: Bool) -> JSON {
            [
                "apiVersion": "v1", "kind": "Service", "name": "owner", "uid": .string(uid),
                "blockOwnerDeletion": .bool(blocks),
            ]
        }
        for (name, blocks) in [("holds", true), ("follows", false)] {
            var pod = Fixture.pod(name, owner: reference(blocks))
            pod["metadata"]?["finalizers"] = ["a.example/b"]
            try fixture.ask("POST", pods, pod)
        }
        try fixture.ask("DELETE", services + "/owner?propagationPolicy=Foreground")
        #expect(try fixture.ask("GET", services + "/owner").status == 200)
        func release(_ name: String) throws {
            try fixture.ask(
                "PATCH", "\(pods)/\(name)", ["metadata": ["finalizers": .null]], type: "application/merge-patch+json")
            var options = DeleteOptions()
            options.gracePeriodSeconds = 0
            _ = try? fixture.registry.delete(.pod, "default", name, options: options)
        }
        try release("holds")
        #expect(try fixture.ask("GET", services + "/owner").status == 404)
        #expect(try fixture.ask("GET", pods + "/follows").status == 200)
    }

    @Test("what has a second owner that stays loses the first and stays, too")
    func secondOwner() throws {
        let fixture = try Fixture()
        var references: [JSON] = []
        for name in ["one", "two"] {
            try fixture.ask("POST", services, Fixture.service(name))
            let uid = try fixture.registry.get(.service, "default", name).metadata.uid
            references.append([
                "apiVersion": "v1", "kind": "Service", "name": .string(name), "uid": .string(uid),
                "blockOwnerDeletion": true,
            ])
        }
        var pod = Fixture.pod("both")
        pod["metadata"]?["ownerReferences"] = .array(references)
        try fixture.ask("POST", pods, pod)
        try fixture.ask("DELETE", services + "/one?propagationPolicy=Foreground")
        #expect(try fixture.ask("GET", services + "/one").status == 404)
        let left = try fixture.registry.get(.pod, "default", "both").metadata
        #expect(left.deletionTimestamp == nil && left.ownerReferences.map(\.name) == ["two"])
    }

    @Test("a namespace that cannot go says what it waits for, and refuses what is new with its reason")
    func remaining() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", "/api/v1/namespaces", ["metadata": ["name": "n"]])
        try fixture.ask(
            "POST", "/api/v1/namespaces/n/configmaps", ["metadata": ["name": "c", "finalizers": ["a.example/b"]]])
        try fixture.ask("DELETE", "/api/v1/namespaces/n")
        let namespace = try fixture.registry.get(.namespace, "", "n")
        let messages = (namespace.status["conditions"]?.array ?? []).compactMap { $0["message"]?.string }
        #expect(
            messages == [
                "Some resources are remaining: configmaps. has 1 resource instances",
                "Some content in the namespace has finalizers remaining: a.example/b in 1 resource instances",
            ])
        let refused = try fixture.ask("POST", "/api/v1/namespaces/n/configmaps", ["metadata": ["name": "d"]])
        #expect(refused.status == 403)
        #expect(refused.json["details"]?["causes"]?[0]?["reason"] == "NamespaceTerminating")
    }

    @Test("an autoscaler of autoscaling/v1 is one of v2, and what v1 cannot say is not lost when it is written back")
    func autoscalers() throws {
        let fixture = try Fixture()
        let path = "/namespaces/default/horizontalpodautoscalers"
        let old = "/apis/autoscaling/v1" + path
        let new = "/apis/autoscaling/v2" + path
        let made = try fixture.ask(
            "POST", old,
            [
                "metadata": ["name": "web"],
                "spec": [
                    "scaleTargetRef": ["kind": "Deployment", "name": "web"], "maxReplicas": 4,
                    "targetCPUUtilizationPercentage": 50,
                ],
            ])
        #expect(made.status == 201 && made.json["spec"]?["targetCPUUtilizationPercentage"] == 50)
        #expect(made.json["apiVersion"] == "autoscaling/v1" && made.json["spec"]?["metrics"] == nil)
        let metrics = try fixture.ask("GET", new + "/web").json["spec"]?["metrics"]
        #expect(metrics?[0]?["resource"]?["target"] == ["type": "Utilization", "averageUtilization": 50])
        let requests: JSON = [
            "type": "Pods",
            "pods": [
                "metric": ["name": "requests_per_second"], "target": ["type": "AverageValue", "averageValue": "5"],
            ],
        ]
        let both: JSON = .array((metrics?.array ?? []) + [requests])
        try fixture.ask("PATCH", new + "/web", ["spec": ["metrics": both]], type: "application/merge-patch+json")
        var view = try fixture.ask("GET", old + "/web").json
        #expect(view["spec"]?["targetCPUUtilizationPercentage"] == 50)
        view["spec"]?["targetCPUUtilizationPercentage"] = 60
        #expect(try fixture.ask("PUT", old + "/web", view).status == 200)
        let last = try fixture.ask("GET", new + "/web").json
        #expect(last["spec"]?["metrics"]?[0]?["resource"]?["target"]?["averageUtilization"] == 60)
        #expect(last["spec"]?["metrics"]?[1] == requests)
        #expect(last["metadata"]?["annotations"]?["skein.dev/autoscaling-v2"] == nil)
        // Applied in v1, too.
        let applied = try fixture.ask(
            "PATCH", old + "/web?fieldManager=me&force=true",
            [
                "apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", "metadata": ["name": "web"],
                "spec": [
                    "scaleTargetRef": ["kind": "Deployment", "name": "web"], "maxReplicas": 7,
                    "targetCPUUtilizationPercentage": 60,
                ],
            ], type: "application/apply-patch+yaml")
        #expect(applied.status == 200 && applied.json["spec"]?["maxReplicas"] == 7, "\(applied.json.text)")
        let after = try fixture.ask("GET", new + "/web").json
        #expect(after["spec"]?["metrics"]?[0]?["resource"]?["target"]?["averageUtilization"] == 60)
        // What only v2 has is unknown in v1, and no status is lost by writing it in v1.
        let strict = try fixture.ask(
            "PATCH", old + "/web?fieldValidation=Strict", ["spec": ["behavior": ["scaleDown": [:]]]],
            type: "application/merge-patch+json")
        #expect(strict.status == 400 && strict.message.contains("unknown field \"spec.behavior\""), "\(strict.message)")
        #expect(try fixture.ask("PUT", old + "/web/status", view).status == 405)
    }

    @Test("a namespace empties itself before it goes, and takes nothing new meanwhile")
    func namespace() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", "/api/v1/namespaces", ["metadata": ["name": "n"]])
        try fixture.ask("POST", "/api/v1/namespaces/n/pods", Fixture.pod("a"))
        try fixture.ask("POST", "/api/v1/namespaces/n/services", Fixture.service("s"))
        let answer = try fixture.ask("DELETE", "/api/v1/namespaces/n")
        #expect(answer.json["status"]?["phase"] == "Terminating")
        #expect(try fixture.ask("GET", "/api/v1/namespaces/n/services/s").status == 404)
        let late = try fixture.ask("POST", "/api/v1/namespaces/n/services", Fixture.service("t"))
        #expect(late.status == 403)
        #expect(late.message.hasSuffix("because it is being terminated"))
        try fixture.ask("DELETE", "/api/v1/namespaces/n/pods/a", ["gracePeriodSeconds": 0])
        #expect(try fixture.ask("GET", "/api/v1/namespaces/n").status == 404)
    }

    @Test("an object of a namespace that is not there is refused")
    func noNamespace() throws {
        let fixture = try Fixture()
        let answer = try fixture.ask("POST", "/api/v1/namespaces/nope/services", Fixture.service("a"))
        #expect(answer.status == 404)
        #expect(answer.message == "namespaces \"nope\" not found")
    }

    @Test("generateName makes a name that is free")
    func generateName() throws {
        let fixture = try Fixture()
        var pod = Fixture.pod("")
        pod["metadata"] = ["generateName": "web-"]
        let name = try fixture.ask("POST", pods, pod).json["metadata"]?["name"]?.string ?? ""
        #expect(name.hasPrefix("web-") && name.count == 9)
    }

    @Test("preconditions of a deletion are checked")
    func preconditions() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", services, Fixture.service("a"))
        #expect(try fixture.ask("DELETE", services + "/a", ["preconditions": ["uid": "x"]]).status == 409)
        #expect(try fixture.ask("DELETE", services + "/a", ["preconditions": ["resourceVersion": "1"]]).status == 409)
        #expect(try fixture.ask("GET", services + "/a").status == 200)
    }

    @Test("events are forgotten after an hour")
    func events() throws {
        let fixture = try Fixture()
        try fixture.ask(
            "POST", "/api/v1/namespaces/default/events",
            ["metadata": ["name": "e"], "involvedObject": ["kind": "Pod", "name": "a"]])
        fixture.seconds += 3599
        fixture.registry.collectGarbage()
        #expect(fixture.registry.list(.event).count == 1)
        fixture.seconds += 2
        fixture.registry.collectGarbage()
        #expect(fixture.registry.list(.event).isEmpty)
    }
}
