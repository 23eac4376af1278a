#!/usr/bin/env python3
"""Writes contrib/grafana/*.json: dashboards for a Prometheus that scrapes the proxies and the control plane (contrib/prometheus).

    tools/generate-dashboards.py           writes
    tools/generate-dashboards.py --check   says what would change, exit status 1 if anything
    tools/generate-dashboards.py --queries every query with its variables filled in, one a line: DASHBOARD <tab> PANEL <tab> QUERY
"""
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent / "contrib/grafana"
BAD = 'response_code=~"5.."'


def rate(metric, labels="", by=""):
    total = f"sum(rate({metric}{{{labels}}}[$__rate_interval]))"
    return total if not by else total.replace("sum(", f"sum by ({by}) (", 1)


def quantile(q, metric, labels, by=""):
    names = "le" + (f", {by}" if by else "")
    return f"histogram_quantile({q}, sum by ({names}) (rate({metric}_bucket{{{labels}}}[$__rate_interval])))"


def quantiles(metric, labels):
    return [(quantile(q, metric, labels), f"p{int(q * 100)}") for q in (0.5, 0.95, 0.99)]


def share(labels, by=""):
    good = rate("istio_requests_total", labels + ',response_code!~"5.."', by)
    return f"{good} / {rate('istio_requests_total', labels, by)}"


SOURCE, SERVER = 'reporter="source"', 'reporter="destination"'
SERVICE = 'destination_service=~"$service"'
WORKLOAD = 'destination_workload_namespace=~"$namespace",destination_workload=~"$workload"'
CALLER = 'source_workload_namespace=~"$namespace",source_workload=~"$workload"'
DURATION = "istio_request_duration_milliseconds"

