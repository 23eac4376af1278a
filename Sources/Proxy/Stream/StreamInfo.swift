internal import IO
internal import Serialization
internal import Upstream

/// Addresses of one downstream connection, found once when it was accepted.
struct ConnectionInfo: Sendable {
    /// The address the client meant: before a redirect when the listener restores it.
    var localAddress: SocketAddress
    /// The client, or who it says it is where that is trusted.
    var remoteAddress: SocketAddress
    /// The peer of the socket.
    var directRemoteAddress: SocketAddress
    /// Whether `localAddress` came from SO_ORIGINAL_DST.
    var isRedirected = false
    /// What listener filters found out: `http/1.1`, `h2c`.
    var applicationProtocol: StaticString?
    /// The connection's TLS; nil for plain text.
    var tls: TLSFacts?
    /// Number of the connection in this process.
    var id: UInt64
}

/// What became of one request or TCP connection: for access log, counters and header formats.
struct StreamInfo {
    var started: MonotonicTime
    var startedWall: (seconds: Int64, nanoseconds: Int32)?
    var flags: ResponseFlags = []
    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    var details: String?
    var connectionTerminationDetails: String?
    var upstreamTransportFailure: String?
    var status: UInt16 = 0
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    var requestEnded: MonotonicTime?
    var firstUpstreamByteSent: MonotonicTime?
    var firstUpstreamByteReceived: MonotonicTime?
    var lastDownstreamByteSent: MonotonicTime?
    var upstreamHost: SocketAddress?
    var upstreamLocalAddress: SocketAddress?
    var upstreamCluster: String?
    var routeName: String?
    var virtualHost: String?
    var attempts = 0
    /// The health check filter knows the request as one of somebody's health checks.
    var isHealthCheck = false
    /// Dynamic metadata by namespace, as filters set it.
    var metadata: [String: JSON] = [:]
    /// Filter state by key, as filters set it, serialised as access logs print it.
    var filterState: [String: String] = [:]

    init(started: MonotonicTime) { self.started = started }
}
