internal import HTTP
internal import IO
internal import Serialization
internal import Upstream

/// One command operator of Envoy's formats, with its arguments understood: `%REQ(x-id?:path):10%`, `%RESPONSE_CODE%`, ….
enum FormatOperator: Sendable {
    /// Operators that take no argument; the names are Envoy's.
    enum Plain: String, Sendable, CaseIterable {
        // Numbers.
        case RESPONSE_CODE, BYTES_RECEIVED, BYTES_SENT, DURATION, REQUEST_DURATION, REQUEST_TX_DURATION,
            RESPONSE_DURATION, RESPONSE_TX_DURATION, CONNECTION_ID, UPSTREAM_REQUEST_ATTEMPT_COUNT,
            DOWNSTREAM_LOCAL_PORT, DOWNSTREAM_REMOTE_PORT, DOWNSTREAM_DIRECT_REMOTE_PORT,
            DOWNSTREAM_DIRECT_LOCAL_PORT, UPSTREAM_REMOTE_PORT, UPSTREAM_LOCAL_PORT, REQUEST_HEADERS_BYTES,
            RESPONSE_HEADERS_BYTES, RESPONSE_TRAILERS_BYTES, DOWNSTREAM_WIRE_BYTES_RECEIVED,
            DOWNSTREAM_WIRE_BYTES_SENT, DOWNSTREAM_HEADER_BYTES_RECEIVED, DOWNSTREAM_HEADER_BYTES_SENT,
            UPSTREAM_WIRE_BYTES_RECEIVED, UPSTREAM_WIRE_BYTES_SENT, UPSTREAM_HEADER_BYTES_RECEIVED,
            UPSTREAM_HEADER_BYTES_SENT, GRPC_STATUS_NUMBER, UPSTREAM_CONNECTION_ID,
            UPSTREAM_CONNECTION_POOL_READY_DURATION, DOWNSTREAM_HANDSHAKE_DURATION, ROUNDTRIP_DURATION
        // Texts.
        case PROTOCOL, UPSTREAM_PROTOCOL, RESPONSE_CODE_DETAILS, CONNECTION_TERMINATION_DETAILS, RESPONSE_FLAGS,
            RESPONSE_FLAGS_LONG, UPSTREAM_HOST, UPSTREAM_HOST_NAME, UPSTREAM_HOST_NAME_WITHOUT_PORT,
            UPSTREAM_REMOTE_ADDRESS, UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT, UPSTREAM_LOCAL_ADDRESS,
            UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT, UPSTREAM_CLUSTER, UPSTREAM_CLUSTER_RAW,
            UPSTREAM_TRANSPORT_FAILURE_REASON, UPSTREAM_HOSTS_ATTEMPTED, DOWNSTREAM_LOCAL_ADDRESS,
            DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT, DOWNSTREAM_DIRECT_LOCAL_ADDRESS,
            DOWNSTREAM_DIRECT_LOCAL_ADDRESS_WITHOUT_PORT, DOWNSTREAM_REMOTE_ADDRESS,
            DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT, DOWNSTREAM_DIRECT_REMOTE_ADDRESS,
            DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT, DOWNSTREAM_TRANSPORT_FAILURE_REASON, REQUESTED_SERVER_NAME,
            ROUTE_NAME, VIRTUAL_HOST_NAME, VIRTUAL_CLUSTER_NAME, HOSTNAME, STREAM_ID, UNIQUE_ID, FILTER_CHAIN_NAME,
            ACCESS_LOG_TYPE, LOCAL_REPLY_BODY, TRACE_ID, SPAN_ID

        /// Whether a JSON format prints the value as a number.
        var isNumber: Bool {
            switch self {
            case .RESPONSE_CODE, .BYTES_RECEIVED, .BYTES_SENT, .DURATION, .REQUEST_DURATION, .REQUEST_TX_DURATION,
                .RESPONSE_DURATION, .RESPONSE_TX_DURATION, .CONNECTION_ID, .UPSTREAM_REQUEST_ATTEMPT_COUNT,
                .DOWNSTREAM_LOCAL_PORT, .DOWNSTREAM_REMOTE_PORT, .DOWNSTREAM_DIRECT_REMOTE_PORT,
                .DOWNSTREAM_DIRECT_LOCAL_PORT, .UPSTREAM_REMOTE_PORT, .UPSTREAM_LOCAL_PORT, .REQUEST_HEADERS_BYTES,
                .RESPONSE_HEADERS_BYTES, .RESPONSE_TRAILERS_BYTES, .DOWNSTREAM_WIRE_BYTES_RECEIVED,
                .DOWNSTREAM_WIRE_BYTES_SENT, .DOWNSTREAM_HEADER_BYTES_RECEIVED, .DOWNSTREAM_HEADER_BYTES_SENT,
                .UPSTREAM_WIRE_BYTES_RECEIVED, .UPSTREAM_WIRE_BYTES_SENT, .UPSTREAM_HEADER_BYTES_RECEIVED,
                .UPSTREAM_HEADER_BYTES_SENT, .GRPC_STATUS_NUMBER, .UPSTREAM_CONNECTION_ID,
                .UPSTREAM_CONNECTION_POOL_READY_DURATION, .DOWNSTREAM_HANDSHAKE_DURATION, .ROUNDTRIP_DURATION:
                true
            default: false
            }
        }
    }

