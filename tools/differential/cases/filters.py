"""The other HTTP filters, and access log formats and filters."""
import gzip
import json

from client import Request, Together, Wait, get, post
from config import LOG_FORMAT, access_log, add, cluster, http, http_filter, route, typed
from model import Group, answer

GROUP = Group("filters")
X = "envoy.extensions.filters.http."


def one(name, message, routes=None, clusters=None, stats=(), more=(), **fields):
    return GROUP.setup(name, http(routes or [route("/", "a")], clusters, filters=[http_filter(f"envoy.filters.http.{name.split(':')[0]}", X + message, **fields), *more]), stats=list(stats))


s = one("buffer", "buffer.v3.Buffer", [route("/off", "a", typed_per_filter_config={"envoy.filters.http.buffer": typed(X + "buffer.v3.BufferPerRoute", disabled=True)}), route("/", "a")], max_request_bytes=100)
s.case("buffer: a small body gets a length", post("/", b"x" * 50, chunked=True))
s.case("buffer: a large body is refused", post("/", b"x" * 500))
s.case("buffer: off on a route", post("/off", b"x" * 500))

s = one("header_mutation", "header_mutation.v3.HeaderMutation", mutations={
    "request_mutations": [{"append": {"header": {"key": "x-new", "value": "%REQ(:PATH)%"}}}, {"remove": "x-gone"}, {"append": {"header": {"key": "x-over", "value": "1"}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}],
    "response_mutations": [{"append": {"header": {"key": "x-code", "value": "%RESPONSE_CODE%"}}}, {"remove": "x-up"}]})
s.case("header mutation", get("/p", [("x-gone", "1"), ("x-over", "0")]), upstream=answer(200, ("x-up", "1")))

META = "envoy.filters.http.header_to_metadata"
s = GROUP.setup("header to metadata", http(access_log=[access_log({**LOG_FORMAT, "meta": "%DYNAMIC_METADATA(ns:k)%", "all": "%DYNAMIC_METADATA(ns)%"})], filters=[http_filter(META, X + "header_to_metadata.v3.Config", request_rules=[
    {"header": "x-v", "on_header_present": {"metadata_namespace": "ns", "key": "k", "type": "STRING"}, "on_header_missing": {"metadata_namespace": "ns", "key": "k", "value": "none"}, "remove": True},
    {"header": "x-n", "on_header_present": {"metadata_namespace": "ns", "key": "n", "type": "NUMBER"}}])]))
s.case("header to metadata: there", get("/", [("x-v", "hello"), ("x-n", "7")]))
s.case("header to metadata: missing", get("/"))

s = GROUP.setup("set filter state", http(access_log=[access_log({**LOG_FORMAT, "state": "%FILTER_STATE(my.key:PLAIN)%"})], filters=[http_filter("envoy.filters.http.set_filter_state", X + "set_filter_state.v3.Config", on_request_headers=[
    {"object_key": "my.key", "factory_key": "envoy.string", "format_string": {"text_format_source": {"inline_string": "[%REQ(x-v)%]"}}}])]))
s.case("set filter state", get("/", [("x-v", "hello")]))
for factory, values in (("envoy.network.ip", ("10.0.0.1", "::1", "x")), ("envoy.upstream.dynamic_port", ("80", "65536", "x")), ("envoy.hashable_string", ("a",)), ("envoy.ratelimit.hits_addend", ("3", "x", "-1")), ("envoy.upstream.dynamic_host", ("h.test",))):
    s = GROUP.setup(f"set filter state {factory}", http(access_log=[access_log({**LOG_FORMAT, "state": "%FILTER_STATE(my.key:PLAIN)%"})], filters=[http_filter("envoy.filters.http.set_filter_state", X + "set_filter_state.v3.Config", on_request_headers=[
        {"object_key": "my.key", "factory_key": factory, "format_string": {"text_format_source": {"inline_string": "%REQ(x-v)%"}}}])]))
    for value in values:
        s.case(f"set filter state {factory}: {value}", get("/", [("x-v", value)]))

s = GROUP.setup("filter state formats", http(access_log=[access_log({**LOG_FORMAT, "plain": "%FILTER_STATE(my.key:PLAIN)%", "typed": "%FILTER_STATE(my.key:TYPED)%", "none": "%FILTER_STATE(no.key:PLAIN)%"})], filters=[http_filter("envoy.filters.http.set_filter_state", X + "set_filter_state.v3.Config", on_request_headers=[
    {"object_key": "my.key", "factory_key": "envoy.string", "format_string": {"text_format_source": {"inline_string": "%REQ(x-v)%"}}}])]))
s.case("filter state formats", get("/", [("x-v", "hello")]))

GZIP = {"name": "gzip", "typed_config": typed("envoy.extensions.compression.gzip.compressor.v3.Gzip")}
s = one("compressor", "compressor.v3.Compressor", compressor_library=GZIP, response_direction_config={"common_config": {"min_content_length": 30}}, stats=["http.ingress.compressor.*"])
TEXT = answer(200, ("content-type", "text/plain"), ("etag", '"x"'), body=b"hello " * 100)
VARY = ["client.*.body", "log.*.sent"]
s.case("compressor: gzip is accepted", get("/", [("accept-encoding", "gzip")]), upstream=TEXT, ignore=VARY + ["stats.*total_compressed_bytes*"])
s.case("compressor: not accepted", get("/"), upstream=TEXT)
s.case("compressor: q=0", get("/", [("accept-encoding", "gzip;q=0, *;q=0.5")]), upstream=TEXT, ignore=VARY + ["stats.*total_compressed_bytes*"])
s.case("compressor: too short", get("/", [("accept-encoding", "gzip")]), upstream=answer(200, ("content-type", "text/plain"), body=b"short"))
s.case("compressor: another type", get("/", [("accept-encoding", "gzip")]), upstream=answer(200, ("content-type", "image/png"), body=b"x" * 500))
s.case("compressor: already encoded", get("/", [("accept-encoding", "gzip")]), upstream=answer(200, ("content-type", "text/plain"), ("content-encoding", "br"), body=b"x" * 500))
s = one("decompressor", "decompressor.v3.Decompressor", decompressor_library={"name": "gzip", "typed_config": typed("envoy.extensions.compression.gzip.decompressor.v3.Gzip")}, stats=["http.ingress.decompressor.*"])
s.case("decompressor: a response", get("/"), upstream=answer(200, ("content-encoding", "gzip"), body=gzip.compress(b"hello " * 100, mtime=0)))
s.case("decompressor: a request", post("/", gzip.compress(b"hello", mtime=0), [("content-encoding", "gzip")]))
s.case("decompressor: garbage", get("/"), upstream=answer(200, ("content-encoding", "gzip"), body=b"not gzip"), ignore=VARY)

COOKIE = {"name": "envoy.http.stateful_session.cookie", "typed_config": typed("envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState", cookie={"name": "session", "path": "/", "ttl": "120s"})}
s = GROUP.setup("stateful session", http([route("/", "pool")], [cluster("pool", ["a", "b"], lb_policy="ROUND_ROBIN")], filters=[http_filter("envoy.filters.http.stateful_session", X + "stateful_session.v3.StatefulSession", session_state=COOKIE)]))
s.case("stateful session sets a cookie", get("/"), ignore=["client.*.headers.set-cookie", "client.*.body", "log.*.host", "upstream.*.host"])


def session(host):
    import base64
    return lambda side: "session=" + base64.b64encode(f"127.0.0.1:{side.ports[host]}".encode()).decode()


for host in ("a", "b"):
    s.case(f"stateful session goes back to {host}", *[get("/", [("cookie", session(host))])] * 3, ignore=["upstream.*.headers.cookie", "client.*.headers.set-cookie"])

s = one("bandwidth_limit", "bandwidth_limit.v3.BandwidthLimit", stat_prefix="bw", enable_mode="REQUEST_AND_RESPONSE", limit_kbps=100, fill_interval="0.1s", stats=["*http_bandwidth_limit.*_enabled"])
s.case("bandwidth limit", get("/"), upstream=answer(200, body=b"x" * 2000))
s = one("bandwidth_limit", "bandwidth_limit.v3.BandwidthLimit", stat_prefix="bw2", enable_mode="REQUEST_AND_RESPONSE", limit_kbps=8, fill_interval="0.02s", stats=["*http_bandwidth_limit.*_total_size"])
s.case("bandwidth limit: more than the bucket", post("/", b"x" * 2000), upstream=answer(200, body=b"x" * 9000))
for limit in ({"runtime_enabled": {"default_value": False, "runtime_key": "x"}, "limit_kbps": 1}, {"enable_mode": "DISABLED"}):
    s = one("bandwidth_limit", "bandwidth_limit.v3.BandwidthLimit", **{"stat_prefix": "bw", "enable_mode": "RESPONSE", **limit}, stats=["*http_bandwidth_limit.*"])
    s.case(f"bandwidth limit that is off: {next(iter(limit))}", get("/"), upstream=answer(200, body=b"x" * 2000))

ADMISSION = {"success_criteria": {"http_criteria": {"http_success_status": [{"start": 100, "end": 400}]}}, "sr_threshold": {"default_value": {"value": 100}, "runtime_key": "s"}, "max_rejection_probability": {"default_value": {"value": 100}, "runtime_key": "m"}, "sampling_window": "60s"}
s = one("admission_control", "admission_control.v3.AdmissionControl", **ADMISSION, rps_threshold={"default_value": 0, "runtime_key": "r"}, stats=["http.ingress.admission_control.*"])
s.case("admission control counts", get("/"), get("/"), upstream=[answer(200), answer(404)])
s = one("admission_control", "admission_control.v3.AdmissionControl", **ADMISSION, aggression={"default_value": 1000, "runtime_key": "a"}, stats=["http.ingress.admission_control.rq_rejected"])
s.case("admission control refuses", get("/"), get("/"), upstream=answer(503))
s = one("admission_control", "admission_control.v3.AdmissionControl", **ADMISSION, rps_threshold={"default_value": 1000, "runtime_key": "r"}, stats=["http.ingress.admission_control.*"])
s.case("admission control: too few requests to judge", *[get("/")] * 10, upstream=answer(503))

GRADIENT = {"concurrency_limit_params": {"concurrency_update_interval": "0.1s"}, "min_rtt_calc_params": {"interval": "60s", "request_count": 2, "min_concurrency": 1}}
s = one("adaptive_concurrency", "adaptive_concurrency.v3.AdaptiveConcurrency", gradient_controller_config=GRADIENT, stats=["http.ingress.adaptive_concurrency.*.rq_blocked", "http.ingress.adaptive_concurrency.*.concurrency_limit", "http.ingress.adaptive_concurrency.*.min_rtt_calculation_active"])
s.case("adaptive concurrency: one after the other", get("/"), get("/"), get("/"))
s = one("adaptive_concurrency", "adaptive_concurrency.v3.AdaptiveConcurrency", gradient_controller_config=GRADIENT, concurrency_limit_exceeded_status={"code": "TooManyRequests"}, stats=["http.ingress.adaptive_concurrency.*.rq_blocked"])
s.case("adaptive concurrency: two at once", Together(get("/slow"), get("/slow"), stagger=0.1), upstream=answer(200, delay=0.4))

SESSION_HEADER = {"name": "envoy.http.stateful_session.header", "typed_config": typed("envoy.extensions.http.stateful_session.header.v3.HeaderBasedSessionState", name="x-session")}
SESSION = ["*stateful_session*"]
for strict in (False, True):
    s = GROUP.setup(f"session header, strict {strict}", http([route("/", "pool")], [cluster("pool", ["a", "b"], lb_policy="ROUND_ROBIN")], filters=[http_filter("envoy.filters.http.stateful_session", X + "stateful_session.v3.StatefulSession", session_state=SESSION_HEADER, strict=strict, stat_prefix="st")]), stats=SESSION)
    VARIES = ["client.*.headers.x-session", "client.*.body", "log.*.host", "upstream.*.host", "upstream.*.headers.x-session"]
    s.case(f"session header, strict {strict}: first request", get("/"), ignore=VARIES)
    for host in ("a", "b"):
        s.case(f"session header, strict {strict}: back to {host}", *[get("/", [("x-session", lambda side, host=host: session(host)(side)[8:])])] * 2, ignore=["upstream.*.headers.x-session"])
    for words, value in (("a host that is not there", "MS4yLjMuNDo4MA=="), ("garbage", "!!"), ("no address", "eHl6")):
        s.case(f"session header, strict {strict}: {words}", get("/", [("x-session", value)]), ignore=VARIES)
PER_SESSION = lambda **fields: {"envoy.filters.http.stateful_session": typed(X + "stateful_session.v3.StatefulSessionPerRoute", **fields)}
s = GROUP.setup("session cookie, routes", http([route("/off", "pool", typed_per_filter_config=PER_SESSION(disabled=True)), route("/header", "pool", typed_per_filter_config=PER_SESSION(stateful_session={"session_state": SESSION_HEADER, "strict": True})), route("/", "pool")],
    [cluster("pool", ["a", "b"], lb_policy="ROUND_ROBIN")], filters=[http_filter("envoy.filters.http.stateful_session", X + "stateful_session.v3.StatefulSession", session_state={"name": "envoy.http.stateful_session.cookie", "typed_config": typed("envoy.extensions.http.stateful_session.cookie.v3.CookieBasedSessionState", cookie={"name": "session", "path": "/app"})}, stat_prefix="st")]), stats=SESSION)
VARIES = ["client.*.headers.set-cookie", "client.*.body", "log.*.host", "upstream.*.host", "upstream.*.headers.cookie", "client.*.headers.x-session"]
for path in ("/off", "/app", "/apple", "/app/x", "/header", "/"):
    s.case(f"session cookie: {path}", get(path), ignore=VARIES)
s.case("session cookie: a host that is not there", get("/app", [("cookie", "session=MS4yLjMuNDo4MA==")]), ignore=VARIES)

LUA = """
function envoy_on_request(h)
  h:headers():add("x-lua", h:headers():get(":path"))
  if h:headers():get("x-stop") then h:respond({[":status"] = "403", ["x-by"] = "lua"}, "stopped") end
end
function envoy_on_response(h)
  h:headers():replace("x-status", h:headers():get(":status"))
  h:headers():remove("x-up")
end
"""
s = one("lua", "lua.v3.Lua", default_source_code={"inline_string": LUA})
s.case("lua changes headers", get("/p"), upstream=answer(200, ("x-up", "1")))
s.case("lua answers itself", get("/p", [("x-stop", "1")]))
s = one("custom_response", "custom_response.v3.CustomResponse", custom_response_matcher={"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": {"name": "c", "typed_config": typed("envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput")}, "value_match": {"exact": "500"}}},
    "on_match": {"action": {"name": "local", "typed_config": typed("envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy", status_code=499, body={"inline_string": "custom"}, response_headers_to_add=[add("x-custom", "1")])}}}]}})
