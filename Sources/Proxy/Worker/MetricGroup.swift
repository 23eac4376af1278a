internal import Telemetry

/// The cells of a small group of metrics, by Envoy's names.
protocol MetricCell: RawRepresentable<Int>, CaseIterable, Sendable {
    /// Whether the cell goes up and down.
    var isGauge: Bool { get }
}

extension MetricCell {
    var isGauge: Bool { "\(self)".hasSuffix("_active") || "\(self)".hasSuffix("active") }
}

/// Counters under one prefix, shared by all loops: `MetricSet` keeps one of each prefix.
final class MetricGroup<Cell: MetricCell>: Sendable {
    let prefix: String
    private let block: MetricBlock

    init(prefix: String, rows: Int) {
        self.prefix = prefix
        block = MetricBlock(count: Cell.allCases.count, rows: rows)
    }

    func add(_ cell: Cell, _ amount: UInt64 = 1, row: Int) { block.add(cell.rawValue, amount, row: row) }

    func subtract(_ cell: Cell, _ amount: UInt64 = 1, row: Int) { block.subtract(cell.rawValue, amount, row: row) }

    func value(_ cell: Cell) -> UInt64 { block.value(cell.rawValue) }
}

/// A group as the reports see it, whatever its cells are.
protocol ReportedMetrics: AnyObject, Sendable {
    var prefix: String { get }
    /// Name, value, and whether it is a gauge.
    var readings: [(name: String, value: UInt64, isGauge: Bool)] { get }
}

extension MetricGroup: ReportedMetrics {
    var readings: [(name: String, value: UInt64, isGauge: Bool)] {
        // A cell's name is Envoy's with dots written as two underscores (`versions__v1__found`).
        Cell.allCases.map { cell in
            let name = "\(cell)".split(separator: "_", omittingEmptySubsequences: false)
            var text = ""
            var wasEmpty = false
            for (index, part) in name.enumerated() {
                if part.isEmpty {
                    text += "."
                    wasEmpty = true
                } else {
                    text += (index == 0 || wasEmpty ? "" : "_") + part
                    wasEmpty = false
                }
            }
            return (text, value(cell), cell.isGauge)
        }
    }
}
