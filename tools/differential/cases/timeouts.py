"""What ends a request that takes too long."""
from client import Raw, Request, Wait, get, post
from config import cluster, http, route
from model import Group, answer

GROUP = Group("timeouts")
HANG = answer(hang=True)
SLOW_BODY = answer(200, pieces=[b"first", 3.0, b"second"])

s = GROUP.setup("routes", http([
    route("/short", "a", timeout="0.3s", name="short"), route("/none", "a", timeout="0s", name="none"), route("/default", "a", name="default"),
    route("/idle", "a", timeout="0s", idle_timeout="0.3s", name="idle"), route("/long-idle", "a", timeout="0.3s", idle_timeout="5s", name="long-idle"),
    route("/max", "a", max_stream_duration={"max_stream_duration": "0.3s"}, name="max"),
    route("/grpc-max", "a", max_stream_duration={"grpc_timeout_header_max": "0.5s"}, name="grpc-max"),
    route("/grpc-old", "a", max_grpc_timeout="0.5s", name="grpc-old"),
]))
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
for name, path, headers, script in [
    ("route timeout", "/short", [], HANG), ("route timeout not reached", "/short", [], OK := answer(200, delay=0.05)),
    ("route timeout in the body", "/short", [], SLOW_BODY), ("no timeout", "/none", [], answer(200, delay=0.5)),
    ("default timeout is announced", "/default", [], answer(200)), ("stream idle timeout of the route", "/idle", [], HANG),
    ("stream idle timeout in the body", "/idle", [], SLOW_BODY), ("both", "/long-idle", [], HANG), ("max stream duration", "/max", [], HANG),
    ("max stream duration in the body", "/max", [], SLOW_BODY), ("grpc-timeout above the maximum", "/grpc-max", [*GRPC, ("grpc-timeout", "3S")], HANG),
    ("grpc-timeout below the maximum", "/grpc-max", [*GRPC, ("grpc-timeout", "200m")], HANG),
    ("grpc-timeout without grpc", "/grpc-max", [("grpc-timeout", "200m")], answer(200, delay=0.4)), ("max_grpc_timeout", "/grpc-old", [*GRPC, ("grpc-timeout", "300m")], HANG),
    ("max_grpc_timeout without the header", "/grpc-old", GRPC, answer(200)),
    ("client's x-envoy-upstream-rq-timeout-ms from outside", "/default", [("x-envoy-upstream-rq-timeout-ms", "200")], answer(200, delay=0.4)),
    ("timeout of a grpc request is a grpc status", "/short", GRPC, HANG),
]:
    s.case(name, get(path, headers), upstream=script)
s.case("route timeout counts from the end of the request", Request("POST", "/short", [], b"x" * 10, pause=0.6), upstream=answer(200, delay=0.05))
s.case("HEAD times out", Request("HEAD", "/short"), upstream=HANG)

s = GROUP.setup("grpc offset", http([
    route("/grpc-max-offset", "a", max_stream_duration={"grpc_timeout_header_max": "5s", "grpc_timeout_header_offset": "0.1s"}, name="grpc-offset")]))
s.case("grpc-timeout with offset", get("/grpc-max-offset", [*GRPC, ("grpc-timeout", "400m")]), upstream=HANG)

INTERNAL = {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}}
s = GROUP.setup("client headers of internal requests", http([route("/", "a", timeout="5s")], **INTERNAL))
s.case("internal: x-envoy-upstream-rq-timeout-ms", get("/", [("x-envoy-upstream-rq-timeout-ms", "200")], source="127.0.0.2"), upstream=HANG)
s.case("internal: x-envoy-upstream-rq-per-try-timeout-ms", get("/", [("x-envoy-upstream-rq-per-try-timeout-ms", "200")], source="127.0.0.2"), upstream=HANG)
s.case("internal: alternative response", get("/", [("x-envoy-upstream-rq-timeout-ms", "200"), ("x-envoy-upstream-rq-timeout-alt-response", "1")], source="127.0.0.2"), upstream=HANG)

s = GROUP.setup("stream idle", http([route("/", "a", timeout="0s")], stream_idle_timeout="0.3s"))
s.case("stream idle timeout before the response", get("/"), upstream=HANG)
s.case("stream idle timeout while the request comes", Request("POST", "/", [], b"x" * 10, pause=1.0), logs=1)
s.case("stream idle timeout in the response", get("/"), upstream=SLOW_BODY)

s = GROUP.setup("request", http([route("/", "a")], request_timeout="0.3s"))
s.case("request timeout while the body comes", Request("POST", "/", [], b"x" * 10, pause=1.0, end=True), logs=1)
s.case("request timeout in the head", Raw(b"", pieces=[b"GET / HTTP/1.1\r\nhost: a", 1.0], requests=0), logs=1)
s.case("request timeout does not concern the response", get("/"), upstream=answer(200, delay=0.6))

s = GROUP.setup("request headers", http([route("/", "a")], request_headers_timeout="0.3s"))
s.case("request headers timeout", Raw(b"", pieces=[b"GET / HTTP/1.1\r\nhost: a.example\r\nx-slow: 1\r\n", 1.0], requests=1))
s.case("request headers timeout is not for the body", Request("POST", "/", [], b"x" * 10, pause=0.6))

s = GROUP.setup("connection", http([route("/", "a")], common_http_protocol_options={"idle_timeout": "0.3s"}, drain_timeout="0.3s"))
s.case("idle connection is closed", get("/", conn="c", end=True))
s.case("idle connection that never asked", Raw(b"", responses=0, requests=0))
s = GROUP.setup("connection age", http([route("/", "a")], common_http_protocol_options={"max_connection_duration": "0.3s"}, drain_timeout="0.2s"))
s.case("connection is drained at its age", get("/", conn="c"), Request("GET", "/", conn="c", end=True), ignore=["client.1.connection"])
s.case("old connection closes by itself", get("/", conn="c", end=True), logs=1)
s = GROUP.setup("stream duration", http([route("/", "a", timeout="0s")], common_http_protocol_options={"max_stream_duration": "0.3s"}))
s.case("max stream duration of the connection manager", get("/"), upstream=HANG)

s = GROUP.setup("upstream connect", http([route("/", "blackhole", timeout="5s")], [cluster("blackhole", [{"endpoint": {"address": {"socket_address": {"address": "192.0.2.77", "port_value": 9}}}}], connect_timeout="0.3s")]))
s.case("upstream connect timeout", get("/"), ignore=["log.*.failure", "client.*.body", "client.*.headers.content-length", "log.*.sent", "log.*.flags", "log.*.details", "log.*.host"])

s = GROUP.setup("upstream idle", http([route("/", "a")], [cluster("a", protocol={"common_http_protocol_options": {"idle_timeout": "0.2s"}})]), stats=["cluster.a.upstream_cx_total", "cluster.a.upstream_cx_idle_timeout"])
s.case("upstream connection is dropped when idle", get("/"), Wait(0.8), get("/"))
