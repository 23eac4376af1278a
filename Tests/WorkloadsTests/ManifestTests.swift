import KubernetesAPI
import Network
import Serialization
import Testing

@testable import Workloads

private struct Objects: PodReferences {
    func configMap(_ namespace: String, _ name: String) -> KubernetesObject? {
        guard namespace == "shop", name == "settings" else { return nil }
        return KubernetesObject(json: ["kind": "ConfigMap", "data": ["color": "blue", "size": "4"]])
    }
    func secret(_ namespace: String, _ name: String) -> KubernetesObject? {
        guard namespace == "shop", name == "token" else { return nil }
        return KubernetesObject(json: ["kind": "Secret", "data": ["key": "c2VjcmV0"]])
    }
}

@Suite("Pods read and checked")
struct ManifestTests {
    private func environment(_ container: JSON) throws -> [String] {
        var container = container
        container["name"] = "app"
        let pod = try pod(["containers": [container]], labels: ["app": "web"])
        var facts = PodFacts()
        facts.podIP = "10.244.0.7"
        return try ContainerEnvironment.resolve(
            pod.containers[0], of: pod, facts: facts, image: ["FROM=image"], references: Objects())
    }

    @Test("variables come from values, ConfigMaps, Secrets and fields, and refer to earlier ones")
    func variables() throws {
        let result = try environment([
            "envFrom": [["configMapRef": ["name": "settings"], "prefix": "S_"]],
            "env": [
                ["name": "KEY", "valueFrom": ["secretKeyRef": ["name": "token", "key": "key"]]],
                ["name": "IP", "valueFrom": ["fieldRef": ["fieldPath": "status.podIP"]]],
                ["name": "APP", "valueFrom": ["fieldRef": ["fieldPath": "metadata.labels['app']"]]],
                ["name": "URL", "value": "http://$(IP)/$(S_color)?$$(IP)&$(NONE)"],
                ["name": "GONE", "valueFrom": ["configMapKeyRef": ["name": "no", "key": "x", "optional": true]]],
            ],
        ])
        for entry in [
            "FROM=image", "S_color=blue", "S_size=4", "KEY=secret", "IP=10.244.0.7", "APP=web",
            "URL=http://10.244.0.7/blue?$(IP)&$(NONE)",
        ] { #expect(result.contains(entry)) }
        #expect(!result.contains { $0.hasPrefix("GONE") })
    }

    @Test("limits and requests come in the units that are asked for, rounded up")
    func divisors() throws {
        func entry(_ name: String, _ resource: String, _ divisor: String) -> JSON {
            [
                "name": .string(name),
                "valueFrom": ["resourceFieldRef": ["resource": .string(resource), "divisor": .string(divisor)]],
            ]
        }
        let result = try environment([
            "resources": ["limits": ["cpu": "1500m", "memory": "100Mi"], "requests": ["cpu": "250m"]],
            "env": [
                entry("CORES", "limits.cpu", "0"), entry("MILLIS", "limits.cpu", "1m"),
                entry("ASKED", "requests.cpu", "1m"),
                entry("BYTES", "limits.memory", "1"), entry("MEGS", "limits.memory", "1Mi"),
                entry("GIGS", "limits.memory", "1Gi"),
            ],
        ])
        for wanted in ["CORES=2", "MILLIS=1500", "ASKED=250", "BYTES=104857600", "MEGS=100", "GIGS=1"] {
            #expect(result.contains(wanted))
        }
        #expect(throws: WorkloadError.self) { try environment(["env": [entry("A", "limits.cpu", "-1")]]) }
    }

    @Test("a missing key is an error that names the field and the object")
    func missingKey() {
        let error = #expect(throws: WorkloadError.self) {
            try environment(["env": [["name": "A", "valueFrom": ["configMapKeyRef": ["name": "no", "key": "x"]]]]])
        }
        #expect(error?.reason == "CreateContainerConfigError")
        #expect(error?.message == "spec.containers[0].env[0]: ConfigMap shop/no has no key x")
    }

    @Test(
        "what cannot be run is refused with the field's path",
        arguments: [
            (["securityContext": ["runAsUser": 1337]], "runAsUser"),
            (["securityContext": ["privileged": true]], "privileged"),
            (["securityContext": ["capabilities": ["add": ["FLY"]]]], "capabilities.add"),
            (["resources": ["limits": ["memory": "lots"]]], "resources.limits.memory"),
            (["volumeMounts": [["name": "v", "mountPath": "/a/../b"]]], "mountPath"),
            (["volumeMounts": [["name": "v", "mountPath": "/a"]]], "volumeMounts"),
            (["livenessProbe": ["grpc": ["port": 1]]], "livenessProbe.grpc"),
            (["ports": [["containerPort": 80, "hostPort": 80]]], "hostPort"),
        ] as [(JSON, String)])
    func refusals(_ container: JSON, _ field: String) {
        var container = container
        container["name"] = "app"
        let error = #expect(throws: WorkloadError.self) { try pod(["containers": [container]]) }
        #expect(error?.message.hasPrefix("spec.containers[0].") == true)
        #expect(error?.message.contains(field) == true)
    }

