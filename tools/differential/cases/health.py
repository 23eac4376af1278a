"""Active health checks, priorities, panic, and what clients see of them."""
from client import Admin, Health, Request, Restart, Share, Until, Wait, get, spread
from config import cluster, endpoint, http, http_filter, route
from model import Group, Upstream, answer

GROUP = Group("health")


def check(path="/health", **fields):
    return [{"timeout": "0.5s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_interval": "0.1s", "healthy_threshold": 1, "unhealthy_threshold": 2,
             "http_health_check": {"path": path, **fields.pop("http", {})}, **fields}]


# Envoy gathers changes of health for a second before its workers see them, unless this is 0.
AT_ONCE = {"update_merge_window": "0s"}
NOPANIC = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}, **AT_ONCE}}
SPREAD = ["upstream*", "log.*"]
STATS = ["cluster.pool.lb_healthy_panic", "cluster.pool.membership_healthy", "cluster.pool.membership_total"]


def healthy(n):
    return Until("cluster.pool.membership_healthy", n)


def pool(name, hosts=("a", "b"), checks=None, ready=1, upstreams=None, fields=None, **more):
    return GROUP.setup(name, http([route("/", "pool")], [cluster("pool", list(hosts), health_checks=checks or check(), **(NOPANIC if fields is None else fields))], **more),
                       stats=STATS, upstreams=upstreams or {}, ready=[healthy(ready)] if ready is not None else [])


B_DOWN = {"b": Upstream(unhealthy=True)}
s = pool("two hosts", ready=2)
s.case("both serve", spread(4), ignore=SPREAD)
s.case("one falls ill", Health("b", 503), healthy(1), *[get("/")] * 4)
s.case("it recovers", Health("b", 503), healthy(1), Health("b", 200), healthy(2), *[get("/")] * 4, ignore=["upstream.*", "log.*", "client.*"])
s.case("both fall ill: no panic", Health("a", 503), Health("b", 503), healthy(0), get("/"), Health("a", 200), Health("b", 200), healthy(2))
s.case("a check that hangs", Health("b", "hang"), healthy(1), *[get("/")] * 3, Health("b", 200), healthy(2))
s.case("a refused connection", Restart("b", False), healthy(1), *[get("/")] * 3, Restart("b", True), healthy(2))
s.case("a 404 is ill", Health("b", 404), healthy(1), get("/"), Health("b", 200), healthy(2))
s.case("a 204 is ill, 200 alone is expected", Health("b", 204), healthy(1), get("/"), Health("b", 200), healthy(2))
s.case("x-envoy-immediate-health-check-fail", get("/"), get("/"), Until("cluster.pool.membership_healthy", lambda v: v is not None and v < 2, 0.5), Wait(0.5), healthy(2),
       upstream={"a": [answer(200, ("x-envoy-immediate-health-check-fail", "true"))]}, ignore=["client.*.body", "client.*.headers.x-envoy-immediate*", "upstream.*", "log.*"])

s = pool("starts ill", upstreams=B_DOWN)
s.case("a host ill from the start gets nothing", *[get("/")] * 4)
s = pool("panic", ready=0, upstreams={"a": Upstream(unhealthy=True), "b": Upstream(unhealthy=True)}, fields={})
s.case("panic: all ill, all serve", Wait(0.4), *[get("/")] * 4, ignore=["upstream.*", "log.*", "client.*.body"])
s = pool("panic fails", ready=0, upstreams={"a": Upstream(unhealthy=True), "b": Upstream(unhealthy=True)}, fields={"common_lb_config": {"zone_aware_lb_config": {"fail_traffic_on_panic": True}, **AT_ONCE}})
s.case("fail traffic on panic", Wait(0.4), get("/"))
s = pool("panic threshold", hosts=("a", "b", "c"), ready=1, upstreams={"b": Upstream(unhealthy=True), "c": Upstream(unhealthy=True)}, fields={"common_lb_config": {"healthy_panic_threshold": {"value": 20}, **AT_ONCE}})
s.case("33 % is above a threshold of 20", *[get("/")] * 6)
s = pool("panic threshold 50", hosts=("a", "b", "c"), ready=1, upstreams={"b": Upstream(unhealthy=True), "c": Upstream(unhealthy=True)}, fields={})
s.case("33 % is below a threshold of 50", spread(6), ignore=SPREAD)

