"""Which route a request takes, and what the route does to it."""
from client import Request, Share, get, post
from config import add, bootstrap, chain, cluster, hcm, http, listener, match, respond, route, typed, vhost
from model import Group, answer

GROUP = Group("routing")

s = GROUP.setup("paths", http([
    route(path="/exact", cluster="a", name="exact"),
    route(path="/Case", cluster="b", name="case-insensitive", matcher={"case_sensitive": False}),
    route("/prefix/", "a", name="prefix"),
    route("/prefix", "b", name="prefix-without-slash"),
    route(regex=r"/items/\d+", cluster="a", name="regex"),
    route(matcher={"path_separated_prefix": "/seg/ment"}, cluster="b", name="separated"),
    route("/gone", cluster="nowhere", name="unknown-cluster"),
    route("/gone500", cluster="nowhere", name="unknown-cluster-500", cluster_not_found_response_code="INTERNAL_SERVER_ERROR"),
    route("/gone404", cluster="nowhere", name="unknown-cluster-404", cluster_not_found_response_code="NOT_FOUND"),
    route("/direct", action=respond(418, "short and stout"), name="direct"),
    route("/empty", action=respond(200), name="direct-empty"),
], [cluster("a"), cluster("b")], route_config={"validate_clusters": False}))
for name, path in [
    ("exact path", "/exact"), ("exact path with query", "/exact?x=1"), ("exact path is not a prefix", "/exact/"),
    ("path without case", "/cASe"), ("prefix", "/prefix/x/y"), ("second prefix", "/prefixed"), ("regex whole", "/items/42"),
    ("regex is anchored", "/items/42x"), ("regex ignores the query", "/items/42?q"), ("separated prefix itself", "/seg/ment"),
    ("separated prefix below", "/seg/ment/x"), ("separated prefix is not a string prefix", "/seg/mentx"),
    ("no route", "/nothing"),
    ("unknown cluster", "/gone"), ("unknown cluster 500", "/gone500"), ("unknown cluster 404", "/gone404"),
    ("direct response", "/direct"), ("direct response without body", "/empty"),
]:
    s.case(name, get(path))
s.case("direct response to HEAD", Request("HEAD", "/direct"))
s.case("direct response to POST with a body", post("/direct", b"x" * 100, conn="c"), get("/exact", conn="c"))

