internal import CEL

/// How a route is found, step by step: what `RouteTable.route` looked at before its answer.
///
/// The answer itself is that function's; why an earlier route was not taken is what its own conditions say (`RouteMatcher.refusal`).
public struct RouteExplanation: Sendable {
    /// A domain that was looked up.
    public struct DomainTrial: Sendable, Hashable {
        /// `reviews.example.com`, `*.example.com`, `reviews.*` or `*`.
        public let pattern: String
        /// The virtual host that has it, by index; nil when none does.
        public let virtualHost: Int?
    }

    /// A route that was looked at.
    public struct RouteTrial: Sendable, Hashable {
        /// Its place in the virtual host: `routes[2]`.
        public let path: String
        /// Its name; empty when it has none.
        public let name: String
        /// The condition that the request does not meet; nil for the route that is taken.
        public let refusal: Refusal?
    }

    /// A condition that a request does not meet.
    public struct Refusal: Sendable, Hashable {
        /// The field below the route: `match.headers[0]`.
        public let path: String
        /// What was wanted, and what there was.
        public let reason: String
    }

    /// What is compared with the domains; nil when a header should have said it and is not there.
    public internal(set) var authority: String?
    /// The field that says it, where it is not the authority (`vhost_header`).
    public internal(set) var authorityHeader: String?
    /// The domains that were looked up, the last one being the one that was found, if any was.
    public internal(set) var domains: [DomainTrial] = []
    /// The virtual host, by index.
    public internal(set) var virtualHost: Int?
    /// The virtual host answers with a redirect to TLS before any route (`require_tls`).
    public internal(set) var redirectsToTLS = false
    /// Its routes that were looked at, the last one being the one that is taken, if any is.
    public internal(set) var routes: [RouteTrial] = []
    /// The routes were chosen by a matcher tree.
    public internal(set) var usesTree = false
    /// The route that is taken.
    public internal(set) var route: Route?

    init() {}
}

extension RouteTable {
    /// Explains what `route(for:random:facts:)` answers for the same arguments.
    public func explain(
        _ request: borrowing some RequestView & ~Copyable & ~Escapable, random: UInt64, facts: some RouteFacts
    ) -> RouteExplanation {
        var explanation = RouteExplanation()
        let found = route(for: request, random: random, facts: facts)
        explanation.route = found?.route
        if let virtualHostHeader {
            explanation.authorityHeader = virtualHostHeader.description
            guard let index = request.nextField(named: virtualHostHeader, from: 0) else { return explanation }
            explainDomains(request.fieldValue(at: index), &explanation)
        } else {
            explainDomains(request.authority, &explanation)
        }
        guard let index = explanation.virtualHost, virtualHosts.indices.contains(index) else { return explanation }
        let host = virtualHosts[index]
        if let redirect = host.tlsRedirect, found?.route === redirect {
            explanation.redirectsToTLS = true
            return explanation
        }
        var path: [UInt8]?
        if ignoresPathParameters, Bytes.firstIndex(of: 0x3B, in: request.path) != nil {
            path = Self.withoutParameters(request.path)
        }
        func look(at route: Route, _ place: String) -> Bool {
            let condition = route.match.refusal(request, path: path, random: random, facts: facts)
            explanation.routes.append(
                RouteExplanation.RouteTrial(
                    path: place, name: route.name,
                    refusal: condition.map {
                        route.match.explain($0, request, path: path, random: random, facts: facts)
                    }))
            return condition == nil
        }
        if let tree = host.tree {
            explanation.usesTree = true
            let candidates = tree.action(for: request, facts: facts) ?? []
            for (index, route) in candidates.enumerated()
            where look(at: route, "matcher, candidate \(index + 1)") { break }
        } else {
            for (index, route) in host.routes.enumerated() where look(at: route, "routes[\(index)]") { break }
        }
        return explanation
    }

    private func explainDomains(_ authority: borrowing Span<UInt8>, _ explanation: inout RouteExplanation) {
        let count = ignoresPort ? DomainTable.countWithoutPort(authority) : authority.count
        let name = authority.extracting(0..<count)
        explanation.authority = String(decoding: Bytes.copy(name), as: UTF8.self)
        explanation.domains = domains.trials(name).map {
            RouteExplanation.DomainTrial(pattern: $0.pattern, virtualHost: $0.value)
        }
        explanation.virtualHost = domains.find(name)
    }

    /// Fields of requests that the routes look at: conditions, names of clusters and virtual hosts, hash policies.
    ///
    /// Pseudo headers are not among them.
    public var relevantHeaders: Set<HeaderName> {
        var names: Set<HeaderName> = []
        if let virtualHostHeader { names.insert(virtualHostHeader) }
        for host in virtualHosts {
            for route in host.routes { route.addRelevantHeaders(to: &names) }
            host.tree?.addRelevantHeaders(to: &names)
            for cluster in host.virtualClusters { for header in cluster.headers { names.insert(header.name) } }
        }
        return names.filter { !$0.isPseudo }
    }
}

extension MatchTree where Action == [Route] {
    fileprivate func addRelevantHeaders(to names: inout Set<HeaderName>) {
        func take(_ outcome: Outcome) {
            switch outcome {
            case .action(let routes): for route in routes { route.addRelevantHeaders(to: &names) }
            case .tree(let tree): tree.addRelevantHeaders(to: &names)
            }
        }
        func take(_ input: MatchInput) { if case .header(let name) = input { names.insert(name) } }
        func take(_ predicate: MatchPredicate) {
            switch predicate {
            case .value(let input, _), .addresses(let input, _): take(input)
            case .expression(let condition): names.formUnion(condition.program.headerNames.map { HeaderName($0) })
            case .any(let inner), .all(let inner): for one in inner { take(one) }
            case .not(let inner): take(inner)
            }
        }
        switch kind {
        case .list(let entries):
            for entry in entries {
                take(entry.predicate)
                take(entry.outcome)
            }
        case .exact(let input, let map):
            take(input)
            for outcome in map.values { take(outcome) }
        case .prefix(let input, let entries):
            take(input)
            for entry in entries { take(entry.outcome) }
        case .addresses(let input, let map):
            take(input)
            for entry in map.all { take(entry.outcome) }
        case .nothing: break
        }
        if let otherwise { take(otherwise) }
    }
}

extension Route {
    private static let contentType = HeaderName("content-type")
    private static let cookie = HeaderName("cookie")

    fileprivate func addRelevantHeaders(to names: inout Set<HeaderName>) {
        for header in match.headers { names.insert(header.name) }
        if match.grpcOnly { names.insert(Self.contentType) }
        if let rest = match.rest, !rest.cookies.isEmpty { names.insert(Self.cookie) }
        guard case .forward(let forwarding) = action else { return }
        switch forwarding.destination {
        case .cluster: break
        case .header(let name, _): names.insert(name)
        case .weighted(let clusters):
            if let name = clusters.randomHeader { names.insert(name) }
            for target in clusters.targets { if let name = target.clusterHeader { names.insert(name) } }
        }
        for policy in forwarding.hashPolicies {
            switch policy.source {
            case .header(let name, _): names.insert(name)
            case .cookie: names.insert(Self.cookie)
            default: break
            }
        }
        if case .header(let name) = forwarding.hostRewrite { names.insert(name) }
    }
}
