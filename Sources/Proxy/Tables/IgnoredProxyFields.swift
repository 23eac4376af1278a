/// Fields that are taken and deliberately not acted upon, each with the reason.
///
/// `--mode validate` prints those in use.
public enum IgnoredProxyFields {
    /// Reasons by `message.field`.
    public static let table: [String: String] = [
        "envoy.config.listener.v3.Listener.traffic_direction": "informational",
        "envoy.config.listener.v3.Listener.metadata": "informational (provenance)",
        "envoy.config.listener.v3.Listener.stat_prefix": "listener counters carry the address",
        "envoy.config.listener.v3.Listener.enable_reuse_port": "each loop always has its own socket",
        "envoy.config.listener.v3.Listener.reuse_port": "each loop always has its own socket",
        "envoy.config.listener.v3.Listener.per_connection_buffer_limit_bytes": "buffers are bounded by 64 KiB each way",
        "envoy.config.listener.v3.Listener.drain_type": "a changed listener drains what changed",
        "envoy.config.listener.v3.Listener.connection_balance_config": "the kernel balances connections over loops",
        "envoy.config.listener.v3.Listener.tcp_fast_open_queue_length": "TCP Fast Open is not used",
        "envoy.config.listener.v3.Listener.ignore_global_conn_limit": "there is no global limit to ignore",
        "envoy.config.listener.v3.Listener.bypass_overload_manager": "there is no overload manager",
        "envoy.config.listener.v3.Listener.max_connections_to_accept_per_socket_event":
            "a loop accepts until none waits",
        "envoy.extensions.filters.common.set_filter_state.v3.FilterStateValue.shared_with_upstream":
            "upstream connections carry no filter state",
        "envoy.config.listener.v3.FilterChain.metadata": "informational (provenance)",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.tracing":
            "spans come with the telemetry milestone; trace headers pass through",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.codec_type":
            "HTTP/1.1 is spoken; HTTP2 alone is refused",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.http2_protocol_options":
            "downstream HTTP/2 comes with the next milestone",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.http_protocol_options":
            "the strict defaults apply",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.internal_address_config":
            "no address is internal (P-5)",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.stream_error_on_invalid_http_message":
            "an HTTP/1.1 connection with an invalid message always closes",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.delayed_close_timeout":
            "one second",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.drain_timeout":
            "HTTP/1.1 connections drain at their next response",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.request_id_extension":
            "request ids are random UUIDs",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.access_log_options":
            "a line is written when the request ends",
        "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager.proxy_100_continue":
            "the proxy itself answers 100-continue",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.hash_policy":
            "hash balancing of TCP comes with the next milestone",
        "envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy.access_log_options": "a line is written at the end",
        "envoy.config.bootstrap.v3.Bootstrap.layered_runtime": "there is no runtime",
        "envoy.config.bootstrap.v3.Bootstrap.cluster_manager": "local cluster and outlier log are not used",
        "envoy.config.bootstrap.v3.Bootstrap.overload_manager": "limits are built in",
        "envoy.config.bootstrap.v3.Bootstrap.stats_flush_interval": "metrics are read, not flushed",
        "envoy.config.bootstrap.v3.Bootstrap.watchdogs": "there is no watchdog",
        "envoy.config.bootstrap.v3.Bootstrap.default_regex_engine": "RE2 is the engine",
        "envoy.config.bootstrap.v3.Admin.access_log": "the admin server keeps no access log",
        "envoy.config.bootstrap.v3.Admin.access_log_path": "the admin server keeps no access log",
        "envoy.config.bootstrap.v3.Admin.profile_path": "there is no profiler",
        "envoy.config.bootstrap.v3.Bootstrap.DynamicResources.cds_resources_locator": "wildcard subscription",
    ]

    /// Type URLs of filters that are taken and do nothing, with the reason.
    public static let filters: [String: String] = [
        "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig": "gRPC counters come with HTTP/2",
    ]

    /// Why a field is ignored; nil when it is not.
    public static func reason(message: String, field: String) -> String? { table["\(message).\(field)"] }
}
