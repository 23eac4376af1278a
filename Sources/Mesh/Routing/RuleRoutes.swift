import EnvoyAPI
import KubernetesAPI
import Serialization

/// For whom routes are made: the caller and the port they listen on.
///
/// Source filters are decided here (R-6).
struct RouteScope {
    var model: MeshModel
    /// Namespace of the proxy.
    var namespace: String
    /// Labels of the proxy's pod.
    var labels: [String: String]
    /// `mesh` for sidecars, the gateways of one port for gateways.
    var gateways: Set<String>
    var port: Int
}

/// The routes that one VirtualService gives, in order (H-1).
struct RuleRoutes {
    let scope: RouteScope
    let rule: MeshModel.Rule

    /// The routes; nothing after a catch-all is generated (H-2).
    func routes() -> [Route] {
        var routes: [Route] = []
        for (index, http) in rule.http.enumerated() {
            for (position, match) in conditions(http).enumerated() {
                guard applies(match) else { continue }
                let routeMatch = Matches.route(match)
                // A route that cannot be compiled is set aside alone; what it would have hidden is reached (ATK-36).
                if rule.setAside[index] != nil { continue }
                routes += make(http, match, routeMatch, index, position)
                if Matches.isCatchAll(routeMatch) { return routes }
            }
        }
        return routes
    }

    /// The routes of one entry for every caller.
    func unfiltered(_ index: Int) -> [Route] {
        guard rule.http.indices.contains(index) else { return [] }
        let http = rule.http[index]
        return conditions(http).enumerated().flatMap { position, match in
            make(http, match, Matches.route(match), index, position)
        }
    }

    private func conditions(_ http: VirtualService.HTTPRoute) -> [VirtualService.HTTPMatchRequest?] {
        http.match.isEmpty ? [nil] : http.match
    }

    /// Where a route is written.
    private func place(_ index: Int) -> RoutePlace {
        rule.places.indices.contains(index)
            ? rule.places[index] : RoutePlace(object: rule.key, index: index, matches: 0)
    }

    /// R-5, R-6: gateways, port, labels and namespace of the caller.
    private func applies(_ match: VirtualService.HTTPMatchRequest?) -> Bool {
        guard let match else { return true }
        if let port = match.port, port != scope.port { return false }
        if !match.gateways.isEmpty {
            return match.gateways.contains {
                scope.gateways.contains(MeshModel.Rule.gateway($0, namespace: rule.key.namespace))
            }
        }
        if !match.sourceNamespace.isEmpty && match.sourceNamespace != scope.namespace { return false }
        return match.sourceLabels.allSatisfy { scope.labels[$0.key] == $0.value }
    }

    private func make(
        _ http: VirtualService.HTTPRoute, _ match: VirtualService.HTTPMatchRequest?, _ routeMatch: RouteMatch,
        _ index: Int, _ position: Int
    ) -> [Route] {
        let written = place(index)
        let field = written.matches.indices.contains(position) ? written.matches[position] : written.field
        let place = Provenance(kind: "VirtualService", object: written.object, field: field)
        var route = Route()
        route.statPrefix = match?.statPrefix ?? ""
        route.name = [http.name, match?.name ?? ""].filter { !$0.isEmpty }.joined(separator: ".")  // H-20
        route.match = routeMatch
        route.metadata = place.metadata
        route.requestHeadersToAdd = Actions.additions(http.headers?.request)
        route.requestHeadersToRemove = Actions.removals(http.headers?.request)
        route.responseHeadersToAdd = Actions.additions(http.headers?.response)
        route.responseHeadersToRemove = Actions.removals(http.headers?.response)
        if let fault = http.fault.flatMap(Actions.fault) {
            route.typedPerFilterConfig[FilterNames.fault] = AnyMessage(packing: fault)
        }
        if let policy = http.corsPolicy {
            route.typedPerFilterConfig[FilterNames.cors] = AnyMessage(packing: Actions.cors(policy))
        }
        if let redirect = http.redirect {
            route.action = .redirect(Actions.redirect(redirect))
            return [route]
        }
        if let direct = http.directResponse {
            route.action = .directResponse(
                Actions.directResponse(status: direct.status, text: direct.bodyString, base64: direct.bodyBase64))
            return [route]
        }
        guard var action = forward(http, match, &route, written.object.namespace) else {
            route.action = .directResponse(Actions.directResponse(status: 503, text: "no destination has a weight"))
            return [route]
        }
        action.timeout = http.timeout ?? .zero  // T-1: none
        action.hashPolicy = HashPolicies(scope: scope).policies(http.route, ruleNamespace: written.object.namespace)
        action.requestMirrorPolicies = http.mirrors.compactMap { mirror(to: $0, written.object.namespace) }
        let retries = RetryPolicies.outbound(
            http.retries, config: scope.model.config, isHashed: !action.hashPolicy.isEmpty)
        return RuleRoutes.expand(route, action, retries, method: match?.method)
    }

