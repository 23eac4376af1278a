"""tcp_proxy and the other network filters."""
from client import TCP, UDP, ClientTLS, Together
from config import access_log, address, bootstrap, chain, cluster, downstream_tls, hcm, listener, network_filter, route, tcp_proxy, typed
from model import Group, Upstream

GROUP = Group("tcp")
T = {"t": Upstream(kind="tcp"), "u": Upstream(kind="tcp")}
STATS = ["tcp.tcp.*", "cluster.*.upstream_cx_total", "cluster.*.upstream_cx_tx_bytes_total", "cluster.*.upstream_cx_rx_bytes_total"]


def tcp(name, *clusters, upstreams=T, listener_fields=None, filters=(), stats=STATS, **fields):
    clusters = clusters or (cluster("t"),)
    return GROUP.setup(name, bootstrap([listener(chain(*filters, tcp_proxy(**fields)), **(listener_fields or {}))], clusters), upstreams=upstreams, stats=stats)


s = tcp("plain", cluster="t")
s.case("echo", TCP(b"hello", ("read", 5), b"again", ("read", 5), "close"))
s.case("client ends first, answer comes later", TCP(b"hello", "half", "read-all"), upstream={"t": ["read-all", b"answer", "close"]})
s.case("upstream ends first", TCP(("read", 3), "read-all"), upstream={"t": [b"abc", "close"]})
s.case("upstream resets", TCP(b"x", ("read", 3), "read-all"), upstream={"t": [b"abc", 0.1, "reset"]})
s.case("client resets", TCP(b"x", ("read", 1), "reset"))
s.case("a large transfer", TCP(b"y" * 300_000, "half", "read-all"), upstream={"t": ["read-all", b"z" * 300_000, "close"]})
s.case("nothing at all", TCP("close"))
s = tcp("refused", cluster("t", ["dead"]), cluster="t")
s.case("upstream refuses", TCP(b"x", "read-all"))
s = tcp("retries", cluster("t", ["dead", "t"]), cluster="t", max_connect_attempts=3)
s.case("connects again", TCP(b"x", ("read", 1), "close"), ignore=["stats.*"])
s = tcp("no cluster", cluster("t"), cluster="nowhere")
s.case("unknown cluster", TCP(b"x", "read-all"))
s = tcp("empty", cluster("t", localities=[]), cluster="t")
s.case("no host", TCP(b"x", "read-all"))
s = tcp("idle", cluster="t", idle_timeout="0.3s")
s.case("idle timeout", TCP(b"x", ("read", 1), "read-all"))
s = tcp("duration", cluster="t", max_downstream_connection_duration="0.4s")
s.case("max connection duration", TCP(b"x", ("read", 1), "read-all"))
s = tcp("weighted", cluster("t"), cluster("u"), weighted_clusters={"clusters": [{"name": "t", "weight": 0 + 1}, {"name": "u", "weight": 1}]})
s.case("weighted clusters", TCP(b"x", ("read", 1), "close"), ignore=["log.*", "upstream.*", "stats.*"])
s = tcp("limit", cluster("t", circuit_breakers={"thresholds": [{"max_connections": 0}]}), cluster="t")
s.case("no connections allowed", TCP(b"x", "read-all"))
for version in (1, 2):
    up = cluster("t", transport_socket={"name": "p", "typed_config": typed("envoy.extensions.transport_sockets.proxy_protocol.v3.ProxyProtocolUpstreamTransport", config={"version": f"V{version}"},
        transport_socket={"name": "raw", "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")})})
    s = tcp(f"proxy protocol upstream v{version}", up, upstreams={"t": Upstream(kind="tcp", proxy_protocol=True)}, cluster="t")
    s.case(f"PROXY v{version} to the upstream", TCP(b"x", ("read", 1), "close"), ignore=["upstream.*.proxy"] if version == 2 else ["upstream.*.proxy"])
