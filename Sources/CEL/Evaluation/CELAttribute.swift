/// The names under which the facts about a request stand: Envoy's attribute vocabulary.
public enum CELRoot: String, Sendable, Hashable, CaseIterable {
    case request, response, source, destination, connection, upstream, metadata, xds
    case filterState = "filter_state"
    case upstreamFilterState = "upstream_filter_state"

    /// What `root.field` means; nil where it means nothing.
    func member(_ field: String) -> CELMember? {
        switch (self, field) {
        case (.request, "headers"): .reference(.headers(.request))
        case (.response, "headers"): .reference(.headers(.response))
        case (.response, "trailers"): .reference(.headers(.trailers))
        case (.metadata, "filter_metadata"): .reference(.filterMetadata(.dynamic))
        case (.xds, "cluster_metadata"): .reference(.metadata(.cluster))
        case (.xds, "route_metadata"): .reference(.metadata(.route))
        case (.xds, "upstream_host_metadata"): .reference(.metadata(.host))
        case (.xds, "listener_metadata"): .reference(.metadata(.listener))
        case (.xds, "virtual_host_metadata"): .reference(.metadata(.virtualHost))
        case (.filterState, _): .filterState(field, isUpstream: false)
        case (.upstreamFilterState, _): .filterState(field, isUpstream: true)
        default: CELAttribute(rawValue: "\(rawValue).\(field)").map { .attribute($0) }
        }
    }
}

/// What stands under a root.
enum CELMember: Sendable {
    case attribute(CELAttribute)
    case reference(CELReference)
    case filterState(String, isUpstream: Bool)
}

/// Something with members that are asked for one by one.
public enum CELReference: Hashable, Sendable {
    /// `request`.
    case root(CELRoot)
    /// `request.headers`.
    case headers(CELHeaders)
    /// A `Metadata` message: `xds.route_metadata`.
    case metadata(CELMetadata)
    /// Its namespaces.
    case filterMetadata(CELMetadata)

    /// As it is written.
    public var text: String {
        switch self {
        case .root(let root): root.rawValue
        case .headers(.request): "request.headers"
        case .headers(.response): "response.headers"
        case .headers(.trailers): "response.trailers"
        case .metadata(let source): source.rawValue
        case .filterMetadata(let source): source.rawValue + ".filter_metadata"
        }
    }
}

/// Parts of a message that have fields.
public enum CELHeaders: Sendable, Hashable { case request, response, trailers }

/// Whose metadata.
public enum CELMetadata: String, Sendable, Hashable {
    case dynamic = "metadata"
    case cluster = "xds.cluster_metadata"
    case route = "xds.route_metadata"
    case host = "xds.upstream_host_metadata"
    case listener = "xds.listener_metadata"
    case virtualHost = "xds.virtual_host_metadata"
}

