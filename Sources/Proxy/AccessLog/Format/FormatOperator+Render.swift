internal import CEL
internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

extension FormatOperator {
    /// Appends the value and says whether there was one.
    func append<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine) -> Bool
    {
        switch self {
        case .plain(let plain): return plain.append(context, moment, to: &bytes)
        case .constant(let constant):
            bytes.append(constant)
            return true
        case .request(let header):
            if context.appendRequestField(header.field, to: &bytes) { return true }
            return header.alternate.map { context.appendRequestField($0, to: &bytes) } ?? false
        case .requestWithoutQuery(let header):
            let start = bytes.count
            var isThere = context.appendRequestField(header.field, to: &bytes)
            if !isThere, let alternate = header.alternate {
                isThere = context.appendRequestField(alternate, to: &bytes)
            }
            if let mark = bytes.firstIndex(of: UInt8(ascii: "?"), from: start) { bytes.cut(to: mark) }
            return isThere
        case .response(let header):
            if context.appendResponseField(header.field, to: &bytes) { return true }
            return header.alternate.map { context.appendResponseField($0, to: &bytes) } ?? false
        case .trailer(let header):
            if context.appendResponseTrailer(header.field, to: &bytes) { return true }
            return header.alternate.map { context.appendResponseTrailer($0, to: &bytes) } ?? false
        case .startTime(let format):
            guard let wall = context.info.startedWall else { return false }
            format.append(wall, to: &bytes)
            return true
        case .emitTime(let format):
            format.append(WallClock.now, to: &bytes)
            return true
        case .commonDuration(let from, let to, let perSecond):
            guard let begin = from.time(context.info), let end = to.time(context.info) else { return false }
            let nanoseconds = (end - begin).wholeNanoseconds
            bytes.append(padded: Int(clamping: nanoseconds / UInt64(1_000_000_000 / perSecond)), 1)
            return true
        case .grpcStatus(let style):
            guard context.isGRPC, let status = context.grpcStatus else { return false }
            GRPCStatusText.append(status, style, to: &bytes)
            return true
        case .metadata:
            guard let json = json(context) else { return false }
            if case .string(let text) = json { bytes.append(text) } else { bytes.append(json.bytes) }
            return true
        case .filterState(let key, let field):
            guard let text = context.info.filterStateText(key) else { return false }
            guard let field else {
                bytes.append(text)
                return true
            }
            guard let json = try? JSON.parse(text), let member = json[field] else { return false }
            if case .string(let text) = member { bytes.append(text) } else { bytes.append(member.bytes) }
            return true
        case .path(let withQuery, let original, _):
            let start = bytes.count
            guard context.appendPath(isOriginal: original, to: &bytes) else { return false }
            if !withQuery, let mark = bytes.firstIndex(of: UInt8(ascii: "?"), from: start) { bytes.cut(to: mark) }
            return true
        case .query:
            let start = bytes.count
            guard context.appendPath(isOriginal: true, to: &bytes) else { return false }
            guard let mark = bytes.firstIndex(of: UInt8(ascii: "?"), from: start) else {
                bytes.cut(to: start)
                return false
            }
            bytes.remove(start..<(mark + 1))
            return true
        case .queryParameter(let name):
            var path = FormatLine(capacity: 256)
            guard context.appendPath(isOriginal: true, to: &path), let value = QueryText.value(of: name, in: path.bytes)
            else {
                return false
            }
            bytes.append(value)
            return true
        case .tls(let field, let isUpstream, let time):
            return context.appendTLS(field, isUpstream: isUpstream, time: time, to: &bytes)
        case .expression(let condition, _):
            guard case .success(let value) = context.value(of: condition, now: moment.now) else { return false }
            bytes.append(value.printed)
            return true
        }
    }

    /// The value of an operator that yields JSON; nil when it is missing.
    func json<Context: FormatContext>(_ context: Context) -> JSON? {
        if case .expression(let condition, isTyped: true) = self {
            guard case .success(let value) = context.value(of: condition, now: .now) else { return nil }
            return value.json
        }
        guard case .metadata(let source, let path) = self, let namespace = path.first,
            var json = context.metadata(source, namespace)
        else { return nil }
        for key in path.dropFirst() {
            guard let member = json[key] else { return nil }
            json = member
        }
        return json
    }
}

