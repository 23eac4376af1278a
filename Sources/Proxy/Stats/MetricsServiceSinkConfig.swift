internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A sink of metrics that speaks Envoy's metrics service: `envoy.stat_sinks.metrics_service`.
struct MetricsServiceSinkConfig: Sendable {
    private static let path = "/envoy.service.metrics.v3.MetricsService/StreamMetrics"

    var target: CollectorTarget
    /// Counters as what has come since the last export.
    var sendsCounterDeltas: Bool
    /// What tags say goes out of names and into labels.
    var emitsLabels: Bool
    var sendsSummaries: Bool
    var sendsHistograms: Bool
    /// Families at most of one message; 0 when nothing is asked for.
    var batch: Int
    /// The encoded field that the first message of a stream begins with: who speaks.
    var introduction: [UInt8]

    static func compile(
        _ sinks: [StatsSink], node: Node, at path: String
    ) throws(ConfigurationError) -> [MetricsServiceSinkConfig] {
        var compiled: [MetricsServiceSinkConfig] = []
        for (index, sink) in sinks.enumerated() {
            guard case .typedConfig(let any)? = sink.configType, any.holds(MetricsServiceConfig.self) else { continue }
            let here = "\(path)[\(index)]"
            let message = try HTTPFilters.unpack(any, as: MetricsServiceConfig.self, at: here)
            compiled.append(try Self(compiling: message, node: node, at: here + ".typed_config"))
        }
        return compiled
    }

    init(compiling message: MetricsServiceConfig, node: Node, at path: String) throws(ConfigurationError) {
        target = try CollectorTarget(
            compiling: message.grpcService, transport: .grpcStream(path: Self.path), at: path + ".grpc_service")
        sendsCounterDeltas = message.reportCountersAsDeltas ?? false
        emitsLabels = message.emitTagsAsLabels
        switch message.histogramEmitMode {
        case .summaryAndHistogram: (sendsSummaries, sendsHistograms) = (true, true)
        case .summary: (sendsSummaries, sendsHistograms) = (true, false)
        case .histogram: (sendsSummaries, sendsHistograms) = (false, true)
        default: throw ConfigurationError(at: path + ".histogram_emit_mode", "is none of the known modes")
        }
        batch = Int(clamping: message.batchSize)
        var identifier = StreamMetricsMessage.Identifier()
        identifier.node = node
        var first = StreamMetricsMessage()
        first.identifier = identifier
        introduction = first.serialized()
    }
}
