"""Which failed tries are tried again, where, and how often."""
from client import Request, Together, Until, Wait, get, post
from config import add, cluster, endpoint, http, route, vhost
from model import Group, answer

GROUP = Group("retries")


def retry(on, **fields):
    return {"retry_on": on, "retry_back_off": {"base_interval": "0.005s", "max_interval": "0.010s"}, **fields}


AVOID = {"retry_host_predicate": [{"name": "envoy.retry_host_predicates.previous_hosts", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}], "host_selection_retry_max_attempts": 5}
BAD, GATEWAY, OK = answer(500, body=b"bad"), answer(503, body=b"gateway"), answer(200)

s = GROUP.setup("conditions", http([
    route("/5xx-thrice", "a", name="5xx-thrice", retry_policy=retry("5xx", num_retries=3)),
    route("/5xx", "a", name="5xx", retry_policy=retry("5xx")),
    route("/gateway", "a", name="gateway", retry_policy=retry("gateway-error")),
    route("/retriable-4xx", "a", name="4xx", retry_policy=retry("retriable-4xx")),
    route("/reset-before", "a", name="reset-before", retry_policy=retry("reset-before-request")),
    route("/reset", "a", name="reset", retry_policy=retry("reset")),
    route("/codes", "a", name="codes", retry_policy=retry("retriable-status-codes", retriable_status_codes=[418, 429])),
    route("/headers", "a", name="headers", retry_policy=retry("retriable-headers", retriable_headers=[{"name": "x-again", "string_match": {"exact": "yes"}}])),
    route("/request-headers", "a", name="request-headers", retry_policy=retry("5xx", retriable_request_headers=[{"name": "x-may", "present_match": True}])),
    route("/connect", "dead-cluster", name="connect", retry_policy=retry("connect-failure")),
    route("/overloaded", "a", name="envoy-ratelimited", retry_policy=retry("envoy-ratelimited")),
    route("/refused", "a", name="refused-stream", retry_policy=retry("refused-stream")),
    route("/none", "a", name="no policy"),
    route("/zero", "a", name="zero", retry_policy=retry("5xx", num_retries=0)),
    route("/per-try", "a", name="per-try", retry_policy=retry("5xx", per_try_timeout="0.2s")),
    route("/per-try-idle", "a", name="per-try-idle", retry_policy=retry("5xx,reset", per_try_idle_timeout="0.2s")),
    route("/grpc", "a", name="grpc", retry_policy=retry("cancelled,unavailable,deadline-exceeded,resource-exhausted,internal")),
    route("/together", "a", name="together", retry_policy=retry("connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes", num_retries=2, retriable_status_codes=[503])),
], [cluster("a"), cluster("dead-cluster", ["dead"])], vhosts=None))
for name, path, script in [
    ("5xx once", "/5xx", [BAD]), ("5xx more often than allowed", "/5xx", [BAD, GATEWAY]), ("5xx three times", "/5xx-thrice", [BAD, BAD, BAD]),
    ("5xx and then 404", "/5xx-thrice", [BAD, answer(404, body=b"not there")]), ("5xx on reset", "/5xx", [answer(reset="before")]),
    ("5xx on reset twice", "/5xx", [answer(reset="before")] * 2),
    ("gateway error on 500", "/gateway", [BAD]), ("gateway error on 503", "/gateway", [GATEWAY]), ("gateway error on 502 and 504", "/gateway", [answer(504)]),
    ("409 is retriable-4xx", "/retriable-4xx", [answer(409)]), ("404 is not retriable-4xx", "/retriable-4xx", [answer(404)]),
    ("reset", "/reset", [answer(reset="before")]), ("reset: an orderly close", "/reset", [answer(reset="close")]), ("reset: 500 is not", "/reset", [BAD]),
    ("reset after the head", "/reset", [answer(200, reset="body", body=b"x" * 1000)]),
    ("reset-before-request after the request", "/reset-before", [answer(reset="before")]),
    ("retriable code", "/codes", [answer(418)]), ("another code", "/codes", [BAD]),
    ("retriable header", "/headers", [answer(200, ("x-again", "yes"))]), ("retriable header with another value", "/headers", [answer(200, ("x-again", "no"))]),
    ("request header missing", "/request-headers", [BAD]), ("connect failure", "/connect", []), ("x-envoy-ratelimited", "/overloaded", [answer(429, ("x-envoy-ratelimited", "true"))]),
    ("429 alone is not envoy-ratelimited", "/overloaded", [answer(429)]), ("refused-stream does not concern HTTP/1 resets", "/refused", [answer(reset="before")]),
    ("no policy", "/none", [BAD]), ("num_retries 0", "/zero", [BAD]), ("per try timeout", "/per-try", [answer(hang=True)]), ("per try timeout twice", "/per-try", [answer(hang=True)] * 2),
    ("per try idle timeout", "/per-try-idle", [answer(hang=True)]), ("per try idle timeout in the body", "/per-try-idle", [answer(200, pieces=[b"a" * 10, 5.0, b"b" * 10])]),
    ("grpc status in the head", "/grpc", [answer(200, ("content-type", "application/grpc"), ("grpc-status", "14"), body=b"")]),
    ("grpc status ok", "/grpc", [answer(200, ("content-type", "application/grpc"), ("grpc-status", "0"), body=b"")]),
    ("grpc status other", "/grpc", [answer(200, ("content-type", "application/grpc"), ("grpc-status", "3"), body=b"")]),
    ("a list of conditions", "/together", [GATEWAY, GATEWAY]), ("malformed upstream response", "/reset", [answer(raw=b"garbage\r\n\r\n", close=True)]),
    ("100 before the failure", "/5xx", [answer(500, interim=[(103, [("link", "x")])])]),
]:
    s.case(name, get(path), upstream=script)
