import EnvoyAPI
import Serialization

/// Access logs as the mesh configuration and its providers want them.
enum AccessLogs {
    /// Whether a provider takes access logs.
    static func isLog(_ provider: ExtensionProvider) -> Bool {
        switch provider.kind {
        case .fileAccessLog, .httpAccessLogService, .tcpAccessLogService, .otelAccessLog: true
        default: false
        }
    }

    /// The log of a provider; `nil` when it takes none.
    static func log(_ provider: ExtensionProvider, _ config: MeshConfig) -> AccessLog? {
        switch provider.kind {
        case .fileAccessLog where provider == .envoy: packed("envoy.access_loggers.file", file(config))
        case .fileAccessLog: packed("envoy.access_loggers.file", file(provider.settings))
        case .httpAccessLogService: packed("envoy.access_loggers.http_grpc", httpService(provider))
        case .tcpAccessLogService: packed("envoy.access_loggers.tcp_grpc", tcpService(provider))
        case .otelAccessLog: packed("envoy.access_loggers.open_telemetry", openTelemetry(provider))
        default: nil
        }
    }

    private static func packed(_ name: String, _ message: some Message) -> AccessLog {
        var log = AccessLog()
        log.name = name
        log.configType = .typedConfig(AnyMessage(packing: message))
        return log
    }

    /// The members of a line in JSON, unless a format is written.
    private static let fields: JSON = [
        "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%",
        "protocol": "%PROTOCOL%", "response_code": "%RESPONSE_CODE%", "response_flags": "%RESPONSE_FLAGS%",
        "bytes_received": "%BYTES_RECEIVED%", "bytes_sent": "%BYTES_SENT%", "duration": "%DURATION%",
        "authority": "%REQ(:AUTHORITY)%", "upstream_host": "%UPSTREAM_HOST%",
        "upstream_cluster": "%UPSTREAM_CLUSTER%", "route_name": "%ROUTE_NAME%",
    ]

    private static func file(_ config: MeshConfig) -> FileAccessLog {
        var file = FileAccessLog()
        file.path = config.accessLogFile.isEmpty ? "/dev/stdout" : config.accessLogFile
        if config.logsJSON {
            var format = SubstitutionFormatString()
            // A format in JSON is an object with a member for each field.
            let written = (try? JSON.parse(config.accessLogFormat)).flatMap { $0.object.map(JSON.object) }
            format.format = .jsonFormat(written ?? fields)
            file.accessLogFormat = .logFormat(format)
        } else if !config.accessLogFormat.isEmpty {
            file.accessLogFormat = .logFormat(text(config.accessLogFormat))
        }
        return file
    }

    private static func text(_ line: String) -> SubstitutionFormatString {
        var source = DataSource()
        source.specifier = .inlineString(line.hasSuffix("\n") ? line : line + "\n")
        var format = SubstitutionFormatString()
        format.format = .textFormatSource(source)
        return format
    }

    private static func file(_ settings: JSON) -> FileAccessLog {
        var file = FileAccessLog()
        file.path = settings["path"]?.string ?? "/dev/stdout"
        var format: SubstitutionFormatString?
        if let line = settings["logFormat"]?["text"]?.string {
            format = text(line)
        } else if let labels = settings["logFormat"]?["labels"] {
            var members = SubstitutionFormatString()
            members.format = .jsonFormat(labels.object?.isEmpty == false ? labels : fields)
            format = members
        }
        if settings["omitEmptyValues"]?.bool == true { format?.omitEmptyValues = true }
        if let format { file.accessLogFormat = .logFormat(format) }
        return file
    }

    private static func common(_ provider: ExtensionProvider, name: String) -> CommonGrpcAccessLogConfig {
        var config = CommonGrpcAccessLogConfig()
        config.logName = provider.settings["logName"]?.string ?? name
        config.grpcService = Services.grpc(provider)
        config.transportApiVersion = .v3
        config.filterStateObjectsToLog = strings(provider, "filterStateObjectsToLog")
        return config
    }

    private static func strings(_ provider: ExtensionProvider, _ member: String) -> [String] {
        (provider.settings[member]?.array ?? []).compactMap(\.string)
    }

    private static func httpService(_ provider: ExtensionProvider) -> HttpGrpcAccessLogConfig {
        var config = HttpGrpcAccessLogConfig()
        config.commonConfig = common(provider, name: "http_envoy_accesslog")
        config.additionalRequestHeadersToLog = strings(provider, "additionalRequestHeadersToLog")
        config.additionalResponseHeadersToLog = strings(provider, "additionalResponseHeadersToLog")
        config.additionalResponseTrailersToLog = strings(provider, "additionalResponseTrailersToLog")
        return config
    }

    private static func tcpService(_ provider: ExtensionProvider) -> TcpGrpcAccessLogConfig {
        var config = TcpGrpcAccessLogConfig()
        config.commonConfig = common(provider, name: "listener_envoy_accesslog")
        return config
    }

    private static func openTelemetry(_ provider: ExtensionProvider) -> OpenTelemetryAccessLogConfig {
        var config = OpenTelemetryAccessLogConfig()
        config.commonConfig = common(provider, name: "otel_envoy_accesslog")
        var body = AnyValue()
        body.value = .stringValue(
            provider.settings["logFormat"]?["text"]?.string
                ?? "[%START_TIME%] \"%REQ(:METHOD)% %REQ(:PATH)% %PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS%")
        config.body = body
        if let labels = provider.settings["logFormat"]?["labels"]?.object, !labels.isEmpty {
            var list = KeyValueList()
            list.values = labels.sorted { $0.key < $1.key }.compactMap { key, value in
                guard let text = value.string else { return nil }
                var entry = OTLPKeyValue()
                entry.key = key
                var member = AnyValue()
                member.value = .stringValue(text)
                entry.value = member
                return entry
            }
            config.attributes = list
        }
        return config
    }
}

/// How proxies reach an extension provider: by the mesh's own cluster for its service.
enum Services {
    static func cluster(_ provider: ExtensionProvider) -> String {
        Destinations.clusterName(host: provider.service, port: provider.port ?? 0)
    }

    static func grpc(_ provider: ExtensionProvider) -> GrpcService {
        var target = GrpcService.EnvoyGrpc()
        target.clusterName = cluster(provider)
        target.authority = provider.service
        var service = GrpcService()
        service.targetSpecifier = .envoyGrpc(target)
        return service
    }
}
