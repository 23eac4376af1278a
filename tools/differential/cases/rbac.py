"""The RBAC filter of HTTP."""
from client import Request, get
from config import cluster, http, http_filter, route, typed
from model import Group, answer

GROUP = Group("rbac")
RBAC, PER_ROUTE = "envoy.extensions.filters.http.rbac.v3.RBAC", "envoy.extensions.filters.http.rbac.v3.RBACPerRoute"
NAME = "envoy.filters.http.rbac"
ANY = {"any": True}


def policy(permission=ANY, principal=ANY, **fields):
    return {"permissions": [permission], "principals": [principal], **fields}


def rules(action="ALLOW", **policies):
    return {"action": action, "policies": policies}


def rbac(**fields):
    return http_filter(NAME, RBAC, **fields)


def header(name, **match):
    return {"header": {"name": name, **match}}


def setup(name, *, routes=None, fields=None, **filter_fields):
    return GROUP.setup(name, http(routes or [route("/", "a")], filters=[rbac(**filter_fields)], **(fields or {})), stats=["http.ingress.rbac.*"])


for action in ("ALLOW", "DENY"):
    s = setup(f"{action} permissions", rules=rules(
        action, path=policy({"url_path": {"path": {"exact": "/path"}}}), prefix=policy({"url_path": {"path": {"prefix": "/pre/"}}}),
        method=policy(header(":method", string_match={"exact": "DELETE"})), value=policy(header("x-a", string_match={"suffix": "end"})),
        either=policy({"or_rules": {"rules": [header("x-b", present_match=True), header("x-c", present_match=True)]}}),
        both=policy({"and_rules": {"rules": [header("x-d", present_match=True), {"not_rule": header("x-e", present_match=True)}]}}),
        host=policy(header(":authority", string_match={"exact": "secret.test", "ignore_case": True})),
        port=policy({"and_rules": {"rules": [{"destination_port_range": {"start": 1, "end": 5}}]}})))
    for name, request in [
        ("path", get("/path")), ("path with query", get("/path?x=1")), ("path with a fragment sign encoded", get("/path%23")), ("longer path", get("/path/x")), ("prefix", get("/pre/x")), ("nothing matches", get("/other")),
        ("method", Request("DELETE", "/")), ("header suffix", get("/", [("x-a", "the end")])), ("header with two values", get("/", [("x-a", "the end"), ("x-a", "or not")])), ("header with two values, matching last", get("/", [("x-a", "not"), ("x-a", "the end")])),
        ("or: second", get("/", [("x-c", "")])), ("and with not", get("/", [("x-d", "1")])), ("and with not: refused", get("/", [("x-d", "1"), ("x-e", "1")])), ("host", get("/", host="SECRET.test")),
    ]:
        s.case(f"{action}: {name}", request)
    s = setup(f"{action} principals", rules=rules(
        action, remote=policy(principal={"and_ids": {"ids": [{"remote_ip": {"address_prefix": "10.1.0.0", "prefix_len": 16}}, header("x-who", string_match={"exact": "remote"})]}}),
        direct=policy(principal={"and_ids": {"ids": [{"direct_remote_ip": {"address_prefix": "127.0.0.9", "prefix_len": 32}}, header("x-who", string_match={"exact": "direct"})]}}),
        someone=policy(principal={"or_ids": {"ids": [header("x-user", string_match={"exact": "jason"}), {"not_id": header("x-anonymous", present_match=True, invert_match=True)}]}}),
        tls=policy(principal={"authenticated": {"principal_name": {"exact": "spiffe://x"}}})))
    for name, request in [
        ("remote ip by xff", get("/", [("x-forwarded-for", "10.1.2.3"), ("x-who", "remote")])), ("remote ip of another net", get("/", [("x-forwarded-for", "10.2.2.3"), ("x-who", "remote")])),
        ("direct remote ip", get("/", [("x-who", "direct")], source="127.0.0.9")), ("direct remote ip of another", get("/", [("x-who", "direct")])), ("or_ids", get("/", [("x-user", "jason")])),
        ("not_id", get("/", [("x-anonymous", "1")])), ("nobody", get("/"))]:
        s.case(f"{action} principal: {name}", request)

s = setup("nothing", rules={"action": "ALLOW"})
s.case("an empty ALLOW denies all", get("/"))
s = setup("nothing denied", rules={"action": "DENY"})
s.case("an empty DENY allows all", get("/"))
s = setup("no rules")
s.case("without rules nothing happens", get("/"))
s = setup("log", rules=rules("LOG", p=policy()))
s.case("LOG allows", get("/"))
s = setup("shadow", rules=rules("ALLOW", p=policy()), shadow_rules=rules("DENY", p=policy({"url_path": {"path": {"exact": "/x"}}})), shadow_rules_stat_prefix="try_")
s.case("shadow rules only count: denied", get("/x"))
s.case("shadow rules only count: allowed", get("/y"))
s = setup("prefix", rules=rules("DENY", p=policy({"url_path": {"path": {"exact": "/x"}}})), rules_stat_prefix="mine_")
s.case("stat prefix: denied", get("/x"))
s.case("stat prefix: allowed", get("/y"))
s = setup("per route", rules=rules("ALLOW", p=policy()), routes=[
    route("/deny", "a", typed_per_filter_config={NAME: typed(PER_ROUTE, rbac={"rules": rules("ALLOW")})}),
    route("/off", "a", typed_per_filter_config={NAME: typed(PER_ROUTE)}), route("/", "a")])
