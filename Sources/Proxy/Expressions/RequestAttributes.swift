internal import CEL
internal import HTTP
internal import IO
internal import Serialization
internal import TLS
internal import Upstream

/// A request or connection as expressions see it: Envoy's attributes.
///
/// What is not there (yet) is nil.
struct RequestAttributes<Context: FormatContext>: CELActivation {
    let context: Context
    /// The monotonic time now.
    let now: MonotonicTime

    func value(_ attribute: CELAttribute) -> CELValue? {
        if let value = requestValue(attribute) { return value }
        if let value = responseValue(attribute) { return value }
        return connectionValue(attribute)
    }

    // MARK: Request

    private func requestValue(_ attribute: CELAttribute) -> CELValue? {
        switch attribute {
        case .requestPath: return field(Self.path)
        case .requestURLPath:
            return bytes(Self.path).map { path in text(path.prefix { $0 != UInt8(ascii: "?") }) }
        case .requestQuery: return bytes(Self.path).map { text(Self.query($0)) }
        case .requestHost: return field(Self.authority)
        case .requestScheme: return field(Self.scheme)
        case .requestMethod: return field(Self.method)
        case .requestReferer: return field(Self.referer)
        case .requestUserAgent: return field(Self.userAgent)
        case .requestID: return field(Self.requestID)
        case .requestTime:
            let began = context.info.startedWall ?? WallClock.ago((now - context.info.started).wholeNanoseconds)
            return .timestamp(Timestamp(seconds: began.seconds, nanoseconds: began.nanoseconds))
        case .requestProtocol: return context.protocolVersion.map { .string("\($0.text)") }
        case .requestDuration:
            // Envoy knows it when the stream has ended only.
            guard let end = context.info.lastDownstreamByteSent else { return nil }
            return .duration(.nanoseconds(Int64(clamping: (end - context.info.started).wholeNanoseconds)))
        case .requestSize:
            // What the head says, where it says anything: the body is not here when requests are decided about.
            if let length = bytes(Self.contentLength) {
                return Int64(String(decoding: length, as: UTF8.self)).map { .int($0) }
            }
            return count(context.info.bytesReceived)
        case .requestTotalSize:
            return context.fieldBytes(.requestHead).map {
                .int(Int64(clamping: context.info.bytesReceived) + Int64($0))
            }
        default: return nil
        }
    }

    private static var path: FormatField { AttributeFields.path }
    private static var authority: FormatField { AttributeFields.authority }
    private static var scheme: FormatField { AttributeFields.scheme }
    private static var method: FormatField { AttributeFields.method }
    private static var referer: FormatField { AttributeFields.referer }
    private static var userAgent: FormatField { AttributeFields.userAgent }
    private static var requestID: FormatField { AttributeFields.requestID }
    private static var contentLength: FormatField { AttributeFields.contentLength }

    private static func query(_ path: [UInt8]) -> ArraySlice<UInt8> {
        guard let mark = path.firstIndex(of: UInt8(ascii: "?")) else { return [] }
        return path[(mark + 1)...].prefix { $0 != UInt8(ascii: "#") }
    }

    private func bytes(_ field: FormatField) -> [UInt8]? { context.requestField(field) }

    private func field(_ field: FormatField) -> CELValue? { bytes(field).map { text($0) } }

    private func text(_ bytes: some Collection<UInt8>) -> CELValue { .string(String(decoding: bytes, as: UTF8.self)) }

    private func text(_ value: String?) -> CELValue? { value.map { .string($0) } }

    private func count(_ number: UInt64) -> CELValue { .int(Int64(clamping: number)) }

    // MARK: Response