s = GROUP.setup("conditions", http([
    route("/", "a", name="h-exact", matcher={"headers": [{"name": "x-a", "string_match": {"exact": "one"}}]}),
    route("/", "a", name="h-prefix", matcher={"headers": [{"name": "x-a", "string_match": {"prefix": "two"}}]}),
    route("/", "a", name="h-suffix", matcher={"headers": [{"name": "x-a", "string_match": {"suffix": "three"}}]}),
    route("/", "a", name="h-contains-nocase", matcher={"headers": [{"name": "x-a", "string_match": {"contains": "four", "ignore_case": True}}]}),
    route("/", "a", name="h-regex", matcher={"headers": [{"name": "x-a", "string_match": {"safe_regex": {"regex": "v[0-9]+"}}}]}),
    route("/", "a", name="h-range", matcher={"headers": [{"name": "x-n", "range_match": {"start": -5, "end": 10}}]}),
    route("/", "a", name="h-present", matcher={"headers": [{"name": "x-p", "present_match": True}]}),
    route("/", "a", name="h-two", matcher={"headers": [{"name": "x-q", "present_match": True}, {"name": "x-r", "present_match": False}]}),
    route("/", "a", name="h-invert", matcher={"headers": [
        {"name": "x-on", "present_match": True}, {"name": "x-i", "string_match": {"exact": "no"}, "invert_match": True}]}),
    route("/", "a", name="h-empty-as-missing", matcher={"headers": [
        {"name": "x-m", "string_match": {"exact": ""}, "treat_missing_header_as_empty": True}, {"name": "x-mon", "present_match": True}]}),
    route("/", "a", name="method", matcher={"headers": [{"name": ":method", "string_match": {"exact": "DELETE"}}]}),
    route("/", "a", name="q-exact", matcher={"query_parameters": [{"name": "q", "string_match": {"exact": "one"}}]}),
    route("/", "a", name="q-present", matcher={"query_parameters": [{"name": "p", "present_match": True}]}),
    route("/", "a", name="q-regex", matcher={"query_parameters": [{"name": "r", "string_match": {"safe_regex": {"regex": "[a-c]+"}}}]}),
    route("/grpc", "a", name="grpc", matcher={"grpc": {}}),
    route("/never", "a", name="fraction-0", matcher={"runtime_fraction": {"default_value": {"numerator": 0}}}),
    route("/never", "a", name="fraction-100", matcher={"runtime_fraction": {"default_value": {"numerator": 100}}}),
    route("/", "a", name="cookie", matcher={"headers": [{"name": "cookie", "string_match": {"safe_regex": {"regex": "^(.*?;)?\\s*(user=jason)(;.*)?$"}}}]}),
    route("/", "a", name="rest"),
]))
for name, path, headers in [
    ("header exact", "/", [("x-a", "one")]), ("header exact with case", "/", [("X-A", "ONE")]), ("header prefix", "/", [("x-a", "twofold")]),
    ("header suffix", "/", [("x-a", "a-three")]), ("header contains without case", "/", [("x-a", "aFOURb")]),
    ("header regex", "/", [("x-a", "v12")]), ("header regex is anchored", "/", [("x-a", "v12b")]),
    ("header range", "/", [("x-n", "-5")]), ("header range end is open", "/", [("x-n", "10")]), ("header range no number", "/", [("x-n", "5a")]),
    ("header present", "/", [("x-p", "")]), ("header present and other absent", "/", [("x-q", "1")]),
    ("header present and other too", "/", [("x-q", "1"), ("x-r", "1")]), ("inverted: other value", "/", [("x-on", "1"), ("x-i", "yes")]),
    ("inverted: missing", "/", [("x-on", "1")]), ("inverted: that value", "/", [("x-on", "1"), ("x-i", "no")]),
    ("missing as empty", "/", [("x-mon", "1")]), ("several values are joined", "/", [("x-a", "one"), ("x-a", "two")]),
    ("query exact", "/?q=one", []), ("query other value", "/?q=two", []), ("query present", "/?x=1&p", []), ("query regex", "/?r=abc", []),
    ("query percent-encoded", "/?q=%6fne", []), ("query twice", "/?q=two&q=one", []),
    ("grpc content type", "/grpc", [("content-type", "application/grpc+proto")]), ("grpc other content type", "/grpc", [("content-type", "application/grpcx")]),
    ("fraction 0 and 100", "/never", []), ("cookie regex", "/", [("cookie", "a=b; user=jason; c=d")]), ("cookie crumbs", "/", [("cookie", "a=b"), ("cookie", "user=jason")]),
]:
    s.case(name, get(path, headers))
s.case("method as header", Request("DELETE", "/"))

s = GROUP.setup("domains", http(vhosts=[
    vhost("exact", ["a.example", "a.example:8080"], [route("/", "a", name="exact")]),
    vhost("suffix", ["*.example"], [route("/", "a", name="suffix")]),
    vhost("longer-suffix", ["*.b.example", "*-x.example"], [route("/", "a", name="longer-suffix")]),
    vhost("prefix", ["www.*"], [route("/", "a", name="prefix")]),
    vhost("longer-prefix", ["www.c.*"], [route("/", "a", name="longer-prefix")]),
    vhost("tls", ["secure.test"], [route("/", "a", name="secure")], require_tls="ALL"),
], route_config={"most_specific_header_mutations_wins": False}))
for host in ["a.example", "A.EXAMPLE", "a.example:8080", "a.example:9090", "x.example", "x.b.example", "y-x.example", ".example",
             "www.c.test", "www.d.test", "www.", "other.test", "secure.test", "a.example."]:
    s.case(f"host {host}", get("/p", host=host))
s.case("secure vhost told it was https", get("/p?q=1", [("x-forwarded-proto", "https")], host="secure.test"))

s = GROUP.setup("weights", http([
    route("/all", matcher={}, name="w100", weighted_clusters={"clusters": [{"name": "a", "weight": 0}, {"name": "b", "weight": 7}]}),
    route("/half", name="half", weighted_clusters={"clusters": [{"name": "a", "weight": 50}, {"name": "b", "weight": 50}]}),
    route("/headers", name="per-cluster", weighted_clusters={"clusters": [{
        "name": "b", "weight": 1, "request_headers_to_add": [add("x-weighted", "yes")], "request_headers_to_remove": ["x-gone"],
        "response_headers_to_add": [add("x-answered", "%UPSTREAM_CLUSTER%")], "response_headers_to_remove": ["x-up"], "host_rewrite_literal": "b.internal"}]}),
    route("/by-header", name="cluster-header", cluster_header="x-cluster"),
], [cluster("a"), cluster("b")]))
s.case("weight 0 gets nothing", get("/all"), get("/all"), get("/all"))
s.case("half and half", Share(120, get("/half", conn="c"), {"hello from a": (0.3, 0.7), "hello from b": (0.3, 0.7)}),
       ignore=["upstream.*", "log.*", "stats.*"])
