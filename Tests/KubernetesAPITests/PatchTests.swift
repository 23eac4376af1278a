import KubernetesAPI
import Serialization
import Testing

@Suite("Patches")
struct PatchTests {
    static let deployment: JSON = [
        "spec": [
            "template": [
                "spec": [
                    "containers": [
                        [
                            "name": "a", "image": "1",
                            "env": [["name": "X", "value": "1"], ["name": "Y", "value": "2"]],
                        ],
                        ["name": "b", "image": "2"],
                    ],
                    "volumes": [["name": "v", "emptyDir": ["medium": "Memory"]]],
                ]
            ],
            "strategy": ["type": "RollingUpdate", "rollingUpdate": ["maxSurge": 1]],
        ],
        "metadata": ["finalizers": ["a", "b"], "labels": ["x": "1", "y": "2"]],
    ]

    private func pod(_ patch: JSON) throws -> JSON {
        let patched = try StrategicMergePatch().apply(
            ["spec": ["template": ["spec": patch]]], to: Self.deployment, of: .deployment)
        #expect(!patched.text.contains("$"), "a directive was stored: \(patched.text)")
        return patched["spec"]?["template"]?["spec"] ?? .null
    }

    @Test("elements of a keyed list are merged by their key")
    func merge() throws {
        let spec = try pod(["containers": [["name": "b", "image": "3"], ["name": "c", "image": "4"]]])
        #expect(spec["containers"]?.array?.map { $0["name"]?.string } == ["a", "b", "c"])
        #expect(spec["containers"]?[0]?["env"]?.array?.count == 2)
        #expect(spec["containers"]?[1]?["image"] == "3")
    }

    @Test("$patch: delete removes one element, nested too")
    func delete() throws {
        var spec = try pod(["containers": [["name": "a", "$patch": "delete"]]])
        #expect(spec["containers"]?.array?.map { $0["name"]?.string } == ["b"])
        spec = try pod(["containers": [["name": "a", "env": [["name": "X", "$patch": "delete"]]]]])
        #expect(spec["containers"]?[0]?["env"] == [["name": "Y", "value": "2"]])
    }

    @Test("$patch: replace in a list replaces it whole")
    func replaceList() throws {
        let spec = try pod(["containers": [["$patch": "replace"], ["name": "z", "image": "9"]]])
        #expect(spec["containers"] == [["name": "z", "image": "9"]])
    }

    @Test("$patch: replace in an object replaces it whole")
    func replaceObject() throws {
        let patched = try StrategicMergePatch().apply(
            ["metadata": ["labels": ["$patch": "replace", "z": "3"]]], to: Self.deployment, of: .deployment)
        #expect(patched["metadata"]?["labels"] == ["z": "3"])
    }

    @Test("$setElementOrder orders, and keeps what the server added in its place")
    func order() throws {
        let spec = try pod([
            "$setElementOrder/containers": [["name": "c"], ["name": "b"]],
            "containers": [["name": "c", "image": "4"]],
        ])
        #expect(spec["containers"]?.array?.map { $0["name"]?.string } == ["a", "c", "b"])
    }

    @Test("$setElementOrder without its list only orders")
    func orderAlone() throws {
        let spec = try pod(["$setElementOrder/containers": [["name": "b"], ["name": "a"]]])
        #expect(spec["containers"]?.array?.map { $0["name"]?.string } == ["b", "a"])
    }

    @Test("$retainKeys drops the other members of a union")
    func retain() throws {
        let patched = try StrategicMergePatch().apply(
            ["spec": ["strategy": ["$retainKeys": ["type"], "type": "Recreate"]]], to: Self.deployment, of: .deployment)
        #expect(patched["spec"]?["strategy"] == ["type": "Recreate"])
        let spec = try pod([
            "volumes": [["name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": ["path": "/x"]]]
        ])
        #expect(spec["volumes"] == [["name": "v", "hostPath": ["path": "/x"]]])
    }

    @Test("$deleteFromPrimitiveList removes values of a merged list")
    func primitives() throws {
        let patched = try StrategicMergePatch().apply(
            ["metadata": ["$deleteFromPrimitiveList/finalizers": ["a"], "finalizers": ["c"]]], to: Self.deployment,
            of: .deployment)
        #expect(patched["metadata"]?["finalizers"] == ["b", "c"])
    }