extension FormatOperator.Moment {
    func time(_ info: StreamInfo) -> MonotonicTime? {
        switch self {
        case .DS_RX_BEG: info.started
        case .DS_RX_END: info.requestEnded
        case .US_TX_BEG: info.firstUpstreamByteSent
        case .US_TX_END: info.lastUpstreamByteSent
        case .US_RX_BEG: info.firstUpstreamByteReceived
        case .US_RX_END: info.lastUpstreamByteReceived
        case .DS_TX_BEG: info.firstDownstreamByteSent
        case .DS_TX_END: info.lastDownstreamByteSent
        }
    }
}

extension FormatOperator.Plain {
    func append<Context: FormatContext>(_ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine) -> Bool
    {
        isNumber ? appendNumber(context, moment, to: &bytes) : appendText(context, moment, to: &bytes)
    }

    /// Appends a value of those that are numbers (`isNumber`).
    func appendNumber<Context: FormatContext>(
        _ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine
    ) -> Bool {
        guard let number = number(context, moment) else { return false }
        bytes.append(padded: Int(clamping: number), 1)
        return true
    }

    /// Appends a value of those that are none.
    func appendText<Context: FormatContext>(
        _ context: Context, _ moment: FormatMoment, to bytes: inout FormatLine
    ) -> Bool {
        switch self {
        case .PROTOCOL: return append(context.protocolVersion, to: &bytes)
        case .UPSTREAM_PROTOCOL: return append(context.info.upstreamProtocol, to: &bytes)
        case .RESPONSE_CODE_DETAILS:
            // Details that a processor leaves empty are there all the same.
            if let details = context.info.details, details.isEmpty { return true }
            return append(blankless: context.info.details, to: &bytes)
        case .CONNECTION_TERMINATION_DETAILS:
            return append(blankless: context.info.connectionTerminationDetails, to: &bytes)
        case .RESPONSE_FLAGS:
            context.info.flags.append(isLong: false, limitFirst: context.protocolVersion != nil, to: &bytes)
            return true
        case .RESPONSE_FLAGS_LONG:
            context.info.flags.append(isLong: true, limitFirst: context.protocolVersion != nil, to: &bytes)
            return true
        case .UPSTREAM_HOST, .UPSTREAM_REMOTE_ADDRESS: return append(context.info.upstreamHost, to: &bytes)
        case .UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: return append(ip: context.info.upstreamHost, to: &bytes)
        case .UPSTREAM_HOST_NAME:
            if let name = context.info.upstreamHostname, !name.isEmpty {
                bytes.append(name)
                return true
            }
            return append(context.info.upstreamHost, to: &bytes)
        case .UPSTREAM_HOST_NAME_WITHOUT_PORT:
            if let name = context.info.upstreamHostname, !name.isEmpty {
                bytes.append(name)
                return true
            }
            return append(ip: context.info.upstreamHost, to: &bytes)
        case .UPSTREAM_LOCAL_ADDRESS: return append(context.info.upstreamLocalAddress, to: &bytes)
        case .UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: return append(ip: context.info.upstreamLocalAddress, to: &bytes)
        case .UPSTREAM_CLUSTER: return append(text: context.observedCluster, to: &bytes)
        case .UPSTREAM_CLUSTER_RAW: return append(text: context.info.upstreamCluster, to: &bytes)
        case .UPSTREAM_TRANSPORT_FAILURE_REASON:
            return append(blankless: context.info.upstreamTransportFailure, to: &bytes)
        case .UPSTREAM_HOSTS_ATTEMPTED: return append(context.info.upstreamHost, to: &bytes)
        case .DOWNSTREAM_LOCAL_ADDRESS, .DOWNSTREAM_DIRECT_LOCAL_ADDRESS:
            return append(context.connectionInfo.localAddress, to: &bytes)
        case .DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT, .DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT:
            return append(ip: context.connectionInfo.localAddress, to: &bytes)
        case .DOWNSTREAM_REMOTE_ADDRESS: return append(context.connectionInfo.remoteAddress, to: &bytes)
        case .DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT:
            return append(ip: context.connectionInfo.remoteAddress, to: &bytes)
        case .DOWNSTREAM_DIRECT_REMOTE_ADDRESS: return append(context.connectionInfo.directRemoteAddress, to: &bytes)
        case .DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT:
            return append(ip: context.connectionInfo.directRemoteAddress, to: &bytes)
        case .DOWNSTREAM_TRANSPORT_FAILURE_REASON:
            return append(blankless: context.info.downstreamTransportFailure, to: &bytes)
        case .REQUESTED_SERVER_NAME:
            let connection = context.connectionInfo
            let found = connection.requestedServerName ?? connection.tls?.serverName
            return append(text: found ?? (connection.hasFacts ? connection.facts.serverName : nil), to: &bytes)
        case .ROUTE_NAME: return append(text: context.info.routeName, to: &bytes)
        case .VIRTUAL_HOST_NAME: return append(text: context.info.virtualHost, to: &bytes)
        case .VIRTUAL_CLUSTER_NAME: return append(text: context.info.virtualCluster, to: &bytes)
        case .STREAM_ID:
            if context.appendRequestField(Self.requestID, to: &bytes) { return true }
            context.appendUniqueID(to: &bytes)
            return true
        case .UNIQUE_ID:
            context.appendUniqueID(to: &bytes)
            return true
        case .FILTER_CHAIN_NAME: return append(text: context.connectionInfo.filterChain, to: &bytes)
        case .ACCESS_LOG_TYPE:
            bytes.append(moment.type.rawValue)
            return true
        case .LOCAL_REPLY_BODY:
            bytes.append(moment.localReplyBody ?? [])
            return true
        case .TRACE_ID:
            guard let trace = context.traceContext else { return false }
            bytes.append(hex: trace.traceHigh)
            bytes.append(hex: trace.traceLow)
            return true
        case .SPAN_ID:
            guard let trace = context.traceContext else { return false }
            bytes.append(hex: trace.span)
            return true
        default: return false
        }
    }

