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

    // MARK: the tables

    static let badContainers: [(String, String)] = [
        (#"{"name": "A_"}"#, #"name: Invalid value: "A_": a lowercase RFC 1123 label must"#),
        (#"{"name": ""}"#, #"name: Required value"#),
        (#"{"image": null}"#, #"image: Required value"#),
        (#"{"image": " x"}"#, #"image: Invalid value: " x": must not have leading or trailing whitespace"#),
        (
            #"{"imagePullPolicy": "x"}"#,
            #"imagePullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never""#
        ),
        (#"{"ports": [{"containerPort": 0}]}"#, #"ports[0].containerPort: Required value"#),
        (
            #"{"ports": [{"containerPort": 65536}]}"#,
            #"ports[0].containerPort: Invalid value: 65536: must be between 1 and 65535, inclusive"#
        ),
        (
            #"{"ports": [{"containerPort": 1, "name": "1"}]}"#,
            #"ports[0].name: Invalid value: "1": must contain at least one letter (a-z)"#
        ),
        (
            #"{"ports": [{"containerPort": 1, "name": "aaaaaaaaaaaaaaaa"}]}"#,
            #"ports[0].name: Invalid value: "aaaaaaaaaaaaaaaa": must be no more than 15 characters"#
        ),
        (
            #"{"ports": [{"containerPort": 1, "name": "a"}, {"containerPort": 2, "name": "a"}]}"#,
            #"ports[1].name: Duplicate value: "a""#
        ),
        (
            #"{"ports": [{"containerPort": 1, "protocol": "x"}]}"#,
            #"ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP""#
        ),
        (
            #"{"env": [{"name": "a=b", "value": "x"}]}"#,
            #"env[0].name: Invalid value: "a=b": a valid environment variable name must"#
        ),
        (#"{"env": [{"name": "", "value": "x"}]}"#, #"env[0].name: Required value"#),
        (
            #"{"env": [{"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}"#,
            #"env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.x"}}}]}"#,
            #"env[0].valueFrom.fieldRef.fieldPath: Invalid value: "metadata.x": error converting fieldPath: field label not supported: metadata.x"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}, "secretKeyRef": {"name": "a", "key": "b"}}}]}"#,
            #"env[0].valueFrom: Invalid value: "": may not have more than one field specified at a time"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {}}]}"#,
            #"env[0].valueFrom: Invalid value: "": must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef` or `secretKeyRef`"#
        ),
        (
            #"{"env": [{"name": "a", "valueFrom": {"secretKeyRef": {"name": "a"}}}]}"#,
            #"env[0].valueFrom.secretKeyRef.key: Required value"#
        ),
        (#"{"volumeMounts": [{"name": "v", "mountPath": "/v"}]}"#, #"volumeMounts[0].name: Not found: "v""#),
        (
            #"{"resources": {"limits": {"cpu": "-1"}}}"#,
            #"resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0"#
        ),
        (
            #"{"resources": {"limits": {"cpu": "1"}, "requests": {"cpu": "2"}}}"#,
            #"resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1"#
        ),
        (
            #"{"resources": {"limits": {"x": "1"}}}"#,
            #"resources.limits[x]: Invalid value: "x": must be a standard resource type or fully qualified"#
        ),
        (#"{"livenessProbe": {}}"#, #"livenessProbe: Required value: must specify a handler type"#),
        (
            #"{"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["a"]}}}"#,
            #"livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type"#
        ),
        (#"{"livenessProbe": {"exec": {"command": []}}}"#, #"livenessProbe.exec.command: Required value"#),
        (
            #"{"livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": -1}}"#,
            #"livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"{"livenessProbe": {"tcpSocket": {"port": 1}, "successThreshold": 2}}"#,
            #"livenessProbe.successThreshold: Invalid value: 2: must be 1"#
        ),
        (
            #"{"livenessProbe": {"httpGet": {"port": 0}}}"#,
            #"livenessProbe.httpGet.port: Invalid value: 0: must be between 1 and 65535, inclusive"#
        ),
        (
            #"{"livenessProbe": {"httpGet": {"port": 1, "scheme": "x"}}}"#,
            #"livenessProbe.httpGet.scheme: Unsupported value: "x": supported values: "HTTP", "HTTPS""#
        ),
        (#"{"lifecycle": {"preStop": {}}}"#, #"lifecycle.preStop: Required value: must specify a handler type"#),
        (
            #"{"securityContext": {"runAsUser": -1}}"#,
            #"securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"#
        ),
        (
            #"{"terminationMessagePath": "x", "terminationMessagePolicy": "y"}"#,
            #"terminationMessagePolicy: Unsupported value: "y": supported values: "FallbackToLogsOnError", "File""#
        ),
    ]

    static let badPods: [(String, String)] = [
        (#"{"containers": []}"#, #"containers: Required value"#),
        (
            #"{"containers": [{"name": "c", "image": "x"}, {"name": "c", "image": "x"}]}"#,
            #"containers[1].name: Duplicate value: "c""#
        ),
        (#"{"initContainers": [{"name": "c", "image": "x"}]}"#, #"initContainers[0].name: Duplicate value: "c""#),
        (
            #"{"restartPolicy": "x"}"#,
            #"restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never""#
        ),
        (
            #"{"dnsPolicy": "x"}"#,
            #"dnsPolicy: Unsupported value: "x": supported values: "ClusterFirst", "ClusterFirstWithHostNet", "Default", "None""#
        ),
        (#"{"dnsPolicy": "None"}"#, #"dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"#),
        (
            #"{"dnsPolicy": "None", "dnsConfig": {}}"#,
            #"dnsConfig.nameservers: Required value: must provide at least one DNS nameserver when `dnsPolicy` is None"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 1, "hostPort": 9}]}, {"name": "e", "image": "x", "ports": [{"containerPort": 2, "hostPort": 9}]}]}"#,
            #"containers[1].ports[0].hostPort: Duplicate value: "TCP//9""#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "ports": [{"containerPort": 80, "hostPort": 81}]}], "hostNetwork": true}"#,
            #"containers[0].ports[0].containerPort: Invalid value: 80: must match `hostPort` when `hostNetwork` is true"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": ""}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[0].mountPath: Required value"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/a"}, {"name": "v", "mountPath": "/a"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[1].mountPath: Invalid value: "/a": must be unique"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "../b"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[0].subPath: Invalid value: "../b": must not contain '..'"#
        ),
        (
            #"{"containers": [{"name": "c", "image": "x", "volumeMounts": [{"name": "v", "mountPath": "/a", "subPath": "/b"}]}], "volumes": [{"name": "v", "emptyDir": {}}]}"#,
            #"containers[0].volumeMounts[0].subPath: Invalid value: "/b": must be a relative path"#
        ),
        (
            #"{"volumes": [{"name": "v", "emptyDir": {}}, {"name": "v", "emptyDir": {}}]}"#,
            #"volumes[1].name: Duplicate value: "v""#
        ),
        (#"{"volumes": [{"name": "v", "secret": {}}]}"#, #"volumes[0].secret.secretName: Required value"#),
        (
            #"{"volumes": [{"name": "v", "secret": {"secretName": "a"}, "emptyDir": {}}]}"#,
            #"volumes[0].secret: Forbidden: may not specify more than 1 volume type"#
        ),
        (
            #"{"volumes": [{"name": "A", "emptyDir": {}}]}"#,
            #"volumes[0].name: Invalid value: "A": a lowercase RFC 1123 label must"#
        ),
        (#"{"volumes": [{"name": "v", "hostPath": {"path": ""}}]}"#, #"volumes[0].hostPath.path: Required value"#),
        (
            #"{"volumes": [{"name": "v", "hostPath": {"path": "/a", "type": "x"}}]}"#,
            #"volumes[0].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket""#
        ),
        (
            #"{"volumes": [{"name": "v", "configMap": {"name": "a", "defaultMode": 1000}}]}"#,
            #"volumes[0].configMap.defaultMode: Invalid value: 1000: must be a number between 0 and 0777 (octal), both inclusive"#
        ),
        (
            #"{"volumes": [{"name": "v", "configMap": {"name": "a", "items": [{"key": "", "path": "b"}]}}]}"#,
            #"volumes[0].configMap.items[0].key: Required value"#
        ),
        (
            #"{"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": ""}}]}"#,
            #"volumes[0].persistentVolumeClaim.claimName: Required value"#
        ),
        (
            #"{"initContainers": [{"name": "i", "image": "x", "livenessProbe": {"tcpSocket": {"port": 1}}}]}"#,
            #"initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"#
        ),
        (
            #"{"initContainers": [{"name": "i", "image": "x", "restartPolicy": "Never"}]}"#,
            #"initContainers[0].restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ),
        (
            #"{"terminationGracePeriodSeconds": -1}"#,
            #"terminationGracePeriodSeconds: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"{"activeDeadlineSeconds": 0}"#,
            #"activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"#
        ),
        (#"{"nodeName": "A_"}"#, #"nodeName: Invalid value: "A_": a lowercase RFC 1123 subdomain must"#),
        (#"{"nodeSelector": {"a": "b c"}}"#, #"nodeSelector: Invalid value: "b c": a valid label must"#),
        (#"{"hostname": "A"}"#, #"hostname: Invalid value: "A": a lowercase RFC 1123 label must"#),
        (
            #"{"tolerations": [{"key": "a", "operator": "Exists", "value": "b"}]}"#,
            #"tolerations[0].operator: Invalid value: "b": value must be empty when `operator` is 'Exists'"#
        ),
        (
            #"{"tolerations": [{"key": "a", "effect": "x"}]}"#,
            #"tolerations[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute""#
        ),
        (
            #"{"tolerations": [{"key": "a", "operator": "x"}]}"#,
            #"tolerations[0].operator: Unsupported value: "x": supported values: "Equal", "Exists""#
        ),
        (
            #"{"hostAliases": [{"ip": "x"}]}"#,
            #"hostAliases[0].ip: Invalid value: "x": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"#
        ),
        (
            #"{"serviceAccountName": "A_"}"#,
            #"serviceAccountName: Invalid value: "A_": a lowercase RFC 1123 subdomain must"#
        ),
        (
            #"{"ephemeralContainers": [{"name": "e", "image": "x"}]}"#,
            #"ephemeralContainers: Forbidden: cannot be set on create"#
        ),
        (
            #"{"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "a", "whenUnsatisfiable": "DoNotSchedule"}]}"#,
            #"topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero"#
        ),
        (
            #"{"preemptionPolicy": "x"}"#,
            #"preemptionPolicy: Unsupported value: "x": supported values: "Never", "PreemptLowerPriority""#
        ),
    ]

    static let badServices: [(String, String)] = [
        (#"{"ports": []}"#, #"ports: Required value"#),
        (#"{"ports": [{"port": 1}, {"port": 2}]}"#, #"ports[0].name: Required value"#),
        (#"{"ports": [{"port": 1, "name": "a"}, {"port": 2, "name": "a"}]}"#, #"ports[1].name: Duplicate value: "a""#),
        (
            #"{"ports": [{"port": 1, "name": "a"}, {"port": 1, "name": "b"}]}"#,
            #"ports[1]: Duplicate value: {"port":1,"protocol":"TCP"}"#
        ),
        (#"{"ports": [{"port": 0}]}"#, #"ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"#),
        (
            #"{"ports": [{"port": 1, "targetPort": "A_"}]}"#,
            #"ports[0].targetPort: Invalid value: "A_": must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)"#
        ),
        (
            #"{"type": "x"}"#,
            #"type: Unsupported value: "x": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort""#
        ),
        (
            #"{"sessionAffinity": "x"}"#,
            #"sessionAffinity: Unsupported value: "x": supported values: "ClientIP", "None""#
        ),
        (#"{"type": "ExternalName", "ports": null}"#, #"externalName: Required value"#),
        (
            #"{"externalIPs": ["127.0.0.1"]}"#,
            #"externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)"#
        ),
        (
            #"{"ports": [{"port": 1, "nodePort": 30001}]}"#,
            #"ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"#
        ),
        (
            #"{"type": "LoadBalancer", "clusterIP": "None"}"#,
            #"clusterIPs[0]: Invalid value: "None": may not be set to 'None' for LoadBalancer services"#
        ),
        (
            #"{"loadBalancerSourceRanges": ["1.2.3.4/8"]}"#,
            #"loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'"#
        ),
        (
            #"{"internalTrafficPolicy": "x"}"#,
            #"internalTrafficPolicy: Unsupported value: "x": supported values: "Cluster", "Local""#
        ),
        (#"{"selector": {"a": "b c"}}"#, #"selector: Invalid value: "b c": a valid label must"#),
        (
            #"{"sessionAffinity": "ClientIP", "sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 0}}}"#,
            #"sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 0: must be greater than 0 and less than or equal to 86400"#
        ),
        (
            #"{"ipFamilyPolicy": "x"}"#,
            #"ipFamilyPolicy: Unsupported value: "x": supported values: "PreferDualStack", "RequireDualStack", "SingleStack""#
        ),
        (
            #"{"ports": [{"port": 1, "appProtocol": "a b"}]}"#,
            #"ports[0].appProtocol: Invalid value: "a b": name part must"#
        ),
    ]

    static let badObjects: [(String, String, String)] = [
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "A"}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a": "b c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.labels: Invalid value: "b c": a valid label must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "labels": {"a b": "c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.labels: Invalid value: "a b": name part must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "annotations": {"a b": "c"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.annotations: Invalid value: "a b": name part must"#
        ),
        (
            #"/api/v1/namespaces/default/pods"#,
            #"{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "finalizers": ["x y"]}, "spec": {"containers": [{"name": "c", "image": "x"}]}}"#,
            #"metadata.finalizers[0]: Invalid value: "x y": name part must"#
        ),
        (
            #"/api/v1/namespaces/default/services"#,
            #"{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "1a"}, "spec": {"ports": [{"port": 80}]}}"#,
            #"metadata.name: Invalid value: "1a": a DNS-1035 label must"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "c"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.selector: Required value"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "replicas": -1}}"#,
            #"spec.replicas: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"type": "x"}}}"#,
            #"spec.strategy.type: Unsupported value: "x": supported values: "Recreate", "RollingUpdate""#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"type": "Recreate", "rollingUpdate": {"maxSurge": 1}}}}"#,
            #"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}}"#,
            #"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"rollingUpdate": {"maxSurge": "x%"}}}}"#,
            #"spec.strategy.rollingUpdate.maxSurge: Invalid value: "x%": a valid percent string must"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}}}"#,
            #"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be greater than 100%"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/deployments"#,
            #"{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}, "progressDeadlineSeconds": 5, "minReadySeconds": 10}}"#,
            #"spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"#
        ),
        (
            #"/apis/apps/v1/namespaces/default/daemonsets"#,
            #"{"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always""#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"containers": [{"name": "c", "image": "x"}]}}}}"#,
            #"spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never""#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}, "completions": -1}}"#,
            #"spec.completions: Invalid value: -1: must be greater than or equal to 0"#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}, "selector": {"matchLabels": {"a": "b"}}}}"#,
            #"spec.selector: Invalid value:"#
        ),
        (
            #"/apis/batch/v1/namespaces/default/jobs"#,
            #"{"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j"}, "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "x"}]}}, "completionMode": "x"}}"#,
            #"spec.completionMode: Unsupported value: "x": supported values: "Indexed", "NonIndexed""#
        ),
        (
            #"/api/v1/namespaces/default/configmaps"#,
            #"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "data": {"a b": "c"}}"#,
            #"data[a b]: Invalid value: "a b": a valid config key must"#
        ),
        (
            #"/api/v1/namespaces/default/configmaps"#,
            #"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "n"}, "data": {"a": "c"}, "binaryData": {"a": "eA=="}}"#,
            #"data[a]: Invalid value: "a": duplicate of key present in binaryData"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/tls", "data": {}}"#,
            #"data[tls.crt]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/dockerconfigjson", "data": {}}"#,
            #"data[.dockerconfigjson]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/basic-auth", "data": {}}"#,
            #"data[username]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/secrets"#,
            #"{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "n"}, "type": "kubernetes.io/service-account-token", "data": {}}"#,
            #"metadata.annotations[kubernetes.io/service-account.name]: Required value"#
        ),
        (
            #"/api/v1/namespaces"#, #"{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a.b"}}"#,
            #"metadata.name: Invalid value: "a.b": a lowercase RFC 1123 label must"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {"rules": [{"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": {"service": {"name": "a", "port": {"number": 1}}}}]}}]}}"#,
            #"spec.rules[0].http.paths[0].path: Invalid value: "x": must be an absolute path"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {}}"#,
            #"spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {"rules": [{"host": "1.2.3.4"}]}}"#,
            #"spec.rules[0].host: Invalid value: "1.2.3.4": must be a DNS name, not an IP address"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/ingresses"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "n"}, "spec": {"rules": [{"host": "*.*.a"}]}}"#,
            #"spec.rules[0].host: Invalid value: "*.*.a": a wildcard DNS-1123 subdomain must"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"ports": [{"port": 0}]}]}}"#,
            #"spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "x"}}]}]}}"#,
            #"spec.ingress[0].from[0].ipBlock.cidr: Invalid value: "x": must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}}]}]}}"#,
            #"spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: "11.0.0.0/16": must be a strict subset of `cidr`"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "ingress": [{"from": [{}]}]}}"#,
            #"spec.ingress[0].from[0]: Required value: must specify a peer"#
        ),
        (
            #"/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"#,
            #"{"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "n"}, "spec": {"podSelector": {}, "policyTypes": ["x"]}}"#,
            #"spec.policyTypes[0]: Unsupported value: "x": supported values: "Egress", "Ingress""#
        ),
        (
            #"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"#,
            #"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "n"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}, "minReplicas": 0, "maxReplicas": 1}}"#,
            #"spec.minReplicas: Invalid value: 0: must be greater than or equal to 1"#
        ),
        (
            #"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"#,
            #"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "n"}, "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "a", "apiVersion": "apps/v1"}, "minReplicas": 3, "maxReplicas": 1}}"#,
            #"spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`"#
        ),
        (
            #"/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"#,
            #"{"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "n"}, "spec": {"scaleTargetRef": {"kind": "", "name": ""}, "maxReplicas": 1}}"#,
            #"spec.scaleTargetRef.kind: Required value"#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "n"}, "rules": [{"nonResourceURLs": ["/a"], "verbs": ["get"]}]}"#,
            #"rules[0].nonResourceURLs: Invalid value: ["/a"]: namespaced rules cannot apply to non-resource URLs"#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/roles"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "n"}, "rules": [{"apiGroups": [""], "resources": [], "verbs": ["get"]}]}"#,
            #"rules[0].resources: Required value: resource rules must supply at least one resource"#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "n"}, "roleRef": {"apiGroup": "x", "kind": "y", "name": ""}}"#,
            #"roleRef.apiGroup: Unsupported value: "x": supported values: "rbac.authorization.k8s.io""#
        ),
        (
            #"/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"#,
            #"{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "n"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "a"}, "subjects": [{"kind": "ServiceAccount", "name": "A_"}]}"#,
            #"subjects[0].name: Invalid value: "A_": a lowercase RFC 1123 subdomain must"#
        ),
        (
            #"/apis/coordination.k8s.io/v1/namespaces/default/leases"#,
            #"{"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "n"}, "spec": {"leaseDurationSeconds": 0}}"#,
            #"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0"#
        ),
        (
            #"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"#,
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "n"}, "addressType": "x", "endpoints": []}"#,
            #"addressType: Unsupported value: "x": supported values: "FQDN", "IPv4", "IPv6""#
        ),
        (
            #"/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"#,
            #"{"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": {"name": "n"}, "addressType": "IPv4", "endpoints": [{"addresses": ["x"]}]}"#,
            #"endpoints[0].addresses[0]: Invalid value: "x": must be a valid IPv4 address"#
        ),
        (
            #"/api/v1/namespaces/default/persistentvolumeclaims"#,
            #"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "n"}, "spec": {"accessModes": ["ReadWriteOnce"]}}"#,
            #"spec.resources[storage]: Required value"#
        ),
        (
            #"/api/v1/namespaces/default/persistentvolumeclaims"#,
            #"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "n"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}"#,
            #"spec.accessModes: Required value: at least 1 access mode is required"#
        ),
        (
            #"/api/v1/namespaces/default/persistentvolumeclaims"#,
            #"{"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "n"}, "spec": {"accessModes": ["x"], "resources": {"requests": {"storage": "1Gi"}}}}"#,
            #"spec.accessModes: Unsupported value: "x": supported values: "ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod""#
        ),
        (
            #"/apis/storage.k8s.io/v1/storageclasses"#,
            #"{"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "x"}, "provisioner": ""}"#,
            #"provisioner: Required value"#
        ),
    ]
}
