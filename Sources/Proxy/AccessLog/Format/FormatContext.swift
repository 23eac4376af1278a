internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Telemetry
internal import Upstream

/// What a format is asked about: one request, one TCP connection, or one connection of a listener.
///
/// Functions append their value and say whether there was one.
protocol FormatContext {
    var info: StreamInfo { get }
    var connectionInfo: ConnectionInfo { get }
    /// The client's version of HTTP; nil where none is spoken.
    var protocolVersion: HTTPVersion? { get }
    /// Whether the request is a gRPC call.
    var isGRPC: Bool { get }
    /// The gRPC status of the response; nil when it has none.
    var grpcStatus: Int? { get }
    /// Calls the body with the fields of the request, which stay where they are for that long; with none where there is no request.
    func readRequestFields<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result
    func appendResponseField(_ field: FormatField, to bytes: inout FormatLine) -> Bool
    func appendResponseTrailer(_ field: FormatField, to bytes: inout FormatLine) -> Bool
    /// The path with its query: as the client sent it, or as it is now.
    func appendPath(isOriginal: Bool, to bytes: inout FormatLine) -> Bool
    /// Bytes of names and values in the request's, the response's head, and the response's trailers.
    func fieldBytes(_ part: FieldPart) -> Int?
    func metadata(_ source: FormatOperator.MetadataSource, _ namespace: String) -> JSON?
    /// Whether there is metadata under any namespace.
    func hasMetadata(_ source: FormatOperator.MetadataSource) -> Bool
    func appendTLS(
        _ field: FormatOperator.TLSField, isUpstream: Bool, time: TimeFormat?, to bytes: inout FormatLine
    ) -> Bool
    /// A new random UUID.
    func appendUniqueID(to bytes: inout FormatLine)
    /// Trace and span of the request, if it is traced.
    var traceContext: TraceContext? { get }
    /// The values of all fields of a name, joined with commas; pseudo headers included.
    func fieldValues(_ name: HeaderName, _ part: FieldPart) -> [UInt8]?
    /// How many fields a part has.
    func fieldCount(_ part: FieldPart) -> Int
    /// The upstream cluster as metrics call it: its `alt_stat_name`, where it has one.
    var observedCluster: String? { get }
    /// An expression took too many steps: counted as `cel.too_expensive`.
    func expressionGaveUp()
}

extension FormatContext {
    /// Appends a field of the request, or a pseudo header.
    func appendRequestField(_ field: FormatField, to bytes: inout FormatLine) -> Bool {
        readRequestFields { $0.append(field, to: &bytes) }
    }

    var observedCluster: String? { info.upstreamCluster }

    /// The name for metrics of the cluster that was chosen; what was chosen may be one that is not there.
    func observed(_ cluster: ClusterConfig?) -> String? {
        guard let cluster, cluster.name == info.upstreamCluster else { return info.upstreamCluster }
        return cluster.observedName
    }
}

/// Parts of a message that have fields.
enum FieldPart: Sendable { case requestHead, responseHead, responseTrailers }

/// What is true at the moment of rendering only.
struct FormatMoment {
    /// Why a line is written.
    var type = LogType.downstreamEnd
    /// The body that a local reply would have.
    var localReplyBody: [UInt8]?
    /// The monotonic time now, for durations of what is not over.
    var now: MonotonicTime
}

/// Why a line of an access log is written; the texts are Envoy's.
enum LogType: String, Sendable {
    case notSet = "NotSet", tcpUpstreamConnected = "TcpUpstreamConnected", tcpPeriodic = "TcpPeriodic"
    case tcpConnectionStart = "TcpConnectionStart", tcpConnectionEnd = "TcpConnectionEnd"
    case downstreamStart = "DownstreamStart", downstreamPeriodic = "DownstreamPeriodic"
    case downstreamEnd = "DownstreamEnd", upstreamPoolReady = "UpstreamPoolReady"
    case upstreamPeriodic = "UpstreamPeriodic", upstreamEnd = "UpstreamEnd"
    case downstreamTunnelSuccessfullyEstablished = "DownstreamTunnelSuccessfullyEstablished"
    case udpTunnelUpstreamConnected = "UdpTunnelUpstreamConnected", udpPeriodic = "UdpPeriodic"
    case udpSessionEnd = "UdpSessionEnd"

