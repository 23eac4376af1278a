import APIServer
import KubernetesAPI
import Serialization
import Testing

@Suite("Server-side apply")
struct ServerSideApplyTests {
    static let type = "application/apply-patch+yaml"

    static func config(_ replicas: Int? = 2, image: String = "x:1", labels: JSON = ["app": "web"]) -> JSON {
        var object = Fixture.deployment(image: image)
        object["metadata"]?["labels"] = labels
        if let replicas { object["spec"]?["replicas"] = .integer(Int64(replicas)) }
        return object
    }

    @discardableResult
    private func apply(
        _ fixture: Fixture, _ object: JSON, _ manager: String = "kubectl", _ more: String = ""
    ) throws -> Fixture.Answer {
        try fixture.ask(
            "PATCH", deployments + "/web?fieldManager=\(manager)&fieldValidation=Strict" + more, object, type: Self.type
        )
    }

    private func managers(_ object: JSON) -> [String] {
        (object["metadata"]?["managedFields"]?.array ?? []).map {
            "\($0["manager"]?.string ?? "") \($0["operation"]?.string ?? "")"
        }
    }

    @Test("an apply creates, and applied again changes nothing, not even the resource version")
    func create() throws {
        let fixture = try Fixture()
        let made = try apply(fixture, Self.config())
        #expect(made.status == 201)
        #expect(managers(made.json) == ["kubectl Apply"])
        let fields = made.json["metadata"]?["managedFields"]?[0]?["fieldsV1"]
        #expect(fields?["f:spec"]?["f:replicas"] == [:])
        #expect(fields?["f:spec"]?["f:strategy"] == nil)
        fixture.seconds += 100
        let again = try apply(fixture, Self.config())
        #expect(again.status == 200)
        #expect(again.json == made.json)
    }

    @Test("what is no longer stated is taken away, what others own stays")
    func ownership() throws {
        let fixture = try Fixture()
        try apply(fixture, Self.config(labels: ["app": "web", "mine": "1"]))
        try fixture.ask(
            "PATCH", deployments + "/web?fieldManager=kubectl-label", ["metadata": ["labels": ["other": "2"]]],
            type: "application/merge-patch+json")
        let after = try apply(fixture, Self.config(nil)).json
        #expect(after["metadata"]?["labels"] == ["app": "web", "other": "2"])
        #expect(after["spec"]?["replicas"] == 1)
        #expect(managers(after) == ["kubectl Apply", "kubectl-label Update"])
    }

