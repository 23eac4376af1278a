"""A real Prometheus and the built-in store about the same bookstore at the same time; and the queries of Kiali's graph and of Istio's dashboards, by what they ask for."""
import json
import pathlib
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

from check.lib import DATA, check, get, kubectl, many, wait

OURS = "http://127.0.0.1:9400/api/v1"
RATE = 10
# Windows are of five minutes, and have to be. Both extend what they have seen to the ends of the window, Prometheus here by up to 3 s and the store by up to 10 s: of a counter that begins and
# ends inside of 50 s correct answers differ by up to 22 %, of 330 s by 2.5 %; of a steady load in windows of 20 s by up to 4 %, of 300 s by 0.1 %.
SECONDS = 306
TOLERANCE = 0.05

# What Kiali groups by when it draws its graph.
SIDES = ("source_cluster,source_workload_namespace,source_workload,source_canonical_service,source_canonical_revision,"
         "destination_cluster,destination_service_namespace,destination_service,destination_service_name,"
         "destination_workload_namespace,destination_workload,destination_canonical_service,destination_canonical_revision")
HTTP = SIDES + ",request_protocol,response_code,grpc_response_status,response_flags"
FROM = 'source_workload_namespace="default"'
INTO = 'source_workload_namespace!="default",destination_workload_namespace="default"'


def kiali():
    """The questions of Kiali's graph and its health and metrics pages, with what it needs an answer to."""
    found = {
        "traffic into the namespace": f'sum(rate(istio_requests_total{{reporter=~"destination|waypoint",{INTO}}} [60s])) by ({HTTP}) > 0',
        "traffic inside and out": f'sum(rate(istio_requests_total{{reporter=~"source|waypoint",{FROM}}} [60s])) by ({HTTP}) > 0',
        "response times, mean": f'sum(rate(istio_request_duration_milliseconds_sum{{reporter="source",{FROM}}}[60s])) by ({SIDES}) / '
                                f'sum(rate(istio_request_duration_milliseconds_count{{reporter="source",{FROM}}}[60s])) by ({SIDES}) > 0',
        "response times, p95": f'histogram_quantile(0.95, sum(rate(istio_request_duration_milliseconds_bucket{{reporter="source",{FROM}}}[60s])) by (le,{SIDES})) > 0',
        "throughput of requests": f'sum(rate(istio_request_bytes_sum{{reporter=~"source|waypoint",{FROM}}}[60s])) by ({SIDES}) > 0',
        "throughput of responses": f'sum(rate(istio_response_bytes_sum{{reporter=~"source|waypoint",{FROM}}}[60s])) by ({SIDES}) > 0',
        "security": f'(sum(rate(istio_requests_total{{reporter="destination",{FROM}}}[60s])) by ({SIDES},source_principal,destination_principal,connection_security_policy) > 0) '
                    f'OR (sum(rate(istio_tcp_sent_bytes_total{{reporter="destination",{FROM}}}[60s])) by ({SIDES},source_principal,destination_principal,connection_security_policy) > 0)',
        "traffic of one workload": f'sum(rate(istio_requests_total{{reporter=~"source|waypoint",destination_workload_namespace="default",destination_workload="catalog"}} [60s])) by ({HTTP}) > 0',
        "traffic of one service": f'sum(rate(istio_requests_total{{reporter=~"source|waypoint",destination_service_namespace="default",destination_service=~"^reviews\\\\.default\\\\..*$"}} [60s])) by ({HTTP}) > 0',
        "traffic of one app": f'sum(rate(istio_requests_total{{reporter=~"source|waypoint",destination_service_namespace="default",destination_canonical_service="reviews",destination_canonical_revision="v1"}} [60s])) by ({HTTP}) > 0',
        "health": 'sum(rate(istio_requests_total{destination_service_namespace="default",destination_service_name="catalog",reporter="source"}[60s])) by (response_code) > 0',
        "errors of a workload": 'sum(rate(istio_requests_total{reporter="destination",destination_workload="web",response_code=~"^0$|^[4-5]\\\\d\\\\d$"}[60s])) or vector(0)',
    }
    return found


