"""The cors filter, and csrf."""
from client import Request, get, post
from config import cluster, http, http_filter, route, typed, vhost
from model import Group, answer

GROUP = Group("cors")
NAME, POLICY, CORS = "envoy.filters.http.cors", "envoy.extensions.filters.http.cors.v3.CorsPolicy", "envoy.extensions.filters.http.cors.v3.Cors"


def policy(**fields):
    return {"typed_per_filter_config": {NAME: typed(POLICY, **fields)}}


ORIGIN = {"allow_origin_string_match": [{"exact": "http://good.test"}, {"safe_regex": {"regex": r"http://.*\.sub\.test"}}]}
FULL = {**ORIGIN, "allow_methods": "GET, POST", "allow_headers": "x-a, x-b", "expose_headers": "x-out", "max_age": "600", "allow_credentials": True}
s = GROUP.setup("cors", http(vhosts=[vhost("v", ["*"], [
    route("/full", "a", **policy(**FULL)), route("/origin", "a", **policy(**ORIGIN)), route("/star", "a", **policy(allow_origin_string_match=[{"safe_regex": {"regex": ".*"}}], allow_methods="*")),
    route("/off", "a", **policy(**ORIGIN, filter_enabled={"default_value": {"numerator": 0}})), route("/shadow", "a", **policy(**ORIGIN, filter_enabled={"default_value": {"numerator": 0}}, shadow_enabled={"default_value": {"numerator": 100}})),
    route("/private", "a", **policy(**ORIGIN, allow_private_network_access=True)), route("/forward", "a", **policy(**ORIGIN, forward_not_matching_preflights=False)), route("/", "a")], **policy(allow_origin_string_match=[{"exact": "http://host.test"}]))],
    filters=[http_filter(NAME, CORS)]), stats=["http.ingress.cors.*"])


def preflight(path, origin="http://good.test", *headers):
    return Request("OPTIONS", path, [("origin", origin), ("access-control-request-method", "GET"), *headers])


for path in ("/full", "/origin", "/star", "/off", "/shadow", "/private", "/forward", "/other"):
    s.case(f"preflight {path}", preflight(path))
    s.case(f"request {path}", get(path, [("origin", "http://good.test")]), upstream=answer(200, ("access-control-allow-origin", "upstream")))
s.case("preflight of another origin", preflight("/full", "http://bad.test"))
s.case("preflight of another origin, not forwarded", preflight("/forward", "http://bad.test"))
s.case("preflight of a subdomain", preflight("/full", "http://x.sub.test"))
s.case("preflight with headers", preflight("/full", "http://good.test", ("access-control-request-headers", "x-a")))
s.case("preflight for a private network", preflight("/private", "http://good.test", ("access-control-request-private-network", "true")))
s.case("OPTIONS without a method asked for", Request("OPTIONS", "/full", [("origin", "http://good.test")]))
s.case("request of another origin", get("/full", [("origin", "http://bad.test")]))
s.case("request without origin", get("/full"))
s.case("virtual host's policy", get("/other", [("origin", "http://host.test")]))

CSRF, CSRF_NAME = "envoy.extensions.filters.http.csrf.v3.CsrfPolicy", "envoy.filters.http.csrf"
ON = {"filter_enabled": {"default_value": {"numerator": 100}}}
s = GROUP.setup("csrf", http([route("/off", "a", typed_per_filter_config={CSRF_NAME: typed(CSRF, filter_enabled={"default_value": {"numerator": 0}})}), route("/", "a")],
    filters=[http_filter(CSRF_NAME, CSRF, **ON, additional_origins=[{"suffix": ".friend.test"}])]), stats=["http.ingress.csrf.*"])
for name, step in [("same origin", post("/", headers=[("origin", "http://a.example")])), ("other origin", post("/", headers=[("origin", "http://evil.test")])), ("additional origin", post("/", headers=[("origin", "http://x.friend.test")])),
                   ("no origin", post("/")), ("referer", post("/", headers=[("referer", "http://a.example/page")])), ("GET is free", get("/", [("origin", "http://evil.test")])), ("off on a route", post("/off", headers=[("origin", "http://evil.test")]))]:
    s.case(f"csrf: {name}", step)
