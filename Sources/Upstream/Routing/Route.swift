public import EnvoyAPI
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
    /// What `action` says where it goes to a cluster.
    public let forwarding: Forwarding?
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
    /// `metadata.filter_metadata`.
    public let metadata: JSON?
    /// Rate limit descriptors of the route itself.
    public let rateLimits: [RateLimitRule]
    /// What tracing needs of the route.
    public let tracing: RouteTracing?
    /// Name in the route's own metrics; empty is none.
    public let statPrefix: String

    let match: RouteMatcher

    init(
        name: String, match: RouteMatcher, action: Action, provenance: JSON? = nil,
        filterConfigs: [String: [any Sendable]] = [:], filterSwitches: [String: Bool] = [:],
        requestMutations: [HeaderMutation] = [],
        responseMutations: [HeaderMutation] = [], includesAttemptCount: Bool = false,
        includesAttemptCountInResponse: Bool = false, bufferBytesMax: UInt32? = nil, metadata: JSON? = nil,
        rateLimits: [RateLimitRule] = [], tracing: RouteTracing? = nil, statPrefix: String = ""
    ) {
        self.name = name
        self.match = match
        self.action = action
        if case .forward(let forwarding) = action { self.forwarding = forwarding } else { forwarding = nil }
        self.provenance = provenance
        self.filterConfigs = filterConfigs
        self.filterSwitches = filterSwitches
        self.requestMutations = requestMutations
        self.responseMutations = responseMutations
        self.includesAttemptCount = includesAttemptCount
        self.includesAttemptCountInResponse = includesAttemptCountInResponse
        self.bufferBytesMax = bufferBytesMax
        self.metadata = metadata
        self.rateLimits = rateLimits
        self.tracing = tracing
        self.statPrefix = statPrefix
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

/// A condition of a route, by its place among those of its kind.
enum RouteCondition: Sendable, Hashable {
    case path, grpc, runtimeFraction, certificateIsPresented, certificateIsValidated
    case header(Int)
    case queryParameter(Int)
    case cookie(Int)
    case metadata(Int)
    case filterState(Int)
}

/// All conditions of a route; they AND (H-1).
struct RouteMatcher: Sendable {
    var path: PathMatcher
    var headers: [HeaderMatcher] = []
    var queryParameters: [QueryParameterMatcher] = []
    var runtimeFraction: RuntimeFraction?
    var grpcOnly = false
    /// What few routes ask.
    var rest: Rest?

    /// Conditions that few routes have.
    final class Rest: Sendable {
        let cookies: [CookieMatcher]
        let certificateIsPresented: Bool?
        let certificateIsValidated: Bool?
        let metadata: [MetadataMatcher]
        let filterState: [(key: String, value: StringMatcher)]

        init(
            cookies: [CookieMatcher], certificateIsPresented: Bool?, certificateIsValidated: Bool?,
            metadata: [MetadataMatcher], filterState: [(key: String, value: StringMatcher)]
        ) {
            self.cookies = cookies
            self.certificateIsPresented = certificateIsPresented
            self.certificateIsValidated = certificateIsValidated
            self.metadata = metadata
            self.filterState = filterState
        }

        func refusal(
            _ request: borrowing some RequestView & ~Copyable & ~Escapable, _ facts: some RouteFacts
        ) -> RouteCondition? {
            for index in cookies.indices where !cookies[index].matches(request) { return .cookie(index) }
            if certificateIsPresented != nil || certificateIsValidated != nil {
                // As Envoy: without TLS there is nothing to ask, and the condition does not count.
                if let certificate = facts.clientCertificate {
                    if let wanted = certificateIsPresented, certificate.isPresented != wanted {
                        return .certificateIsPresented
                    }
                    if let wanted = certificateIsValidated, certificate.isValidated != wanted {
                        return .certificateIsValidated
                    }
                }
            }
            for (index, matcher) in metadata.enumerated() where !matcher.matches(facts.metadata(matcher.namespace)) {
                return .metadata(index)
            }
            for (index, (key, matcher)) in filterState.enumerated() {
                guard let value = facts.filterState(key) else { return .filterState(index) }
                let bytes = Array(value.utf8)
                guard matcher.matches(bytes.span) else { return .filterState(index) }
            }
            return nil
        }
    }

    // Inlined, or all of the matcher would be copied for each request that it is asked about.
    @inline(__always)
    func matches(
        _ request: borrowing some RequestView & ~Copyable & ~Escapable, path otherPath: [UInt8]? = nil, random: UInt64,
        facts: some RouteFacts
    ) -> Bool { refusal(request, path: otherPath, random: random, facts: facts) == nil }

    /// The first condition that the request does not meet; nil when it meets all.
    @inline(__always)
    func refusal(
        _ request: borrowing some RequestView & ~Copyable & ~Escapable, path otherPath: [UInt8]? = nil, random: UInt64,
        facts: some RouteFacts
    ) -> RouteCondition? {
        let requestPath = request.path
        if let otherPath {
            guard path.matches(path: otherPath.span) else { return .path }
        } else if case .connect = path {
            guard Bytes.equal(request.method, Self.connectMethod.span) else { return .path }
        } else if requestPath.isEmpty || !path.matches(path: requestPath) {
            // CONNECT has no path: only `connect_matcher` takes it.
            return .path
        }
        for index in headers.indices where !headers[index].matches(request) { return .header(index) }
        if !queryParameters.isEmpty {
            let query = requestPath.extracting(Query.range(requestPath))
            for index in queryParameters.indices where !queryParameters[index].matches(query: query) {
                return .queryParameter(index)
            }
        }
        if grpcOnly, !Self.isGRPC(request) { return .grpc }
        if let runtimeFraction, !runtimeFraction.fraction(facts).includes(random: random) { return .runtimeFraction }
        return rest?.refusal(request, facts)
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

extension HeaderTemplate {
    /// The name of spans; nil where none is set.
    public init?(spanName text: String?, at path: String) throws(ConfigurationError) {
        guard let text, !text.isEmpty else { return nil }
        do throws(HeaderTemplateError) { try self.init(parsing: text) } catch {
            throw ConfigurationError(at: path, error.description)
        }
    }
}

/// What tracing needs of a route: `decorator` and `tracing`.
public final class RouteTracing: Sendable {
    /// Name of the span (`decorator.operation`); empty leaves the listener's.
    public let operation: String
    /// The span's name where it is made of what happened (`tracing.operation`); it goes before `operation`.
    public let spanName: HeaderTemplate?
    /// The name of the spans of its tries (`tracing.upstream_operation`).
    public let tryName: HeaderTemplate?
    /// Whether the name goes on in `x-envoy-decorator-operation`.
    public let propagatesOperation: Bool
    /// Share of requests traced because the client asks for it.
    public let clientSampling: Fraction?
    /// Share of requests traced by chance.
    public let randomSampling: Fraction?
    /// Share of what would be traced that is.
    public let overallSampling: Fraction?
    /// Tags of spans.
    public let customTags: [CustomTag]

    init(_ decorator: Decorator?, _ tracing: Tracing?, _ path: FieldPath) throws(ConfigurationError) {
        operation = decorator?.operation ?? ""
        propagatesOperation = decorator?.propagate ?? true
        func share(_ message: FractionalPercent?, _ field: String) throws(ConfigurationError) -> Fraction? {
            try message.map { (message) throws(ConfigurationError) in
                try Fraction(compiling: message, path / "tracing" / field)
            }
        }
        if let tracing {
            try FieldCheck.check(
                tracing, path / "tracing",
                handles:
                    "client_sampling random_sampling overall_sampling custom_tags operation upstream_operation")
        }
        spanName = try HeaderTemplate(spanName: tracing?.operation, at: (path / "tracing.operation").text)
        tryName = try HeaderTemplate(
            spanName: tracing?.upstreamOperation, at: (path / "tracing.upstream_operation").text)
        clientSampling = try share(tracing?.clientSampling, "client_sampling")
        randomSampling = try share(tracing?.randomSampling, "random_sampling")
        overallSampling = try share(tracing?.overallSampling, "overall_sampling")
        customTags = tracing?.customTags ?? []
    }
}
