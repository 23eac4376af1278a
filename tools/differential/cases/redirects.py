"""Redirects and direct responses of routes, and internal redirects."""
from client import Request, get, post
from config import cluster, http, redirect, respond, route, vhost
from model import Group, answer

GROUP = Group("redirects")
s = GROUP.setup("kinds", http([
    route("/path", action=redirect(path_redirect="/new")), route("/path-query", action=redirect(path_redirect="/new?x=1")),
    route("/host", action=redirect(host_redirect="other.test")), route("/https", action=redirect(https_redirect=True)),
    route("/scheme", action=redirect(scheme_redirect="wss")), route("/port", action=redirect(port_redirect=8443)),
    route("/prefix", action=redirect(prefix_rewrite="/fresh")), route("/regex", action=redirect(regex_rewrite={"pattern": {"regex": "^/regex/(.*)$"}, "substitution": r"/r/\1"})),
    route("/301", action=redirect(path_redirect="/n", response_code="MOVED_PERMANENTLY")), route("/302", action=redirect(path_redirect="/n", response_code="FOUND")),
    route("/303", action=redirect(path_redirect="/n", response_code="SEE_OTHER")), route("/307", action=redirect(path_redirect="/n", response_code="TEMPORARY_REDIRECT")),
    route("/308", action=redirect(path_redirect="/n", response_code="PERMANENT_REDIRECT")), route("/strip", action=redirect(path_redirect="/n", strip_query=True)),
    route("/all", action=redirect(https_redirect=True, host_redirect="all.test", port_redirect=444, path_redirect="/every")),
    route("/teapot", action=respond(418, "tea")), route("/nothing", action=respond(204)), route("/error", action=respond(503, "sorry")), route("/teardown", action=respond(200, "x" * 3000)),
]))
for name, path, host in [
    ("path", "/path/x?q=1", "a.example"), ("path with its own query", "/path-query?q=1", "a.example"), ("host", "/host?q", "a.example:81"), ("https", "/https/y?q", "a.example"),
    ("https drops port 80", "/https", "a.example:80"), ("https keeps another port", "/https", "a.example:8080"), ("scheme", "/scheme", "a.example:443"), ("port", "/port", "a.example:81"),
    ("port on an IPv6 host", "/port", "[::1]:81"), ("prefix", "/prefix/z?q=2", "a.example"), ("regex", "/regex/a/b?q", "a.example"), ("301", "/301", "a.example"), ("302", "/302", "a.example"), ("303", "/303", "a.example"),
    ("307", "/307", "a.example"), ("308", "/308", "a.example"), ("strip query", "/strip?q=1", "a.example"), ("everything", "/all?q", "a.example"),
    ("direct 418", "/teapot", "a.example"), ("direct 204", "/nothing", "a.example"), ("direct 503", "/error", "a.example"), ("direct 3000 bytes", "/teardown", "a.example"),
]:
    s.case(name, get(path, host=host))
s.case("redirect of a POST with body", post("/path", b"x" * 500, conn="c"), get("/teapot", conn="c"))
s.case("redirect of a HEAD", Request("HEAD", "/path"))
s.case("redirect with forwarded https", get("/path", [("x-forwarded-proto", "https")]))

POLICY = {"internal_redirect_policy": {"max_internal_redirects": 2, "redirect_response_codes": [302, 303, 307], "allow_cross_scheme_redirect": True}}
s = GROUP.setup("internal", http([route("/in", "a", name="in", **POLICY), route("/second", "b", name="second", **POLICY), route("/third", "b", name="third", **POLICY), route("/fourth", "b", name="fourth"),
    route("/off", "a", name="off"), route("/predicate", "a", name="predicate", internal_redirect_policy={"predicates": [{"name": "p", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.internal_redirect.safe_cross_scheme.v3.SafeCrossSchemeConfig"}}]})], [cluster("a"), cluster("b")]),
    stats=["cluster.*.upstream_internal_redirect*"])


def to(location, status=302):
    return answer(status, ("location", location))


s.case("internal redirect", get("/in"), upstream=[to("http://a.example/second")])
s.case("internal redirect with a relative location", get("/in"), upstream=[to("/second?q=1")])
s.case("internal redirect to another host", get("/in"), upstream=[to("http://other.test/second")])
s.case("internal redirect with another code", get("/in"), upstream=[to("http://a.example/second", 301)])
s.case("internal redirects end", get("/in"), upstream=[to("http://a.example/second"), to("http://a.example/third"), to("http://a.example/fourth")])
s.case("internal redirect to nowhere", get("/in"), upstream=[to("http://a.example/unknown")])
s.case("internal redirect is off", get("/off"), upstream=[to("http://a.example/second")])
s.case("internal redirect of a POST", post("/in", b"body"), upstream=[to("http://a.example/second", 307)])
s.case("internal redirect of a POST with 303", post("/in", b"body"), upstream=[to("http://a.example/second", 303)])
s.case("internal redirect without location", get("/in"), upstream=[answer(302)])
s.case("internal redirect to another scheme", get("/in"), upstream=[to("https://a.example/second")])
s.case("internal redirect: predicate refuses", get("/predicate"), upstream=[to("https://a.example/second")])
