"""Filters that change bodies: compressor, decompressor, gRPC-Web, the gRPC bridge, gRPC counters, Lua."""
import base64
import gzip

from client import HTTP2, Stream, get, post
from config import LOG_FORMAT, access_log, cluster, http, http_filter, route, typed
from http2 import grpc_frame
from model import Group, Upstream, answer

GROUP = Group("bodies")
X = "envoy.extensions.filters.http."
C = "envoy.extensions.compression."
UP2 = {"a": Upstream(kind="http2")}


def library(kind, direction="compressor", **fields):
    name = {"gzip": "Gzip", "brotli": "Brotli", "zstd": "Zstd"}[kind]
    return {"name": "text", "typed_config": typed(f"{C}{kind}.{direction}.v3.{name}", **fields)}


def compressor(name="compressor", kind="gzip", **fields):
    fields.setdefault("response_direction_config", {})
    return http_filter(name, X + "compressor.v3.Compressor", compressor_library=library(kind), **fields)


PACKED = ["client.*.body", "log.*.sent", "stats.*total_compressed_bytes*"]
TEXT = b"hello " * 100
STATS = ["http.ingress.compressor.*", "http.ingress.decompressor.*"]


def text(*headers, status=200, body=TEXT):
    return answer(status, ("content-type", "text/plain"), *headers, body=body)


s = GROUP.setup("two compressors", http([route("/", "a")], filters=[compressor("gz"), compressor("br", "brotli")]), stats=STATS)
for accept in ("gzip", "br", "gzip, br", "br;q=0.5, gzip;q=0.9", "*", "gzip;q=0, *", "identity", "identity;q=0.1, gzip;q=0.05", "deflate", "gzip;q=abc", "GZIP", "", "gzip;q=1.5"):
    s.case(f"two compressors: {accept!r}", get("/", [("accept-encoding", accept)]), upstream=text(), ignore=PACKED)
s.case("two compressors: HEAD-like 204", get("/", [("accept-encoding", "gzip")]), upstream=answer(204))
s = GROUP.setup("zstd too", http([route("/", "a")], filters=[compressor("gz"), compressor("zs", "zstd")]), stats=STATS)
for accept in ("zstd", "gzip, zstd", "zstd;q=0, *", "gzip, zstd;q=0.5"):
    s.case(f"zstd too: {accept!r}", get("/", [("accept-encoding", accept)]), upstream=text(), ignore=PACKED)
s = GROUP.setup("choose first", http([route("/", "a")], filters=[compressor("gz"), compressor("br", "brotli", choose_first=True)]), stats=STATS)
s.case("choose first: gzip, br", get("/", [("accept-encoding", "gzip, br")]), upstream=text(), ignore=PACKED)
for name, config in (("plain", {}), ("etag", {"disable_on_etag_header": True}), ("status", {"uncompressible_response_codes": [404]}), ("shown", {"status_header_enabled": True, "disable_on_etag_header": True, "uncompressible_response_codes": [404]})):
    s = GROUP.setup(f"compressor {name}", http([route("/", "a")], filters=[compressor(response_direction_config=config)]), stats=STATS)
    for what, script in (("usual", text()), ("strong etag", text(("etag", '"x"'))), ("weak etag", text(("etag", 'W/"x"'))), ("404", text(status=404)), ("no-transform", text(("cache-control", "private, no-transform"))),
                         ("vary", text(("vary", "Origin"))), ("vary already", text(("vary", "Accept-Encoding"))), ("encoded", text(("content-encoding", "br"))), ("short", text(body=b"hi")), ("no type", answer(200, body=TEXT)), ("image", answer(200, ("content-type", "image/png"), body=TEXT)), ("chunked", answer(200, ("content-type", "text/html; charset=x"), body=TEXT, chunked=True))):
        s.case(f"compressor {name}: {what}", get("/", [("accept-encoding", "gzip")]), upstream=script, ignore=PACKED)
