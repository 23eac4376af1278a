import Glibc
import Mesh
import Serialization
import Testing

@Suite("Golden snapshots")
struct GoldenTests {
    private static func path(_ name: String) -> String {
        let here = #filePath
        return here.prefix(upTo: here.lastIndex(of: "/") ?? here.endIndex) + "/Golden/" + name
    }

    private static func read(_ name: String) throws -> String {
        guard let file = fopen(path(name), "r") else { throw Unreadable(name: name) }
        defer { fclose(file) }
        var bytes: [UInt8] = []
        while case let byte = getc(file), byte != EOF { bytes.append(UInt8(truncatingIfNeeded: byte)) }
        return String(decoding: bytes, as: UTF8.self)
    }

    private struct Unreadable: Error { var name: String }

    /// What differs is shown by `git diff` after a run with SKEIN_UPDATE_GOLDEN=1.
    @Test("the snapshot of a small mesh is what it was", arguments: ["sidecar", "gateway"])
    func snapshot(role: String) throws {
        let world = try World(try Self.read("mesh.yaml"), World.gatewayPod)
        let snapshot = role == "gateway" ? world.gatewaySnapshot() : world.snapshot("default/web-1")
        let text = try snapshot.json.pretty + "\n"
        if getenv("SKEIN_UPDATE_GOLDEN") != nil {
            guard let file = fopen(Self.path("\(role).json"), "w") else { throw Unreadable(name: role) }
            fputs(text, file)
            fclose(file)
        }
        #expect(try JSON.parse(Self.read("\(role).json")) == JSON.parse(text))
    }
}
