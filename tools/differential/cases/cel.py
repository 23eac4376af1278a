"""CEL: conditions of access logs, of policies and of matcher trees, and values in formats.

Expressions are ones that Envoy takes without `cel_config`: it has no macros that loop and no texts put together there (docs/envoy-differences.md).
"""
from client import get, post
from config import access_log, http, http_filter, respond, route, typed
from model import Group, answer

GROUP = Group("cel")
ANY = {"any": True}
RBAC, INPUT, MATCHER = "envoy.extensions.filters.http.rbac.v3.RBAC", "xds.type.matcher.v3.HttpAttributesCelMatchInput", "xds.type.matcher.v3.CelMatcher"
ACTION = "envoy.config.rbac.v3.Action"

# Each is the condition of a log line of its own.
CONDITIONS = """
request.method == 'GET'
request.method != 'GET'
request.path == '/p?q=1'
request.url_path == '/p'
request.query == 'q=1'
request.host == 'example.test'
request.scheme == 'http'
request.protocol == 'HTTP/1.1'
request.headers['x-a'] == 'one'
request.headers['x-a'] == 'one,two'
request.headers['X-A'].startsWith('o')
request.headers['x-none'] == ''
request.headers[':path'] == request.path
'x-a' in request.headers
'x-none' in request.headers
has(request.headers.referer)
has(request.referer) && request.referer == 'r'
request.useragent.contains('test')
request.useragent == ''
request.size == 5
request.size > 0
request.total_size > request.size
request.duration < duration('30s')
request.duration > duration('1h')
request.time > timestamp('2020-01-01T00:00:00Z')
request.time.getFullYear() >= 2020
request.nothing == 1
request.path.matches('^/p')
request.path.matches('q')
request.path.endsWith('q=1') && !request.path.contains('x')
matches(request.method, 'GE')
response.code == 200
response.code >= 400 && response.code < 500
response.code in [200, 404]
response.code == 200u
response.code == 200.0
response.code == '200'
response.code < 300.5
response.code / 100 == 2
response.code % 100 == 4 || response.code == 404
response.code / 0 == 1 || response.code == 200
response.code / 0 == 1 && response.code == 200
response.code_details == 'via_upstream'
response.flags != 0
response.flags == 0
response.size == 0
response.size > 0
response.grpc_status == 0
response.grpc_status == 12
has(response.grpc_status)
response.headers['x-up'] == 'u'
has(response.headers.server)
'grpc-status' in response.trailers
response.backend_latency < duration('30s')
source.address.startsWith('127.0.0.1:')
source.port > 0
destination.port > 0 && destination.address != ''
connection.mtls
!connection.mtls
connection.requested_server_name == ''
has(connection.tls_version)
connection.id >= 0u
has(connection.termination_details)
upstream.address.startsWith('127.0.0.1:')
has(upstream.address)
upstream.port > 0
upstream.request_attempt_count == 1u
upstream.transport_failure_reason == ''
xds.cluster_name == 'a'
xds.route_name == 'named'
xds.route_name == ''
xds.virtual_host_name != ''
has(xds.nothing)
metadata.filter_metadata['com.example']['k'] == 'v'
has(metadata.filter_metadata)
'com.example' in metadata.filter_metadata
filter_state['none'] == b''
'none' in filter_state
nobody == 1
response.code
true
false
1 + 2 * 3 == 7
-7 / 2 == -3 && -7 % 3 == -1
9223372036854775807 + 1 > 0
size('é') == 1 && size(b'é') == 2
{'a': 1}['a'] == 1
{'a': 1}.b == 1
[1, 2][1] == 2
[1, 2][2] == 2
type(1) == int
int('12') == 12
int(1.9) == 1
uint(3) == 3u
double('1.5') == 1.5
bytes('a') == b'a'
duration('90s').getMinutes() == 1
timestamp('2026-11-22T23:30:00Z').getDayOfWeek() == 0
timestamp('2026-11-22T23:30:00Z').getHours('+01:00') == 0
duration('3.1s').getMilliseconds() == 100
r'\\d' == '\\\\d'
'a' < 'b' && b'a' < b'b' && false < true
1 == 'a'
1 < 'a'
!1
request.method == 'GET' ? response.code == 200 : response.code == 404
timestamp('2026-01-02T00:00:00Z') - timestamp('2026-01-01T00:00:00Z') == duration('24h')
""".strip().splitlines()

# Values, each printed beside its own text.
VALUES = """request.method|request.path|request.url_path|request.query|request.host|request.scheme|request.protocol|request.headers['x-a']|request.headers['x-none']
request.referer|request.useragent|request.size|request.nothing|response.code|response.code_details|response.flags|response.size|response.grpc_status|response.headers['x-up']
connection.mtls|connection.requested_server_name|upstream.request_attempt_count|xds.cluster_name|xds.route_name|1 + 1|1.5|2.0|5u|null|[1]|{1: 1}|b'ab'|true
duration('3723s')|duration('1500us')|duration('1.5s')|timestamp('2026-01-02T03:04:05.5Z')|timestamp('2026-01-02T03:04:05Z')|request.headers['x-a'].startsWith('o')|type(1)"""
VALUES = VALUES.replace("\n", "|").split("|")


