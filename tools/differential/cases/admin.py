"""The admin server: pages, and the names of statistics."""
import json
import re

from client import Admin, get
from config import cluster, http, http_filter, route, vhost
from model import Group

GROUP = Group("admin")
s = GROUP.setup("pages", http([route("/", "a", name="r")]))


def tree(text):
    """The shape of a JSON page: keys and types, without values."""
    def shape(node):
        if isinstance(node, dict):
            return {k: shape(v) for k, v in node.items()}
        if isinstance(node, list):
            return [shape(v) for v in node[:1]]
        return type(node).__name__
    return shape(json.loads(text))


def counters(prefix):
    return lambda text: {re.sub(r"_?\d{4,5}", "", line.partition(": ")[0]).replace(".", "/"): "there" for line in text.splitlines()
                         if line.startswith(prefix) and not re.search(r"(_active|_buffered): ", line) and line.partition(": ")[2].isdigit() and line.partition(": ")[2] != "0"}


def there(names):
    return {name.replace(".", "/"): "there" for name in names}


s.case("/ready", Admin("/ready"))
s.case("/server_info", Admin("/server_info", pick=lambda t: {k: json.loads(t)[k] for k in ("state", "node")}), ignore=["client.*.picked.node.user_agent*", "client.*.picked.node.extensions*", "client.*.picked.node.hidden_envoy*"])
s.case("/clusters", get("/"), Admin("/clusters", pick=lambda t: sorted(line for line in t.splitlines() if not re.search("rq_|cx_", line))))
s.case("/clusters in JSON", Admin("/clusters?format=json", pick=lambda t: [(c["name"], [h["health_status"] for h in c["host_statuses"]]) for c in json.loads(t)["cluster_statuses"]]))
s.case("/clusters in JSON, shape", Admin("/clusters?format=json", pick=tree))
s.case("/listeners", Admin("/listeners"))
s.case("/listeners in JSON", Admin("/listeners?format=json", pick=json.loads))
s.case("/config_dump: kinds", Admin("/config_dump", pick=lambda t: sorted(c["@type"] for c in json.loads(t)["configs"])))
s.case("/config_dump: routes", Admin("/config_dump?resource=static_route_configs", pick=lambda t: [c["route_config"]["virtual_hosts"] for c in json.loads(t)["configs"]]))
s.case("/config_dump: clusters", Admin("/config_dump?resource=static_clusters", pick=lambda t: [c["cluster"] for c in json.loads(t)["configs"]]))
s.case("/config_dump: listener", Admin("/config_dump?resource=static_listeners", pick=lambda t: [c["listener"]["name"] for c in json.loads(t)["configs"]]))
s.case("/config_dump with a mask", Admin("/config_dump?resource=static_clusters&mask=cluster.name", pick=json.loads))
s.case("/config_dump of nothing", Admin("/config_dump?resource=nothing"))
s.case("/stats of a cluster", get("/"), Admin("/stats?filter=^cluster\\.a\\.&usedonly", pick=counters("cluster.a.")))
s.case("/stats of http", get("/"), Admin("/stats?filter=^http\\.ingress&usedonly", pick=counters("http.ingress")))
s.case("/stats of listeners", get("/"), Admin("/stats?filter=^listener&usedonly", pick=counters("listener")))
s.case("/stats of the server", Admin("/stats?filter=^(server|cluster_manager|listener_manager)\\.&usedonly", pick=lambda t: there(line.partition(": ")[0] for line in t.splitlines() if re.match(
    r"(server\.(live|state|concurrency|uptime|total_connections|version)|cluster_manager\.(cluster_added|active_clusters)|listener_manager\.(listener_added|listener_create_success|total_listeners_active))", line))))
