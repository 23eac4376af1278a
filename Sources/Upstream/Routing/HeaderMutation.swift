/// One change to a field list, as configured at a route, virtual host, table or weighted cluster.
public struct HeaderMutation: Sendable, Hashable {
    /// What happens to the field.
    public enum Operation: Sendable, Hashable {
        /// All fields of this name go.
        case remove
        /// One more field of this name.
        case append(HeaderTemplate)
        /// A field of this name only where there was none.
        case addIfAbsent(HeaderTemplate)
        /// This field in place of all others of its name.
        case overwriteOrAdd(HeaderTemplate)
        /// This field in place of others of its name, and nothing where there was none.
        case overwriteIfPresent(HeaderTemplate)
    }

    /// Which field.
    ///
    /// `:path`, `:authority` and other pseudo headers are refused at compile time, as in Envoy.
    public let name: HeaderName
    /// What happens to it.
    public let operation: Operation
    /// Whether a value that renders to nothing is still written.
    public let keepsEmptyValue: Bool

    /// Whether no operator stands in its value.
    var isConstant: Bool {
        switch operation {
        case .remove: true
        case .append(let value), .addIfAbsent(let value), .overwriteOrAdd(let value), .overwriteIfPresent(let value):
            value.literal != nil
        }
    }

    /// The constant value that it sets; nil when it removes, or has operators in it.
    public var constantValue: [UInt8]? {
        switch operation {
        case .remove: nil
        case .append(let value), .addIfAbsent(let value), .overwriteOrAdd(let value), .overwriteIfPresent(let value):
            value.literal
        }
    }

    /// A change.
    public init(name: HeaderName, operation: Operation, keepsEmptyValue: Bool = false) {
        self.name = name
        self.operation = operation
        self.keepsEmptyValue = keepsEmptyValue
    }
}

/// A header value with command operators: `%DOWNSTREAM_REMOTE_ADDRESS%`, `%REQ(x-id):8%`.
///
/// Upstream splits it; the proxy, who knows the connection, renders it. The operators that `RouteTable` lets pass are
/// in `HeaderTemplate.operators`; the proxy must know each of them.
public struct HeaderTemplate: Sendable, Hashable {
    /// A piece of the value.
    public enum Segment: Sendable, Hashable {
        /// These bytes.
        case literal([UInt8])
        /// What an operator stands for, cut to a length when one is given.
        case command(name: String, argument: String?, lengthMax: Int?)
    }

    /// The pieces in order.
    public let segments: [Segment]

    /// The operators a header value may use: all of the proxy's formats.
    public static let operators: Set<String> = [
        "ACCESS_LOG_TYPE", "BYTES_RECEIVED", "BYTES_SENT", "CEL", "CLUSTER_METADATA", "COMMON_DURATION",
        "CONNECTION_ID",
        "CONNECTION_TERMINATION_DETAILS", "DOWNSTREAM_DIRECT_LOCAL_ADDRESS",
        "DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_LOCAL_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_DIRECT_REMOTE_PORT", "DOWNSTREAM_HANDSHAKE_DURATION", "DOWNSTREAM_HEADER_BYTES_RECEIVED",
        "DOWNSTREAM_HEADER_BYTES_SENT", "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "DOWNSTREAM_LOCAL_DNS_SAN", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_LOCAL_SUBJECT", "DOWNSTREAM_LOCAL_URI_SAN",
        "DOWNSTREAM_PEER_CERT", "DOWNSTREAM_PEER_CERT_V_END", "DOWNSTREAM_PEER_CERT_V_START",
        "DOWNSTREAM_PEER_DNS_SAN", "DOWNSTREAM_PEER_EMAIL_SAN", "DOWNSTREAM_PEER_FINGERPRINT_1",
        "DOWNSTREAM_PEER_FINGERPRINT_256", "DOWNSTREAM_PEER_IP_SAN", "DOWNSTREAM_PEER_ISSUER",
        "DOWNSTREAM_PEER_SERIAL", "DOWNSTREAM_PEER_SUBJECT", "DOWNSTREAM_PEER_URI_SAN", "DOWNSTREAM_REMOTE_ADDRESS",
        "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_REMOTE_PORT", "DOWNSTREAM_TLS_CIPHER",
        "DOWNSTREAM_TLS_SESSION_ID", "DOWNSTREAM_TLS_VERSION", "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
        "DOWNSTREAM_WIRE_BYTES_RECEIVED", "DOWNSTREAM_WIRE_BYTES_SENT", "DURATION", "DYNAMIC_METADATA", "EMIT_TIME",
        "EMIT_TIME_LOCAL", "ENVIRONMENT", "FILTER_CHAIN_NAME", "FILTER_STATE", "GRPC_STATUS", "GRPC_STATUS_NUMBER",
        "HOSTNAME", "LOCAL_REPLY_BODY", "METADATA", "PATH", "PROTOCOL", "QUERY_PARAM", "QUERY_PARAMS", "REQ",
        "REQUESTED_SERVER_NAME", "REQUEST_DURATION", "REQUEST_HEADER", "REQUEST_HEADERS_BYTES", "REQUEST_TX_DURATION",
        "REQ_WITHOUT_QUERY", "RESP", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "RESPONSE_DURATION", "RESPONSE_FLAGS",
        "RESPONSE_FLAGS_LONG", "RESPONSE_HEADER", "RESPONSE_HEADERS_BYTES", "RESPONSE_TRAILER",
        "RESPONSE_TRAILERS_BYTES", "RESPONSE_TX_DURATION",
        "ROUNDTRIP_DURATION", "ROUTE_NAME", "SPAN_ID", "START_TIME", "START_TIME_LOCAL", "STREAM_ID", "TRACE_ID",
        "TRAILER", "UNIQUE_ID", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_CONNECTION_ID",
        "UPSTREAM_CONNECTION_POOL_READY_DURATION", "UPSTREAM_FILTER_STATE", "UPSTREAM_HEADER_BYTES_RECEIVED",
        "UPSTREAM_HEADER_BYTES_SENT", "UPSTREAM_HOST", "UPSTREAM_HOSTS_ATTEMPTED", "UPSTREAM_HOST_NAME",
        "UPSTREAM_HOST_NAME_WITHOUT_PORT", "UPSTREAM_LOCAL_ADDRESS", "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
        "UPSTREAM_LOCAL_DNS_SAN", "UPSTREAM_LOCAL_PORT", "UPSTREAM_LOCAL_SUBJECT", "UPSTREAM_LOCAL_URI_SAN",
        "UPSTREAM_METADATA", "UPSTREAM_PEER_CERT", "UPSTREAM_PEER_CERT_V_END", "UPSTREAM_PEER_CERT_V_START",
        "UPSTREAM_PEER_DNS_SAN", "UPSTREAM_PEER_EMAIL_SAN", "UPSTREAM_PEER_FINGERPRINT_1",
        "UPSTREAM_PEER_FINGERPRINT_256", "UPSTREAM_PEER_IP_SAN", "UPSTREAM_PEER_ISSUER", "UPSTREAM_PEER_SERIAL",
        "UPSTREAM_PEER_SUBJECT", "UPSTREAM_PEER_URI_SAN", "UPSTREAM_PROTOCOL", "UPSTREAM_REMOTE_ADDRESS",
        "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "UPSTREAM_REMOTE_PORT", "UPSTREAM_REQUEST_ATTEMPT_COUNT",
        "UPSTREAM_TLS_CIPHER", "UPSTREAM_TLS_SESSION_ID", "UPSTREAM_TLS_VERSION", "UPSTREAM_TRANSPORT_FAILURE_REASON",
        "UPSTREAM_WIRE_BYTES_RECEIVED", "UPSTREAM_WIRE_BYTES_SENT", "VIRTUAL_CLUSTER_NAME", "VIRTUAL_HOST_NAME",
    ]

