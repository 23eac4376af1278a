internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
import Telemetry
internal import Upstream

/// Who gets the spans, and how traces are carried from proxy to proxy: OpenTelemetry or Zipkin.
final class TraceProvider: Sendable {
    /// The protocol of the collector.
    enum Kind: Sendable {
        case openTelemetry(sampler: Sampler)
        case zipkin(ZipkinSettings)
    }

    /// What Zipkin's configuration chooses.
    struct ZipkinSettings: Sendable {
        var serviceName: String
        var has128Bits: Bool
        var sharesSpans: Bool
        var speaksW3C: Bool
        var splitsSpans: Bool
    }

    /// OpenTelemetry's own decision, in place of the request id's.
    indirect enum Sampler: Sendable {
        case requestID
        case always
        case ratio(UInt64)
        case parent(Sampler)
    }

    private static let grpcPath = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
    private static let interval: Duration = .seconds(5)
    private static let batchBytes = 65_536

    let kind: Kind
    private let queue: ExportQueue

    init(compiling message: TraceTracing.Http, at path: String, context: CompileContext) throws(ConfigurationError) {
        guard case .typedConfig(let any) = message.configType else {
            throw ConfigurationError(at: path, "typed_config is needed")
        }
        let here = path + ".typed_config"
        switch any.name {
        case OpenTelemetryConfig.schema.name:
            let config = try HTTPFilters.unpack(any, as: OpenTelemetryConfig.self, at: path)
            try FieldCheck.check(
                config, reads: ["grpc_service", "http_service", "service_name", "resource_detectors", "sampler"],
                at: here)
            kind = .openTelemetry(sampler: try Self.sampler(config.sampler, at: here + ".sampler"))
            queue = try Self.openTelemetryQueue(config, at: here, context: context)
        case ZipkinConfig.schema.name:
            let config = try HTTPFilters.unpack(any, as: ZipkinConfig.self, at: path)
            let name = context.node?.cluster ?? ""
            kind = .zipkin(
                ZipkinSettings(
                    serviceName: name.isEmpty ? "skein" : name, has128Bits: config.traceId128bit,
                    sharesSpans: config.sharedSpanContext ?? true,
                    speaksW3C: config.traceContextOption == .useB3WithW3cPropagation,
                    splitsSpans: config.splitSpansForRequest))
            queue = try Self.zipkinQueue(config, at: here, context: context)
        default:
            throw ConfigurationError(
                at: path, "unknown tracer \(any.typeURL); supported: OpenTelemetryConfig and ZipkinConfig")
        }
    }

    // MARK: Compiling