PER = X + "compressor.v3.CompressorPerRoute"
s = GROUP.setup("compressor per route", http([route("/off", "a", typed_per_filter_config={"compressor": typed(PER, disabled=True)}), route("/keep", "a", typed_per_filter_config={"compressor": typed(PER, overrides={"response_direction_config": {"remove_accept_encoding_header": False}})}), route("/", "a")],
    filters=[compressor(response_direction_config={"remove_accept_encoding_header": True})]), stats=STATS)
for path in ("/off", "/keep", "/"):
    s.case(f"compressor per route: {path}", get(path, [("accept-encoding", "gzip")]), upstream=text(), ignore=PACKED)
s = GROUP.setup("compressor of requests", http([route("/", "a")], filters=[compressor(request_direction_config={})]), stats=STATS)
s.case("compressor of requests: a short body", post("/", b"hi", [("content-type", "text/plain")]))
s.case("compressor of requests: another type", post("/", TEXT, [("content-type", "image/png")]))
s.case("compressor of requests: encoded", post("/", TEXT, [("content-type", "text/plain"), ("content-encoding", "br")]))


def decompressor(kind="gzip", **fields):
    return http_filter("decompressor", X + "decompressor.v3.Decompressor", decompressor_library=library(kind, "decompressor"), **fields)


ZIPPED = gzip.compress(TEXT, mtime=0)
s = GROUP.setup("decompressor more", http([route("/", "a")], filters=[decompressor()]), stats=STATS)
for what, step, script in (("two codings", get("/"), answer(200, ("content-encoding", "gzip, br"), body=ZIPPED)), ("another coding", get("/"), answer(200, ("content-encoding", "br"), body=b"x" * 50)), ("no-transform", get("/"), answer(200, ("content-encoding", "gzip"), ("cache-control", "no-transform"), body=ZIPPED)),
                           ("accept-encoding", get("/", [("accept-encoding", "br, gzip;q=0.3, deflate")]), answer(200, body=TEXT)), ("cut short", get("/"), answer(200, ("content-encoding", "gzip"), body=ZIPPED[:20])), ("something behind", get("/"), answer(200, ("content-encoding", "gzip"), body=ZIPPED + b"more"))):
    s.case(f"decompressor: {what}", step, upstream=script)
# "hello " a hundred times, with a checksum.
ZSTD = bytes.fromhex("28b52ffd04586d00003068656c6c6f2001004f529522bc88f022")
s = GROUP.setup("decompressor of zstd", http([route("/", "a")], filters=[decompressor("zstd")]), stats=STATS)
for what, body in (("whole", ZSTD), ("cut short", ZSTD[:-9]), ("checksum", ZSTD[:-1] + b"x"), ("no zstd", b"hello hello hello"), ("two frames", ZSTD + ZSTD), ("something behind", ZSTD + b"more")):
    s.case(f"decompressor of zstd: {what}", get("/"), upstream=answer(200, ("content-encoding", "zstd"), body=body))
s = GROUP.setup("decompressor quiet", http([route("/", "a")], filters=[decompressor(request_direction_config={"advertise_accept_encoding": False}, response_direction_config={"common_config": {"enabled": {"default_value": False, "runtime_key": "x"}}})]), stats=STATS)
s.case("decompressor: off", get("/"), upstream=answer(200, ("content-encoding", "gzip"), body=ZIPPED))
s = GROUP.setup("decompressor to h2", http([route("/", "a")], [cluster("a", http2=True)], filters=[decompressor()]), upstreams=UP2, stats=STATS)
s.case("decompressor: trailers", HTTP2(Stream("POST", "/", [("content-encoding", "gzip")], ZIPPED)), upstream=answer(200, ("content-encoding", "gzip"), body=ZIPPED))

GRPC = [("content-type", "application/grpc"), ("te", "trailers")]
UNARY = answer(200, ("content-type", "application/grpc"), body=grpc_frame(b"yo"), trailers=[("grpc-status", "0"), ("x-more", "1")])
ERROR = answer(200, ("content-type", "application/grpc"), body=b"", trailers=[("grpc-status", "5"), ("grpc-message", "not%20there")])
ONLY = answer(200, ("content-type", "application/grpc"), ("grpc-status", "7"), ("grpc-message", "no"), body=b"")
PLAIN = answer(503, ("content-type", "text/html"), body=b"<b>down & out</b>")


