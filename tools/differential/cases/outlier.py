"""Hosts that are ejected for how they answer."""
from client import Until, Wait, get
from config import cluster, endpoint, http, route
from model import Group, answer

GROUP = Group("outlier")
STATS = ["cluster.pool.outlier_detection.ejections_*", "cluster.pool.membership_healthy", "cluster.pool.lb_healthy_panic"]
BAD, GATEWAY = answer(500, body=b"bad"), answer(503, body=b"gateway")
# Envoy gathers changes of health for a second before its workers see them, unless this is 0.
NOPANIC = {"common_lb_config": {"healthy_panic_threshold": {"value": 0}, "update_merge_window": "0s"}}


def outlier(**fields):
    return {"interval": "0.2s", "base_ejection_time": "60s", "max_ejection_percent": 100, **fields}


def pool(name, detection, hosts=("a",), retry=None, fields=NOPANIC, route_fields=None):
    return GROUP.setup(name, http([route("/", "pool", **(route_fields or {}))], [cluster("pool", list(hosts), outlier_detection=detection, **fields)]), stats=STATS)


def fresh(s, name, *steps, **options):
    return s.case(name, *steps, fresh=True, **options)


GONE = Until("cluster.pool.membership_healthy", 0, 3)
s = pool("consecutive", outlier(consecutive_5xx=3))
fresh(s, "consecutive 5xx", *[get("/")] * 5, upstream=[BAD] * 5)
fresh(s, "a success between starts anew", *[get("/")] * 6, upstream=[BAD, BAD, answer(200), BAD, BAD, answer(200)])
fresh(s, "4xx do not count", *[get("/")] * 5, upstream=[answer(404)] * 5)
fresh(s, "resets count", *[get("/")] * 5, upstream=[answer(reset="before")] * 5)
fresh(s, "gateway errors count as 5xx", *[get("/")] * 4, upstream=[GATEWAY] * 4)
s = pool("defaults", {"max_ejection_percent": 100})
fresh(s, "five are needed by default", *[get("/")] * 7, upstream=[BAD] * 7)
s = pool("gateway", outlier(consecutive_gateway_failure=2, enforcing_consecutive_gateway_failure=100, consecutive_5xx=100))
fresh(s, "gateway failures", *[get("/")] * 4, upstream=[GATEWAY] * 4)
fresh(s, "500 is no gateway failure", *[get("/")] * 4, upstream=[BAD] * 4)
s = pool("gateway not enforced", outlier(consecutive_gateway_failure=2, consecutive_5xx=100))
fresh(s, "gateway failures are not enforced by default", *[get("/")] * 4, upstream=[GATEWAY] * 4)
s = pool("not enforced", outlier(consecutive_5xx=2, enforcing_consecutive_5xx=0))
fresh(s, "5xx not enforced", *[get("/")] * 4, upstream=[BAD] * 4)
s = pool("timeouts", outlier(consecutive_5xx=2), route_fields={"timeout": "0.2s"})
fresh(s, "timeouts count", *[get("/")] * 4, upstream=[answer(hang=True)] * 4)
s = pool("connect", outlier(consecutive_5xx=2), hosts=("dead",))
fresh(s, "refused connections count", get("/"), get("/"), GONE, get("/"), get("/"))
s = pool("split", outlier(split_external_local_origin_errors=True, consecutive_local_origin_failure=2, consecutive_5xx=100), hosts=("dead",))
fresh(s, "local origin failures apart", get("/"), get("/"), GONE, get("/"), get("/"))
s = pool("split external", outlier(split_external_local_origin_errors=True, consecutive_local_origin_failure=100, consecutive_5xx=2))
fresh(s, "external errors apart", *[get("/")] * 4, upstream=[answer(reset="before"), BAD, answer(reset="before"), BAD, BAD])
s = pool("two hosts", outlier(consecutive_5xx=2), hosts=("a", "b"))
fresh(s, "the other host goes on", *[get("/")] * 8, upstream={"a": [BAD] * 9}, ignore=["upstream.*", "log.*", "client.*"])
s = pool("ten percent", {**outlier(consecutive_5xx=2), "max_ejection_percent": 10}, hosts=("a", "b"))
fresh(s, "max ejection 10 % of two hosts", *[get("/")] * 10, upstream={"a": [BAD] * 19, "b": [BAD] * 19}, ignore=["upstream.*", "log.*", "client.*.body"])
s = pool("always one", {**outlier(consecutive_5xx=2), "max_ejection_percent": 0, "always_eject_one_host": True}, hosts=("a", "b"))
fresh(s, "always eject one host", *[get("/")] * 10, upstream={"a": [BAD] * 19, "b": [BAD] * 19}, ignore=["upstream.*", "log.*", "client.*.body"])
s = pool("none at all", {**outlier(consecutive_5xx=2), "max_ejection_percent": 0}, hosts=("a", "b"))
fresh(s, "max ejection 0 %", *[get("/")] * 8, upstream={"a": [BAD] * 19, "b": [BAD] * 19}, ignore=["upstream.*", "log.*", "client.*.body"])
s = pool("half", {**outlier(consecutive_5xx=2), "max_ejection_percent": 50}, hosts=("a", "b"))
fresh(s, "max ejection 50 % of two hosts", *[get("/")] * 10, upstream={"a": [BAD] * 19, "b": [BAD] * 19}, ignore=["upstream.*", "log.*", "client.*.body"])
s = pool("back", {**outlier(consecutive_5xx=2), "base_ejection_time": "0.3s"})
fresh(s, "back after the base time", *[get("/")] * 2, GONE, get("/"), Until("cluster.pool.membership_healthy", 1, 4), get("/"), upstream=[BAD, BAD])
s = pool("grows", {**outlier(consecutive_5xx=2), "base_ejection_time": "0.5s", "max_ejection_time": "10s"})
fresh(s, "the second ejection is longer", get("/"), get("/"), GONE, Until("cluster.pool.membership_healthy", 1, 4), get("/"), get("/"), GONE, Wait(0.75), get("/"), Until("cluster.pool.membership_healthy", 1, 4), get("/"), upstream=[BAD] * 4)
s = pool("panic", outlier(consecutive_5xx=2), fields={"common_lb_config": {"update_merge_window": "0s"}})
fresh(s, "an ejected host serves in panic", *[get("/")] * 5, upstream=[BAD] * 2)
s = pool("with retries", outlier(consecutive_5xx=3), route_fields={"retry_policy": {"retry_on": "5xx", "num_retries": 3, "retry_back_off": {"base_interval": "0.001s"}}})
fresh(s, "each try counts", get("/"), get("/"), upstream=[BAD] * 4)
s = GROUP.setup("failure percentage", http([route("/", "pool")], [cluster("pool", ["a", "b", "c"], outlier_detection={**outlier(consecutive_5xx=1000), "failure_percentage_threshold": 50, "enforcing_failure_percentage": 100,
    "failure_percentage_minimum_hosts": 3, "failure_percentage_request_volume": 5}, **NOPANIC)]), stats=STATS)
