"""Local rate limits and the rate limit service."""
from client import Request, Together, Wait, get
from config import add, cluster, http, http_filter, route, typed, vhost
from model import Answer, Group, Upstream, answer

GROUP = Group("ratelimit")
LOCAL, NAME = "envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit", "envoy.filters.http.local_ratelimit"
ALWAYS = {"default_value": {"numerator": 100}, "runtime_key": "x"}
STATS = ["*http_local_rate_limit.*", "http.ingress.ratelimit.*", "cluster.*.ratelimit.*"]


def bucket(tokens, interval="60s", fill=None):
    return {"max_tokens": tokens, "tokens_per_fill": fill or tokens, "fill_interval": interval}


def local(**fields):
    out = {"stat_prefix": "limit", "filter_enabled": ALWAYS, "filter_enforced": ALWAYS, **fields}
    return {key: value for key, value in out.items() if value is not None}


def setup(name, *, routes=None, vhosts=None, **fields):
    return GROUP.setup(name, http(None if vhosts else routes or [route("/", "a")], vhosts=vhosts, filters=[http_filter(NAME, LOCAL, **local(**fields))]), stats=STATS)


def fresh(s, name, *steps, **options):
    return s.case(name, *steps, fresh=True, **options)


s = setup("bucket", token_bucket=bucket(2))
fresh(s, "two pass, the third does not", *[get("/")] * 4)
fresh(s, "HEAD is limited too", *[Request("HEAD", "/")] * 3)
fresh(s, "grpc is told RESOURCE_EXHAUSTED or so", *[get("/", [("content-type", "application/grpc")])] * 3)
s = setup("refill", token_bucket=bucket(1, "0.5s"))
fresh(s, "the bucket fills again", get("/"), get("/"), Wait(0.8), get("/"), get("/"))
s = setup("refill by one", token_bucket=bucket(3, "0.5s", 1))
fresh(s, "one a fill", *[get("/")] * 4, Wait(0.75), get("/"), get("/"))
s = setup("words", token_bucket=bucket(1), status={"code": "ServiceUnavailable"}, response_headers_to_add=[add("x-limited", "yes")], request_headers_to_add_when_not_enforced=[add("x-would", "yes")])
fresh(s, "own status and headers", get("/"), get("/"))
s = setup("not enforced", token_bucket=bucket(1), filter_enforced={"default_value": {"numerator": 0}, "runtime_key": "x"}, request_headers_to_add_when_not_enforced=[add("x-would", "yes")])
fresh(s, "counted, not enforced", get("/"), get("/"))
s = setup("not enabled", token_bucket=bucket(1), filter_enabled={"default_value": {"numerator": 0}, "runtime_key": "x"})
fresh(s, "not enabled", get("/"), get("/"))
s = setup("default percentages", token_bucket=bucket(1), filter_enabled=None, filter_enforced=None)
fresh(s, "0 % by default", get("/"), get("/"))
s = setup("rate limit headers", token_bucket=bucket(2), enable_x_ratelimit_headers="DRAFT_VERSION_03")
fresh(s, "x-ratelimit headers", get("/"), get("/"), get("/"))
s = setup("per connection", token_bucket=bucket(1), local_rate_limit_per_downstream_connection=True)
fresh(s, "a bucket for each connection", get("/", conn="x"), get("/", conn="x"), get("/", conn="y"))
s = setup("per route", token_bucket=bucket(1), routes=[
    route("/route", "a", typed_per_filter_config={NAME: typed(LOCAL, **local(stat_prefix="route", token_bucket=bucket(2)))}),
    route("/off", "a", typed_per_filter_config={NAME: typed("envoy.config.route.v3.FilterConfig", disabled=True)}), route("/", "a")])
fresh(s, "the route's own bucket", *[get("/route")] * 3, get("/"), get("/"), get("/off"), get("/off"))

ACTIONS = [{"actions": [{"request_headers": {"header_name": "x-user", "descriptor_key": "user"}}]}, {"actions": [{"header_value_match": {"descriptor_key": "kind", "descriptor_value": "post", "headers": [{"name": ":method", "string_match": {"exact": "POST"}}]}}]},
           {"actions": [{"generic_key": {"descriptor_value": "everyone"}}, {"remote_address": {}}]}]
