internal import HTTP
internal import Synchronization
internal import Telemetry

/// What is counted about the gRPC calls to a cluster, or to one method of its services.
final class GRPCCounters: Sendable {
    private let scope: MetricScope
    private let prefix: String
    private let success: MetricCounter
    private let failure: MetricCounter
    private let total: MetricCounter
    private let requestMessages: MetricCounter
    private let responseMessages: MetricCounter
    /// By `grpc-status`, made at the first of each; the last place is for other texts than its numbers.
    private let statuses = Mutex<[MetricCounter?]>(Array(repeating: nil, count: statusMax + 2))
    private let time = Mutex<MetricHistogram?>(nil)

    /// - Parameter prefix: `service.method.`, or nothing.
    init(_ scope: MetricScope, prefix: String) {
        self.scope = scope
        self.prefix = prefix
        success = scope.counter(prefix + "success")
        failure = scope.counter(prefix + "failure")
        total = scope.counter(prefix + "total")
        requestMessages = scope.counter(prefix + "request_message_count")
        responseMessages = scope.counter(prefix + "response_message_count")
    }

    /// Highest status that gRPC has.
    private static let statusMax = 16

    /// A call has ended with what `fields` say; nothing is counted when they say nothing.
    func countEnd(_ fields: borrowing HeaderTable, row: Int) {
        guard let text = fields.value(.grpcStatus) else { return }
        let status = Self.number(text)
        let counter = statuses.withLock { known in
            if let counter = known[status] { return counter }
            let fresh = scope.counter(prefix + (status > Self.statusMax ? "other" : String(status)))
            known[status] = fresh
            return fresh
        }
        counter.add(row: row)
        (status == 0 ? success : failure).add(row: row)
        total.add(row: row)
    }

    /// The number of a status as gRPC writes it, without leading zeros; one more than the highest for any other text.
    private static func number(_ text: RawSpan) -> Int {
        text.withUnsafeBytes { bytes in
            guard bytes.count == 1 || bytes.count == 2 && bytes[0] != 0x30 else { return statusMax + 1 }
            var status = 0
            for byte in bytes {
                guard byte &- 0x30 < 10 else { return statusMax + 1 }
                status = status * 10 + Int(byte &- 0x30)
            }
            return min(status, statusMax + 1)
        }
    }

    func countRequestMessages(_ count: UInt64, row: Int) { requestMessages.add(count, row: row) }

    func countResponseMessages(_ count: UInt64, row: Int) { responseMessages.add(count, row: row) }

    /// From the request's last byte to the upstream to the response's last byte from it.
    func record(_ duration: Duration, row: Int) {
        let histogram = time.withLock { known in
            if let known { return known }
            let fresh = scope.histogram(prefix + "upstream_rq_time")
            known = fresh
            return fresh
        }
        histogram.record(duration, row: row)
    }
}

/// The counters of a filter's clusters and methods, made at first sight.
///
/// ATK-19: clients choose methods; from `GRPCLimits.methods` of a cluster on they share one set.
final class GRPCCounterBook: Sendable {
    private struct Cluster {
        let scope: MetricScope
        var whole: GRPCCounters?
        var methods: [GRPCMethodName: GRPCCounters] = [:]
        var others: GRPCCounters?
    }

    /// `grpc` or `grpc-web`.
    private let element: String
    private let replacesDots: Bool
    private let clusters = Mutex<[String: Cluster]>([:])

    init(element: String, replacesDots: Bool = false) {
        self.element = element
        self.replacesDots = replacesDots
    }

    /// The counters of a cluster; of one method, where that is named.
    func counters(cluster name: String, method: GRPCMethodName?, _ metrics: MetricSet) -> GRPCCounters {
        clusters.withLock { clusters in
            if method == nil, let whole = clusters[name]?.whole { return whole }
            if clusters[name] == nil {
                // Clusters come and go: what left must not stay for ever.
                if clusters.count >= GRPCLimits.clusters { clusters.removeAll() }
                clusters[name] = Cluster(scope: metrics.scope("cluster", name, element))
            }
            guard var cluster = clusters.removeValue(forKey: name) else {
                return GRPCCounters(metrics.scope("cluster", name, element), prefix: "")
            }
            defer { clusters[name] = cluster }
            guard let method else {
                if let whole = cluster.whole { return whole }
                let fresh = GRPCCounters(cluster.scope, prefix: "")
                cluster.whole = fresh
                return fresh
            }
            if let known = cluster.methods[method] { return known }
            if cluster.methods.count >= GRPCLimits.methods {
                if let others = cluster.others { return others }
                let fresh = GRPCCounters(cluster.scope, prefix: "other.other.")
                cluster.others = fresh
                return fresh
            }
            let fresh = GRPCCounters(cluster.scope, prefix: prefix(method))
            cluster.methods[method] = fresh
            return fresh
        }
    }

    private func prefix(_ method: GRPCMethodName) -> String {
        var service = String(decoding: method.service.utf8.prefix(GRPCLimits.nameBytes), as: UTF8.self)
        if replacesDots { service = String(service.map { $0 == "." ? "_" : $0 }) }
        let name = String(decoding: method.method.utf8.prefix(GRPCLimits.nameBytes), as: UTF8.self)
        return MetricName.element(service) + "." + MetricName.element(name) + "."
    }
}

/// Bounds of what is counted.
enum GRPCLimits {
    /// Methods of one cluster that have counters of their own.
    static let methods = 1_000
    /// Clusters that one filter counts for at a time.
    static let clusters = 10_000
    /// Bytes of a service's or a method's name; longer ones are cut.
    static let nameBytes = 256
}
