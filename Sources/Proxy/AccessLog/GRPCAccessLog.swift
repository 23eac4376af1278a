internal import EnvoyAPI
internal import HTTP
internal import IO
internal import Serialization
internal import Telemetry
internal import Upstream

/// An access log that a gRPC service takes (`envoy.service.accesslog.v3`): of requests, or of TCP connections.
struct GRPCAccessLog: Sendable {
    private static let path = "/envoy.service.accesslog.v3.AccessLogService/StreamAccessLogs"

    private let queue: ExportQueue
    private let isTCP: Bool
    private let requestFields: [FormatField]
    private let responseFields: [FormatField]
    private let trailerFields: [FormatField]
    private let filterStates: [String]
    private let tags: [CustomTagRule]

    init(
        compiling message: HttpGrpcAccessLogConfig, at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        try self.init(message.commonConfig, isTCP: false, message, at: path, context)
    }

    init(
        compiling message: TcpGrpcAccessLogConfig, at path: String, context: CompileContext
    ) throws(ConfigurationError) {
        try self.init(message.commonConfig, isTCP: true, HttpGrpcAccessLogConfig(), at: path, context)
    }

    private init(
        _ common: CommonGrpcAccessLogConfig?, isTCP: Bool, _ more: HttpGrpcAccessLogConfig, at path: String,
        _ context: CompileContext
    ) throws(ConfigurationError) {
        let here = path + ".common_config"
        guard let common else { throw ConfigurationError(at: here, "is missing") }
        try FieldCheck.check(
            common,
            reads: [
                "log_name", "grpc_service", "transport_api_version", "buffer_flush_interval", "buffer_size_bytes",
                "filter_state_objects_to_log", "custom_tags",
            ], at: here)
        self.isTCP = isTCP
        requestFields = more.additionalRequestHeadersToLog.map { FormatField($0) }
        responseFields = more.additionalResponseHeadersToLog.map { FormatField($0) }
        trailerFields = more.additionalResponseTrailersToLog.map { FormatField($0) }
        filterStates = common.filterStateObjectsToLog
        tags = try CustomTagRule.compile(common.customTags, at: here + ".custom_tags")
        let target = try CollectorTarget(
            compiling: common.grpcService, transport: .grpcStream(path: Self.path), at: here + ".grpc_service")
        let scope = context.metrics.scope("access_logs", "grpc_access_log")
        var identifier = StreamAccessLogsMessage.Identifier()
        identifier.node = context.node
        identifier.logName = common.logName
        let speaker = identifier.serialized()
        queue = ExportQueue(
            target, interval: common.bufferFlushInterval ?? .seconds(1),
            batchBytes: Int(common.bufferSizeBytes ?? 16_384), hub: context.collectors,
            written: scope.counter("logs_written"), dropped: scope.counter("logs_dropped")
        ) { records, isFirst in
            var entries: [UInt8] = []
            for record in records { ProtobufParts.field(1, record, to: &entries) }
            var message: [UInt8] = []
            if isFirst { ProtobufParts.field(1, speaker, to: &message) }
            ProtobufParts.field(isTCP ? 3 : 2, entries, to: &message)
            return message
        }
    }