    private func responseValue(_ attribute: CELAttribute) -> CELValue? {
        let info = context.info
        switch attribute {
        case .responseCode: return info.status > 0 ? .int(Int64(info.status)) : nil
        case .responseCodeDetails: return text(info.details)
        case .responseFlags: return .int(Int64(info.flags.rawValue))
        case .responseGRPCStatus: return context.grpcStatus.map { .int(Int64($0)) }
        case .responseSize: return count(info.bytesSent)
        case .responseTotalSize:
            let fields = (context.fieldBytes(.responseHead) ?? 0) + (context.fieldBytes(.responseTrailers) ?? 0)
            return .int(Int64(clamping: info.bytesSent) + Int64(fields))
        case .responseBackendLatency:
            guard let begin = info.firstUpstreamByteSent, let end = info.lastUpstreamByteReceived else { return nil }
            return .duration(.nanoseconds(Int64(clamping: (end - begin).wholeNanoseconds)))
        case .upstreamAddress: return info.upstreamHost.map { .string("\($0)") }
        case .upstreamPort: return info.upstreamHost?.port.map { .int(Int64($0)) }
        case .upstreamLocalAddress: return info.upstreamLocalAddress.map { .string("\($0)") }
        case .upstreamTransportFailure:
            // Empty where a host was asked, and absent where none was.
            return text(info.upstreamTransportFailure ?? (info.upstreamHost == nil ? nil : ""))
        case .upstreamAttempts: return .uint(UInt64(max(info.attempts, 0)))
        case .upstreamReadyDuration:
            return info.firstUpstreamByteSent.map {
                .duration(.nanoseconds(Int64(clamping: ($0 - info.started).wholeNanoseconds)))
            }
        case .upstreamTLSVersion, .upstreamLocalSubject, .upstreamPeerSubject, .upstreamLocalDNS, .upstreamPeerDNS,
            .upstreamLocalURI, .upstreamPeerURI, .upstreamPeerDigest:
            return info.upstreamTLS.flatMap { tls(attribute, $0) }
        case .clusterName: return text(info.upstreamCluster)
        case .routeName: return info.virtualHost == nil ? text(info.routeName) : .string(info.routeName ?? "")
        case .virtualHostName: return text(info.virtualHost)
        default: return nil
        }
    }

    // MARK: Connection

    private func connectionValue(_ attribute: CELAttribute) -> CELValue? {
        let connection = context.connectionInfo
        switch attribute {
        case .sourceAddress: return .string("\(connection.remoteAddress)")
        case .sourcePort: return connection.remoteAddress.port.map { .int(Int64($0)) }
        case .destinationAddress: return .string("\(connection.localAddress)")
        case .destinationPort: return connection.localAddress.port.map { .int(Int64($0)) }
        case .connectionID: return .uint(connection.id)
        case .connectionMTLS: return .bool(connection.tls?.isMutual ?? false)
        case .connectionServerName:
            let name = connection.requestedServerName ?? connection.tls?.serverName
            return .string(name ?? (connection.hasFacts ? connection.facts.serverName : ""))
        case .connectionTLSVersion, .connectionLocalSubject, .connectionPeerSubject, .connectionLocalDNS,
            .connectionPeerDNS, .connectionLocalURI, .connectionPeerURI, .connectionPeerDigest:
            return connection.tls.flatMap { tls(attribute, $0) }
        case .connectionTermination: return text(context.info.connectionTerminationDetails)
        case .connectionTransportFailure: return .string(context.info.downstreamTransportFailure ?? "")
        case .filterChainName: return text(connection.filterChain)
        default: return nil
        }
    }

    private func tls(_ attribute: CELAttribute, _ facts: TLSFacts) -> CELValue? {
        switch attribute {
        case .connectionTLSVersion, .upstreamTLSVersion: .string(facts.version)
        case .connectionLocalSubject, .upstreamLocalSubject: .string(facts.local?.subject ?? "")
        case .connectionPeerSubject, .upstreamPeerSubject: .string(facts.peer?.subject ?? "")
        case .connectionLocalDNS, .upstreamLocalDNS: text(facts.local?.dnsNames.first)
        case .connectionPeerDNS, .upstreamPeerDNS: text(facts.peer?.dnsNames.first)
        case .connectionLocalURI, .upstreamLocalURI: text(facts.local?.uris.first)
        case .connectionPeerURI, .upstreamPeerURI: text(facts.peer?.uris.first)
        case .connectionPeerDigest, .upstreamPeerDigest:
            .string(facts.value(of: "PEER_FINGERPRINT_256") ?? "")
        default: nil
        }
    }

