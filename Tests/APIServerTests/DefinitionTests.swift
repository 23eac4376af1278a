import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("Kinds that somebody has defined")
struct DefinitionTests {
    static let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    static let crontabs = "/apis/stable.example.com/v1/namespaces/default/crontabs"

    static func definition(_ more: JSON = [:]) -> JSON {
        let schema: JSON = [
            "type": "object",
            "properties": [
                "spec": [
                    "type": "object", "required": ["cron"],
                    "properties": [
                        "cron": ["type": "string", "pattern": "*"], "image": ["type": "string", "default": "x:1"],
                        "replicas": ["type": "integer", "minimum": 1, "maximum": 10, "default": 1],
                        "port": ["x-kubernetes-int-or-string": true],
                        "free": ["type": "object", "x-kubernetes-preserve-unknown-fields": true],
                        "labels": ["type": "object", "additionalProperties": ["type": "string"]],
                        "steps": [
                            "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
                            "items": [
                                "type": "object", "required": ["name"],
                                "properties": [
                                    "name": ["type": "string"], "run": ["type": "string", "default": "true"],
                                ],
                            ],
                        ], "mode": ["type": "string", "enum": ["fast", "slow"]],
                    ],
                    "oneOf": [["required": ["image"]], ["required": ["port"]]],
                ], "status": ["type": "object", "properties": ["replicas": ["type": "integer"]]],
            ],
        ]
        var version: JSON = [
            "name": "v1", "served": true, "storage": true, "schema": ["openAPIV3Schema": schema],
            "subresources": [
                "status": [:],
                "scale": ["specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"],
            ],
            "additionalPrinterColumns": [
                ["name": "Cron", "type": "string", "jsonPath": ".spec.cron"],
                ["name": "Step", "type": "string", "jsonPath": ".spec.steps[?(@.name==\"a\")].run", "priority": 1],
                ["name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"],
            ],
        ]
        for (name, value) in more.object ?? [:] { version[name] = value }
        var old = version
        old["name"] = "v1beta1"
        old["storage"] = false
        old["deprecated"] = true
        return [
            "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
            "metadata": ["name": "crontabs.stable.example.com"],
            "spec": [
                "group": "stable.example.com", "scope": "Namespaced", "versions": [old, version],
                "names": ["plural": "crontabs", "kind": "CronTab", "shortNames": ["ct"]],
            ],
        ]
    }

    static func object(_ name: String, _ spec: JSON) -> JSON {
        [
            "apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": ["name": .string(name)], "spec": spec,
        ]
    }

    private func defined() throws -> Fixture {
        let fixture = try Fixture()
        let made = try fixture.ask("POST", Self.definitions, Self.definition())
        #expect(made.status == 201, "\(made.message)")
        #expect(made.json["status"]?["conditions"]?.array?.map { $0["status"]?.string } == ["True", "True"])
        return fixture
    }