s.case("headers of a weighted cluster", get("/headers", [("x-gone", "1")]), upstream=answer(200, ("x-up", "1"), ("x-kept", "2")))
s.case("cluster header", get("/by-header", [("x-cluster", "b")]))
s.case("cluster header missing", get("/by-header"))
s.case("cluster header unknown", get("/by-header", [("x-cluster", "zzz")]))

s = GROUP.setup("rewrites", http([
    route("/strip/", "a", prefix_rewrite="/"),
    route("/swap", "a", prefix_rewrite="/other"),
    route(path="/whole", cluster="a", prefix_rewrite="/new"),
    route("/re/", "a", regex_rewrite={"pattern": {"regex": r"^/re/([^/]+)/(.*)$"}, "substitution": r"/\2/of/\1"}),
    route("/host", "a", host_rewrite_literal="rewritten.test"),
    route("/hh", "a", host_rewrite_header="x-host"),
    route("/auto", "named", auto_host_rewrite=True),
    route("/xfh", "a", host_rewrite_literal="rewritten.test", append_x_forwarded_host=True),
], [cluster("a"), cluster("named", [{"endpoint": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": "$port:named"}}, "hostname": "named.host"}}])]))
for name, path, headers in [
    ("prefix to slash", "/strip/x?q=1", []), ("prefix swap", "/swapped/x", []), ("prefix rewrite of a whole path", "/whole?x", []),
    ("regex rewrite", "/re/one/two?q=3", []), ("regex rewrite without match", "/re/one", []), ("literal host", "/host", []),
    ("host from header", "/hh", [("x-host", "from.header")]), ("host from missing header", "/hh", []),
    ("auto host", "/auto", []), ("x-forwarded-host", "/xfh", []),     ("original path header of the client", "/swap", [("x-envoy-original-path", "/spoofed")]),
]:
    s.case(name, get(path, headers))

s = GROUP.setup("host from path", http([
    route("/hp", "a", host_rewrite_path_regex={"pattern": {"regex": "^/hp/([a-z]+).*$"}, "substitution": r"\1.test"})]))
s.case("host from path", get("/hp/abc/d?x"))

TEMPLATE = "type.googleapis.com/envoy.extensions.path."


def template(pattern):
    return {"path_match_policy": {"name": "t", "typed_config": {"@type": TEMPLATE + "match.uri_template.v3.UriTemplateMatchConfig", "path_template": pattern}}}


s = GROUP.setup("templates", http([
    route(matcher=template("/t/{one}/{two}"), cluster="a", name="rewritten", path_rewrite_policy={"name": "r", "typed_config": {
        "@type": TEMPLATE + "rewrite.uri_template.v3.UriTemplateRewriteConfig", "path_template_rewrite": "/{two}/{one}"}}),
    route(matcher=template("/template/{id}/*"), cluster="a", name="template"),
    route(matcher=template("/deep/{rest=**}"), cluster="a", name="deep"),
]))
s.case("uri template", get("/template/7/rest"))
s.case("uri template needs its segments", get("/template/7"))
s.case("uri template rewrite", get("/t/1/2?q"))
s.case("uri template with many segments", get("/deep/a/b/c"))

s = GROUP.setup("external only", http(vhosts=[vhost("external", ["external.test"], [route("/", "a")], require_tls="EXTERNAL_ONLY")]))
s.case("tls for external clients only", get("/p", host="external.test"))

s = GROUP.setup("weighted header", http([
    route("/", name="weighted-header", weighted_clusters={"clusters": [{"cluster_header": "x-cluster", "weight": 1}]})]))
s.case("weighted cluster by header", get("/", [("x-cluster", "a")]))

s = GROUP.setup("several values", http([
    route("/1", "a", name="joined", matcher={"headers": [{"name": "x-a", "string_match": {"exact": "one,two"}}]}),
    route("/1", "a", name="first", matcher={"headers": [{"name": "x-a", "string_match": {"exact": "one"}}]}),
    route("/1", "a", name="second", matcher={"headers": [{"name": "x-a", "string_match": {"exact": "two"}}]}),
    route("/2", "a", name="inverted", matcher={"headers": [{"name": "x-a", "string_match": {"exact": "one"}, "invert_match": True}]}),
    route("/3", "a", name="regex-joined", matcher={"headers": [{"name": "x-a", "string_match": {"safe_regex": {"regex": "one,t.*"}}}]}),
    route("/4", "a", name="range", matcher={"headers": [{"name": "x-a", "range_match": {"start": 1, "end": 9}}]}),
    route("/5", "a", name="cookie", matcher={"headers": [{"name": "cookie", "string_match": {"contains": "b=2; c"}}]}),
    route("/", "a", name="rest"),
]))
BOTH = [("x-a", "one"), ("x-a", "two")]
s.case("two values: joined, first, second", get("/1", BOTH))
s.case("two values: the second alone", get("/1", [("x-a", "zero"), ("x-a", "two")]))
s.case("one value with a comma", get("/1", [("x-a", "one,two")]))
s.case("two values: inverted", get("/2", BOTH), get("/2", BOTH[::-1]), get("/2", [("x-a", "two"), ("x-a", "two")]))
s.case("two values: regex over both", get("/3", BOTH))
s.case("two values: range", get("/4", [("x-a", "3"), ("x-a", "30")]))
s.case("cookies in two headers", get("/5", [("cookie", "a=1; b=2"), ("cookie", "c=3")]))

s = GROUP.setup("levels", http(vhosts=[vhost("v", ["*"], [
    route("/plain", "a", name="plain"),
    route("/case-insensitive", "a", matcher={"case_sensitive": False}, name="nocase"),
    route("/", "a", name="rest", priority="HIGH"),
], include_request_attempt_count=True, include_attempt_count_in_response=True)]))
s.case("attempt count headers", get("/plain"))
s.case("attempt count from the client", get("/plain", [("x-envoy-attempt-count", "7")]))
s.case("a route of high priority", get("/other"))


def header_input(name):
    return {"name": "header", "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=name)}


def source_input():
    return {"name": "source", "typed_config": typed("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")}


def take(name, prefix="/", **matcher):
    """What a tree leads to: a route."""
    return {"action": {"name": "route", "typed_config": {**typed("envoy.config.route.v3.Route"), **route(prefix, "a", name=name, matcher=matcher)}}}


def take_list(*routes):
    return {"action": {"name": "routes", "typed_config": typed("envoy.config.route.v3.RouteList", routes=list(routes))}}


def tree(source, kind, map, **more):
    return {"matcher_tree": {"input": source, kind: {"map": map}}, **more}


def under(matcher):
    return {"matcher": matcher}


def holds(source, **how):
    return {"single_predicate": {"input": source, "value_match": how}}


def entry(predicate, match, **more):
    return {"predicate": predicate, "on_match": {**match, **more}}


def ranges(*entries, **more):
    return {"matcher_tree": {"input": source_input(), "custom_match": {"name": "ip", "typed_config": typed(
        "xds.type.matcher.v3.IPMatcher", range_matchers=[
            {"ranges": [{"address_prefix": prefix, "prefix_len": bits}], "on_match": match, **fields} for prefix, bits, match, fields in entries])}}, **more}


PATH, KIND, TEAM = header_input(":path"), header_input("x-kind"), header_input("x-team")
for name, matcher, requests in [
    ("exact paths", tree(PATH, "exact_match_map", {"/one": take("one"), "/two?q=1": take("two"), "/three": take("three", "/other")}), [
        ("/one", []), ("/one?q", []), ("/two?q=1", []), ("/three", []), ("/", [])]),
    ("exact paths, else", tree(PATH, "exact_match_map", {"/one": take("one"), "/three": take("three", "/other")}, on_no_match=take("else")), [
        ("/one", []), ("/three", []), ("/x", [])]),
    ("prefixes", tree(PATH, "prefix_match_map", {"/a": take("a"), "/a/b": under(tree(KIND, "exact_match_map", {"k": take("a/b of k")})), "/a/b/c": take("c", "/never"), "": take("empty")}), [
        ("/a", []), ("/a/bc", [("x-kind", "k")]), ("/a/b", []), ("/a/b/c", []), ("/a/b/c", [("x-kind", "k")]), ("/z", [])]),
    ("routes in lists", tree(KIND, "exact_match_map", {"k": take_list(route("/1", "a", name="first"), route("/", "a", name="second", matcher={"headers": [{"name": "x-team", "present_match": True}]})), "none": take_list(route("/1", "a", name="only"))}), [
        ("/1", [("x-kind", "k")]), ("/2", [("x-kind", "k")]), ("/2", [("x-kind", "k"), ("x-team", "t")]), ("/2", [("x-kind", "none")]), ("/1", [("x-kind", "k"), ("x-kind", "k")]), ("/1", [])]),
    ("two values", tree(KIND, "exact_match_map", {"k,l": take("both"), "k": take("one")}), [
        ("/", [("x-kind", "k"), ("x-kind", "l")]), ("/", [("x-kind", "k,l")]), ("/", [("x-kind", "k")]), ("/", [("X-Kind", "l"), ("x-kind", "k")])]),
    ("a list of conditions", {"matcher_list": {"matchers": [
        entry({"and_matcher": {"predicate": [holds(KIND, prefix="k"), {"not_matcher": holds(TEAM, exact="blue")}]}}, take("k, not blue")),
        entry({"or_matcher": {"predicate": [holds(TEAM, exact="BLUE", ignore_case=True), holds(KIND, safe_regex={"google_re2": {}, "regex": "x+"})]}}, take("blue or x", "/only")),
        entry(holds(TEAM, suffix="e"), take("ends with e")),
    ]}, "on_no_match": take("else")}, [
        ("/", [("x-kind", "k1")]), ("/", [("x-kind", "k1"), ("x-team", "blue")]), ("/only", [("x-kind", "k1"), ("x-team", "blue")]), ("/only", [("x-kind", "xx")]), ("/", [("x-kind", "xx")]),
        ("/", [("x-team", "white")]), ("/", []), ("/only", [("x-kind", "yxx")])]),
    ("a nested tree that has nothing", tree(KIND, "exact_match_map", {"k": under(tree(TEAM, "exact_match_map", {"t": take("k, t")}))}, on_no_match=take("else")), [
        ("/", [("x-kind", "k"), ("x-team", "t")]), ("/", [("x-kind", "k")])]),
]:
    s = GROUP.setup(f"tree: {name}", http(vhosts=[{"name": "v", "domains": ["*"], "matcher": matcher}]))
    for index, (path, fields) in enumerate(requests):
        s.case(f"tree: {name}: {path} {index}", get(path, fields))
for name, matcher in [
    ("without a map", {"matcher_tree": {"input": PATH}}), ("without an action", tree(PATH, "exact_match_map", {"/": {}})),
    ("with another action", tree(PATH, "exact_match_map", {"/": {"action": {"name": "x", "typed_config": typed("google.protobuf.StringValue", value="x")}}})),
    ("of a response", tree({"name": "x", "typed_config": typed("envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput")}, "exact_match_map", {"200": take("x")})),
    ("that goes on after a match", {"matcher_list": {"matchers": [entry(holds(KIND, exact="k"), take("kept"), keep_matching=True)]}}),
    ("one predicate in an and", {"matcher_list": {"matchers": [entry({"and_matcher": {"predicate": [holds(KIND, exact="k")]}}, take("x"))]}}),
]:
    s = GROUP.setup(f"tree: {name}", http(vhosts=[{"name": "v", "domains": ["*"], "matcher": matcher}]), refused=True)
    s.case(f"tree: {name} is refused")


# Trees of routes look at fields of requests alone in Envoy; those of filter chains at addresses.
def chained(name):
    return {"action": {"name": name, "typed_config": typed("google.protobuf.StringValue", value=name)}}


def by_source(port_chain):
    return under({"matcher_list": {"matchers": [entry(holds(PORT, exact="1"), port_chain)]}})


PORT = {"name": "port", "typed_config": typed("envoy.extensions.matching.common_inputs.network.v3.SourcePortInput")}
s = GROUP.setup("tree: source addresses", bootstrap([listener(
    *[chain(hcm([route("/", name=name, action=respond(200, name))]), name=name) for name in ("wide", "alone", "narrow", "else")],
    filter_chain_matcher=ranges(
        ("127.0.0.0", 8, chained("wide"), {}), ("127.0.0.2", 32, by_source(chained("narrow")), {}),
        ("127.0.0.4", 30, chained("alone"), {"exclusive": True}), ("127.0.0.5", 32, by_source(chained("narrow")), {}), on_no_match=chained("else")))]))
for source in ("127.0.0.9", "127.0.0.2", "127.0.0.6", "127.0.0.5"):
    s.case(f"tree: source addresses: {source}", get("/", source=source))