    @Test("every pod gets a sidecar, unless its network, its label, its annotation or its namespace says no")
    func injection() throws {
        let spec: JSON = ["containers": [["name": "app"]]]
        let disabled = ["istio-injection": "disabled"]
        let key = "sidecar.istio.io/inject"
        #expect(SidecarPlan.role(of: try pod(spec), namespaceLabels: [:]) == .sidecar)
        #expect(SidecarPlan.role(of: try pod(spec), namespaceLabels: disabled) == .none)
        #expect(SidecarPlan.role(of: try pod(spec, labels: [key: "false"]), namespaceLabels: [:]) == .none)
        #expect(SidecarPlan.role(of: try pod(spec, annotations: [key: "false"]), namespaceLabels: [:]) == .none)
        #expect(SidecarPlan.role(of: try pod(spec, labels: [key: "true"]), namespaceLabels: disabled) == .sidecar)
        var host = spec
        host["hostNetwork"] = true
        #expect(SidecarPlan.role(of: try pod(host), namespaceLabels: [:]) == .none)
    }

    @Test("bandwidth is a quantity of bits a second in kubelet's annotations; what is none is refused by name")
    func bandwidth() throws {
        func limits(_ annotations: [String: String]) throws -> PodBandwidth {
            try HostPodNetwork.bandwidth(
                try pod(
                    ["containers": [["name": "app"]]], annotations: .object(annotations.mapValues { .string($0) })))
        }
        let (inward, outward) = ("kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth")
        #expect(try limits([:]) == PodBandwidth())
        #expect(try limits([inward: "10M", outward: "1.5k"]) == PodBandwidth(ingress: 10_000_000, egress: 1500))
        #expect(try limits([outward: "1P"]) == PodBandwidth(egress: 1_000_000_000_000_000))
        for wrong in ["", "fast", "999", "2P", "-1M"] {
            do {
                _ = try limits([inward: wrong])
                Issue.record("\(wrong) is taken")
            } catch { #expect("\(error)".contains("annotation \(inward)"), "\(error)") }
        }
    }

    @Test(
        "sidecars ask for what they use, unless the pod's annotation or its ProxyConfig says no; gateways have everything"
    )
    func onDemand() throws {
        func features(_ annotations: [String: String], isGateway: Bool = false) throws -> JSON? {
            let facts = PodFacts()
            let pod = try pod(
                ["containers": [["name": "app"]]], annotations: .object(annotations.mapValues { .string($0) }))
            return SidecarPlan.bootstrap(for: pod, facts: facts, isGateway: isGateway)["node"]?["client_features"]
        }
        let (own, config) = ("skein.dev/on-demand", "proxy.istio.io/config")
        let off = #"{"proxyMetadata":{"SKEIN_ON_DEMAND":"false"}}"#
        #expect(try features([:]) == ["skein.on_demand"])
        #expect(try features([own: "false"]) == [])
        #expect(try features([config: off]) == [])
        #expect(try features([config: "proxyMetadata: {SKEIN_ON_DEMAND: false}"]) == [])
        #expect(try features([config: off, own: "true"]) == ["skein.on_demand"])
        #expect(try features([config: #"{"concurrency":2}"#]) == ["skein.on_demand"])
        #expect(try features([own: "true"], isGateway: true) == [])
    }

    @Test("quantities are read as Kubernetes writes them, rounded up")
    func quantities() {
        let expected: [(String, Int?)] = [
            ("500m", 500), ("0.5", 500), ("2", 2000), ("64Mi", 67_108_864_000), ("1e3", 1_000_000), ("1k", 1_000_000),
            ("0.0001", 1), ("", nil), ("x", nil), ("-1", nil), ("1Zi", nil),
        ]
        for (text, millis) in expected { #expect(Quantity(text)?.millis == millis, "\(text)") }
    }

    @Test("config.json: Docker's capabilities, no new privileges, limits, namespaces, the pod's network")
    func configuration() {
        var spec = ContainerSpec(arguments: ["/bin/true"])
        spec.networkNamespace = "/run/skein/netns/u"
        spec.resources.cpuLimitMillis = 250
        spec.resources.memoryLimitBytes = 1 << 20
        let json = spec.runtimeConfiguration
        #expect(json["process"]?["noNewPrivileges"]?.bool == true)
        #expect(json["process"]?["capabilities"]?["bounding"]?.array?.count == 14)
        #expect(json["process"]?["capabilities"]?["ambient"] == nil)
        let namespaces = json["linux"]?["namespaces"]?.array ?? []
        #expect(Set(namespaces.compactMap { $0["type"]?.string }) == ["pid", "uts", "mount", "ipc", "network"])
        #expect(namespaces.contains(["type": "network", "path": "/run/skein/netns/u"]))
        #expect(json["linux"]?["resources"]?["cpu"] == ["quota": 25_000, "period": 100_000, "shares": 256])
        #expect(json["linux"]?["resources"]?["memory"] == ["limit": 1_048_576])
        #expect(json["linux"]?["resources"]?["devices"] == [["allow": false, "access": "rwm"]])
        let calls = (json["linux"]?["seccomp"]?["syscalls"]?.array ?? [])
            .filter { $0["args"] == nil && $0["action"]?.string == "SCMP_ACT_ALLOW" }
            .flatMap { ($0["names"]?.array ?? []).compactMap(\.string) }
        for forbidden in [
            "mount", "unshare", "setns", "bpf", "ptrace", "kexec_load", "keyctl", "io_uring_setup", "clone",
        ] {
            #expect(!calls.contains(forbidden), "\(forbidden)")
        }
    }
}
