"""The fault filter."""
from client import get, post
from config import cluster, http, http_filter, route, typed
from model import Group, answer

GROUP = Group("faults")
FAULT = "envoy.extensions.filters.http.fault.v3.HTTPFault"


def fault(**fields):
    return http_filter("envoy.filters.http.fault", FAULT, **fields)


def per_route(**fields):
    return {"typed_per_filter_config": {"envoy.filters.http.fault": typed(FAULT, **fields)}}


ALL, NONE = {"numerator": 100}, {"numerator": 0}
STATS = ["http.ingress.fault.*"]
s = GROUP.setup("abort", http([
    route("/other", "a", **per_route(abort={"http_status": 429, "percentage": ALL})),
    route("/grpc", "a", **per_route(abort={"grpc_status": 14, "percentage": ALL})),
    route("/none", "a", **per_route(abort={"http_status": 500, "percentage": NONE})),
    route("/absent", "a", **per_route(abort={"http_status": 500})),
    route("/delay", "a", timeout="5s", **per_route(delay={"fixed_delay": "0.3s", "percentage": ALL})),
    route("/delay-abort", "a", **per_route(delay={"fixed_delay": "0.2s", "percentage": ALL}, abort={"http_status": 503, "percentage": ALL})),
    route("/delay-timeout", "a", timeout="0.2s", **per_route(delay={"fixed_delay": "0.4s", "percentage": ALL})),
    route("/cluster", "a", **per_route(upstream_cluster="b", abort={"http_status": 500, "percentage": ALL})),
    route("/node", "a", **per_route(downstream_nodes=["n1"], abort={"http_status": 500, "percentage": ALL})),
    route("/headers", "a", **per_route(headers=[{"name": "x-fault", "string_match": {"exact": "yes"}}], abort={"http_status": 500, "percentage": ALL})),
    route("/max", "a", **per_route(max_active_faults=0, abort={"http_status": 500, "percentage": ALL})),
    route("/", "a"),
], filters=[fault(abort={"http_status": 503, "percentage": ALL})]), stats=STATS)
for name, path, headers in [
    ("abort", "/", []), ("abort of the route", "/other", []), ("abort with grpc status", "/grpc", []), ("abort with grpc status for grpc", "/grpc", [("content-type", "application/grpc")]),
    ("0 percent", "/none", []), ("percentage absent", "/absent", []), ("delay", "/delay", []), ("delay and abort", "/delay-abort", []),
    ("delay is not in the route's timeout", "/delay-timeout", []), ("of another cluster", "/cluster", []), ("of a node", "/node", []),
    ("of the node", "/node", [("x-envoy-downstream-service-node", "n1")]), ("headers do not match", "/headers", []), ("headers match", "/headers", [("x-fault", "yes")]),
    ("max active faults 0", "/max", []),
]:
    s.case(name, get(path, headers))
s.case("abort of a POST with body", post("/", b"x" * 1000, conn="c"), get("/none", conn="c"))

s = GROUP.setup("by header", http([
    route("/by-header", "a", **per_route(abort={"header_abort": {}, "percentage": ALL}, delay={"header_delay": {}, "percentage": ALL}))], filters=[fault()]), stats=STATS)
for name, path, headers in [
    ("by header: nothing", "/by-header", []), ("by header: abort", "/by-header", [("x-envoy-fault-abort-request", "418")]),
    ("by header: abort percentage 0", "/by-header", [("x-envoy-fault-abort-request", "418"), ("x-envoy-fault-abort-request-percentage", "0")]),
    ("by header: grpc abort", "/by-header", [("x-envoy-fault-abort-grpc-request", "7")]), ("by header: delay", "/by-header", [("x-envoy-fault-delay-request", "200")]),
    ("by header: no number", "/by-header", [("x-envoy-fault-abort-request", "abc")]),
]:
    s.case(name, get(path, headers))

s = GROUP.setup("rate", http([route("/rate", "a", **per_route(response_rate_limit={"fixed_limit": {"limit_kbps": 1}, "percentage": ALL}))], filters=[fault()]), stats=STATS)
s.case("response rate limit", get("/rate"), upstream=answer(200, body=b"x" * 600))

s = GROUP.setup("header response rate", http([route("/", "a")], filters=[fault(response_rate_limit={"header_limit": {}, "percentage": ALL})]), stats=STATS)
s.case("rate by header", get("/", [("x-envoy-fault-throughput-response", "100")]), upstream=answer(200, body=b"x" * 600))