s = tcp("proxy protocol", cluster="t", listener_fields={"listener_filters": [{"name": "p", "typed_config": typed("envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol")}]})
s.case("PROXY v1 from the client", TCP(b"PROXY TCP4 9.8.7.6 1.2.3.4 1000 2000\r\nhello", ("read", 5), "close"))
s.case("PROXY v2 from the client", TCP(b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes([9, 8, 7, 6, 1, 2, 3, 4, 3, 232, 7, 208]) + b"hello", ("read", 5), "close"))
s.case("PROXY v2 LOCAL", TCP(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0hello", ("read", 5), "close"))
s.case("PROXY UNKNOWN", TCP(b"PROXY UNKNOWN\r\nhello", ("read", 5), "close"))
s.case("PROXY malformed", TCP(b"PROXY TCP9 x\r\nhello", "read-all"), logs=0)
s.case("no PROXY at all", TCP(b"hello world, this is no header", "read-all"), logs=0)

RBAC = "envoy.extensions.filters.network.rbac.v3.RBAC"


def rbac(action, principal):
    return network_filter("envoy.filters.network.rbac", RBAC, stat_prefix="net_", rules={"action": action, "policies": {"p": {"permissions": [{"any": True}], "principals": [principal]}}})


LOCAL, FAR = {"direct_remote_ip": {"address_prefix": "127.0.0.0", "prefix_len": 8}}, {"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": 8}}
for name, action, principal in [("allowed", "ALLOW", LOCAL), ("not allowed", "ALLOW", FAR), ("denied", "DENY", LOCAL), ("not denied", "DENY", FAR)]:
    s = tcp(f"rbac {name}", filters=[rbac(action, principal)], cluster="t", stats=[*STATS, "net_rbac.*"])
    s.case(f"network rbac: {name}", TCP(b"x", ("read", 1)))
s = tcp("connection limit", filters=[network_filter("envoy.filters.network.connection_limit", "envoy.extensions.filters.network.connection_limit.v3.ConnectionLimit", stat_prefix="cl", max_connections=0 + 1)], cluster="t", stats=[*STATS, "connection_limit.*"])
s.case("connection limit", Together(TCP(b"x", ("read", 1), 0.6, "close"), TCP(0.2, b"x", ("read", 1)), stagger=0.1), ignore=["log.*", "stats.tcp.*", "upstream.*"])
s = tcp("local rate limit", filters=[network_filter("envoy.filters.network.local_ratelimit", "envoy.extensions.filters.network.local_ratelimit.v3.LocalRateLimit", stat_prefix="lr", token_bucket={"max_tokens": 2, "tokens_per_fill": 1, "fill_interval": "60s"})], cluster="t", stats=[*STATS, "local_rate_limit.*"])
s.case("local rate limit of connections", *[TCP(b"x", ("read", 1), "close")] * 3, logs=3)
s = GROUP.setup("direct response", bootstrap([listener(chain(network_filter("d", "envoy.extensions.filters.network.direct_response.v3.Config", response={"inline_string": "bye"})))]))
s.case("direct response", TCP("read-all", logs=0))
s = GROUP.setup("echo", bootstrap([listener(chain(network_filter("e", "envoy.extensions.filters.network.echo.v3.Echo")))]))
s.case("echo filter", TCP(b"abc", ("read", 3), "half", "read-all", logs=0))

INSPECTOR = {"listener_filters": [{"name": "tls", "typed_config": typed("envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector")}]}
s = GROUP.setup("sni", bootstrap([listener(chain(network_filter("s", "envoy.extensions.filters.network.sni_cluster.v3.SniCluster"), tcp_proxy("t"), filter_chain_match={"server_names": ["u", "*.example"]}), chain(tcp_proxy("t")), **INSPECTOR)],
    [cluster("t", ["t"]), cluster("u", ["u"])]), upstreams={"t": Upstream(kind="tcp"), "u": Upstream(kind="tcp", tls={})}, stats=STATS)
s.case("sni cluster", TCP(b"x", ("read", 1), "close", tls=ClientTLS(sni="u")), ignore=["upstream.*.body"])
s.case("plain bytes take the other chain", TCP(b"hello world", ("read", 11), "close"))

CHAINS = [
    chain(network_filter("d", "envoy.extensions.filters.network.direct_response.v3.Config", response={"inline_string": text}), name=text, filter_chain_match=match)
    for text, match in [("prefix8", {"source_prefix_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}), ("prefix32", {"source_prefix_ranges": [{"address_prefix": "127.0.0.5", "prefix_len": 32}]}),
                        ("direct", {"direct_source_prefix_ranges": [{"address_prefix": "127.0.0.7", "prefix_len": 32}]})]
]
s = GROUP.setup("chains", bootstrap([listener(*CHAINS, default_filter_chain=chain(network_filter("d", "envoy.extensions.filters.network.direct_response.v3.Config", response={"inline_string": "default"})))]))
for source in ("127.0.0.1", "127.0.0.5", "127.0.0.7"):
    s.case(f"chain for {source}", TCP("read-all", logs=0, source=source))

s = GROUP.setup("udp", bootstrap([{"name": "main", "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": "$port:main"}}, "udp_listener_config": {"downstream_socket_config": {}},
    "listener_filters": [{"name": "udp", "typed_config": typed("envoy.extensions.filters.udp.udp_proxy.v3.UdpProxyConfig", stat_prefix="udp", matcher={"on_no_match": {"action": {"name": "route", "typed_config": typed("envoy.extensions.filters.udp.udp_proxy.v3.Route", cluster="d")}}})}]}],
    [cluster("d")]), upstreams={"d": Upstream(kind="udp")}, stats=["udp.udp.downstream_sess_total", "udp.udp.downstream_sess_rx_datagrams"])
s.case("udp there and back", UDP(b"one", b"two"))
s = tcp("set filter state", cluster("t"), cluster("u"), cluster="u", filters=[network_filter("envoy.filters.network.set_filter_state", "envoy.extensions.filters.network.set_filter_state.v3.Config", on_new_connection=[
    {"object_key": "envoy.tcp_proxy.cluster", "format_string": {"text_format_source": {"inline_string": "t"}}}])])
s.case("set filter state names the cluster", TCP(b"x", ("read", 1), "close"))