    @Test("a definition makes a kind: discovered, explained, created, defaulted, pruned, shown with its columns")
    func life() throws {
        let fixture = try defined()
        let group = try fixture.ask("GET", "/apis/stable.example.com").json
        #expect(group["preferredVersion"]?["version"] == "v1")
        let resources = try fixture.ask("GET", "/apis/stable.example.com/v1").json["resources"]?.array ?? []
        #expect(resources.map { $0["name"]?.string } == ["crontabs", "crontabs/scale", "crontabs/status"])
        let document = try fixture.ask("GET", "/openapi/v3/apis/stable.example.com/v1").json
        #expect(
            document["components"]?["schemas"]?["com.example.stable.v1.CronTab"]?["properties"]?["spec"]?[
                "properties"]?[
                    "cron"]?["type"] == "string")
        let made = try fixture.ask(
            "POST", Self.crontabs,
            Self.object("a", ["cron": "* *", "bogus": 1, "steps": [["name": "a"]], "free": ["x": ["y": 1]]]))
        #expect(made.status == 201, "\(made.message)")
        #expect(made.warnings == ["unknown field \"spec.bogus\""])
        #expect(
            made.json["spec"] == [
                "cron": "* *", "image": "x:1", "replicas": 1, "steps": [["name": "a", "run": "true"]],
                "free": ["x": ["y": 1]],
            ])
        #expect(made.json["metadata"]?["generation"] == 1)
        let strict = try fixture.ask(
            "POST", Self.crontabs + "?fieldValidation=Strict", Self.object("b", ["cron": "*", "bogus": 1]))
        #expect(strict.message.contains("strict decoding error: unknown field \"spec.bogus\""))
        let table = try fixture.ask("GET", Self.crontabs, accept: RouterTests.table).json
        #expect(table["columnDefinitions"]?.array?.map { $0["name"]?.string } == ["Name", "Cron", "Step", "Age"])
        #expect(table["rows"]?[0]?["cells"]?.array?.prefix(3) == ["a", "* *", "true"])
        let old = try fixture.ask("GET", "/apis/stable.example.com/v1beta1/namespaces/default/crontabs/a")
        #expect(old.json["apiVersion"] == "stable.example.com/v1beta1")
        #expect(old.warnings == ["stable.example.com/v1beta1 CronTab is deprecated"])
    }

    @Test("an object is held to its schema, with the field that breaks it")
    func validation() throws {
        let fixture = try defined()
        let cases: [(JSON, String)] = [
            (["image": "x"], "spec.cron: Required value"),
            (["cron": "x"], "spec.cron: Invalid value: \"x\": spec.cron in body should match '*'"),
            (
                ["cron": "*", "replicas": 11],
                "spec.replicas: Invalid value: 11: spec.replicas in body should be less than or equal to 10"
            ),
            (["cron": 1], "spec.cron in body must be of type string: \"integer\""),
            (
                ["cron": "*", "mode": "odd"],
                "spec.mode: Unsupported value: \"odd\": supported values: \"fast\", \"slow\""
            ),
            (["cron": "*", "steps": [["name": "a"], ["name": "a"]]], "spec.steps[1]: Duplicate value"),
            (["cron": "*", "port": 80], "spec in body must validate one and only one schema (oneOf)"),
            (["cron": "*", "labels": ["a": 1]], "spec.labels.a in body must be of type string"),
        ]
        for (spec, message) in cases {
            let answer = try fixture.ask("POST", Self.crontabs, Self.object("a", spec))
            #expect(answer.status == 422)
            #expect(answer.message.contains(message), "\(answer.message)")
        }
    }

    @Test("merge patch, server-side apply by the schema's keys, scale and status")
    func writes() throws {
        let fixture = try defined()
        try fixture.ask("POST", Self.crontabs, Self.object("a", ["cron": "*", "steps": [["name": "a"]]]))
        #expect(
            try fixture.ask("PATCH", Self.crontabs + "/a", [:], type: "application/strategic-merge-patch+json").status
                == 415)
        let applied = try fixture.ask(
            "PATCH", Self.crontabs + "/a?fieldManager=k", Self.object("a", ["steps": [["name": "b", "run": "x"]]]),
            type: ServerSideApplyTests.type)
        #expect(applied.status == 200, "\(applied.message)")
        #expect(applied.json["spec"]?["steps"]?.array?.count == 2)
        #expect(applied.json["metadata"]?["generation"] == 2)
        let scaled = try fixture.ask(
            "PATCH", Self.crontabs + "/a/scale", ["spec": ["replicas": 4]], type: "application/merge-patch+json")
        #expect(scaled.json["spec"]?["replicas"] == 4)
        let status = try fixture.ask(
            "PATCH", Self.crontabs + "/a/status", ["status": ["replicas": 3], "spec": ["replicas": 9]],
            type: "application/merge-patch+json")
        #expect(status.json["status"]?["replicas"] == 3)
        #expect(status.json["spec"]?["replicas"] == 4)
        #expect(try fixture.ask("GET", Self.crontabs + "/a/scale").json["status"]?["replicas"] == 3)
    }

    @Test("a definition that makes no sense is refused with its field")
    func refused() throws {
        let fixture = try Fixture()
        var wrongName = Self.definition()
        wrongName["metadata"]?["name"] = "x.stable.example.com"
        var noSchema = Self.definition()
        noSchema["spec"]?["versions"] = [["name": "v1", "served": true, "storage": true]]
        var webhook = Self.definition()
        webhook["spec"]?["conversion"] = ["strategy": "Webhook"]
        let untyped = Self.definition(["schema": ["openAPIV3Schema": ["type": "object", "properties": ["a": [:]]]]])
        let cases: [(JSON, String)] = [
            (wrongName, "metadata.name: Invalid value"),
            (noSchema, "spec.versions[0].schema.openAPIV3Schema: Required value"),
            (webhook, "spec.conversion.strategy: Unsupported value: \"Webhook\""),
            (untyped, "openAPIV3Schema.properties[a].type: Required value"),
        ]
        for (object, message) in cases {
            let answer = try fixture.ask("POST", Self.definitions, object)
            #expect(answer.status == 422)
            #expect(answer.message.contains(message), "\(answer.message)")
        }
    }

    @Test("a definition that goes takes its objects with it, and waits for their finalizers")
    func deletion() throws {
        let fixture = try defined()
        var held = Self.object("held", ["cron": "*"])
        held["metadata"]?["finalizers"] = ["example.com/x"]
        try fixture.ask("POST", Self.crontabs, held)
        try fixture.ask("POST", Self.crontabs, Self.object("free", ["cron": "*"]))
        let name = Self.definitions + "/crontabs.stable.example.com"
        #expect(try fixture.ask("DELETE", name).json["metadata"]?["deletionTimestamp"] != nil)
        #expect(try fixture.ask("GET", Self.crontabs + "/free").status == 404)
        try fixture.ask(
            "PATCH", Self.crontabs + "/held", ["metadata": ["finalizers": .null]], type: "application/merge-patch+json")
        #expect(try fixture.ask("GET", name).status == 404)
        #expect(try fixture.ask("GET", Self.crontabs).status == 404)
        #expect(try fixture.ask("GET", "/apis/stable.example.com").status == 404)
    }

    @Test("the definition of a kind that is compiled in changes nothing")
    func compiledIn() throws {
        let fixture = try Fixture()
        var object = Self.definition()
        object["metadata"]?["name"] = "virtualservices.networking.istio.io"
        object["spec"]?["group"] = "networking.istio.io"
        object["spec"]?["names"] = ["plural": "virtualservices", "kind": "VirtualService"]
        let made = try fixture.ask("POST", Self.definitions, object)
        #expect(made.status == 201, "\(made.message)")
        #expect(made.json["status"]?["conditions"]?[0]?["status"] == "True")
        let rule: JSON = ["metadata": ["name": "a"], "spec": ["cron": "*"]]
        let refused = try fixture.ask(
            "POST", "/apis/networking.istio.io/v1/namespaces/default/virtualservices?fieldValidation=Strict", rule)
        #expect(refused.message.contains("unknown field \"spec.cron\""))
        let gone = try fixture.ask("DELETE", Self.definitions + "/virtualservices.networking.istio.io")
        #expect(gone.json["status"] == "Success")
        #expect(try fixture.ask("GET", "/apis/networking.istio.io/v1/virtualservices").status == 200)
    }

    @Test("paths of columns")
    func paths() {
        let object: JSON = [
            "a": ["b.c": 1, "list": [["type": "X", "v": "1"], ["type": "Ready", "v": "2"]]]
        ]
        let cases: [(String, [JSON])] = [
            (".a.b\\.c", [1]), ("{.a['b.c']}", [1]), (".a.list[0].v", ["1"]), (".a.list[*].v", ["1", "2"]),
            (".a.list[?(@.type==\"Ready\")].v", ["2"]), (".a.list[?(@.type == 'Ready')].v", ["2"]), (".x.y", []),
            (".a.list[-1].v", ["2"]),
        ]
        for (path, values) in cases { #expect(FieldPath(path)?.values(in: object) == values, "\(path)") }
        for bad in ["", "a", ".a[", ".a[x]", "..", ".a[?(@.b)]"] { #expect(FieldPath(bad) == nil, "\(bad)") }
    }
}