s.case("/stats in JSON", Admin("/stats?format=json&filter=http.ingress.downstream_rq_2xx", pick=lambda t: [sorted(s) for s in json.loads(t)["stats"]]))
s.case("/stats in JSON: histograms", Admin("/stats?format=json&filter=http.ingress.downstream_rq_time", pick=tree))
s.case("/stats text of histograms", Admin("/stats?filter=http.ingress.downstream_rq_time", pick=lambda t: re.sub(r"[0-9.]+\)", "N)", re.sub(r"\([0-9.]+", "(N", t))[:30]))
s.case("/stats/prometheus", get("/"), Admin("/stats/prometheus?filter=http.ingress.downstream_rq_xx&usedonly", pick=lambda t: sorted(re.sub(r"\d+$", "N", line) for line in t.splitlines() if "downstream_rq_xx" in line)))
s.case("/stats/prometheus of a cluster", get("/"), Admin("/stats/prometheus?usedonly", pick=lambda t: there(re.findall(r"^(envoy_cluster_upstream_(?:rq|cx)_?\w*)(?=\{)", t, re.M))))
s.case("/certs", Admin("/certs", pick=json.loads))
s.case("/memory", Admin("/memory", pick=lambda t: sorted(json.loads(t))))
s.case("/runtime", Admin("/runtime", pick=lambda t: sorted(json.loads(t))))
s.case("/logging", Admin("/logging", "POST", pick=lambda t: t.splitlines()[0]))
s.case("/logging of a level", Admin("/logging?level=warning", "POST", pick=lambda t: t.splitlines()[0]))
s.case("/help", Admin("/help", pick=lambda t: t.splitlines()[0]))
s.case("/ is a page", Admin("/", pick=lambda t: "<html" in t.lower() or "<!doctype" in t.lower()))
s.case("/unknown", Admin("/unknown", pick=lambda t: t.splitlines()[0]))
s.case("/reset_counters", get("/"), Admin("/reset_counters", "POST"), Admin("/stats?filter=http.ingress.downstream_rq_2xx"), ignore=["stats.*"])
s.case("GET where POST is needed", Admin("/reset_counters", pick=lambda t: t.splitlines()[0]))
s.case("/healthcheck/fail and ok", Admin("/healthcheck/fail", "POST"), Admin("/ready"), Admin("/healthcheck/ok", "POST"), Admin("/ready"))
s.case("/drain_listeners", Admin("/drain_listeners?graceful", "POST"), fresh=True)
s.case("/init_dump", Admin("/init_dump", pick=lambda t: t.strip()))

s = GROUP.setup("runtime", http([route("/x", "a", matcher={"runtime_fraction": {"default_value": {"numerator": 0}, "runtime_key": "route.x"}}), route("/", "a", name="rest")], extra={
    "layered_runtime": {"layers": [{"name": "static", "static_layer": {"route.x": 100, "a": {"b": "c"}}}, {"name": "admin", "admin_layer": {}}]}}))
s.case("runtime decides a route", get("/x"))
s.case("runtime by the admin server", Admin("/runtime_modify?route.x=0", "POST"), get("/x"), Admin("/runtime_modify?route.x=", "POST"), get("/x"))
s.case("/runtime with layers", Admin("/runtime", pick=json.loads))

YAML = """
admin:
  address: {socket_address: {address: 127.0.0.1, port_value: $port:admin}}
static_resources:
  listeners:
  - name: main
    address:
      socket_address: {address: 127.0.0.1, port_value: $port:main}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: ingress   # a comment
          access_log:
          - name: f
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: $dir/access.log
              log_format:
                text_format_source: {inline_string: "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL% %RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% \\"%REQ(X-FORWARDED-FOR)%\\" \\"%REQ(USER-AGENT)%\\" %UPSTREAM_CLUSTER% %REQ(none):3%|%RESP(content-length)%|%START_TIME(%Y)%\\n"}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: &router {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
          route_config:
            name: local
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {prefix: /yes}
                direct_response: {status: 200, body: {inline_string: 'on'}}
              - match: {prefix: "/"}
                route:
                  cluster: a
                  timeout: 0.25s
                  prefix_rewrite: /rewritten/
  clusters:
  - name: a
    connect_timeout: 1s
    type: STATIC
    lb_policy: ROUND_ROBIN
    load_assignment:
      cluster_name: a
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address:
                address: 127.0.0.1
                port_value: $port:a
"""
s = GROUP.setup("yaml", YAML)
s.case("YAML file, text log", get("/x", [("user-agent", "me \"quoted\"")]))
s.case("YAML file, direct response", get("/yes"))
