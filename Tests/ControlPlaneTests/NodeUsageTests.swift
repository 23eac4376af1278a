import IO
import Insight
import Serialization
import Testing

@testable import ControlPlane

@Suite("What pods use, on all nodes")
struct NodeUsageTests {
    @Test("pods of joined machines have series as those of this one have, and each node's agent its figures")
    func joined() async throws {
        let loop = try EventLoop.start(name: "usage")
        defer { loop.stop() }
        await Task(executorPreference: loop) {
            let service = InsightService(directory: "/nonexistent", on: loop)
            func pod(_ uid: String, _ node: String) -> InsightService.Pod {
                InsightService.Pod(
                    uid: uid, observed: ObservedPod(namespace: "shop", name: uid, workload: "web", node: node),
                    restarts: 0)
            }
            service.pods = { [pod("a", "here"), pod("b", "there")] }
            var asked: [String] = []
            service.usage = { path in
                asked.append(path)
                return [("a", "here"), ("b", "there")].map { uid, node in
                    (
                        node,
                        [
                            "time": 1000, "nodeTime": 990, "addresses": ["used": 1, "size": 253],
                            "pods": [
                                [
                                    "uid": .string(uid),
                                    "containers": [["name": "c", "cpuSeconds": 1, "memoryBytes": 4096]],
                                ]
                            ],
                        ]
                    )
                }
            }
            await service.collect()
            #expect(asked == ["/podUsage?requests=false&namespaces=shop"])
            let memory = service.store.newest("skein_pod_memory_bytes", since: 0)
            #expect(Set(memory.map { $0.labels["pod"] }) == ["a", "b"] && memory.allSatisfy { $0.value == 4096 })
            let skew = service.store.newest("skein_clock_skew_seconds", since: 0)
            #expect(Set(skew.map { $0.labels["node"] }) == ["here", "there"] && skew.allSatisfy { $0.value == 10 })
        }.value
    }
}