# Title, unit, kind, and queries with their legends.
DASHBOARDS = {
    "mesh": ("Skein: mesh", [], [
        ("Requests", "reqps", "stat", [(rate("istio_requests_total", SERVER), "")]),
        ("Answers without 5xx", "percentunit", "stat", [(share(SERVER), "")]),
        ("Proxies that answer", "short", "stat", [('sum(up{job="proxies"})', "")]),
        ("Connected proxies", "short", "stat", [("skein_control_proxies", "")]),
        ("Requests by service", "reqps", "timeseries", [(rate("istio_requests_total", SOURCE, "destination_service"), "{{destination_service}}")]),
        ("Answers without 5xx by service", "percentunit", "timeseries", [(share(SOURCE, "destination_service"), "{{destination_service}}")]),
        ("p99 by service", "ms", "timeseries", [(quantile(0.99, DURATION, SOURCE, "destination_service"), "{{destination_service}}")]),
        ("Requests without mutual TLS", "reqps", "timeseries", [
            (rate("istio_requests_total", SERVER + ',connection_security_policy!="mutual_tls"', "destination_workload"), "{{destination_workload}}")]),
        ("Requests by flag", "reqps", "timeseries", [
            (rate("istio_requests_total", SOURCE + ',response_flags!="-"', "response_flags"), "{{response_flags}}")]),
        ("Who asks whom", "reqps", "table", [(rate("istio_requests_total", SOURCE, "source_workload, destination_workload"), "")]),
    ]),
    "service": ("Skein: service", [("service", "label_values(istio_requests_total, destination_service)")], [
        ("Requests", "reqps", "timeseries", [(rate("istio_requests_total", f"{SOURCE},{SERVICE}"), "callers"),
                                            (rate("istio_requests_total", f"{SERVER},{SERVICE}"), "the service")]),
        ("Answers without 5xx", "percentunit", "timeseries", [(share(f"{SOURCE},{SERVICE}"), "callers"), (share(f"{SERVER},{SERVICE}"), "the service")]),
        ("Duration, as callers see it", "ms", "timeseries", quantiles(DURATION, f"{SOURCE},{SERVICE}")),
        ("Duration in the pods", "ms", "timeseries", quantiles(DURATION, f"{SERVER},{SERVICE}")),
        ("Requests by caller", "reqps", "timeseries", [(rate("istio_requests_total", f"{SOURCE},{SERVICE}", "source_workload"), "{{source_workload}}")]),
        ("Requests by code", "reqps", "timeseries", [(rate("istio_requests_total", f"{SOURCE},{SERVICE}", "response_code, response_flags"),
                                                     "{{response_code}} {{response_flags}}")]),
        ("Requests by version", "reqps", "timeseries", [(rate("istio_requests_total", f"{SOURCE},{SERVICE}", "destination_workload"), "{{destination_workload}}")]),
        ("Size of requests, p95", "bytes", "timeseries", [(quantile(0.95, "istio_request_bytes", f"{SERVER},{SERVICE}"), "")]),
        ("Size of responses, p95", "bytes", "timeseries", [(quantile(0.95, "istio_response_bytes", f"{SERVER},{SERVICE}"), "")]),
    ]),
    "workload": ("Skein: workload", [("namespace", "label_values(istio_requests_total, destination_workload_namespace)"),
                                     ("workload", 'label_values(istio_requests_total{destination_workload_namespace=~"$namespace"}, destination_workload)')], [
        ("Requests in", "reqps", "timeseries", [(rate("istio_requests_total", f"{SERVER},{WORKLOAD}", "source_workload"), "{{source_workload}}")]),
        ("Answers without 5xx", "percentunit", "timeseries", [(share(f"{SERVER},{WORKLOAD}"), "")]),
        ("Duration", "ms", "timeseries", quantiles(DURATION, f"{SERVER},{WORKLOAD}")),
        ("Requests out", "reqps", "timeseries", [(rate("istio_requests_total", f"{SOURCE},{CALLER}", "destination_service"), "{{destination_service}}")]),
        ("Answers without 5xx to it", "percentunit", "timeseries", [(share(f"{SOURCE},{CALLER}", "destination_service"), "{{destination_service}}")]),
        ("Duration of its calls, p95", "ms", "timeseries", [(quantile(0.95, DURATION, f"{SOURCE},{CALLER}", "destination_service"), "{{destination_service}}")]),
        ("Memory of its proxies", "bytes", "timeseries", [('sum by (pod) (envoy_server_memory_physical_size{namespace=~"$namespace",workload=~"$workload"})', "{{pod}}")]),
        ("Days until a certificate ends", "d", "timeseries", [
            ('min by (pod) (envoy_server_days_until_first_cert_expiring{namespace=~"$namespace",workload=~"$workload"})', "{{pod}}")]),
    ]),
    "control-plane": ("Skein: control plane", [], [
        ("Connected proxies", "short", "timeseries", [("skein_control_proxies", "connected"), ("skein_control_proxies_unsettled", "not acknowledged"),
                                                      ("skein_control_proxies_refusing", "refusing")]),
        ("Translations of the mesh", "ops", "timeseries", [("rate(skein_control_snapshots_total[$__rate_interval])", "")]),
        ("Objects", "short", "timeseries", [("sum by (kind) (skein_control_objects)", "{{kind}}")]),
        ("Writes of the store", "ops", "timeseries", [("rate(skein_store_writes_total[$__rate_interval])", "writes"),
                                                      ("rate(skein_store_batches_total[$__rate_interval])", "steps"),
                                                      ("rate(skein_store_refused_writes_total[$__rate_interval])", "refused")]),
        ("Updates that proxies refused", "ops", "timeseries", [
            ("sum by (pod) (rate(envoy_cluster_manager_cds_update_rejected[$__rate_interval]))", "clusters {{pod}}"),
            ("sum by (pod) (rate(envoy_listener_manager_lds_update_rejected[$__rate_interval]))", "listeners {{pod}}")]),
        ("Draining pods that were not waited for", "ops", "timeseries", [("rate(skein_control_drain_laggards_total[$__rate_interval])", "")]),
    ]),
    "network": ("Skein: network", [], [
        ("Bytes sent to clients by TCP", "Bps", "timeseries", [(rate("istio_tcp_sent_bytes_total", SOURCE, "destination_service"), "{{destination_service}}")]),
        ("Bytes that came by TCP", "Bps", "timeseries", [(rate("istio_tcp_received_bytes_total", SOURCE, "destination_service"), "{{destination_service}}")]),
        ("TCP connections", "short", "timeseries", [
            (f"sum by (destination_service) (istio_tcp_connections_opened_total{{{SOURCE}}}) - sum by (destination_service) (istio_tcp_connections_closed_total{{{SOURCE}}})",
             "{{destination_service}}")]),
        ("Open connections of proxies", "short", "timeseries", [("sum by (workload) (envoy_server_total_connections)", "{{workload}}")]),
        ("Connections that failed", "ops", "timeseries", [
            ("sum by (workload) (rate(envoy_cluster_upstream_cx_connect_fail[$__rate_interval]))", "{{workload}}")]),
        ("Handshakes", "ops", "timeseries", [("sum by (workload) (rate(envoy_cluster_ssl_handshake[$__rate_interval]))", "{{workload}}")]),
        ("Bytes to and from hosts", "Bps", "timeseries", [
            ("sum(rate(envoy_cluster_upstream_cx_tx_bytes_total[$__rate_interval]))", "out"),
            ("sum(rate(envoy_cluster_upstream_cx_rx_bytes_total[$__rate_interval]))", "in")]),
        ("Endpoints kept out", "short", "timeseries", [("sum by (workload) (envoy_cluster_outlier_detection_ejections_active)", "{{workload}}")]),
    ]),
}


