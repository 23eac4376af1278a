public import EnvoyAPI
public import Serialization

extension RouteTable {
    /// Compiles a route configuration.
    ///
    /// - Parameter path: Where the configuration stands, put before every path in an error.
    /// - Parameter filters: Compiles what `typed_per_filter_config` holds for the HTTP filters, which the proxy knows.
    public convenience init(
        compiling message: RouteConfiguration, path: String = "", filters: RouteFilterCompiler? = nil
    ) throws(ConfigurationError) {
        let root = FieldPath(path)
        try FieldCheck.check(
            message, root,
            handles:
                "name virtual_hosts response_headers_to_add response_headers_to_remove request_headers_to_add request_headers_to_remove most_specific_header_mutations_wins validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching typed_per_filter_config"
        )
        var compiler = try RouteCompiler(message, root, filters)
        var domains = DomainTable()
        var virtualHosts: [VirtualHost] = []
        var names: Set<String> = []
        for (index, host) in message.virtualHosts.enumerated() {
            let place = (root / "virtual_hosts")[index]
            guard !host.name.isEmpty else { throw (place / "name").error("is empty") }
            guard names.insert(host.name).inserted else {
                throw (place / "name").error("\(host.name): another virtual host has this name already")
            }
            guard !host.domains.isEmpty else { throw (place / "domains").error("is empty; write * for every host") }
            for (number, domain) in host.domains.enumerated() {
                if let refusal = domains.insert(domain, index) {
                    throw (place / "domains")[number].error(refusal)
                }
            }
            virtualHosts.append(try compiler.virtualHost(host, place))
        }
        self.init(
            name: message.name, virtualHosts: virtualHosts, clusterNames: compiler.clusterNames,
            validatesClusters: message.validateClusters ?? false, domains: domains,
            ignoresPort: message.ignorePortInHostMatching)
    }
}

/// Changes of one level: table, virtual host, route or weighted cluster.
struct MutationLevel {
    var request: [HeaderMutation] = []
    var response: [HeaderMutation] = []
}

/// Compiles the configuration of an HTTP filter for a route; nil when no filter takes the message.
public typealias RouteFilterCompiler =
    @Sendable (_ name: String, _ message: AnyMessage, _ path: String) throws(ConfigurationError) -> (any Sendable)?

/// What `typed_per_filter_config` says at one level, laid over the levels above.
struct PerFilterConfig {
    let compiler: RouteFilterCompiler?
    /// By filter name, the most general level first.
    var configs: [String: [any Sendable]] = [:]
    /// Filters switched off or on.
    var switches: [String: Bool] = [:]

    func overlaid(_ messages: [String: AnyMessage], _ path: FieldPath) throws(ConfigurationError) -> PerFilterConfig {
        guard !messages.isEmpty else { return self }
        var result = self
        for (name, any) in messages.sorted(by: { $0.key < $1.key }) {
            try result.overlay(name, any, isOptional: false, path[name])
        }
        return result
    }

    /// Takes a field of the route or virtual host itself that belongs to a filter: its name stands for the filter's.
    mutating func add<M: Message>(field name: String, _ message: M, _ path: FieldPath) throws(ConfigurationError) {
        guard let compiled = try compiler?(name, AnyMessage(packing: message), path.text) else {
            throw path.unsupported()
        }
        configs[name, default: []].append(compiled)
    }

    private mutating func overlay(
        _ name: String, _ any: AnyMessage, isOptional: Bool, _ path: FieldPath
    ) throws(ConfigurationError) {
        if any.holds(FilterConfig.self) {
            let config: FilterConfig
            do throws(MessageError) {
                config = try any.unpack(as: FilterConfig.self)
            } catch {
                throw ConfigurationError(at: error.path.isEmpty ? path.text : (path / error.path).text, error.problem)
            }
            switches[name] = !config.disabled
            if !config.disabled, let inner = config.config {
                try overlay(name, inner, isOptional: config.isOptional, path / "config")
            }
        } else if let compiled = try compiler?(name, any, path.text) {
            configs[name, default: []].append(compiled)
            if switches[name] == nil || switches[name] == false { switches[name] = true }
        } else if !isOptional {
            throw path.unsupported("no filter takes \(any.typeURL) per route")
        }
    }
}