DESCRIPTORS = [{"entries": [{"key": "user", "value": "jason"}], "token_bucket": bucket(1)}, {"entries": [{"key": "kind", "value": "post"}], "token_bucket": bucket(2)}]
s = setup("descriptors", routes=[route("/", "a", rate_limits=ACTIONS)], token_bucket=bucket(4), descriptors=DESCRIPTORS)
fresh(s, "a user's bucket", get("/", [("x-user", "jason")]), get("/", [("x-user", "jason")]), get("/", [("x-user", "mary")]), get("/"), get("/"), get("/"))
fresh(s, "by method", *[Request("POST", "/", body=b"")] * 3)
s = setup("descriptors of the virtual host", vhosts=[vhost("v", ["*"], [route("/own", "a", rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "own"}}]}]), route("/both", "a", rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "own"}}]}], include_vh_rate_limits=True), route("/", "a")],
    rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "host"}}]}])], token_bucket=bucket(100), descriptors=[{"entries": [{"key": "generic_key", "value": "host"}], "token_bucket": bucket(1)}, {"entries": [{"key": "generic_key", "value": "own"}], "token_bucket": bucket(1)}])
fresh(s, "virtual host's descriptor", get("/"), get("/"))
fresh(s, "the route's descriptors instead", get("/own"), get("/own"), get("/"))
fresh(s, "both included", get("/"), get("/both"))
s = setup("wildcard", routes=[route("/", "a", rate_limits=ACTIONS)], token_bucket=bucket(100), descriptors=[{"entries": [{"key": "user"}], "token_bucket": bucket(1)}])
fresh(s, "a bucket for each value", get("/", [("x-user", "a")]), get("/", [("x-user", "b")]), get("/", [("x-user", "a")]))

SERVICE = "envoy.extensions.filters.http.ratelimit.v3.RateLimit"


def service(name, *, routes=None, hosts=("limits",), **fields):
    return GROUP.setup(name, http(routes or [route("/", "a", rate_limits=ACTIONS)], [cluster("a"), cluster("limits", list(hosts), http2=True)], filters=[http_filter("envoy.filters.http.ratelimit", SERVICE, domain="books", timeout="0.5s",
        rate_limit_service={"grpc_service": {"envoy_grpc": {"cluster_name": "limits"}}, "transport_api_version": "V3"}, **fields)]), stats=STATS,
        upstreams={"limits": Upstream(kind="http2", decode="envoy.service.ratelimit.v3.rls_pb2:RateLimitRequest")}, ignore=["upstream.*.headers.grpc-timeout", "upstream.*.headers.user-agent"])


def verdict(code, headers=(), request_headers=(), body="", statuses=()):
    def make(_):
        from envoy.service.ratelimit.v3 import rls_pb2 as pb
        response = pb.RateLimitResponse(overall_code=code, raw_body=body.encode())
        for target, pairs in ((response.response_headers_to_add, headers), (response.request_headers_to_add, request_headers)):
            for key, value in pairs:
                item = target.add()
                item.key, item.value = key, value
        for code_, limit, left, seconds in statuses:
            status = response.statuses.add()
            status.code, status.limit_remaining = code_, left
            status.current_limit.requests_per_unit, status.current_limit.unit = limit, 2
            status.duration_until_reset.seconds = seconds
        return [response.SerializeToString()], 0, ""
    return Answer(grpc=make)


