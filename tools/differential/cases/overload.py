"""Load shed points of the overload manager: what each refuses, and how that is counted."""
from client import HTTP2, TCP, Raw, Stream, Until, get
from config import bootstrap, cluster, hcm, listener, respond, route, tcp_proxy, typed
from model import Group

GROUP = Group("overload")
PREFIX = "envoy.load_shed_points."
ROUTES = [route("/direct", action=respond(200, "here")), route("/", "a")]
STATS = ["overload.envoy.load_shed_points.*.shed_load_count", "http.ingress.downstream_rq_overload_close", "http.ingress.rq_overload_local_reply", "tcp.tcp.downstream_cx_overload_close"]


def setup(point, *, cluster_fields=None, triggers=None, tcp=False):
    # One byte of memory: the pressure is as high as can be, always.
    monitor = {"name": "heap", "typed_config": typed("envoy.extensions.resource_monitors.fixed_heap.v3.FixedHeapConfig", max_heap_size_bytes=1)}
    manager = {"refresh_interval": "0.05s", "resource_monitors": [monitor],
               "loadshed_points": [{"name": PREFIX + point, "triggers": triggers or [{"name": "heap", "threshold": {"value": 0.9}}]}]}
    filters = tcp_proxy("a") if tcp else hcm(ROUTES)
    return GROUP.setup(point, bootstrap([listener(filters)], [cluster("a", **(cluster_fields or {}))], overload_manager=manager), stats=STATS,
                       ready=[Until(f"overload.{PREFIX}{point}.scale_percent", 100)])


s = setup("http_connection_manager_decode_headers")
s.case("a head is refused", get("/"))
s.case("a head is refused, though the proxy would answer itself", get("/direct"), get("/direct"))
s.case("a head is refused: HTTP/2", HTTP2(Stream("GET", "/")))
s = setup("http_downstream_filter_check")
s.case("behind the filters: to a host", get("/"))
s.case("behind the filters: an answer of the proxy's own", get("/direct"))
s = setup("connection_pool_new_connection")
s.case("no connection to a host", get("/"))
s.case("no connection is needed", get("/direct"))
s = setup("hcm_ondata_creating_codec")
s.case("a codec is refused", Raw(b"GET /direct HTTP/1.1\r\nHost: a\r\n\r\n", responses=0, requests=0))
s = setup("http1_server_abort_dispatch")
s.case("bytes are refused", Raw(b"GET /direct HTTP/1.1\r\nHost: a\r\n\r\n"))
s.case("bytes of HTTP/2 are not", HTTP2(Stream("GET", "/direct")))
s = setup("tcp_listener_accept")
s.case("a connection is refused", TCP("read-all", logs=0))
s = setup("tcp_proxy_upstream_connect", tcp=True)
s.case("a TCP connection gets no host", TCP("read-all"))
s = setup("tcp_proxy_on_data", tcp=True)
s.case("a TCP connection ends with its bytes", TCP(b"x", "read-all"), ignore=["upstream*", "stats.cluster.*", "log.*.host", "log.*.received"])
