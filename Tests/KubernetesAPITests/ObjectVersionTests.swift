import Serialization
import Testing

@testable import KubernetesAPI

@Suite("The resource version of an object may stand beside it")
struct ObjectVersionTests {
    private let content: JSON = [
        "apiVersion": "v1", "kind": "Pod", "metadata": ["name": "web", "namespace": "shop", "labels": ["app": "web"]],
        "spec": ["nodeName": "n1"],
    ]
    private var whole: JSON {
        var whole = content
        whole["metadata"]?["resourceVersion"] = "7"
        return whole
    }

    @Test("whoever reads it sees it where Kubernetes has it, and equal objects are equal wherever it stands")
    func reading() {
        let object = KubernetesObject(content: content, revision: 7)
        #expect(object.json == whole && object.metadata.json == whole["metadata"])
        #expect(object.metadata.resourceVersion == "7" && object.member("metadata") == whole["metadata"])
        #expect(object.name == "web" && object.metadata.labels == ["app": "web"] && object.spec == content["spec"])
        let same = KubernetesObject(json: whole)
        #expect(object == same && object.hashValue == same.hashValue && object.metadata == same.metadata)
        #expect(object.metadata.hashValue == same.metadata.hashValue)
        #expect(object != KubernetesObject(content: content, revision: 8) && object != KubernetesObject(json: content))
        #expect(object.content == content)
        // Another version in the object does not count.
        #expect(KubernetesObject(content: whole, revision: 9).json["metadata"]?["resourceVersion"] == "9")
    }

    @Test("a change keeps it, and one of the version itself counts")
    func writing() {
        var object = KubernetesObject(content: content, revision: 7)
        object.spec["nodeName"] = "n2"
        #expect(object.metadata.resourceVersion == "7" && object.json["spec"]?["nodeName"] == "n2")
        var other = KubernetesObject(content: content, revision: 7)
        other.metadata.labels = ["app": "db"]
        #expect(other.json["metadata"]?["resourceVersion"] == "7" && other.metadata.labels == ["app": "db"])
        other.json["metadata"]?["resourceVersion"] = nil
        #expect(other.metadata.resourceVersion.isEmpty)
        other.json = content
        #expect(other == KubernetesObject(json: content))
        var bare = KubernetesObject(content: ["kind": "Odd"], revision: 3)
        bare.json["x"] = 1
        #expect(bare.json == ["kind": "Odd", "metadata": ["resourceVersion": "3"], "x": 1])
    }
}
