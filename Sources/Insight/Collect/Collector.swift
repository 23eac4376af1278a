/// The pod that a page was read from: who it is does not come from the page.
public struct ObservedPod: Sendable, Hashable {
    /// The namespace.
    public var namespace: String
    /// The pod's name.
    public var name: String
    /// The Deployment, StatefulSet … that made it, or its own name.
    public var workload: String
    /// The node that it runs on.
    public var node: String

    /// A pod.
    public init(namespace: String, name: String, workload: String, node: String = "") {
        self.namespace = namespace
        self.name = name
        self.workload = workload
        self.node = node
    }
}

/// From pages that count since a process was started to series of the mesh.
///
/// Many pods feed one series: what each has counted more than at its last page is added up. A proxy that was started anew counts
/// from nothing; one that was there before us is counted from its first page on.
public struct Collector: Sendable {
    /// Ticks for which a series goes on that nobody tells any more.
    static let idleTicks: Int64 = 360
    /// Pods at most whose pages are remembered.
    static let podsMax = 20_000

    private struct Key: Hashable {
        var namespace: String
        var name: String
    }
    private var pages: [Key: ProxyPage] = [:]
    private var counters: [Labels: (value: Double, told: Int64)] = [:]
    private var gauges: [Labels: Double] = [:]
    private var sketches: [Labels: LatencySketch] = [:]
    private var sketchTold: [Labels: Int64] = [:]
    /// Series that began at this tick, from nothing.
    private var fresh: Set<Labels> = []
    private var tick: Int64 = 0
    /// Of nodes that may use less than the machine has: processor time that was left.
    var idleTime: [String: IdleTime] = [:]
    /// Names and values of labels.
    var texts = SharedTexts()
    /// The series of standard metrics, by the labels as they are told.
    var standardNames: [Labels: [String: Labels]] = [:]
    static let standardNamesMax = 40_000
    /// Whether the page of a pod's proxy tells its clusters, at this tick.
    private(set) var told: [ObservedPod: Bool] = [:]
    /// Lines of pages that were no samples, or too many.
    public private(set) var refusedLines: UInt64 = 0

    /// Nothing seen yet.
    public init() {}

    /// Begins a tick.
    public mutating func begin(tick: Int64) {
        self.tick = tick
        gauges = [:]
        sketches = [:]
        fresh = []
        told = [:]
    }

    // MARK: Proxies

    /// Takes the page of a pod's proxy; nil when it did not answer.
    ///
    /// - Parameter isLogged: Whether its access log is told, too: standard metrics come from there.
    public mutating func take(
        _ page: ProxyPage?, of pod: ObservedPod, sinceLast seconds: Double, isLogged: Bool = false
    ) {
        let key = Key(namespace: pod.namespace, name: pod.name)
        let labels = ["job": "proxies", "namespace": pod.namespace, "pod": pod.name, "workload": pod.workload]
        gauge(Labels("up", labels), page == nil && !isLogged ? 0 : 1)
        guard let page, pages[key] != nil || pages.count < Self.podsMax else { return }
        refusedLines += UInt64(page.refused)
        if let days = page.certificateDays {
            gauge(Labels("skein_certificate_expiry_days", ["namespace": pod.namespace, "pod": pod.name]), days)
        }
        if let percent = page.certificateLeft {
            gauge(Labels("skein_certificate_left_percent", ["namespace": pod.namespace, "pod": pod.name]), percent)
        }
        let before = pages[key]
        pages[key] = page
        told[pod] = !page.clusters.isEmpty
        let isYoung = page.uptime.map { $0 <= seconds * 1.5 } ?? false
        let wasRestarted = before?.uptime.flatMap { old in page.uptime.map { $0 < old } } ?? false
        // What is new on a known page counts from nothing; so does everything of a proxy that was just started.
        let isFresh = wasRestarted || before == nil && isYoung
        for (labels, figures) in page.standard ?? [:] {
            let base = isFresh ? StandardFigures() : before.map { $0.standard?[labels] ?? StandardFigures() } ?? figures
            take(grown: figures.grown(since: base), labels)
        }
        for (name, cluster) in page.clusters {
            guard let target = ClusterTarget(name) else { continue }
            let base =
                isFresh
                ? ProxyPage.Cluster() : before.map { $0.clusters[name] ?? ProxyPage.Cluster() } ?? cluster
            take(cluster, since: base, target, pod, tellsStandard: page.standard != nil || isLogged)
        }
    }

