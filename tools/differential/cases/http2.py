"""HTTP/2 downstream and upstream, and gRPC through both."""
from client import HTTP2, Raw, Request, Stream, Until, Wait, get, post
from config import cluster, http, http_filter, route, typed
from http2 import grpc_frame
from model import Answer, Group, Upstream, answer

GROUP = Group("http2")
UP2 = {"a": Upstream(kind="http2")}
ROUTES = [route("/timeout", "a", timeout="0.3s"), route("/direct", action={"direct_response": {"status": 418, "body": {"inline_string": "tea"}}}), route("/redirect", action={"redirect": {"path_redirect": "/x"}}),
          route("/retry", "a", retry_policy={"retry_on": "5xx,refused-stream,reset", "num_retries": 1}), route("/nothost", "dead-cluster"), route("/", "a")]
GRPC = [("content-type", "application/grpc"), ("te", "trailers")]


def both(name, upstream_http2, **fields):
    return GROUP.setup(name, http(ROUTES, [cluster("a", http2=upstream_http2), cluster("dead-cluster", ["dead"])], **fields), upstreams=UP2 if upstream_http2 else {}, stats=["http.ingress.downstream_cx_http2_total", "http.ingress.downstream_rq_http2_total"])


for label, upstream_http2 in (("h2 to h1", False), ("h2 to h2", True)):
    s = both(label, upstream_http2)
    for name, stream, script in [
        ("get", Stream(path="/p?q"), []), ("post", Stream("POST", "/", body=b"the body"), []), ("post in pieces", Stream("POST", "/", body=[b"one", 0.05, b"two"]), []), ("post of nothing", Stream("POST", "/", body=b""), []),
        ("trailers of the request", Stream("POST", "/", body=b"x", trailers=[("x-t", "1")]), []), ("trailers of the response", Stream(), [answer(200, trailers=[("x-t", "1")])]), ("head", Stream("HEAD"), []), ("204", Stream(), [answer(204)]), ("304", Stream(), [answer(304)]),
        ("no route is a host's matter", Stream(authority="other.test"), []), ("direct", Stream(path="/direct"), []), ("redirect", Stream(path="/redirect?x"), []), ("timeout", Stream(path="/timeout"), [answer(hang=True)]), ("timeout of a post", Stream("POST", "/timeout", body=b"x"), [answer(hang=True)]), ("retry", Stream(path="/retry"), [answer(503)]),
        ("refused", Stream(path="/nothost"), []), ("upstream resets", Stream(), [answer(reset="before")]), ("upstream resets in the body", Stream(), [answer(200, reset="body", body=b"x" * 100)]), ("cookies in crumbs", Stream(headers=[("cookie", "a=1"), ("cookie", "b=2")]), []),
        ("103", Stream(), [answer(200, interim=[(103, [("link", "x")])])]), ("cancelled", Stream(cancel=0.2), [answer(hang=True)]), ("large response", Stream(), [answer(200, body=b"z" * 200_000)]), ("large request", Stream("POST", body=b"y" * 200_000), []),
        ("content-length", Stream("POST", headers=[("content-length", "3")], body=b"abc"), []), ("response until close or end", Stream(), [answer(200, chunked=True, pieces=[b"one", 0.05, b"two"])]), ("host instead of authority", Stream(pseudo=[(":method", "GET"), (":scheme", "http"), (":path", "/")], headers=[("host", "h.test")]), []),
        ("authority and host", Stream(headers=[("host", "h.test")]), []), ("te trailers", Stream(headers=[("te", "trailers")]), []), ("expect", Stream("POST", headers=[("expect", "100-continue")], body=b"x"), []), ("early answer", Stream("POST", body=[b"x", 0.3, b"y"]), [answer(200, early=True)]),
        ("grpc unary", Stream("POST", "/s/M", GRPC, grpc_frame(b"hi")), [answer(200, ("content-type", "application/grpc"), body=grpc_frame(b"yo"), trailers=[("grpc-status", "0")])] if upstream_http2 else []),
        ("grpc trailers only", Stream("POST", "/s/M", GRPC, grpc_frame(b"hi")), [answer(200, ("content-type", "application/grpc"), ("grpc-status", "5"), ("grpc-message", "no"), body=b"")]),
        ("grpc refused", Stream("POST", "/nothost", GRPC, grpc_frame(b"hi")), []), ("grpc timeout", Stream("POST", "/timeout", GRPC, grpc_frame(b"hi")), [answer(hang=True)]), ("grpc http error", Stream("POST", "/s/M", GRPC, grpc_frame(b"hi")), [answer(503, body=b"no")]),
    ]:
        ignore = ["upstream.*.body", "log.*.received"] if name in ("early answer", "large request", "grpc refused") else ["client.*.body"] if name == "large response" else []
        s.case(f"{label}: {name}", HTTP2(stream), upstream=script, ignore=ignore + ["upstream.*.reset"], logs=1)
    s.case(f"{label}: three at once", HTTP2(Stream(path="/1"), Stream(path="/2"), Stream(path="/3"), together=True), ignore=["upstream.*", "log.*"])
    if upstream_http2:
        for code, name in ((7, "REFUSED_STREAM"), (8, "CANCEL"), (2, "INTERNAL_ERROR"), (11, "ENHANCE_YOUR_CALM"), (13, "HTTP_1_1_REQUIRED"), (0, "NO_ERROR")):
            s.case(f"{label}: upstream resets with {name}", HTTP2(Stream()), upstream=answer(reset_code=code))
            s.case(f"{label}: upstream resets with {name}, retried", HTTP2(Stream(path="/retry")), upstream=answer(reset_code=code))

