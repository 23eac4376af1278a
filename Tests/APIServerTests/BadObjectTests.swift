import KubernetesAPI
import Serialization
import Store
import Testing

@testable import APIServer

/// What Kubernetes refuses, and with which words; the part of a message that is a rule of names is cut off after its beginning.
@Suite("Bad objects")
struct BadObjectTests {
    private func refusal(_ fixture: Fixture, _ path: String, _ body: JSON) throws -> String {
        let answer = try fixture.ask("POST", path, body)
        return answer.status == 422 ? answer.message : "\(answer.status) \(answer.message)"
    }

    /// The object with the members of a fragment; null takes one away.
    private func merged(_ base: JSON, _ text: String) throws -> JSON {
        var result = base
        for (name, value) in try JSON.parse(text).object ?? [:] { result[name] = value.isNull ? nil : value }
        return result
    }

    @Test("containers, of pods and of templates")
    func containers() throws {
        let fixture = try Fixture()
        for (fragment, wanted) in Self.badContainers {
            let container = try merged(["name": "c", "image": "x"], fragment)
            let pod: JSON = ["metadata": ["name": "p"], "spec": ["containers": [container]]]
            let found = try refusal(fixture, APIServerTests.pods, pod)
            #expect(found.contains("spec.containers[0]." + wanted), "\(fragment)")
            var deployment = Fixture.deployment()
            deployment["spec"]?["template"]?["spec"] = ["containers": [container]]
            let template = try refusal(fixture, deployments, deployment)
            #expect(template.contains("spec.template.spec.containers[0]." + wanted), "\(fragment)")
        }
    }

    @Test("pods and services", arguments: [(pods, badPods), (services, badServices)])
    func specs(path: String, table: [(String, String)]) throws {
        let fixture = try Fixture()
        let isPod = path == APIServerTests.pods
        for (fragment, wanted) in table {
            let spec = try merged(
                isPod ? ["containers": [["name": "c", "image": "x"]]] : ["ports": [["port": 80]]], fragment)
            let found = try refusal(fixture, path, ["metadata": ["name": "a"], "spec": spec])
            #expect(found.contains("spec." + wanted), "\(fragment)")
        }
    }

    @Test("all other kinds")
    func objects() throws {
        let fixture = try Fixture()
        for (path, body, wanted) in Self.badObjects {
            #expect(try refusal(fixture, path, JSON.parse(body)).contains(wanted), "\(body)")
        }
    }

    @Test("a pod that uses all of it is taken")
    func goodPod() throws {
        let spec = """
            {"hostNetwork": true, "hostname": "h", "subdomain": "s", "nodeSelector": {"kubernetes.io/os": "linux"},
             "dnsPolicy": "None", "dnsConfig": {"nameservers": ["10.96.0.10", "2001:db8::1"]}, "activeDeadlineSeconds": 600,
             "tolerations": [{"operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoExecute", "tolerationSeconds": 5}],
             "hostAliases": [{"ip": "10.1.2.3", "hostnames": ["a.b"]}], "securityContext": {"runAsUser": 0, "fsGroup": 5},
             "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway"}],
             "volumes": [{"name": "e", "emptyDir": {"sizeLimit": "1Gi"}}, {"name": "h", "hostPath": {"path": "/x", "type": "Directory"}},
               {"name": "s", "secret": {"secretName": "s", "defaultMode": 256, "items": [{"key": "k", "path": "a/b"}]}},
               {"name": "d", "downwardAPI": {"items": [{"path": "l", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
               {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}, {"configMap": {"name": "c"}}]}}],
             "initContainers": [{"name": "side", "image": "x", "restartPolicy": "Always", "startupProbe": {"exec": {"command": ["a"]}}}],
             "containers": [{"name": "c", "image": "x:1", "ports": [{"containerPort": 80, "name": "http"}, {"containerPort": 80, "protocol": "UDP"}],
               "env": [{"name": "A", "value": ""}, {"name": "B", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['a/b']"}}},
                 {"name": "C", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
                 {"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}],
               "resources": {"limits": {"cpu": "1", "memory": "1Gi", "example.com/gpu": "1"}, "requests": {"cpu": "500m"}},
               "volumeMounts": [{"name": "e", "mountPath": "/e", "subPath": "a/b"}, {"name": "s", "mountPath": "/s"}],
               "livenessProbe": {"grpc": {"port": 5}}, "readinessProbe": {"httpGet": {"port": "http"}, "successThreshold": 2},
               "lifecycle": {"preStop": {"sleep": {"seconds": 1}}, "postStart": {"exec": {"command": ["a"]}}},
               "securityContext": {"runAsUser": 5, "allowPrivilegeEscalation": false}}]}
            """
        let answer = try Fixture().ask("POST", pods, ["metadata": ["name": "p"], "spec": try JSON.parse(spec)])
        #expect(answer.status == 201, "\(answer.message)")
    }

    @Test("what an earlier version accepted keeps its labels free; what is new and wrong is refused")
    func ratchet() throws {
        let fixture = try Fixture()
        let old: JSON = [
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "old", "namespace": "default", "uid": "u"],
            "data": ["a": "1"], "binaryData": ["a": "eA=="],
        ]
        let key = fixture.registry.key(.configMap, "default", "old")
        _ = try fixture.registry.store.create(key, old, .synced)
        let (path, type) = ("/api/v1/namespaces/default/configmaps/old", "application/merge-patch+json")
        #expect(try fixture.ask("PATCH", path, ["metadata": ["labels": ["x": "y"]]], type: type).status == 200)
        let worse = try fixture.ask("PATCH", path, ["data": ["b": "1"], "binaryData": ["b": "eA=="]], type: type)
        #expect(worse.status == 422 && !worse.message.contains("data[a]"), "\(worse.message)")
    }

    @Test("what Kubernetes fills in is filled in, and what belongs to a type goes with it")
    func defaults() throws {
        let fixture = try Fixture()
        #expect(try fixture.ask("POST", pods, Fixture.pod("p")).json["spec"]?["enableServiceLinks"] == true)
        let slices = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"
        let slice: JSON = ["metadata": ["name": "s"], "addressType": "IPv4", "endpoints": [], "ports": [["port": 80]]]
        #expect(
            try fixture.ask("POST", slices, slice).json["ports"] == [["name": "", "port": 80, "protocol": "TCP"]])
        let job: JSON = [
            "metadata": ["name": "j"],
            "spec": ["template": ["spec": ["restartPolicy": "Never", "containers": [["name": "c", "image": "x"]]]]],
        ]
        let jobs = "/apis/batch/v1/namespaces/default/jobs"
        #expect(try fixture.ask("POST", jobs, job).json["spec"]?["manualSelector"] == false)
        let opened = try fixture.ask("POST", services, Fixture.service("lb", ["type": "LoadBalancer"])).json["spec"]
        #expect(opened?["allocateLoadBalancerNodePorts"] == true && opened?["externalTrafficPolicy"] == "Cluster")
        let closed = try fixture.ask(
            "PATCH", services + "/lb", ["spec": ["type": "ClusterIP"]], type: "application/merge-patch+json")
        #expect(closed.status == 200, "\(closed.message)")
        let left = closed.json["spec"]
        #expect(left?["allocateLoadBalancerNodePorts"] == nil && left?["externalTrafficPolicy"] == nil)
        let refused = try fixture.ask(
            "PATCH", services + "/lb", ["spec": ["externalTrafficPolicy": "Local"]],
            type: "application/merge-patch+json")
        #expect(refused.message.contains("may only be set for externally-accessible services"))
    }
}
