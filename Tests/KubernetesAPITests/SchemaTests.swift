import KubernetesAPI
import Serialization
import Testing

@Suite("Schemas, defaults and validation")
struct SchemaTests {
    @Test("every type that a field refers to is in the table, and every kind has one")
    func references() {
        let table = SchemaTable.standard
        func referred(_ type: FieldType) -> String? {
            switch type {
            case .reference(let name): name
            case .array(let inner), .map(let inner): referred(inner)
            default: nil
            }
        }
        for type in table.types.values {
            for field in type.fields {
                if let name = referred(field.type) {
                    #expect(table.types[name] != nil, "\(type.name).\(field.name): \(name)")
                }
            }
        }
        for kind in ResourceKind.standard { #expect(table.types[kind.schema] != nil, "\(kind.kind)") }
    }

    @Test("unknown fields are named with their path and dropped")
    func unknown() throws {
        var decoder = SchemaDecoder()
        let object: JSON = [
            "apiVersion": "v1", "kind": "Service", "foo": 1, "metadata": ["name": "a", "bar": 1],
            "spec": ["ports": [["port": 80, "prot": "TCP"]], "selector": ["anything": "goes"]],
        ]
        let decoded = try decoder.decode(object, as: .service)
        #expect(decoder.unknownFields == ["foo", "metadata.bar", "spec.ports[0].prot"])
        #expect(decoded["spec"]?["ports"]?[0] == ["port": 80])
        #expect(decoded["spec"]?["selector"]?["anything"] == "goes")
    }

    @Test("a value of the wrong type is named with its path and both types")
    func mismatch() {
        let cases: [(JSON, String)] = [
            (
                ["spec": ["replicas": "3"]],
                "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"
            ),
            (
                ["spec": ["replicas": 3_000_000_000]],
                "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.replicas of type int32"
            ),
            (
                ["spec": ["paused": 1]],
                "json: cannot unmarshal number into Go struct field DeploymentSpec.spec.paused of type bool"
            ),
            (["spec": []], "json: cannot unmarshal array into Go struct field Deployment.spec of type DeploymentSpec"),
            (
                ["metadata": ["labels": ["a": 1]]],
                "json: cannot unmarshal number into Go struct field ObjectMeta.metadata.labels.a of type string"
            ),
        ]
        for (object, message) in cases {
            var decoder = SchemaDecoder()
            #expect { try decoder.decode(object, as: .deployment) } throws: { "\($0)" == message }
        }
    }

    @Test("a null is as good as nothing")
    func null() throws {
        var decoder = SchemaDecoder()
        let decoded = try decoder.decode(
            ["metadata": ["creationTimestamp": .null, "name": "a"], "spec": .null], as: .service)
        #expect(decoded == ["metadata": ["name": "a"]])
    }

    @Test("a deployment gets Kubernetes' defaults")
    func defaults() {
        let object: JSON = [
            "spec": [
                "template": [
                    "spec": [
                        "containers": [
                            [
                                "name": "a", "image": "x:1", "ports": [["containerPort": 80]],
                                "readinessProbe": ["httpGet": ["port": 80]], "resources": ["limits": ["cpu": "1"]],
                            ]
                        ], "volumes": [["name": "v"], ["name": "c", "configMap": ["name": "c"]]],
                    ]
                ]
            ]
        ]
        let spec = SchemaTable.standard.applyDefaults(to: object, of: .deployment)["spec"] ?? .null
        #expect(spec["replicas"] == 1)
        #expect(
            spec["strategy"] == [
                "type": "RollingUpdate", "rollingUpdate": ["maxSurge": "25%", "maxUnavailable": "25%"],
            ])
        let pod = spec["template"]?["spec"]
        #expect(pod?["restartPolicy"] == "Always")
        #expect(pod?["volumes"]?[0]?["emptyDir"] == [:])
        #expect(pod?["volumes"]?[1]?["configMap"]?["defaultMode"] == 420)
        let container = pod?["containers"]?[0]
        #expect(container?["imagePullPolicy"] == "IfNotPresent")
        #expect(container?["ports"]?[0]?["protocol"] == "TCP")
        #expect(container?["readinessProbe"]?["httpGet"]?["scheme"] == "HTTP")
        #expect(container?["resources"]?["requests"]?["cpu"] == "1")
    }

    @Test(
        "the image pull policy follows the tag",
        arguments: [
            ("a", "Always"), ("a:latest", "Always"), ("r:5000/a", "Always"), ("a:1", "IfNotPresent"),
            ("a@sha256:0", "IfNotPresent"),
        ])
    func pullPolicy(image: String, policy: String) {
        let object: JSON = ["spec": ["containers": [["name": "a", "image": .string(image)]]]]
        let pod = SchemaTable.standard.applyDefaults(to: object, of: .pod)
        #expect(pod["spec"]?["containers"]?[0]?["imagePullPolicy"] == .string(policy))
    }

