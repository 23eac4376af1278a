import IO
import Serialization
import Testing

@Suite("Real kubectl")
struct KubectlTests {
    static let service = """
        apiVersion: v1
        kind: Service
        metadata:
          name: my-service
        spec:
          selector:
            app: my-app
          ports:
            - protocol: TCP
              port: 80
              targetPort: 9376
        """
    static let loadBalancer = """
        apiVersion: v1
        kind: Service
        metadata:
          name: my-service
        spec:
          selector:
            app: my-app
          ports:
          - protocol: TCP
            port: 80
            targetPort: 8080
          type: LoadBalancer
        ---
        apiVersion: apps/v1
        kind: Deployment
        metadata:
          name: my-deployment
        spec:
          replicas: 3
          selector:
            matchLabels:
              app: my-app
          template:
            metadata:
              labels:
                app: my-app
            spec:
              containers:
              - name: my-container
                image: my-image
                ports:
                - containerPort: 8080
        """
    static let virtualService = """
        apiVersion: networking.istio.io/v1alpha3
        kind: VirtualService
        metadata:
          name: warned
        spec:
          hosts: ["a"]
          http:
            - route:
                - destination:
                    host: a
                  weight: 100
        """

    @Test("there is a kubectl to test with")
    func present() {
        #expect(!kubectls.isEmpty, "install kubernetes-client")
    }

