"""The shipped alert rules, each by a real cause in a mesh of its own: told once when it begins and once when it is over.

Takes some twelve minutes, as the rules wait before they say anything; not in the default run. What uses up a machine, certificates that nobody renews and proxies that stay behind
are in `shortages`, a wrong clock in hosts-check.
"""
import collections
import http.server
import json
import pathlib
import subprocess
import threading
import time

from check import bookstore
from check.lib import DATA, SKEIN, ask, check, kubectl, processes, run, wait, write_kubeconfig

SERVER = """
import http.server, os, time
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(s, *a): pass
    def do_GET(s):
        time.sleep(float(os.environ.get('DELAY', '0')))
        s.send_response(int(os.environ.get('STATUS', '200'))); s.send_header('content-length', '0'); s.end_headers()
http.server.ThreadingHTTPServer(('0.0.0.0', 9000), H).serve_forever()
"""
ASKER = """
import http.client, os, threading, time
def work(host, pause):
    while True:
        try:
            c = http.client.HTTPConnection(host, 80, timeout=10)
            while True:
                c.request('GET', '/'); c.getresponse().read(); time.sleep(pause)
        except OSError: time.sleep(pause)
for word in os.environ['ASKS'].split():
    host, pause, threads = word.split(',')
    for _ in range(int(threads)): threading.Thread(target=work, args=(host, float(pause))).start()
"""
LOST = "import socket,time\nwhile True:\n  try: socket.getaddrinfo('nowhere.example.', 80)\n  except OSError: pass\n  time.sleep(0.2)"


def pod(name, app, code, sidecar=True, **environment):
    variables = [{"name": key, "value": value} for key, value in environment.items()]
    return {"apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": app}, "annotations": {"sidecar.istio.io/inject": str(sidecar).lower()}},
            "spec": {"terminationGracePeriodSeconds": 1,
                     "containers": [{"name": "c", "image": "python:3.11-slim", "command": ["python3", "-c", code], "env": variables}]}}


def service(name, app=None):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": {"app": app or name}, "ports": [{"name": "http", "port": 80, "targetPort": 9000}]}}


def rule(host, **policy):
    return {"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": host}, "spec": {"host": host, "trafficPolicy": policy}}


FAULTY = {"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "faulty"},
          "spec": {"workloadSelector": {"labels": {"app": "refuser"}}, "configPatches": [{
              "applyTo": "HTTP_FILTER", "match": {"context": "SIDECAR_OUTBOUND"}, "patch": {"operation": "INSERT_FIRST", "value": {
                  "name": "faulty", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua",
                                                     "default_source_code": {"inline_string": "function ("}}}}}]}}
FILLER = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "filler"},
          "spec": {"replicas": 222, "selector": {"matchLabels": {"app": "filler"}}, "template": {
              "metadata": {"labels": {"app": "filler"}, "annotations": {"sidecar.istio.io/inject": "false"}},
              "spec": {"terminationGracePeriodSeconds": 1, "containers": [{"name": "c", "image": "python:3.11-slim", "command": ["sleep", "3600"]}]}}}}
# Which alert each cause makes: name, and what it is about.
EXPECTED = {("ErrorBudgetBurnsFast", "lemon"), ("ErrorBudgetBurnsSlowly", "lemon"), ("LatencyIsHigh", "tortoise"), ("EndpointsEjected", "half"),
            ("CircuitBreakerIsOpen", "tight"), ("NoHealthyUpstream", "empty"), ("ConfigurationRefused", ""),
            ("NamesAreNotFound", ""), ("PodRestartsAgainAndAgain", "crash"), ("AddressesRunOut", ""), ("ProxyIsSilent", "silent")}

told = collections.defaultdict(list)


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"]:
            told[subject(alert["labels"])].append((alert["status"], alert["startsAt"], round(time.time() - BEGIN)))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


BEGIN = time.time()


def subject(labels):
    return labels["alertname"], labels.get("destination_service", labels.get("pod", "")).split(".")[0]


def apply(*objects):
    kubectl("apply", "-f", "-", input=json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))


def firing():
    try:
        return {subject(a["labels"]) for a in ask("alerts")["alerts"] if a["state"] == "firing"}
    except OSError:
        return set()