def panel(number, title, unit, kind, queries):
    width = 6 if kind == "stat" else 12
    source = {"type": "prometheus", "uid": "${datasource}"}
    targets = []
    for index, (query, legend) in enumerate(queries):
        target = {"datasource": source, "expr": query, "legendFormat": legend or "__auto", "refId": chr(65 + index)}
        if kind == "table":
            target.update(format="table", instant=True)
        targets.append(target)
    return {"id": number, "title": title, "type": kind, "datasource": source, "gridPos": {"h": 4 if kind == "stat" else 8, "w": width, "x": 0, "y": 0},
            "fieldConfig": {"defaults": {"unit": unit, "min": 0}, "overrides": []}, "options": {}, "targets": targets}


def place(panels):
    x = y = row = 0
    for one in panels:
        spot = one["gridPos"]
        if x + spot["w"] > 24:
            x, y, row = 0, y + row, 0
        spot["x"], spot["y"] = x, y
        x, row = x + spot["w"], max(row, spot["h"])


def dashboard(name, title, variables, rows):
    panels = [panel(index + 1, *row) for index, row in enumerate(rows)]
    place(panels)
    listed = [{"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}]
    for variable, query in variables:
        listed.append({"name": variable, "type": "query", "query": {"query": query, "refId": variable}, "datasource": {"type": "prometheus", "uid": "${datasource}"},
                       "refresh": 2, "multi": True, "includeAll": True, "allValue": ".*", "current": {"text": "All", "value": "$__all"}, "sort": 1})
    return {"uid": f"skein-{name}", "title": title, "tags": ["skein"], "schemaVersion": 39, "editable": True, "refresh": "10s",
            "time": {"from": "now-30m", "to": "now"}, "templating": {"list": listed}, "panels": panels}


def queries():
    """What the panels of the files that are shipped ask, with any value for the variables."""
    for path in sorted(ROOT.glob("*.json")):
        for one in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in one["targets"]:
                yield path.stem, one["title"], re.sub(r"\$(service|namespace|workload)\b", ".*", target["expr"]).replace("$__rate_interval", "1m")


def main():
    if "--queries" in sys.argv:
        for row in queries():
            print("\t".join(row))
        return 0
    status = 0
    for name, (title, variables, rows) in DASHBOARDS.items():
        text = json.dumps(dashboard(name, title, variables, rows), indent=2) + "\n"
        path = ROOT / f"{name}.json"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        if "--check" in sys.argv:
            print(f"{path.name} is not what the script makes")
            status = 1
        else:
            path.write_text(text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