s = both("h2 malformed", False)
for name, stream in [
    ("connection header", Stream(headers=[("connection", "close")])), ("transfer-encoding", Stream("POST", headers=[("transfer-encoding", "chunked")], body=b"x")), ("te gzip", Stream(headers=[("te", "gzip")])), ("upper case name", Stream(headers=[("X-A", "1")])),
    ("unknown pseudo", Stream(pseudo=[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":what", "x")])), ("no path", Stream(pseudo=[(":method", "GET"), (":scheme", "http"), (":authority", "a")])), ("no method", Stream(pseudo=[(":scheme", "http"), (":authority", "a"), (":path", "/")])),
    ("no scheme", Stream(pseudo=[(":method", "GET"), (":authority", "a"), (":path", "/")])), ("two paths", Stream(pseudo=[(":method", "GET"), (":scheme", "http"), (":authority", "a"), (":path", "/"), (":path", "/x")])), ("pseudo after regular", Stream(pseudo=[(":method", "GET"), (":scheme", "http"), (":path", "/"), ("x", "1"), (":authority", "a")])),
    ("newline in a value", Stream(headers=[("x", "a\r\nb: c")])), ("NUL in a value", Stream(headers=[("x", "a\0b")])), ("space in a name", Stream(headers=[("a b", "c")])), ("colon in a name", Stream(headers=[("a:b", "c")])), ("empty path", Stream(path="")), ("odd scheme", Stream(scheme="HtTpS")), ("scheme ftp", Stream(scheme="ftp")),
    ("content-length too small", Stream("POST", headers=[("content-length", "2")], body=b"abc")), ("content-length too large", Stream("POST", headers=[("content-length", "9")], body=b"abc")), ("content-length without a body", Stream("POST", headers=[("content-length", "3")])), ("fragment in the path", Stream(path="/p#x")), ("path with a space", Stream(path="/a b")),
    ("authority with user", Stream(authority="u@a.example")), ("many headers", Stream(headers=[(f"x-{i}", "1") for i in range(120)])), ("a header of 100 KB", Stream(headers=[("x", "v" * 100_000)])), ("CONNECT", Stream(pseudo=[(":method", "CONNECT"), (":authority", "a:1")], open=True)),
]:
    s.case(f"h2 malformed: {name}", HTTP2(stream), logs=1)
