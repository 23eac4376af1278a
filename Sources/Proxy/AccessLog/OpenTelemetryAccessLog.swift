internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// An access log as OpenTelemetry log records, over gRPC or HTTP.
struct OpenTelemetryAccessLog: Sendable {
    private static let path = "/opentelemetry.proto.collector.logs.v1.LogsService/Export"

    /// A value whose texts are formats.
    indirect enum Template: Sendable {
        case text(SubstitutionFormat)
        case list([(key: String, value: Template)])
        case array([Template])
        case constant(AnyValue)
    }

    private let queue: ExportQueue
    private let body: Template?
    private let attributes: [(key: String, value: Template)]

    init(
        compiling message: OpenTelemetryAccessLogConfig, at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "common_config", "http_service", "grpc_service", "disable_builtin_labels", "resource_attributes",
                "body", "attributes", "stat_prefix", "log_name", "buffer_flush_interval", "buffer_size_bytes",
                "formatters",
            ], at: path)
        try SubstitutionFormat.check(formatters: message.formatters, at: path)
        body = try message.body.map { value throws(ConfigurationError) in
            try Self.template(value, at: path + ".body")
        }
        attributes = try Self.templates(message.attributes?.values ?? [], at: path + ".attributes")
        let target: CollectorTarget
        if let service = message.httpService {
            target = try CollectorTarget(
                compiling: service, contentType: "application/x-protobuf", at: path + ".http_service")
        } else {
            let isNew = message.grpcService != nil
            target = try CollectorTarget(
                compiling: message.grpcService ?? message.commonConfig?.grpcService,
                transport: .grpcUnary(path: Self.path),
                at: path + (isNew ? ".grpc_service" : ".common_config.grpc_service"))
        }
        var resource = OTLPResource()
        if !message.disableBuiltinLabels {
            let name = message.logName.isEmpty ? message.commonConfig?.logName ?? "" : message.logName
            for (key, value) in [
                ("log_name", name), ("zone_name", context.node?.locality?.zone ?? ""),
                ("cluster_name", context.node?.cluster ?? ""), ("node_name", context.node?.id ?? ""),
            ] {
                resource.attributes.append(OTLPKeyValue(key, value))
            }
        }
        resource.attributes += message.resourceAttributes?.values ?? []
        let resourceBytes = resource.serialized()
        let scope = context.metrics.scope(
            "access_logs", "open_telemetry_access_log"
        )
        let prefix = message.statPrefix.isEmpty ? "" : message.statPrefix + "."
        queue = ExportQueue(
            target, interval: message.bufferFlushInterval ?? message.commonConfig?.bufferFlushInterval ?? .seconds(1),
            batchBytes: Int(message.bufferSizeBytes ?? message.commonConfig?.bufferSizeBytes ?? 16_384),
            hub: context.collectors, written: scope.counter(prefix + "logs_written"),
            dropped: scope.counter(prefix + "logs_dropped")
        ) { records, _ in
            var logs: [UInt8] = []
            for record in records { ProtobufParts.field(2, record, to: &logs) }
            var resourceLogs: [UInt8] = []
            ProtobufParts.field(1, resourceBytes, to: &resourceLogs)
            ProtobufParts.field(2, logs, to: &resourceLogs)
            var message: [UInt8] = []
            ProtobufParts.field(1, resourceLogs, to: &message)
            return message
        }
    }

    private static func templates(
        _ pairs: [OTLPKeyValue], at path: String
    ) throws(ConfigurationError) -> [(key: String, value: Template)] {
        var result: [(key: String, value: Template)] = []
        for (index, pair) in pairs.enumerated() {
            guard let value = pair.value else { continue }
            result.append((pair.key, try template(value, at: "\(path).values[\(index)].value")))
        }
        return result
    }

    private static func template(_ value: AnyValue, at path: String) throws(ConfigurationError) -> Template {
        switch value.value {
        case .stringValue(let text): return .text(try SubstitutionFormat(text: text, path: path + ".string_value"))
        case .kvlistValue(let list): return .list(try templates(list.values, at: path + ".kvlist_value"))
        case .arrayValue(let array):
            var elements: [Template] = []
            for (index, element) in array.values.enumerated() {
                elements.append(try template(element, at: "\(path).array_value.values[\(index)]"))
            }
            return .array(elements)
        default: return .constant(value)
        }
    }

    func write<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, row: Int) {
        var record = OTLPLogRecord()
        if let wall = context.info.startedWall {
            let nanoseconds = UInt64(clamping: wall.seconds) &* 1_000_000_000 &+ UInt64(clamping: wall.nanoseconds)
            record.timeUnixNano = Fixed64(rawValue: nanoseconds)
        }
        if let body { record.body = Self.render(body, context, moment) }
        record.attributes = attributes.map { pair in
            var attribute = OTLPKeyValue()
            attribute.key = pair.key
            attribute.value = Self.render(pair.value, context, moment)
            return attribute
        }
        if let trace = context.traceContext {
            record.traceId = trace.traceBytes
            record.spanId = trace.spanBytes
        }
        queue.add(record.serialized(), row: row)
    }

    private static func render<Context: FormatContext>(
        _ template: Template, _ context: Context, _ moment: FormatMoment
    ) -> AnyValue {
        var value = AnyValue()
        switch template {
        case .constant(let constant): value = constant
        case .text(let format):
            var bytes: [UInt8] = []
            format.append(context, moment, to: &bytes)
            value.value = .stringValue(String(decoding: bytes, as: UTF8.self))
        case .list(let pairs):
            var list = KeyValueList()
            list.values = pairs.map { pair in
                var member = OTLPKeyValue()
                member.key = pair.key
                member.value = render(pair.value, context, moment)
                return member
            }
            value.value = .kvlistValue(list)
        case .array(let elements):
            var array = ArrayValue()
            array.values = elements.map { render($0, context, moment) }
            value.value = .arrayValue(array)
        }
        return value
    }
}

extension OTLPKeyValue {
    /// A text under a key.
    init(_ key: String, _ text: String) {
        self.init()
        self.key = key
        var value = AnyValue()
        value.value = .stringValue(text)
        self.value = value
    }
}