s.case("request header there", get("/request-headers", [("x-may", "1")]), upstream=[BAD])
s.case("body is sent again", post("/5xx", b"the body " * 100), upstream=[BAD])
s.case("chunked body is sent again, with trailers", post("/5xx", b"the body " * 100, chunked=True, trailers=[("x-t", "1")]), upstream=[BAD])
s.case("body too large to keep", post("/5xx", b"b" * 3_000_000, body_length=True), upstream=[answer(500, body=b"bad")], ignore=["upstream.*.body"])
s.case("policy by headers of the client", get("/none", [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")]), upstream=[BAD, BAD])
s.case("codes by headers of the client", get("/none", [("x-envoy-retry-on", "retriable-status-codes"), ("x-envoy-retriable-status-codes", "418")]), upstream=[answer(418)])
s.case("early answer while the body is sent", Request("POST", "/5xx", [("content-length", "10")], b"12345", pause=0.1, end=True, timeout=1.5), upstream=[answer(200, early=True, close=True)], logs=0, ignore=["log.*", "stats.*", "upstream.*"])

INTERNAL = {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}}
s = GROUP.setup("client headers of internal requests", http([route("/", "a", name="plain"), ], **INTERNAL))
s.case("internal: x-envoy-retry-on", get("/", [("x-envoy-retry-on", "5xx"), ("x-envoy-max-retries", "2")], source="127.0.0.2"), upstream=[BAD, BAD])
s.case("internal: x-envoy-retry-on without a number", get("/", [("x-envoy-retry-on", "gateway-error")], source="127.0.0.2"), upstream=[GATEWAY, GATEWAY])
s.case("internal: x-envoy-retriable-status-codes", get("/", [("x-envoy-retry-on", "retriable-status-codes"), ("x-envoy-retriable-status-codes", "418,419")], source="127.0.0.2"), upstream=[answer(419)])
s.case("internal: x-envoy-retriable-header-names", get("/", [("x-envoy-retry-on", "retriable-headers"), ("x-envoy-retriable-header-names", "x-again")], source="127.0.0.2"), upstream=[answer(200, ("x-again", "1"))])
s.case("internal: x-envoy-retry-grpc-on", get("/", [("x-envoy-retry-grpc-on", "unavailable")], source="127.0.0.2"), upstream=[answer(200, ("grpc-status", "14"), ("content-type", "application/grpc"), body=b"")])

s = GROUP.setup("hosts", http([route("/", "pool", retry_policy=retry("5xx", num_retries=2, **AVOID))], [cluster("pool", ["a", "b", "c"])]))
s.case("previous hosts are avoided", get("/", conn="c"), get("/", conn="c"), get("/", conn="c"), upstream={"a": [BAD] * 9, "b": [BAD] * 9, "c": [BAD] * 9}, ignore=["upstream.*", "log.*.host"])
s.case("another host answers", *[get("/")] * 6, upstream={"a": [BAD] * 20}, ignore=["upstream.*", "log.*", "stats.*", "client.*.body"])

s = GROUP.setup("priorities", http([route("/", "pool", retry_policy=retry("5xx", num_retries=1, retry_priority={"name": "envoy.retry_priorities.previous_priorities", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.retry.priority.previous_priorities.v3.PreviousPrioritiesConfig", "update_frequency": 1}}))],
    [cluster("pool", localities=[{"priority": 0, "lb_endpoints": [endpoint("a")]}, {"priority": 1, "lb_endpoints": [endpoint("b")]}])]))
s.case("the next priority", get("/"), upstream={"a": [BAD]})

s = GROUP.setup("canary and omit metadata", http([route("/", "pool", retry_policy=retry("5xx", num_retries=2, retry_host_predicate=[{"name": "envoy.retry_host_predicates.omit_canary_hosts", "typed_config": {
    "@type": "type.googleapis.com/envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"}}], host_selection_retry_max_attempts=10))],
    [cluster("pool", [endpoint("a", metadata={"filter_metadata": {"envoy.lb": {"canary": True}}}), "b"])]))
s.case("canary hosts are omitted", get("/"), get("/"), upstream={"a": [BAD] * 4}, ignore=["upstream.*", "log.*", "stats.*"])

s = GROUP.setup("limits", http([
    route("/", "a", retry_policy=retry("5xx", num_retries=3)),
], [cluster("a", circuit_breakers={"thresholds": [{"max_retries": 0}]})]))
s.case("no retries in parallel allowed", get("/"), upstream=[BAD])
s = GROUP.setup("budget", http([route("/", "a", retry_policy=retry("5xx", num_retries=3))], [
    cluster("a", circuit_breakers={"thresholds": [{"retry_budget": {"budget_percent": {"value": 0}, "min_retry_concurrency": 0}}]})]))
s.case("a budget of nothing", get("/"), upstream=[BAD])
s = GROUP.setup("budget with a minimum", http([route("/", "a", retry_policy=retry("5xx", num_retries=3))], [
    cluster("a", circuit_breakers={"thresholds": [{"retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 3}}]})]))
s.case("a budget's minimum", get("/"), upstream=[BAD, BAD])

s = GROUP.setup("rate limited back-off", http([route("/", "a", retry_policy=retry("5xx", num_retries=1, rate_limited_retry_back_off={
    "reset_headers": [{"name": "retry-after", "format": "SECONDS"}], "max_interval": "2s"})), ]))
s.case("retry-after is waited for", get("/"), upstream=[answer(503, ("retry-after", "1"))])

s = GROUP.setup("of the virtual host", http(vhosts=[vhost("v", ["*"], [route("/own", "a", retry_policy=retry("gateway-error")), route("/", "a")], retry_policy=retry("5xx", num_retries=2),
    include_request_attempt_count=True, include_attempt_count_in_response=True)]))
s.case("virtual host's policy", get("/"), upstream=[BAD, BAD])
s.case("route's policy wins", get("/own"), upstream=[BAD])
s.case("attempt count of a retry", get("/"), upstream=[BAD])

s = GROUP.setup("hedge", http([route("/", "a", timeout="3s", retry_policy=retry("5xx", num_retries=1, per_try_timeout="0.2s"), hedge_policy={"hedge_on_per_try_timeout": True})]))
s.case("hedged on per try timeout: the second wins", get("/"), upstream=[answer(hang=True)])
s.case("hedged on per try timeout: the first wins", get("/"), upstream=[answer(200, body=b"first", delay=0.5), answer(200, body=b"second", delay=2.0)])