s.case("custom response", get("/"), upstream=answer(500, body=b"orig"))
s.case("custom response to HEAD", Request("HEAD", "/"), upstream=answer(500, body=b"orig"))
s.case("custom response does not apply", get("/"), upstream=answer(501, body=b"orig"))
s = GROUP.setup("disabled filter", http([route("/on", "a", typed_per_filter_config={"envoy.filters.http.header_mutation": typed("envoy.config.route.v3.FilterConfig", config=typed(X + "header_mutation.v3.HeaderMutationPerRoute", mutations={"request_mutations": [{"append": {"header": {"key": "x-route", "value": "1"}}}]}))}), route("/", "a")],
    filters=[http_filter("envoy.filters.http.header_mutation", X + "header_mutation.v3.HeaderMutation", disabled=True, mutations={"request_mutations": [{"append": {"header": {"key": "x-base", "value": "1"}}}]})]))
s.case("a filter that is disabled", get("/"))
s.case("a disabled filter switched on by its route", get("/on"))


def logs(name, filter, *cases):
    s = GROUP.setup(f"log {name}", http([route("/bad", "dead-cluster"), route("/slow", "a"), route("/", "a")], [cluster("a"), cluster("dead-cluster", ["dead"])], access_log=[access_log(filter=filter)]))
    for path, headers, script in cases:
        s.case(f"log filter {name}: {path}", get(path, headers), upstream=script, ignore=["log.*.failure", "log.*.details", "log.*.sent", "client.*.body", "client.*.headers.content-length"] if path == "/bad" else [])


