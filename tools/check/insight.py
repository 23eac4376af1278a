"""What the control plane knows about the bookstore: who asks whom, queries, alerts, and all of it after a restart."""
import contextlib
import http.server
import json
import os
import pathlib
import random
import re
import shutil
import signal
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid

from check import bookstore, commands, live, planner, receivers
from check.lib import BOOKSTORE, DATA, ROOT, SKEIN, ask, check, get, kubectl, many, pods, processes, run, skein, up, wait

RULES = """apiVersion: v1
kind: ConfigMap
metadata: {name: skein-alerts, namespace: skein-system}
data:
  check.rules.yaml: |
    groups:
      - name: check
        rules:
          - alert: SomebodyAsks
            expr: sum by (destination_service_name) (rate(istio_requests_total{reporter="source",destination_service_name="web"}[30s])) > 0.2
            labels: {severity: info}
            annotations: {summary: "{{ $labels.destination_service_name }} gets {{ $value | humanize }} requests a second"}
  alertmanager.yaml: |
    route: {receiver: check, group_by: [alertname], group_wait: 1s, group_interval: 5s}
    receivers: [{name: check, webhook_configs: [{url: "http://127.0.0.1:PORT/hook"}], email_configs: [{to: ops@example.com, send_resolved: true}]}]
  alertmanagers.yaml: |
    - static_configs: [{targets: ["127.0.0.1:MANAGER"]}]
"""


def traffic():
    """What the control plane's time series say about 300 requests."""
    many(300)

    def edges():
        text = run(SKEIN, "edges", "-t", "5m", "-o", "json", status=None)
        return {(e["source"], e["destination"]): e for e in (json.loads(text) if text.startswith("[") else [])}
    wanted = {("istio-ingressgateway", "web.default"), ("web", "catalog"), ("web", "orders"), ("orders", "catalog"), ("web", "reviews/v1"),
              ("web", "reviews/v2"), ("reviews-v2", "ratings"), ("web", "ratings")}
    count = {}

    def there():
        found = edges()
        count.update({pair: e["requestsPerSecond"] * 300 for pair, e in found.items()})
        return wanted <= found.keys() and count[("istio-ingressgateway", "web.default")] >= 300
    check("skein edges shows who asks whom, and counts each request", wait(there, 30, 1), {f"{a} {b}": round(n) for (a, b), n in count.items()})
    share = count.get(("web", "reviews/v2"), 0) / max(1, count.get(("web", "reviews/v1"), 0) + count.get(("web", "reviews/v2"), 0))
    check("the split of reviews is seen in the edges", 0.03 < share < 0.2, f"{share:.3f}")
    check("every edge is mutual TLS", all(e["mutualTLS"] for e in edges().values()))
    table = run(SKEIN, "stat", "-t", "5m")
    check("skein stat fits 80 columns and knows every service",
          all(len(line) <= 80 for line in table.splitlines()) and all(s in table for s in ("web", "catalog", "reviews", "ratings", "orders")), table)
    check("skein graph writes graphviz", run(SKEIN, "graph", "-t", "5m").startswith("digraph mesh {"))


