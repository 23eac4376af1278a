/// One metric as it is read: a name in Envoy's dotted form, labels, and a value.
public struct MetricSample: Sendable {
    /// What kind of value the sample holds.
    public enum Value: Sendable {
        /// A number that only grows.
        case counter(UInt64)
        /// A number that goes up and down.
        case gauge(Int64)
        /// A distribution: counts by bucket of `Histogram.bounds`, and the sum in milliseconds.
        case histogram(buckets: [UInt64], sum: Double)
    }

    /// The Prometheus name without labels, such as `envoy_cluster_upstream_rq_total`.
    public var name: String
    /// Label names and values in the order they are printed.
    public var labels: [(name: String, value: String)]
    /// The dotted name of Envoy's `/stats`, such as `cluster.backend.upstream_rq_total`.
    public var dotted: String
    /// The value.
    public var value: Value

    /// Makes a sample.
    public init(name: String, labels: [(name: String, value: String)] = [], dotted: String, value: Value) {
        self.name = name
        self.labels = labels
        self.dotted = dotted
        self.value = value
    }
}

/// Something that can be asked for its metrics.
public protocol MetricSource: Sendable {
    /// The present samples.
    func samples() -> [MetricSample]
}