    @Test("defaults change nothing the second time")
    func stable() {
        let object: JSON = ["spec": ["type": "LoadBalancer", "ports": [["port": 80]]]]
        let once = SchemaTable.standard.applyDefaults(to: object, of: .service)
        #expect(SchemaTable.standard.applyDefaults(to: once, of: .service) == once)
    }

    @Test("stringData of a secret becomes data")
    func secret() {
        let secret = SchemaTable.standard.applyDefaults(to: ["stringData": ["a": "hello"]], of: .secret)
        #expect(secret == ["type": "Opaque", "data": ["a": "aGVsbG8="]])
    }

    @Test("a value of a Secret that is no base64 is refused and not shown")
    func hiddenValue() {
        let found = problems(["data": ["password": "correct horse"]], .secret)
        #expect(found.count == 1)
        #expect(found.first?.contains("password") == true)
        #expect(found.first?.contains("horse") == false)
    }

    private func problems(_ object: JSON, _ kind: ResourceKind) -> [String] {
        var object = object
        if object["metadata"] == nil { object["metadata"] = ["name": "a"] }
        return Validator.problems(of: KubernetesObject(json: object), kind: kind).map(\.description)
    }

    @Test("H-7 weights are relative: they need not add up to 100")
    func relativeWeights() {
        let routes: JSON = [["destination": ["host": "a"], "weight": 1], ["destination": ["host": "b"], "weight": 3]]
        #expect(problems(["spec": ["hosts": ["a"], "http": [["route": routes]]]], .virtualService).isEmpty)
        let single: JSON = [["destination": ["host": "a"], "weight": 0]]
        #expect(problems(["spec": ["hosts": ["a"], "http": [["route": single]]]], .virtualService).isEmpty)
    }

    @Test("H-8 several destinations whose weights are all 0 are refused")
    func zeroWeights() {
        let routes: JSON = [["destination": ["host": "a"], "weight": 0], ["destination": ["host": "b"]]]
        #expect(
            problems(["spec": ["hosts": ["a"], "http": [["route": routes]]]], .virtualService) == [
                "spec.http[0].route: Invalid value: 0: the weights of all 2 destinations are 0: no destination would receive traffic"
            ])
    }

    @Test(
        "durations are Go's",
        arguments: [
            ("2s", true), ("1h10m", true), ("1.5s", true), ("100ms", true), ("0", true), ("5", false), ("s", false),
            ("", false), ("-1s", false),
        ])
    func duration(text: String, isValid: Bool) {
        #expect(
            problems(["spec": ["hosts": ["a"], "http": [["timeout": .string(text)]]]], .virtualService).isEmpty
                == isValid)
    }

    @Test("a selector that does not match the template is refused")
    func selector() {
        let object: JSON = [
            "spec": [
                "selector": ["matchLabels": ["a": "b"]],
                "template": [
                    "metadata": ["labels": ["a": "c"]], "spec": ["containers": [["name": "x", "image": "y"]]],
                ],
            ]
        ]
        #expect(
            problems(object, .deployment) == [
                "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`"
            ])
    }

    @Test("several ports of a service need names")
    func portNames() {
        let object: JSON = ["spec": ["ports": [["port": 80], ["port": 81, "name": "b"], ["port": 82, "name": "b"]]]]
        #expect(
            problems(object, .service) == [
                "spec.ports[0].name: Required value", "spec.ports[2].name: Duplicate value: \"b\"",
            ])
    }

    @Test("the selector of a deployment and the address of a service do not change")
    func immutable() {
        func update(_ old: JSON, _ new: JSON, _ kind: ResourceKind) -> Bool {
            Validator.problems(updating: KubernetesObject(json: old), to: KubernetesObject(json: new), kind: kind)
                .contains { $0.message.hasSuffix("field is immutable") }
        }
        #expect(
            update(
                ["spec": ["selector": ["matchLabels": ["a": "b"]]]],
                ["spec": ["selector": ["matchLabels": ["a": "c"]]]], .deployment))
        #expect(update(["spec": ["clusterIP": "10.96.0.2"]], ["spec": ["clusterIP": "10.96.0.3"]], .service))
        #expect(
            !update(
                ["spec": ["clusterIP": "10.96.0.2"]], ["spec": ["type": "ExternalName", "externalName": "a"]], .service)
        )
    }
}