    /// The constant value, when no operator stands in it: no rendering needed.
    public var literal: [UInt8]? {
        if segments.isEmpty { return [] }
        if segments.count == 1, case .literal(let bytes) = segments[0] { return bytes }
        return nil
    }

    /// A constant value, in which a percent sign is just that.
    public init(constant text: String) { segments = text.isEmpty ? [] : [.literal(Array(text.utf8))] }

    /// Splits a format; `%%` is a percent sign.
    ///
    /// The error says what is wrong, without a path.
    public init(parsing format: String) throws(HeaderTemplateError) {
        var segments: [Segment] = []
        var literal: [UInt8] = []
        let bytes = Array(format.utf8)
        var index = 0
        while index < bytes.count {
            guard bytes[index] == 0x25 else {
                literal.append(bytes[index])
                index += 1
                continue
            }
            if index + 1 < bytes.count, bytes[index + 1] == 0x25 {
                literal.append(0x25)
                index += 2
                continue
            }
            let (segment, end) = try Self.command(in: bytes, at: index + 1)
            if !literal.isEmpty { segments.append(.literal(literal)) }
            literal = []
            segments.append(segment)
            index = end
        }
        if !literal.isEmpty { segments.append(.literal(literal)) }
        self.segments = segments
    }

    /// Reads `NAME(argument):length%`; gives the index after the closing percent sign.
    private static func command(in bytes: [UInt8], at start: Int) throws(HeaderTemplateError) -> (Segment, Int) {
        var index = start
        while index < bytes.count, isNameByte(bytes[index]) { index += 1 }
        let name = String(decoding: bytes[start..<index], as: UTF8.self)
        guard operators.contains(name) else {
            throw HeaderTemplateError("unknown command operator %\(name)% (a percent sign is written %%)")
        }
        var argument: String?
        if index < bytes.count, bytes[index] == 0x28 {
            guard let close = CommandArgument.end(in: bytes, from: index) else {
                throw HeaderTemplateError("%\(name)( has no closing parenthesis")
            }
            argument = String(decoding: bytes[(index + 1)..<close], as: UTF8.self)
            index = close + 1
        }
        var lengthMax: Int?
        if index < bytes.count, bytes[index] == 0x3A {
            let digits = bytes[(index + 1)...].prefix { $0 &- 0x30 < 10 }
            guard let length = Int(String(decoding: digits, as: UTF8.self)) else {
                throw HeaderTemplateError("%\(name): has no length after the colon")
            }
            lengthMax = length
            index = digits.endIndex
        }
        guard index < bytes.count, bytes[index] == 0x25 else {
            throw HeaderTemplateError("%\(name) has no closing percent sign")
        }
        if argument == nil, ["REQ", "REQUEST_HEADER", "RESP", "RESPONSE_HEADER"].contains(name) {
            throw HeaderTemplateError("%\(name)% needs a header name: %\(name)(x-id)%")
        }
        return (.command(name: name, argument: argument, lengthMax: lengthMax), index + 1)
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        (byte &- 65 < 26) || byte == 0x5F || (byte &- 0x30 < 10)
    }
}

/// Why a header format was refused.
public struct HeaderTemplateError: Error, Sendable, Hashable, CustomStringConvertible {
    /// What is wrong.
    public let description: String

    init(_ description: String) { self.description = description }
}