def start():
    """With a name server that nobody answers at, and 253 addresses for pods."""
    nowhere = pathlib.Path(f"{DATA}.resolv.conf")
    nowhere.write_text("nameserver 127.0.0.77\n", encoding="utf-8")
    run("unshare", "--mount", "--propagation", "slave", "sh", "-c", 'mount --bind "$0" /etc/resolv.conf && exec "$@"', str(nowhere),
        SKEIN, "up", "--data-dir", DATA, "--images", "host", "--pool", "10.244.0.0/24", "--detach", timeout=120)
    write_kubeconfig()
    receive()


def receive():
    """Has the control plane tell us of each alert by itself, at once."""
    # What a machine of another part was told of counts there.
    told.clear()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "skein-alerts", "namespace": "skein-system"}, "data": {"alertmanager.yaml": json.dumps({
        "route": {"receiver": "check", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s"},
        "receivers": [{"name": "check", "webhook_configs": [{"url": f"http://127.0.0.1:{server.server_port}/hook"}]}]})}})


def causes():
    apply(service("fine"), service("lemon"), service("tortoise"), service("half"), service("tight"), service("empty"),
          rule("half", outlierDetection={"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "1800s", "maxEjectionPercent": 100}),
          rule("tight", connectionPool={"tcp": {"maxConnections": 1}, "http": {"http1MaxPendingRequests": 1}}),
          pod("fine", "fine", SERVER), pod("lemon", "lemon", SERVER, STATUS="500"), pod("tortoise", "tortoise", SERVER, DELAY="2"),
          pod("half-a", "half", SERVER), pod("half-b", "half", SERVER, STATUS="500"), pod("tight", "tight", SERVER, DELAY="0.3"),
          pod("refuser", "refuser", SERVER), pod("silent", "silent", SERVER), pod("crash", "crash", "raise SystemExit(1)", sidecar=False),
          pod("lost", "lost", LOST, sidecar=False))
    kubectl("wait", "pods", "--for=condition=Ready", "--timeout=60s", "fine", "lemon", "tortoise", "half-a", "half-b", "tight", "refuser", "silent")
    apply(pod("asker", "asker", ASKER, ASKS="fine,0.1,1 lemon,1,1 tortoise,0.1,2 half,0.05,1 tight,0.05,6 empty,1,1"), FAULTY, FILLER)
    silence()


def silence():
    """Stops the sidecar of the pod, again and again: the node agent starts another one for one that does not answer."""
    address = kubectl("get", "pod", "silent", "-o", "jsonpath={.status.podIP}")
    for pid, line in processes().items():
        if "skein-proxy" in line and "conmon" not in line and f" {address}/" in run("nsenter", "-t", str(pid), "-n", "ip", "-o", "addr", status=None):
            subprocess.run(["kill", "-STOP", str(pid)], check=False)


def once(key):
    """Whether an alert was told when it began and when it was over, and not oftener."""
    statuses = [status for status, *_ in told[key]]
    # The name server stays dead: whoever asks for a name outside begins it anew.
    return statuses[:2] == ["firing", "resolved"] if key[0] == "NamesAreNotFound" else statuses == ["firing", "resolved"]


def fire():
    fired = set()

    def all_fired():
        silence()
        fired.update(firing())
        return EXPECTED <= fired
    check("each shipped rule fires by its cause", wait(all_fired, 600, 2), sorted(EXPECTED - fired))
    for key in sorted(EXPECTED):
        print(f"     {key[0]} {key[1]}: {told[key]}")


def over():
    """The causes end, and requests that go well put those that failed into the shade."""
    kubectl("delete", "pod", "silent", "lost", "crash", "half-b", "asker", "--wait=false")
    kubectl("delete", "deployment", "filler")
    kubectl("delete", "envoyfilter", "faulty")
    kubectl("delete", "destinationrule", "tight", "half")
    for name in ("lemon", "tortoise"):
        kubectl("patch", "service", name, "-p", json.dumps({"spec": {"selector": {"app": "fine"}}}))
    apply(pod("flood", "flood", ASKER, ASKS="lemon,0,6 tortoise,0,6"))
    check("each is over when its cause is", wait(lambda: not EXPECTED & firing(), 900, 2), sorted(EXPECTED & firing()))
    told_once = wait(lambda: all(map(once, EXPECTED)), 30)
    check("each was told once, and its end once", told_once, {" ".join(key): told[key] for key in EXPECTED if not once(key)})


def phases(before):
    return (start, causes, fire, over, lambda: bookstore.down(before, "alerts"))