s = pool("thresholds", ready=2, checks=check(healthy_threshold=3, unhealthy_threshold=3))
s.case("thresholds both ways", Health("b", 500), healthy(1), get("/"), Health("b", 200), healthy(2))
s = pool("expected statuses", ready=2, checks=check(http={"path": "/health", "expected_statuses": [{"start": 200, "end": 205}], "retriable_statuses": [{"start": 500, "end": 600}]}))
s.case("204 is expected here", Health("b", 204), Wait(0.4), healthy(2))
s.case("retriable 500 needs the threshold", Health("b", 503), healthy(1), Health("b", 200), healthy(2))
s.case("404 is neither", Health("b", 404), healthy(1), Health("b", 200), healthy(2))
s = pool("request", ready=2, checks=check(http={"path": "/health?x", "host": "check.test", "request_headers_to_add": [{"header": {"key": "x-check", "value": "1"}}], "request_headers_to_remove": ["user-agent"], "method": "HEAD"}))


class Checks(Wait):
    """The newest health check's request, as the host saw it."""

    async def run(self, side):
        import asyncio
        await asyncio.sleep(self.seconds)
        checks = [c for c in side.health_checks if c[0] == "a"]
        if not checks:
            return {"check": None}
        return {"line": checks[-1][1], "headers": [h for h in checks[-1][2]]}


s.case("what a check sends", Checks(0.5))
s = pool("plain request", ready=2)
s.case("what a plain check sends", Checks(0.5))
s = pool("service name", ready=0, checks=check(http={"path": "/health", "service_name_matcher": {"prefix": "locations"}}))
s.case("service name missing", Wait(0.4), healthy(0), get("/"))
s.case("service name matches", Health("a", 200, "x-envoy-upstream-healthchecked-cluster: locations-1\r\n"), Health("b", 200, "x-envoy-upstream-healthchecked-cluster: other\r\n"), healthy(1), get("/"), get("/"))
s = pool("degraded", ready=None)
s.case("a degraded host serves only when needed", healthy(2), Health("b", 200, "x-envoy-degraded: true\r\n"), Until("cluster.pool.membership_degraded", 1), *[get("/")] * 4, Health("b", 200), Until("cluster.pool.membership_degraded", 0),
       # One of two hosts takes 70 %: by chance the degraded one gets some of four requests.
       ignore=["client.*.body", "log.*.host", "upstream.*"])

s = pool("tcp", ready=1, hosts=("a", "dead"), checks=[{"timeout": "0.5s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_interval": "0.1s", "healthy_threshold": 1, "unhealthy_threshold": 1, "tcp_health_check": {}}])
s.case("tcp: a port that refuses is ill", *[get("/")] * 4)
s = GROUP.setup("tcp with payload", http([route("/", "pool")], [cluster("pool", ["t"], health_checks=[{"timeout": "0.5s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_interval": "0.1s", "healthy_threshold": 1, "unhealthy_threshold": 1,
    "tcp_health_check": {"send": {"text": "50494e47"}, "receive": [{"text": "504f4e47"}]}}], **NOPANIC)]), upstreams={"t": Upstream(kind="tcp", script=[("read", 4), b"PONG", "read-all"], record=False)}, stats=STATS)
s.case("tcp: the answer expected", healthy(1), ignore=["upstream.*", "upstream"])
s = GROUP.setup("tcp with wrong payload", http([route("/", "pool")], [cluster("pool", ["t"], health_checks=[{"timeout": "0.3s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_interval": "0.1s", "healthy_threshold": 1, "unhealthy_threshold": 1,
    "tcp_health_check": {"send": {"text": "50494e47"}, "receive": [{"text": "504f4e47"}]}}], **NOPANIC)]), upstreams={"t": Upstream(kind="tcp", script=[("read", 4), b"NOPE", "read-all"])}, stats=STATS)
s.case("tcp: another answer", Wait(0.6), healthy(0), get("/"), ignore=["upstream.*", "upstream"])