    private static func openTelemetryQueue(
        _ config: OpenTelemetryConfig, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> ExportQueue {
        let target: CollectorTarget
        if let service = config.httpService {
            target = try CollectorTarget(
                compiling: service, contentType: "application/x-protobuf", at: path + ".http_service")
        } else {
            target = try CollectorTarget(
                compiling: config.grpcService, transport: .grpcUnary(path: grpcPath), at: path + ".grpc_service")
        }
        let resource = try ExportResource.message(
            service: config.serviceName, detectors: config.resourceDetectors, node: context.node, at: path)
        let resourceBytes = resource.serialized()
        let scope = context.metrics.scope("tracing", "opentelemetry")
        return ExportQueue(
            target, interval: interval, batchBytes: batchBytes, hub: context.collectors,
            written: scope.counter("spans_sent"), dropped: scope.counter("spans_dropped"),
            timerFlushed: scope.counter("timer_flushed")
        ) { records, _ in
            var spans: [UInt8] = []
            for record in records { ProtobufParts.field(2, record, to: &spans) }
            var resourceSpans: [UInt8] = []
            ProtobufParts.field(1, resourceBytes, to: &resourceSpans)
            ProtobufParts.field(2, spans, to: &resourceSpans)
            var message: [UInt8] = []
            ProtobufParts.field(1, resourceSpans, to: &message)
            return message
        }
    }

    private static func zipkinQueue(
        _ config: ZipkinConfig, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> ExportQueue {
        try FieldCheck.check(
            config,
            reads: [
                "collector_cluster", "collector_endpoint", "trace_id_128bit", "shared_span_context",
                "collector_endpoint_version", "collector_hostname", "split_spans_for_request", "trace_context_option",
                "collector_service",
            ], at: path)
        guard config.collectorEndpointVersion == .httpJson || config.collectorService != nil else {
            throw ConfigurationError(at: path + ".collector_endpoint_version", "only HTTP_JSON is supported")
        }
        let target: CollectorTarget
        if let service = config.collectorService {
            target = try CollectorTarget(
                compiling: service, contentType: "application/json", at: path + ".collector_service")
        } else {
            guard !config.collectorCluster.isEmpty else {
                throw ConfigurationError(at: path + ".collector_cluster", "a cluster is needed")
            }
            guard !config.collectorEndpoint.isEmpty else {
                throw ConfigurationError(at: path + ".collector_endpoint", "a path is needed: /api/v2/spans")
            }
            target = CollectorTarget(
                cluster: config.collectorCluster,
                authority: config.collectorHostname.isEmpty ? config.collectorCluster : config.collectorHostname,
                transport: .http(path: config.collectorEndpoint, contentType: "application/json"))
        }
        let scope = context.metrics.scope("tracing", "zipkin")
        return ExportQueue(
            target, interval: interval, batchBytes: batchBytes, hub: context.collectors,
            written: scope.counter("spans_sent"), dropped: scope.counter("reports_dropped"),
            timerFlushed: scope.counter("timer_flushed")
        ) { records, _ in
            var message: [UInt8] = [UInt8(ascii: "[")]
            for (index, record) in records.enumerated() {
                if index > 0 { message.append(UInt8(ascii: ",")) }
                message += record
            }
            message.append(UInt8(ascii: "]"))
            return message
        }
    }

    private static func sampler(
        _ message: TypedExtensionConfig?, at path: String
    ) throws(ConfigurationError) -> Sampler {
        guard let message, let any = message.typedConfig else { return .requestID }
        switch any.name {
        case AlwaysOnSamplerConfig.schema.name: return .always
        case TraceIdRatioBasedSamplerConfig.schema.name:
            let config = try HTTPFilters.unpack(any, as: TraceIdRatioBasedSamplerConfig.self, at: path)
            let share = config.samplingPercentage
            let denominator: UInt64 =
                switch share?.denominator {
                case .tenThousand?: 10_000
                case .million?: 1_000_000
                default: 100
                }
            // Of the trace id's low 63 bits, those below the bound are sampled.
            let part = min(UInt64(share?.numerator ?? 0), denominator)
            return .ratio(part == denominator ? .max : (UInt64(1) << 63) / denominator * part)
        case ParentBasedSamplerConfig.schema.name:
            let config = try HTTPFilters.unpack(any, as: ParentBasedSamplerConfig.self, at: path)
            return .parent(try sampler(config.wrappedSampler, at: path + ".typed_config.wrapped_sampler"))
        default:
            throw ConfigurationError(
                at: path, "unknown sampler \(message.name); supported: always_on, parent_based, trace_id_ratio_based")
        }
    }

    // MARK: Contexts

    /// What the request says about its trace.
    func extract(_ headers: borrowing HeaderTable) -> TracePropagation.Incoming? {
        switch kind {
        case .openTelemetry: return TracePropagation.w3c(headers)
        case .zipkin(let settings):
            return TracePropagation.b3(headers) ?? (settings.speaksW3C ? TracePropagation.w3c(headers) : nil)
        }
    }

    func inject(_ context: TraceContext, into headers: inout HeaderTable) {
        switch kind {
        case .openTelemetry: TracePropagation.injectW3C(context, into: &headers)
        case .zipkin(let settings):
            TracePropagation.injectB3(context, into: &headers)
            if settings.speaksW3C { TracePropagation.injectW3C(context, into: &headers) }
        }
    }

    /// The context of a request's span; `isTraced` is what the request id decided.
    func begin(
        _ incoming: TracePropagation.Incoming?, isTraced: Bool, random: () -> UInt64
    ) -> (context: TraceContext, isShared: Bool) {
        switch kind {
        case .openTelemetry(let sampler):
            var context = TraceContext(
                traceHigh: incoming?.traceHigh ?? random(), traceLow: incoming?.traceLow ?? random() | 1,
                span: random() | 1, parent: incoming?.span, isSampled: false, state: incoming?.state ?? [])
            context.isSampled = sampler.decide(
                parent: incoming?.isSampled, traceLow: context.traceLow, requestID: isTraced)
            return (context, false)
        case .zipkin(let settings):
            guard let incoming else {
                let low = random() | 1
                return (
                    TraceContext(
                        traceHigh: settings.has128Bits ? random() : 0, traceLow: low, span: low,
                        isSampled: isTraced), false
                )
            }
            let isSampled = incoming.isSampled ?? isTraced
            if settings.sharesSpans {
                return (
                    TraceContext(
                        traceHigh: incoming.traceHigh, traceLow: incoming.traceLow, span: incoming.span,
                        parent: incoming.parent, isSampled: isSampled, state: incoming.state), true
                )
            }
            return (
                TraceContext(
                    traceHigh: incoming.traceHigh, traceLow: incoming.traceLow, span: random() | 1,
                    parent: incoming.span, isSampled: isSampled, state: incoming.state), false
            )
        }
    }

    /// Hands a finished span to the exporter.
    func report(_ span: SpanRecord, local: IO.SocketAddress?, row: Int) {
        guard span.context.isSampled else { return }
        switch kind {
        case .openTelemetry: queue.add(span.otlp.serialized(), row: row)
        case .zipkin(let settings):
            queue.add(span.zipkin(serviceName: settings.serviceName, local: local).bytes, row: row)
        }
    }
}

extension TraceProvider.Sampler {
    func decide(parent: Bool?, traceLow: UInt64, requestID: Bool) -> Bool {
        switch self {
        case .requestID: parent ?? requestID
        case .always: true
        case .ratio(let bound): bound == .max || traceLow & (.max >> 1) < bound
        case .parent(let wrapped): parent ?? wrapped.decide(parent: nil, traceLow: traceLow, requestID: requestID)
        }
    }
}