RUN = {"runtime_key": "x"}
NOT_FOUND = answer(404)
logs("status", {"status_code_filter": {"comparison": {"op": "GE", "value": {"default_value": 400, **RUN}}}}, ("/ok", [], []), ("/no", [], [NOT_FOUND]))
logs("duration", {"duration_filter": {"comparison": {"op": "GE", "value": {"default_value": 200, **RUN}}}}, ("/fast", [], []), ("/slow", [], [answer(200, delay=0.4)]))
logs("flags", {"response_flag_filter": {"flags": ["UF", "URX"]}}, ("/ok", [], []), ("/bad", [], []))
logs("any flag", {"response_flag_filter": {}}, ("/ok", [], []), ("/bad", [], []))
logs("header", {"header_filter": {"header": {"name": "x-log", "present_match": True}}}, ("/ok", [], []), ("/ok2", [("x-log", "1")], []))
logs("not health", {"not_health_check_filter": {}}, ("/ok", [], []))
logs("runtime", {"runtime_filter": {"runtime_key": "x", "percent_sampled": {"numerator": 0}}}, ("/ok", [], []))
logs("or", {"or_filter": {"filters": [{"status_code_filter": {"comparison": {"op": "EQ", "value": {"default_value": 404, **RUN}}}}, {"header_filter": {"header": {"name": "x-log", "present_match": True}}}]}}, ("/ok", [], []), ("/no", [], [NOT_FOUND]), ("/ok2", [("x-log", "1")], []))
logs("grpc", {"grpc_status_filter": {"statuses": ["NOT_FOUND"]}}, ("/ok", [], []), ("/grpc", [("content-type", "application/grpc")], [answer(200, ("content-type", "application/grpc"), ("grpc-status", "5"), body=b"")]))