def log(fields, condition=None):
    entry = access_log(fields)
    entry["typed_config"]["log_format"]["formatters"] = [{"name": "envoy.formatter.cel", "typed_config": typed("envoy.extensions.formatter.cel.v3.Cel")}]
    if condition is not None:
        entry["filter"] = {"extension_filter": {"name": "envoy.access_loggers.extension_filters.cel", "typed_config": typed(
            "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter", expression=condition)}}
    return entry


def parsed(expression):
    """A parsed expression: a string is a name with dots, a list a call (`.name` with its target first), `("text",)` a literal."""
    if isinstance(expression, str):
        *inner, last = expression.split(".")
        return {"select_expr": {"operand": parsed(".".join(inner)), "field": last}} if inner else {"ident_expr": {"name": last}}
    if isinstance(expression, tuple):
        kind = {str: "string_value", int: "int64_value", bool: "bool_value"}[type(expression[0])]
        return {"const_expr": {kind: expression[0]}}
    function, *operands = expression
    operands = [parsed(operand) for operand in operands]
    if function.startswith("."):
        return {"call_expr": {"target": operands[0], "function": function[1:], "args": operands[1:]}}
    return {"call_expr": {"function": function, "args": operands}}


def when(expression, name, action="ALLOW"):
    """A matcher with a CEL condition."""
    return {"predicate": {"single_predicate": {"input": {"name": "cel", "typed_config": typed(INPUT)}, "custom_match": {
        "name": "cel", "typed_config": typed(MATCHER, expr_match={"cel_expr_parsed": {"expr": parsed(expression)}})}}},
        "on_match": {"action": {"name": name, "typed_config": typed(ACTION, name=name, action=action)}}}


ROUTES = [route("/missing", action=respond(404, "none")), route("/named", "a", name="named"), route("/", "a")]
UP = answer(200, ("x-up", "u"), body=b"hello")
REQUESTS = [
    ("a plain request", get("/p?q=1", [("x-a", "one")])),
    ("two values, a referer, an agent", get("/named", [("x-a", "one"), ("x-a", "two"), ("referer", "r"), ("user-agent", "test/1")])),
    ("a body", post("/p", b"12345")),
    ("no route's answer but the proxy's", get("/missing/x?q=1", [("user-agent", "")])),
]

# Each condition has a log entry of its own; the last line has none, so that every line is there when it is.
s = GROUP.setup("conditions", http(ROUTES, access_log=[*(log({"condition": condition.replace("%", "%%")}, condition) for condition in CONDITIONS), log({"done": "yes"})]))
for name, request in REQUESTS:
    s.case(f"conditions: {name}", request, upstream=UP)
s = GROUP.setup("values", http(ROUTES, access_log=[log({value: f"%CEL({value})%" for value in VALUES})]))
for name, request in REQUESTS:
    s.case(f"values: {name}", request, upstream=UP)

for action in ("ALLOW", "DENY"):
    s = GROUP.setup(f"policy {action}", http(ROUTES, filters=[http_filter("envoy.filters.http.rbac", RBAC, rules={"action": action, "policies": {
        "path": {"permissions": [ANY], "principals": [ANY], "condition": parsed([".startsWith", "request.path", ("/p",)])},
        "header": {"permissions": [ANY], "principals": [ANY], "condition": parsed(["_==_", ["_[_]", "request.headers", ("x-a",)], ("one,two",)])},
        "error": {"permissions": [ANY], "principals": [ANY], "condition": parsed(["_==_", "request.nothing", ("x",)])},
        "no truth": {"permissions": [ANY], "principals": [ANY], "condition": parsed("request.path")},
        "response": {"permissions": [ANY], "principals": [ANY], "condition": parsed(["_==_", "response.code", (200,)])},
    }})]), stats=["http.ingress.rbac.*"])
    for name, request in REQUESTS + [("nothing holds", get("/other"))]:
        s.case(f"policy {action}: {name}", request, upstream=UP)
s = GROUP.setup("matcher", http(ROUTES, filters=[http_filter("envoy.filters.http.rbac", RBAC, matcher={"matcher_list": {"matchers": [
    when(["_&&_", ["_==_", "request.method", ("POST",)], [".matches", "request.path", ("^/p$",)]], "post"),
    when(["_||_", ["_==_", ["_[_]", "request.headers", ("x-a",)], ("one",)], ["_==_", "xds.route_name", ("named",)]], "header or route"),
    when(["!_", "connection.mtls"], "plain", "DENY")]}})]), stats=["http.ingress.rbac.*"])
for name, request in REQUESTS + [("nothing holds", get("/other"))]:
    s.case(f"matcher: {name}", request, upstream=UP)
