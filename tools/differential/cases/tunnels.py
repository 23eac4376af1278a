"""CONNECT forwarded and ended, scoped routes, hosts that requests name, UDP sessions."""
from client import UDP, Request, Upgrade, get, post
from config import bootstrap, cluster, hcm, http, http_filter, listener, respond, route, typed, vhost
from model import Group, Upstream, answer

GROUP = Group("tunnels")
# A tunnel's end is told differently by whoever notices it first.
ENDS = ["log.*.received", "log.*.sent", "log.*.details", "log.*.flags"]
CONNECT = {"connect_matcher": {}}
ALLOW = [{"upgrade_type": "CONNECT"}]
END = [{"upgrade_type": "CONNECT", "connect_config": {}}]


def connect(name="b.example:443", **fields):
    return Request("CONNECT", name, host=name, **fields)


s = GROUP.setup("ended", http([route(matcher=CONNECT, cluster="t", upgrade_configs=END), route("/", "a")], [cluster("a"), cluster("t")]), upstreams={"t": Upstream(kind="tcp")},
                stats=["http.ingress.downstream_cx_upgrades_total", "cluster.t.upstream_cx_total", "cluster.t.upstream_rq_total"])
s.case("CONNECT by the route alone", Upgrade(connect(), b"hello", b"again"), ignore=ENDS)
s.case("CONNECT with early bytes", Upgrade(connect(), b"hello"), ignore=ENDS)
s.case("GET beside CONNECT", get("/"))
s = GROUP.setup("forwarded", http([route(matcher=CONNECT, cluster="a")], upgrade_configs=ALLOW), stats=["http.ingress.downstream_cx_upgrades_total"])
s.case("CONNECT refused by the host", connect(), upstream=answer(403, body=b"no"))
s.case("CONNECT and a redirect", connect(), upstream=answer(302, ("location", "/x")))
s = GROUP.setup("not allowed", http([route(matcher=CONNECT, cluster="a")]), stats=["http.ingress.downstream_rq_ws_on_non_ws_route"])
s.case("CONNECT without leave", connect())
s = GROUP.setup("switched off", http([route(matcher=CONNECT, cluster="a", upgrade_configs=[{"upgrade_type": "CONNECT", "enabled": False}])], upgrade_configs=ALLOW), stats=["http.ingress.downstream_rq_ws_on_non_ws_route"])
s.case("CONNECT switched off on the route", connect())
s = GROUP.setup("no route", http([route("/", "a"), route(regex=".*", cluster="a")], upgrade_configs=ALLOW))
s.case("CONNECT matches no path", connect())
s = GROUP.setup("answered", http([route(matcher=CONNECT, action=respond(418, "tea"))], upgrade_configs=ALLOW))
s.case("CONNECT answered by the route", connect())
s = GROUP.setup("post", http([route("/", "t", upgrade_configs=[{"upgrade_type": "CONNECT", "connect_config": {"allow_post": True}}])], [cluster("t")]), upstreams={"t": Upstream(kind="tcp")})
s.case("POST as a tunnel", post("/", b"abc"), ignore=["upstream*"])

FRAGMENT = {"header_value_extractor": {"name": "x-route", "element_separator": ";", "element": {"separator": "=", "key": "env"}}}
SCOPES = [{"name": name, "key": {"fragments": [{"string_key": name}]}, "route_configuration": {"name": name, "virtual_hosts": [vhost(routes=[route("/", action=respond(200, name))])]}} for name in ("prod", "test")]
s = GROUP.setup("scoped", bootstrap([listener(hcm(scoped_routes={"name": "s", "scope_key_builder": {"fragments": [FRAGMENT]}, "scoped_route_configurations_list": {"scoped_route_configurations": SCOPES}}))], [cluster("a")]))
for value in ("env=prod", "a=b;env=test", "env=test;env=prod", "env", "env=", "prod", "env=other", ";;env=prod", "env=prod=x"):
    s.case(f"scope of {value}", get("/", [("x-route", value)]))
s.case("scope without its header", get("/"))

DFP = "envoy.extensions.filters.http.dynamic_forward_proxy.v3.FilterConfig"
CACHE = {"name": "names", "dns_lookup_family": "V4_ONLY"}
ANY = {"name": "any", "connect_timeout": "1s", "lb_policy": "CLUSTER_PROVIDED", "cluster_type": {"name": "envoy.clusters.dynamic_forward_proxy", "typed_config": typed("envoy.extensions.clusters.dynamic_forward_proxy.v3.ClusterConfig", dns_cache_config=CACHE)}}
s = GROUP.setup("dynamic", http([route("/", "any")], [cluster("a"), ANY], filters=[http_filter("dfp", DFP, dns_cache_config=CACHE)]), stats=["dns_cache.names.host_added", "dns_cache.names.num_hosts"])
s.case("a name without an address", get("/", host="no-such-host.invalid"), ignore=["log.*.details", "stats*"])
s.case("an empty label", get("/", host="a..b"), ignore=["log.*.details", "stats*"])

UDP_PROXY = "envoy.extensions.filters.udp.udp_proxy.v3."


def udp(name, **fields):
    fields = fields or {"matcher": {"on_no_match": {"action": {"name": "route", "typed_config": typed(UDP_PROXY + "Route", cluster="d")}}}}
    return GROUP.setup(name, bootstrap([{"name": "main", "address": {"socket_address": {"protocol": "UDP", "address": "127.0.0.1", "port_value": "$port:main"}},
        "listener_filters": [{"name": "udp", "typed_config": typed(UDP_PROXY + "UdpProxyConfig", stat_prefix="u", **fields)}]}], [cluster("d")]),
        upstreams={"d": Upstream(kind="udp")}, stats=["udp.u.*", "cluster.d.udp.*", "cluster.d.upstream_cx_rx_bytes_total", "cluster.d.upstream_cx_tx_bytes_total"])


s = udp("udp sessions")
s.case("datagrams of one client", UDP(b"one", b"two", b"three"))
s.case("an empty datagram", UDP(b"", timeout=0.5))
s.case("a datagram of 1500 bytes", UDP(b"x" * 1500))
s.case("a datagram above 1500 bytes", UDP(b"x" * 1501, timeout=0.5))
s = udp("udp without a cluster", cluster="nobody")
s.case("no route", UDP(b"x", timeout=0.3))