s = GROUP.setup("grpc", http([route("/", "pool")], [cluster("pool", ["g", "h"], http2=True, health_checks=[{"timeout": "0.5s", "interval": "0.1s", "no_traffic_interval": "0.1s", "unhealthy_interval": "0.1s", "healthy_threshold": 1, "unhealthy_threshold": 1,
    "grpc_health_check": {"service_name": "svc"}}], **NOPANIC)]), upstreams={"g": Upstream(kind="http2"), "h": Upstream(kind="http2", unhealthy=True)}, stats=STATS, ready=[healthy(1)])
s.case("grpc: NOT_SERVING is ill", *[get("/")] * 3)

s = GROUP.setup("priorities", http([route("/", "pool")], [cluster("pool", localities=[{"priority": 0, "lb_endpoints": [endpoint("a")]}, {"priority": 1, "lb_endpoints": [endpoint("b")]}], health_checks=check(), **NOPANIC)]), stats=STATS, ready=[healthy(2)])
s.case("the first priority serves", *[get("/")] * 3)
s.case("failover to the second priority", Health("a", 503), healthy(1), *[get("/")] * 3, Health("a", 200), healthy(2), get("/"))
s = GROUP.setup("half of a priority", http([route("/", "pool")], [cluster("pool", localities=[{"priority": 0, "lb_endpoints": [endpoint("a"), endpoint("c")]}, {"priority": 1, "lb_endpoints": [endpoint("b")]}], health_checks=check(), **NOPANIC)]),
    stats=STATS, upstreams={"c": Upstream(unhealthy=True)}, ready=[healthy(2)])
s.case("overprovisioning: 70 % stay", Share(200, get("/", conn="c"), {"hello from a": (0.58, 0.82), "hello from b": (0.18, 0.42)}), ignore=["upstream.*", "log.*", "stats.*"])

s = GROUP.setup("endpoint states", http([route("/", "pool")], [cluster("pool", [endpoint("a", health_status="HEALTHY"), endpoint("b", health_status="UNHEALTHY"), endpoint("c", health_status="DRAINING"), endpoint("d", health_status="DEGRADED")], **NOPANIC)]), stats=STATS)
s.case("states of the load assignment", Share(150, get("/", conn="c"), {"hello from a": (0.35, 0.65), "hello from d": (0.35, 0.65)}), ignore=SPREAD)
s = GROUP.setup("other port", http([route("/", "pool")], [cluster("pool", [endpoint("a", health_check_config={"port_value": "$port:checks"})], health_checks=check(), **NOPANIC)]), stats=STATS, ready=[healthy(1)])
s.case("checks on another port", get("/"), Health("checks", 503), healthy(0), get("/"), Health("checks", 200), healthy(1))

HEALTH = "envoy.extensions.filters.http.health_check.v3.HealthCheck"
s = GROUP.setup("filter", http(filters=[http_filter("envoy.filters.http.health_check", HEALTH, pass_through_mode=False, headers=[{"name": ":path", "string_match": {"exact": "/healthz"}}])]))
s.case("health check filter answers", get("/healthz"))
s.case("health check filter lets others pass", get("/other"))
s.case("health check filter after healthcheck/fail", Admin("/healthcheck/fail", "POST"), get("/healthz"), get("/other"), Admin("/healthcheck/ok", "POST"), get("/healthz"))
s = GROUP.setup("filter by cluster", http(filters=[http_filter("envoy.filters.http.health_check", HEALTH, pass_through_mode=False, headers=[{"name": ":path", "string_match": {"exact": "/healthz"}}],
    cluster_min_healthy_percentages={"a": {"value": 50}, "empty": {"value": 50}})], clusters=[cluster("a"), cluster("empty", localities=[])]))
s.case("health check filter looks at clusters", get("/healthz"))
s = GROUP.setup("filter pass through", http(filters=[http_filter("envoy.filters.http.health_check", HEALTH, pass_through_mode=True, cache_time="10s", headers=[{"name": ":path", "string_match": {"exact": "/healthz"}}])]))
s.case("health check filter passes and caches", get("/healthz"), get("/healthz"), ignore=["upstream.*.headers.x-envoy-expected-rq-timeout-ms"])
