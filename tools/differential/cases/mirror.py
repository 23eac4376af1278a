"""Mirrored requests and hashing of requests to hosts."""
from client import Repeat, Share, Wait, get, post
from config import cluster, endpoint, http, route
from model import Group, Upstream, answer

GROUP = Group("mirror")
ALL, NONE = {"default_value": {"numerator": 100}}, {"default_value": {"numerator": 0}}


def mirror(**fields):
    return {"request_mirror_policies": [{"cluster": "m", **fields}]}


s = GROUP.setup("mirror", http([
    route("/plain", "a", **mirror()), route("/all", "a", **mirror(runtime_fraction=ALL)), route("/none", "a", **mirror(runtime_fraction=NONE)), route("/two", "a", request_mirror_policies=[{"cluster": "m"}, {"cluster": "n"}]),
    route("/keep", "a", **mirror(disable_shadow_host_suffix_append=True)), route("/rewrite", "a", prefix_rewrite="/new", host_rewrite_literal="new.test", **mirror()), route("/", "a")],
    [cluster("a"), cluster("m"), cluster("n")]))
ORDER = ["upstream.*"]


class Seen(Wait):
    """What each upstream got, sorted by its name: the mirrored request has no place in time."""

    async def run(self, side):
        import asyncio
        await asyncio.sleep(self.seconds)
        seen = sorted(side.records, key=lambda r: r["host"])
        return {"seen": [{"host": r["host"], "line": r["line"], "headers": r["headers"], "body": r["body"]} for r in seen]}


for path in ("/plain", "/all", "/none", "/two", "/keep", "/rewrite", "/"):
    s.case(f"mirror {path}", get(path, host="a.example:80" if path == "/two" else "a.example"), Seen(0.2), ignore=ORDER)
s.case("mirror with a body", post("/plain", b"the body"), Seen(0.2), ignore=ORDER)
s.case("mirror with a chunked body", post("/plain", b"the body", chunked=True), Seen(0.2), ignore=ORDER)
s.case("the mirror's answer does not matter", get("/plain"), Seen(0.2), upstream={"m": [answer(500, body=b"no")]}, ignore=ORDER)
s.case("the mirror hangs", get("/plain"), Seen(0.2), upstream={"m": [answer(hang=True)]}, ignore=ORDER)

HOSTS = [endpoint(n, metadata={"filter_metadata": {"envoy.lb": {"hash_key": n}}}) for n in ("a", "b", "c", "d")]


def hashed(name, policy, lb, **fields):
    return GROUP.setup(name, http([route("/", "pool", hash_policy=policy)], [cluster("pool", HOSTS, lb_policy=lb, **fields)]), ignore=["upstream.*.headers.x-envoy-expected-rq-timeout-ms"])


for lb in ("RING_HASH", "MAGLEV"):
    s = hashed(f"{lb} header", [{"header": {"header_name": "x-user"}}], lb)
    for user in ("jason", "mary", "bob", "eve", "zoe", "kim"):
        s.case(f"{lb} by header: {user}", get("/", [("x-user", user)]), get("/", [("x-user", user)]))
    s = hashed(f"{lb} others", [{"query_parameter": {"name": "q"}, "terminal": True}, {"cookie": {"name": "session", "ttl": "60s", "path": "/p"}}], lb)
    s.case(f"{lb} by query", get("/?q=one"), get("/?q=two"), get("/?q=three"))
    s.case(f"{lb} by cookie", get("/", [("cookie", "session=abc")]), get("/", [("cookie", "x=1; session=def")]))
    s.case(f"{lb} makes a cookie", get("/"), ignore=["client.*.headers.set-cookie", "client.*.body", "log.*.host", "upstream.*.host"])
s = hashed("ring hash source", [{"connection_properties": {"source_ip": True}}], "RING_HASH")
for source in ("127.0.0.1", "127.0.0.9", "127.0.0.77"):
    s.case(f"RING_HASH by source {source}", get("/", source=source))
s = hashed("header rewrite", [{"header": {"header_name": "x-user", "regex_rewrite": {"pattern": {"regex": "^u-(.*)$"}, "substitution": r"\1"}}}], "RING_HASH")
s.case("hash of a rewritten header", get("/", [("x-user", "u-jason")]), get("/", [("x-user", "jason")]))

for lb in ("ROUND_ROBIN", "LEAST_REQUEST", "RANDOM"):
    s = GROUP.setup(lb, http([route("/", "pool")], [cluster("pool", ["a", "b"], lb_policy=lb)]))
    s.case(f"{lb}: both hosts get some", Repeat(40, get("/", conn="c"), key=lambda seen: f"{seen.get('status')}"), ignore=["upstream.*", "upstream", "log.*"])
s = GROUP.setup("weights", http([route("/", "pool")], [cluster("pool", [endpoint("a", load_balancing_weight=1), endpoint("b", load_balancing_weight=3)])]))
s.case("ROUND_ROBIN by weight", Repeat(40, get("/", conn="c")), ignore=["upstream.*", "upstream", "log.*"])
s = GROUP.setup("localities", http([route("/", "pool")], [cluster("pool", localities=[
    {"locality": {"zone": "one"}, "load_balancing_weight": 1, "lb_endpoints": [endpoint("a")]}, {"locality": {"zone": "two"}, "load_balancing_weight": 3, "lb_endpoints": [endpoint("b")]}], common_lb_config={"locality_weighted_lb_config": {}})]))
s.case("locality weights", Share(80, get("/", conn="c"), {"hello from a": (0.12, 0.4), "hello from b": (0.6, 0.88)}), ignore=["upstream.*", "upstream", "log.*"])
SUBSETS = [endpoint("a", metadata={"filter_metadata": {"envoy.lb": {"version": "1"}}}), endpoint("b", metadata={"filter_metadata": {"envoy.lb": {"version": "2"}}})]
for policy in ("NO_FALLBACK", "ANY_ENDPOINT", "DEFAULT_SUBSET"):
    s = GROUP.setup(f"subset {policy}", http([
        route("/1", "pool", metadata_match={"filter_metadata": {"envoy.lb": {"version": "1"}}}), route("/2", "pool", metadata_match={"filter_metadata": {"envoy.lb": {"version": "2"}}}),
        route("/3", "pool", metadata_match={"filter_metadata": {"envoy.lb": {"version": "3"}}}), route("/", "pool")],
        [cluster("pool", SUBSETS, lb_subset_config={"fallback_policy": policy, "default_subset": {"version": "2"}, "subset_selectors": [{"keys": ["version"]}]})]), stats=["cluster.pool.lb_subsets_*"])
    for path in ("/1", "/2"):
        s.case(f"subset {policy} {path}", get(path))
    vary = ["client.*.body", "log.*.host", "upstream.*.host"] if policy == "ANY_ENDPOINT" else []
    for path in ("/3", "/"):
        s.case(f"subset {policy} {path}", get(path), ignore=vary)