def traces():
    """One request, asked to be traced: every hop of it, with the right parents, in the store, on the page and on a terminal."""
    begin = time.time()
    status, _ = get("/api/books/1", headers={"x-client-trace-id": str(uuid.uuid4())})
    took = (time.time() - begin) * 1e6
    found = {}

    def complete():
        for line in json.loads(run(SKEIN, "traces", "--since", "2m", "-o", "json")):
            trace = json.loads(run(SKEIN, "traces", line["traceId"], "-o", "json"))
            # The fifteenth digit of the request's id says that the client asked for it.
            asked = all(s["attributes"].get("guid:x-request-id", "")[14:15] in ("b", "") for s in trace["spans"])
            if asked and line["startMicroseconds"] >= begin * 1e6 - 1000:
                found.update(trace)
        return found.get("complete") and len(found["spans"]) >= 13
    check("a request that asks for it is traced, with all its hops", status == 200 and wait(complete, 40, 1), (status, len(found.get("spans", []))))
    spans = {s["spanId"]: s for s in found.get("spans", [])}

    def name(span):
        return span["service"].split(".")[0] + (">" if span["kind"] == "client" else "<")
    edges = {(name(spans[s["parentId"]]), name(s)) for s in spans.values() if s["parentId"] in spans}
    wanted = {("istio-ingressgateway>", "web<"), ("web<", "web>"), ("web>", "catalog<"), ("web>", "reviews<"), ("web>", "orders<"), ("orders>", "catalog<")}
    check("every hop has its caller as parent", wanted <= edges, sorted(wanted - edges) or len(edges))
    inside = [s for s in spans.values() if s["parentId"] in spans and s["durationMicroseconds"] > spans[s["parentId"]]["durationMicroseconds"] + 1000]
    check("no hop takes longer than its caller, and the whole no longer than the client waited",
          spans and not inside and found["durationMicroseconds"] <= took + 1000, [(name(s), s["durationMicroseconds"]) for s in inside] or found.get("durationMicroseconds"))
    check("clocks of one machine agree", not [s for s in spans.values() if s["skewMicroseconds"]])
    check("a span knows its pod, its route and its connection", all(s["pod"] for s in spans.values())
          and any(e["name"] == "connection" for s in spans.values() for e in s["events"]), [s["pod"] for s in spans.values()][:2])
    text = run(SKEIN, "traces", found.get("traceId", "")[:12])
    check("skein traces ID is a waterfall of 80 columns", all(len(line) <= 80 for line in text.splitlines()) and "catalog" in text and "▇" in text, text)
    table = run(SKEIN, "traces", "--service", "web", "--since", "5m")
    check("skein traces lists it in 80 columns", found.get("traceId", "-")[:8] in table and all(len(line) <= 80 for line in table.splitlines()), table.splitlines()[:3])
    with urllib.request.urlopen("http://127.0.0.1:9400/skein/v1/traces/" + found.get("traceId", ""), timeout=5) as answer:
        page = answer.read().decode()
    check("the page without login shows no header value", "spans" in page and "user_agent" not in page)


def standard():
    """Istio's standard metrics on the proxies' own pages: both sides by name, on either side."""
    def pages():
        with urllib.request.urlopen("http://127.0.0.1:9400/prometheus/targets", timeout=5) as answer:
            targets = json.load(answer)
        for target in targets:
            if "pod" not in target["labels"]:
                continue
            with urllib.request.urlopen(f"http://{target['targets'][0]}/stats/prometheus?filter=istio_", timeout=5) as answer:
                yield target["labels"]["pod"], answer.read().decode()

    def told():
        found = {}
        for _, page in pages():
            for line in page.splitlines():
                if line.startswith("istio_requests_total{"):
                    labels = dict(re.findall(r'([a-z_]+)="([^"]*)"', line))
                    key = (labels["reporter"], labels["source_workload"], labels["destination_workload"])
                    found.setdefault(key, []).append(labels)
        return found
    pairs = [("istio-ingressgateway", "web"), ("web", "catalog"), ("web", "orders"), ("orders", "catalog"), ("web", "reviews-v1"),
             ("web", "reviews-v2"), ("reviews-v2", "ratings"), ("web", "ratings")]
    wanted = {(reporter, *pair) for pair in pairs for reporter in ("source", "destination")}
    check("every proxy tells istio_requests_total with the workloads of both sides", wait(lambda: wanted <= told().keys(), 30, 1),
          sorted(told().keys()))
    seen = told()
    servers = seen.get(("destination", "web", "catalog"), [{}])
    check("with principals, service, protocol, flags and security", all(
        labels.get("connection_security_policy") == "mutual_tls" and labels.get("destination_service_name") == "catalog"
        and labels.get("source_principal", "").startswith("spiffe://") and labels.get("response_flags") == "-"
        and labels.get("request_protocol") == "http" for labels in servers if labels.get("response_code") == "200"), servers)
    problems = []
    for pod, page in pages():
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, text=True, timeout=30)
        # Istio's own name; its dashboards ask for it.
        rest = [line for line in (done.stdout + done.stderr).splitlines()
                if not line.startswith("istio_request_duration_milliseconds use base unit")]
        if rest:
            problems.append((pod, rest[:3]))
    check("promtool finds nothing in them", not problems, problems[:2])