    /// The routes of one match with its retry policies: two when they depend on the method (X-1).
    static func expand(
        _ route: Route, _ action: RouteAction, _ retries: RetryChoice, method: StringMatch? = nil
    ) -> [Route] {
        func with(_ policy: RetryPolicy?, idempotentOnly: Bool = false) -> Route {
            var route = route
            var action = action
            action.retryPolicy = policy
            route.action = .route(action)
            if idempotentOnly {
                route.match?.headers.append(Matches.header(":method", regex: RetryPolicies.idempotentMethods))
            }
            return route
        }
        switch retries {
        case .off: return [with(nil)]
        case .always(let policy): return [with(policy)]
        case .byMethod(let idempotent, let others):
            if case .exact(let name) = method {
                let isIdempotent = RetryPolicies.idempotentMethods.split(separator: "|").contains(Substring(name))
                return [with(isIdempotent ? idempotent : others)]
            }
            return [with(idempotent, idempotentOnly: true), with(others)]
        }
    }

    /// The action that forwards; `nil` when no destination has a weight (H-8).
    private func forward(
        _ http: VirtualService.HTTPRoute, _ match: VirtualService.HTTPMatchRequest?, _ route: inout Route,
        _ ruleNamespace: String
    ) -> RouteAction? {
        var action = RouteAction()
        rewrite(http, match, &action)
        let destinations = http.route
        if let only = destinations.first, destinations.count == 1 {  // H-7: it receives everything
            action.clusterSpecifier = .cluster(clusterName(only, ruleNamespace))
            route.requestHeadersToAdd += Actions.additions(only.headers?.request)
            route.requestHeadersToRemove += Actions.removals(only.headers?.request)
            route.responseHeadersToAdd += Actions.additions(only.headers?.response)
            route.responseHeadersToRemove += Actions.removals(only.headers?.response)
            if action.hostRewriteSpecifier == nil, let authority = Actions.authority(only.headers?.request) {
                action.hostRewriteSpecifier = .hostRewriteLiteral(authority)
            }
            return action
        }
        var clusters = WeightedCluster()
        clusters.clusters = destinations.filter { $0.weight > 0 }.map { destination in
            var entry = WeightedCluster.ClusterWeight()
            entry.name = clusterName(destination, ruleNamespace)
            entry.weight = UInt32(clamping: destination.weight)
            entry.requestHeadersToAdd = Actions.additions(destination.headers?.request)
            entry.requestHeadersToRemove = Actions.removals(destination.headers?.request)
            entry.responseHeadersToAdd = Actions.additions(destination.headers?.response)
            entry.responseHeadersToRemove = Actions.removals(destination.headers?.response)
            if action.hostRewriteSpecifier == nil, let authority = Actions.authority(destination.headers?.request) {
                entry.hostRewriteSpecifier = .hostRewriteLiteral(authority)
            }
            return entry
        }
        guard !clusters.clusters.isEmpty else { return nil }
        action.clusterSpecifier = .weightedClusters(clusters)
        return action
    }

    /// H-13, H-14: path and authority on the way to the destination.
    private func rewrite(
        _ http: VirtualService.HTTPRoute, _ match: VirtualService.HTTPMatchRequest?, _ action: inout RouteAction
    ) {
        if let rewrite = http.rewrite {
            if !rewrite.regexMatch.isEmpty {
                action.regexRewrite = substitution(rewrite.regexMatch, rewrite.regexRewrite)
            } else if !rewrite.uri.isEmpty {
                switch match?.uri {
                case .prefix(let prefix) where rewrite.uri == "/" && !prefix.hasSuffix("/"):
                    // H-13: "/foo" to "/" must make "/bar" of "/foo/bar", never "//bar".
                    let insensitive = match?.ignoreUriCase == true ? "(?i)" : ""
                    action.regexRewrite = substitution(insensitive + "^" + quoted(prefix) + "(/?)(.*)", "/\\2")
                case .regex:
                    // Istio replaces the whole path when the match has no literal part to replace.
                    action.regexRewrite = substitution("^[^?]*", rewrite.uri)
                default: action.prefixRewrite = rewrite.uri
                }
            }
            if !rewrite.authority.isEmpty { action.hostRewriteSpecifier = .hostRewriteLiteral(rewrite.authority) }
        }
        if let authority = Actions.authority(http.headers?.request) {
            action.hostRewriteSpecifier = .hostRewriteLiteral(authority)
        }
    }