s.case("per route: denied", get("/deny"))
s.case("per route: no rules", get("/off"))
s.case("per route: none", get("/"))
s = setup("conditions", rules=rules("ALLOW", p=policy({"metadata": {"filter": "f", "path": [{"key": "k"}], "value": {"string_match": {"exact": "v"}}}})))
s.case("metadata that is not there", get("/"))
s = setup("matcher", matcher={"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": {"name": "h", "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="x-a")}, "value_match": {"exact": "bad"}}},
    "on_match": {"action": {"name": "deny", "typed_config": typed("envoy.config.rbac.v3.Action", name="denied-by-matcher", action="DENY")}}}]},
    "on_no_match": {"action": {"name": "allow", "typed_config": typed("envoy.config.rbac.v3.Action", name="allowed")}}})
s.case("matcher tree denies", get("/", [("x-a", "bad")]))
s.case("matcher tree allows", get("/", [("x-a", "good")]))
TOKEN = {"name": "t", "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name="x-token")}
SOURCE = {"name": "s", "typed_config": typed("envoy.extensions.matching.common_inputs.network.v3.SourceIPInput")}
TREE = {"matcher_list": {"matchers": [
    {"predicate": {"and_matcher": {"predicate": [{"single_predicate": {"input": TOKEN, "value_match": {"exact": "t1"}}}, {"single_predicate": {"input": SOURCE, "value_match": {"prefix": "127."}}}]}},
     "on_match": {"action": {"name": "allow", "typed_config": typed("envoy.config.rbac.v3.Action", name="by-token")}}},
    {"predicate": {"single_predicate": {"input": {"name": "p", "typed_config": typed("envoy.type.matcher.v3.HttpRequestHeaderMatchInput", header_name=":path")}, "value_match": {"prefix": "/log"}}},
     "on_match": {"action": {"name": "log", "typed_config": typed("envoy.config.rbac.v3.Action", name="logged", action="LOG")}}}]}}
for name in ("matcher", "shadow_matcher"):
    s = setup(f"{name} of several inputs", **{name: TREE})
    for case, path, tokens in [("token", "/", ["t1"]), ("another token", "/", ["t2"]), ("two tokens", "/", ["t1", "t2"]), ("an empty token", "/", [""]), ("nothing", "/", []), ("path", "/log", []), ("path and token", "/log?x", ["t1"])]:
        s.case(f"{name}: {case}", get(path, [("x-token", token) for token in tokens]))
s = setup("normalized", rules=rules("DENY", p=policy({"url_path": {"path": {"prefix": "/admin"}}})), fields={"normalize_path": True, "merge_slashes": True})
for path in ("/x/../admin", "//admin", "/%61dmin", "/admin#x", "/ADMIN"):
    s.case(f"policy sees the normalized path: {path}", get(path))
s = setup("raw path", rules=rules("DENY", p=policy({"url_path": {"path": {"prefix": "/admin"}}})))
for path in ("/x/../admin", "//admin"):
    s.case(f"policy sees the path: {path}", get(path))


def inputs(kind, **fields):
    return {"name": kind, "typed_config": typed(f"envoy.extensions.matching.common_inputs.{kind}", **fields)}


def verdict(action):
    return {"action": {"name": action.lower(), "typed_config": typed("envoy.config.rbac.v3.Action", name=action.lower(), action=action)}}


def one_of(input, matcher, otherwise="DENY"):
    return {"matcher_list": {"matchers": [{"predicate": {"single_predicate": {"input": input, "custom_match": matcher}}, "on_match": verdict("ALLOW")}]}, "on_no_match": verdict(otherwise)}


def ranges(*cidrs):
    return {"name": "ip", "typed_config": typed("envoy.extensions.matching.input_matchers.ip.v3.Ip", stat_prefix="s", cidr_ranges=[{"address_prefix": c.split("/")[0], "prefix_len": int(c.split("/")[1])} for c in cidrs])}


for input in ("SourceIPInput", "DirectSourceIPInput", "DestinationIPInput"):
    for cidrs in (("127.0.0.0/8",), ("10.0.0.0/8",), ("10.1.0.0/16", "127.0.0.1/32"), ("::/0",)):
        s = setup(f"{input} {cidrs}", matcher=one_of(inputs(f"network.v3.{input}"), ranges(*cidrs)), fields={"use_remote_address": False})
        s.case(f"{input} in {cidrs}", get("/"))
        s.case(f"{input} in {cidrs}, behind a proxy", get("/", [("x-forwarded-for", "10.1.2.3")]))
for name, action in (("allow", "ALLOW"), ("deny", "DENY")):
    setup(f"on_no_match alone: {name}", matcher={"on_no_match": verdict(action)}).case(f"on_no_match alone: {name}", get("/"))
META = http_filter("envoy.filters.http.header_to_metadata", "envoy.extensions.filters.http.header_to_metadata.v3.Config", request_rules=[{"header": "x-v", "on_header_present": {"metadata_namespace": "ns", "key": "k", "type": "STRING"}}])
for name, fields in (("exact", {"value": {"string_match": {"exact": "gold"}}}), ("inverted", {"value": {"string_match": {"exact": "gold"}}, "invert": True}), ("present", {"value": {"present_match": True}}),
                     ("list", {"value": {"list_match": {"one_of": {"string_match": {"exact": "gold"}}}}}), ("or", {"value": {"or_match": {"value_matchers": [{"string_match": {"exact": "x"}}, {"string_match": {"prefix": "gol"}}]}}})):
    matcher = {"name": "m", "typed_config": typed("envoy.extensions.matching.input_matchers.metadata.v3.Metadata", **fields)}
    s = GROUP.setup(f"metadata {name}", http(filters=[META, rbac(matcher=one_of(inputs("network.v3.DynamicMetadataInput", filter="ns", path=[{"key": "k"}]), matcher))]), stats=["http.ingress.rbac.*"])
    for value in ("gold", "silver", None):
        s.case(f"metadata {name}: {value}", get("/", [("x-v", value)] if value else []))
