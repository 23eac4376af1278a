import Glibc
import IO
import Serialization
import Store
import Testing

/// The writer that is killed: this very program, started anew with one test.
@Suite("A process that is killed", .serialized, .timeLimit(.minutes(2)))
struct CrashTests {
    private static let variable = "SKEIN_STORE_VICTIM"

    /// Writes of eight writers at once: without end, each told on descriptor 3, in the process that is to be killed; otherwise a few, which are
    /// read again.
    @Test("eight writers at once: what is settled is there for who opens the file again")
    func victim() async throws {
        let victim = getenv(Self.variable).map { String(cString: $0) }
        let scratch = try Scratch()
        let path = victim ?? scratch.path + "/s.db"
        let count = victim == nil ? 12 : Int.max
        let loop = try EventLoop.start(name: "victim")
        try await Task(executorPreference: loop) {
            var options = SQLiteStore.Options()
            options.loop = loop
            options.keyFile = path + ".key"
            let shared = Shared(try SQLiteStore(path: path, options))
            await withTaskGroup(of: Void.self) { group in
                for writer in 0..<8 {
                    group.addTask(executorPreference: loop) {
                        for index in 0..<count {
                            let key = Self.key(writer, index)
                            guard
                                let made = try? shared.store.create(
                                    key, ["i": .integer(Int64(index))], index % 2 == 0 ? .synced : .relaxed)
                            else { return }
                            guard (try? await shared.store.settled()) != nil else { return }
                            guard victim != nil else { continue }
                            let line = Array("ACK \(key.resource) \(key.namespace) \(key.name) \(made.revision)\n".utf8)
                            _ = line.withUnsafeBytes { Glibc.write(3, $0.baseAddress, $0.count) }
                        }
                    }
                }
            }
            await shared.store.close()
        }.value
        var options = SQLiteStore.Options()
        options.keyFile = path + ".key"
        let again = try SQLiteStore(path: path, options)
        for writer in 0..<8 {
            for index in 0..<count { #expect(again.get(Self.key(writer, index)) != nil, "\(writer)-\(index)") }
        }
        await again.close()
    }

    private static func key(_ writer: Int, _ index: Int) -> StoreKey {
        StoreKey(
            resource: index % 3 == 0 ? "core/secrets" : "core/pods", namespace: "\(getpid())",
            name: "\(writer)-\(index)")
    }

    @Test("loses no acknowledged write, whenever the kill comes: 12 rounds of 8 writers")
    func killed() async throws {
        let scratch = try Scratch()
        let path = scratch.path + "/s.db"
        var acknowledged: [(key: StoreKey, revision: Revision)] = []
        var highest: Revision = 0
        for round in 0..<12 {
            let lines = try Self.runVictim(path, acknowledgements: 20 + Int.random(in: 0..<150))
            for line in lines {
                let words = line.split(separator: " ")
                guard words.count == 5, words[0] == "ACK", let revision = Revision(words[4]) else { continue }
                acknowledged.append(
                    (
                        StoreKey(resource: String(words[1]), namespace: String(words[2]), name: String(words[3])),
                        revision
                    ))
            }
            var options = SQLiteStore.Options()
            options.keyFile = path + ".key"
            let store = try SQLiteStore(path: path, options)
            let missing = acknowledged.filter { store.get($0.key)?.revision != $0.revision }
            #expect(missing.isEmpty, "round \(round): lost \(missing.count) of \(acknowledged.count)")
            let last = acknowledged.map(\.revision).max() ?? 0
            #expect(store.revision >= last && store.revision >= highest, "revisions never fall")
            highest = store.revision
            await store.close()
        }
        #expect(acknowledged.count > 200)
        #expect(Set(acknowledged.map(\.revision)).count == acknowledged.count, "no revision is given twice")
    }

    /// Starts the victim, kills it after so many acknowledgements and a little, and returns all it told.
    private static func runVictim(_ path: String, acknowledgements: Int) throws -> [String] {
        let (reader, writer) = try Child.pipe()
        defer { Descriptor.close(reader) }
        let program = try File.readLink("/proc/self/exe")
        // `swift test` starts the bundle by a helper or by itself: either way the same words start the same tests.
        var words = CommandLine.arguments
        words[0] = program
        // The record of the run that this test belongs to is not the victim's to write.
        for option in ["--filter", "--event-stream-output-path", "--event-stream-version"] {
            while let index = words.firstIndex(of: option), index + 1 < words.count {
                words.removeSubrange(index...(index + 1))
            }
        }
        var command = Child.Command(words + ["--filter", "CrashTests/victim"])
        command.environment = ["\(variable)=\(path)", Child.Command.standardPath]
        if let libraries = getenv("LD_LIBRARY_PATH") {
            command.environment.append("LD_LIBRARY_PATH=" + String(cString: libraries))
        }
        command.descriptors = [3: writer]
        let child = try Child(command)
        Descriptor.close(writer)
        var text: [UInt8] = []
        var block = [UInt8](repeating: 0, count: 65_536)
        var isKilled = false
        while true {
            let count = Glibc.read(reader, &block, block.count)
            if count <= 0 { break }
            text += block[..<count]
            if !isKilled, text.count(where: { $0 == 0x0a }) >= acknowledgements {
                try child.signal(SIGKILL)
                isKilled = true
            }
        }
        _ = try child.wait()
        try #require(
            isKilled, "the victim ended by itself: \(words) \(String(decoding: text, as: UTF8.self).prefix(300))")
        // A line that was cut off was not told whole.
        return String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false)
            .dropLast().map(String.init)
    }
}