/// Compiles the levels of one route configuration.
struct RouteCompiler {
    private(set) var clusterNames: [String] = []
    private var clusterIndexes: [String: Int] = [:]
    private let tableMutations: MutationLevel
    private let tableFilters: PerFilterConfig
    private let mostSpecificWins: Bool
    private let directBodyBytesMax: Int

    init(
        _ message: RouteConfiguration, _ path: FieldPath, _ filters: RouteFilterCompiler?
    ) throws(ConfigurationError) {
        tableMutations = MutationLevel(
            request: try HeaderMutation.list(
                add: message.requestHeadersToAdd, path / "request_headers_to_add",
                remove: message.requestHeadersToRemove, path / "request_headers_to_remove"),
            response: try HeaderMutation.list(
                add: message.responseHeadersToAdd, path / "response_headers_to_add",
                remove: message.responseHeadersToRemove, path / "response_headers_to_remove"))
        tableFilters = try PerFilterConfig(compiler: filters).overlaid(
            message.typedPerFilterConfig, path / "typed_per_filter_config")
        mostSpecificWins = message.mostSpecificHeaderMutationsWins
        directBodyBytesMax = Int(message.maxDirectResponseBodySizeBytes ?? 4096)
    }

    mutating func virtualHost(
        _ message: EnvoyAPI.VirtualHost, _ path: FieldPath
    ) throws(ConfigurationError) -> VirtualHost {
        try FieldCheck.check(
            message, path,
            handles:
                "name domains routes require_tls request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove typed_per_filter_config include_request_attempt_count include_attempt_count_in_response retry_policy per_request_buffer_limit_bytes request_body_buffer_limit metadata cors rate_limits"
        )
        let level = MutationLevel(
            request: try HeaderMutation.list(
                add: message.requestHeadersToAdd, path / "request_headers_to_add",
                remove: message.requestHeadersToRemove, path / "request_headers_to_remove"),
            response: try HeaderMutation.list(
                add: message.responseHeadersToAdd, path / "response_headers_to_add",
                remove: message.responseHeadersToRemove, path / "response_headers_to_remove"))
        var filters = try tableFilters.overlaid(message.typedPerFilterConfig, path / "typed_per_filter_config")
        if let cors = message.cors { try filters.add(field: "cors", cors, path / "cors") }
        if !message.rateLimits.isEmpty {
            var limits = EnvoyAPI.VirtualHost()
            limits.rateLimits = message.rateLimits
            try filters.add(field: "rate_limits", limits, path)
        }
        let retryPolicy: RetryPolicy?
        if let retry = message.retryPolicy {
            retryPolicy = try RetryPolicy(compiling: retry, path / "retry_policy")
        } else {
            retryPolicy = nil
        }
        let context = HostContext(
            mutations: level, filters: filters, retryPolicy: retryPolicy, message: message,
            bufferBytesMax: message.requestBodyBufferLimit.map { UInt32(clamping: $0) }
                ?? message.perRequestBufferLimitBytes)
        var tlsRedirect: Route?
        switch message.requireTls {
        case .none: break
        case .all:
            var redirect = Redirect()
            redirect.scheme = Array("https".utf8)
            tlsRedirect = Route(
                name: "", match: RouteMatcher(path: .prefix([], ignoringCase: false)), action: .redirect(redirect))
        case .externalOnly: throw (path / "require_tls").unsupported("EXTERNAL_ONLY")
        case .unrecognized(let number): throw (path / "require_tls").error("\(number) is no requirement")
        }
        var routes: [Route] = []
        for (index, route) in message.routes.enumerated() {
            routes.append(try self.route(route, (path / "routes")[index], context))
        }
        return VirtualHost(
            name: message.name, routes: routes, tlsRedirect: tlsRedirect,
            provenance: message.metadata?.filterMetadata["skein.provenance"])
    }

