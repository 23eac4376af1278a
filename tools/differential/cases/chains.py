"""HTTP filters behind the router (of clusters, of the router itself), filters chosen by matchers, and the router's own options."""
from client import HTTP2, Stream, get, post
from config import LOG_FORMAT, access_log, add, bootstrap, cluster, hcm, http, http_filter, listener, route, typed
from http2 import grpc_frame
from model import Group, Upstream, answer

GROUP = Group("chains")
X = "envoy.extensions.filters.http."
CODEC = http_filter("codec", X + "upstream_codec.v3.UpstreamCodec")
RETRY = {"retry_policy": {"retry_on": "5xx", "num_retries": 2}}
MUTATION = X + "header_mutation.v3.HeaderMutation"


def mutation(name="mutation", **mutations):
    return http_filter(name, MUTATION, mutations=mutations)


def append(key, value, action="APPEND_IF_EXISTS_OR_ADD"):
    return {"append": {"header": {"key": key, "value": value}, "append_action": action}}


def behind(name, *filters, routes=None, upstreams=None, clusters=None, secrets=None, stats=(), **options):
    made = http(routes or [route("/retry", "a", **RETRY), route("/", "a")], clusters or [cluster("a", protocol={"http_filters": [*filters, CODEC]})], **options)
    if secrets:
        made["static_resources"]["secrets"] = secrets
    return GROUP.setup(name, made, upstreams=upstreams or {}, stats=list(stats))


s = behind("mutations", mutation(request_mutations=[append("x-try", "%UPSTREAM_HOST%", "OVERWRITE_IF_EXISTS_OR_ADD"), append("x-more", "1"), {"remove": "x-gone"}], response_mutations=[append("x-answer", "a"), append("x-status", "%RESPONSE_CODE%"), {"remove": "x-secret"}]),
           mutation("second", request_mutations=[append("x-more", "2")], response_mutations=[append("x-answer", "b")]))
s.case("mutations", get("/", [("x-gone", "1")]), upstream=answer(200, ("x-secret", "1")), ignore=["upstream.*.headers.x-try"])
s.case("mutations: body", post("/", b"hello", chunked=True), upstream=answer(200, body=b"there"), ignore=["upstream.*.headers.x-try"])
s.case("mutations: again", get("/retry"), upstream=[answer(503), answer(503), answer(200)], ignore=["upstream.*.headers.x-try"])
s.case("mutations: trailers", post("/retry", b"hello"), upstream=[answer(503), answer(200)], ignore=["upstream.*.headers.x-try"])
s = behind("a status for the router", mutation(response_mutations=[append("x-envoy-ratelimited", "true")]), routes=[route("/", "a", retry_policy={"retry_on": "envoy-ratelimited", "num_retries": 1})])
s.case("a status for the router", get("/"), upstream=[answer(429), answer(429)])
GENERIC = "envoy.extensions.http.injected_credentials.generic.v3.Generic"
SECRETS = [{"name": name, "generic_secret": {"secret": {"inline_string": value}}} for name, value in (("plain", "hush"), ("empty", ""))]


def injector(secret):
    return http_filter("injector", X + "credential_injector.v3.CredentialInjector", credential={"name": "c", "typed_config": typed(GENERIC, credential={"name": secret})})


s = behind("credentials", injector("plain"), secrets=SECRETS, stats=["cluster.a.credential_injector.*"])
s.case("credentials", get("/"))
s.case("credentials: the request has some", get("/", [("authorization", "mine")]))
s = behind("no credentials", injector("empty"), secrets=SECRETS, stats=["cluster.a.credential_injector.*"])
s.case("no credentials", get("/"), ignore=["stats.cluster.a.upstream_rq_total"])
s = behind("buffered", http_filter("buffer", X + "buffer.v3.Buffer", max_request_bytes=1000))
s.case("buffered", post("/", b"x" * 900, chunked=True))
s.case("buffered: too much", post("/", b"x" * 2000, chunked=True), ignore=["stats.cluster.a.*"])
s.case("buffered: again", post("/retry", b"x" * 900), upstream=[answer(503), answer(200)])
s = GROUP.setup("of the router", http([route("/", "a"), ], router={"name": "envoy.filters.http.router", "typed_config": typed(X + "router.v3.Router", upstream_http_filters=[mutation(request_mutations=[append("x-from", "router")], response_mutations=[append("x-back", "router")]), CODEC])}))
s.case("of the router", get("/"))
s = GROUP.setup("of both", http([route("/", "a"), ], [cluster("a", protocol={"http_filters": [mutation(request_mutations=[append("x-from", "cluster")]), CODEC]})], router={"name": "envoy.filters.http.router", "typed_config": typed(X + "router.v3.Router", upstream_http_filters=[mutation(request_mutations=[append("x-from", "router")]), CODEC])}))
s.case("of both", get("/"))
s = behind("over HTTP/2", clusters=[cluster("a", http2=True, protocol={"http_filters": [mutation(request_mutations=[append("x-try", "1")], response_mutations=[append("x-back", "1")], response_trailers_mutations=[append("x-last", "1")]), CODEC]})], upstreams={"a": Upstream(kind="http2")})
s.case("over HTTP/2", HTTP2(Stream("POST", "/s/M", [("content-type", "application/grpc"), ("te", "trailers")], grpc_frame(b"hi"))), upstream=answer(200, ("content-type", "application/grpc"), body=grpc_frame(b"yo"), trailers=[("grpc-status", "0")]))
for name, filters in (("no codec", [mutation()]), ("codec first", [CODEC, mutation()]), ("no filter of upstream requests", [http_filter("cors", X + "cors.v3.Cors"), CODEC])):
    GROUP.setup(f"refused: {name}", http(None, [cluster("a", protocol={"http_filters": filters})]), refused=True).case(f"refused: {name}")

