public import EnvoyAPI
public import Serialization

extension RouteTable {
    /// Compiles a route configuration.
    ///
    /// - Parameter path: Where the configuration stands, put before every path in an error.
    /// - Parameter filters: Compiles what `typed_per_filter_config` holds for the HTTP filters, which the proxy knows.
    /// - Parameter files: Reads the files that direct responses name; nil refuses them.
    public convenience init(
        compiling message: RouteConfiguration, path: String = "", filters: RouteFilterCompiler? = nil,
        files: RouteFileReader? = nil
    ) throws(ConfigurationError) {
        let root = FieldPath(path)
        try FieldCheck.check(
            message, root,
            handles:
                "name virtual_hosts response_headers_to_add response_headers_to_remove request_headers_to_add request_headers_to_remove most_specific_header_mutations_wins validate_clusters max_direct_response_body_size_bytes ignore_port_in_host_matching typed_per_filter_config internal_only_headers request_mirror_policies ignore_path_parameters_in_path_matching vhost_header metadata"
        )
        var compiler = try RouteCompiler(message, root, filters, files)
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
            ignoresPort: message.ignorePortInHostMatching,
            ignoresPathParameters: message.ignorePathParametersInPathMatching,
            virtualHostHeader: message.vhostHeader.isEmpty ? nil : HeaderName(message.vhostHeader),
            internalOnlyHeaders: message.internalOnlyHeaders.map { HeaderName($0) },
            metadata: message.metadata.filterMetadataJSON)
    }
}

/// Reads a file of a configuration; the error is the reason alone.
public typealias RouteFileReader = @Sendable (_ path: String) -> [UInt8]?

extension Metadata? {
    /// `filter_metadata`; nil when there is none.
    var filterMetadataJSON: JSON? {
        guard let members = self?.filterMetadata, !members.isEmpty else { return nil }
        return .object(members)
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
        // Nobody who reads it: the table alone is wanted.
        guard let compiler else { return }
        guard let compiled = try compiler(name, AnyMessage(packing: message), path.text) else { return }
        configs[name, default: []].append(compiled)
    }

    /// Takes the rate limits of a route or virtual host.
    mutating func add(_ level: RateLimitLevel) {
        guard compiler != nil else { return }
        configs[RateLimitLevel.name, default: []].append(level)
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
            // An empty configuration only switches on.
            if !config.disabled, let inner = config.config, !inner.typeURL.isEmpty {
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
    var clusterNames: [String] = []
    var clusterIndexes: [String: Int] = [:]
    let tableMutations: MutationLevel
    let tableFilters: PerFilterConfig
    let mostSpecificWins: Bool
    let directBodyBytesMax: Int
    let tableMirrors: [MirrorPolicy]
    let files: RouteFileReader?

    init(
        _ message: RouteConfiguration, _ path: FieldPath, _ filters: RouteFilterCompiler?, _ files: RouteFileReader?
    ) throws(ConfigurationError) {
        self.files = files
        tableMirrors = try MirrorPolicy.list(message.requestMirrorPolicies, path / "request_mirror_policies")
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
                "name domains routes cors matcher virtual_clusters rate_limits hedge_policy include_is_timeout_retry_header request_mirror_policies require_tls request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove typed_per_filter_config include_request_attempt_count include_attempt_count_in_response retry_policy per_request_buffer_limit_bytes request_body_buffer_limit metadata"
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
        let rateLimits = try RateLimitRule.list(message.rateLimits, path / "rate_limits")
        if !rateLimits.isEmpty {
            filters.add(RateLimitLevel(rules: rateLimits, isVirtualHost: true, includesVirtualHost: false))
        }
        let retryPolicy: RetryPolicy?
        if let retry = message.retryPolicy {
            retryPolicy = try RetryPolicy(compiling: retry, path / "retry_policy")
        } else {
            retryPolicy = nil
        }
        let mirrors = try MirrorPolicy.list(message.requestMirrorPolicies, path / "request_mirror_policies")
        let context = HostContext(
            mutations: level, filters: filters, retryPolicy: retryPolicy,
            hedge: try message.hedgePolicy.map { (policy) throws(ConfigurationError) in
                try HedgePolicy(compiling: policy, path / "hedge_policy")
            }, mirrors: mirrors.isEmpty ? tableMirrors : mirrors, message: message,
            bufferBytesMax: message.requestBodyBufferLimit.map { UInt32(clamping: $0) }
                ?? message.perRequestBufferLimitBytes)
        var tlsRedirect: Route?
        switch message.requireTls {
        case .none: break
        case .all, .externalOnly:
            var redirect = Redirect()
            redirect.scheme = Array("https".utf8)
            tlsRedirect = Route(
                name: "", match: RouteMatcher(path: .prefix([], ignoringCase: false)), action: .redirect(redirect))
        case .unrecognized(let number): throw (path / "require_tls").error("\(number) is no requirement")
        }
        var routes: [Route] = []
        for (index, route) in message.routes.enumerated() {
            routes.append(try self.route(route, (path / "routes")[index], context))
        }
        var tree: MatchTree<[Route]>?
        if let matcher = message.matcher {
            guard routes.isEmpty else { throw (path / "matcher").error("stands beside routes; set one") }
            tree = try self.tree(matcher, path / "matcher", context)
        }
        var clusters: [VirtualCluster] = []
        for (index, cluster) in message.virtualClusters.enumerated() {
            let place = (path / "virtual_clusters")[index]
            guard !cluster.name.isEmpty else { throw (place / "name").error("is empty") }
            clusters.append(
                VirtualCluster(
                    name: cluster.name, headers: try HeaderMatcher.list(cluster.headers, place / "headers")))
        }
        return VirtualHost(
            name: message.name, routes: routes, tlsRedirect: tlsRedirect,
            asksOutsideForTLS: message.requireTls == .externalOnly, tree: tree,
            rateLimits: rateLimits, virtualClusters: clusters,
            includesTimeoutRetryHeader: message.includeIsTimeoutRetryHeader,
            metadata: message.metadata.filterMetadataJSON)
    }

    /// A matcher tree whose actions are routes or lists of routes.
    private mutating func tree(
        _ matcher: EnvoyAPI.Matcher, _ path: FieldPath, _ context: HostContext
    ) throws(ConfigurationError) -> MatchTree<[Route]> {
        // The tree's compiler calls back, which a mutating function cannot hand out; a copy does the work.
        let box = CompilerBox(self)
        let tree = try MatchTree<[Route]>(compiling: matcher, path) { (any, place) throws(ConfigurationError) in
            if any.holds(EnvoyAPI.Route.self) {
                return [
                    try box.compiler.route(try Unpacked.message(any, as: EnvoyAPI.Route.self, place), place, context)
                ]
            }
            guard any.holds(RouteList.self) else { throw place.unsupported(any.name) }
            var routes: [Route] = []
            for (index, route) in try Unpacked.message(any, as: RouteList.self, place).routes.enumerated() {
                routes.append(try box.compiler.route(route, (place / "routes")[index], context))
            }
            return routes
        }
        self = box.compiler
        return tree
    }

    private final class CompilerBox {
        var compiler: RouteCompiler
        init(_ compiler: RouteCompiler) { self.compiler = compiler }
    }

    struct HostContext {
        var mutations: MutationLevel
        var filters: PerFilterConfig
        var retryPolicy: RetryPolicy?
        var hedge: HedgePolicy?
        var mirrors: [MirrorPolicy]
        var message: EnvoyAPI.VirtualHost
        var bufferBytesMax: UInt32?
    }
}