MANY = {key: f"%{key}%" for key in (
    "PROTOCOL", "RESPONSE_CODE", "RESPONSE_CODE_DETAILS", "CONNECTION_TERMINATION_DETAILS", "RESPONSE_FLAGS", "RESPONSE_FLAGS_LONG", "BYTES_RECEIVED", "BYTES_SENT", "UPSTREAM_HOST", "UPSTREAM_CLUSTER", "UPSTREAM_CLUSTER_RAW", "UPSTREAM_REQUEST_ATTEMPT_COUNT",
    "UPSTREAM_REMOTE_ADDRESS", "UPSTREAM_REMOTE_PORT", "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_LOCAL_ADDRESS", "DOWNSTREAM_LOCAL_PORT", "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
    "REQUESTED_SERVER_NAME", "ROUTE_NAME", "VIRTUAL_CLUSTER_NAME", "UPSTREAM_PROTOCOL", "REQUEST_HEADERS_BYTES", "RESPONSE_TRAILERS_BYTES", "GRPC_STATUS", "GRPC_STATUS_NUMBER", "DOWNSTREAM_TLS_VERSION", "FILTER_CHAIN_NAME", "UPSTREAM_TRANSPORT_FAILURE_REASON",
    "RESPONSE_HEADERS_BYTES", "DOWNSTREAM_TRANSPORT_FAILURE_REASON", "ACCESS_LOG_TYPE", "DOWNSTREAM_WIRE_BYTES_RECEIVED", "UPSTREAM_WIRE_BYTES_RECEIVED")}
