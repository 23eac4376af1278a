internal import IO
internal import Serialization
internal import Upstream

/// Addresses of one downstream connection, found once when it was accepted.
///
/// A value whose copies share their storage until one changes: each request holds one.
struct ConnectionInfo: Sendable {
    private final class Storage: @unchecked Sendable {
        // Changed only while one copy alone holds it (`values`).
        var values: Values
        init(_ values: Values) { self.values = values }
    }

    private struct Values: Sendable {
        var localAddress: SocketAddress
        var remoteAddress: SocketAddress
        var directRemoteAddress: SocketAddress
        var isRedirected = false
        var applicationProtocol: StaticString?
        var tls: TLSFacts?
        var requestedServerName: String?
        var filterChain: String?
        var ticket: ConnectionTicket?
        var facts: ConnectionFactsBox?
    }

    private var storage: Storage
    /// Number of the connection in this process.
    let id: UInt64

    private var values: Values {
        get { storage.values }
        _modify {
            if !isKnownUniquelyReferenced(&storage) { storage = Storage(storage.values) }
            yield &storage.values
        }
    }

    init(
        localAddress: SocketAddress, remoteAddress: SocketAddress, directRemoteAddress: SocketAddress, id: UInt64
    ) {
        storage = Storage(
            Values(
                localAddress: localAddress, remoteAddress: remoteAddress, directRemoteAddress: directRemoteAddress))
        self.id = id
    }

    /// The address the client meant: before a redirect when the listener restores it.
    var localAddress: SocketAddress {
        get { storage.values.localAddress }
        set { values.localAddress = newValue }
    }

    /// The client, or who it says it is where that is trusted.
    var remoteAddress: SocketAddress {
        get { storage.values.remoteAddress }
        set { values.remoteAddress = newValue }
    }

    /// The peer of the socket.
    var directRemoteAddress: SocketAddress {
        get { storage.values.directRemoteAddress }
        set { values.directRemoteAddress = newValue }
    }

    /// Whether `localAddress` came from SO_ORIGINAL_DST.
    var isRedirected: Bool {
        get { storage.values.isRedirected }
        set { values.isRedirected = newValue }
    }

    /// What listener filters found out: `http/1.1`, `h2c`.
    var applicationProtocol: StaticString? {
        get { storage.values.applicationProtocol }
        set { values.applicationProtocol = newValue }
    }

    /// The connection's TLS; nil for plain text.
    var tls: TLSFacts? {
        get { storage.values.tls }
        set { values.tls = newValue }
    }

    /// Whether the connection has TLS: asked without a reference to it.
    var isTLS: Bool { storage.values.tls != nil }

    /// The name that the client asked for by SNI.
    var requestedServerName: String? {
        get { storage.values.requestedServerName }
        set { values.requestedServerName = newValue }
    }

    /// The filter chain that serves the connection.
    var filterChain: String? {
        get { storage.values.filterChain }
        set { values.filterChain = newValue }
    }

    /// Its place among all downstream connections, where there is a limit.
    var ticket: ConnectionTicket? {
        get { storage.values.ticket }
        set { values.ticket = newValue }
    }

    /// What listener filters and network filters found out.
    var facts: ConnectionFacts {
        get { storage.values.facts?.facts ?? .none }
        set { values.facts = ConnectionFactsBox(newValue) }
    }

    /// Whether filters found anything out.
    var hasFacts: Bool { storage.values.facts != nil }
    /// Whether listener or network filters have left filter state.
    var hasFilterState: Bool { storage.values.facts?.facts.filterState.isEmpty == false }

    /// Whether ALPN chose HTTP/2.
    var isHTTP2: Bool {
        guard let applicationProtocol, applicationProtocol.utf8CodeUnitCount == 2 else { return false }
        return applicationProtocol.utf8Start[0] == UInt8(ascii: "h")
            && applicationProtocol.utf8Start[1] == UInt8(ascii: "2")
    }
}

/// What became of one request or TCP connection: for access log, counters and header formats.
struct StreamInfo {
    var started: MonotonicTime
    var startedWall: (seconds: Int64, nanoseconds: Int32)?
    var flags: ResponseFlags = []
    /// Envoy's `%RESPONSE_CODE_DETAILS%`.
    var details: String?
    var status: UInt16 = 0
    var bytesReceived: UInt64 = 0
    var bytesSent: UInt64 = 0
    var requestEnded: MonotonicTime?
    var firstUpstreamByteSent: MonotonicTime?
    var lastUpstreamByteSent: MonotonicTime?
    var firstUpstreamByteReceived: MonotonicTime?
    var lastUpstreamByteReceived: MonotonicTime?
    var firstDownstreamByteSent: MonotonicTime?
    var lastDownstreamByteSent: MonotonicTime?
    var upstreamHost: SocketAddress?
    var upstreamLocalAddress: SocketAddress?
    var upstreamProtocol: HTTPVersion?
    var upstreamConnectionID: UInt64 = 0
    var upstreamTLS: TLSFacts?
    var upstreamCluster: String?
    var routeName: String?
    var virtualHost: String?
    /// Whether a health check filter answered.
    var isHealthCheck = false
    var wire = WireBytes()
    var attempts = 0
    /// gRPC messages in both directions, where a filter counted them for the access log.
    var grpcMessages: (request: UInt64, response: UInt64)?
    /// The status that a gRPC answer ended with, where standard metrics tell it.
    var grpcStatus: UInt8?
    /// A filter made the request gRPC; its client is told of failures as it asked.
    var answersPlainly = false
    /// What few requests have; made when the first of it is set.
    private var rare: Rare?

