import Serialization
import Testing

@testable import Insight

@Suite("Figures of a node")
struct NodeFigureTests {
    @Test("what a node's agent says becomes figures; what it does not say does not")
    func figures() {
        let usage: JSON = [
            "addresses": ["used": 7, "size": 253], "healthChecks": ["turnedAway": 3], "dials": ["turnedAway": 2],
            "time": 1000.5,
        ]
        let figures = Dictionary(
            uniqueKeysWithValues: NodeFigure.read(usage, now: 1000).map { ($0.name, $0.value) })
        #expect(
            figures == [
                "skein_node_addresses_used": 7, "skein_node_addresses": 253,
                "skein_node_health_checks_turned_away": 3, "skein_node_dials_turned_away": 2,
                "skein_clock_skew_seconds": -0.5,
            ])
        #expect(NodeFigure.read([:], now: 1000).isEmpty)
        // A page that came from elsewhere has our time, and what the clock there said beside it.
        #expect(NodeFigure.read(["time": 1000, "nodeTime": 990], now: 1000).map(\.value) == [10])
    }

    @Test("a node that is a container has the memory and the processors that it is allowed, however its limit changes")
    func allowed() {
        var store = SeriesStore()
        var collector = Collector()
        func value(_ name: String, _ mode: String? = nil) -> Double? {
            store.newest(name, since: 0).first { mode == nil || $0.labels["mode"] == mode }?.value
        }
        // Seconds, seconds of processor time, processors that are allowed; idle seconds so far.
        let steps: [(Double, Double, Double, Double)] = [
            (0, 100, 0.5, 0), (10, 101, 0.5, 4), (20, 106.2, 0.5, 4), (30, 107, 1, 13.2), (40, 107, 1, 23.2),
        ]
        for (number, step) in steps.enumerated() {
            collector.begin(tick: Int64(number + 1))
            collector.takeNode(
                "n", stat: "cpu 1 2 3 4 5\n", memory: "MemTotal: 4000 kB\nMemFree: 9 kB\nMemAvailable: 3000 kB\n",
                processors: 2,
                allowance: NodeAllowance(
                    processors: step.2, processorSeconds: step.1, memoryBytes: 1_024_000, memoryUsed: 1_000_000),
                time: step.0)
            collector.finish(into: &store)
            #expect(abs((value("skein_node_cpu_seconds_total", "idle") ?? -1) - step.3) < 1e-9)
            #expect(value("skein_node_cpu_seconds_total", "user") == nil)
            #expect(value("skein_node_processors") == step.2)
        }
        #expect(value("skein_node_memory_bytes") == 1_024_000)
        #expect(value("skein_node_memory_available_bytes") == 24000)
    }

    @Test("limits above what the machine has are none")
    func notAllowed() {
        var store = SeriesStore()
        var collector = Collector()
        collector.begin(tick: 1)
        collector.takeNode(
            "n", stat: "cpu 100 2 3 400 5\n", memory: "MemTotal: 4000 kB\nMemFree: 9 kB\nMemAvailable: 3000 kB\n",
            processors: 2,
            allowance: NodeAllowance(processors: 8, processorSeconds: 1, memoryBytes: 1e12, memoryUsed: 1e6))
        collector.finish(into: &store)
        #expect(store.newest("skein_node_processors", since: 0).map(\.value) == [2])
        #expect(store.newest("skein_node_memory_bytes", since: 0).map(\.value) == [4_096_000])
        #expect(store.newest("skein_node_memory_available_bytes", since: 0).map(\.value) == [3_072_000])
        #expect(store.newest("skein_node_cpu_seconds_total", since: 0).count == 5)
    }
}