    /// Forgets pods that are gone.
    public mutating func keep(only pods: [ObservedPod]) {
        let known = Set(pods.map { Key(namespace: $0.namespace, name: $0.name) })
        pages = pages.filter { known.contains($0.key) }
    }

    static func labels(_ target: ClusterTarget, _ pod: ObservedPod) -> [String: String] {
        guard !target.isInbound else {
            return [
                "reporter": "destination", "destination_workload": pod.workload,
                "destination_workload_namespace": pod.namespace, "destination_port": target.port,
            ]
        }
        return [
            "reporter": "source", "source_workload": pod.workload, "source_workload_namespace": pod.namespace,
            "destination_service": target.host, "destination_service_name": target.service,
            "destination_service_namespace": target.namespace, "destination_port": target.port,
            "destination_subset": target.subset,
        ]
    }

    private mutating func take(
        _ now: ProxyPage.Cluster, since base: ProxyPage.Cluster, _ target: ClusterTarget, _ pod: ObservedPod,
        tellsStandard: Bool
    ) {
        let labels = Self.labels(target, pod)
        // What a proxy that tells no standard metrics has of them.
        let requests = ["skein_edge_requests_total"] + (tellsStandard ? [] : ["istio_requests_total"])
        let times =
            ["skein_edge_duration_milliseconds"] + (tellsStandard ? [] : ["istio_request_duration_milliseconds"])
        func grown(_ now: Double, _ before: Double) -> Double { now >= before ? now - before : now }
        for (code, value) in now.responses {
            let coded = labels.merging(["response_code": String(code)]) { $1 }
            for name in requests { count(Labels(name, coded), grown(value, base.responses[code] ?? 0)) }
        }
        let counted: [(name: String, value: Double)] = [
            ("skein_edge_sent_bytes_total", grown(now.sent, base.sent)),
            ("skein_edge_received_bytes_total", grown(now.received, base.received)),
            ("skein_edge_connections_total", grown(now.connections, base.connections)),
            ("skein_edge_handshakes_total", grown(now.handshakes, base.handshakes)),
            ("skein_edge_retries_total", grown(now.retries, base.retries)),
        ]
        for (name, value) in counted where value > 0 || counters[Labels(name, labels)] != nil {
            count(Labels(name, labels), value)
        }
        for (flag, value) in now.failures where value > 0 {
            count(
                Labels("skein_edge_failures_total", labels.merging(["response_flags": flag]) { $1 }),
                grown(value, base.failures[flag] ?? 0))
        }
        if now.open > 0 || now.connections > 0 { gauge(Labels("skein_edge_open_connections", labels), now.open) }
        if !target.isInbound {
            // Each proxy sees its hosts by itself: the worst view counts.
            if let members = now.members { gauge(Labels("skein_edge_endpoints", labels), members, isLow: true) }
            if let healthy = now.healthy { gauge(Labels("skein_edge_endpoints_healthy", labels), healthy, isLow: true) }
            if let ejected = now.ejected, ejected > 0 || (now.members ?? 0) > 0 {
                gauge(Labels("skein_edge_endpoints_ejected", labels), ejected)
            }
        }
        for name in times { takeTimes(now, since: base, Labels(name, labels)) }
    }