    /// Shared by copies until one of them changes it, like an array's elements.
    private final class Rare {
        var connectionTerminationDetails: String?
        var upstreamTransportFailure: String?
        var upstreamHostname: String?
        var downstreamTransportFailure: String?
        var virtualCluster: String?
        var hostOverride: HostOverride?
        var metadata: [String: JSON] = [:]
        var filterState: [String: String] = [:]

        init(_ other: Rare?) {
            guard let other else { return }
            connectionTerminationDetails = other.connectionTerminationDetails
            upstreamTransportFailure = other.upstreamTransportFailure
            upstreamHostname = other.upstreamHostname
            downstreamTransportFailure = other.downstreamTransportFailure
            virtualCluster = other.virtualCluster
            hostOverride = other.hostOverride
            metadata = other.metadata
            filterState = other.filterState
        }
    }

    private mutating func ownRare() -> Rare {
        if isKnownUniquelyReferenced(&rare), let rare { return rare }
        let own = Rare(rare)
        rare = own
        return own
    }

    var connectionTerminationDetails: String? {
        get { rare?.connectionTerminationDetails }
        set { if rare != nil || newValue != nil { ownRare().connectionTerminationDetails = newValue } }
    }
    var upstreamTransportFailure: String? {
        get { rare?.upstreamTransportFailure }
        set { if rare != nil || newValue != nil { ownRare().upstreamTransportFailure = newValue } }
    }
    /// The host's name as endpoints give it.
    var upstreamHostname: String? {
        get { rare?.upstreamHostname }
        set { if rare != nil || newValue?.isEmpty == false { ownRare().upstreamHostname = newValue } }
    }
    var downstreamTransportFailure: String? {
        get { rare?.downstreamTransportFailure }
        set { if rare != nil || newValue != nil { ownRare().downstreamTransportFailure = newValue } }
    }
    var virtualCluster: String? {
        get { rare?.virtualCluster }
        set { if rare != nil || newValue != nil { ownRare().virtualCluster = newValue } }
    }
    /// The host that a filter wants for the first try; nil for nearly all.
    var hostOverride: HostOverride? {
        get { rare?.hostOverride }
        set { if rare != nil || newValue != nil { ownRare().hostOverride = newValue } }
    }
    /// Dynamic metadata by namespace, as filters set it.
    var metadata: [String: JSON] {
        get { rare?.metadata ?? [:] }
        _modify { yield &ownRare().metadata }
    }
    /// Filter state by key, as filters set it, serialised as access logs print it.
    var filterState: [String: String] {
        get { rare?.filterState ?? [:] }
        _modify { yield &ownRare().filterState }
    }
    /// Filter state as an access log prints it; counts of gRPC messages become text only here.
    func filterStateText(_ key: String) -> String? {
        if let grpcMessages, key == GRPCStatsFilterConfig.stateKey {
            return "\(grpcMessages.request),\(grpcMessages.response)"
        }
        return rare?.filterState[key]
    }
    /// Whether there is any, without a copy.
    var hasFilterState: Bool { rare?.filterState.isEmpty == false }
    var hasHostOverride: Bool { rare?.hostOverride != nil }

    init(started: MonotonicTime) { self.started = started }

    /// A redirect that the proxy follows: what was true of the answer that led there is over.
    mutating func beginLeg() {
        flags = []
        details = nil
        upstreamTransportFailure = nil
        status = 0
        attempts = 0
        firstUpstreamByteSent = nil
        lastUpstreamByteSent = nil
        firstUpstreamByteReceived = nil
        lastUpstreamByteReceived = nil
        upstreamHost = nil
        upstreamLocalAddress = nil
        upstreamHostname = nil
        upstreamProtocol = nil
        upstreamTLS = nil
    }
}

/// Bytes of heads as they were on the wire; bodies are counted beside.
struct WireBytes {
    var downstreamHeadReceived: UInt64 = 0
    var downstreamHeadSent: UInt64 = 0
    var upstreamHeadSent: UInt64 = 0
    var upstreamHeadReceived: UInt64 = 0
    var upstreamBodySent: UInt64 = 0
    var upstreamBodyReceived: UInt64 = 0
}
