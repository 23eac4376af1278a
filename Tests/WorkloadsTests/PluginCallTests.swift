import Serialization
import Testing

@testable import Workloads

@Suite("Containers of other runtimes in the mesh")
struct PluginCallTests {
    private func call(_ arguments: String, container: String = "AB12") throws -> PluginCall {
        try #require(
            PluginCall([
                "environment": [
                    "CNI_COMMAND": "ADD", "CNI_CONTAINERID": .string(container), "CNI_IFNAME": "eth0",
                    "CNI_ARGS": .string(arguments),
                ], "input": "{}",
            ]))
    }

    private static let result: JSON = [
        "interfaces": [["name": "br1"], ["name": "skc0123"], ["name": "eth0", "sandbox": "/n"]],
        "ips": [["address": "10.1.0.5/24", "interface": 2]],
    ]

    @Test("a container with a name is a WorkloadEntry with its address, which a Service selects by that name")
    func entry() throws {
        let entry = try call("IgnoreUnknown=1;K8S_POD_NAMESPACE=my-box;K8S_POD_NAME=my-box").workload(
            Self.result, node: "n")
        #expect(entry?["metadata"]?["name"] == "cni-ab12-eth0")
        #expect(entry?["metadata"]?["annotations"]?["skein.dev/cni-link"] == "skc0123")
        #expect(entry?["spec"]?["address"] == "10.1.0.5")
        // Not `app`, by which it would join whatever Service selects an application of that name.
        #expect(entry?["spec"]?["labels"] == ["skein.dev/container": "my-box"])
    }

    @Test("Kubernetes' pods, containers without a usable name and those without a link here are none")
    func others() throws {
        let named = "K8S_POD_NAME=my-box"
        #expect(try call(named + ";K8S_POD_UID=u").workload(Self.result, node: "n") == nil)
        for text in ["", "K8S_POD_NAME=", "K8S_POD_NAME=a b", "K8S_POD_NAME=-a", "K8S_POD_NAME=a/b"] {
            #expect(try call(text).workload(Self.result, node: "n") == nil)
        }
        #expect(try call(named, container: "a/b").workload(Self.result, node: "n") == nil)
        var bare = Self.result
        bare["interfaces"] = [["name": "eth0", "sandbox": "/n"]]
        #expect(try call(named).workload(bare, node: "n") == nil)
    }
}