def grafana():
    """What the panels of Istio's dashboards (mesh, service, workload, performance) ask for."""
    found = {}
    service, workload = 'destination_service="catalog.default.svc.cluster.local"', 'destination_workload_namespace=~"default",destination_workload=~"catalog"'
    outbound = 'source_workload_namespace=~"default",source_workload=~"web"'
    found["mesh: requests"] = 'round(sum (rate(istio_requests_total{reporter=~"source|waypoint"}[1m])), 0.01)'
    found["mesh: errors"] = 'round(sum (rate(istio_requests_total{reporter=~"source|waypoint",response_code=~"5.."}[1m])), 0.01)or vector(0)'
    for share in (0.5, 0.9, 0.99):
        found[f"mesh: p{share}"] = (
            f'label_join(histogram_quantile({share}, sum by (le,destination_workload,destination_workload_namespace) (rate('
            'istio_request_duration_milliseconds_bucket{reporter=~"source|waypoint"}[1m]))), "destination_workload_var", ".", "destination_workload", "destination_workload_namespace")')
    for share in (0.5, 0.9, 0.95, 0.99):
        for policy in ("=", "!="):
            for metric in ("istio_request_bytes", "istio_response_bytes", "istio_request_duration_milliseconds"):
                for name, labels, by in (("service", f'reporter="destination",{service}', "destination_workload"), ("workload in", f'reporter=~"destination",{workload}', "source_workload"),
                                         ("workload out", f'reporter="source",{outbound}', "destination_service")):
                    found[f"{name}: {metric} p{share} mutual TLS {policy}"] = (
                        f'histogram_quantile({share}, sum(irate({metric}_bucket{{{labels},connection_security_policy{policy}"mutual_tls"}}[1m])) by ({by}, le))')
    found["service: seconds or milliseconds"] = (
        f'(histogram_quantile(0.50, sum(irate(istio_request_duration_milliseconds_bucket{{reporter=~"destination",{service}}}[1m])) by (le)) / 1000) or '
        f'histogram_quantile(0.50, sum(irate(istio_request_duration_seconds_bucket{{reporter=~"destination",{service}}}[1m])) by (le))')
    found["workload: success"] = (
        f'sum(irate(istio_requests_total{{reporter=~"destination",{workload},response_code!~"5.*"}}[1m])) by (source_workload) / '
        f'sum(irate(istio_requests_total{{reporter=~"destination",{workload}}}[1m])) by (source_workload)')
    found["workload: requests with identities"] = (
        f'round(sum(irate(istio_requests_total{{destination_principal=~"spiffe.*",{outbound},reporter="source",destination_service=~".*"}}[1m])) by (destination_service, response_code), 0.001)')
    found["variable: workloads"] = '(sum(istio_requests_total{destination_workload_namespace=~"default"}) by (destination_workload) or sum(istio_requests_total{source_workload_namespace=~"default"}) by (source_workload))'
    found["performance: bytes"] = 'sum(irate(istio_response_bytes_sum{source_workload="istio-ingressgateway", reporter="source"}[1m]))'
    return found


def result(base, query, **more):
    """The series of an answer, or why there is none."""
    try:
        # As Kiali and Grafana ask: a form that is posted.
        body = urllib.parse.urlencode({"query": query, **more}).encode()
        with urllib.request.urlopen(urllib.request.Request(f"{base}/query", body), timeout=20) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        return error.read().decode()


def values(found):
    if isinstance(found, str):
        raise RuntimeError(found)
    return {tuple(sorted((k, v) for k, v in s["metric"].items() if k != "__name__")): float(s["value"][1]) for s in found}


