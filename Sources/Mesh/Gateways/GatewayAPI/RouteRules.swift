import EnvoyAPI
import KubernetesAPI
import Serialization

/// One match of one rule as Envoy routes, with its rank among all others of a host (I-4, I-5).
struct RankedRoutes {
    /// Higher ranks come first; compared number by number.
    var rank: [Int]
    var routes: [Route]
}

/// The routes that an HTTPRoute or GRPCRoute gives.
struct RouteRules {
    let model: MeshModel
    let route: GatewayAPIModel.Route
    /// The port on which requests arrive, for redirects; `nil` inside of the mesh.
    let listenerPort: Int?

    private var resolver: BackendResolver {
        BackendResolver(
            objects: model.objects, grants: model.gatewayAPI.grants, services: model.serviceLookup, kind: route.kind,
            namespace: route.key.namespace, needsGrants: listenerPort != nil)
    }

    /// All matches of all rules, in the order of the route.
    func ranked() -> [RankedRoutes] {
        var found: [RankedRoutes] = []
        for (index, rule) in route.route.rules.enumerated() {
            let matches: [GatewayAPI.Match?] = rule.matches.isEmpty ? [nil] : rule.matches
            for (position, match) in matches.enumerated() {
                let field = "spec.rules[\(index)]" + (match == nil ? "" : ".matches[\(position)]")
                var made = Route()
                made.name = "\(route.key)." + (rule.name.isEmpty ? String(index) : rule.name)
                made.metadata =
                    Provenance(kind: route.kind.rawValue, object: route.key, field: field).metadata
                made.match = RouteConditions.match(match)
                found.append(
                    RankedRoutes(rank: RouteConditions.rank(match), routes: finish(made, rule, match)))
            }
        }
        return found
    }

    // MARK: Actions

    private func finish(_ route: Route, _ rule: GatewayAPI.Rule, _ match: GatewayAPI.Match?) -> [Route] {
        var route = route
        var action = RouteAction()
        let only = rule.backends.count == 1 ? rule.backends.first : nil
        // What is done for the only backend is done for the rule.
        let filters = rule.filters + (only?.filters ?? [])
        if filters.contains(where: { $0.type == "ExtensionRef" }) {
            // A filter that is not known must not be skipped.
            return [answering(500, "a filter of the route is not known", route)]
        }
        RouteFilters.headers(filters, &route, &action)
        for filter in filters {
            if let cors = filter.cors {
                route.typedPerFilterConfig[RouteFilters.corsName] = AnyMessage(packing: RouteFilters.cors(cors))
            }
            if let rewrite = filter.rewrite { RouteFilters.rewrite(rewrite, match, &action) }
            if let mirror = filter.mirror, case .cluster(let name) = resolver.resolve(mirror.backend),
                let policy = RouteFilters.mirror(mirror, to: name)
            {
                action.requestMirrorPolicies.append(policy)
            }
        }
        if let redirect = filters.lazy.compactMap(\.redirect).first {
            route.action = .redirect(RouteFilters.redirect(redirect, match, listenerPort: listenerPort))
            return [route]
        }
        if let session = rule.sessionPersistence {
            route.typedPerFilterConfig[RouteFilters.sessionName] =
                AnyMessage(packing: RouteFilters.session(session, of: self.route))
        }
        guard forward(rule, &action) else {
            // I-6, I-7: nothing valid has a share.
            return [answering(500, "no valid backend has a weight", route)]
        }
        action.timeout = rule.requestTimeout ?? .zero  // T-14: zero is none
        return RuleRoutes.expand(
            route, action, retries(rule), method: match?.method.map { .exact($0) })
    }

    private func answering(_ status: Int, _ text: String, _ route: Route) -> Route {
        var route = route
        route.action = .directResponse(Actions.directResponse(status: status, text: text))
        return route
    }

    /// I-6, I-7: weights; the share of an invalid backend gets 500.
    private func forward(_ rule: GatewayAPI.Rule, _ action: inout RouteAction) -> Bool {
        let backends = rule.backends.filter { $0.weight > 0 }.map { (reference: $0, outcome: resolver.resolve($0)) }
        guard backends.contains(where: { if case .cluster = $0.outcome { true } else { false } }) else { return false }
        if backends.count == 1, rule.backends.count == 1, case .cluster(let name) = backends.first?.outcome {
            action.clusterSpecifier = .cluster(name)
            return true
        }
        var clusters = WeightedCluster()
        clusters.clusters = backends.map { backend in
            var entry = WeightedCluster.ClusterWeight()
            entry.weight = UInt32(clamping: backend.reference.weight)
            switch backend.outcome {
            case .cluster(let name): entry.name = name
            case .invalid:
                entry.name = ClusterNames.invalidBackend
                action.clusterNotFoundResponseCode = .internalServerError
            }
            RouteFilters.headers(backend.reference.filters, &entry)
            return entry
        }
        action.clusterSpecifier = .weightedClusters(clusters)
        return true
    }

