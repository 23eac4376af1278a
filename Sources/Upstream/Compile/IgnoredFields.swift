/// The fields that are accepted without an effect, with the reason; all others are acted on or refused.
public enum IgnoredFields {
    private static let noRuntime = "the filter looks no runtime key up: the default value counts always"
    private static let onlyStatistics = "it only names or adds metrics"
    private static let onlyDownstream = "it concerns connections from clients, not those to hosts"
    private static let ownSocket = "each question has a socket of its own"
    private static let noReload = "files are read once, by whoever writes the configuration"

    /// Reasons by message (full name) and field.
    public static let reasons: [String: [String: String]] = [
        "envoy.config.route.v3.WeightedCluster": [
            "total_weight": "the total is the sum of the weights, as in Envoy since 1.26"
        ],
        "envoy.config.route.v3.RouteAction": [
            "early_data_policy": "Skein takes no TLS early data"
        ],
        "envoy.config.core.v3.DataSource": ["watched_directory": noReload],
        "envoy.extensions.filters.http.fault.v3.HTTPFault": [
            "delay_percent_runtime": noRuntime, "abort_percent_runtime": noRuntime,
            "delay_duration_runtime": noRuntime, "abort_http_status_runtime": noRuntime,
            "max_active_faults_runtime": noRuntime, "response_rate_limit_percent_runtime": noRuntime,
            "abort_grpc_status_runtime": noRuntime,
        ],
        "envoy.config.cluster.v3.Cluster": [
            "track_timeout_budgets": onlyStatistics, "track_cluster_stats": onlyStatistics,
            "preconnect_policy": "connections are opened when they are needed",
            "wait_for_warm_on_init": "a cluster is used when its first endpoints are there",
        ],
        "envoy.config.cluster.v3.CircuitBreakers.Thresholds": [
            "max_connection_pools": "each host has one pool on each loop"
        ],
        "envoy.config.route.v3.RouteAction.RequestMirrorPolicy": ["trace_sampled": "mirrored requests have no spans"],
        "envoy.config.core.v3.KeepaliveSettings": ["connection_idle_interval": "PINGs go at their interval alone"],
        "envoy.config.cluster.v3.Cluster.CommonLbConfig": [
            "ignore_new_hosts_until_first_hc": "a new host waits for its first check always",
            "update_merge_window": "endpoint updates are applied at once (X-6)",
        ],
        "envoy.config.cluster.v3.UpstreamConnectionOptions": [
            "set_local_interface_name_on_upstream_connections": onlyStatistics,
            "happy_eyeballs_config": "each host has one address",
        ],
        "envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig": [
            "udp_max_queries": ownSocket, "max_udp_channel_duration": ownSocket,
            "reinit_channel_on_timeout": ownSocket,
            "edns0_max_payload_size": "answers of up to 1,232 bytes come in a datagram, longer ones by TCP",
        ],
        "envoy.extensions.network.dns_resolver.getaddrinfo.v3.GetAddrInfoDnsResolverConfig": [
            "num_retries": "a question that failed is asked again as the cluster says",
            "num_resolver_threads": "no thread waits for an answer",
        ],
        "envoy.extensions.load_balancing_policies.peak_ewma.v3alpha.PeakEwma": [
            "aggregation_interval": "each answer counts at once", "max_samples_per_host": "each answer counts at once",
        ],
        "envoy.config.endpoint.v3.ClusterLoadAssignment": [:],
        "envoy.config.endpoint.v3.ClusterLoadAssignment.Policy": [
            "endpoint_stale_after": "the last endpoints stay until there are new ones (decision 10: live on)"
        ],
        "envoy.config.endpoint.v3.LocalityLbEndpoints": [
            "metadata": "nothing reads it", "proximity": "nothing reads it; Envoy does not either",
        ],
        "envoy.config.core.v3.SocketAddress": ["ipv4_compat": "it concerns listeners"],
        "envoy.config.core.v3.HealthCheck": [
            "reuse_connection": "each check has its own connection",
            "event_log_path": "changes of health are logged with everything else",
            "event_logger": "changes of health are logged with everything else",
            "always_log_health_check_failures": "changes of health are logged with everything else",
            "always_log_health_check_success": "changes of health are logged with everything else",
        ],
        "envoy.config.core.v3.HttpProtocolOptions": ["headers_with_underscores_action": onlyDownstream],
        "envoy.config.core.v3.Http1ProtocolOptions": [
            "allow_absolute_url": onlyDownstream, "accept_http_10": onlyDownstream,
            "default_host_for_http_10": onlyDownstream, "use_balsa_parser": "Skein has one parser",
            "override_stream_error_on_invalid_http_message": onlyDownstream,
            "allow_chunked_length": "both lengths at once are refused always (P-2)",
        ],
        "envoy.config.core.v3.Http2ProtocolOptions": [
            "allow_metadata": "METADATA frames are nobody's standard; they are skipped",
            "use_oghttp2_codec": "Skein has one codec", "max_metadata_size": "METADATA frames are skipped",
            "enable_huffman_encoding": "text is coded in whichever way is shorter",
        ],
    ]
}