EDGES = "source_workload,destination_workload"
# While requests come: what grows steadily. On a busy machine it does not: then only the whole time is compared.
RATES = {
    "requests": f'sum by ({EDGES}) (rate(istio_requests_total{{reporter="source"}}[WINDOW]))',
    "requests as the servers saw them": f'sum by ({EDGES}) (rate(istio_requests_total{{reporter="destination"}}[WINDOW]))',
    "bytes of answers": f'sum by ({EDGES}) (rate(istio_response_bytes_sum{{reporter="source"}}[WINDOW]))',
}
# Of a time that begins and ends in silence, so that both are about the same requests, whenever they read them.
WHOLE = {
    "errors": f'sum by ({EDGES}) (increase(istio_requests_total{{reporter="source",response_code=~"5.."}}[WINDOW])) '
              f'/ sum by ({EDGES}) (increase(istio_requests_total{{reporter="source"}}[WINDOW]))',
}
# Of the same time, but as the difference of what was counted at its ends: increase() extends each counter to the ends of the window by itself, and not below zero, so that one that was nearly nothing at the
# beginning is extended less than others. Where the samples lie then moves the share of a bucket by a third of a percent, and a p99 that lies in a bucket of one percent by a tenth; so it does a mean of few requests.


def grown(name):
    """By how much a counter has grown, for each edge (and bucket)."""
    series = f'sum by ({"le," if name == "bucket" else ""}{EDGES}) (istio_request_duration_milliseconds_{name}{{reporter="source"}}'
    return f"({series}) - {series} offset WINDOW))"


ENDS = {"the mean time": f"{grown('sum')} / {grown('count')}", **{f"p{share}": f"histogram_quantile({share / 100}, {grown('bucket')})" for share in (50, 90, 99)}}
FAULT = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: live-fault}
spec: {hosts: [catalog], http: [{fault: {abort: {percentage: {value: 20}, httpStatus: 503}}, route: [{destination: {host: catalog}}]}]}
"""


class Load:
    """Requests at a steady rate, half of them Jason's."""

    def __init__(self):
        self.ended, self.count = threading.Event(), 0
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        return self

    def work(self):
        begin = time.monotonic()
        while not self.ended.is_set():
            threading.Thread(target=get, kwargs={"headers": {"end-user": "jason"} if self.count % 2 else None}, daemon=True).start()
            self.count += 1
            time.sleep(max(0, begin + self.count / RATE - time.monotonic()))

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()


def processors():
    """Seconds of the machine's processors: busy, all."""
    numbers = [int(n) for n in pathlib.Path("/proc/stat").read_text(encoding="utf-8").splitlines()[0].split()[1:9]]
    return sum(numbers) - numbers[3] - numbers[4], sum(numbers)


def count():
    """How many processors there are."""
    return len(re.findall(r"^cpu\d+ ", pathlib.Path("/proc/stat").read_text(encoding="utf-8"), re.M))


def totals(base):
    return values(result(base, f'sum by (reporter,response_code,{EDGES}) (istio_requests_total)'))


def differences(theirs, query, moment):
    a, b = values(result(theirs, query, time=moment)), values(result(OURS, query, time=moment))
    return len(a), {key: (round(a.get(key, 0), 3), round(b.get(key, 0), 3)) for key in a.keys() | b.keys()
                    if abs(a.get(key, 0) - b.get(key, 0)) > TOLERANCE * max(abs(a.get(key, 0)), abs(b.get(key, 0))) + 0.02}


def silent(theirs):
    """Waits until both have counted the same, twice."""
    seen = []

    def same():
        page = totals(theirs)
        seen.append(page if page == totals(OURS) else None)
        return len(seen) > 1 and seen[-1] and seen[-1] == seen[-2]
    return wait(same, 60, 3.5)


