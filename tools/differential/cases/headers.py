"""Headers that the proxy adds, changes, removes and trusts."""
from client import Raw, Request, get, post
from config import add, cluster, http, redirect, respond, route, typed, vhost
from model import Group, answer

GROUP = Group("headers")

s = GROUP.setup("plain", http())
for name, headers in [
    ("nothing special", []), ("hop by hop", [("connection", "x-drop, keep-alive"), ("x-drop", "1"), ("keep-alive", "5"), ("x-stay", "1")]),
    ("te", [("te", "trailers"), ("connection", "te")]), ("te gzip", [("te", "gzip")]), ("proxy headers", [("proxy-connection", "keep-alive"), ("proxy-authorization", "x")]),
    ("upgrade without upgrade", [("connection", "upgrade"), ("upgrade", "websocket")]),
    ("http2-settings", [("connection", "upgrade, http2-settings"), ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")]),
    ("forwarded for from client", [("x-forwarded-for", "1.2.3.4, 5.6.7.8")]), ("forwarded proto from client", [("x-forwarded-proto", "https")]),
    ("forwarded proto nonsense", [("x-forwarded-proto", "ftp")]), ("forwarded host from client", [("x-forwarded-host", "other.test")]),
    ("request id from client", [("x-request-id", "mine")]), ("internal headers from client", [
        ("x-envoy-internal", "true"), ("x-envoy-upstream-rq-timeout-ms", "1000"), ("x-envoy-max-retries", "9"), ("x-envoy-retry-on", "5xx"),
        ("x-envoy-external-address", "9.9.9.9"), ("x-envoy-downstream-service-cluster", "me"), ("x-envoy-downstream-service-node", "node"),
        ("x-envoy-expected-rq-timeout-ms", "5"), ("x-envoy-decorator-operation", "op"), ("x-envoy-peer-metadata", "meta"),
        ("x-envoy-ip-tags", "tag"), ("x-envoy-original-path", "/orig"), ("x-envoy-hedge-on-per-try-timeout", "true"), ("x-envoy-force-trace", "true"),
        ("x-envoy-upstream-alt-stat-name", "alt"), ("x-envoy-upstream-rq-timeout-alt-response", "1"), ("x-envoy-retriable-status-codes", "503")]),
    ("client certificate header", [("x-forwarded-client-cert", "By=spoof")]), ("trace headers pass", [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("b3", "0")]),
    ("empty values", [("x-empty", ""), ("x-space", "   ")]), ("obs-text in a value", [("x-latin", "caf\xe9")]), ("same header thrice", [("x-m", "1"), ("X-M", "2"), ("x-m", "1")]),
    ("cookies", [("cookie", "a=1; b=2"), ("cookie", "c=3")]), ("underscore", [("x_under", "1")]), ("long value", [("x-long", "v" * 8000)]),
    ("tab in a value", [("x-tab", "a\tb")]), ("authorization stays", [("authorization", "Basic Zm9v")]), ("host with port", [("x", "y")]),
]:
    s.case(name, get("/p", headers, host="a.example:81" if name == "host with port" else "a.example"))
s.case("response hop by hop", get("/"), upstream=answer(200, ("connection", "x-drop"), ("x-drop", "1"), ("keep-alive", "timeout=5"), ("x-stay", "1")))
s.case("response server and date", get("/"), upstream=answer(200, ("server", "upstream/1"), ("date", "Tue, 15 Nov 1994 08:12:31 GMT")))
s.case("response set-cookie twice", get("/"), upstream=answer(200, ("set-cookie", "a=1"), ("set-cookie", "b=2")))
s.case("response envoy headers of the upstream", get("/"), upstream=answer(200, ("x-envoy-upstream-service-time", "abc"), ("x-envoy-overloaded", "true"), ("x-envoy-immediate-health-check-fail", "x"), ("x-envoy-attempt-count", "3")))
s.case("response via and request id", get("/", [("x-request-id", "mine")]), upstream=answer(200, ("via", "1.1 up"), ("x-request-id", "theirs")))
s.case("response proxy headers", get("/"), upstream=answer(200, ("proxy-connection", "close"), ("proxy-authenticate", "Basic"), ("upgrade", "h2c"), ("te", "x")))

s = GROUP.setup("mutations", http(vhosts=[vhost("v", ["*"], [
    route("/levels", "a", request_headers_to_add=[add("x-level", "route"), add("x-route", "1")], request_headers_to_remove=["x-gone"],
          response_headers_to_add=[add("x-level", "route")], response_headers_to_remove=["x-up-gone"]),
    route("/actions", "a", request_headers_to_add=[
        add("x-app", "added", "APPEND_IF_EXISTS_OR_ADD"), add("x-abs", "added", "ADD_IF_ABSENT"), add("x-over", "added", "OVERWRITE_IF_EXISTS_OR_ADD"),
        add("x-only", "added", "OVERWRITE_IF_EXISTS")],
        response_headers_to_add=[add("x-abs", "added", "ADD_IF_ABSENT"), add("x-over", "added", "OVERWRITE_IF_EXISTS_OR_ADD")]),
    route("/format", "a", request_headers_to_add=[
        add("x-remote", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"), add("x-protocol", "%PROTOCOL%"), add("x-method", "%REQ(:METHOD)%"),
        add("x-path", "%REQ(:PATH)%"), add("x-req", "[%REQ(x-in)%]"), add("x-alt", "%REQ(x-missing?x-in)%"), add("x-short", "%REQ(x-in):2%"),
        add("x-percent", "100%%"), add("x-local", "%DOWNSTREAM_LOCAL_ADDRESS%"), add("x-host", "%HOSTNAME%"), add("x-route-name", "%ROUTE_NAME%"),
        add("x-empty", "%REQ(x-missing)%"), add("x-empty-kept", "%REQ(x-missing)%", keep_empty_value=True)],
        response_headers_to_add=[
            add("x-code", "%RESPONSE_CODE%"), add("x-cluster", "%UPSTREAM_CLUSTER%"), add("x-up", "%UPSTREAM_REMOTE_ADDRESS%"), add("x-flags", "%RESPONSE_FLAGS%"),
            add("x-details", "%RESPONSE_CODE_DETAILS%"), add("x-resp", "%RESP(x-from-up)%")], name="formatted"),
    route("/direct", action=respond(200, "direct"), response_headers_to_add=[add("x-level", "route"), add("content-type", "text/x-own", "OVERWRITE_IF_EXISTS_OR_ADD")]),
    route("/redirect", action=redirect(path_redirect="/there"), response_headers_to_add=[add("x-level", "route")]),
], request_headers_to_add=[add("x-level", "vhost"), add("x-vhost", "1")], response_headers_to_add=[add("x-level", "vhost")], response_headers_to_remove=["x-vhost-gone"])],
    route_config={"request_headers_to_add": [add("x-level", "table"), add("x-table", "1")], "response_headers_to_add": [add("x-level", "table")],
                  "request_headers_to_remove": ["x-table-gone"], "internal_only_headers": ["x-internal"]}))
s.case("levels", get("/levels", [("x-gone", "1"), ("x-table-gone", "1"), ("x-level", "client"), ("x-internal", "1")]),
       upstream=answer(200, ("x-up-gone", "1"), ("x-vhost-gone", "1"), ("x-level", "upstream")))
s.case("append actions without", get("/actions"))
s.case("append actions with", get("/actions", [("x-app", "old"), ("x-abs", "old"), ("x-over", "old"), ("x-only", "old")]), upstream=answer(200, ("x-abs", "old"), ("x-over", "old")))
s.case("append actions with two values", get("/actions", [("x-over", "1"), ("x-over", "2"), ("x-abs", "")]))
s.case("format strings", get("/format?q", [("x-in", "value")]), upstream=answer(201, ("x-from-up", "yes")), ignore=["upstream.0.headers.x-host"])
s.case("format strings without the header", get("/format"), ignore=["upstream.0.headers.x-host"])
s.case("response headers of a direct response", get("/direct"))
s.case("response headers of a redirect", get("/redirect"))
s.case("response headers of a local reply", get("/levels"), upstream=answer(reset="before"))

s = GROUP.setup("host may not be added", http([route("/", "a", request_headers_to_add=[add("host", "added.test")])]), refused=True)
s.case("host through headers to add is refused")

s = GROUP.setup("most specific wins", http(vhosts=[vhost("v", ["*"], [
    route("/", "a", request_headers_to_add=[add("x-level", "route", "OVERWRITE_IF_EXISTS_OR_ADD")], response_headers_to_add=[add("x-level", "route", "OVERWRITE_IF_EXISTS_OR_ADD")])],
    request_headers_to_add=[add("x-level", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD")], response_headers_to_add=[add("x-level", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD")])],
    route_config={"most_specific_header_mutations_wins": True, "request_headers_to_add": [add("x-level", "table", "OVERWRITE_IF_EXISTS_OR_ADD")]}))
s.case("the route's headers win", get("/"))
s = GROUP.setup("most general wins", http(vhosts=[vhost("v", ["*"], [
    route("/", "a", request_headers_to_add=[add("x-level", "route", "OVERWRITE_IF_EXISTS_OR_ADD")], response_headers_to_add=[add("x-level", "route", "OVERWRITE_IF_EXISTS_OR_ADD")])],
    request_headers_to_add=[add("x-level", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD")], response_headers_to_add=[add("x-level", "vhost", "OVERWRITE_IF_EXISTS_OR_ADD")])],
    route_config={"request_headers_to_add": [add("x-level", "table", "OVERWRITE_IF_EXISTS_OR_ADD")]}))
s.case("the table's headers win", get("/"))

FORWARDED = [("x-forwarded-for", "1.2.3.4, 10.0.0.7"), ("x-forwarded-proto", "https"), ("x-request-id", "mine"), ("x-envoy-internal", "true"), ("x-envoy-max-retries", "1")]
for name, fields in [
    ("use remote address", {"use_remote_address": True}), ("use remote address, one hop", {"use_remote_address": True, "xff_num_trusted_hops": 1}), ("remote address is loopback", {"use_remote_address": True}),
    ("trusted hops without remote address", {"xff_num_trusted_hops": 1}), ("skip xff append", {"use_remote_address": True, "skip_xff_append": True}),
    ("keep the request id", {"use_remote_address": True, "preserve_external_request_id": True}), ("no request id", {"generate_request_id": False}),
    ("request id in the response", {"always_set_request_id_in_response": True}), ("via", {"via": "1.1 us"}),
    ("server name", {"server_name": "ours"}), ("server name passes", {"server_header_transformation": "PASS_THROUGH"}), ("server name if absent", {"server_header_transformation": "APPEND_IF_ABSENT"}),
    ("add user agent", {"add_user_agent": True}), ("suppress envoy headers", {"router": {"name": "envoy.filters.http.router", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router", "suppress_envoy_headers": True}}}),
    ("underscores rejected", {"common_http_protocol_options": {"headers_with_underscores_action": "REJECT_REQUEST"}}),
    ("underscores dropped", {"common_http_protocol_options": {"headers_with_underscores_action": "DROP_HEADER"}}),
    ("strip any port", {"strip_any_host_port": True}), ("strip trailing dot", {"strip_trailing_host_dot": True}),
    ("scheme overwritten", {"scheme_header_transformation": {"scheme_to_overwrite": "https"}}), ("represent v4 as v6", {"use_remote_address": True, "represent_ipv4_remote_address_as_ipv4_mapped_ipv6": True}),
    ("internal addresses", {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}}),
    ("proper case", {"http_protocol_options": {"header_key_format": {"proper_case_words": {}}}}),
    ("append forwarded port", {"append_x_forwarded_port": True}), ("append local overload", {"append_local_overload": True}),
]:
    s = GROUP.setup(name, http(**fields))
    source = None if "loopback" in name else "127.0.0.2"
    s.case(name, get("/p", FORWARDED + [("user-agent", "me"), ("x_under", "1")] * (name != "scheme overwritten"), host="a.example:99" if "port" in name else "a.example." if "dot" in name else "a.example", source=source),
           upstream=answer(200, ("server", "upstream"), ("x-envoy-foo", "1")))
    s.case(f"{name}: nothing from the client, nothing from the upstream", get("/p", source=source))

def preserve(**fields):
    return {"header_key_format": {"stateful_formatter": {"name": "preserve_case", "typed_config": typed(
        "envoy.extensions.http.header_formatters.preserve_case.v3.PreserveCaseFormatterConfig", **fields)}}}


PROPER = {"header_key_format": {"proper_case_words": {}}}
CAPITALS = b"POST /spelling HTTP/1.1\r\nHOST: a.example\r\nX-ODD-case: 1\r\nx-odd-CASE: 2\r\nConTent-LENGTH: 2\r\nX-Request-ID: r\r\nplain-name: 3\r\nA.b!C-d: 4\r\nTE: trailers\r\n\r\nhi"
ODD = b"HTTP/1.1 %s\r\nX-ReSPonse: 1\r\nSERVER: up\r\nDAte: now\r\nx-response: 2\r\nConTENT-length: 2\r\nplain: 3\r\n\r\nok"
CHUNKS = b"HTTP/1.1 200 Fine\r\nTransfer-ENCODING: chunked\r\nX-Up: 1\r\n\r\n2\r\nok\r\n0\r\nX-TraiLER: t\r\n\r\n"
for name, down, up in [
    ("nothing", {}, {}), ("proper case upstream", {}, PROPER), ("proper case both ways", PROPER, PROPER),
    ("preserved from clients", preserve(), {}), ("preserved from upstreams", {}, preserve()), ("preserved both ways", preserve(), preserve()),
    ("preserved, others in proper case", preserve(formatter_type_on_envoy_headers="PROPER_CASE"), preserve(formatter_type_on_envoy_headers="PROPER_CASE")),
    ("reason phrase", preserve(forward_reason_phrase=True), preserve(forward_reason_phrase=True)),
    ("preserved from clients, proper case to them", PROPER, preserve()), ("proper case upstream, preserved from clients", preserve(), PROPER),
]:
    trailers = {"enable_trailers": True}
    s = GROUP.setup(f"spelling: {name}", http([route(path="/direct", action=respond(418, "no")), route(
        "/", "a", response_headers_to_add=[add("x-added-BY-us", "1")], request_headers_to_add=[add("x-added-BY-us", "1")])],
        [cluster("a", protocol={"explicit_http_config": {"http_protocol_options": {**trailers, **up}}})], http_protocol_options={**trailers, **down}))
    for phrase in (b"200 OK", b"404 Gone Fishing", b"200 ", b"200", b"299 a\xffb"):
        s.case(f"spelling: {name}: {phrase!r}", Raw(CAPITALS, end=False), upstream=answer(raw=ODD % phrase))
    s.case(f"spelling: {name}: trailers", Raw(CAPITALS, end=False), upstream=answer(raw=CHUNKS))
    s.case(f"spelling: {name}: chunks", Raw(CAPITALS.replace(b"ConTent-LENGTH: 2", b"TRANSFER-encoding: chunked").replace(b"\r\nhi", b"\r\n2\r\nhi\r\n0\r\nX-TrAiler: 1\r\n\r\n"), end=False))
    s.case(f"spelling: {name}: answered here", Raw(CAPITALS.replace(b"/spelling", b"/direct"), end=False))

for name, fields in [
    ("normalize path", {"normalize_path": True}), ("merge slashes", {"merge_slashes": True}), ("normalize and merge", {"normalize_path": True, "merge_slashes": True}),
    ("escaped slashes rejected", {"normalize_path": True, "path_with_escaped_slashes_action": "REJECT_REQUEST"}),
    ("escaped slashes unescaped", {"normalize_path": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_FORWARD"}),
    ("escaped slashes redirected", {"normalize_path": True, "path_with_escaped_slashes_action": "UNESCAPE_AND_REDIRECT"}),
    ("paths untouched", {}),
]:
    s = GROUP.setup(f"path: {name}", http([route("/admin", "b"), route("/", "a")], [cluster("a"), cluster("b")], **fields))
    for path in ["/x/../admin", "//admin", "/%61dmin", "/a%2Fb", "/a%5cb/../c", "/x/./y//z?q=../..", "/x/%2e%2E/admin", "/..", "/a\\b", "/a;b/../c", "/x/..;/admin", "/x/..;v=1/admin", "/x/.;/admin", "/x;/../admin", "/..;/..;/admin", "/p#frag", "/a%00b", "/a%zz", "*"]:
        s.case(f"{name}: {path}", get(path))