    /// T-14: what the rule says, in the words of the other API, so that there is one place that makes policies.
    private func retries(_ rule: GatewayAPI.Rule) -> RetryChoice {
        var written: [String: JSON] = [:]
        if let time = rule.backendTimeout, time > .zero {
            written["perTryTimeout"] = rule.json["timeouts"]?["backendRequest"]
        }
        if let retry = rule.retry {
            let conditions = ["connect-failure", "refused-stream", "reset"] + retry.codes.map(String.init)
            written["retryOn"] = .string(conditions.joined(separator: ","))
            if let attempts = retry.attempts { written["attempts"] = .integer(Int64(attempts)) }
            if let backoff = rule.json["retry"]?["backoff"] { written["backoff"] = backoff }
        }
        return RetryPolicies.outbound(
            written.isEmpty ? nil : VirtualService.HTTPRetry(json: .object(written)), config: model.config)
    }
}

/// Conditions of matches, and their rank.
enum RouteConditions {
    static func match(_ match: GatewayAPI.Match?) -> RouteMatch {
        var made = RouteMatch()
        made.pathSpecifier = .prefix("/")
        guard let match else { return made }
        if let method = match.grpcMethod {
            made.pathSpecifier = path(method)
        } else {
            switch match.pathType {
            case "Exact": made.pathSpecifier = .path(match.path)
            case "RegularExpression": made.pathSpecifier = .safeRegex(Matches.regex(match.path))
            default:
                let prefix = trimmed(match.path)
                made.pathSpecifier = prefix == "/" ? .prefix("/") : .pathSeparatedPrefix(prefix)
            }
            if let method = match.method { made.headers.append(Matches.header(":method", .exact(method))) }
        }
        made.headers += first(match.headers, foldsCase: true).map { condition in
            let name = condition.name.lowercased() == "host" ? ":authority" : condition.name
            return Matches.header(
                name, condition.isRegularExpression ? .regex(condition.value) : .exact(condition.value))
        }
        made.queryParameters = first(match.queryParams, foldsCase: false).map { condition in
            var matcher = QueryParameterMatcher()
            matcher.name = condition.name
            var value = StringMatcher()
            value.matchPattern =
                condition.isRegularExpression
                ? .safeRegex(Matches.regex(condition.value)) : .exact(condition.value)
            matcher.queryParameterMatchSpecifier = .stringMatch(value)
            return matcher
        }
        return made
    }

    /// I-8: of several conditions with one name the first counts.
    static func first(_ conditions: [GatewayAPI.ValueMatch], foldsCase: Bool) -> [GatewayAPI.ValueMatch] {
        var names: Set<String> = []
        return conditions.filter { names.insert(foldsCase ? $0.name.lowercased() : $0.name).inserted }
    }

    /// The path of gRPC calls: `/service/method`.
    private static func path(_ method: GatewayAPI.GRPCMethod) -> RouteMatch.PathSpecifier {
        if method.isRegularExpression {
            let service = method.service.isEmpty ? "[^/]+" : method.service
            let name = method.method.isEmpty ? "[^/]+" : method.method
            return .safeRegex(Matches.regex("/(?:\(service))/(?:\(name))"))
        }
        switch (method.service.isEmpty, method.method.isEmpty) {
        case (true, true): return .prefix("/")
        case (false, true): return .pathSeparatedPrefix("/" + method.service)
        case (true, false): return .safeRegex(Matches.regex("/[^/]+/" + RegexText.quoted(method.method)))
        case (false, false): return .path("/\(method.service)/\(method.method)")
        }
    }

    /// A trailing slash of a prefix means nothing.
    static func trimmed(_ path: String) -> String {
        var path = Substring(path)
        while path.count > 1 && path.hasSuffix("/") { path = path.dropLast() }
        return path.isEmpty ? "/" : String(path)
    }

    /// I-4: Exact before longer prefixes before shorter ones, then the method, then the count of headers, then of query
    /// parameters; for gRPC the characters of service and method, then the headers.
    ///
    /// Regular expressions stand between exact paths and prefixes, longer ones first: the API leaves that to us.
    static func rank(_ match: GatewayAPI.Match?) -> [Int] {
        guard let match else { return [0, 0, 0, 0, 0] }
        let headers = first(match.headers, foldsCase: true).count
        if let method = match.grpcMethod {
            let kind = method.isRegularExpression ? 2 : method.service.isEmpty || method.method.isEmpty ? 1 : 3
            return [kind, method.service.utf8.count, method.method.utf8.count, headers, 0]
        }
        let queries = first(match.queryParams, foldsCase: false).count
        let hasMethod = match.method == nil ? 0 : 1
        switch match.pathType {
        case "Exact": return [3, match.path.utf8.count, hasMethod, headers, queries]
        case "RegularExpression": return [2, match.path.utf8.count, hasMethod, headers, queries]
        default: return [1, trimmed(match.path).utf8.count, hasMethod, headers, queries]
        }
    }

    /// The routes in the order in which they are tried; equal ranks stay as they are: the older route, then the earlier
    /// rule, first.
    static func sorted(_ ranked: [RankedRoutes]) -> [Route] {
        ranked.enumerated().sorted { left, right in
            left.element.rank == right.element.rank
                ? left.offset < right.offset : right.element.rank.lexicographicallyPrecedes(left.element.rank)
        }.flatMap(\.element.routes)
    }
}
