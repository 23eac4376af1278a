internal import EnvoyAPI
internal import Serialization
internal import Upstream

/// A sink of metrics (`stats_sinks`): a collector that gets them by OTLP, `envoy.stat_sinks.open_telemetry`.
struct MetricSinkConfig: Sendable {
    private static let contentType = "application/x-protobuf"
    private static let path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"

    var target: CollectorTarget
    /// Counters as what has come since the last export that arrived, and not since the process began.
    var sendsCounterDeltas = false
    /// The same of histograms.
    var sendsHistogramDeltas = false
    /// What tags say goes out of names and into attributes.
    var emitsAttributes = true
    /// Names are those without the tags' values.
    var usesExtractedName = true
    /// In front of each name, with a dot.
    var prefix = ""
    /// Points at most of one message; nil when nothing is asked for.
    var messagePointsMax: Int?
    /// Who tells.
    var resource: OTLPResource

    static func compile(
        _ sinks: [StatsSink], node: Node, at path: String
    ) throws(ConfigurationError) -> [MetricSinkConfig] {
        var compiled: [MetricSinkConfig] = []
        for (index, sink) in sinks.enumerated() {
            let here = "\(path)[\(index)]"
            guard case .typedConfig(let any)? = sink.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            if StatsdSinkConfig.takes(any) || any.holds(MetricsServiceConfig.self) { continue }
            guard any.name == OpenTelemetrySinkConfig.schema.name else {
                throw ConfigurationError(
                    at: here,
                    "unknown sink \(any.typeURL); supported: envoy.stat_sinks.open_telemetry, metrics_service, "
                        + "statsd, dog_statsd")
            }
            let message = try HTTPFilters.unpack(any, as: OpenTelemetrySinkConfig.self, at: here)
            compiled.append(try MetricSinkConfig(compiling: message, node: node, at: here + ".typed_config"))
        }
        return compiled
    }

    init(compiling message: OpenTelemetrySinkConfig, node: Node, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "grpc_service", "http_service", "max_data_points_per_request", "report_counters_as_deltas",
                "report_histograms_as_deltas", "emit_tags_as_attributes",
                "use_tag_extracted_name", "prefix", "resource_detectors",
            ], at: path)
        switch message.protocolSpecifier {
        case .grpcService(let service)?:
            target = try CollectorTarget(
                compiling: service, transport: .grpcUnary(path: Self.path), at: path + ".grpc_service")
        case .httpService(let service)?:
            target = try CollectorTarget(
                compiling: service, contentType: Self.contentType, at: path + ".http_service")
        case nil: throw ConfigurationError(at: path, "grpc_service or http_service is needed")
        }
        if message.maxDataPointsPerRequest > 0 { messagePointsMax = Int(clamping: message.maxDataPointsPerRequest) }
        sendsCounterDeltas = message.reportCountersAsDeltas
        sendsHistogramDeltas = message.reportHistogramsAsDeltas
        emitsAttributes = message.emitTagsAsAttributes ?? true
        usesExtractedName = message.useTagExtractedName ?? true
        prefix = message.prefix.isEmpty ? "" : message.prefix + "."
        resource = try ExportResource.message(
            service: "", detectors: message.resourceDetectors, node: node, at: path)
    }
}
