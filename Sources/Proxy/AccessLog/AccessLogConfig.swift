internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled access logger: which requests get a line, what it looks like, and where it goes.
///
/// Asked for every request, so an object: to take a value of this size out of a list is to count its references.
final class AccessLogConfig: Sendable {
    /// Where lines go.
    enum Sink: Sendable {
        case file(FileLog)
        case remote(RemoteLog)
    }

    let filter: AccessLogFilterRule?
    let sink: Sink

    private init(filter: AccessLogFilterRule?, sink: Sink) {
        self.filter = filter
        self.sink = sink
    }

    static func compile(
        _ messages: [AccessLog], at path: String, context: CompileContext
    ) throws(ConfigurationError) -> [AccessLogConfig] {
        var configs: [AccessLogConfig] = []
        for (index, message) in messages.enumerated() {
            let here = "\(path)[\(index)]"
            try FieldCheck.check(message, reads: ["name", "typed_config", "filter"], at: here)
            guard case .typedConfig(let any) = message.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            let filter = try message.filter.map { filter throws(ConfigurationError) in
                try AccessLogFilterRule(compiling: filter, at: here + ".filter")
            }
            configs.append(AccessLogConfig(filter: filter, sink: try compile(any, at: here, context: context)))
        }
        return configs
    }

    private static func compile(
        _ any: AnyMessage, at path: String, context: CompileContext
    ) throws(ConfigurationError) -> Sink {
        let here = path + ".typed_config"
        switch any.name {
        case FileAccessLog.schema.name:
            let message = try HTTPFilters.unpack(any, as: FileAccessLog.self, at: path)
            guard !message.path.isEmpty else { throw ConfigurationError(at: here + ".path", "a path is needed") }
            let format: SubstitutionFormat
            switch message.accessLogFormat {
            case nil: format = try SubstitutionFormat(text: SubstitutionFormat.standard, path: here)
            case .format(let text): format = try SubstitutionFormat(text: text, path: here + ".format")
            case .jsonFormat(let json): format = try SubstitutionFormat(json: json, path: here + ".json_format")
            case .typedJsonFormat(let json):
                format = try SubstitutionFormat(json: json, path: here + ".typed_json_format")
            case .logFormat(let message): format = try SubstitutionFormat(compiling: message, at: here + ".log_format")
            }
            switch message.path {
            case "/dev/stdout": return .file(FileLog(.stdout, format))
            case "/dev/stderr": return .file(FileLog(.stderr, format))
            default: return .file(FileLog(.path(message.path), format))
            }
        case StdoutAccessLog.schema.name:
            let message = try HTTPFilters.unpack(any, as: StdoutAccessLog.self, at: path)
            if case .logFormat(let format) = message.accessLogFormat {
                return .file(FileLog(.stdout, try SubstitutionFormat(compiling: format, at: here + ".log_format")))
            }
            return .file(FileLog(.stdout, try SubstitutionFormat(text: SubstitutionFormat.standard, path: here)))
        case StderrAccessLog.schema.name:
            let message = try HTTPFilters.unpack(any, as: StderrAccessLog.self, at: path)
            if case .logFormat(let format) = message.accessLogFormat {
                return .file(FileLog(.stderr, try SubstitutionFormat(compiling: format, at: here + ".log_format")))
            }
            return .file(FileLog(.stderr, try SubstitutionFormat(text: SubstitutionFormat.standard, path: here)))
        case HttpGrpcAccessLogConfig.schema.name:
            let message = try HTTPFilters.unpack(any, as: HttpGrpcAccessLogConfig.self, at: path)
            return .remote(.grpc(try GRPCAccessLog(compiling: message, at: here, context: context)))
        case TcpGrpcAccessLogConfig.schema.name:
            let message = try HTTPFilters.unpack(any, as: TcpGrpcAccessLogConfig.self, at: path)
            return .remote(.grpc(try GRPCAccessLog(compiling: message, at: here, context: context)))
        case OpenTelemetryAccessLogConfig.schema.name:
            let message = try HTTPFilters.unpack(any, as: OpenTelemetryAccessLogConfig.self, at: path)
            return .remote(.openTelemetry(try OpenTelemetryAccessLog(compiling: message, at: here, context: context)))
        default:
            throw ConfigurationError(
                at: path,
                "unknown access logger \(any.typeURL); supported: file, stdout, stderr, http_grpc, tcp_grpc and "
                    + "open_telemetry")
        }
    }
}

/// A log of lines: an object for the same reason.
final class FileLog: Sendable {
    let name: LogFileName
    let format: SubstitutionFormat

    init(_ name: LogFileName, _ format: SubstitutionFormat) {
        self.name = name
        self.format = format
    }
}

/// Where the lines of a file log go.
enum LogFileName: Sendable, Hashable {
    case path(String)
    case stdout
    case stderr
}

/// A log that a collector takes.
enum RemoteLog: Sendable {
    case grpc(GRPCAccessLog)
    case openTelemetry(OpenTelemetryAccessLog)
}

extension SubstitutionFormat {
    /// Compiles Envoy's `SubstitutionFormatString`.
    init(compiling message: SubstitutionFormatString, at path: String) throws(ConfigurationError) {
        try FieldCheck.check(
            message,
            reads: [
                "text_format", "text_format_source", "json_format", "content_type",
                "omit_empty_values", "formatters",
            ],
            at: path)
        try Self.check(formatters: message.formatters, at: path)
        let omits = message.omitEmptyValues
        switch message.format {
        case nil: try self.init(text: SubstitutionFormat.standard, path: path, omitsEmptyValues: omits)
        case .textFormat(let text):
            try self.init(text: text, path: path + ".text_format", omitsEmptyValues: omits)
        case .jsonFormat(let json):
            try self.init(json: json, path: path + ".json_format", omitsEmptyValues: omits)
        case .textFormatSource(let source):
            let here = path + ".text_format_source"
            try self.init(bytes: try DataSourceText.bytes(source, at: here), path: here, omitsEmptyValues: omits)
        }
        if !message.contentType.isEmpty { contentType = message.contentType }
    }

    /// Their operators are always there; other formatters bring operators that nobody here knows.
    static func check(formatters: [TypedExtensionConfig], at path: String) throws(ConfigurationError) {
        let known = [ReqWithoutQuery.schema.name, MetadataFormatter.schema.name, CelFormatter.schema.name]
        for (index, formatter) in formatters.enumerated() where !known.contains(formatter.typedConfig?.name ?? "") {
            throw ConfigurationError(
                at: "\(path).formatters[\(index)]",
                "unknown formatter \(formatter.name); supported: req_without_query, metadata and cel")
        }
    }
}

/// The content of Envoy's `DataSource`.
enum DataSourceText {
    static func bytes(_ source: DataSource, at path: String) throws(ConfigurationError) -> [UInt8] {
        switch source.specifier {
        case .inlineString(let text): return Array(text.utf8)
        case .inlineBytes(let bytes): return bytes
        case .filename(let name):
            do throws(SystemError) {
                return try File.read(name, limit: Limits.dataSourceBytes)
            } catch {
                throw ConfigurationError(at: path + ".filename", "\(error)")
            }
        case .environmentVariable(let name):
            guard let value = Environment.variable(name) else {
                throw ConfigurationError(at: path + ".environment_variable", "\"\(name)\" is not set")
            }
            return Array(value.utf8)
        case nil: throw ConfigurationError(at: path, "a source is needed: inline_string, inline_bytes, filename, …")
        }
    }
}
