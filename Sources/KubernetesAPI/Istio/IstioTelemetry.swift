public import Serialization

/// An Istio Telemetry: logs, traces and metrics of workloads (`telemetry.istio.io`, telemetry.proto).
public struct IstioTelemetry: JSONView {
    /// The whole object.
    public var json: JSON
    /// Looks at `json` as a Telemetry.
    public init(json: JSON) { self.json = json }

    private var spec: KubernetesObject { KubernetesObject(json: json["spec"] ?? .object([:])) }
    /// The labels of the workloads; empty means all of the namespace, in the root namespace of the mesh.
    public var selector: [String: String] {
        KubernetesObject(json: spec.json["selector"] ?? .object([:])).map("matchLabels")
    }
    /// Whether it is for the Gateways or services of `targetRefs` instead.
    public var hasTargets: Bool { !(spec.json["targetRefs"]?.array ?? []).isEmpty || spec.json["targetRef"] != nil }
    /// What is said of access logs, in order.
    public var accessLogging: [Logging] { spec.views("accessLogging") }
    /// What is said of traces, in order.
    public var tracing: [Tracing] { spec.views("tracing") }
    /// What is said of metrics.
    public var metrics: [JSON] { spec.json["metrics"]?.array ?? [] }

    /// One entry of `accessLogging`.
    public struct Logging: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as an entry.
        public init(json: JSON) { self.json = json }
        /// `CLIENT`, `SERVER`, or `CLIENT_AND_SERVER` when absent.
        public var mode: String { json["match"]?["mode"]?.string ?? "CLIENT_AND_SERVER" }
        /// The names of the providers; empty means those that are in force already.
        public var providers: [String] { (json["providers"]?.array ?? []).compactMap { $0["name"]?.string } }
        /// Whether nothing is to be logged.
        public var isDisabled: Bool { bool("disabled") }
        /// The filter expression; `nil` when there is none.
        public var filter: String? { json["filter"]?["expression"]?.string }
    }

    /// One entry of `tracing`.
    public struct Tracing: JSONView {
        /// The entry.
        public var json: JSON
        /// Looks at `json` as an entry.
        public init(json: JSON) { self.json = json }
        /// `CLIENT`, `SERVER`, or `CLIENT_AND_SERVER` when absent.
        public var mode: String { json["match"]?["mode"]?.string ?? "CLIENT_AND_SERVER" }
        /// The names of the providers; the first one counts.
        public var providers: [String] { (json["providers"]?.array ?? []).compactMap { $0["name"]?.string } }
        /// Share of requests that are traced, in percent; `nil` when absent.
        public var sampling: Double? { json["randomSamplingPercentage"]?.double }
        /// Whether spans are made and passed on, but not reported.
        public var isDisabled: Bool { bool("disableSpanReporting") }
        /// Tags by name: `literal`, `environment` or `header`.
        public var customTags: [String: JSON] { json["customTags"]?.object ?? [:] }
    }
}