    @Test("apply creates, changes and leaves unchanged; tables, describe, scale and delete work", arguments: kubectls)
    func apply(kubectl: String) async throws {
        let fixture = try KubectlFixture()
        func run(_ arguments: String..., input: String = "") async throws -> KubectlFixture.Result {
            try await fixture.run(kubectl, arguments, input: input)
        }
        let created = try await run("apply", "-f", "-", input: Self.service)
        #expect(created.out == "service/my-service created\n" && created.error == "", "\(created)")
        #expect(try await run("apply", "-f", "-", input: Self.service).out == "service/my-service unchanged\n")
        #expect(
            try await run("apply", "-f", "-", input: Self.loadBalancer).out
                == "service/my-service configured\ndeployment.apps/my-deployment created\n")
        #expect(
            try await run("apply", "-f", "-", input: Self.loadBalancer).out
                == "service/my-service unchanged\ndeployment.apps/my-deployment unchanged\n")
        let table = try await run("get", "services", "my-service").out.split(separator: "\n").map {
            $0.split(separator: " ")
        }
        #expect(table.first == ["NAME", "TYPE", "CLUSTER-IP", "EXTERNAL-IP", "PORT(S)", "AGE"])
        #expect(table.last?.prefix(5) == ["my-service", "LoadBalancer", "10.96.0.2", "10.97.0.1", "80:30000/TCP"])
        #expect(
            try await run("scale", "deployment/my-deployment", "--replicas=5").out
                == "deployment.apps/my-deployment scaled\n"
        )
        #expect(try await run("get", "deployment", "my-deployment", "-o", "jsonpath={.spec.replicas}").out == "5")
        let described = try await run("describe", "service", "my-service")
        #expect(described.out.contains("LoadBalancer Ingress:") && described.status == 0, "\(described)")
        #expect(
            try await run("describe", "deployment", "my-deployment").out.contains("Replicas:               5 desired"))
        #expect(try await run("get", "all").out.contains("deployment.apps/my-deployment"))
        #expect(try await run("label", "service", "my-service", "a=b").out == "service/my-service labeled\n")
        #expect(try await run("get", "svc", "-l", "a=b", "-o", "name").out == "service/my-service\n")
        let yaml = try await run("get", "svc", "my-service", "-o", "yaml").out
        #expect(yaml.contains("kubectl.kubernetes.io/last-applied-configuration") && !yaml.contains("$"))
        #expect(try await run("replace", "-f", "-", input: Self.service).out == "service/my-service replaced\n")
        #expect(
            try await run("delete", "deployment", "my-deployment").out == "deployment.apps \"my-deployment\" deleted\n")
        #expect(try await run("delete", "-f", "-", input: Self.service).out == "service \"my-service\" deleted\n")
        #expect(
            try await run("get", "svc", "my-service").error
                == "Error from server (NotFound): services \"my-service\" not found\n")
    }

    @Test("create by command line, whatever form the body has", arguments: kubectls)
    func create(kubectl: String) async throws {
        let fixture = try KubectlFixture()
        let commands: [[String]] = [
            ["create", "namespace", "n"], ["-n", "n", "create", "configmap", "c", "--from-literal=a=b"],
            ["-n", "n", "create", "secret", "generic", "s", "--from-literal=a=b"],
            ["-n", "n", "create", "deployment", "d", "--image=x", "--replicas=2"],
            ["-n", "n", "create", "service", "clusterip", "v", "--tcp=80:8080"],
            ["-n", "n", "create", "serviceaccount", "sa"],
            ["-n", "n", "create", "ingress", "i", "--rule=a.example/x=v:80"],
        ]
        for command in commands {
            let result = try await fixture.run(kubectl, command)
            #expect(result.status == 0 && result.out.hasSuffix("created\n"), "\(command): \(result)")
        }
        func path(_ arguments: String...) async throws -> String {
            try await fixture.run(kubectl, ["-n", "n", "get"] + arguments).out
        }
        #expect(try await path("secret", "s", "-o", "jsonpath={.data.a}") == "Yg==")
        #expect(
            try await path(
                "deployment", "d", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}")
                == "2 x")
        #expect(
            try await path("service", "v", "-o", "jsonpath={.spec.ports[0].port} {.spec.ports[0].targetPort}")
                == "80 8080")
        #expect(
            try await path(
                "ingress", "i", "-o",
                "jsonpath={.spec.rules[0].host}{.spec.rules[0].http.paths[0].path} {.spec.rules[0].http.paths[0].backend.service.port.number}"
            ) == "a.example/x 80")
        #expect(try await fixture.run(kubectl, ["auth", "can-i", "create", "pods"]).out == "yes\n")
        let gone = try await fixture.run(kubectl, ["delete", "namespace", "n", "--timeout=20s"])
        #expect(gone.status == 0, "\(gone)")
    }

    @Test("bad input gives one clear error, a warning is shown, nothing is stored", arguments: kubectls)
    func bad(kubectl: String) async throws {
        let fixture = try KubectlFixture()
        let kind = try await fixture.run(
            kubectl, ["apply", "-f", "-"], input: "apiVersion: batch/v1\nkind: CronTab\nmetadata: {name: x}\n")
        #expect(
            kind.status == 1 && kind.error.contains("no matches for kind \"CronTab\" in version \"batch/v1\""),
            "\(kind)")
        let ports = try await fixture.run(
            kubectl, ["apply", "-f", "-"], input: Self.service.replacing("port: 80", with: "port: 800000"))
        #expect(
            ports.error.contains("spec.ports[0].port: Invalid value: 800000: must be between 1 and 65535, inclusive"),
            "\(ports)")
        #expect(try await fixture.run(kubectl, ["get", "svc", "-o", "name"]).out == "service/kubernetes\n")
        let warned = try await fixture.run(kubectl, ["apply", "-f", "-"], input: Self.virtualService)
        #expect(warned.out == "virtualservice.networking.istio.io/warned created\n")
        #expect(warned.error == "Warning: spec.hosts[0]: no such service \"a\"\n")
        #expect(
            try await fixture.run(kubectl, ["get", "vs"]).out.split(separator: "\n").first?.split(separator: " ") == [
                "NAME", "GATEWAYS", "HOSTS", "AGE",
            ])
    }

    @Test("an unknown field is refused with its path")
    func unknownField() async throws {
        // Up to 1.28 kubectl validates by itself or not at all; the server's word counts since 1.29.
        guard let kubectl = kubectls.first else { return }
        let fixture = try KubectlFixture()
        let result = try await fixture.run(
            kubectl, ["apply", "-f", "-"], input: Self.loadBalancer.replacing("replicas", with: "replica"))
        #expect(result.error.contains("unknown field \"spec.replica\""), "\(result)")
    }

    @Test("a certificate without the group masters is somebody without rights", arguments: kubectls)
    func rights(kubectl: String) async throws {
        let fixture = try KubectlFixture()
        try fixture.write("jane", ["staff"])
        let result = try await fixture.run(kubectl, ["get", "pods"], user: "jane")
        #expect(result.status == 1)
        #expect(result.error.contains("pods is forbidden: User \"jane\" cannot list resource \"pods\""), "\(result)")
        #expect(try await fixture.run(kubectl, ["get", "--raw", "/readyz"], user: "jane").out == "ok")
    }

    @Test("logs come from the node agent as they are", arguments: kubectls)
    func logs(kubectl: String) async throws {
        let fixture = try KubectlFixture()
        let pod = """
            {"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x"}]}}
            """
        try await fixture.run(kubectl, ["apply", "-f", "-"], input: pod)
        let result = try await fixture.run(kubectl, ["logs", "p", "--tail=5"])
        #expect(result.out == "one tailLines=5\ntwo\n", "\(result)")
        #expect(try await fixture.run(kubectl, ["logs", "p", "-f"]).out == "one follow=true\ntwo\n")
        let wrong = try await fixture.run(kubectl, ["logs", "p", "-c", "other"])
        #expect(wrong.status == 1 && wrong.error.contains("other"), "\(wrong)")
        let exec = try await fixture.run(kubectl, ["exec", "p", "--", "true"])
        #expect(exec.status == 1 && !exec.error.isEmpty, "\(exec)")
    }

    @Test("a rollout that is waited for ends when the status says so", arguments: kubectls)
    func rollout(kubectl: String) async throws {
        let fixture = try KubectlFixture()
        try await fixture.run(kubectl, ["apply", "-f", "-"], input: Self.loadBalancer)
        // Whether the status comes before or while they watch, both end: no sleep, no race.
        async let condition = Task.detached {
            try await fixture.run(
                kubectl, ["wait", "--for=condition=Available", "deployment/my-deployment", "--timeout=30s"])
        }.value
        async let rollout = Task.detached {
            try await fixture.run(kubectl, ["rollout", "status", "deployment/my-deployment", "--timeout=30s"])
        }.value
        let path = "/apis/apps/v1/namespaces/default/deployments/my-deployment"
        var object = try JSON.parse(try await fixture.run(kubectl, ["get", "--raw", path]).out)
        object["status"] = [
            "observedGeneration": 1, "replicas": 3, "updatedReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "conditions": [["type": "Available", "status": "True"]],
        ]
        let written = try await fixture.run(
            kubectl, ["replace", "--raw", path + "/status", "-f", "-"], input: object.text)
        #expect(written.status == 0, "\(written)")
        let results = try await (condition, rollout)
        #expect(results.0.status == 0, "\(results.0)")
        #expect(results.1.out.hasSuffix("successfully rolled out\n"), "\(results.1)")
    }
}
