/// Texts that many labels share: one copy of each is kept.
struct SharedTexts: Sendable {
    /// How many are known at most; then it begins anew, and labels that exist keep theirs.
    private static let countMax = 50_000
    private var known: Set<String> = []

    mutating func shared(_ text: String) -> String {
        if let index = known.firstIndex(of: text) { return known[index] }
        if known.count >= Self.countMax { known = [] }
        known.insert(text)
        return text
    }

    /// The same labels, of texts that are shared.
    mutating func shared(_ labels: Labels) -> Labels {
        Labels(
            Dictionary(
                labels.pairs.map { (shared($0.name), shared($0.value)) }, uniquingKeysWith: { first, _ in first }))
    }
}

extension Collector {
    /// Takes what standard metrics have counted since the last time, under their labels.
    mutating func take(grown figures: StandardFigures, _ labels: Labels) {
        for (name, value) in figures.counters { count(name, labels, value) }
        for (name, sketch) in figures.distributions { distribute(sketch, named(name, labels)) }
    }

    private mutating func count(_ name: String, _ labels: Labels, _ value: Double) {
        count(named(name, labels), value)
    }

    /// The series of a standard metric; labels are put together once.
    private mutating func named(_ name: String, _ labels: Labels) -> Labels {
        if let known = standardNames[labels]?[name] { return known }
        var named = texts.shared(labels)
        named[Labels.metricName] = texts.shared("istio_" + name)
        // Those of series that are gone are forgotten with all.
        if standardNames.count >= Self.standardNamesMax { standardNames = [:] }
        standardNames[labels, default: [:]][name] = named
        return named
    }

    /// Takes what a proxy has told by its access log since the last time (real Envoy's, which knows no standard metrics).
    ///
    /// - Parameter pod: Whose proxy it is.
    public mutating func take(_ logged: LoggedTraffic, of pod: ObservedPod) {
        for (labels, figures) in logged.standard { take(grown: figures, labels) }
        guard told[pod] != true else { return }
        for (target, edge) in logged.edges { take(edge, target, pod) }
    }

    /// An edge as the views know it, where no page of the proxy's clusters tells it.
    private mutating func take(_ edge: LoggedTraffic.Edge, _ target: ClusterTarget, _ pod: ObservedPod) {
        let labels = Self.labels(target, pod)
        for (code, value) in edge.responses {
            count(
                Labels("skein_edge_requests_total", labels.merging(["response_code": String(code)]) { $1 }), value)
        }
        for (flag, value) in edge.failures {
            count(Labels("skein_edge_failures_total", labels.merging(["response_flags": flag]) { $1 }), value)
        }
        let counted = [
            ("skein_edge_sent_bytes_total", edge.sent), ("skein_edge_received_bytes_total", edge.received),
            ("skein_edge_connections_total", edge.connections), ("skein_edge_handshakes_total", edge.handshakes),
            ("skein_edge_retries_total", edge.retries),
        ]
        for (name, value) in counted where value > 0 || knows(Labels(name, labels)) {
            count(Labels(name, labels), value)
        }
        if edge.times.count > 0 { distribute(edge.times, Labels("skein_edge_duration_milliseconds", labels)) }
    }
}