MANY |= {"req": "%REQ(x-a)%", "req2": "%REQ(x-none?x-a):3%", "text": "a %PROTOCOL% b %RESPONSE_CODE%", "resp": "%RESP(x-up)%", "trailer": "%TRAILER(x-t)%", "static": "words", "number": 7, "nested": {"deep": "%RESPONSE_CODE%", "list": ["%PROTOCOL%", "x"]},
         "env": "%ENVIRONMENT(NOTHING_LIKE_THIS)%", "query": "%QUERY_PARAM(q)%", "path": "%PATH(NQ)%", "full": "%PATH%", "meta": "%METADATA(ROUTE:ns:k)%"}
s = GROUP.setup("log operators", http([route("/", "a", name="named", metadata={"filter_metadata": {"ns": {"k": "v"}}})], access_log=[access_log(MANY)]), ignore=["log.*.REQUEST_HEADERS_BYTES", "log.*.DOWNSTREAM_WIRE_BYTES_RECEIVED", "log.*.UPSTREAM_WIRE_BYTES_RECEIVED", "log.*.RESPONSE_HEADERS_BYTES"])
s.case("many operators", get("/p?q=1&r=2", [("x-a", "value")]), upstream=answer(200, ("x-up", "1")))
s.case("many operators without anything", get("/"))
s.case("quotes and controls in JSON", get("/p", [("x-a", "a\"b\\c\td\xe9")]))
BASIC = {"omit_empty_values": True}
s = GROUP.setup("log default", http(access_log=[{"name": "f", "typed_config": typed("envoy.extensions.access_loggers.file.v3.FileAccessLog", path="$dir/access.log")}]))