    private mutating func takeTimes(_ now: ProxyPage.Cluster, since base: ProxyPage.Cluster, _ labels: Labels) {
        guard !now.timeBuckets.isEmpty else { return }
        var sketch = LatencySketch(.proxy)
        var (below, belowBefore) = (0.0, 0.0)
        let wasReset = now.timeBuckets.contains { $0.value < base.timeBuckets[$0.key] ?? 0 }
        for (index, value) in now.timeBuckets.sorted(by: { $0.key < $1.key }) {
            let before = wasReset ? 0 : base.timeBuckets[index] ?? 0
            let grown = (value - below) - (before - belowBefore)
            (below, belowBefore) = (value, before)
            if grown >= 1, grown < 1e15 { sketch.add(UInt64(grown), at: index) }
        }
        sketch.sum = wasReset ? now.timeSum : max(0, now.timeSum - base.timeSum)
        distribute(sketch, labels)
    }

    /// Adds to a distribution of this tick.
    mutating func distribute(_ sketch: LatencySketch, _ labels: Labels) {
        sketches[labels, default: LatencySketch(.proxy)].merge(sketch)
        if sketchTold[labels] == nil { fresh.insert(labels) }
        sketchTold[labels] = tick
    }

    // MARK: Everything else

    /// Adds to a counter of the mesh.
    public mutating func count(_ labels: Labels, _ grown: Double) {
        let before = counters[labels]?.value ?? 0
        if counters[labels] == nil { fresh.insert(labels) }
        counters[labels] = (before + grown, tick)
    }

    /// Whether a counter of the mesh has begun.
    func knows(_ labels: Labels) -> Bool { counters[labels] != nil }

    /// Sets a counter to what its process says; a smaller number than before is a new start there, and so here.
    public mutating func setCounter(_ labels: Labels, _ value: Double) { counters[labels] = (value, tick) }

    /// A number of now; of several in one tick the sum, or the lowest.
    public mutating func gauge(_ labels: Labels, _ value: Double, isLow: Bool = false) {
        guard let old = gauges[labels] else { return gauges[labels] = value }
        gauges[labels] = isLow ? min(old, value) : old + value
    }

    /// Takes a page of a process of our own: counters and gauges as they stand, histograms without their buckets.
    public mutating func take(page: [UInt8], job: String, names: Set<String>? = nil) {
        var parser = ExpositionParser()
        var found: [ExpositionParser.Sample] = []
        parser.parse(page) { if names?.contains($0.name) ?? true { found.append($0) } }
        refusedLines += UInt64(parser.malformed + parser.refused)
        for sample in found where !sample.name.hasSuffix("_bucket") && sample.value.isFinite {
            var labels = Dictionary(sample.labels.map { ($0.name, $0.value) }, uniquingKeysWith: { first, _ in first })
            labels["job"] = job
            let named = Labels(sample.name, labels)
            if sample.name.hasSuffix("_total") || sample.name.hasSuffix("_sum") || sample.name.hasSuffix("_count") {
                setCounter(named, sample.value)
            } else {
                gauge(named, sample.value)
            }
        }
    }

    /// Writes the tick's samples to the store.
    public mutating func finish(into store: inout SeriesStore) {
        // What began now was nothing before: otherwise rates would not see how it began.
        for labels in fresh {
            if counters[labels] != nil {
                store.append(labels, .counter, tick: tick - 1, 0)
            } else {
                store.append(labels, tick: tick - 1, LatencySketch(.proxy))
            }
        }
        for (labels, counter) in counters {
            if counter.told < tick - Self.idleTicks {
                counters[labels] = nil
            } else {
                store.append(labels, .counter, tick: tick, counter.value)
            }
        }
        for (labels, value) in gauges { store.append(labels, .gauge, tick: tick, value) }
        for (labels, told) in sketchTold {
            if told < tick - Self.idleTicks {
                sketchTold[labels] = nil
            } else {
                store.append(labels, tick: tick, sketches[labels] ?? LatencySketch(.proxy))
            }
        }
    }

    /// Goes on counting where a store ended that was read from files.
    public mutating func resume(from store: SeriesStore, tick: Int64) {
        for series in store.stored where series.kind == .counter && series.last > tick - Self.idleTicks {
            guard series.labels["job"].isEmpty, let latest = store.latest(series.labels) else { continue }
            counters[series.labels] = (latest.value, latest.tick)
        }
    }
}
