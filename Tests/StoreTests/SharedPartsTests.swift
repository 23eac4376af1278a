import Serialization
import Testing

@testable import Store

@Suite("Equal parts of objects are kept once")
struct SharedPartsTests {
    private func object(_ index: Int) -> JSON {
        [
            "metadata": [
                "name": .string("pod-\(index)"), "labels": ["app": "web", "version": "a version with a long name"],
                "managedFields": [["manager": "kubectl", "fieldsV1": ["f:spec": ["f:containers": [:]]]]],
            ],
            "spec": [
                "containers": [
                    ["image": "registry.example/team/service:1.2.3", "ports": [["port": 80], ["port": 1.5]]]
                ],
                "nodeName": .string("node-\(index)"), "flags": [true, false, .null],
            ],
        ]
    }

    /// Where the members of an object lie.
    private func place(_ json: JSON?) -> UnsafeRawPointer? {
        guard case .array(let elements)? = json else { return nil }
        return elements.withUnsafeBytes { $0.baseAddress }
    }

    @Test("objects are what they were, and lists that are equal lie at one place")
    func equal() {
        var parts = SharedParts()
        let shared = (0..<10).map { parts.share(object($0)) }
        #expect(shared == (0..<10).map(object))
        let places = shared.map { place($0["spec"]?["containers"]) }
        #expect(places[0] != nil)
        #expect(places.allSatisfy { $0 == places[0] })
        #expect(place(object(0)["spec"]?["containers"]) != places[0])
    }

    @Test("what is no object, and what is too large to be kept alive, stays as it is")
    func limits() {
        var parts = SharedParts()
        #expect(parts.share("text") == "text")
        #expect(parts.share(.null) == .null)
        let large: JSON = ["data": [.string(String(repeating: "x", count: SharedParts.bytesMax + 1)), "small"]]
        let (first, second) = (
            parts.share(large), parts.share(["data": .array(large["data"]?.array?.map { $0 } ?? [])])
        )
        #expect(first == large && second == large)
        #expect(place(first["data"]) != place(second["data"]))
    }

    @Test("more different parts than the table has room for are kept twice, not mistaken")
    func overflow() {
        var parts = SharedParts()
        for round in 0..<2 {
            for index in 0..<(SharedParts.slots * 2) {
                let object: JSON = ["spec": ["a": .integer(Int64(index)), "list": [.integer(Int64(-index))]]]
                let shared = parts.share(object)
                if shared != object { Issue.record("round \(round): \(shared.text)") }
            }
        }
    }
}