    /// The number in Envoy's messages.
    var number: Int32 {
        switch self {
        case .notSet: 0
        case .tcpUpstreamConnected: 1
        case .tcpPeriodic: 2
        case .tcpConnectionStart: 14
        case .tcpConnectionEnd: 3
        case .downstreamStart: 4
        case .downstreamPeriodic: 5
        case .downstreamEnd: 6
        case .upstreamPoolReady: 7
        case .upstreamPeriodic: 8
        case .upstreamEnd: 9
        case .downstreamTunnelSuccessfullyEstablished: 10
        case .udpTunnelUpstreamConnected: 11
        case .udpPeriodic: 12
        case .udpSessionEnd: 13
        }
    }
}

/// Where there is no request, most of it is missing.
extension FormatContext {
    var protocolVersion: HTTPVersion? { nil }
    var isGRPC: Bool { false }
    var grpcStatus: Int? { nil }
    var traceContext: TraceContext? { nil }
    func expressionGaveUp() {}
    func readRequestFields<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result {
        body(RequestHeadView(unsafe: .none))
    }
    func appendResponseField(_ field: FormatField, to bytes: inout FormatLine) -> Bool { false }
    func appendResponseTrailer(_ field: FormatField, to bytes: inout FormatLine) -> Bool { false }
    func appendPath(isOriginal: Bool, to bytes: inout FormatLine) -> Bool { false }
    func fieldBytes(_ part: FieldPart) -> Int? { nil }
    func fieldCount(_ part: FieldPart) -> Int { 0 }
    func fieldValues(_ name: HeaderName, _ part: FieldPart) -> [UInt8]? {
        var bytes = FormatLine(capacity: 64)
        let field = FormatField(name)
        let isThere =
            switch part {
            case .requestHead: appendRequestField(field, to: &bytes)
            case .responseHead: appendResponseField(field, to: &bytes)
            case .responseTrailers: appendResponseTrailer(field, to: &bytes)
            }
        return isThere ? bytes.bytes : nil
    }
    func metadata(_ source: FormatOperator.MetadataSource, _ namespace: String) -> JSON? {
        source == .dynamic ? info.metadata[namespace] : nil
    }
    func hasMetadata(_ source: FormatOperator.MetadataSource) -> Bool { source == .dynamic && !info.metadata.isEmpty }
    func appendTLS(
        _ field: FormatOperator.TLSField, isUpstream: Bool, time: TimeFormat?, to bytes: inout FormatLine
    ) -> Bool {
        guard let facts = isUpstream ? info.upstreamTLS : connectionInfo.tls else { return false }
        if let time {
            guard let peer = facts.peer else { return false }
            time.append((field == .peerValidFrom ? peer.notBefore : peer.notAfter, 0), to: &bytes)
            return true
        }
        guard let text = facts.value(of: field.rawValue) else { return false }
        bytes.append(text)
        return true
    }
    func appendUniqueID(to bytes: inout FormatLine) {
        var generator = SystemRandomNumberGenerator()
        bytes.append(uuid: generator.next(), generator.next())
    }
}

extension HTTPStream: FormatContext {
    var protocolVersion: HTTPVersion? { version }

    var isGRPC: Bool { request.headers.isGRPC }

    var grpcStatus: Int? {
        let text = responseTrailers?[.grpcStatus] ?? response.headers[.grpcStatus]
        if let text { return Int(text) }
        return responseHasBegun ? GRPCFailure.of(httpStatus: info.status) : nil
    }

    @inline(__always)
    func readRequestFields<Result>(_ body: (borrowing RequestHeadView) -> Result) -> Result {
        let result = body(RequestHeadView(unsafe: isRefused ? .none : request.parts))
        // The stream has the head, and outlives the view.
        withExtendedLifetime(self) {}
        return result
    }

