"""per_connection_buffer_limit_bytes: what filters and retries may keep of a body."""
from client import HTTP2, Stream, get, post
from config import bootstrap, cluster, hcm, http_filter, listener, route
from model import Group, answer

GROUP = Group("buffers")
X = "envoy.extensions.filters.http."
RETRY = {"retry_policy": {"retry_on": "5xx", "num_retries": 1}}
LUA = """
function envoy_on_request(h)
  local body = h:body()
  if body then h:headers():add("x-length", body:length()) end
end
function envoy_on_response(h)
  local body = h:body()
  if body then h:headers():add("x-length", body:length()) end
end
"""


def setup(name, filters=(), limit=1024, routes=None, clusters=None):
    fields = {} if limit is None else {"per_connection_buffer_limit_bytes": limit}
    return GROUP.setup(name, bootstrap([listener(hcm(routes or [route("/", "a")], filters=filters), **fields)], clusters or [cluster("a")]), stats=["cluster.a.retry_or_shadow_abandoned"])


lua = http_filter("envoy.filters.http.lua", X + "lua.v3.Lua", default_source_code={"inline_string": LUA})
s = setup("kept by a filter", [lua])
for size in (500, 1024, 1025, 5000):
    s.case(f"kept by a filter: {size} bytes", post("/", b"x" * size))
    s.case(f"kept by a filter: {size} bytes in chunks", post("/", b"x" * size, chunked=True))
    s.case(f"kept by a filter: an answer of {size} bytes", get("/"), upstream=answer(200, body=b"y" * size))
s.case("kept by a filter: HTTP/2", HTTP2(Stream("POST", "/", [], b"x" * 5000)))
s = setup("usual bounds", [lua], limit=None)
s.case("usual bounds: 300 KB", post("/", b"x" * 300_000, body_length=True))
s.case("usual bounds: 1.2 MB", post("/", b"x" * 1_200_000, body_length=True), ignore=["client.*.end", "client.*.connection", "log.*.received"])
s = setup("a bound above the usual", [lua], limit=2_000_000)
s.case("a bound above the usual: 1.2 MB", post("/", b"x" * 1_200_000, body_length=True))
s = setup("the buffer filter's own", [http_filter("envoy.filters.http.buffer", X + "buffer.v3.Buffer", max_request_bytes=3000)])
for size in (2000, 4000):
    s.case(f"the buffer filter's own: {size} bytes", post("/", b"x" * size))
s = setup("kept for a retry", routes=[route("/own", "a", request_body_buffer_limit=3000, **RETRY), route("/", "a", **RETRY)])
for path in ("/", "/own"):
    for size in (500, 2000, 9000):
        s.case(f"kept for a retry: {size} bytes to {path}", post(path, b"x" * size), upstream=[answer(503), answer(200)])
s = setup("kept for a retry, usual", limit=None, routes=[route("/", "a", **RETRY)])
s.case("kept for a retry: 100 KB", post("/", b"x" * 100_000), upstream=[answer(503), answer(200)])
s = setup("of a cluster", limit=None, routes=[route("/", "a", **RETRY)], clusters=[cluster("a", per_connection_buffer_limit_bytes=1024)])
s.case("of a cluster: 300 KB", post("/", b"x" * 300_000), upstream=answer(200, body=b"y" * 300_000))
s.case("of a cluster: a retry", post("/", b"x" * 5000), upstream=[answer(503), answer(200)])
s = setup("through", limit=2048)
s.case("through: 300 KB each way", post("/", b"x" * 300_000), upstream=answer(200, body=b"y" * 300_000))
