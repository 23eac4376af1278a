import EnvoyAPI
import KubernetesAPI
import Serialization
import Upstream

/// `metrics` of Telemetry objects as the configuration of the filter that tells metrics.
///
/// What a proxy could not compute is left out here, and told by the analysis: a listener must not be refused for a label.
struct MetricOverrides: Sendable, Hashable {
    /// Istio's names of its metrics, and those of the filter.
    static let names: [String: String] = [
        "ALL_METRICS": "", "REQUEST_COUNT": "requests_total", "REQUEST_DURATION": "request_duration_milliseconds",
        "REQUEST_SIZE": "request_bytes", "RESPONSE_SIZE": "response_bytes",
        "TCP_OPENED_CONNECTIONS": "tcp_connections_opened_total",
        "TCP_CLOSED_CONNECTIONS": "tcp_connections_closed_total", "TCP_SENT_BYTES": "tcp_sent_bytes_total",
        "TCP_RECEIVED_BYTES": "tcp_received_bytes_total", "GRPC_REQUEST_MESSAGES": "request_messages_total",
        "GRPC_RESPONSE_MESSAGES": "response_messages_total",
    ]

    /// One label of an override.
    struct Tag: Sendable, Hashable {
        var name: String
        /// nil: the label goes.
        var expression: String?
    }

    private var metrics: [IstioMetricConfig] = []

    init() {}

    /// Takes what a more special level says, for one side of a request.
    mutating func add(_ rule: IstioTelemetry, _ side: ProxyTelemetry.Side) {
        for entry in rule.metrics where Self.isForPrometheus(entry) {
            for override in entry["overrides"]?.array ?? [] {
                let mode = override["match"]?["mode"]?.string ?? "CLIENT_AND_SERVER"
                guard mode == "CLIENT_AND_SERVER" || mode == side.rawValue,
                    let name = Self.metric(of: override)
                else { continue }
                var message = IstioMetricConfig()
                message.name = name
                message.drop = Self.isDisabled(override)
                for tag in Self.tags(override) {
                    if let expression = tag.expression {
                        if TagExpression(expression) != nil { message.dimensions[tag.name] = expression }
                    } else {
                        message.tagsToRemove.append(tag.name)
                    }
                }
                metrics.append(message)
            }
        }
    }

    /// The filter's configuration.
    var message: IstioStatsConfig {
        var message = IstioStatsConfig()
        message.metrics = metrics
        return message
    }

    static func isForPrometheus(_ entry: JSON) -> Bool {
        let providers = entry["providers"]?.array ?? []
        return providers.isEmpty || providers.contains { $0["name"]?.string == "prometheus" }
    }

    /// The filter's name of the metric that an override is for; nil: there is none of that name.
    static func metric(of override: JSON) -> String? {
        if let custom = override["match"]?["customMetric"]?.string {
            return names.values.contains(custom) && !custom.isEmpty ? custom : nil
        }
        return names[override["match"]?["metric"]?.string ?? "ALL_METRICS"]
    }

    /// In a Telemetry it is a wrapped bool, which may be written as one.
    static func isDisabled(_ override: JSON) -> Bool {
        override["disabled"]?.bool ?? override["disabled"]?["value"]?.bool ?? false
    }

    /// The labels that an override concerns, by name.
    static func tags(_ override: JSON) -> [Tag] {
        (override["tagOverrides"]?.object ?? [:]).sorted { $0.key < $1.key }.compactMap { name, tag in
            if tag["operation"]?.string == "REMOVE" { return Tag(name: name, expression: nil) }
            return tag["value"]?.string.map { Tag(name: name, expression: $0) }
        }
    }

    /// What is wrong with an override: the field below it, and why.
    static func problems(_ override: JSON) -> [(field: String, message: String)] {
        var found: [(field: String, message: String)] = []
        if metric(of: override) == nil {
            found.append(("match", "there is no such metric; \(names.keys.sorted().joined(separator: ", "))"))
        }
        for (name, tag) in (override["tagOverrides"]?.object ?? [:]).sorted(by: { $0.key < $1.key }) {
            let field = "tagOverrides[\(name)]"
            if tag["operation"]?.string == "REMOVE" { continue }
            guard let text = tag["value"]?.string, !text.isEmpty else {
                found.append((field, "a value is needed unless the operation is REMOVE"))
                continue
            }
            if TagExpression(text) == nil {
                found.append((field + ".value", "\"\(text)\" has no effect; supported: \(TagExpression.supported)"))
            }
        }
        return found
    }
}
