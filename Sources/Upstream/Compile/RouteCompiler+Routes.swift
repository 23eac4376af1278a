internal import EnvoyAPI
internal import Serialization

// A route, and where it forwards to.
extension RouteCompiler {
    mutating func route(
        _ message: EnvoyAPI.Route, _ path: FieldPath, _ host: HostContext
    ) throws(ConfigurationError) -> Route {
        try FieldCheck.check(
            message, path,
            handles:
                "name match route redirect direct_response non_forwarding_action decorator tracing stat_prefix metadata typed_per_filter_config request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove per_request_buffer_limit_bytes request_body_buffer_limit"
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
        var rateLimits: [RateLimitRule] = []
        if case .route(let forward) = message.action {
            if let cors = forward.cors { try filters.add(field: "cors", cors, path / "route.cors") }
            rateLimits = try RateLimitRule.list(forward.rateLimits, path / "route.rate_limits")
            if !rateLimits.isEmpty || forward.includeVhRateLimits != nil {
                filters.add(
                    RateLimitLevel(
                        rules: rateLimits, isVirtualHost: false,
                        includesVirtualHost: forward.includeVhRateLimits ?? false))
            }
        }
        let mutations = flatten([level, host.mutations, tableMutations])
        let matcher = try RouteMatcher(compiling: match, path / "match")
        let action: Route.Action
        switch message.action {
        case .route(let forward):
            let destination = try destination(
                forward, path / "route", [level, host.mutations, tableMutations])
            action = .forward(
                try Forwarding(
                    forward, path / "route", to: destination, matchedBy: matcher.path,
                    hostDefaults: Forwarding.HostDefaults(
                        retryPolicy: host.retryPolicy, hedge: host.hedge, mirrors: host.mirrors)))
        case .redirect(let redirect): action = .redirect(try Redirect(compiling: redirect, path / "redirect"))
        case .directResponse(let response):
            if let format = response.bodyFormat {
                try filters.add(field: DirectResponse.formatName, format, path / "direct_response.body_format")
            }
            action = .directResponse(
                try DirectResponse(
                    compiling: response, path / "direct_response", bodyBytesMax: directBodyBytesMax, files: files))
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
                ?? message.perRequestBufferLimitBytes ?? host.bufferBytesMax,
            metadata: message.metadata.filterMetadataJSON, rateLimits: rateLimits,
            tracing: message.decorator == nil && message.tracing == nil
                ? nil : try RouteTracing(message.decorator, message.tracing, path), statPrefix: message.statPrefix)
    }

    /// One list in the order of application: the most specific level first, so that the table has the last word, unless
    /// `most_specific_header_mutations_wins` turns that round.
    private func flatten(_ levels: [MutationLevel]) -> MutationLevel {
        if levels.allSatisfy({ $0.request.isEmpty && $0.response.isEmpty }) { return MutationLevel() }
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

    /// Which cluster a route names, and how; checks the fields of the whole action.
    private mutating func destination(
        _ message: RouteAction, _ path: FieldPath, _ levels: [MutationLevel]
    ) throws(ConfigurationError) -> Forwarding.Destination {
        try FieldCheck.check(
            message, path,
            handles:
                "cluster cluster_header weighted_clusters cluster_not_found_response_code prefix_rewrite regex_rewrite host_rewrite_literal auto_host_rewrite host_rewrite_header append_x_forwarded_host timeout idle_timeout retry_policy priority hash_policy max_grpc_timeout upgrade_configs max_stream_duration metadata_match path_rewrite_policy host_rewrite_path_regex request_mirror_policies rate_limits include_vh_rate_limits grpc_timeout_offset internal_redirect_policy hedge_policy cors"
        )
        let criteria = MetadataCriteria(compiling: message.metadataMatch)
        switch message.clusterSpecifier {
        case .cluster(let name):
            guard !name.isEmpty else { throw (path / "cluster").error("is empty") }
            let mutations = flatten(levels)
            return .cluster(
                ClusterTarget(
                    cluster: name, index: clusterIndex(name), requestMutations: mutations.request,
                    responseMutations: mutations.response, hostRewrite: nil, criteria: criteria))
        case .clusterHeader(let name):
            guard !name.isEmpty, !name.hasPrefix(":") else {
                throw (path / "cluster_header").error("\(name): must be the name of a header")
            }
            return .header(HeaderName(name), criteria)
        case .weightedClusters(let clusters):
            return .weighted(try weighted(clusters, path / "weighted_clusters", levels, message.metadataMatch))
        case .clusterSpecifierPlugin: throw (path / "cluster_specifier_plugin").unsupported()
        case .inlineClusterSpecifierPlugin: throw (path / "inline_cluster_specifier_plugin").unsupported()
        case nil: throw path.error("names no cluster: set one of cluster, cluster_header, weighted_clusters")
        }
    }

    private mutating func weighted(
        _ message: WeightedCluster, _ path: FieldPath, _ levels: [MutationLevel], _ metadata: Metadata?
    ) throws(ConfigurationError) -> WeightedClusters {
        try FieldCheck.check(message, path, handles: "clusters runtime_key_prefix header_name use_hash_policy")
        var targets: [ClusterTarget] = []
        var weights: [UInt32] = []
        for (index, cluster) in message.clusters.enumerated() {
            let place = (path / "clusters")[index]
            try FieldCheck.check(
                cluster, place,
                handles:
                    "name cluster_header weight metadata_match request_headers_to_add request_headers_to_remove response_headers_to_add response_headers_to_remove typed_per_filter_config host_rewrite_literal"
            )
            guard cluster.name.isEmpty != cluster.clusterHeader.isEmpty else {
                throw (place / "name").error("set exactly one of name, cluster_header")
            }
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
                    cluster: cluster.name, index: cluster.name.isEmpty ? nil : clusterIndex(cluster.name),
                    requestMutations: mutations.request, responseMutations: mutations.response,
                    hostRewrite: hostRewrite,
                    filterConfigs: own.configs.isEmpty ? nil : own.configs,
                    criteria: MetadataCriteria(compiling: metadata, overlaid: cluster.metadataMatch),
                    clusterHeader: cluster.clusterHeader.isEmpty ? nil : HeaderName(cluster.clusterHeader)))
            weights.append(weight)
        }
        guard !targets.isEmpty else { throw (path / "clusters").error("is empty") }
        let total = weights.reduce(UInt64(0)) { $0 + UInt64($1) }
        guard total > 0 else { throw (path / "clusters").error("all weights are 0: no request could go anywhere") }
        guard total <= UInt64(UInt32.max) else {
            throw (path / "clusters").error("the weights add up to \(total), above \(UInt32.max)")
        }
        var source = WeightedClusters.RandomSource.draw
        switch message.randomValueSpecifier {
        case nil: break
        case .headerName(let name):
            guard !name.isEmpty else { throw (path / "header_name").error("is empty") }
            source = .header(HeaderName(name))
        case .useHashPolicy(let wanted): if wanted { source = .hashPolicy }
        }
        return WeightedClusters(
            targets: targets, weights: weights, source: source,
            runtimePrefix: message.runtimeKeyPrefix.isEmpty ? nil : message.runtimeKeyPrefix)
    }
}
