public import Serialization

/// One compiled route: what it matches, and what happens to a request it matches.
public final class Route: Sendable {
    /// What happens to the request.
    public enum Action: Sendable {
        /// It goes to a cluster.
        case forward(Forwarding)
        /// It is answered with a redirect.
        case redirect(Redirect)
        /// It is answered at once.
        case directResponse(DirectResponse)
        /// It must never be forwarded: a configuration for inbound inspection only.
        ///
        /// Answered with 404.
        case nonForwarding
    }

    /// The route's name, empty when it has none.
    public let name: String
    /// What happens to the request.
    public let action: Action
    /// Where the route comes from: `metadata.filter_metadata["skein.provenance"]`.
    public let provenance: JSON?
    /// What `typed_per_filter_config` says here and above, by filter name, the most general level first.
    public let filterConfigs: [String: [any Sendable]]
    /// Filters switched off (false) or on (true) here or above, by name.
    public let filterSwitches: [String: Bool]
    /// Changes to the request, in the order in which to apply them.
    ///
    /// A weighted cluster's own come before these:
    /// `ClusterTarget.requestMutations` holds both, so a forwarded request needs only those.
    public let requestMutations: [HeaderMutation]
    /// Changes to the response, in the order in which to apply them (see `requestMutations`).
    public let responseMutations: [HeaderMutation]
    /// Whether `x-envoy-attempt-count` goes with the request.
    public let includesAttemptCount: Bool
    /// Whether `x-envoy-attempt-count` goes with the response.
    public let includesAttemptCountInResponse: Bool
    /// Most request bytes to buffer for a retry; nil leaves the listener's limit.
    public let bufferBytesMax: UInt32?

    let match: RouteMatcher

    init(
        name: String, match: RouteMatcher, action: Action, provenance: JSON? = nil,
        filterConfigs: [String: [any Sendable]] = [:], filterSwitches: [String: Bool] = [:],
        requestMutations: [HeaderMutation] = [],
        responseMutations: [HeaderMutation] = [], includesAttemptCount: Bool = false,
        includesAttemptCountInResponse: Bool = false, bufferBytesMax: UInt32? = nil
    ) {
        self.name = name
        self.match = match
        self.action = action
        self.provenance = provenance
        self.filterConfigs = filterConfigs
        self.filterSwitches = filterSwitches
        self.requestMutations = requestMutations
        self.responseMutations = responseMutations
        self.includesAttemptCount = includesAttemptCount
        self.includesAttemptCountInResponse = includesAttemptCountInResponse
        self.bufferBytesMax = bufferBytesMax
    }

    /// Whether a filter is off for this route.
    ///
    /// - Parameter otherwise: what counts when the route says nothing.
    public func isDisabled(_ filter: String, otherwise: Bool) -> Bool {
        guard !filterSwitches.isEmpty, let isOn = filterSwitches[filter] else { return otherwise }
        return !isOn
    }

    /// The path to send upstream when the route rewrites it; nil when it stays.
    public func rewrittenPath(_ path: borrowing Span<UInt8>) -> [UInt8]? {
        guard case .forward(let forwarding) = action, let rewrite = forwarding.pathRewrite else { return nil }
        return rewrite.apply(to: path, matchedBy: match.path)
    }
}

/// All conditions of a route; they AND (H-1).
struct RouteMatcher: Sendable {
    var path: PathMatcher
    var headers: [HeaderMatcher] = []
    var queryParameters: [QueryParameterMatcher] = []
    var runtimeFraction: Fraction?
    var grpcOnly = false

    func matches(_ request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64) -> Bool {
        let requestPath = request.path
        if case .connect = path {
            guard Bytes.equal(request.method, Self.connectMethod.span) else { return false }
        } else if !path.matches(path: requestPath) {
            return false
        }
        for header in headers where !header.matches(request) { return false }
        if !queryParameters.isEmpty {
            let end = Bytes.firstIndex(of: 0x23, in: requestPath) ?? requestPath.count
            let start = Bytes.firstIndex(of: 0x3F, in: requestPath).map { $0 + 1 } ?? end
            let query = requestPath.extracting(min(start, end)..<end)
            for parameter in queryParameters where !parameter.matches(query: query) { return false }
        }
        if grpcOnly, !Self.isGRPC(request) { return false }
        if let runtimeFraction, !runtimeFraction.includes(random: random) { return false }
        return true
    }

    private static let connectMethod = Array("CONNECT".utf8)
    private static let contentType = HeaderName("content-type")
    private static let grpcType = Array("application/grpc".utf8)

    /// `application/grpc` or `application/grpc+…`, as the gRPC specification has it.
    static func isGRPC(_ request: borrowing some RequestView & ~Copyable & ~Escapable) -> Bool {
        guard let index = request.nextField(named: contentType, from: 0) else { return false }
        let value = request.fieldValue(at: index)
        return Bytes.hasPrefix(value, grpcType.span)
            && (value.count == grpcType.count || value[grpcType.count] == 0x2B || value[grpcType.count] == 0x3B)
    }
}