s.case("no preface", Raw(b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", requests=0), logs=0, ignore=["client.*"])

s = both("h1 to h2", True)
for name, step, script in [
    ("get", get("/p?q"), []), ("post", post("/", b"the body"), []), ("chunked", post("/", b"the body", chunked=True), []), ("cookies", get("/", [("cookie", "a=1; b=2"), ("cookie", "c=3")]), []), ("trailers", get("/"), [answer(200, trailers=[("x-t", "1")])]), ("head", Request("HEAD", "/"), []), ("connection headers", get("/", [("connection", "x-a"), ("x-a", "1"), ("te", "trailers")]), []),
    ("refused stream, retried", get("/retry"), [answer(reset_code=7)]), ("upstream goes", get("/"), [answer(reset="before")]), ("no length", get("/"), [answer(200, chunked=True)]), ("reset in the body", get("/"), [answer(200, reset="body", body=b"x" * 100)]), ("HTTP/1.0", Raw(b"GET / HTTP/1.0\r\nhost: a\r\n\r\n"), []),
]:
    s.case(f"h1 to h2: {name}", step, upstream=script)
s = GROUP.setup("use downstream protocol", http([route("/", "a")], [cluster("a", protocol={"use_downstream_protocol_config": {"http2_protocol_options": {}}})], codec_type="AUTO"), upstreams=UP2)
s.case("upstream speaks as the client does", HTTP2(Stream()))
s = GROUP.setup("codec http2", http([route("/", "a")], codec_type="HTTP2"))
s.case("codec HTTP2", HTTP2(Stream()))
s.case("codec HTTP2 and an HTTP/1 client", Raw(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", requests=0), logs=0, ignore=["client.*"])
s = GROUP.setup("codec http1", http([route("/", "a")], codec_type="HTTP1"))
s.case("codec HTTP1 and an HTTP/2 client", HTTP2(Stream()), logs=1, ignore=["client.*"])
s = GROUP.setup("stream limit", http([route("/", "a")], http2_protocol_options={"max_concurrent_streams": 1}))
s.case("streams above the limit", HTTP2(Stream(path="/1"), Stream(path="/2"), together=True), upstream=answer(200, delay=0.3), logs=1, ignore=["client.*.body", "log.*", "stats.*", "upstream.*"])
s = GROUP.setup("extended connect", http([route("/", "a")], upgrade_configs=[{"upgrade_type": "websocket"}], http2_protocol_options={"allow_connect": True}))
s.case("websocket over HTTP/2", HTTP2(Stream(pseudo=[(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")], headers=[("sec-websocket-version", "13")], body=[0.2, b"hello"], open=True, cancel=0.4)),
       upstream=answer(101, ("upgrade", "websocket"), ("connection", "Upgrade"), tunnel=True), logs=1, ignore=["log.*.received", "log.*.sent", "log.*.details", "log.*.flags"])
s = GROUP.setup("age", http([route("/", "a")], common_http_protocol_options={"max_connection_duration": "0.2s"}, drain_timeout="0.2s"))
s.case("GOAWAY at the connection's age", HTTP2(Stream(), end=True))

STATS = "envoy.extensions.filters.http.grpc_stats.v3.FilterConfig"
UNARY = answer(200, ("content-type", "application/grpc"), body=grpc_frame(b"yo"), trailers=[("grpc-status", "0")])
s = GROUP.setup("grpc stats", http([route("/", "a")], [cluster("a", http2=True)], filters=[http_filter("envoy.filters.http.grpc_stats", STATS, stats_for_all_methods=True, enable_upstream_stats=False)]), upstreams=UP2, stats=["cluster.a.grpc.*"])
s.case("grpc stats: ok", HTTP2(Stream("POST", "/books.Shop/Buy", GRPC, grpc_frame(b"hi"))), upstream=UNARY)
s.case("grpc stats: an error", HTTP2(Stream("POST", "/books.Shop/Buy", GRPC, grpc_frame(b"hi"))), upstream=answer(200, ("content-type", "application/grpc"), ("grpc-status", "5"), body=b""))
s = GROUP.setup("grpc bridge", http([route("/", "a")], [cluster("a", http2=True)], filters=[http_filter("envoy.filters.http.grpc_http1_bridge", "envoy.extensions.filters.http.grpc_http1_bridge.v3.Config")]), upstreams=UP2)
s.case("grpc over HTTP/1 by the bridge", post("/s/M", grpc_frame(b"hi"), [("content-type", "application/grpc")]), upstream=UNARY)
s = GROUP.setup("grpc web", http([route("/", "a")], [cluster("a", http2=True)], filters=[http_filter("envoy.filters.http.grpc_web", "envoy.extensions.filters.http.grpc_web.v3.GrpcWeb")]), upstreams=UP2)
s.case("grpc-web", post("/s/M", grpc_frame(b"hi"), [("content-type", "application/grpc-web")]), upstream=UNARY)
s.case("grpc-web-text", post("/s/M", __import__("base64").b64encode(grpc_frame(b"hi")), [("content-type", "application/grpc-web-text"), ("accept", "application/grpc-web-text")]), upstream=UNARY)