def agree(theirs, seconds=SECONDS):
    """Both about the same steady load, with failures: rates, errors, times and bytes of each edge; afterwards every request is in both."""
    path = pathlib.Path(f"{DATA}.fault.yaml")
    path.write_text(FAULT, encoding="utf-8")
    kubectl("apply", "-f", str(path))
    try:
        # Whatever is counted has begun in both before the time that is compared: of a new series Prometheus does not see the beginning.
        for headers in ({"end-user": "jason"}, None):
            many(30, headers)
        check("before, both have counted the same requests", silent(theirs), "")
        begin = time.time()
        with Load():
            busy = processors()
            time.sleep(seconds)
            share = [b - a for a, b in zip(busy, processors())]
            moment = time.time()
            # Samples of that moment: ours come every ten seconds.
            time.sleep(11)
            friends(theirs)
        for name, query in RATES.items():
            count, off = differences(theirs, query.replace("WINDOW", f"{min(300, seconds - 6)}s"), moment)
            if off and share[0] > 0.6 * share[1]:
                print(f"     live {name} are not compared: the machine was busy to {share[0] / share[1]:.0%}")
                continue
            check(f"live, Prometheus and the built-in store agree within 5 % about {name} of {count} edges", count and not off, off or "")
        is_same = silent(theirs)
        pages = totals(theirs), totals(OURS)
        check("afterwards both have counted the same requests, by edge, code and reporter", is_same,
              {key: (pages[0].get(key), pages[1].get(key)) for key in pages[0].keys() | pages[1].keys() if pages[0].get(key) != pages[1].get(key)})
        end = time.time()
        for name, query in {**WHOLE, **{f"{name}, all in all": query for name, query in RATES.items()}}.items():
            # Both had read everything a little before.
            count, off = differences(theirs, query.replace("WINDOW", f"{int(end - begin) + 4}s"), end)
            check(f"Prometheus and the built-in store agree within 5 % about {name} of {count} edges", count and not off, off or "")
        for name, query in ENDS.items():
            # Both had read the same at the beginning, and nobody has asked in the second before it.
            count, off = differences(theirs, query.replace("WINDOW", f"{int(end - begin) + 2}s"), end)
            check(f"Prometheus and the built-in store agree within 5 % about {name} of {count} edges", count and not off, off or "")
    finally:
        kubectl("delete", "-f", str(path), "--ignore-not-found", "--wait=false")
        path.unlink()


ECHO = "import socketserver as s; s.ThreadingTCPServer.allow_reuse_address = True; s.ThreadingTCPServer(('', 9000), type('H', (s.BaseRequestHandler,), " \
    "{'handle': lambda h: [h.request.sendall(d) for d in iter(lambda: h.request.recv(65536), b'')]})).serve_forever()"
BYTES = f"""apiVersion: v1
kind: Pod
metadata: {{name: bytes, labels: {{app: bytes, check: bytes}}}}
spec: {{containers: [{{name: bytes, image: "python:3.11-slim", command: [python3, -c, {json.dumps(ECHO)}]}}], terminationGracePeriodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: bytes, labels: {{check: bytes}}}}
spec: {{selector: {{app: bytes}}, ports: [{{name: tcp, port: 9000}}]}}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {{name: bytes, labels: {{check: bytes}}}}
spec: {{selector: {{istio: ingressgateway}}, servers: [{{port: {{number: 9000, name: tcp, protocol: TCP}}, hosts: ["*"]}}]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {{name: bytes, labels: {{check: bytes}}}}
spec: {{hosts: ["*"], gateways: [bytes], tcp: [{{match: [{{port: 9000}}], route: [{{destination: {{host: bytes, port: {{number: 9000}}}}}}]}}]}}
"""
CONNECTIONS, SIZE = 5, 2000