TRACING = """apiVersion: v1
kind: ConfigMap
metadata: {name: istio, namespace: istio-system}
data:
  mesh: |
    accessLogFile: /dev/stdout
    accessLogEncoding: JSON
    accessLogFormat: '{"trace": "%TRACE_ID%", "duration": "%DURATION%", "request": "%REQ(X-REQUEST-ID)%", "code": "%RESPONSE_CODE%", "direct": "%DOWNSTREAM_LOCAL_ADDRESS%"}'
    extensionProviders: [{name: check, opentelemetry: {service: otlp.check, port: PORT}}]
    defaultProviders: {tracing: [check]}
    defaultConfig: {tracing: {sampling: 100}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: otlp, namespace: istio-system}
spec: {hosts: [otlp.check], resolution: STATIC, ports: [{number: PORT, name: grpc-otlp, protocol: GRPC}], endpoints: [{address: 10.244.0.1}]}
"""


def collector():
    """A real client of OTLP sends to the store; a real collector gets the traces of the bookstore, as access logs have them."""
    python = run("sh", str(ROOT / "tools/python.sh"), timeout=300).strip()
    peer = str(ROOT / "tools/peers/otlp.py")
    uid = pods("app=web")[0]["metadata"]["uid"]
    sent = json.loads(run(python, peer, "send", f"unix:/run/skein/pods/{uid}/xds.sock"))
    kept = json.loads(run(SKEIN, "traces", sent["trace"], "-o", "json"))
    check("a client of OTLP reports over a pod's socket; a span without ids is refused", sent["rejected"] == 1 and kept["complete"]
          and [s["name"] for s in kept["spans"]] == ["step 1", "step 2"] and "default/web" in kept["spans"][0]["pod"], sent)
    port = random.Random().randrange(20000, 31999)
    receiver = subprocess.Popen([python, peer, "receive", str(port)], stdout=subprocess.PIPE, text=True)
    spans = []
    threading.Thread(target=lambda: spans.extend(json.loads(line) for line in receiver.stdout), daemon=True).start()
    path = pathlib.Path(f"{DATA}.tracing.yaml")
    path.write_text(TRACING.replace("PORT", str(port)), encoding="utf-8")
    try:
        skein("apply", "--wait", "-f", str(path))

        def complete():
            answers.append(get()[0])
            traces = {}
            for span in list(spans):
                traces.setdefault(span["trace"], {})[span["id"]] = span
            for trace in traces.values():
                orphans = [s for s in trace.values() if s["parent"] and s["parent"] not in trace]
                if len(trace) >= 13 and not orphans and sum(not s["parent"] for s in trace.values()) == 1:
                    found.clear()
                    found.update(trace)
                    return True
            return False
        found, answers = {}, []
        check("a collector of OTLP gets complete traces of the bookstore", wait(complete, 60, 1), (len(spans), len(found)))
        check("meanwhile no request fails, though every listener was told of the new provider", set(answers) == {200}, answers)
        services = {(found[s["parent"]]["service"], s["service"]) for s in found.values() if s["parent"]}
        wanted = {("istio-ingressgateway.skein-system", "web.default"), ("web.default", "catalog.default"), ("web.default", "orders.default"),
                  ("orders.default", "catalog.default"), ("web.default", "reviews.default")}
        check("every hop has its caller as parent there, too", wanted <= services, sorted(wanted - services))
        trace = next(iter(found.values()), {}).get("trace", "-")
        ids = sorted((s["end"] - s["start"]) / 1e6 for s in found.values() if s["service"] == "web.default")
        lines = [json.loads(line.split("] ", 1)[-1]) for line in run(SKEIN, "logs", "-l", "app=web", "-c", "skein-proxy", "--trace", trace, "--since", "5m").splitlines()]
        logged = sorted(float(line["duration"]) for line in lines)
        # The log has whole milliseconds.
        check("skein logs finds the access log's lines of a trace, and the durations are those of its spans within 1 ms",
              len(logged) == len(ids) > 3 and all(abs(a - b) <= 1 for a, b in zip(logged, ids)), (logged, [round(i, 2) for i in ids]))
        levels = run(SKEIN, "logs", "deployment/web", "--all-containers", "--level", "error", "--tail", "50").splitlines()
        plain = run(SKEIN, "logs", "deployment/web", "--all-containers", "--tail", "50").splitlines()
        check("skein logs takes both replicas of a Deployment, each line with its pod",
              len({line.split("/")[0] for line in plain}) == 2 and len(levels) <= len(plain), plain[:2])
    finally:
        receiver.terminate()
        receiver.wait(10)
        kubectl("delete", "-f", str(path), "--ignore-not-found", "--wait=false")
        path.unlink()