fresh(s, "failure percentage", *[get("/", conn="c")] * 45, Until("cluster.pool.membership_healthy", 2, 3), upstream={"a": [BAD] * 60}, ignore=["upstream.*", "log.*", "client.*", "stats.*upstream_rq*", "stats.http*"])
s = GROUP.setup("success rate", http([route("/", "pool")], [cluster("pool", ["a", "b", "c", "d", "e"], outlier_detection={**outlier(consecutive_5xx=1000), "enforcing_success_rate": 100, "success_rate_minimum_hosts": 5,
    "success_rate_request_volume": 5, "success_rate_stdev_factor": 1000}, **NOPANIC)]), stats=STATS)
fresh(s, "success rate", *[get("/", conn="c")] * 75, Until("cluster.pool.membership_healthy", 4, 3), upstream={"a": [BAD] * 60}, ignore=["upstream.*", "log.*", "client.*.headers.*", "client.?.*", "client.??.*", "stats.*upstream_rq*", "stats.http*"])
s = GROUP.setup("monitor", http([route("/", "pool")], [cluster("pool", ["a"], outlier_detection=outlier(consecutive_5xx=100), protocol={"outlier_detection": {"error_matcher": {"http_response_headers_match": {"headers": [{"name": ":status", "string_match": {"exact": "404"}}]}}}}, **NOPANIC)]), stats=STATS)
fresh(s, "other codes as errors", *[get("/")] * 4, upstream=[answer(404)] * 4)