    private struct HostContext {
        var mutations: MutationLevel
        var filters: PerFilterConfig
        var retryPolicy: RetryPolicy?
        var message: EnvoyAPI.VirtualHost
        var bufferBytesMax: UInt32?
    }

    private mutating func route(
        _ message: EnvoyAPI.Route, _ path: FieldPath, _ host: HostContext
    ) throws(ConfigurationError) -> Route {
        try FieldCheck.check(
            message, path,
            handles:
                "name match route redirect direct_response non_forwarding_action metadata typed_per_filter_config request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove per_request_buffer_limit_bytes request_body_buffer_limit"
        )
        guard let match = message.match else { throw (path / "match").error("is missing") }
        let level = MutationLevel(
            request: try HeaderMutation.list(
                add: message.requestHeadersToAdd, path / "request_headers_to_add",
                remove: message.requestHeadersToRemove, path / "request_headers_to_remove"),
            response: try HeaderMutation.list(
                add: message.responseHeadersToAdd, path / "response_headers_to_add",
                remove: message.responseHeadersToRemove, path / "response_headers_to_remove"))
        var filters = try host.filters.overlaid(message.typedPerFilterConfig, path / "typed_per_filter_config")
        if case .route(let forward) = message.action {
            if let cors = forward.cors { try filters.add(field: "cors", cors, path / "route.cors") }
            if !forward.rateLimits.isEmpty || forward.includeVhRateLimits != nil {
                var limits = RouteAction()
                limits.rateLimits = forward.rateLimits
                limits.includeVhRateLimits = forward.includeVhRateLimits
                try filters.add(field: "rate_limits", limits, path / "route")
            }
        }
        let mutations = flatten([level, host.mutations, tableMutations])
        let matcher = try RouteMatcher(compiling: match, path / "match")
        let action: Route.Action
        switch message.action {
        case .route(let forward):
            var forwarding = try self.forwarding(
                forward, path / "route", [level, host.mutations, tableMutations], filters)
            if forward.retryPolicy == nil { forwarding.retryPolicy = host.retryPolicy }
            action = .forward(forwarding)
        case .redirect(let redirect): action = .redirect(try Redirect(compiling: redirect, path / "redirect"))
        case .directResponse(let response):
            action = .directResponse(
                try DirectResponse(
                    compiling: response, path / "direct_response", bodyBytesMax: directBodyBytesMax))
        case .nonForwardingAction: action = .nonForwarding
        case .filterAction: throw (path / "filter_action").unsupported()
        case nil: throw path.error("has no action: set one of route, redirect, direct_response")
        }
        return Route(
            name: message.name, match: matcher, action: action,
            provenance: message.metadata?.filterMetadata["skein.provenance"], filterConfigs: filters.configs,
            filterSwitches: filters.switches, requestMutations: mutations.request,
            responseMutations: mutations.response,
            includesAttemptCount: host.message.includeRequestAttemptCount,
            includesAttemptCountInResponse: host.message.includeAttemptCountInResponse,
            bufferBytesMax: message.requestBodyBufferLimit.map { UInt32(clamping: $0) }
                ?? message.perRequestBufferLimitBytes ?? host.bufferBytesMax)
    }

    /// One list in the order of application: the most specific level first, so that the table has the last word, unless
    /// `most_specific_header_mutations_wins` turns that round.
    private func flatten(_ levels: [MutationLevel]) -> MutationLevel {
        let ordered = mostSpecificWins ? levels.reversed() : levels
        return MutationLevel(request: ordered.flatMap(\.request), response: ordered.flatMap(\.response))
    }

    /// The index of a cluster in `clusterNames`, which grows as needed.
    mutating func clusterIndex(_ name: String) -> Int {
        if let index = clusterIndexes[name] { return index }
        clusterIndexes[name] = clusterNames.count
        clusterNames.append(name)
        return clusterNames.count - 1
    }

