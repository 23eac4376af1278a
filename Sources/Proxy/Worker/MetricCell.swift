internal import Telemetry

/// A fixed set of counters and gauges with Envoy's names, one cell each.
protocol MetricCell: CaseIterable, RawRepresentable, Sendable where RawValue == Int {
    /// Where the gauges begin; everything before it is a counter.
    static var firstGauge: Int { get }
    /// Names by cell, made once.
    static var names: [String] { get }
    /// Beginnings of case names that stand for a name of their own: `outlier_` for `outlier_detection.`.
    static var groups: [(start: String, name: String)] { get }
}

extension MetricCell {
    static var groups: [(start: String, name: String)] { [] }

    /// The cases' names as `/stats` prints them.
    static func makeNames() -> [String] {
        allCases.map { cell in
            let name = "\(cell)"
            for group in groups where name.hasPrefix(group.start) {
                return group.name + name.dropFirst(group.start.utf8.count)
            }
            return name
        }
    }

    var isGauge: Bool { rawValue >= Self.firstGauge }

    /// The sample of one cell of a block that holds the whole set.
    func sample(_ prefix: String, _ block: MetricBlock) -> MetricSample {
        let value = block.value(rawValue)
        return MetricSample(
            MetricName(masked: "\(prefix).\(Self.names[rawValue])"),
            isGauge ? .gauge(Int64(bitPattern: value)) : .counter(value))
    }
}
