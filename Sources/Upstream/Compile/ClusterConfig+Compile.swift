public import EnvoyAPI
internal import Serialization

extension ClusterConfig {
    /// Compiles a cluster.
    public init(compiling message: Cluster, path: String = "") throws(ConfigurationError) {
        self.init(try Settings(compiling: message, FieldPath(path)))
    }
}

extension ClusterConfig.Settings {
    init(compiling message: Cluster, _ root: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, root,
            handles:
                "transport_socket_matches name alt_stat_name type cluster_type eds_cluster_config connect_timeout per_connection_buffer_limit_bytes lb_policy load_assignment health_checks max_requests_per_connection circuit_breakers common_http_protocol_options http_protocol_options http2_protocol_options typed_extension_protocol_options dns_refresh_rate dns_jitter dns_failure_refresh_rate respect_dns_ttl dns_lookup_family dns_resolvers use_tcp_for_dns_lookups dns_resolution_config typed_dns_resolver_config outlier_detection cleanup_interval upstream_bind_config ring_hash_lb_config maglev_lb_config original_dst_lb_config least_request_lb_config round_robin_lb_config common_lb_config lb_subset_config load_balancing_policy transport_socket metadata protocol_selection upstream_connection_options close_connections_on_host_health_failure ignore_health_on_host_removal upstream_http_protocol_options"
        )
        let message = try message.withType(root)
        guard !message.name.isEmpty else { throw (root / "name").error("is empty") }
        self.init(name: message.name, discovery: try Self.discovery(message, root))
        statName = message.altStatName
        if let assignment = message.loadAssignment {
            try takeEndpoints(assignment, root / "load_assignment")
        } else if discovery == .logicalDNS {
            throw (root / "load_assignment").error("is missing: LOGICAL_DNS needs exactly one endpoint")
        }
        try takeBalancing(message, root)
        connectTimeout = try .checked(message.connectTimeout, default: .seconds(5), root / "connect_timeout")
        guard connectTimeout > .zero else { throw (root / "connect_timeout").error("must be above 0") }
        bufferBytes = message.perConnectionBufferLimitBytes
        if let breakers = message.circuitBreakers {
            limits = try ResourceLimits(compiling: breakers, root / "circuit_breakers")
        }
        try takeProtocols(message, root)
        try takeDNS(message, root)
        if let detection = message.outlierDetection {
            outlierDetection = try OutlierDetection(compiling: detection, root / "outlier_detection")
        }
        guard message.healthChecks.count < 2 else {
            throw (root / "health_checks")[1].error("a cluster has one health check (as in Envoy)")
        }
        for (index, check) in message.healthChecks.enumerated() {
            healthChecks.append(try HealthCheckConfig(compiling: check, (root / "health_checks")[index]))
        }
        if let bind = message.upstreamBindConfig { try takeBind(bind, root / "upstream_bind_config") }
        if let options = message.upstreamConnectionOptions {
            try takeConnection(options, root / "upstream_connection_options")
        }
        cleanupInterval = try .checked(message.cleanupInterval, default: .seconds(5), root / "cleanup_interval")
        closesConnectionsOnHostHealthFailure = message.closeConnectionsOnHostHealthFailure
        ignoresHealthOnHostRemoval = message.ignoreHealthOnHostRemoval
        if let filterMetadata = message.metadata?.filterMetadata, !filterMetadata.isEmpty {
            metadata = .object(filterMetadata)
        }
    }

    var isOriginalDestination: Bool {
        if case .originalDestination = discovery { true } else { false }
    }

    private static func discovery(_ message: Cluster, _ path: FieldPath) throws(ConfigurationError) -> Discovery {
        var type = Cluster.DiscoveryType.static
        switch message.clusterDiscoveryType {
        case nil: break
        case .type(let value): type = value
        case .clusterType(let custom):
            let place = path / "cluster_type.typed_config"
            if let any = custom.typedConfig, any.holds(DynamicForwardProxyCluster.self) {
                return try dynamicForwardProxy(
                    try Unpacked.message(any, as: DynamicForwardProxyCluster.self, place), message, place)
            }
            guard let any = custom.typedConfig, any.holds(AggregateClusterConfig.self) else {
                throw (path / "cluster_type").unsupported(custom.name)
            }
            let aggregate = try Unpacked.message(any, as: AggregateClusterConfig.self, place)
            guard !aggregate.clusters.isEmpty else { throw (place / "clusters").error("is empty") }
            for (index, name) in aggregate.clusters.enumerated() where name == message.name || name.isEmpty {
                throw (place / "clusters")[index].error("\(name): a cluster cannot be made of itself")
            }
            return .aggregate(aggregate.clusters)
        }
        if type != .eds, message.edsClusterConfig != nil {
            throw (path / "eds_cluster_config").error("stands in a cluster whose type is not EDS")
        }
        switch type {
        case .static: return .staticEndpoints
        case .strictDns: return .strictDNS
        case .logicalDns: return .logicalDNS
        case .eds:
            let place = path / "eds_cluster_config"
            // What kind of source it is and whether there is such a one is checked by who subscribes.
            guard let config = message.edsClusterConfig, config.edsConfig != nil else {
                throw (place / "eds_config").error("is missing; write ads: {}")
            }
            return .eds(serviceName: config.serviceName.isEmpty ? message.name : config.serviceName)
        case .originalDst:
            var settings = OriginalDestination()
            if case .originalDstLbConfig(let config) = message.lbConfig {
                let place = path / "original_dst_lb_config"
                try FieldCheck.check(
                    config, place, handles: "use_http_header http_header_name upstream_port_override metadata_key")
                if let key = config.metadataKey {
                    settings.metadata = .init(
                        namespace: key.key, path: try segments(key, place / "metadata_key"))
                }
                if config.useHttpHeader {
                    settings.header = HeaderName(
                        config.httpHeaderName.isEmpty ? "x-envoy-original-dst-host" : config.httpHeaderName)
                }
                if let port = config.upstreamPortOverride {
                    guard let number = UInt16(exactly: port) else {
                        throw (place / "upstream_port_override").error("\(port) is above 65535")
                    }
                    settings.portOverride = number
                }
            }
            return .originalDestination(settings)
        case .unrecognized(let number): throw (path / "type").error("\(number) is no discovery type")
        }
    }

    private static func dynamicForwardProxy(
        _ message: DynamicForwardProxyCluster, _ cluster: Cluster, _ path: FieldPath
    ) throws(ConfigurationError) -> Discovery {
        try FieldCheck.check(
            message, path,
            handles: "dns_cache_config sub_clusters_config allow_insecure_cluster_options allow_coalesced_connections")
        if case .subClustersConfig(let config)? = message.clusterImplementationSpecifier {
            return .dynamicForwardProxy(
                try DNSCacheSettings(subClusters: config, of: cluster, path / "sub_clusters_config"),
                isInsecureAllowed: message.allowInsecureClusterOptions)
        }
        guard case .dnsCacheConfig(let cache)? = message.clusterImplementationSpecifier else {
            throw (path / "dns_cache_config").error("is missing")
        }
        // Connections to a name serve that name: which one TLS asks for and checks follows from it.
        guard !message.allowCoalescedConnections else { throw (path / "allow_coalesced_connections").unsupported() }
        return .dynamicForwardProxy(
            try DNSCacheSettings(compiling: cache, path / "dns_cache_config"),
            isInsecureAllowed: message.allowInsecureClusterOptions)
    }

    private mutating func takeEndpoints(
        _ message: ClusterLoadAssignment, _ path: FieldPath
    ) throws(ConfigurationError) {
        switch discovery {
        case .eds, .originalDestination, .aggregate, .dynamicForwardProxy:
            throw path.error("stands in a cluster that does not take its endpoints from its configuration")
        case .staticEndpoints: endpoints = try EndpointTable(compiling: message, path, allowsNames: false)
        case .strictDNS: endpoints = try EndpointTable(compiling: message, path, allowsNames: true)
        case .logicalDNS:
            let table = try EndpointTable(compiling: message, path, allowsNames: true)
            guard table.groups.count == 1, table.groups[0].endpoints.count == 1 else {
                throw (path / "endpoints").error("LOGICAL_DNS needs exactly one endpoint")
            }
            endpoints = table
        }
    }

    private mutating func takeDNS(_ message: Cluster, _ path: FieldPath) throws(ConfigurationError) {
        resolver = try .compile(
            typed: message.typedDnsResolverConfig, config: message.dnsResolutionConfig, servers: message.dnsResolvers,
            usesTCP: message.useTcpForDnsLookups, at: path.text)
        dnsFamily = try DNSFamily(compiling: message.dnsLookupFamily, path / "dns_lookup_family")
        dnsRefreshRate = try .checked(message.dnsRefreshRate, default: .seconds(5), path / "dns_refresh_rate")
        guard dnsRefreshRate >= .milliseconds(1) else { throw (path / "dns_refresh_rate").error("is below 1 ms") }
        dnsJitter = try .checked(message.dnsJitter, default: .zero, path / "dns_jitter")
        if let rate = message.dnsFailureRefreshRate {
            dnsFailureBackOff = try BackOff(compiling: rate, path / "dns_failure_refresh_rate")
        }
        respectsDNSTTL = message.respectDnsTtl
    }

    private mutating func takeBind(_ message: BindConfig, _ path: FieldPath) throws(ConfigurationError) {
        try FieldCheck.check(
            message, path,
            handles: "source_address freebind additional_source_addresses extra_source_addresses")
        func address(_ socket: SocketAddress, _ place: FieldPath) throws(ConfigurationError) -> String {
            try FieldCheck.check(socket, place, handles: "protocol address port_value")
            guard HostAddress.isIPAddress(socket.address) else {
                throw (place / "address").error("\(socket.address): is no IP address")
            }
            if case .portValue(let port) = socket.portSpecifier, port != 0 {
                throw (place / "port_value").error("\(port): a fixed source port allows one connection only; write 0")
            }
            return socket.address
        }
        if let source = message.sourceAddress { bindAddress = try address(source, path / "source_address") }
        for (index, source) in message.additionalSourceAddresses.enumerated() {
            extraBindAddresses.append(try address(source, (path / "additional_source_addresses")[index]))
        }
        for (index, extra) in message.extraSourceAddresses.enumerated() {
            let place = (path / "extra_source_addresses")[index]
            try FieldCheck.check(extra, place, handles: "address")
            guard let source = extra.address else { throw (place / "address").error("is missing") }
            extraBindAddresses.append(try address(source, place / "address"))
        }
        if message.freebind == true { throw (path / "freebind").unsupported() }
    }

    private mutating func takeConnection(
        _ message: UpstreamConnectionOptions, _ path: FieldPath
    ) throws(ConfigurationError) {
        try FieldCheck.check(message, path, handles: "tcp_keepalive")
        guard let probes = message.tcpKeepalive else { return }
        var settings = KeepAlive()
        settings.probes = probes.keepaliveProbes
        settings.timeSeconds = probes.keepaliveTime
        settings.intervalSeconds = probes.keepaliveInterval
        keepAlive = settings
    }
}