    mutating func forwarding(
        _ message: RouteAction, _ path: FieldPath, _ levels: [MutationLevel], _ filters: PerFilterConfig
    ) throws(ConfigurationError) -> Forwarding {
        try FieldCheck.check(
            message, path,
            handles:
                "cluster cluster_header weighted_clusters cluster_not_found_response_code prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite host_rewrite_header append_x_forwarded_host timeout idle_timeout retry_policy priority hash_policy max_grpc_timeout upgrade_configs max_stream_duration cors rate_limits include_vh_rate_limits"
        )
        let destination: Forwarding.Destination
        switch message.clusterSpecifier {
        case .cluster(let name):
            guard !name.isEmpty else { throw (path / "cluster").error("is empty") }
            let mutations = flatten(levels)
            destination = .cluster(
                ClusterTarget(
                    cluster: name, index: clusterIndex(name), requestMutations: mutations.request,
                    responseMutations: mutations.response, hostRewrite: nil))
        case .clusterHeader(let name):
            guard !name.isEmpty, !name.hasPrefix(":") else {
                throw (path / "cluster_header").error("\(name): must be the name of a header")
            }
            destination = .header(HeaderName(name))
        case .weightedClusters(let clusters):
            destination = .weighted(try weighted(clusters, path / "weighted_clusters", levels))
        case .clusterSpecifierPlugin: throw (path / "cluster_specifier_plugin").unsupported()
        case .inlineClusterSpecifierPlugin: throw (path / "inline_cluster_specifier_plugin").unsupported()
        case nil: throw path.error("names no cluster: set one of cluster, cluster_header, weighted_clusters")
        }
        var forwarding = Forwarding(destination: destination)
        try forwarding.take(message, path)
        return forwarding
    }

    private mutating func weighted(
        _ message: WeightedCluster, _ path: FieldPath, _ levels: [MutationLevel]
    ) throws(ConfigurationError) -> WeightedClusters {
        try FieldCheck.check(message, path, handles: "clusters")
        var targets: [ClusterTarget] = []
        var weights: [UInt32] = []
        for (index, cluster) in message.clusters.enumerated() {
            let place = (path / "clusters")[index]
            try FieldCheck.check(
                cluster, place,
                handles:
                    "name weight request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove typed_per_filter_config host_rewrite_literal"
            )
            guard !cluster.name.isEmpty else { throw (place / "name").error("is empty") }
            guard let weight = cluster.weight else { throw (place / "weight").error("is missing") }
            let level = MutationLevel(
                request: try HeaderMutation.list(
                    add: cluster.requestHeadersToAdd, place / "request_headers_to_add",
                    remove: cluster.requestHeadersToRemove, place / "request_headers_to_remove"),
                response: try HeaderMutation.list(
                    add: cluster.responseHeadersToAdd, place / "response_headers_to_add",
                    remove: cluster.responseHeadersToRemove, place / "response_headers_to_remove"))
            let mutations = flatten([level] + levels)
            let own = try PerFilterConfig(compiler: tableFilters.compiler).overlaid(
                cluster.typedPerFilterConfig, place / "typed_per_filter_config")
            guard !own.switches.values.contains(false) else {
                throw (place / "typed_per_filter_config").unsupported(
                    "filters are switched off at the route or above")
            }
            var hostRewrite: [UInt8]?
            if case .hostRewriteLiteral(let host) = cluster.hostRewriteSpecifier, !host.isEmpty {
                hostRewrite = try Forwarding.checkedHost(host, place / "host_rewrite_literal")
            }
            targets.append(
                ClusterTarget(
                    cluster: cluster.name, index: clusterIndex(cluster.name), requestMutations: mutations.request,
                    responseMutations: mutations.response, hostRewrite: hostRewrite,
                    filterConfigs: own.configs.isEmpty ? nil : own.configs))
            weights.append(weight)
        }
        guard !targets.isEmpty else { throw (path / "clusters").error("is empty") }
        let total = weights.reduce(UInt64(0)) { $0 + UInt64($1) }
        guard total > 0 else { throw (path / "clusters").error("all weights are 0: no request could go anywhere") }
        guard total <= UInt64(UInt32.max) else {
            throw (path / "clusters").error("the weights add up to \(total), above \(UInt32.max)")
        }
        return WeightedClusters(targets: targets, weights: weights)
    }
}