    func appendResponseField(_ field: FormatField, to bytes: inout FormatLine) -> Bool {
        if field.kind == .status {
            guard info.status > 0 else { return false }
            bytes.append(padded: Int(info.status), 1)
            return true
        }
        if response.headers.parts.append(field, to: &bytes) { return true }
        // The codec writes it: in a response of the proxy's own no field says it.
        guard field.kind == .contentLength, case .length(let count) = response.body else { return false }
        bytes.append(padded: count, 1)
        return true
    }

    func appendResponseTrailer(_ field: FormatField, to bytes: inout FormatLine) -> Bool {
        responseTrailers?.parts.append(field, to: &bytes) ?? false
    }

    func appendPath(isOriginal: Bool, to bytes: inout FormatLine) -> Bool {
        if isOriginal, let originalPath {
            bytes.append(originalPath)
        } else {
            // CONNECT has none.
            guard !request.pathIsEmpty else { return false }
            request.appendPath(to: &bytes)
        }
        return true
    }

    func fieldBytes(_ part: FieldPart) -> Int? {
        switch part {
        case .requestHead:
            return request.fieldBytes
        case .responseHead: return response.headers.fieldBytes + 7 + 3
        case .responseTrailers: return responseTrailers?.fieldBytes ?? 0
        }
    }

    var observedCluster: String? { observed(router?.upstreamCluster?.config) }

    func metadata(_ source: FormatOperator.MetadataSource, _ namespace: String) -> JSON? {
        switch source {
        case .dynamic: info.metadata[namespace]
        case .cluster: router?.upstreamCluster?.config.metadata?[namespace]
        case .upstream: router?.upstreamHost?.endpoint.metadata?[namespace]
        case .route: route?.metadata?[namespace]
        case .virtualHost, .listener: nil
        }
    }

    func hasMetadata(_ source: FormatOperator.MetadataSource) -> Bool {
        let found: JSON? =
            switch source {
            case .dynamic: .object(info.metadata)
            case .cluster: router?.upstreamCluster?.config.metadata
            case .upstream: router?.upstreamHost?.endpoint.metadata
            case .route: route?.metadata
            case .virtualHost, .listener: nil
            }
        if case .object(let namespaces)? = found { return !namespaces.isEmpty }
        return false
    }

    func appendUniqueID(to bytes: inout FormatLine) { bytes.append(uuid: worker.random.next(), worker.random.next()) }

    func fieldValues(_ name: HeaderName, _ part: FieldPart) -> [UInt8]? {
        switch part {
        case .requestHead:
            guard !isRefused else { return nil }
            return name.isPseudo || name == Self.host ? request.value(of: name) : request.headers.joined(name)
        case .responseHead:
            if name.isPseudo {
                return name == Self.status && info.status > 0 ? Array("\(info.status)".utf8) : nil
            }
            return response.headers.joined(name)
        case .responseTrailers: return responseTrailers?.joined(name)
        }
    }

    private static let host = HeaderName("host")
    private static let status = HeaderName(":status")

    func fieldCount(_ part: FieldPart) -> Int {
        switch part {
        // With method, path, authority and scheme, as Envoy counts.
        case .requestHead: isRefused ? 0 : request.headers.count + 4
        case .responseHead: responseHasBegun ? response.headers.count + 1 : 0
        case .responseTrailers: responseTrailers?.count ?? 0
        }
    }

    func expressionGaveUp() { worker.countExpressionGivenUp() }
}

extension Worker {
    /// An expression took more than `CELLimits.steps`: rare, so that the name is looked up then.
    func countExpressionGivenUp() { metrics.scope("cel").counter("too_expensive").add(row: index) }
}

extension RequestHead {
    func appendPath(to bytes: inout FormatLine) { bytes.append(span: path) }

    /// Bytes of names and values; those of the pseudo headers count, as Envoy counts them.
    var fieldBytes: Int {
        let pseudo = methodName.byteCount + path.byteCount + authority.byteCount + scheme.byteCount
        return headers.fieldBytes + pseudo + ":method:path:authority:scheme".utf8.count
    }
}

extension HeaderTable {
    /// Bytes of names and values.
    var fieldBytes: Int {
        var sum = 0
        for index in 0..<count { sum += name(at: index).byteCount + value(at: index).byteCount }
        return sum
    }
}