    private static let requestID = FormatField("x-request-id")

    private func number<Context: FormatContext>(_ context: Context, _ moment: FormatMoment) -> Int64? {
        switch self {
        case .RESPONSE_CODE: return Int64(context.info.status)
        case .BYTES_RECEIVED: return Int64(clamping: context.info.bytesReceived)
        case .BYTES_SENT: return Int64(clamping: context.info.bytesSent)
        case .DURATION: return milliseconds(context.info.lastDownstreamByteSent ?? moment.now, context.info.started)
        case .REQUEST_DURATION: return milliseconds(context.info.requestEnded, context.info.started)
        case .REQUEST_TX_DURATION: return milliseconds(context.info.lastUpstreamByteSent, context.info.started)
        case .RESPONSE_DURATION: return milliseconds(context.info.firstUpstreamByteReceived, context.info.started)
        case .RESPONSE_TX_DURATION:
            return milliseconds(context.info.lastDownstreamByteSent, context.info.firstUpstreamByteReceived)
        case .CONNECTION_ID: return Int64(clamping: context.connectionInfo.id)
        case .UPSTREAM_REQUEST_ATTEMPT_COUNT: return Int64(context.info.attempts)
        case .UPSTREAM_CONNECTION_ID: return Int64(clamping: context.info.upstreamConnectionID)
        case .DOWNSTREAM_LOCAL_PORT, .DOWNSTREAM_DIRECT_LOCAL_PORT: return port(context.connectionInfo.localAddress)
        case .DOWNSTREAM_REMOTE_PORT: return port(context.connectionInfo.remoteAddress)
        case .DOWNSTREAM_DIRECT_REMOTE_PORT: return port(context.connectionInfo.directRemoteAddress)
        case .UPSTREAM_REMOTE_PORT: return port(context.info.upstreamHost)
        case .UPSTREAM_LOCAL_PORT: return port(context.info.upstreamLocalAddress)
        case .REQUEST_HEADERS_BYTES: return context.fieldBytes(.requestHead).map { Int64($0) }
        case .RESPONSE_HEADERS_BYTES: return context.fieldBytes(.responseHead).map { Int64($0) }
        case .RESPONSE_TRAILERS_BYTES: return context.fieldBytes(.responseTrailers).map { Int64($0) }
        case .DOWNSTREAM_HEADER_BYTES_RECEIVED: return Int64(clamping: context.info.wire.downstreamHeadReceived)
        case .DOWNSTREAM_HEADER_BYTES_SENT: return Int64(clamping: context.info.wire.downstreamHeadSent)
        case .DOWNSTREAM_WIRE_BYTES_RECEIVED:
            return Int64(clamping: context.info.wire.downstreamHeadReceived &+ context.info.bytesReceived)
        case .DOWNSTREAM_WIRE_BYTES_SENT:
            return Int64(clamping: context.info.wire.downstreamHeadSent &+ context.info.bytesSent)
        case .UPSTREAM_HEADER_BYTES_RECEIVED: return Int64(clamping: context.info.wire.upstreamHeadReceived)
        case .UPSTREAM_HEADER_BYTES_SENT: return Int64(clamping: context.info.wire.upstreamHeadSent)
        case .UPSTREAM_WIRE_BYTES_RECEIVED:
            return Int64(clamping: context.info.wire.upstreamHeadReceived &+ context.info.wire.upstreamBodyReceived)
        case .UPSTREAM_WIRE_BYTES_SENT:
            return Int64(clamping: context.info.wire.upstreamHeadSent &+ context.info.wire.upstreamBodySent)
        case .GRPC_STATUS_NUMBER: return context.isGRPC ? context.grpcStatus.map { Int64($0) } : nil
        case .UPSTREAM_CONNECTION_POOL_READY_DURATION:
            return milliseconds(context.info.firstUpstreamByteSent, context.info.started)
        default: return nil
        }
    }