def grpc(name, message, *, clusters=None, **fields):
    return GROUP.setup(name, http([route("/dead", "dead-cluster"), route("/", "a")], [cluster("a", http2=True), cluster("dead-cluster", ["dead"])], filters=[http_filter(name.split(":")[0], X + message, **fields)],
        access_log=[access_log({**LOG_FORMAT, "state": "%FILTER_STATE(envoy.filters.http.grpc_stats:PLAIN)%"})]), upstreams=UP2, stats=["cluster.a.grpc*"])


s = grpc("grpc_web", "grpc_web.v3.GrpcWeb")
for kind in ("application/grpc-web", "application/grpc-web+proto", "application/grpc-web-text", "application/grpc-web-text+proto"):
    is_text = "text" in kind
    body = base64.b64encode(grpc_frame(b"hi")) if is_text else grpc_frame(b"hi")
    for what, script in (("ok", UNARY), ("error", ERROR), ("trailers only", ONLY), ("no grpc", PLAIN)):
        s.case(f"{kind}: {what}", post("/s/M", body, [("content-type", kind), ("accept", kind)]), upstream=script)
s.case("grpc-web: not for others", post("/s/M", b"x", [("content-type", "application/json")]))
s.case("grpc-web: a GET", get("/"))

BRIDGE = "grpc_http1_bridge.v3.Config"
for name, fields in (("bridge", {}), ("bridge: upgrade", {"upgrade_protobuf_to_grpc": True, "ignore_query_parameters": True})):
    s = grpc(name, BRIDGE, **fields)
    for kind in ("application/grpc", "application/x-protobuf"):
        for what, script in (("ok", UNARY), ("error", ERROR), ("trailers only", ONLY), ("no grpc", PLAIN)):
            s.case(f"{name} {kind}: {what}", post("/s/M?q=1", grpc_frame(b"hi") if kind == "application/grpc" else b"hi", [("content-type", kind)]), upstream=script)
    s.case(f"{name} over HTTP/2", HTTP2(Stream("POST", "/s/M?q", GRPC, grpc_frame(b"hi"))), upstream=UNARY)

FILTER = "grpc_stats.v3.FilterConfig"
for name, fields in (("stats: none", {}), ("stats: state", {"emit_filter_state": True}), ("stats: all", {"stats_for_all_methods": True}), ("stats: dots", {"stats_for_all_methods": True, "replace_dots_in_grpc_service_name": True}),
                     ("stats: some", {"individual_method_stats_allowlist": {"services": [{"name": "books.Shop", "method_names": ["Buy"]}]}})):
    s = grpc(name, FILTER, **fields)
    for path in ("/books.Shop/Buy", "/books.Shop/Sell?x", "/odd", "/a/b/c"):
        s.case(f"{name} {path}", HTTP2(Stream("POST", path, GRPC, grpc_frame(b"hi") + grpc_frame(b"there"))), upstream=UNARY)
    s.case(f"{name} an odd status", HTTP2(Stream("POST", "/books.Shop/Buy", GRPC, grpc_frame(b"hi"))), upstream=ERROR)


def lua(name, code, *cases, routes=None, **fields):
    s = GROUP.setup(f"lua {name}", http(routes or [route("/", "a", name="named", metadata={"filter_metadata": {"envoy.filters.http.lua": {"who": "me"}}})], filters=[http_filter("envoy.filters.http.lua", X + "lua.v3.Lua", default_source_code={"inline_string": code}, **fields)],
        access_log=[access_log({**LOG_FORMAT, "meta": "%DYNAMIC_METADATA(ns)%"})]), stats=["http.ingress.lua.*"])
    for what, step, script in cases:
        s.case(f"lua {name}: {what}", step, upstream=script)


