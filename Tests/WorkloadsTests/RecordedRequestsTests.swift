import IO
import Serialization
import Testing

@testable import Workloads

@Suite("What the node keeps of recorded requests")
struct RecordedRequestsTests {
    private func scene(_ body: (RecordedRequests) throws -> Void) throws {
        let directory = "/tmp/skein-recorded-\(Environment.processID)-\(UInt64.random(in: 0 ... .max))"
        defer { try? File.removeTree(directory) }
        try File.makeDirectory(directory)
        try File.makeDirectory(directory + "/node")
        try body(RecordedRequests(NodeLayout(dataDirectory: directory, runDirectory: directory)))
    }

    @Test("lines come with their pod, what is no JSON is left out, and the latest time is told")
    func lines() throws {
        try scene { kept in
            #expect(kept.lines.isEmpty)
            let page = Array("{\"time_ms\":7,\"path\":\"/a\"}\nno json\n{\"time_ms\":5}\n".utf8)
            let latest = try kept.add(page, pod: "default/web-1")
            let none = try kept.add([], pod: "default/web-1")
            #expect(latest == 7 && none == nil)
            #expect(kept.lines.compactMap { $0["time_ms"]?.int } == [7, 5])
            #expect(kept.lines.first?["pod"]?.string == "default/web-1")
        }
    }

    @Test("two files are all there is: the oldest lines go")
    func bounded() throws {
        try scene { kept in
            for time in 1...5 {
                let path = String(repeating: "x", count: 5 << 20)
                _ = try kept.add(Array("{\"time_ms\":\(time),\"path\":\"\(path)\"}\n".utf8), pod: "default/web-1")
            }
            #expect(kept.lines.compactMap { $0["time_ms"]?.int } == [4, 5])
        }
    }
}