    // MARK: Members

    func header(_ name: String, _ part: CELHeaders) -> String? {
        context.fieldValues(HeaderName(name), Self.part(part)).map { String(decoding: $0, as: UTF8.self) }
    }

    func headerCount(_ part: CELHeaders) -> Int { context.fieldCount(Self.part(part)) }

    private static func part(_ part: CELHeaders) -> FieldPart {
        switch part {
        case .request: .requestHead
        case .response: .responseHead
        case .trailers: .responseTrailers
        }
    }

    func metadata(_ source: CELMetadata, _ namespace: String) -> CELValue? {
        context.metadata(Self.source(source), namespace).map { CELValue($0) }
    }

    func hasMetadata(_ source: CELMetadata) -> Bool { context.hasMetadata(Self.source(source)) }

    private static func source(_ source: CELMetadata) -> FormatOperator.MetadataSource {
        switch source {
        case .dynamic: .dynamic
        case .cluster: .cluster
        case .route: .route
        case .host: .upstream
        case .listener: .listener
        case .virtualHost: .virtualHost
        }
    }

    func filterState(_ key: String, isUpstream: Bool) -> [UInt8]? {
        // Connections to hosts have no state of their own here.
        guard !isUpstream else { return nil }
        if let text = context.info.filterStateText(key) { return Array(text.utf8) }
        let connection = context.connectionInfo
        return connection.hasFilterState ? connection.facts.filterState[key].map { Array($0.utf8) } : nil
    }

    func gaveUp() { context.expressionGaveUp() }
}

/// The fields that attributes are, found out about once.
private enum AttributeFields {
    static let path = FormatField(":path")
    static let authority = FormatField(":authority")
    static let scheme = FormatField(":scheme")
    static let method = FormatField(":method")
    static let referer = FormatField("referer")
    static let userAgent = FormatField("user-agent")
    static let requestID = FormatField("x-request-id")
    static let contentLength = FormatField("content-length")
}

extension CELValue {
    /// A value of metadata: numbers there are floating point numbers.
    init(_ json: JSON) {
        switch json {
        case .null: self = .null
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .double(Double(value))
        case .number(let value): self = .double(value)
        case .string(let value): self = .string(value)
        case .array(let elements): self = .list(elements.map { CELValue($0) })
        case .object(let members): self = .map(CELMap(members.mapValues { CELValue($0) }))
        }
    }

    /// The value in a `Struct`; nil for what cannot be listed.
    var json: JSON? {
        switch self {
        case .null: .null
        case .bool(let value): .bool(value)
        case .int(let value): .integer(value)
        case .uint(let value): Int64(exactly: value).map { .integer($0) } ?? .number(Double(value))
        case .double(let value): .number(value)
        case .list(let elements): .array(elements.compactMap(\.json))
        case .map(let map):
            .object(
                Dictionary(
                    map.keys.compactMap { key in map[key]?.json.map { (key.printed, $0) } },
                    uniquingKeysWith: { first, _ in first }))
        case .string(let value): .string(value)
        case .bytes(let value): .string(Base64.encode(value))
        case .timestamp(let value): .string(value.description)
        case .duration(let value): .string(CELTime.text(value))
        case .type(let value): .string(value)
        case .reference, .optional, .library: nil
        }
    }
}

extension FormatContext {
    /// The value of an expression about what the format is asked about.
    func value(of condition: CELCondition, now: MonotonicTime) -> Result<CELValue, CELError> {
        condition.evaluate(RequestAttributes(context: self, now: now))
    }
}
