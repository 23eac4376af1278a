"""What the connection manager does at the edge: who the client is, early changes of requests, schemes, upgrades that are passed over, own answers by format."""
from client import Raw, get
from config import add, cluster, endpoint, http, respond, route, typed, upstream_tls, vhost
from model import Group, Upstream, answer

GROUP = Group("edge")


def xff(**fields):
    return {"name": "xff", "typed_config": typed("envoy.extensions.http.original_ip_detection.xff.v3.XffConfig", **fields)}


def field(**fields):
    return {"name": "field", "typed_config": typed("envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig", **fields)}


TRUSTED = {"cidrs": [{"address_prefix": "127.0.0.0", "prefix_len": 8}, {"address_prefix": "10.0.0.0", "prefix_len": 8}]}
INTERNAL = {"internal_address_config": {"cidr_ranges": [{"address_prefix": "1.2.0.0", "prefix_len": 16}]}}
WHO = [route("/", "a", request_headers_to_add=[add("x-remote", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")])]
FORWARDED = [(), ("1.2.3.4",), ("1.2.3.4, 10.0.0.7",), ("9.9.9.9, 1.2.3.4",), ("10.0.0.1, 10.0.0.2",), ("nonsense",), ("1.2.3.4, nonsense",), ("",), ("1.2.3.4", "10.0.0.7"), ("::1, 2001:db8::1",)]
for name, extensions, more in [
    ("forwarded for", [xff()], {}), ("forwarded for, one hop", [xff(xff_num_trusted_hops=1)], {}), ("forwarded for, internal", [xff()], INTERNAL),
    ("forwarded for, appended", [xff(skip_xff_append=False)], {}), ("forwarded for, appended but skipped", [xff(skip_xff_append=False)], {"skip_xff_append": True}),
    ("trusted ranges", [xff(xff_trusted_cidrs=TRUSTED)], {}), ("trusted ranges, appended", [xff(xff_trusted_cidrs=TRUSTED, skip_xff_append=False)], INTERNAL),
    ("ranges of others", [xff(xff_trusted_cidrs={"cidrs": [{"address_prefix": "10.0.0.0", "prefix_len": 8}]})], {}),
]:
    s = GROUP.setup(f"client: {name}", http(WHO, original_ip_detection_extensions=extensions, **more))
    for values in FORWARDED:
        s.case(f"client: {name}: {' and '.join(values) if values else 'nothing'}", get("/", [("x-forwarded-for", v) for v in values] + [("x-envoy-internal", "true"), ("x-envoy-max-retries", "2")], source="127.0.0.2"))
for name, fields, more in [
    ("a field", {"header_name": "x-client"}, {}), ("a field, trusted", {"header_name": "X-Client", "allow_extension_to_set_address_as_trusted": True}, INTERNAL),
    ("a field, or refused", {"header_name": "x-client", "reject_with_status": {"code": "Unauthorized"}}, {}),
    ("a field, or refused with no error", {"header_name": "x-client", "reject_with_status": {"code": "OK"}}, {}),
]:
    s = GROUP.setup(f"client: {name}", http(WHO, original_ip_detection_extensions=[field(**fields)], **more))
    for value in (None, "1.2.3.4", "9.9.9.9", "1.2.3.4:80", "nonsense", ""):
        s.case(f"client: {name}: {value!r}", get("/", [("x-client", value)] * (value is not None) + [("x-forwarded-for", "8.8.8.8")]))
s = GROUP.setup("client: a field, else forwarded for", http(WHO, original_ip_detection_extensions=[field(header_name="x-client"), xff()]))
s.case("client: the first that finds one", get("/", [("x-client", "5.6.7.8"), ("x-forwarded-for", "8.8.8.8")]))
s.case("client: the second, where the first finds none", get("/", [("x-forwarded-for", "8.8.8.8")]))
for name, fields in [("beside use_remote_address", {"use_remote_address": True}), ("beside trusted hops", {"xff_num_trusted_hops": 1})]:
    s = GROUP.setup(f"client: {name}", http(WHO, original_ip_detection_extensions=[xff()], **fields), refused=True)
    s.case(f"client: {name} is refused")
s = GROUP.setup("client: hops and ranges", http(WHO, original_ip_detection_extensions=[xff(xff_num_trusted_hops=1, xff_trusted_cidrs=TRUSTED)]), refused=True)
s.case("client: hops and ranges are refused")


def early(*mutations):
    return [{"name": "early", "typed_config": typed("envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation", mutations=list(mutations))}]


s = GROUP.setup("early", http(vhosts=[vhost("v", ["*"], [
    route("/", "b", matcher={"headers": [{"name": "x-way", "string_match": {"exact": "b"}}]}), route("/", "a")])], clusters=[cluster("a"), cluster("b")],
    early_header_mutation_extensions=early(
        {"append": add("x-way", "b")}, {"remove": "x-gone"}, {"append": add("x-forwarded-for", "7.7.7.7", "OVERWRITE_IF_EXISTS_OR_ADD")},
        {"append": add("x-copy", "%REQ(x-in)%")}, {"append": add("x-request-id", "early", "ADD_IF_ABSENT")}, {"append": add("x-path", "%REQ(:path)%")},
        {"append": add("x-from", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")})))
s.case("early changes choose the route", get("/p", [("x-gone", "1"), ("x-in", "v"), ("x-forwarded-for", "1.1.1.1")]))
s.case("early changes of a plain request", get("/p/../q"))

for name, transformation, tls in [("to TLS", {"match_upstream": True}, True), ("to plain text", {"match_upstream": True}, False), ("overwritten", {"match_upstream": True, "scheme_to_overwrite": "https"}, False)]:
    s = GROUP.setup(f"scheme: {name}", http([route("/", "a")], [cluster("a", http2=True, **({"tls": upstream_tls()} if tls else {}))], scheme_header_transformation=transformation), upstreams={"a": Upstream("http2", tls={"certificate": "server", "alpn": ["h2"]} if tls else None)})
    s.case(f"scheme: {name}", get("/", [("x-forwarded-proto", "https" if not tls else "http")]))
    s.case(f"scheme: {name}, without a word of the client", get("/"))

s = GROUP.setup("upgrades", http([route("/", "a")], http_protocol_options={"ignore_http_11_upgrade": [{"prefix": "TLS/"}, {"exact": "foo"}]}, upgrade_configs=[{"upgrade_type": "websocket"}]))
for value in ("TLS/1.0", "TLS/1.2, HTTP/2.0", "foo", "foo, TLS/1.3", "FOO", "bar"):
    s.case(f"upgrade: {value}", Raw(f"GET /u HTTP/1.1\r\nHost: a.example\r\nConnection: upgrade\r\nUpgrade: {value}\r\n\r\n".encode(), end=False))


def text(value, **fields):
    return {"text_format_source": {"inline_string": value}, **fields}


def direct(body=None, format=None, status=200):
    out = {"status": status}
    if body is not None:
        out["body"] = {"inline_string": body}
    if format is not None:
        out["body_format"] = format
    return {"direct_response": out}


s = GROUP.setup("own answers", http(vhosts=[vhost("v", ["*"], [
    route("/text", action=direct("inner", text("<%LOCAL_REPLY_BODY%> %REQ(:PATH)% %RESPONSE_CODE% %PROTOCOL% %REQ(x-in)%"))),
    route("/html", action=direct("inner", text("<p>%LOCAL_REPLY_BODY%</p>", content_type="text/html"), 404)),
    route("/json", action=direct("inner", {"json_format": {"path": "%REQ(:PATH)%", "code": "%RESPONSE_CODE%", "body": "%LOCAL_REPLY_BODY%"}}, 503)),
    route("/alone", action=direct(None, text("%REQ(x-in)%"))), route("/typed", action=direct("x", text("y")), response_headers_to_add=[add("content-type", "a/b", "OVERWRITE_IF_EXISTS_OR_ADD")]),
    route("/plain", action=respond(200, "plain"))])]))
for path in ("/text?q", "/html", "/json", "/alone", "/typed", "/plain"):
    s.case(f"own answer: {path}", get(path, [("x-in", "v")]))
    s.case(f"own answer: {path} without the field", get(path))

s = GROUP.setup("a virtual host without a name", http(vhosts=[vhost("empty", [""], [route("/", action=respond(200, "empty"))]), vhost("other", ["b.example"], [route("/", action=respond(200, "other"))])]))
s.case("the empty domain is nobody's", get("/", host="a.example"))
s.case("and the others are theirs", get("/", host="b.example"))


def options(**fields):
    return {"explicit_http_config": {"http_protocol_options": {}}, **fields}


LATE = "upstream.*.headers.x-envoy-expected-rq-timeout-ms"
s = GROUP.setup("streams of a cluster", http([
    route("/retried", "a", retry_policy={"retry_on": "reset", "num_retries": 1}), route("/", "a")],
    [cluster("a", protocol=options(common_http_protocol_options={"max_stream_duration": "0.2s"}))]), stats=["cluster.a.upstream_rq_max_duration_reached"])
s.case("a stream of a cluster takes too long", get("/"), upstream=answer(hang=True), ignore=[LATE])
s.case("a stream of a cluster takes too long, twice", get("/retried"), upstream=answer(hang=True), ignore=[LATE])
s.case("a stream of a cluster is in time", get("/"))
s.case("a request of a cluster is sent too slowly", Raw(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\nab", end=False), ignore=[LATE])

HOSTS = [endpoint(n, metadata={"filter_metadata": {"envoy.lb": {"hash_key": n}}}) for n in ("a", "b", "c", "d")]
for name, of_route in [("alone", []), ("beside a route's", [{"header": {"header_name": "x-route"}}])]:
    s = GROUP.setup(f"hash policy of a cluster {name}", http([route("/", "pool", hash_policy=of_route)], [
        cluster("pool", HOSTS, lb_policy="RING_HASH", protocol=options(hash_policy=[{"header": {"header_name": "x-cluster"}}]))]), ignore=[LATE])
    for number in range(6):
        s.case(f"hash policy of a cluster {name}: {number}", get("/", [("x-cluster", f"c{number}")] + [("x-route", f"r{number}")] * bool(of_route)))

s = GROUP.setup("hash policy of a typed balancer", http([route("/", "pool", hash_policy=[{"header": {"header_name": "x-route"}}])], [cluster("pool", HOSTS, load_balancing_policy={"policies": [
    {"typed_extension_config": {"name": "ring", "typed_config": typed("envoy.extensions.load_balancing_policies.ring_hash.v3.RingHash", consistent_hashing_lb_config={
        "hash_policy": [{"header": {"header_name": "x-cluster"}}]})}}]})]), ignore=[LATE])
for number in range(6):
    s.case(f"hash policy of a typed balancer: {number}", get("/", [("x-cluster", f"c{number}"), ("x-route", f"r{number}")]))