s = service("service", enable_x_ratelimit_headers="DRAFT_VERSION_03")
USER = [("x-user", "jason")]
s.case("service: ok", get("/", USER), upstream={"limits": [verdict(1, headers=[("x-rl", "1")], request_headers=[("x-rl-up", "1")], statuses=[(1, 10, 9, 30)])]})
s.case("service: over limit", get("/", USER), upstream={"limits": [verdict(2, headers=[("x-rl", "1")], body="slow down", statuses=[(2, 10, 0, 30)])]})
s.case("service: without the header", get("/"), upstream={"limits": [verdict(1)]})
s.case("service: the call fails, open", get("/", USER), upstream={"limits": [Answer(grpc=lambda _: ([], 14, "down"))]})
s.case("service: the call hangs, open", get("/", USER), upstream={"limits": [answer(hang=True)]})
s = service("service closed", failure_mode_deny=True)
s.case("service: the call fails, closed", get("/", USER), upstream={"limits": [Answer(grpc=lambda _: ([], 14, "down"))]})
s = service("service down", hosts=("dead",))
s.case("service is down, open", get("/", USER))
s = service("service status", rate_limited_status={"code": "ServiceUnavailable"}, rate_limited_as_resource_exhausted=True, disable_x_envoy_ratelimited_header=True)
s.case("service: own status", get("/", USER), upstream={"limits": [verdict(2)]})
s.case("service: grpc resource exhausted", get("/", USER + [("content-type", "application/grpc")]), upstream={"limits": [verdict(2)]})
s = service("service stage", stage=1)
s.case("service: no descriptors of this stage", get("/", USER))
s = service("service prefix and headers", stat_prefix="mine", response_headers_to_add=[add("x-limited", "%REQ(x-user)%")])
s.case("service: prefix and headers", get("/", USER), upstream={"limits": [verdict(2)]})
s.case("service: prefix, ok", get("/", USER), upstream={"limits": [verdict(1)]})
s = service("service internal", request_type="internal")
s.case("service: only internal requests", get("/", USER), upstream={"limits": [verdict(2)]})
s = service("service error status", failure_mode_deny=True, status_on_error={"code": "ServiceUnavailable"})
s.case("service: status on error", get("/", USER), upstream={"limits": [Answer(grpc=lambda _: ([], 14, "down"))]})
s.case("service: an unknown verdict", get("/", USER), upstream={"limits": [verdict(0)]})
s.case("service: an unusable answer", get("/", USER), upstream={"limits": [Answer(grpc=lambda _: ([b"\xff\xff"], 0, ""))]})
s = service("service not enforced", filter_enforced={"default_value": {"numerator": 0}, "runtime_key": "x"})
s.case("service: over limit, not enforced", get("/", USER), upstream={"limits": [verdict(2, headers=[("x-rl", "1")])]})
HITS = [{"actions": [{"generic_key": {"descriptor_value": "%REQ(x-user)%", "descriptor_key": "k", "default_value": "nobody"}}], "hits_addend": {"number": 3}}]
s = service("service hits", routes=[route("/", "a", rate_limits=HITS)])
s.case("service: hits and a format", get("/", USER), upstream={"limits": [verdict(1)]})
s.case("service: the default of a format", get("/"), upstream={"limits": [verdict(1)]})
s = service("service at the end", routes=[route("/", "a", rate_limits=[{"actions": [{"generic_key": {"descriptor_value": "end"}}], "apply_on_stream_done": True}])])
s.case("service: told at the end", get("/"), Wait(0.2), upstream={"limits": [verdict(2)]})
PER = "envoy.extensions.filters.http.ratelimit.v3.RateLimitPerRoute"
s = service("service per route", routes=[route("/own", "a", rate_limits=ACTIONS, typed_per_filter_config={"envoy.filters.http.ratelimit": typed(PER, domain="other", rate_limits=HITS)}),
    route("/off", "a", rate_limits=ACTIONS, typed_per_filter_config={"envoy.filters.http.ratelimit": typed("envoy.config.route.v3.FilterConfig", disabled=True)})])
s.case("service: per route", get("/own", USER), upstream={"limits": [verdict(1)]})
s.case("service: off per route", get("/off", USER), upstream={"limits": [verdict(2)]})
MORE = [{"actions": [{"source_cluster": {}}, {"destination_cluster": {}}]}, {"actions": [{"masked_remote_address": {"v4_prefix_mask_len": 8}}]}, {"actions": [{"query_parameters": {"query_parameter_name": "q", "descriptor_key": "q"}}]},
        {"actions": [{"header_value_match": {"descriptor_value": "yes", "expect_match": False, "headers": [{"name": "x-user", "present_match": True}]}}]}, {"actions": [{"query_parameter_value_match": {"descriptor_value": "q1", "query_parameters": [{"name": "q", "string_match": {"exact": "1"}}]}}]},
        {"actions": [{"metadata": {"descriptor_key": "m", "default_value": "none", "source": "ROUTE_ENTRY", "metadata_key": {"key": "f", "path": [{"key": "p"}]}}}]}]
s = service("service actions", routes=[route("/", "a", rate_limits=MORE, metadata={"filter_metadata": {"f": {"p": "gold"}}})])
s.case("service: more actions", get("/?q=1"), upstream={"limits": [verdict(1)]})
s.case("service: more actions, other values", get("/?q=2", USER), upstream={"limits": [verdict(1)]})

for name, matcher in (("here", {"ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}), ("elsewhere", {"ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]}), ("not elsewhere", {"ranges": [{"address_prefix": "10.0.0.0", "prefix_len": 8}], "invert_match": True}),
                      ("of two", {"ranges": [{"address_prefix": "::", "prefix_len": 0}, {"address_prefix": "127.0.0.1", "prefix_len": 32}]})):
    for value in ("net", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%", "%REQ(x-none)%"):
        entry = "net" if value == "net" else "127.0.0.1"
        s = setup(f"remote_address_match {name} {value}", token_bucket=bucket(3), descriptors=[{"entries": [{"key": "remote_address_match", "value": entry}], "token_bucket": bucket(1)}],
                  routes=[route("/", "a", rate_limits=[{"actions": [{"remote_address_match": {"descriptor_value": value, "address_matcher": matcher}}]}])])
        fresh(s, f"remote_address_match {name}: {value}", *[get("/")] * 4)