def connections(theirs):
    """A gateway and a sidecar tell connections, with the labels of both sides."""
    path = pathlib.Path(f"{DATA}.bytes.yaml")
    path.write_text(BYTES, encoding="utf-8")
    kubectl("apply", "-f", str(path))
    gateway = json.loads(kubectl("get", "pods", "-n", "skein-system", "-l", "istio=ingressgateway", "-o", "json"))["items"][0]["status"]["podIP"]

    def send():
        try:
            with socket.create_connection((gateway, 9000), timeout=5) as peer:
                peer.sendall(b"x" * SIZE)
                left = SIZE
                while left and (data := peer.recv(65536)):
                    left -= len(data)
                return left == 0
        except OSError:
            return False
    try:
        check("bytes go through the gateway to a pod", wait(send, 40, 0.5))
        sent = 1 + sum(send() for _ in range(CONNECTIONS))

        def told(base):
            found = {}
            for metric in ("connections_opened_total", "connections_closed_total", "sent_bytes_total", "received_bytes_total"):
                for series in result(base, f'istio_tcp_{metric}{{destination_service_name="bytes"}}'):
                    labels = series["metric"]
                    key = (labels["reporter"], labels["source_workload"], labels["destination_workload"], labels["request_protocol"], metric)
                    found[key] = found.get(key, 0) + float(series["value"][1])
            return found
        wanted = {(reporter, "istio-ingressgateway", "bytes", "tcp", metric): value for reporter in ("source", "destination") for metric, value in
                  (("connections_opened_total", sent), ("connections_closed_total", sent), ("sent_bytes_total", sent * SIZE), ("received_bytes_total", sent * SIZE))}
        seen = {}
        for name, base in (("Prometheus", theirs), ("the built-in store", OURS)):
            def complete(base=base):
                seen[base] = told(base)
                return all(seen[base].get(key, 0) >= value for key, value in wanted.items())
            check(f"the gateway and the pod's sidecar tell istio_tcp_* with both workloads to {name}", wait(complete, 40, 1), (sent, seen[base]))
        labels = [s["metric"] for s in result(OURS, 'istio_tcp_sent_bytes_total{reporter="destination",destination_service_name="bytes"}')]
        check("the server's side knows the identities", labels and all(m["connection_security_policy"] == "mutual_tls" and m["source_principal"].startswith("spiffe://")
                                                                      and m["destination_principal"].startswith("spiffe://") for m in labels), labels[:1])
    finally:
        kubectl("delete", "-f", str(path), "--ignore-not-found", "--wait=false")
        path.unlink()


def friends(theirs):
    """Kiali's graph and Istio's dashboards: what Prometheus has an answer to, the built-in store has, too."""
    status = json.load(urllib.request.urlopen(f"{OURS}/status/buildinfo", timeout=5))["data"]
    names = json.load(urllib.request.urlopen(f"{OURS}/label/__name__/values", timeout=5))["data"]
    check("Kiali's first questions are answered: the version, the names of metrics", status["version"] and {"istio_requests_total", "istio_request_duration_milliseconds_bucket"} <= set(names),
          (status, len(names)))
    queries = {**kiali(), **grafana()}

    def all_alike():
        wrong.clear()
        for name, query in queries.items():
            mine, reference = result(OURS, query), result(theirs, query)
            if isinstance(mine, str) or isinstance(reference, str):
                wrong[name] = (mine, reference)
            elif set(values(mine)) != set(values(reference)):
                wrong[name] = (sorted(set(values(mine)) ^ set(values(reference)))[:2], len(mine), len(reference))
        return not wrong
    # What began or ended at the edge of a window is in one of them for some seconds.
    wrong = {}
    wait(all_alike, 60, 2)
    check(f"every one of {len(queries)} queries of Kiali and of Istio's dashboards has the same series as in Prometheus", not wrong, wrong)
    drawn = {(s["metric"]["source_workload"], s["metric"]["destination_workload"]) for name in ("traffic into the namespace", "traffic inside and out")
             for s in result(OURS, kiali()[name])}
    pairs = {("istio-ingressgateway", "web"), ("web", "catalog"), ("web", "orders"), ("orders", "catalog"), ("web", "reviews-v1"), ("web", "reviews-v2"),
             ("reviews-v2", "ratings")}
    check("the graph that Kiali draws of them is the bookstore", pairs <= drawn, sorted(pairs - drawn))