# Choosing by matchers.
INPUT = "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
OUTPUT = "type.googleapis.com/envoy.type.matcher.v3.HttpResponseHeaderMatchInput"
SKIP = {"name": "skip", "typed_config": typed("envoy.extensions.filters.common.matcher.action.v3.SkipFilter")}


def tree(action_of, kind=INPUT, header="x-kind", **fields):
    return {"matcher_tree": {"input": {"name": "in", "typed_config": {"@type": kind, "header_name": header}}, "exact_match_map": {"map": {key: {"action": value} for key, value in action_of.items()}}}, **fields}


def execute(name="chosen", config=None, **fields):
    if config is not None:
        fields["typed_config"] = config
    return {"name": name, "typed_config": typed(X + "composite.v3.ExecuteFilterAction", **fields)}


def with_matcher(name, extension, matcher=None, **fields):
    if matcher is not None:
        fields["xds_matcher"] = matcher
    return http_filter(name, "envoy.extensions.common.matching.v3.ExtensionWithMatcher", extension_config={"name": "inner", "typed_config": extension["typed_config"]}, **fields)


LOGGED = {"access_log": [access_log({**LOG_FORMAT, "chosen": "%FILTER_STATE(envoy.extensions.filters.http.composite.matched_actions)%"})]}
MARK = mutation(request_mutations=[append("x-mark", "1")], response_mutations=[append("x-back", "1")])
for name, filters in (
    ("skipped", [with_matcher("delegate", MARK, tree({"skip": SKIP}))]),
    ("skipped otherwise", [with_matcher("delegate", MARK, {**tree({"keep": SKIP}), "on_no_match": {"action": SKIP}})]),
    ("skipped on the way back", [with_matcher("delegate", MARK, tree({"skip": SKIP}, OUTPUT, "x-answer"))]),
    ("without a tree", [with_matcher("delegate", MARK)]),
):
    s = GROUP.setup(name, http([route("/own", "a", typed_per_filter_config={"delegate": typed("envoy.extensions.common.matching.v3.ExtensionWithMatcherPerRoute", xds_matcher=tree({"own": SKIP}))}), route("/", "a")], filters=filters))
    for kind in ("skip", "own", "other", None):
        for path in ("/", "/own"):
            s.case(f"{name}: {kind} to {path}", get(path, [("x-kind", kind)] if kind else []), upstream=answer(200, ("x-answer", kind or "none")))
COMPOSITE = http_filter("composite", X + "composite.v3.Composite")
ONE = {"name": "first", "typed_config": typed(MUTATION, mutations={"request_mutations": [append("x-chosen", "one")], "response_mutations": [append("x-back", "one")]})}
TWO = {"name": "second", "typed_config": typed(MUTATION, mutations={"request_mutations": [append("x-chosen", "two")], "response_mutations": [append("x-back", "two")]})}
LOCAL = {"name": "limit", "typed_config": typed(X + "buffer.v3.Buffer", max_request_bytes=100)}
CHOICES = {"one": execute(config=ONE), "two": execute(config=TWO), "both": execute(filter_chain={"typed_config": [ONE, TWO]}), "buffer": execute(config=LOCAL)}
NAMED = {"named": execute(filter_chain_name="pair"), "nobody": execute(filter_chain_name="ghost")}
for name, filters in (
    ("chosen", [with_matcher("composite", COMPOSITE, tree(CHOICES))]),
    ("chosen by its own tree", [http_filter("composite", X + "composite.v3.Composite", matcher=tree({**CHOICES, **NAMED}), named_filter_chains={"pair": {"typed_config": [TWO, ONE]}})]),
):
    s = GROUP.setup(name, http([route("/", "a")], filters=[MARK, *filters, mutation("last", request_mutations=[append("x-chosen", "last")], response_mutations=[append("x-back", "last")])], **LOGGED), stats=["http.ingress.composite.*"])
    for kind in ("one", "two", "both", "named", "nobody", "other"):
        s.case(f"{name}: {kind}", get("/", [("x-kind", kind)]))
    s.case(f"{name}: buffer", post("/", b"x" * 200, [("x-kind", "buffer")]))
    s.case(f"{name}: buffer, little", post("/", b"x" * 20, [("x-kind", "buffer")], chunked=True))