    /// A header with the one that stands in for it.
    struct Header: Sendable {
        let field: FormatField
        let alternate: FormatField?
    }

    /// Moments in a stream's life, for `COMMON_DURATION`.
    enum Moment: String, Sendable {
        case DS_RX_BEG, DS_RX_END, US_TX_BEG, US_TX_END, US_RX_BEG, US_RX_END, DS_TX_BEG, DS_TX_END
    }

    /// How a gRPC status is written.
    enum StatusStyle: Sendable { case camel, snake, number }

    /// Where metadata comes from.
    enum MetadataSource: String, Sendable {
        case dynamic = "DYNAMIC", cluster = "CLUSTER", upstream = "UPSTREAM_HOST", route = "ROUTE"
        case virtualHost = "VIRTUAL_HOST", listener = "LISTENER"
    }

    case plain(Plain)
    /// A value that was known when the format was read (the host's name, an environment variable).
    case constant([UInt8])
    case request(Header)
    case requestWithoutQuery(Header)
    case response(Header)
    case trailer(Header)
    case startTime(TimeFormat)
    case emitTime(TimeFormat)
    case commonDuration(from: Moment, to: Moment, perSecond: Int64)
    case grpcStatus(StatusStyle)
    case metadata(MetadataSource, path: [String])
    /// `field`: a member of an object; nil is all of it.
    case filterState(String, field: String?)
    case path(withQuery: Bool, original: Bool, current: Bool)
    case queryParameter(String)
    case query
    case tls(TLSField, isUpstream: Bool, time: TimeFormat?)
    /// The value of a CEL expression; `isTyped` keeps numbers and the like in JSON formats.
    case expression(CELCondition, isTyped: Bool)

    /// What is printed of a TLS session; the raw values follow `DOWNSTREAM_` or `UPSTREAM_`.
    enum TLSField: String, Sendable {
        case version = "TLS_VERSION", cipher = "TLS_CIPHER", session = "TLS_SESSION_ID", group = "TLS_GROUP"
        case peerURI = "PEER_URI_SAN", peerDNS = "PEER_DNS_SAN", peerIP = "PEER_IP_SAN", peerEmail = "PEER_EMAIL_SAN"
        case peerSubject = "PEER_SUBJECT", peerIssuer = "PEER_ISSUER", peerSerial = "PEER_SERIAL"
        case peerFingerprint = "PEER_FINGERPRINT_256", peerFingerprintSHA1 = "PEER_FINGERPRINT_1"
        case peerCertificate = "PEER_CERT", peerValidFrom = "PEER_CERT_V_START", peerValidTo = "PEER_CERT_V_END"
        case peerChainFingerprints = "PEER_CHAIN_FINGERPRINTS_256"
        case localEmail = "LOCAL_EMAIL_SAN", localIP = "LOCAL_IP_SAN"
        case localURI = "LOCAL_URI_SAN", localDNS = "LOCAL_DNS_SAN", localSubject = "LOCAL_SUBJECT"
    }

    /// Whether a JSON format prints the value as a number.
    var isNumber: Bool {
        switch self {
        case .plain(let plain): plain.isNumber
        case .commonDuration: true
        case .grpcStatus(.number): true
        default: false
        }
    }

    /// Whether every byte of the value is the proxy's own, so that none needs escaping.
    var isOurs: Bool {
        switch self {
        case .plain(.PROTOCOL), .plain(.UPSTREAM_PROTOCOL), .plain(.RESPONSE_FLAGS), .plain(.RESPONSE_FLAGS_LONG): true
        default: false
        }
    }

    /// Whether the value is a JSON value, not a text.
    var isStructure: Bool {
        switch self {
        case .metadata: true
        case .expression(_, let isTyped): isTyped
        default: false
        }
    }
}