    private func milliseconds(_ end: MonotonicTime?, _ start: MonotonicTime?) -> Int64? {
        guard let end, let start else { return nil }
        return Int64(clamping: end.nanoseconds(since: start) / 1_000_000)
    }

    private func port(_ address: SocketAddress?) -> Int64? { address?.port.map { Int64($0) } }

    private func append(text: String?, to bytes: inout FormatLine) -> Bool {
        guard let text, !text.isEmpty else { return false }
        bytes.append(text)
        return true
    }

    /// Fields of a text log are separated by blanks, so a value has none (as Envoy).
    private func append(blankless text: String?, to bytes: inout FormatLine) -> Bool {
        guard let text, !text.isEmpty else { return false }
        let start = bytes.count
        bytes.append(text)
        for index in start..<bytes.count where bytes[index] == 0x20 { bytes[index] = 0x5F }
        return true
    }

    private func append(_ version: HTTPVersion?, to bytes: inout FormatLine) -> Bool {
        guard let version else { return false }
        bytes.append(version.text)
        return true
    }

    private func append(_ address: SocketAddress?, to bytes: inout FormatLine) -> Bool {
        guard let address else { return false }
        bytes.append(address)
        return true
    }

    private func append(ip address: SocketAddress?, to bytes: inout FormatLine) -> Bool {
        guard let ip = address?.address else { return false }
        bytes.append(ip)
        return true
    }
}

/// The names of gRPC's status codes.
enum GRPCStatusText {
    private static let camel: [StaticString] = [
        "OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound", "AlreadyExists",
        "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted", "OutOfRange", "Unimplemented",
        "Internal", "Unavailable", "DataLoss", "Unauthenticated",
    ]
    private static let snake: [StaticString] = [
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS",
        "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED",
        "INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED",
    ]

    static func append(_ status: Int, _ style: FormatOperator.StatusStyle, to bytes: inout FormatLine) {
        switch style {
        case .camel where camel.indices.contains(status): bytes.append(camel[status])
        case .snake where snake.indices.contains(status): bytes.append(snake[status])
        default: bytes.append(padded: status, 1)
        }
    }
}

/// Query strings.
enum QueryText {
    /// The first value of a parameter, percent-decoded.
    static func value(of name: String, in path: [UInt8]) -> [UInt8]? {
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return nil }
        let wanted = Array(name.utf8)
        for part in path[(mark + 1)...].split(separator: UInt8(ascii: "&")) {
            let equals = part.firstIndex(of: UInt8(ascii: "=")) ?? part.endIndex
            guard RequestQuery.decode(part[..<equals]) == wanted else { continue }
            return equals < part.endIndex ? RequestQuery.decode(part[(equals + 1)...]) : []
        }
        return nil
    }
}