    @Test("a conflict is 409 with its causes; --force-conflicts takes the field over; the same value is shared")
    func conflicts() throws {
        let fixture = try Fixture()
        try apply(fixture, Self.config())
        try fixture.ask(
            "PATCH", deployments + "/web/scale?fieldManager=kubectl", ["spec": ["replicas": 5]],
            type: "application/merge-patch+json")
        let refused = try apply(fixture, Self.config())
        #expect(refused.status == 409)
        #expect(refused.reason == "Conflict")
        #expect(
            refused.message
                == "Apply failed with 1 conflict: conflict with \"kubectl\" with subresource \"scale\" using apps/v1: .spec.replicas"
        )
        #expect(
            refused.json["details"]?["causes"]?[0] == [
                "reason": "FieldManagerConflict", "field": ".spec.replicas",
                "message": "conflict with \"kubectl\" with subresource \"scale\" using apps/v1",
            ])
        #expect(try apply(fixture, Self.config(5), "other").status == 200)
        let two = try apply(fixture, Self.config(7, image: "x:2"), "third")
        #expect(two.status == 409)
        #expect(two.message.hasPrefix("Apply failed with 4 conflicts: conflicts with \"kubectl\":\n- "))
        let forced = try apply(fixture, Self.config(), "kubectl", "&force=true")
        #expect(forced.status == 200)
        #expect(forced.json["spec"]?["replicas"] == 2)
        let scale = forced.json["metadata"]?["managedFields"]?.array?.first { $0["subresource"] == "scale" }
        #expect(scale == nil)
    }

    @Test("a dry run shows the result and the conflicts and stores nothing")
    func dryRun() throws {
        let fixture = try Fixture()
        #expect(try apply(fixture, Self.config(), "kubectl", "&dryRun=All").status == 201)
        #expect(try fixture.ask("GET", deployments + "/web").status == 404)
        try apply(fixture, Self.config())
        let shown = try apply(fixture, Self.config(9), "kubectl", "&dryRun=All")
        #expect(shown.json["spec"]?["replicas"] == 9)
        #expect(try fixture.ask("GET", deployments + "/web").json["spec"]?["replicas"] == 2)
    }

    @Test("what was created otherwise is owned by its creator; what our controllers made, by before-first-apply")
    func before() throws {
        let fixture = try Fixture()
        try fixture.ask("POST", deployments + "?fieldManager=kubectl-create", Self.config())
        #expect(managers(try fixture.ask("GET", deployments + "/web").json) == ["kubectl-create Update"])
        #expect(try apply(fixture, Self.config(image: "x:2")).status == 409)
        _ = try fixture.registry.create(Fixture.service("own"), .service, namespace: "default")
        let own = try fixture.ask(
            "PATCH", services + "/own?fieldManager=k&force=true",
            ["apiVersion": "v1", "kind": "Service", "metadata": ["name": "own", "labels": ["a": "b"]]], type: Self.type)
        #expect(managers(own.json) == ["k Apply", "before-first-apply Update"])
    }

    @Test("the status is applied by itself")
    func status() throws {
        let fixture = try Fixture()
        try apply(fixture, Self.config())
        let status = try fixture.ask(
            "PATCH", deployments + "/web/status?fieldManager=operator",
            ["apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web"], "status": ["replicas": 1]],
            type: Self.type)
        #expect(status.status == 200)
        #expect(status.json["status"]?["replicas"] == 1)
        let entry = status.json["metadata"]?["managedFields"]?.array?.first { $0["subresource"] == "status" }
        #expect(entry?["fieldsV1"] == ["f:status": ["f:replicas": [:]]])
    }

    @Test("an update keeps the managers, may move fields between them, and [{}] forgets them")
    func updates() throws {
        let fixture = try Fixture()
        try apply(fixture, Self.config())
        var object = try fixture.ask("GET", deployments + "/web").json
        object["metadata"]?["managedFields"] = nil
        object["metadata"]?["annotations"] = ["a": "b"]
        let put = try fixture.ask("PUT", deployments + "/web?fieldManager=replace", object).json
        #expect(managers(put) == ["kubectl Apply", "replace Update"])
        let moved: JSON = [
            [
                "op": "replace", "path": "/metadata/managedFields/0/manager", "value": "flux",
            ]
        ]
        let patched = try fixture.ask(
            "PATCH", deployments + "/web", moved, type: "application/json-patch+json")
        #expect(managers(patched.json) == ["flux Apply", "replace Update"])
        let reset = try fixture.ask(
            "PATCH", deployments + "/web", ["metadata": ["managedFields": [[:]]]], type: "application/merge-patch+json")
        #expect(reset.json["metadata"]?["managedFields"] == nil)
    }

    @Test("an apply that makes no sense is refused with a reason")
    func refused() throws {
        let fixture = try Fixture()
        let noManager = try fixture.ask("PATCH", deployments + "/web", Self.config(), type: Self.type)
        #expect(noManager.status == 422)
        #expect(
            noManager.message
                == "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch"
        )
        var object = Self.config()
        object["metadata"]?["managedFields"] = [["manager": "x"]]
        #expect(try apply(fixture, object).message == "metadata.managedFields must be nil")
        #expect(try apply(fixture, ["metadata": ["name": "web"]]).status == 400)
        let unknown = try apply(fixture, Self.config().with("bogus", 1))
        #expect(unknown.message.contains("unknown field \"bogus\""))
        let forced = try fixture.ask(
            "PATCH", deployments + "/web?force=true", [:], type: "application/merge-patch+json")
        #expect(forced.message.contains("force: Forbidden: may not be specified for non-apply patch"))
    }
}

extension JSON {
    /// The object with one member more.
    func with(_ name: String, _ value: JSON) -> JSON {
        var copy = self
        copy[name] = value
        return copy
    }
}