/// An attribute with one value; the raw values are Envoy's names.
public enum CELAttribute: String, Sendable, Hashable, CaseIterable {
    case requestPath = "request.path"
    case requestURLPath = "request.url_path"
    case requestHost = "request.host"
    case requestScheme = "request.scheme"
    case requestMethod = "request.method"
    case requestReferer = "request.referer"
    case requestUserAgent = "request.useragent"
    case requestTime = "request.time"
    case requestID = "request.id"
    case requestProtocol = "request.protocol"
    case requestQuery = "request.query"
    case requestDuration = "request.duration"
    case requestSize = "request.size"
    case requestTotalSize = "request.total_size"
    case responseCode = "response.code"
    case responseCodeDetails = "response.code_details"
    case responseFlags = "response.flags"
    case responseGRPCStatus = "response.grpc_status"
    case responseSize = "response.size"
    case responseTotalSize = "response.total_size"
    case responseBackendLatency = "response.backend_latency"
    case sourceAddress = "source.address"
    case sourcePort = "source.port"
    case destinationAddress = "destination.address"
    case destinationPort = "destination.port"
    case connectionID = "connection.id"
    case connectionMTLS = "connection.mtls"
    case connectionServerName = "connection.requested_server_name"
    case connectionTLSVersion = "connection.tls_version"
    case connectionLocalSubject = "connection.subject_local_certificate"
    case connectionPeerSubject = "connection.subject_peer_certificate"
    case connectionLocalDNS = "connection.dns_san_local_certificate"
    case connectionPeerDNS = "connection.dns_san_peer_certificate"
    case connectionLocalURI = "connection.uri_san_local_certificate"
    case connectionPeerURI = "connection.uri_san_peer_certificate"
    case connectionPeerDigest = "connection.sha256_peer_certificate_digest"
    case connectionTermination = "connection.termination_details"
    case connectionTransportFailure = "connection.transport_failure_reason"
    case upstreamAddress = "upstream.address"
    case upstreamPort = "upstream.port"
    case upstreamTLSVersion = "upstream.tls_version"
    case upstreamLocalSubject = "upstream.subject_local_certificate"
    case upstreamPeerSubject = "upstream.subject_peer_certificate"
    case upstreamLocalDNS = "upstream.dns_san_local_certificate"
    case upstreamPeerDNS = "upstream.dns_san_peer_certificate"
    case upstreamLocalURI = "upstream.uri_san_local_certificate"
    case upstreamPeerURI = "upstream.uri_san_peer_certificate"
    case upstreamPeerDigest = "upstream.sha256_peer_certificate_digest"
    case upstreamLocalAddress = "upstream.local_address"
    case upstreamTransportFailure = "upstream.transport_failure_reason"
    case upstreamAttempts = "upstream.request_attempt_count"
    case upstreamReadyDuration = "upstream.cx_pool_ready_duration"
    case clusterName = "xds.cluster_name"
    case routeName = "xds.route_name"
    case virtualHostName = "xds.virtual_host_name"
    case filterChainName = "xds.filter_chain_name"

    /// The field of requests that it is.
    var headerName: String? {
        switch self {
        case .requestReferer: "referer"
        case .requestUserAgent: "user-agent"
        case .requestID: "x-request-id"
        default: nil
        }
    }
}

/// The facts about a request or connection that an expression asks for; what is not there is nil.
///
/// Called on the thread that evaluates, during the evaluation only.
public protocol CELActivation {
    /// An attribute's value.
    func value(_ attribute: CELAttribute) -> CELValue?
    /// The values of a header, joined with commas; the name is in small letters, pseudo headers included.
    func header(_ name: String, _ part: CELHeaders) -> String?
    /// How many fields there are.
    func headerCount(_ part: CELHeaders) -> Int
    /// What stands under a namespace.
    func metadata(_ source: CELMetadata, _ namespace: String) -> CELValue?
    /// Whether anything stands under any namespace.
    func hasMetadata(_ source: CELMetadata) -> Bool
    /// A filter state object as it serialises itself.
    func filterState(_ key: String, isUpstream: Bool) -> [UInt8]?
    /// An expression took more than `CELLimits.steps` and was given up: to be counted.
    func gaveUp()
}

/// Nothing is known: for expressions of literals.
public struct CELNothing: CELActivation {
    /// Nothing.
    public init() {}
    /// None.
    public func value(_ attribute: CELAttribute) -> CELValue? { nil }
    /// None.
    public func header(_ name: String, _ part: CELHeaders) -> String? { nil }
    /// None.
    public func headerCount(_ part: CELHeaders) -> Int { 0 }
    /// None.
    public func metadata(_ source: CELMetadata, _ namespace: String) -> CELValue? { nil }
    /// None.
    public func hasMetadata(_ source: CELMetadata) -> Bool { false }
    /// None.
    public func filterState(_ key: String, isUpstream: Bool) -> [UInt8]? { nil }
    /// Nobody counts.
    public func gaveUp() {}
}
