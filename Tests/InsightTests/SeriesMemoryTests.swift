import Glibc
import IO
import Testing

@testable import Insight

@Suite("Memory of time series")
struct SeriesMemoryTests {
    /// Resident memory of this process, in bytes.
    private static var resident: Int {
        guard let file = fopen("/proc/self/statm", "r") else { return 0 }
        defer { fclose(file) }
        var line = [UInt8](repeating: 0, count: 200)
        let count = fread(&line, 1, line.count, file)
        let words = String(decoding: line.prefix(count), as: UTF8.self).split(separator: " ")
        return (words.count > 1 ? Int(words[1]) ?? 0 : 0) * 4096
    }

    private static let variable = "SKEIN_SERIES_MEMORY"

    @Test(
        "ATK-19 at full load, with all series there may be, each with numbers that do not compress, memory stays within its limit, and what goes is counted",
        .timeLimit(.minutes(10)))
    func fullLoad() throws {
        // In a process of its own: what other tests allocate does not count.
        guard getenv(Self.variable) == nil else { return Self.fill() }
        let program = try File.readLink("/proc/self/exe")
        var command = Child.Command(
            [program, "--testing-library", "swift-testing", "--filter", "SeriesMemoryTests/fullLoad"],
            environment: ["\(Self.variable)=1", Child.Command.standardPath])
        if let libraries = getenv("LD_LIBRARY_PATH") {
            command.environment.append("LD_LIBRARY_PATH=" + String(cString: libraries))
        }
        let (status, output) = try Child.run(command, timeout: .seconds(500))
        let text = String(decoding: output, as: UTF8.self)
        #expect(status.isSuccess && text.contains("1 test in 1 suite passed"), "\(status): \(text.suffix(2000))")
    }

    private static func fill() {
        let limits = SeriesLimits(mebibytes: 8)
        var store = SeriesStore(limits)
        var numbers = Numbers(state: 11)
        let labels = (0..<limits.seriesMax + 100).map { index in
            Labels(
                "skein_edge_requests_total",
                [
                    "source_workload": "workload-\(index)", "destination_service": "service-\(index).default.svc",
                    "response_code": "200", "reporter": "source",
                ])
        }
        let before = SeriesMemoryTests.resident
        let first: Int64 = 3_000_000
        // Until samples have gone twice: an hour goes at a time.
        var tick = first
        while store.evictions < 2, tick < first + 2000 {
            for one in labels { store.append(one, .gauge, tick: tick, numbers.share()) }
            _ = store.takeSealed()
            if tick % 30 == 0 { store.sweep(now: tick) }
            tick += 1
        }
        store.sweep(now: tick)
        let grown = SeriesMemoryTests.resident - before
        #expect(store.count == limits.seriesMax && store.refused >= 100)
        #expect(store.bytes <= limits.bytesMax && store.evictions >= 2)
        #expect(grown <= limits.bytesMax * 3 / 2, "resident \(grown)")
    }
}