    func write<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, row: Int) {
        let common = commonProperties(context, moment)
        if isTCP {
            var entry = TCPAccessLogEntry()
            entry.commonProperties = common
            var connection = ConnectionProperties()
            connection.receivedBytes = context.info.bytesReceived
            connection.sentBytes = context.info.bytesSent
            entry.connectionProperties = connection
            queue.add(entry.serialized(), row: row)
        } else {
            var entry = HTTPAccessLogEntry()
            entry.commonProperties = common
            switch context.protocolVersion {
            case .http10?: entry.protocolVersion = .http10
            case .http11?: entry.protocolVersion = .http11
            case .http2?: entry.protocolVersion = .http2
            default: break
            }
            entry.request = request(context)
            entry.response = response(context)
            queue.add(entry.serialized(), row: row)
        }
    }

    // MARK: Entries

    private func commonProperties<Context: FormatContext>(
        _ context: Context, _ moment: FormatMoment
    ) -> AccessLogCommon {
        var common = AccessLogCommon()
        let info = context.info
        let connection = context.connectionInfo
        common.downstreamRemoteAddress = address(connection.remoteAddress)
        common.downstreamLocalAddress = address(connection.localAddress)
        common.downstreamDirectRemoteAddress = address(connection.directRemoteAddress)
        if let wall = info.startedWall {
            common.startTime = Timestamp(seconds: wall.seconds, nanoseconds: wall.nanoseconds)
        }
        func since(_ time: MonotonicTime?) -> Duration? { time.map { $0 - info.started } }
        common.timeToLastRxByte = since(info.requestEnded)
        common.timeToFirstUpstreamTxByte = since(info.firstUpstreamByteSent)
        common.timeToLastUpstreamTxByte = since(info.lastUpstreamByteSent)
        common.timeToFirstUpstreamRxByte = since(info.firstUpstreamByteReceived)
        common.timeToLastUpstreamRxByte = since(info.lastUpstreamByteReceived)
        common.timeToFirstDownstreamTxByte = since(info.firstDownstreamByteSent)
        common.timeToLastDownstreamTxByte = since(info.lastDownstreamByteSent)
        common.duration = (info.lastDownstreamByteSent ?? moment.now) - info.started
        common.upstreamRemoteAddress = address(info.upstreamHost)
        common.upstreamLocalAddress = address(info.upstreamLocalAddress)
        common.upstreamCluster = info.upstreamCluster ?? ""
        common.upstreamTransportFailureReason = info.upstreamTransportFailure ?? ""
        common.downstreamTransportFailureReason = info.downstreamTransportFailure ?? ""
        common.connectionTerminationDetails = info.connectionTerminationDetails ?? ""
        common.routeName = info.routeName ?? ""
        common.upstreamRequestAttemptCount = UInt32(clamping: info.attempts)
        common.downstreamWireBytesSent = info.wire.downstreamHeadSent &+ info.bytesSent
        common.downstreamWireBytesReceived = info.wire.downstreamHeadReceived &+ info.bytesReceived
        common.accessLogType = AccessLogType(rawValue: moment.type.number)
        common.streamId = text { context.appendRequestField(Self.requestID, to: &$0) }
        if !info.flags.isEmpty { common.responseFlags = Self.flags(info.flags) }
        if !info.metadata.isEmpty {
            var metadata = Metadata()
            for (name, value) in info.metadata { metadata.filterMetadata[name] = value }
            common.metadata = metadata
        }
        for key in filterStates {
            guard let value = info.filterState[key] else { continue }
            common.customTags["filter_state." + key] = value
        }
        for tag in tags { common.customTags[tag.name] = tag.value(context, moment) }
        return common
    }

    private static let requestID = FormatField("x-request-id")

    private func text(_ append: (inout FormatLine) -> Bool) -> String {
        var bytes = FormatLine(capacity: 64)
        guard append(&bytes) else { return "" }
        bytes.cut(to: Limits.formatValueBytes)
        return bytes.text
    }

    private func address(_ address: IO.SocketAddress?) -> Address? {
        guard let address else { return nil }
        var message = Address()
        switch address {
        case .ip(let ip, let port):
            var socket = EnvoyAPI.SocketAddress()
            socket.address = "\(ip)"
            socket.portSpecifier = .portValue(UInt32(port))
            message.address = .socketAddress(socket)
        case .unix(let path):
            var pipe = Pipe()
            pipe.path = path
            message.address = .pipe(pipe)
        }
        return message
    }

    private func request<Context: FormatContext>(_ context: Context) -> HTTPRequestProperties {
        var request = HTTPRequestProperties()
        func field(_ name: String) -> String { text { context.appendRequestField(FormatField(name), to: &$0) } }
        request.requestMethod = Self.method(field(":method"))
        request.scheme = field(":scheme")
        request.authority = field(":authority")
        request.path = field(":path")
        request.userAgent = field("user-agent")
        request.referer = field("referer")
        request.forwardedFor = field("x-forwarded-for")
        request.requestId = field("x-request-id")
        request.originalPath = field("x-envoy-original-path")
        request.requestHeadersBytes = UInt64(clamping: context.fieldBytes(.requestHead) ?? 0)
        request.requestBodyBytes = context.info.bytesReceived
        for field in requestFields {
            let value = text { context.appendRequestField(field, to: &$0) }
            if !value.isEmpty { request.requestHeaders[field.name.description] = value }
        }
        return request
    }

    private func response<Context: FormatContext>(_ context: Context) -> HTTPResponseProperties {
        var response = HTTPResponseProperties()
        if context.info.status > 0 { response.responseCode = UInt32(context.info.status) }
        response.responseHeadersBytes = UInt64(clamping: context.fieldBytes(.responseHead) ?? 0)
        response.responseBodyBytes = context.info.bytesSent
        response.responseCodeDetails = context.info.details ?? ""
        for field in responseFields {
            let value = text { context.appendResponseField(field, to: &$0) }
            if !value.isEmpty { response.responseHeaders[field.name.description] = value }
        }
        for field in trailerFields {
            let value = text { context.appendResponseTrailer(field, to: &$0) }
            if !value.isEmpty { response.responseTrailers[field.name.description] = value }
        }
        return response
    }

    static func method(_ name: String) -> RequestMethod {
        switch name {
        case "GET": .get
        case "HEAD": .head
        case "POST": .post
        case "PUT": .put
        case "DELETE": .delete
        case "CONNECT": .connect
        case "OPTIONS": .options
        case "TRACE": .trace
        case "PATCH": .patch
        default: RequestMethod()
        }
    }

    static func flags(_ flags: ResponseFlags) -> AccessLogResponseFlags {
        var message = AccessLogResponseFlags()
        message.failedLocalHealthcheck = flags.contains(.failedLocalHealthCheck)
        message.noHealthyUpstream = flags.contains(.noHealthyUpstream)
        message.upstreamRequestTimeout = flags.contains(.upstreamRequestTimeout)
        message.localReset = flags.contains(.localReset)
        message.upstreamRemoteReset = flags.contains(.upstreamRemoteReset)
        message.upstreamConnectionFailure = flags.contains(.upstreamConnectionFailure)
        message.upstreamConnectionTermination = flags.contains(.upstreamConnectionTermination)
        message.upstreamOverflow = flags.contains(.upstreamOverflow)
        message.noRouteFound = flags.contains(.noRouteFound)
        message.delayInjected = flags.contains(.delayInjected)
        message.faultInjected = flags.contains(.faultInjected)
        message.rateLimited = flags.contains(.rateLimited)
        if flags.contains(.unauthorizedExternalService) {
            var details = AccessLogResponseFlags.Unauthorized()
            details.reason = .externalService
            message.unauthorizedDetails = details
        }
        message.rateLimitServiceError = flags.contains(.rateLimitServiceError)
        message.downstreamConnectionTermination = flags.contains(.downstreamConnectionTermination)
        message.upstreamRetryLimitExceeded = flags.contains(.upstreamRetryLimitExceeded)
        message.streamIdleTimeout = flags.contains(.streamIdleTimeout)
        message.invalidEnvoyRequestHeaders = flags.contains(.invalidEnvoyRequestHeaders)
        message.downstreamProtocolError = flags.contains(.downstreamProtocolError)
        message.upstreamMaxStreamDurationReached = flags.contains(.upstreamMaxStreamDurationReached)
        message.responseFromCacheFilter = flags.contains(.responseFromCacheFilter)
        message.noFilterConfigFound = flags.contains(.noFilterConfigFound)
        message.durationTimeout = flags.contains(.durationTimeout)
        message.upstreamProtocolError = flags.contains(.upstreamProtocolError)
        message.noClusterFound = flags.contains(.noClusterFound)
        message.overloadManager = flags.contains(.overloadManager)
        message.dnsResolutionFailure = flags.contains(.dnsResolutionFailed)
        message.downstreamRemoteReset = flags.contains(.downstreamRemoteReset)
        message.unconditionalDropOverload = flags.contains(.unconditionalDropOverload)
        return message
    }
}