s = GROUP.setup("chosen by the route's tree", http([route("/own", "a", typed_per_filter_config={"composite": typed(X + "composite.v3.CompositePerRoute", matcher=tree({"one": execute(config=TWO)}))}), route("/", "a")], filters=[http_filter("composite", X + "composite.v3.Composite", matcher=tree(CHOICES))], **LOGGED), stats=["http.ingress.composite.*"])
for path in ("/", "/own"):
    s.case(f"chosen by the route's tree: {path}", get(path, [("x-kind", "one")]))
s = GROUP.setup("chosen by the answer", http([route("/", "a")], filters=[with_matcher("composite", COMPOSITE, tree(CHOICES, OUTPUT, "x-answer"))], **LOGGED), stats=["http.ingress.composite.*"])
for kind in ("one", "both", "other"):
    s.case(f"chosen by the answer: {kind}", get("/"), upstream=answer(200, ("x-answer", kind)))
s = GROUP.setup("never chosen", http([route("/", "a")], filters=[with_matcher("composite", COMPOSITE, tree({"one": execute(config=ONE, sample_percent={"default_value": {"numerator": 0}})}))], **LOGGED), stats=["http.ingress.composite.*"])
s.case("never chosen", get("/", [("x-kind", "one")]))

# The router's own options.
STRICT = ["x-envoy-upstream-rq-timeout-ms", "x-envoy-upstream-rq-per-try-timeout-ms", "x-envoy-max-retries", "x-envoy-retry-on", "x-envoy-retry-grpc-on"]


def router(**fields):
    return {"name": "envoy.filters.http.router", "typed_config": typed(X + "router.v3.Router", **fields)}


INSIDE = {"use_remote_address": True, "internal_address_config": {"cidr_ranges": [{"address_prefix": "127.0.0.0", "prefix_len": 8}]}}
s = GROUP.setup("strict headers", http([route("/", "a")], router=router(strict_check_headers=STRICT), **INSIDE))
for name, value in ((STRICT[0], "12"), (STRICT[0], "12s"), (STRICT[0], "-1"), (STRICT[1], "x"), (STRICT[2], "3"), (STRICT[2], "3.0"), (STRICT[3], "5xx,reset"), (STRICT[3], "5xx, odd"), (STRICT[4], "cancelled"), (STRICT[4], "5xx")):
    s.case(f"strict headers: {name} {value}", get("/", [(name, value)]))
s = GROUP.setup("expected timeout", http([route("/", "a", timeout="5s")], router=router(respect_expected_rq_timeout=True), **INSIDE))
s.case("expected timeout", get("/", [("x-envoy-expected-rq-timeout-ms", "300")]), upstream=answer(hang=True))
s.case("expected timeout: told on", get("/", [("x-envoy-expected-rq-timeout-ms", "3000"), ("x-envoy-upstream-rq-timeout-ms", "100")]))
TRY = access_log({"code": "%RESPONSE_CODE%", "flags": "%RESPONSE_FLAGS%", "cluster": "%UPSTREAM_CLUSTER%", "host": "%UPSTREAM_HOST%", "path": "%REQ(:PATH)%", "type": "%ACCESS_LOG_TYPE%"})
s = GROUP.setup("a log of tries", http([route("/retry", "a", **RETRY), route("/dead", "dead-cluster"), route("/", "a")], [cluster("a"), cluster("dead-cluster", ["dead"])], log=False, router=router(upstream_log=[TRY])))
s.case("a log of tries: one", get("/"), logs=1)
s.case("a log of tries: two", get("/retry"), upstream=[answer(503), answer(200)], logs=2)
s.case("a log of tries: reset", get("/"), upstream=answer(reset="before"), logs=1)
