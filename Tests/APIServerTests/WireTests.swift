import APIServer
import KubernetesAPI
import Serialization
import Testing

/// What kubectl and client libraries were measured to send, and what must come back: wire facts, section 1.
///
/// Each row is a request with its headers, and what is looked at in the answer.
@Suite("Wire facts of kubectl")
struct WireTests {
    /// One measured request.
    struct Row: Sendable, CustomTestStringConvertible {
        var name: String
        var method = "GET"
        var target: String
        var accept = "application/json"
        var type = ""
        var body: JSON?
        var status = 200
        var contentType = "application/json"
        /// Path in the answer (members and positions) and what stands there.
        var seen: [(path: [String], value: JSON?)] = []
        var testDescription: String { name }
    }

    static let aggregated =
        "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json"
    static let openAPI = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
    static let table =
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json"
    static let maps = "/api/v1/namespaces/default/configmaps"

    static let reading: [Row] = [
        Row(
            name: "W-1 discovery: version as texts", target: "/version",
            seen: [(["major"], "1"), (["gitVersion"], "v1.32.0+skein")]),
        Row(
            name: "W-2 discovery: aggregated, its parameters repeated", target: "/api", accept: aggregated,
            contentType: "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList",
            seen: [
                (["kind"], "APIGroupDiscoveryList"), (["items", "0", "metadata", "name"], ""),
                (["items", "0", "versions", "0", "freshness"], "Current"),
                (["items", "0", "versions", "0", "resources", "0", "scope"], "Cluster"),
            ]),
        Row(
            name: "W-2 discovery: aggregated, only v2beta1 accepted", target: "/apis",
            accept: "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json",
            contentType: "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList",
            seen: [(["apiVersion"], "apidiscovery.k8s.io/v2beta1")]),
        Row(
            name: "W-3 discovery: 1.20 gets the plain form", target: "/apis", accept: "application/json, */*",
            seen: [(["kind"], "APIGroupList"), (["groups", "0", "preferredVersion", "version"], "v1")]),
        Row(
            name: "W-3 discovery: the resources of a group version", target: "/apis/apps/v1",
            accept: "application/json, */*",
            seen: [
                (["kind"], "APIResourceList"), (["groupVersion"], "apps/v1"),
                (["resources", "0", "shortNames"], ["deploy"]),
                (["resources", "1", "name"], "deployments/scale"), (["resources", "1", "kind"], "Scale"),
            ]),
        Row(
            name: "W-4 discovery: cluster-info lists by label",
            target:
                "/api/v1/namespaces/kube-system/services?labelSelector=kubernetes.io%2Fcluster-service%3Dtrue",
            seen: [(["kind"], "ServiceList"), (["items"], [])]),
        Row(
            name: "W-5 OpenAPI: v2 as protobuf whatever else", target: "/openapi/v2?timeout=32s", accept: openAPI,
            contentType: "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"),
        Row(
            name: "W-6 OpenAPI: the index of v3 with relative URLs", target: "/openapi/v3",
            seen: [(["kind"], nil)]),
        Row(
            name: "W-10 tables: the columns and metadata of rows", target: maps + "?limit=500", accept: table,
            seen: [
                (["kind"], "Table"), (["apiVersion"], "meta.k8s.io/v1"),
                (["columnDefinitions", "0", "format"], "name"),
                (["rows", "0", "object", "kind"], "PartialObjectMetadata"), (["rows", "0", "cells", "0"], "a"),
            ]),
        Row(
            name: "W-10 tables: includeObject=Object for --sort-by", target: maps + "?includeObject=Object",
            accept: table,
            seen: [(["rows", "0", "object", "kind"], "ConfigMap")]),
        Row(
            name: "W-10 tables: an old client's v1beta1", target: maps,
            accept: "application/json;as=Table;v=v1beta1;g=meta.k8s.io, application/json",
            seen: [(["apiVersion"], "meta.k8s.io/v1beta1")]),
        Row(
            name: "W-11 lists: plain JSON with the list's resource version", target: maps,
            seen: [(["kind"], "ConfigMapList"), (["items", "0", "kind"], "ConfigMap")]),
        Row(
            name: "W-12 lists: wait asks by name and resource version 0",
            target: maps + "?fieldSelector=metadata.name%3Da&resourceVersion=0",
            seen: [(["items", "0", "metadata", "name"], "a"), (["items", "1"], nil)]),
        Row(
            name: "W-12 lists: a resource version that is not there yet is 504 with a cause",
            target:
                maps + "?resourceVersion=999999999&resourceVersionMatch=NotOlderThan", status: 504,
            seen: [(["reason"], "Timeout"), (["details", "causes", "0", "reason"], "ResourceVersionTooLarge")]),
        Row(
            name: "W-13 watches: sendInitialEvents without its companions is refused",
            target: maps + "?watch=true&sendInitialEvents=true", status: 400),
        Row(
            name: "W-14 errors: a Status with details", target: maps + "/nothing", status: 404,
            seen: [
                (["kind"], "Status"), (["apiVersion"], "v1"), (["status"], "Failure"), (["reason"], "NotFound"),
                (["message"], "configmaps \"nothing\" not found"), (["details", "kind"], "configmaps"), (["code"], 404),
            ]),
        Row(
            name: "W-15 describe: events of an object by its fields",
            target:
                "/api/v1/namespaces/default/events?fieldSelector=involvedObject.name%3Da%2CinvolvedObject.namespace%3Ddefault%2CinvolvedObject.kind%3DPod%2CinvolvedObject.uid%3Dx&limit=500",
            seen: [(["kind"], "EventList"), (["items"], [])]),
        Row(
            name: "W-15 describe: the slices of a service",
            target:
                "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices?labelSelector=kubernetes.io%2Fservice-name%3Da",
            seen: [(["kind"], "EndpointSliceList")]),
        Row(name: "W-15 describe: the endpoints of old", target: "/api/v1/namespaces/default/endpoints/a", status: 404),
    ]

