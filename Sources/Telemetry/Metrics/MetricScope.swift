import Synchronization

/// Metrics that live as long as somebody uses them, found by the name that `/stats` prints.
///
/// A configuration asks for its cells when it is compiled; on the request path nothing but a cell is touched. Two
/// configurations that name the same metric share the cell, and when the last of them is gone the metric is too.
public final class MetricRegistry: Sendable {
    private struct Weak {
        weak var scope: MetricScope?
    }

    private struct State {
        var scopes: [String: Weak] = [:]
        /// Sweeps happen when the table has doubled: the cost per scope stays constant.
        var sweepAt = 64
    }

    /// Rows of every block: one for each loop.
    public let rows: Int
    private let state = Mutex(State())
    /// Bucket bounds for a histogram's name; set once, before anything is compiled.
    private let buckets = Mutex<@Sendable (String) -> [Double]?>({ _ in nil })

    /// Makes an empty registry for `rows` loops.
    public init(rows: Int) { self.rows = rows }

    /// Chooses the buckets of histograms by name (`stats_config.histogram_bucket_settings`).
    public func setBuckets(_ bounds: @escaping @Sendable (String) -> [Double]?) { buckets.withLock { $0 = bounds } }

    /// A histogram with the buckets that its name is configured for.
    public func histogram(named name: String) -> Histogram { Histogram(rows: rows, bounds: bounds(of: name)) }

    /// The bucket bounds of a histogram with this name.
    public func bounds(of name: String) -> [Double] { buckets.withLock { $0 }(name) ?? Histogram.bounds }

    /// The scope of a name's leading elements; `scope("http", "ingress", "rbac")` holds `http.ingress.rbac.*`.
    ///
    /// A dot inside an element belongs to it: tag extraction sees one element.
    public func scope(_ elements: String...) -> MetricScope { scope(elements) }

    /// The scope of a name's leading elements.
    public func scope(_ elements: [String]) -> MetricScope {
        let prefix = MetricName.masked(elements)
        return state.withLock { state in
            if let known = state.scopes[prefix]?.scope { return known }
            if state.scopes.count >= state.sweepAt {
                state.scopes = state.scopes.filter { $0.value.scope != nil }
                state.sweepAt = max(64, state.scopes.count * 2)
            }
            let fresh = MetricScope(prefix: prefix, registry: self)
            state.scopes[prefix] = Weak(scope: fresh)
            return fresh
        }
    }

    /// Every scope that is in use, by name.
    public var scopes: [MetricScope] {
        state.withLock { state in state.scopes.values.compactMap(\.scope) }.sorted { $0.prefix < $1.prefix }
    }
}

/// The metrics that share a name's beginning.
public final class MetricScope: Sendable, MetricSource {
    /// Cells that one block takes: a cache line for each loop.
    private static let blockCells = 8

    private enum Metric {
        case counter(MetricBlock, Int)
        case gauge(MetricBlock, Int)
        case histogram(Histogram)
        case text(String)
    }

    private struct State {
        var metrics: [String: Metric] = [:]
        var block: MetricBlock?
        var used = 0
    }

    let prefix: String
    private let registry: MetricRegistry
    private let state = Mutex(State())

    init(prefix: String, registry: MetricRegistry) {
        self.prefix = prefix
        self.registry = registry
    }

    /// The counter of a name in this scope, made at first sight.
    public func counter(_ name: String) -> MetricCounter {
        let (block, cell) = cell(name, isGauge: false)
        return MetricCounter(scope: self, block: block, cell: cell)
    }

    /// The gauge of a name in this scope, made at first sight.
    public func gauge(_ name: String) -> MetricGauge {
        let (block, cell) = cell(name, isGauge: true)
        return MetricGauge(scope: self, block: block, cell: cell)
    }

    /// The histogram of a name in this scope, made at first sight.
    public func histogram(_ name: String) -> MetricHistogram {
        let full = "\(prefix).\(name)"
        let histogram = state.withLock { state in
            if case .histogram(let known)? = state.metrics[name] { return known }
            let fresh = registry.histogram(named: full)
            state.metrics[name] = .histogram(fresh)
            return fresh
        }
        return MetricHistogram(scope: self, histogram: histogram)
    }

    /// Sets a text that `/stats` shows with `type=TextReadouts`.
    public func setText(_ name: String, _ text: String) { state.withLock { $0.metrics[name] = .text(text) } }

    /// Counters whose names come from outside, at most `limit` of them.
    public func family(limit: Int) -> MetricFamily { MetricFamily(scope: self, limit: limit) }

    private func cell(_ name: String, isGauge: Bool) -> (MetricBlock, Int) {
        state.withLock { state in
            switch state.metrics[name] {
            case .counter(let block, let cell), .gauge(let block, let cell): return (block, cell)
            default: break
            }
            let block: MetricBlock
            if let open = state.block, state.used < Self.blockCells {
                block = open
            } else {
                block = MetricBlock(count: Self.blockCells, rows: registry.rows)
                state.block = block
                state.used = 0
            }
            let cell = state.used
            state.used += 1
            state.metrics[name] = isGauge ? .gauge(block, cell) : .counter(block, cell)
            return (block, cell)
        }
    }

    /// The present samples.
    public func samples() -> [MetricSample] {
        let metrics = state.withLock { $0.metrics }
        return metrics.map { name, metric in
            let full = MetricName(masked: name.isEmpty ? prefix : prefix.isEmpty ? name : "\(prefix).\(name)")
            switch metric {
            case .counter(let block, let cell): return MetricSample(full, .counter(block.value(cell)))
            case .gauge(let block, let cell):
                return MetricSample(full, .gauge(Int64(bitPattern: block.value(cell))))
            case .histogram(let histogram): return MetricSample(full, .histogram(histogram.snapshot))
            case .text(let text): return MetricSample(full, .text(text))
            }
        }
    }

    /// Counters and histograms begin at zero again.
    public func reset() {
        let metrics = state.withLock { Array($0.metrics.values) }
        var cells: [ObjectIdentifier: (block: MetricBlock, counters: Set<Int>)] = [:]
        for metric in metrics {
            switch metric {
            case .counter(let block, let cell):
                cells[ObjectIdentifier(block), default: (block, [])].counters.insert(cell)
            case .histogram(let histogram): histogram.reset()
            case .gauge, .text: break
            }
        }
        for (block, counters) in cells.values { block.reset { counters.contains($0) } }
    }
}