    @Test("null removes a member, a list without key is replaced")
    func plain() throws {
        let patched = try StrategicMergePatch().apply(
            ["metadata": ["labels": ["x": .null]]], to: Self.deployment, of: .deployment)
        #expect(patched["metadata"]?["labels"] == ["y": "2"])
        let spec = try pod(["containers": [["name": "a", "command": ["x"]]]])
        #expect(spec["containers"]?[0]?["command"] == ["x"])
    }

    @Test(
        "a broken strategic merge patch is refused",
        arguments: [
            ["spec": ["template": ["spec": ["containers": [["image": "x"]]]]]], ["$patch": "burn"], ["$foo": 1], [],
            ["spec": ["$retainKeys": 1]], ["spec": ["template": ["spec": ["containers": ["x"]]]]],
        ] as [JSON])
    func broken(patch: JSON) {
        #expect(throws: PatchError.self) {
            try StrategicMergePatch().apply(patch, to: Self.deployment, of: .deployment)
        }
    }

    @Test("a service's ports merge by number and drop what is deleted")
    func ports() throws {
        let service: JSON = ["spec": ["ports": [["port": 80, "targetPort": 1], ["port": 81]]]]
        let patch: JSON = [
            "spec": [
                "$setElementOrder/ports": [["port": 80]],
                "ports": [["port": 80, "targetPort": 8080], ["$patch": "delete", "port": 81]],
            ]
        ]
        let patched = try StrategicMergePatch().apply(patch, to: service, of: .service)
        #expect(patched == ["spec": ["ports": [["port": 80, "targetPort": 8080]]]])
    }

    @Test("a merge patch follows RFC 7396")
    func mergePatch() {
        let patched = MergePatch.apply(
            ["a": ["b": .null, "c": 2], "d": [1], "e": .null], to: ["a": ["b": 1], "d": ["x"], "e": 1])
        #expect(patched == ["a": ["c": 2], "d": [1]])
    }

    @Test("a JSON patch follows RFC 6902")
    func jsonPatch() throws {
        let patch: JSON = [
            ["op": "test", "path": "/a/b", "value": 1], ["op": "add", "path": "/a/x~1y", "value": 2],
            ["op": "add", "path": "/l/1", "value": "n"], ["op": "add", "path": "/l/-", "value": "e"],
            ["op": "remove", "path": "/l/0"], ["op": "replace", "path": "/a/b", "value": 3],
            ["op": "copy", "from": "/a/b", "path": "/c"], ["op": "move", "from": "/c", "path": "/d"],
        ]
        let patched = try JSONPatch.apply(patch, to: ["a": ["b": 1], "l": ["f", "g"]])
        #expect(patched == ["a": ["b": 3, "x/y": 2], "l": ["n", "g", "e"], "d": 3])
    }

    @Test(
        "a JSON patch that cannot be applied changes nothing and says where",
        arguments: [
            [["op": "remove", "path": "/x"]], [["op": "test", "path": "/a", "value": 2]],
            [["op": "replace", "path": "/x/y", "value": 1]],
            [["op": "add", "path": "/l/9", "value": 1]], [["op": "burn", "path": "/a"]],
            [["op": "add", "path": "a", "value": 1]],
            [["op": "add", "path": "/b"]], [["op": "move", "from": "/l", "path": "/l/0"]], ["a": 1],
        ] as [JSON])
    func brokenJSONPatch(patch: JSON) {
        #expect(throws: PatchError.self) { try JSONPatch.apply(patch, to: ["a": 1, "l": []]) }
    }

    @Test("a pointer of very many parts is refused, not followed")
    func deepPointer() {
        let path = String(repeating: "/a", count: 100_000)
        #expect(throws: PatchError.self) {
            try JSONPatch.apply([["op": "add", "path": .string(path), "value": 1]], to: [:])
        }
    }

    @Test("copies of copies are stopped")
    func explosion() {
        let patch = JSON.array(Array(repeating: ["op": "copy", "from": "", "path": "/a/-"], count: 60))
        #expect(throws: PatchError.self) { try JSONPatch.apply(patch, to: ["a": [1]]) }
    }
}