    static let writing: [Row] = [
        Row(
            name: "W-7 apply: a create with last-applied and Strict", method: "POST",
            target: maps + "?fieldManager=kubectl-client-side-apply&fieldValidation=Strict", type: "application/json",
            body: [
                "apiVersion": "v1", "kind": "ConfigMap",
                "metadata": [
                    "name": "b", "annotations": ["kubectl.kubernetes.io/last-applied-configuration": "{ \"x\" : 1 }\n"],
                ],
            ], status: 201,
            seen: [
                (["metadata", "annotations", "kubectl.kubernetes.io/last-applied-configuration"], "{ \"x\" : 1 }\n"),
                (["metadata", "managedFields", "0", "manager"], "kubectl-client-side-apply"),
            ]),
        Row(
            name: "W-7 apply: 1.20 creates without a content type", method: "POST", target: "/api/v1/namespaces",
            body: ["metadata": ["name": "n"]], status: 201, seen: [(["status", "phase"], "Active")]),
        Row(
            name: "W-8 apply: a server-side apply with force=false", method: "PATCH",
            target: maps + "/c?fieldManager=kubectl&fieldValidation=Strict&force=false",
            type: "application/apply-patch+yaml",
            body: ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "c"], "data": ["k": "v"]], status: 201,
            seen: [(["metadata", "managedFields", "0", "operation"], "Apply")]),
        Row(
            name: "W-8 diff: a dry run computes the whole result", method: "PATCH",
            target: maps + "/a?dryRun=All&fieldManager=kubectl-client-side-apply",
            type: "application/strategic-merge-patch+json", body: ["data": ["k": "w"]],
            seen: [(["data", "k"], "w")]),
        Row(
            name: "W-9 replace: a missing name is 404", method: "PUT",
            target: maps + "/nothing?fieldManager=kubectl-replace&fieldValidation=Strict", type: "application/json",
            body: ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "nothing"]], status: 404),
        Row(
            name: "W-9 replace: a stale resource version is 409", method: "PUT", target: maps + "/a",
            type: "application/json",
            body: ["apiVersion": "v1", "kind": "ConfigMap", "metadata": ["name": "a", "resourceVersion": "1"]],
            status: 409,
            seen: [(["reason"], "Conflict")]),
        Row(
            name: "W-9 delete: a Status with the uid", method: "DELETE", target: maps + "/a", type: "application/json",
            body: ["propagationPolicy": "Background"],
            seen: [(["status"], "Success"), (["details", "name"], "a"), (["details", "kind"], "configmaps")]),
        Row(
            name: "W-16 fieldValidation: every unknown field in one message", method: "POST",
            target: maps + "?fieldValidation=Strict", type: "application/json",
            body: ["metadata": ["name": "d", "x": 1], "y": 2], status: 400,
            seen: [
                (
                    ["message"],
                    "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"metadata.x\", unknown field \"y\""
                )
            ]),
        Row(
            name: "W-17 a body of another type is 415", method: "POST", target: maps, type: "text/plain",
            body: ["metadata": ["name": "d"]], status: 415, seen: [(["reason"], "UnsupportedMediaType")]),
        Row(
            name: "W-18 eviction: a deletion by another name", method: "POST", target: pods + "/p/eviction",
            type: "application/json",
            body: ["apiVersion": "policy/v1", "kind": "Eviction", "metadata": ["name": "p", "namespace": "default"]],
            status: 201, seen: [(["status"], "Success")]),
    ]

    @Test("what is measured to be asked is answered", arguments: reading + writing)
    func row(_ row: Row) throws {
        let fixture = try Fixture()
        try fixture.ask("POST", Self.maps, ["metadata": ["name": "a"], "data": ["k": "v"]])
        try fixture.ask("POST", pods, Fixture.pod("p"))
        let answer = try fixture.ask(row.method, row.target, row.body, type: row.type, accept: row.accept)
        #expect(answer.status == row.status, "\(answer.message)")
        #expect(answer.contentType == row.contentType)
        for (path, wanted) in row.seen {
            let found = path.reduce(answer.json as JSON?) { value, part in
                Int(part).flatMap { value?[$0] } ?? value?[part]
            }
            #expect(found == wanted, "\(path.joined(separator: "."))")
        }
    }

    @Test("W-5 OpenAPI: v2 as JSON for who asks for that")
    func swagger() throws {
        let answer = try Fixture().ask("GET", "/openapi/v2", accept: "application/json")
        #expect(answer.json["swagger"] == "2.0")
        let definitions = answer.json["definitions"]
        #expect(
            definitions?["io.k8s.api.apps.v1.Deployment"]?["properties"]?["spec"]?["$ref"]
                == "#/definitions/io.k8s.api.apps.v1.DeploymentSpec")
        for reference in Self.references(answer.json) {
            #expect(definitions?[String(reference.dropFirst(14))] != nil, "\(reference)")
        }
    }

    @Test(
        "options of lists that contradict each other are refused",
        arguments: [
            ("resourceVersionMatch=Exact", 422), ("resourceVersionMatch=Odd&resourceVersion=1", 422),
            ("resourceVersionMatch=Exact&resourceVersion=0", 422), ("watch=1&resourceVersionMatch=NotOlderThan", 422),
            ("continue=x&resourceVersion=5", 400), ("limit=-1", 400), ("continue=nonsense", 400),
            ("resourceVersion=-1", 400), ("fieldSelector=spec.foo%3D1", 400), ("labelSelector=a%20in", 400),
        ])
    func options(query: String, status: Int) throws {
        #expect(try Fixture().ask("GET", Self.maps + "?" + query).status == status)
    }

    @Test("W-6 OpenAPI: every kind that is written has a patch operation with its identity and fieldValidation")
    func patchOperations() throws {
        let fixture = try Fixture()
        let index = try fixture.ask("GET", "/openapi/v3").json["paths"]?.object ?? [:]
        for kind in ResourceKind.standard where !kind.isReview && !kind.isMeasured {
            let path = (kind.group.isEmpty ? "api/" : "apis/\(kind.group)/") + kind.preferredVersion
            let url = try #require(index[path]?["serverRelativeURL"]?.string)
            let document = try fixture.ask("GET", url).json
            let found = document["paths"]?.object?.values.compactMap { $0["patch"] }.first {
                $0["x-kubernetes-group-version-kind"]?["kind"]?.string == kind.kind
            }
            #expect(found?["parameters"]?.array?.contains { $0["name"] == "fieldValidation" } == true, "\(kind.kind)")
            let schemas = document["components"]?["schemas"]?.object ?? [:]
            #expect(
                schemas.values.contains { schema in
                    schema["x-kubernetes-group-version-kind"]?.array?.contains { $0["kind"]?.string == kind.kind }
                        == true
                }, "\(kind.kind)")
            for reference in Self.references(document) {
                #expect(schemas[String(reference.dropFirst(21))] != nil, "\(reference)")
            }
        }
    }

    static func references(_ json: JSON) -> Set<String> {
        switch json {
        case .object(let members):
            members.reduce(into: []) { result, member in
                if member.key == "$ref", let text = member.value.string { result.insert(text) }
                result.formUnion(references(member.value))
            }
        case .array(let elements): elements.reduce(into: []) { $0.formUnion(references($1)) }
        default: []
        }
    }
}
