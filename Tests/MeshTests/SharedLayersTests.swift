import KubernetesAPI
import Mesh
import Serialization
import Testing

@Suite("Layers that copies of a workload share")
struct SharedLayersTests {
    private static func pods(_ count: Int, app: String = "web", from first: Int = 1) -> String {
        (first..<first + count).map { World.pod("\(app)-\($0)", app, ip: $0) }.joined()
    }

    /// A translator that is asked for what is a pod's own.
    private final class Asked {
        var translator: MeshTranslator

        init(_ world: World) { translator = MeshTranslator(world.model) }

        func layer(_ pod: String) -> MeshLayer? {
            let pod = NamespacedName(namespace: "default", name: pod)
            return translator.snapshot(for: ProxyIdentity(pod: pod, role: .sidecar)).layers.last
        }
    }

    @Test("copies of a workload have one way in between them, others their own, and each what it would have alone")
    func copies() throws {
        let world = try World(
            World.service("web", ip: 1), World.service("other", ip: 2), Self.pods(40),
            Self.pods(2, app: "other", from: 60))
        let asked = Asked(world)
        let first = try #require(asked.layer("web-1"))
        for number in 2...40 { #expect(asked.layer("web-\(number)") === first) }
        let other = try #require(asked.layer("other-60"))
        #expect(other !== first && asked.layer("other-61") === other)
        for pod in ["web-7", "other-61"] {
            #expect(asked.layer(pod)?.resources == world.snapshot("default/\(pod)").layers.last?.resources)
        }
    }

    @Test("a copy that becomes another workload leaves the others as they are, and comes back to them")
    func change() throws {
        let world = try World(World.service("web", ip: 1), Self.pods(3))
        let pod = NamespacedName(namespace: "default", name: "web-2")
        let before = try #require(world.objects.object(.pod, pod))
        var json = before.json
        json["metadata"]?["labels"] = ["app": "none"]
        let asked = Asked(world)
        let shared = try #require(asked.layer("web-1"))
        #expect(asked.layer("web-2") === shared)
        // More edits than what nobody holds is kept for.
        for _ in 0..<80 {
            asked.translator.set(KubernetesObject(json: json))
            let alone = try #require(asked.layer("web-2"))
            #expect(alone !== shared && alone.resources != shared.resources)
            #expect(asked.layer("web-1") === shared)
            asked.translator.set(before)
            #expect(asked.layer("web-2") === shared)
        }
    }
}
