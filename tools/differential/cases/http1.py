"""HTTP/1 framing on both sides, byte for byte."""
from client import TCP, Raw, Request, Upgrade, get, post
from config import cluster, http, route
from model import Group, Upstream, answer

GROUP = Group("http1")
H = b"host: a.example\r\n"
s = GROUP.setup("plain", http([route("/short", "a", timeout="1s"), route("/", "a", timeout="3s")]))
ONE = {"responses": 1}
for name, data in [
    ("get", b"GET / HTTP/1.1\r\n" + H + b"\r\n"), ("leading empty lines", b"\r\n\r\nGET / HTTP/1.1\r\n" + H + b"\r\n"), ("bare LF", b"GET / HTTP/1.1\nhost: a.example\n\n"),
    ("http/1.0", b"GET / HTTP/1.0\r\n\r\n"), ("http/1.0 with host", b"GET / HTTP/1.0\r\n" + H + b"\r\n"), ("http/2.0 in the line", b"GET / HTTP/2.0\r\n" + H + b"\r\n"), ("no host", b"GET / HTTP/1.1\r\n\r\n"), ("empty host", b"GET / HTTP/1.1\r\nhost:\r\n\r\n"),
    ("two hosts", b"GET / HTTP/1.1\r\n" + H + b"host: b\r\n\r\n"), ("absolute form", b"GET http://b.example/p?q HTTP/1.1\r\n" + H + b"\r\n"), ("absolute form with https", b"GET https://b.example/p HTTP/1.1\r\n" + H + b"\r\n"),
    ("absolute form with the same host", b"GET http://a.example/p?q HTTP/1.1\r\n" + H + b"\r\n"),
    ("absolute form without path", b"GET http://b.example HTTP/1.1\r\n" + H + b"\r\n"), ("asterisk", b"OPTIONS * HTTP/1.1\r\n" + H + b"\r\n"), ("space before the colon", b"GET / HTTP/1.1\r\n" + H + b"x-a : 1\r\n\r\n"),
    ("obsolete folding", b"GET / HTTP/1.1\r\n" + H + b"x-a: 1\r\n 2\r\n\r\n"), ("a line without colon", b"GET / HTTP/1.1\r\n" + H + b"nonsense\r\n\r\n"), ("empty name", b"GET / HTTP/1.1\r\n" + H + b": x\r\n\r\n"),
    ("NUL in a value", b"GET / HTTP/1.1\r\n" + H + b"x-a: a\0b\r\n\r\n"), ("control in a value", b"GET / HTTP/1.1\r\n" + H + b"x-a: a\x01b\r\n\r\n"), ("bare CR in a value", b"GET / HTTP/1.1\r\n" + H + b"x-a: a\rb\r\n\r\n"),
    ("non-token in a name", b"GET / HTTP/1.1\r\n" + H + b"x(a): 1\r\n\r\n"), ("unknown method", b"BREW / HTTP/1.1\r\n" + H + b"\r\n"), ("method in small letters", b"get / HTTP/1.1\r\n" + H + b"\r\n"), ("method with a non-token", b"G@T / HTTP/1.1\r\n" + H + b"\r\n"),
    ("two spaces in the line", b"GET  / HTTP/1.1\r\n" + H + b"\r\n"), ("no version", b"GET /\r\n" + H + b"\r\n"), ("garbage", b"\x16\x03\x01\x00\x00garbage\r\n\r\n"), ("space in the target", b"GET /a b HTTP/1.1\r\n" + H + b"\r\n"), ("high bytes in the target", b"GET /\xc3\xa4 HTTP/1.1\r\n" + H + b"\r\n"),
    ("control in the target", b"GET /\x01 HTTP/1.1\r\n" + H + b"\r\n"), ("target without slash", b"GET p HTTP/1.1\r\n" + H + b"\r\n"),
    ("two equal lengths", b"POST / HTTP/1.1\r\n" + H + b"content-length: 3\r\ncontent-length: 3\r\n\r\nabc"), ("two lengths", b"POST / HTTP/1.1\r\n" + H + b"content-length: 3\r\ncontent-length: 4\r\n\r\nabcd"), ("a list of lengths", b"POST / HTTP/1.1\r\n" + H + b"content-length: 3, 3\r\n\r\nabc"),
    ("negative length", b"POST / HTTP/1.1\r\n" + H + b"content-length: -1\r\n\r\n"), ("length with a plus", b"POST / HTTP/1.1\r\n" + H + b"content-length: +3\r\n\r\nabc"), ("length too large", b"POST / HTTP/1.1\r\n" + H + b"content-length: 99999999999999999999\r\n\r\n"), ("hexadecimal length", b"POST / HTTP/1.1\r\n" + H + b"content-length: 0x3\r\n\r\nabc"),
    ("length and chunked", b"POST / HTTP/1.1\r\n" + H + b"content-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), ("gzip, chunked", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n"), ("chunked, identity", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
    ("identity", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: identity\r\n\r\n"), ("Chunked in capitals", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: CHUNKED\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), ("xchunked", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: xchunked\r\n\r\n0\r\n\r\n"),
    ("chunked twice", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), ("chunked in HTTP/1.0", b"POST / HTTP/1.0\r\n" + H + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("chunk extension", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n"), ("bad chunk size", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n"), ("chunk too short", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n"),
    ("chunk size with 0x", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n"), ("chunk size overflow", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n"), ("chunk ends with LF", b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\n3\nabc\n0\n\n"),
    ("GET with a body", b"GET / HTTP/1.1\r\n" + H + b"content-length: 3\r\n\r\nabc"), ("GET with chunks", b"GET / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"), ("connection close", b"GET / HTTP/1.1\r\n" + H + b"connection: close\r\n\r\n"),
    ("expect something else", b"GET / HTTP/1.1\r\n" + H + b"expect: 200-ok\r\n\r\n"), ("CONNECT without a route for it", b"CONNECT a.example:443 HTTP/1.1\r\nhost: a.example:443\r\n\r\n"), ("TRACE", b"TRACE / HTTP/1.1\r\n" + H + b"\r\n"),
    ("a long line", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + H + b"\r\n"), ("many headers", b"GET / HTTP/1.1\r\n" + H + b"".join(b"x-%d: 1\r\n" % i for i in range(120)) + b"\r\n"), ("large headers", b"GET / HTTP/1.1\r\n" + H + b"".join(b"x-%d: %s\r\n" % (i, b"v" * 1000) for i in range(70)) + b"\r\n"),
]:
    closes = name in ("connection close",)
    s.case(name, Raw(data, end=True), logs=1)
s.case("pipelined", Raw(b"GET /1 HTTP/1.1\r\n" + H + b"\r\nGET /2 HTTP/1.1\r\n" + H + b"\r\nGET /3 HTTP/1.1\r\n" + H + b"connection: close\r\n\r\n", responses=3))
s.case("pipelined, the second malformed", Raw(b"GET /1 HTTP/1.1\r\n" + H + b"\r\nGET /2 HTTP/1.1\r\n" + H + b"bad line\r\n\r\n", responses=2))
s.case("smuggled behind chunks", Raw(b"POST / HTTP/1.1\r\n" + H + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n" + H + b"connection: close\r\n\r\n", responses=2))
s.case("head in small pieces", Raw(b"", pieces=[b"GE", 0.02, b"T / HT", 0.02, b"TP/1.1\r", 0.02, b"\nhost: a.exa", 0.02, b"mple\r\n\r", 0.02, b"\n"], end=False))
s.case("expect 100-continue", Request("POST", "/", [("expect", "100-continue")], b"body", expect=True))
s.case("expect 100-continue refused", Request("POST", "/", [("expect", "100-continue")], b"body", expect=True), upstream=answer(417, early=True, close=True), ignore=["upstream.*.body", "log.*.received"])
s.case("chunked with trailers", post("/", b"abc", chunked=True, trailers=[("x-t", "1")]))
s.case("HEAD", Request("HEAD", "/"))
s.case("client goes away", Request("GET", "/", abandon=0.2), upstream=answer(hang=True), ignore=["client.*"])
s.case("client half closes", TCP(b"GET / HTTP/1.1\r\n" + H + b"connection: close\r\n\r\n", "half", "read-all"), ignore=["client.0.read.0"])

for name, script in [
    ("chunked", answer(200, chunked=True)), ("trailers", answer(200, trailers=[("x-t", "1")])), ("until close", answer(raw=b"HTTP/1.1 200 OK\r\n\r\nuntil close", close=True)), ("HTTP/1.0", answer(raw=b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok")),
    ("204", answer(204)), ("304", answer(304, ("etag", "x"))), ("205 with a body", answer(205)), ("no reason", answer(raw=b"HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n")), ("own reason", answer(raw=b"HTTP/1.1 200 Fine By Me\r\ncontent-length: 0\r\n\r\n")), ("code 299", answer(299)), ("code 999", answer(999)),
    ("code 99", answer(raw=b"HTTP/1.1 99 X\r\ncontent-length: 0\r\n\r\n", close=True)), ("100 first", answer(200, interim=[(100, [])])), ("103 first", answer(200, interim=[(103, [("link", "</x>")])])), ("101 unasked", answer(101, ("upgrade", "x"), ("connection", "upgrade"))),
    ("two lengths", answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nabc", close=True)), ("length and chunked", answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", close=True)), ("bare LF", answer(raw=b"HTTP/1.1 200 OK\ncontent-length: 2\n\nok", close=True)),
    ("garbage", answer(raw=b"garbage\r\n\r\n", close=True)), ("space before colon", answer(raw=b"HTTP/1.1 200 OK\r\nx : 1\r\ncontent-length: 0\r\n\r\n", close=True)), ("folded", answer(raw=b"HTTP/1.1 200 OK\r\nx: 1\r\n 2\r\ncontent-length: 0\r\n\r\n", close=True)),
    ("body cut", answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", close=True)), ("chunks cut", answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc", close=True)), ("bad chunk", answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxx\r\n", close=True)),
    ("more than its length", answer(raw=b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokEXTRA")), ("closes without an answer", answer(reset="close")), ("resets", answer(reset="before")), ("resets in the body", answer(200, reset="body", body=b"x" * 100)), ("closes after the answer", answer(200, close=True)),
    ("many headers", answer(200, *[(f"x-{i}", "1") for i in range(120)])), ("large headers", answer(200, *[(f"x-{i}", "v" * 1000) for i in range(70)])), ("gzip, chunked", answer(raw=b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", close=True)),
    ("a large body", answer(200, body=b"z" * 500_000)), ("slow body", answer(200, pieces=[b"one", 0.1, b"two", 0.1, b"three"])),
]:
    s.case(f"upstream: {name}", get("/", body_length=name == "a large body"), upstream=script, logs=1)
s.case("upstream: HEAD with a length", Request("HEAD", "/"), upstream=answer(200, ("content-length", "100")))
s.case("upstream: HEAD chunked", Request("HEAD", "/"), upstream=answer(200, chunked=True))
s.case("upstream answers early and closes", Request("POST", "/", [("content-length", "5")], b"12345", pause=0.2), upstream=answer(401, early=True, close=True, body=b"no"), ignore=["upstream.*.body", "log.*.received", "client.*.headers.connection"])

WEBSOCKET = [("connection", "Upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13")]
s = GROUP.setup("upgrades", http([route("/off", "a", upgrade_configs=[{"upgrade_type": "websocket", "enabled": False}]), route("/", "a")], upgrade_configs=[{"upgrade_type": "websocket"}]), stats=["http.ingress.downstream_cx_upgrades_total", "cluster.a.upstream_cx_upgrade*"])
SWITCH = answer(101, ("upgrade", "websocket"), ("connection", "Upgrade"), ("sec-websocket-accept", "x"), tunnel=True)
s.case("websocket", Upgrade(get("/", WEBSOCKET), b"hello", b"again"), upstream=SWITCH, ignore=["log.*.received", "log.*.sent", "log.*.details", "log.*.flags"])
s.case("websocket refused by the upstream", get("/", WEBSOCKET), upstream=answer(403, body=b"no"))
s.case("websocket switched off on the route", get("/off", WEBSOCKET), upstream=SWITCH)
s.case("another upgrade", get("/", [("connection", "upgrade"), ("upgrade", "other")]))
s.case("websocket in capitals", Upgrade(get("/", [("Connection", "keep-alive, UPGRADE"), ("Upgrade", "WebSocket")]), b"hello"), upstream=SWITCH, ignore=["log.*.received", "log.*.sent", "log.*.details", "log.*.flags"])
s = GROUP.setup("connect", http([route(matcher={"connect_matcher": {}}, cluster="t", upgrade_configs=[{"upgrade_type": "CONNECT", "connect_config": {}}]), route("/", "a")], [cluster("a"), cluster("t")], upgrade_configs=[{"upgrade_type": "CONNECT"}]), upstreams={"t": Upstream(kind="tcp")})
s.case("CONNECT", Upgrade(Request("CONNECT", "b.example:443", host="b.example:443"), b"hello", b"again"), ignore=["log.*.received", "log.*.sent", "log.*.details", "log.*.flags"])
s.case("not CONNECT", get("/"))
s = GROUP.setup("options", http(http_protocol_options={"accept_http_10": True, "default_host_for_http_10": "default.test", "enable_trailers": True}, clusters=[cluster("a", protocol={"explicit_http_config": {"http_protocol_options": {"enable_trailers": True}}})]))
s.case("HTTP/1.0 accepted", Raw(b"GET / HTTP/1.0\r\n\r\n"))
s.case("HTTP/1.0 keep-alive", Raw(b"GET / HTTP/1.0\r\nhost: x\r\nconnection: keep-alive\r\n\r\n", end=True))
s.case("HTTP/1.0 and a chunked response", Raw(b"GET / HTTP/1.0\r\nhost: x\r\n\r\n"), upstream=answer(200, chunked=True))
s.case("trailers both ways", post("/", b"abc", chunked=True, trailers=[("x-t", "1")]), upstream=answer(200, trailers=[("x-up", "2")]))
s = GROUP.setup("stream errors", http(stream_error_on_invalid_http_message=True))
s.case("the connection goes on after a bad request", Raw(b"GET / HTTP/1.1\r\n" + H + b"x-b\x01: 1\r\n\r\n"))
s = GROUP.setup("limits", http(max_request_headers_kb=1, common_http_protocol_options={"max_headers_count": 5}))
s.case("headers above max_request_headers_kb", get("/", [("x", "y" * 2000)]))
s.case("headers above max_headers_count", get("/", [(f"x-{i}", "1") for i in range(10)]))
s = GROUP.setup("requests of a connection", http(common_http_protocol_options={"max_requests_per_connection": 2}))
s.case("two requests a connection", get("/", conn="c"), get("/", conn="c", end=True))
s = GROUP.setup("upstream requests of a connection", http(clusters=[cluster("a", protocol={"common_http_protocol_options": {"max_requests_per_connection": 1}})]), stats=["cluster.a.upstream_cx_total", "cluster.a.upstream_cx_max_requests"])
s.case("one request an upstream connection", get("/"), get("/"))
s = GROUP.setup("proxy 100", http(proxy_100_continue=True))
s.case("100-continue is the upstream's", Request("POST", "/", [("expect", "100-continue")], b"body", expect=True))
