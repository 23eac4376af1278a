public import Serialization

/// A compiled `RouteConfiguration`: which route a request takes.
///
/// Immutable; replaced whole. A look-up with prefix, exact and header conditions allocates nothing.
public final class RouteTable: Sendable {
    /// The configuration's name.
    public let name: String
    /// The virtual hosts in their order.
    public let virtualHosts: [VirtualHost]
    /// Every cluster that a route names, once each: `ClusterTarget.index` points here.
    public let clusterNames: [String]
    /// Whether naming an unknown cluster makes the configuration invalid; the proxy checks, who knows the clusters.
    public let validatesClusters: Bool

    /// Request fields that only the inside may send (`internal_only_headers`).
    public let internalOnlyHeaders: [HeaderName]
    /// `metadata.filter_metadata`.
    public let metadata: JSON?

    let domains: DomainTable
    let ignoresPort: Bool
    let ignoresPathParameters: Bool
    let virtualHostHeader: HeaderName?

    init(
        name: String, virtualHosts: [VirtualHost], clusterNames: [String], validatesClusters: Bool,
        domains: DomainTable, ignoresPort: Bool, ignoresPathParameters: Bool = false,
        virtualHostHeader: HeaderName? = nil, internalOnlyHeaders: [HeaderName] = [], metadata: JSON? = nil
    ) {
        self.ignoresPathParameters = ignoresPathParameters
        self.virtualHostHeader = virtualHostHeader
        self.internalOnlyHeaders = internalOnlyHeaders
        self.metadata = metadata
        self.name = name
        self.virtualHosts = virtualHosts
        self.clusterNames = clusterNames
        self.validatesClusters = validatesClusters
        self.domains = domains
        self.ignoresPort = ignoresPort
    }

    /// The virtual host for an authority.
    public func virtualHost(for authority: borrowing Span<UInt8>) -> VirtualHost? {
        let count = ignoresPort ? DomainTable.countWithoutPort(authority) : authority.count
        return domains.find(authority.extracting(0..<count)).map { virtualHosts[$0] }
    }

    /// The route for a request; nil is 404, flag NR.
    ///
    /// - Parameter random: One draw per request. As in Envoy all `runtime_fraction` conditions look at the same one: of two routes
    ///   with 50 % each, the second gets nothing.
    public func route(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64
    ) -> (route: Route, virtualHost: VirtualHost)? { route(for: request, random: random, facts: NoFacts()) }

    /// The route for a request, of which more than its head is known.
    public func route(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64, facts: some RouteFacts
    ) -> (route: Route, virtualHost: VirtualHost)? {
        let host: VirtualHost?
        if let virtualHostHeader {
            guard let index = request.nextField(named: virtualHostHeader, from: 0) else { return nil }
            host = virtualHost(for: request.fieldValue(at: index))
        } else {
            host = virtualHost(for: request.authority)
        }
        guard let host else { return nil }
        if ignoresPathParameters, Bytes.firstIndex(of: 0x3B, in: request.path) != nil {
            let path = Self.withoutParameters(request.path)
            return host.route(for: request, path: path, random: random, facts: facts).map { ($0, host) }
        }
        return host.route(for: request, random: random, facts: facts).map { ($0, host) }
    }

    /// A path without what follows `;` in its elements.
    static func withoutParameters(_ path: borrowing Span<UInt8>) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(path.count)
        let end = PathMatcher.pathEnd(path)
        var index = 0
        while index < end {
            if path[index] == 0x3B {
                while index < end, path[index] != 0x2F { index += 1 }
            } else {
                result.append(path[index])
                index += 1
            }
        }
        Bytes.append(path.extracting(end..<path.count), to: &result)
        return result
    }
}

/// One virtual host: the domains it answers for and its routes, of which the first that matches wins (H-1).
public final class VirtualHost: Sendable {
    /// Its name.
    public let name: String
    /// Its routes in order.
    public let routes: [Route]
    /// Where it comes from: `metadata.filter_metadata["skein.provenance"]`.
    public let provenance: JSON?
    /// The answer to plain-text requests when the virtual host wants TLS.
    let tlsRedirect: Route?
    /// Only requests from outside need TLS.
    let asksOutsideForTLS: Bool
    /// Decides in place of `routes`.
    let tree: MatchTree<[Route]>?
    /// Rate limit descriptors of the virtual host.
    public let rateLimits: [RateLimitRule]
    /// Requests that are counted apart.
    public let virtualClusters: [VirtualCluster]
    /// Whether a retry after a timeout says so in `x-envoy-is-timeout-retry`.
    public let includesTimeoutRetryHeader: Bool
    /// `metadata.filter_metadata`.
    public let metadata: JSON?

    init(
        name: String, routes: [Route], tlsRedirect: Route? = nil, asksOutsideForTLS: Bool = false,
        tree: MatchTree<[Route]>? = nil, rateLimits: [RateLimitRule] = [], virtualClusters: [VirtualCluster] = [],
        includesTimeoutRetryHeader: Bool = false, metadata: JSON? = nil
    ) {
        self.name = name
        self.routes = routes
        self.tlsRedirect = tlsRedirect
        self.asksOutsideForTLS = asksOutsideForTLS
        self.tree = tree
        self.rateLimits = rateLimits
        self.virtualClusters = virtualClusters
        self.includesTimeoutRetryHeader = includesTimeoutRetryHeader
        self.metadata = metadata
        provenance = metadata?["skein.provenance"]
    }

    /// The index of the virtual cluster that a request counts for; nil is none.
    public func virtualCluster(for request: borrowing some RequestView & ~Copyable & ~Escapable) -> Int? {
        for index in virtualClusters.indices where virtualClusters[index].matches(request) { return index }
        return nil
    }

    /// - Parameter path: In place of the request's own; nil is that.
    func route(
        for request: borrowing some RequestView & ~Copyable & ~Escapable, path: [UInt8]? = nil, random: UInt64,
        facts: some RouteFacts
    ) -> Route? {
        if let tlsRedirect, !Bytes.equal(request.scheme, Self.https.span, ignoringCase: true),
            !asksOutsideForTLS || !facts.isInternal
        {
            return tlsRedirect
        }
        if let tree {
            // The routes that the tree leads to decide, as in Envoy: when none of them takes the request, nothing does.
            for route in tree.action(for: request, facts: facts) ?? []
            where route.match.matches(request, path: path, random: random, facts: facts) {
                return route
            }
            return nil
        }
        for route in routes where route.match.matches(request, path: path, random: random, facts: facts) {
            return route
        }
        return nil
    }

    static let https = Array("https".utf8)
}