lua("bodies", """
function envoy_on_request(h)
  local body = h:body()
  if body then h:headers():add("x-body", body:length() .. body:getBytes(0, 2)); body:setBytes("new body") else h:headers():add("x-body", "nil") end
end
function envoy_on_response(h)
  local body = h:body(true)
  body:setBytes(body:getBytes(0, body:length()) .. "!")
end
""", ("a get", get("/"), []), ("a post", post("/", b"hello"), []), ("a chunked post", post("/", b"hello", chunked=True), []), ("an empty answer", get("/"), answer(200, body=b"")))
lua("chunks", """
function envoy_on_response(h)
  for chunk in h:bodyChunks() do
    if chunk:length() > 0 then chunk:setBytes(string.upper(chunk:getBytes(0, chunk:length()))) end
  end
end
""", ("a chunked answer", get("/"), answer(200, body=b"abc", chunked=True)))
lua("errors", """
function envoy_on_request(h)
  local path = h:headers():get(":path")
  if path == "/error" then error("x") end
  if path == "/yield" then coroutine.yield() end
  if path == "/range" then h:body():getBytes(0, 100) end
  if path == "/cluster" then h:httpCall("none", {[":method"] = "GET", [":path"] = "/", [":authority"] = "x"}, nil, 1) end
  if path == "/headers" then h:httpCall("a", {[":method"] = "GET"}, nil, 1) end
  if path == "/status" then h:respond({[":status"] = "99"}) end
  if path == "/late" then for c in h:bodyChunks() do end h:respond({[":status"] = "403"}) end
  if path == "/changed" then h:headers():add("x-changed", "1") error("late") end
end
function envoy_on_response(h)
  if h:headers():get("x-respond") then h:respond({[":status"] = "403"}) end
end
""", *[(path, post(path, b"hello"), []) for path in ("/error", "/yield", "/range", "/cluster", "/headers", "/status", "/late", "/changed", "/fine")], ("respond in the response", get("/"), answer(200, ("x-respond", "1"))))
lua("answers", """
function envoy_on_request(h)
  local path = h:headers():get(":path")
  if path == "/empty" then h:respond({[":status"] = "204"}) end
  if path == "/type" then h:respond({[":status"] = "200", ["content-type"] = "text/html", ["x-a"] = "1"}, "<b>") end
  if path == "/table" then h:respond({[":status"] = 418, ["x-a"] = {"1", "2"}}, "tea") end
end
""", *[(path, get(path), []) for path in ("/empty", "/type", "/table")])
lua("calls", """
function envoy_on_request(h)
  if h:headers():get(":path") == "/async" then
    h:httpCall("a", {[":method"] = "GET", [":path"] = "/call", [":authority"] = "lua"}, nil, 500, true)
  else
    local headers, body = h:httpCall("a", {[":method"] = "POST", [":path"] = "/call", [":authority"] = "lua"}, "ask", 500)
    h:headers():add("x-call", headers[":status"] .. (headers["x-up"] or "") .. (body or "nil"))
  end
end
""", ("waits", get("/"), [answer(201, ("x-up", "1"), body=b"said")]), ("with a body", post("/", b"hello"), [answer(200, body=b"")]))
lua("facts", """
function envoy_on_request(h)
  local info = h:streamInfo()
  info:dynamicMetadata():set("ns", "key", {a = {1, 2}, b = true, c = "x"})
  local add = function(name, value) h:headers():add(name, tostring(value)) end
  add("x-meta", info:dynamicMetadata():get("ns")["key"].c)
  add("x-info", info:protocol() .. info:routeName() .. info:requestedServerName() .. info:virtualClusterName())
  add("x-route", h:metadata():get("who"))
  add("x-none", h:metadata():get("none"))
  add("x-ssl", h:connection():ssl() == nil)
  add("x-base", h:base64Escape("hello"))
  add("x-count", h:headers():getNumValues("x-two") .. tostring(h:headers():getAtIndex("x-two", 1)) .. tostring(h:headers():get("x-two")))
end
""", ("facts", get("/", [("x-two", "a"), ("x-two", "b")]), []))