    private func substitution(_ pattern: String, _ replacement: String) -> RegexMatchAndSubstitute {
        var message = RegexMatchAndSubstitute()
        message.pattern = Matches.regex(pattern)
        message.substitution = replacement
        return message
    }

    /// Text with the special characters of RE2 taken literally.
    private func quoted(_ text: String) -> String { RegexText.quoted(text) }

    /// H-16: an absent percentage copies every request, an explicit zero none.
    private func mirror(
        to policy: VirtualService.HTTPMirrorPolicy, _ ruleNamespace: String
    ) -> RouteAction.RequestMirrorPolicy? {
        guard policy.percentage > 0 else { return nil }
        var message = RouteAction.RequestMirrorPolicy()
        message.cluster = clusterName(policy.destination, ruleNamespace)
        if policy.percentage < 100 {
            var fraction = RuntimeFractionalPercent()
            fraction.defaultValue = Actions.percent(policy.percentage)
            message.runtimeFraction = fraction
        }
        message.traceSampled = false
        return message
    }

    private func clusterName(_ destination: VirtualService.Destination, _ ruleNamespace: String) -> String {
        Destinations.clusterName(
            destination, ruleNamespace: ruleNamespace, model: scope.model, listenerPort: scope.port)
    }
}

/// Plain text inside regular expressions.
enum RegexText {
    /// Text with the special characters of RE2 taken literally.
    static func quoted(_ text: String) -> String {
        var quoted = ""
        for character in text {
            if "\\.+*?()|[]{}^$".contains(character) { quoted.append("\\") }
            quoted.append(character)
        }
        return quoted
    }
}

/// Names of HTTP filters, as the proxy and Envoy know them.
enum FilterNames {
    static let fault = "envoy.filters.http.fault"
    static let cors = "envoy.filters.http.cors"
    static let tlsInspector = "envoy.filters.listener.tls_inspector"
    static let router = "envoy.filters.http.router"
    static let istioStats = "istio.stats"
    static let connectionManager = "envoy.filters.network.http_connection_manager"
    static let networkFilterState = "envoy.filters.network.set_filter_state"
    static let tcpProxy = "envoy.filters.network.tcp_proxy"
    static let originalDestination = "envoy.filters.listener.original_dst"
    static let httpInspector = "envoy.filters.listener.http_inspector"
    static let tokens = "envoy.filters.http.jwt_authn"
    static let rbac = "envoy.filters.http.rbac"
    static let externalAuthorization = "envoy.filters.http.ext_authz"
    static let networkRBAC = "envoy.filters.network.rbac"
    static let networkExternalAuthorization = "envoy.filters.network.ext_authz"
}

/// From destinations of rules to cluster names.
enum Destinations {
    /// `outbound|PORT|SUBSET|HOST`; an unknown host keeps its name, so that traffic gets 503 NC (H-10).
    static func clusterName(
        _ destination: VirtualService.Destination, ruleNamespace: String, model: MeshModel, listenerPort: Int
    ) -> String {
        let written = HostName.expanded(destination.host, ruleNamespace: ruleNamespace)
        let service = model.service(host: written)
        // H-9: the only port of the service, else the listener's.
        let port = destination.port ?? (service?.ports.count == 1 ? service?.ports.first?.number : nil) ?? listenerPort
        return clusterName(host: service?.host ?? written, port: port, subset: destination.subset)
    }

    static func clusterName(host: String, port: Int, subset: String = "") -> String {
        "outbound|\(port)|\(subset)|\(host)"
    }

    /// What such a name is made of; `nil` for names of another kind.
    static func parts(_ cluster: String) -> (host: String, port: Int, subset: String)? {
        let words = cluster.split(separator: "|", omittingEmptySubsequences: false)
        guard words.count == 4, words[0] == "outbound", let port = Int(words[1]) else { return nil }
        return (String(words[3]), port, String(words[2]))
    }
}