def tap():
    """Requests as they happen: those that match, 80 columns, credentials hidden, an end when enough was seen."""
    def look(*words):
        return subprocess.Popen([SKEIN, "tap", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    looking = look("web", "--to", "catalog", "--limit", "3", "-o", "json", "--headers")
    ended = wait(lambda: get(headers={"authorization": "geheim"}) and looking.poll() is not None, 30, 0.2)
    looking.terminate()
    text = looking.communicate(timeout=10)[0]
    events = [json.loads(line) for line in text.splitlines()]
    check("skein tap shows requests of web to catalog as they happen, and ends after as many as were wanted",
          ended and len(events) == 3 and {(e["from"], e["to"]) for e in events} == {("web", "catalog")}, [(e["from"], e["to"], e["status"]) for e in events])
    check("skein tap shows no credential", events and "headers" in events[0] and "geheim" not in text)
    looking = look("-A", "--limit", "8")
    wait(lambda: get() and looking.poll() is not None, 30, 0.2)
    looking.terminate()
    text = looking.communicate(timeout=10)[0]
    check("skein tap fits 80 columns", len(text.splitlines()) == 9 and all(len(line) <= 80 for line in text.splitlines()), text)
    check("a filter that is none is refused", look("--status", "9xx").wait(20) == 1)


def queries():
    query = 'sum by (destination_service_name) (increase(istio_requests_total{reporter="source"}[5m]))'
    result = {s["metric"]["destination_service_name"]: float(s["value"][1]) for s in ask("query", query=query)["result"]}
    check("PromQL over HTTP knows the services", result.get("web", 0) > 200 and result.get("catalog", 0) > result["web"], result)
    shown = json.loads(run(SKEIN, "query", query, "-o", "json"))
    check("skein query says the same", {s["metric"]["destination_service_name"] for s in shown["result"]} == result.keys())
    check("labels and their values are there", "web" in ask("label/source_workload/values") and "source_workload" in ask("labels"))
    shown_pods = json.loads(run(SKEIN, "top", "pods", "-o", "json"))
    check("skein top pods knows every pod and its proxy", len(shown_pods) == 10 and all(p["proxyAnswers"] for p in shown_pods), len(shown_pods))
    rules = ask("rules")["groups"]
    check("the shipped rules are watched and every query of theirs has an answer",
          sum(len(g["rules"]) for g in rules) >= 12 and all(r["health"] == "ok" for g in rules for r in g["rules"]))


SILENT = """apiVersion: v1
kind: Pod
metadata: {name: silent, labels: {check: silent}}
spec: {containers: [{name: silent, image: "python:3.11-slim", command: [sleep, "600"]}], terminationGracePeriodSeconds: 1}
"""


def firing_alerts():
    """The shipped rules' alerts that fire: name, and who finds it with whom."""
    answer = {}

    def asked():
        try:
            answer.update(ask("alerts"))
        except OSError:
            return False
        return True
    if not wait(asked, 30, 1):
        raise RuntimeError("the alerts were not told for 30 s")
    return {(a["labels"]["alertname"], a["labels"].get("source_workload", a["labels"].get("pod", "")), a["labels"].get("destination_service", "").split(".")[0])
            for a in answer["alerts"] if a["state"] == "firing"}


class Silent:
    """A pod whose sidecar stands still."""

    def __init__(self):
        self.path = pathlib.Path(f"{DATA}.silent.yaml")
        self.path.write_text(SILENT, encoding="utf-8")
        before = {pid for pid, line in processes().items() if "skein-proxy" in line}
        kubectl("apply", "-f", str(self.path))
        there = wait(lambda: any(p["metadata"]["name"] == "silent" and p["status"].get("phase") == "Running" for p in pods()), 30)
        time.sleep(1)
        fresh = [pid for pid, line in processes().items() if "skein-proxy" in line and pid not in before and "conmon" not in line] if there else []
        self.namespace = self.namespace_of(fresh[0]) if fresh else ""
        self.stand_still()

    @staticmethod
    def namespace_of(pid):
        try:
            return os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            return ""

    def signal(self, number):
        """To the sidecar of the pod; the node agent starts another one for one that does not answer."""
        for pid, line in processes().items():
            if "skein-proxy" in line and "conmon" not in line and self.namespace and self.namespace_of(pid) == self.namespace:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass

    def stand_still(self):
        self.signal(signal.SIGSTOP)
        return True

    def ended(self):
        silent = {("ProxyIsSilent", "silent", "")}
        check("a sidecar that stands still is an alert", wait(lambda: self.stand_still() and silent <= firing_alerts(), 75, 1), sorted(firing_alerts()))
        self.signal(signal.SIGCONT)
        check("and none when it goes on", wait(lambda: not silent & firing_alerts(), 40, 1), sorted(firing_alerts()))
        kubectl("delete", "-f", str(self.path), "--ignore-not-found", "--wait=false")
        self.path.unlink()


def alerts():
    """Shipped rules fire by real causes, and everybody is told: a webhook, a real Alertmanager, a mail program."""
    with receivers.alertmanager() as port:
        alerted(port)


def alerted(manager):
    """Shipped rules fire by real causes; one of our own fires once by load, its receiver is told, and told again when it is over."""
    told = []
    kubectl("scale", "deployment", "orders", "--replicas=0")

    class Receiver(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            message = json.loads(self.rfile.read(int(self.headers["content-length"])))
            # At the start of the bookstore requests came before it was ready: that is an alert of its own.
            if message["groupLabels"]["alertname"] == "SomebodyAsks":
                told.append(message)
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    path = pathlib.Path(f"{DATA}.alerts.yaml")
    path.write_text(RULES.replace("PORT", str(server.server_port)).replace("MANAGER", str(manager)), encoding="utf-8")
    kubectl("apply", "-f", str(path))
    path.unlink()

    # Far more requests than the alert takes until everybody was told, then none: it begins once and ends once, however slow the machine is.
    with live.Load():
        check("an alert fires and its receiver is told", wait(lambda: any(t["status"] == "firing" for t in told), 60, 0.5), told and told[0]["commonAnnotations"])
        receivers.told(manager)
        text = run(SKEIN, "alerts", status=1)
        check("skein alerts shows it", "SomebodyAsks" in text and "firing" in text, text.splitlines()[:2])
        orphaned = {("NoHealthyUpstream", "web", "orders")}
        check("a service without pods is an alert", wait(lambda: orphaned <= firing_alerts(), 60, 1), sorted(firing_alerts()))
    kubectl("scale", "deployment", "orders", "--replicas=1")
    check("its end is told, too", wait(lambda: told and told[-1]["status"] == "resolved", 75, 1), [t["status"] for t in told])
    check("each was told exactly once", [t["status"] for t in told] == ["firing", "resolved"], [t["status"] for t in told])
    receivers.over(manager)
    server.shutdown()


# Panels of the dashboards about what the bookstore does not do.
QUIET = {"Requests without mutual TLS", "Requests by flag", "Bytes sent to clients by TCP", "Bytes that came by TCP", "TCP connections",
         "Endpoints kept out", "Connections that failed", "Updates that proxies refused"}


def dashboards(url):
    """Every query of the Grafana dashboards that are shipped: Prometheus has data for it, and ours takes it."""
    rows = [line.split("\t") for line in run("python3", str(ROOT / "tools/generate-dashboards.py"), "--queries").splitlines()]

    def result(base, query):
        try:
            with urllib.request.urlopen(f"{base}/query?{urllib.parse.urlencode({'query': query})}", timeout=10) as answer:
                return json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            return error.read().decode()
    silent = {}

    def all_answer():
        many(5)
        silent.clear()
        for name, title, query in rows:
            found = result(url, query)
            if isinstance(found, str) or not found and title not in QUIET:
                silent[f"{name}: {title}"] = found or query
        return not silent
    check("every panel of the Grafana dashboards has data in Prometheus", wait(all_answer, 60, 2), silent)
    refused = {f"{name}: {title}": found for name, title, query in rows
               if isinstance(found := result("http://127.0.0.1:9400/api/v1", query), str)}
    check("no query of theirs is refused by ours", not refused, refused)


@contextlib.contextmanager
def scraped():
    """A real Prometheus with the configuration that is shipped: it finds and reads every proxy and the control plane."""
    folder = pathlib.Path(f"{DATA}.prometheus")
    folder.mkdir(exist_ok=True)
    shipped = ROOT / "contrib/prometheus"
    text = (shipped / "prometheus.yaml").read_text(encoding="utf-8")
    (folder / "prometheus.yaml").write_text(
        text.replace("10s", "3s").replace("skein-rules.yaml", str(shipped / "skein-rules.yaml")), encoding="utf-8")
    port = random.Random().randrange(20000, 31999)
    server = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data", "--log.level=error",
         f"--web.listen-address=127.0.0.1:{port}"])
    found = {}

    def targets():
        many(5)
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/query?query=up", timeout=5) as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            return False
        found.update({s["metric"].get("pod", s["metric"]["job"]): s["value"][1] for s in result})
        return len(found) == 11 and set(found.values()) == {"1"}
    try:
        check("Prometheus scrapes the ten proxies and the control plane by what is shipped", wait(targets, 40, 1), found)
        yield f"http://127.0.0.1:{port}/api/v1"
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def prometheus():
    """What a real Prometheus reads: the shipped dashboards, connections, and nothing that promtool minds."""
    with scraped() as url:
        dashboards(url)
        live.connections(url)
        with urllib.request.urlopen("http://127.0.0.1:9400/metrics", timeout=5) as answer:
            page = answer.read()
        done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True, timeout=20)
        check("promtool finds nothing in the control plane's metrics", done.returncode == 0, (done.stdout + done.stderr).decode()[:500])


