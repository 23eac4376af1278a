/// Fields that are taken and deliberately not acted upon, each with the reason.
///
/// `--mode validate` prints those in use.
public enum IgnoredProxyFields {
    /// Reasons by `message.field`.
    public static let table: [String: String] = [
        "envoy.config.listener.v3.Listener.traffic_direction": "informational",
        "envoy.config.listener.v3.Listener.metadata": "informational (provenance)",
        "envoy.config.listener.v3.Listener.enable_reuse_port": "each loop always has its own socket",
        "envoy.config.listener.v3.Listener.reuse_port": "each loop always has its own socket",
        "envoy.config.listener.v3.Listener.drain_type": "a changed listener drains what changed",
        "envoy.config.listener.v3.Listener.tcp_fast_open_queue_length": "TCP Fast Open is not used",
        "envoy.config.listener.v3.Listener.bypass_overload_manager": "the overload manager sees every listener",
        "envoy.config.listener.v3.Listener.max_connections_to_accept_per_socket_event":
            "a loop accepts until none waits",
        "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue.shared_with_upstream":
            "upstream connections carry no filter state",
        "envoy.config.rbac.v3.Policy.cel_config": "what it switches on is always there",
        "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter.cel_config":
            "what it switches on is always there",
        "envoy.extensions.formatter.cel.v3.Cel.cel_config": "what it switches on is always there",
        "stats.PluginConfig.debug": "what is counted is on /stats/prometheus",
        "stats.PluginConfig.field_separator": "labels are kept as labels, not in names",
        "stats.PluginConfig.value_separator": "labels are kept as labels, not in names",
        "stats.PluginConfig.max_peer_cache_size": "peers have a bound of their own",
        "stats.PluginConfig.disable_host_header_fallback": "a service is never named by a header field of the client",
        "stats.PluginConfig.rotation_interval": "series stay up to a bound, further ones count as one",
        "stats.PluginConfig.graceful_deletion_interval": "series stay up to a bound, further ones count as one",
        "envoy.extensions.compression.gzip.compressor.v3.Gzip.chunk_size": "a piece of a body is handled whole",
        "envoy.extensions.compression.gzip.decompressor.v3.Gzip.chunk_size": "a piece of a body is handled whole",
        "envoy.extensions.compression.brotli.compressor.v3.Brotli.chunk_size": "a piece of a body is handled whole",
        "envoy.extensions.compression.brotli.decompressor.v3.Brotli.chunk_size": "a piece of a body is handled whole",
        "envoy.extensions.compression.zstd.compressor.v3.Zstd.chunk_size": "a piece of a body is handled whole",
        "envoy.extensions.compression.zstd.decompressor.v3.Zstd.chunk_size": "a piece of a body is handled whole",
        "envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport.tlv_as_pool_key":
            "TLVs are always part of what a pool is found by",
        "envoy.extensions.filters.network.rbac.v3.RBAC.enforcement_type":
            "nothing that a rule asks about changes while a connection lasts: once is as good as always",
        "envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector.initial_read_buffer_size":
            "a buffer holds 16 KiB from the start",
        "envoy.extensions.filters.http.router.v3.Router.dynamic_stats": "the counters of clusters cost nothing",
        "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext.disable_stateful_session_resumption":
            "sessions are in tickets alone",
        "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext.enforce_rsa_key_usage":
            "OpenSSL looks at the key usage of servers' certificates always",
        "envoy.config.core.v3.SubstitutionFormatString.json_format_options":
            "members stand in the order of their names always",
        "envoy.extensions.filters.http.dynamic_forward_proxy.v3.SubClusterConfig.cluster_init_timeout":
            "a look-up takes at most 5 s",
        "envoy.config.core.v3.UdpSocketConfig.prefer_gro": "datagrams are received one by one",
        "envoy.config.listener.v3.UdpListenerConfig.udp_packet_packet_writer_config": "datagrams are sent one by one",
        "envoy.config.listener.v3.FilterChain.metadata": "informational (provenance)",
        "envoy.config.core.v3.Http1ProtocolOptions.allow_absolute_url": "absolute targets are always understood",
        "envoy.config.core.v3.Http1ProtocolOptions.override_stream_error_on_invalid_http_message":
            "an HTTP/1 connection with an invalid message always closes",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.InternalAddressConfig.unix_sockets":
            "a client on a unix socket is never internal",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.delayed_close_timeout":
            "one second",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.request_id_extension":
            "request ids are random UUIDs",
        "envoy.extensions.filters.http.jwt_authn.v3.JwksAsyncFetch.fast_listener":
            "a request always waits for the first fetch of its keys, a listener never",
        "envoy.extensions.bootstrap.internal_listener.v3.InternalListener.buffer_size_kb":
            "connections to internal listeners have the kernel's buffers",
        "envoy.config.bootstrap.v3.Bootstrap.node_context_params": "they belong to xdstp names, which are not used",
        "envoy.config.bootstrap.v3.Bootstrap.flags_path": "there are no flag files",
        "envoy.config.bootstrap.v3.Bootstrap.deferred_stat_options": "metrics are always made when they are needed",
        "envoy.config.bootstrap.v3.Bootstrap.stats_flush_on_admin": "sinks are flushed at intervals",
        "envoy.config.bootstrap.v3.Bootstrap.stats_server_version_override": "there is no such gauge",
        "envoy.config.bootstrap.v3.Bootstrap.watchdog": "there is no watchdog",
        "envoy.config.bootstrap.v3.Bootstrap.watchdogs": "there is no watchdog",
        "envoy.config.bootstrap.v3.Bootstrap.enable_dispatcher_stats": "there are no statistics of the loops",
        "envoy.config.bootstrap.v3.Bootstrap.fatal_actions": "nothing runs when a process dies",
        "envoy.config.bootstrap.v3.Bootstrap.default_socket_interface": "there is one socket interface",
        "envoy.config.bootstrap.v3.Bootstrap.inline_headers": "every header is found equally fast",
        "envoy.config.bootstrap.v3.Bootstrap.perf_tracing_file_path": "there is no such tracing",
        "envoy.config.bootstrap.v3.Bootstrap.default_regex_engine": "RE2 is the engine",
        "envoy.config.bootstrap.v3.Bootstrap.listener_manager": "there is one kind of listeners",
        "envoy.config.bootstrap.v3.Bootstrap.grpc_async_client_manager_config": "calls are not cached",
        "envoy.config.bootstrap.v3.Bootstrap.memory_allocator_manager": "the allocator gives memory back by itself",
        "envoy.config.bootstrap.v3.ClusterManager.local_cluster_name":
            "hosts of the own zone come from the endpoints' localities alone",
        "envoy.config.bootstrap.v3.ClusterManager.outlier_detection": "ejections are in the log",
        "envoy.config.bootstrap.v3.ClusterManager.enable_deferred_cluster_creation": "a cluster costs little unused",
        "envoy.config.overload.v3.OverloadManager.buffer_factory_config":
            "what a stream buffers is always accounted for",
        "envoy.config.core.v3.ConfigSource.authorities": "they belong to xdstp names, which are not used",
        "envoy.config.core.v3.ApiConfigSource.refresh_delay": "it is for REST",
        "envoy.config.core.v3.ApiConfigSource.request_timeout": "it is for REST",
        "envoy.config.core.v3.ApiConfigSource.rate_limit_settings": "requests follow responses; they are few",
        "envoy.config.core.v3.ApiConfigSource.set_node_on_first_message_only":
            "the node is always in the first message only",
        "envoy.config.core.v3.GrpcService.timeout": "a stream has no end; each message has its own time",
        "envoy.config.core.v3.GrpcService.EnvoyGrpc.max_receive_message_length": "64 MiB",
        "envoy.config.core.v3.GrpcService.EnvoyGrpc.skip_envoy_headers": "there are none on discovery streams",
        "envoy.config.core.v3.GrpcService.EnvoyGrpc.retry_policy": "a stream that breaks is opened again",
        "envoy.config.core.v3.GrpcService.retry_policy": "a stream that breaks is opened again",
        "envoy.config.bootstrap.v3.Admin.access_log": "the admin server keeps no access log",
        "envoy.config.bootstrap.v3.Admin.access_log_path": "the admin server keeps no access log",
        "envoy.config.bootstrap.v3.Admin.profile_path": "there is no profiler",
        "envoy.config.bootstrap.v3.Bootstrap.stats_eviction_interval":
            "series stay up to a bound, further ones count as one",
        "envoy.config.bootstrap.v3.Bootstrap.DynamicResources.cds_resources_locator": "wildcard subscription",
        "envoy.config.bootstrap.v3.Bootstrap.DynamicResources.lds_resources_locator": "wildcard subscription",
    ]

    /// Type URLs of filters that are taken and do nothing, with the reason.
    public static let filters: [String: String] = [:]

    /// Why a field is ignored; nil when it is not.
    public static func reason(message: String, field: String) -> String? { table["\(message).\(field)"] }
}
