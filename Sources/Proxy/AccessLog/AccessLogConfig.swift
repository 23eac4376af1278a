internal import EnvoyAPI
internal import IO
internal import Serialization
internal import Upstream

/// A compiled access logger: where lines go and what they look like.
struct AccessLogConfig: Sendable {
    /// Where the lines go.
    enum Sink: Sendable, Hashable {
        case file(String)
        case stdout
        case stderr
    }

    let sink: Sink
    let format: AccessLogFormat

    static func compile(_ messages: [AccessLog], at path: String) throws(ConfigurationError) -> [AccessLogConfig] {
        var configs: [AccessLogConfig] = []
        for (index, message) in messages.enumerated() {
            let here = "\(path)[\(index)]"
            try FieldCheck.check(message, reads: ["name", "typed_config"], at: here)
            guard case .typedConfig(let any) = message.configType else {
                throw ConfigurationError(at: here, "typed_config is needed")
            }
            configs.append(try compile(any, at: here))
        }
        return configs
    }

    private static func compile(_ any: AnyMessage, at path: String) throws(ConfigurationError) -> AccessLogConfig {
        let here = path + ".typed_config"
        switch any.name {
        case FileAccessLog.schema.name:
            let message = try HTTPFilters.unpack(any, as: FileAccessLog.self, at: path)
            guard !message.path.isEmpty else { throw ConfigurationError(at: here + ".path", "a path is needed") }
            let format: AccessLogFormat
            switch message.accessLogFormat {
            case nil: format = try AccessLogFormat(text: AccessLogFormat.standard, path: here)
            case .format(let text): format = try AccessLogFormat(text: text, path: here + ".format")
            case .jsonFormat(let json), .typedJsonFormat(let json):
                format = try AccessLogFormat(json: json, path: here + ".json_format")
            case .logFormat(let message): format = try compile(message, at: here + ".log_format")
            }
            switch message.path {
            case "/dev/stdout": return AccessLogConfig(sink: .stdout, format: format)
            case "/dev/stderr": return AccessLogConfig(sink: .stderr, format: format)
            default: return AccessLogConfig(sink: .file(message.path), format: format)
            }
        case StdoutAccessLog.schema.name:
            let message = try HTTPFilters.unpack(any, as: StdoutAccessLog.self, at: path)
            return AccessLogConfig(
                sink: .stdout, format: try compileStream(Self.format(message.accessLogFormat), at: here))
        case StderrAccessLog.schema.name:
            let message = try HTTPFilters.unpack(any, as: StderrAccessLog.self, at: path)
            return AccessLogConfig(
                sink: .stderr, format: try compileStream(Self.format(message.accessLogFormat), at: here))
        default:
            throw ConfigurationError(
                at: path, "unknown access logger \(any.typeURL); supported: file, stdout and stderr")
        }
    }

    private static func format(_ choice: StdoutAccessLog.AccessLogFormat?) -> SubstitutionFormatString? {
        if case .logFormat(let format) = choice { format } else { nil }
    }

    private static func format(_ choice: StderrAccessLog.AccessLogFormat?) -> SubstitutionFormatString? {
        if case .logFormat(let format) = choice { format } else { nil }
    }

    private static func compileStream(
        _ message: SubstitutionFormatString?, at path: String
    ) throws(ConfigurationError) -> AccessLogFormat {
        guard let message else { return try AccessLogFormat(text: AccessLogFormat.standard, path: path) }
        return try compile(message, at: path + ".log_format")
    }

    static func compile(
        _ message: SubstitutionFormatString, at path: String
    ) throws(ConfigurationError) -> AccessLogFormat {
        try FieldCheck.check(
            message,
            reads: ["text_format", "text_format_source", "json_format", "json_format_options", "content_type"],
            at: path)
        switch message.format {
        case nil: return try AccessLogFormat(text: AccessLogFormat.standard, path: path)
        case .textFormat(let text): return try AccessLogFormat(text: text, path: path + ".text_format")
        case .jsonFormat(let json): return try AccessLogFormat(json: json, path: path + ".json_format")
        case .textFormatSource(let source):
            guard case .inlineString(let text) = source.specifier else {
                throw ConfigurationError(at: path + ".text_format_source", "only inline_string is supported")
            }
            return try AccessLogFormat(text: text, path: path + ".text_format_source.inline_string")
        }
    }
}