def compared():
    """A real Prometheus and the built-in store about the same requests: only a quiet machine lets them agree."""
    with scraped() as url:
        live.agree(url)


def forecast(path):
    """What a change is said to have the control plane send, and what it sends then; delays that are in force already are none."""
    told = json.loads(run(SKEIN, "plan", "--change", "-f", str(path), "-o", "json"))

    def sent():
        counts = json.loads(kubectl("get", "--raw", "/skein/v1/traffic"))["total"]
        return counts["responses"], counts["responseBytes"]
    before = sent()
    kubectl("apply", "-f", str(path))
    wait(lambda: sent()[0] - before[0] >= told["messages"], 10)
    time.sleep(0.5)
    messages, size = (now - then for now, then in zip(sent(), before))
    check("skein plan --change tells the messages and bytes that a change has the control plane send, within 5 %",
          told["messages"] > 0 and abs(told["bytes"] - size) <= 0.05 * size and sum(n["bytes"] for n in told["nodes"]) == told["bytes"],
          f"told {told['messages']} of {told['bytes']} bytes, sent {messages} of {size}; {told['nodes']}")


def plan():
    """The planner predicts what a longer time of ratings does to everybody before it is so; on a busy machine it refuses."""
    silent = Silent()
    planner.delays()
    busy = planner.observed()
    change = planner.CHANGES[0]
    done = planner.asked(change.words)
    check("an unknown workload is refused", planner.asked("add 5ms nobody").returncode == 1 and planner.asked("add 5ms nobody").stdout == "")
    path = planner.delays(**change.delays)
    forecast(path)
    kubectl("apply", "-f", str(path))
    if planner.is_busy(done):
        check("skein plan refuses on a machine that is busy to more than 60 %, and names the shared processors", busy > 0.5,
              f"busy to {busy:.0%}: {done.stderr.strip()[:120]}")
    else:
        # What the machine does besides is no error of the model.
        planner.compare(change, done, busy, counts_when_busy=False)
    planner.end()
    silent.ended()


def restart():
    """Samples survive an end and a new start."""
    before = float(ask("query", query='sum(istio_requests_total{reporter="source",destination_service_name="web"})')["result"][0]["value"][1])
    moment = time.time()
    skein("down")
    up("-f", BOOKSTORE)
    value = ask("query", query='sum(istio_requests_total{reporter="source",destination_service_name="web"})', time=moment)["result"]
    check("samples of before a restart are there after it", value and float(value[0]["value"][1]) == before, (before, value))
    many(20)
    query = 'sum(istio_requests_total{reporter="source",destination_service_name="web"})'
    there = wait(lambda: float((ask("query", query=query)["result"] or [{"value": [0, "0"]}])[0]["value"][1]) >= before + 20, 40, 1)
    check("and counting goes on from there", there)


def start():
    bookstore.start(*receivers.prepare())


def down(before):
    receivers.end()
    bookstore.down(before, "insight")


def phases(before):
    return (start, traffic, standard, traces, tap, collector, receivers.exported, queries, commands.commands, alerts, prometheus, plan, restart, lambda: down(before))


class Live:
    """The part `live`: it wants a machine for itself."""

    @staticmethod
    def phases(before):
        return (bookstore.start, compared, lambda: bookstore.down(before, "live"))
