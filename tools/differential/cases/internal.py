"""Internal listeners: connections from a cluster to a listener of the same process."""
from client import get, post
from config import access_log, add, bootstrap, chain, cluster, hcm, listener, route, tcp_proxy, typed
from model import Group, answer

GROUP = Group("internal")
EXTENSION = {"bootstrap_extensions": [{"name": "envoy.bootstrap.internal_listener", "typed_config": typed("envoy.extensions.bootstrap.internal_listener.v3.InternalListener")}]}
RAW = {"name": "envoy.transport_sockets.raw_buffer", "typed_config": typed("envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer")}


def inner(name, *filters, **fields):
    return {"name": name, "internal_listener": {}, "filter_chains": [chain(*filters)], **fields}


def to(name, listener, labels=None, **fields):
    endpoint = {"endpoint": {"address": {"envoy_internal_address": {"server_listener_name": listener, "endpoint_id": "one"}}}}
    if labels:
        endpoint["metadata"] = {"filter_metadata": labels}
    return cluster(name, localities=[{"lb_endpoints": [endpoint]}], **fields)


def passing(*kinds):
    return {"name": "envoy.transport_sockets.internal_upstream", "typed_config": typed("envoy.extensions.transport_sockets.internal_upstream.v3.InternalUpstreamTransport", passthrough_metadata=[{"kind": {kind: {}}, "name": name} for kind, name in kinds], transport_socket=RAW)}


def setup(name, routes, inside, clusters, **options):
    return GROUP.setup(name, bootstrap([listener(hcm(routes)), *inside], clusters, **EXTENSION), **options)


INSIDE = hcm([route("/", "a", request_headers_to_add=[add("x-inside", "1")])], stat_prefix="inside", log=False)
s = setup("HTTP inside of HTTP", [route("/", "in")], [inner("inner", INSIDE)], [to("in", "inner"), cluster("a")], stats=["http.inside.downstream_rq_total", "cluster.in.upstream_cx_total"])
s.case("HTTP inside of HTTP", get("/"), ignore=["upstream.*.headers.x-forwarded-for"])
s.case("HTTP inside of HTTP: a large body each way", post("/", b"x" * 300_000), upstream=answer(200, body=b"y" * 300_000), ignore=["upstream.*.headers.x-forwarded-for"])
s = setup("nobody there", [route("/", "in")], [], [to("in", "ghost")])
s.case("nobody there", get("/"), ignore=["log.*.failure", "log.*.details"])
s = setup("TCP inside", [route("/", "in")], [inner("inner", tcp_proxy("a", log=False))], [to("in", "inner"), cluster("a")])
s.case("TCP inside", post("/", b"hello"))
TUNNEL = tcp_proxy("a", log=False, tunneling_config={"hostname": "tunnel.example:80", "use_post": True})
s = setup("a tunnel inside", [route("/", "in")], [inner("inner", TUNNEL)], [to("in", "inner"), cluster("a")], stats=["cluster.a.upstream_rq_total", "cluster.in.upstream_rq_total"])
s.case("a tunnel inside", post("/", b"hello"), upstream=answer(raw=b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", close=True), ignore=["upstream.*"])
SHOWN = hcm([route("/", "a")], stat_prefix="inside", access_log=[access_log({"host": "%DYNAMIC_METADATA(from.host:key)%", "cluster": "%DYNAMIC_METADATA(from.cluster:key)%", "none": "%DYNAMIC_METADATA(other)%"})])
PASSED = {"from.host": {"key": "h"}, "other": {"key": "x"}}
s = GROUP.setup("metadata", bootstrap([listener(hcm([route("/", "in")], log=False)), inner("inner", SHOWN)], [to("in", "inner", PASSED, transport_socket=passing(("host", "from.host"), ("cluster", "from.cluster")), metadata={"filter_metadata": {"from.cluster": {"key": "c"}}}), cluster("a")], **EXTENSION))
s.case("metadata", get("/"), ignore=["upstream.*.headers.x-forwarded-for"])
made = inner("inner", tcp_proxy("a"), address={"socket_address": {"address": "127.0.0.1", "port_value": 0}})
GROUP.setup("refused: a port", bootstrap([listener(hcm([route("/", "a")])), made], [cluster("a")], **EXTENSION), refused=True).case("refused: a port")
