import KubernetesAPI
import Serialization
import Testing

@Suite("Who owns which field")
struct OwnershipTests {
    static let deployment: JSON = [
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": ["name": "web", "labels": ["app": "web"]],
        "spec": [
            "replicas": 3, "selector": ["matchLabels": ["app": "web"]],
            "template": [
                "spec": [
                    "containers": [
                        [
                            "name": "c", "image": "x:1", "args": ["a", "b"],
                            "ports": [["containerPort": 80], ["containerPort": 53, "protocol": "UDP"]],
                        ]
                    ]
                ]
            ],
        ],
    ]

    @Test("the fields of an object are written as FieldsV1, keyed lists by their keys and defaults")
    func fields() {
        let set = FieldWalk.fields(of: Self.deployment, MergeType(.deployment))
        let owned = ManagedFields.ownable(set, subresource: "", hasStatus: true)
        let container = owned.json["f:spec"]?["f:template"]?["f:spec"]?["f:containers"]?["k:{\"name\":\"c\"}"]
        #expect(owned.json["apiVersion"] == nil)
        #expect(owned.json["f:metadata"] == ["f:labels": ["f:app": [:]]])
        #expect(owned.json["f:spec"]?["f:selector"] == [:])
        #expect(container?["."] == [:])
        #expect(container?["f:args"] == [:])
        #expect(container?["f:ports"]?["k:{\"containerPort\":80,\"protocol\":\"TCP\"}"]?["f:containerPort"] == [:])
        #expect(container?["f:ports"]?["k:{\"containerPort\":53,\"protocol\":\"UDP\"}"]?["f:protocol"] == [:])
    }

    @Test("FieldsV1 is read as it was written")
    func roundTrip() throws {
        let set = FieldWalk.fields(of: Self.deployment, MergeType(.deployment))
        #expect(FieldSet(json: set.json) == set)
        #expect(FieldSet(json: ["f:a": ["x:b": [:]]]) == nil)
        #expect(FieldSet(json: ["f:a": 1]) == nil)
        #expect(FieldSet(json: ["k:{}": [:]]) == nil)
        let odd = try #require(FieldSet(json: ["f:a": [".": [:], "v:\"x\"": [:], "i:3": [:]]]))
        #expect(odd.paths == [".a", ".a[3]", ".a[=\"x\"]"])
        #expect(odd.json == ["f:a": [".": [:], "v:\"x\"": [:], "i:3": [:]]])
    }

    @Test("what differs is told apart: added, modified, removed")
    func changes() {
        var new = Self.deployment
        new["spec"]?["replicas"] = 4
        new["spec"]?["paused"] = true
        new["metadata"]?["labels"]?["app"] = nil
        let changes = FieldWalk.changes(from: Self.deployment, to: new, MergeType(.deployment))
        #expect(changes.modified.paths == [".spec.replicas"])
        #expect(changes.added.paths == [".spec.paused"])
        #expect(changes.removed.paths == [".metadata.labels.app"])
    }

    @Test("a merge keeps the elements of others in their place")
    func merge() {
        let live: JSON = [
            "spec": [
                "containers": [
                    ["name": "a", "image": "a:1", "tty": true], ["name": "sidecar", "image": "s"],
                    ["name": "b", "image": "b"],
                ]
            ],
            "metadata": ["finalizers": ["x"]],
        ]
        let wanted: JSON = [
            "spec": [
                "containers": [
                    ["name": "b", "image": "b:2"], ["name": "new", "image": "n"], ["name": "a", "image": "a:2"],
                ]
            ],
            "metadata": ["finalizers": ["y"]],
        ]
        let merged = FieldWalk.merge(live, wanted, MergeType(.pod))
        let names = merged["spec"]?["containers"]?.array?.compactMap { $0["name"]?.string }
        #expect(names == ["b", "new", "a", "sidecar"])
        #expect(merged["spec"]?["containers"]?[2] == ["name": "a", "image": "a:2", "tty": true])
        #expect(merged["metadata"]?["finalizers"] == ["x", "y"])
    }

    @Test("what a manager gives up goes, with what was filled in, unless somebody else owns it")
    func prune() throws {
        let live: JSON = [
            "spec": ["containers": [["name": "a", "image": "a", "tty": true], ["name": "b", "image": "b"]]],
            "metadata": ["labels": ["mine": "1", "theirs": "2"]],
        ]
        let lost = try #require(
            FieldSet(json: [
                "f:metadata": ["f:labels": ["f:mine": [:]]],
                "f:spec": [
                    "f:containers": [
                        "k:{\"name\":\"a\"}": [".": [:], "f:name": [:], "f:image": [:]],
                        "k:{\"name\":\"b\"}": [".": [:], "f:name": [:], "f:image": [:]],
                    ]
                ],
            ]))
        let owned = try #require(
            FieldSet(json: ["f:spec": ["f:containers": ["k:{\"name\":\"b\"}": [".": [:], "f:name": [:]]]]]))
        let pruned = FieldWalk.prune(live, lost, stillOwned: owned, MergeType(.pod))
        #expect(pruned?["spec"]?["containers"] == [["name": "b"]])
        #expect(pruned?["metadata"]?["labels"] == ["theirs": "2"])
    }

    @Test("a conflict names the manager and the paths; forcing takes the fields over")
    func conflict() throws {
        var managed = ManagedFields()
        let other = ManagedFields.Manager("edit", .update, apiVersion: "apps/v1")
        let type = MergeType(.deployment)
        managed.update(
            other, FieldWalk.changes(from: [:], to: Self.deployment, type), hasStatus: true,
            time: "2026-01-01T00:00:00Z")
        let wanted: JSON = ["spec": ["replicas": 5]]
        let fields = FieldWalk.fields(of: wanted, type)
        let written = FieldWalk.changes(
            from: Self.deployment, to: FieldWalk.merge(Self.deployment, wanted, type), type
        ).written
        let me = ManagedFields.Manager("kubectl", .apply, apiVersion: "apps/v1")
        #expect {
            try managed.apply(me, fields, written: written, removed: FieldSet(), isForced: false, time: "t")
        } throws: {
            let conflicts = ($0 as? ManagedFields.Conflicts)?.conflicts
            return conflicts?.first?.description == "\"edit\" using apps/v1"
                && conflicts?.first?.paths == [".spec.replicas"]
        }
        try managed.apply(me, fields, written: written, removed: FieldSet(), isForced: true, time: "t")
        #expect(managed.entries.map(\.manager.name) == ["kubectl", "edit"])
        #expect(managed.owned(exceptBy: me).json["f:spec"]?["f:replicas"] == nil)
    }

    @Test("more than ten updaters: the oldest are put together")
    func ancient() {
        var managed = ManagedFields()
        for number in 0..<14 {
            let manager = ManagedFields.Manager("m\(number)", .update, apiVersion: "v1")
            let changes = FieldWalk.changes(
                from: ["data": [:]], to: ["data": .object(["k\(number)": "x"])], MergeType(.configMap))
            managed.update(manager, changes, hasStatus: false, time: "2026-01-01T00:00:\(10 + number)Z")
        }
        #expect(managed.entries.count == 10)
        #expect(managed.entries.first?.manager.name == "ancient-changes")
        #expect(managed.entries.reduce(into: FieldSet()) { $0.formUnion($1.fields) }.paths.count == 14)
    }
}
