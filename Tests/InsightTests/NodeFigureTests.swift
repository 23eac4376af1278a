import Serialization
import Testing

@testable import Insight

@Suite("Figures of a node")
struct NodeFigureTests {
    @Test("what a node's agent says becomes figures; what it does not say does not")
    func figures() {
        let usage: JSON = [
            "addresses": ["used": 7, "size": 253], "healthChecks": ["turnedAway": 3], "time": 1000.5,
        ]
        let figures = Dictionary(
            uniqueKeysWithValues: NodeFigure.read(usage, now: 1000).map { ($0.name, $0.value) })
        #expect(
            figures == [
                "skein_node_addresses_used": 7, "skein_node_addresses": 253,
                "skein_node_health_checks_turned_away": 3, "skein_clock_skew_seconds": -0.5,
            ])
        #expect(NodeFigure.read([:], now: 1000).isEmpty)
    }
}
