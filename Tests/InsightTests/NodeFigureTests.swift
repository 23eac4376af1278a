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
}
