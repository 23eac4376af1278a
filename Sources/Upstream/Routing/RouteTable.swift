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

    private let domains: DomainTable
    private let ignoresPort: Bool

    init(
        name: String, virtualHosts: [VirtualHost], clusterNames: [String], validatesClusters: Bool,
        domains: DomainTable, ignoresPort: Bool
    ) {
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
    ) -> (route: Route, virtualHost: VirtualHost)? {
        guard let host = virtualHost(for: request.authority) else { return nil }
        return host.route(for: request, random: random).map { ($0, host) }
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
    /// The answer to plain-text requests when the virtual host wants TLS for all.
    let tlsRedirect: Route?

    init(name: String, routes: [Route], tlsRedirect: Route? = nil, provenance: JSON? = nil) {
        self.name = name
        self.provenance = provenance
        self.routes = routes
        self.tlsRedirect = tlsRedirect
    }

    func route(for request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64) -> Route? {
        if let tlsRedirect, !Bytes.equal(request.scheme, Self.https.span, ignoringCase: true) { return tlsRedirect }
        for route in routes where route.match.matches(request, random: random) { return route }
        return nil
    }

    private static let https = Array("https".utf8)
}