class Line(Wait):
    """The default format's line, its times and ids replaced."""

    async def run(self, side):
        import asyncio
        import re
        await asyncio.sleep(1.2)
        text = " ".join(side.log_lines(0))
        return {"line": re.sub(r"[0-9a-f]{8}-[0-9a-f-]{27}", "<uuid>", re.sub(r"\[\d{4}-.*?\]", "[time]", re.sub(r' \d+ (\d+|-) "', ' N N "', text)))}


s.case("the default format", get("/p?q", [("user-agent", "me")]), Line(1), ignore=["log.*"])

REDIRECT = "envoy.extensions.http.custom_response.redirect_policy.v3.RedirectPolicy"


def custom_redirect(name, routes=None, **fields):
    policy = typed(REDIRECT, **fields)
    return one(name, "custom_response.v3.CustomResponse", routes=routes or [route("/none", action={"direct_response": {"status": 503}}), route("/", "a")], stats=["http.ingress.custom_response*"], custom_response_matcher={"matcher_list": {"matchers": [
        {"predicate": {"single_predicate": {"input": {"name": "c", "typed_config": typed("envoy.type.matcher.v3.HttpResponseStatusCodeClassMatchInput")}, "value_match": {"exact": "5xx"}}}, "on_match": {"action": {"name": "r", "typed_config": policy}}}]}})


BAD, GOOD = answer(503, body=b"bad"), answer(200, ("x-up", "1"), body=b"page")
s = custom_redirect("custom_response:uri", uri="http://sorry.test/page?x=1", status_code=299, request_headers_to_add=[add("x-from", "%RESPONSE_CODE%")], response_headers_to_add=[add("x-sorry", "1")])
s.case("custom response redirect", get("/"), upstream=[BAD, GOOD])
s.case("custom response redirect: HEAD", Request("HEAD", "/"), upstream=[BAD, GOOD])
s.case("custom response redirect: what comes from there failed", get("/"), upstream=[BAD, answer(502, body=b"worse")])
s.case("custom response redirect: nothing to redirect", get("/"), upstream=[GOOD])
s.case("custom response redirect: an answer of the proxy", get("/none"), upstream=[GOOD])
s = custom_redirect("custom_response:action", redirect_action={"path_redirect": "/other", "host_redirect": "else.test"})
s.case("custom response redirect action", get("/p?q=1"), upstream=[BAD, GOOD])
s = custom_redirect("custom_response:nowhere", routes=[route("/there", "a")], uri="http://sorry.test/nowhere")
s.case("custom response redirect without a route", get("/there"), upstream=[BAD])

LOCAL_REPLY = {"name": "l", "typed_config": typed("envoy.type.matcher.v3.HttpResponseLocalReplyMatchInput")}
for value in ("true", "false"):
    s = one("custom_response", "custom_response.v3.CustomResponse", [route("/up", "a"), route("/local", action={"direct_response": {"status": 500}}), route("/dead", "dead-cluster")], [cluster("a"), cluster("dead-cluster", ["dead"])],
        custom_response_matcher={"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": LOCAL_REPLY, "value_match": {"exact": value}}},
            "on_match": {"action": {"name": "local", "typed_config": typed("envoy.extensions.http.custom_response.local_response_policy.v3.LocalResponsePolicy", status_code=499, body={"inline_string": "custom"})}}}]}})
    for path in ("/up", "/local", "/dead"):
        s.case(f"custom response, local reply {value}: {path}", get(path), upstream=answer(500, body=b"orig"))
