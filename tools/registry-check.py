#!/usr/bin/python3
"""Tries the registry of `skein control-plane` with python-consul2, and, as root, a program on this machine that a pod calls.

Each check prints one line; the exit status is 1 when one failed.
usage: registry-check.py [--no-pods]      SKEIN_BINARY names another binary than that of the release build.
"""
import base64
import concurrent.futures
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKEIN = os.environ.get("SKEIN_BINARY", str(ROOT / ".build/release/skein"))
FOLDER = tempfile.mkdtemp(prefix="skein-registry-")
results = []


def with_packages():
    """Goes on in the Python that has the client."""
    if os.environ.get("SKEIN_CHECK_PYTHON"):
        return
    python = subprocess.run(["sh", str(ROOT / "tools/python.sh")], check=True, capture_output=True, text=True).stdout.strip()
    os.environ["SKEIN_CHECK_PYTHON"] = python
    os.execv(python, [python, *sys.argv])


def enter_namespaces():
    """Goes on in network, mount and process namespaces of its own: pods need root, and nothing of this machine is touched."""
    if "--no-pods" in sys.argv:
        return
    if os.getuid() != 0:
        sys.exit("registry-check: run as root (pods are network namespaces and containers), or with --no-pods")
    if os.environ.get("SKEIN_REGISTRY_CHECK") != "1":
        os.execvpe("unshare", ["unshare", "-m", "-n", "-p", "-f", "--kill-child", "--mount-proc", sys.executable, *sys.argv],
                   {**os.environ, "SKEIN_REGISTRY_CHECK": "1"})
    subprocess.run("mkdir -p /run/netns /run/skein && mount -t tmpfs none /run/skein && mount -t tmpfs none /run/netns && ip link set lo up",
                   shell=True, check=True)


with_packages()
enter_namespaces()
import consul  # noqa: E402
import grpc  # noqa: E402
from grpc_health.v1 import health as grpc_health, health_pb2, health_pb2_grpc  # noqa: E402


def check(name, passed, detail=""):
    results.append(bool(passed))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)


def wait(condition, seconds=30):
    end = time.time() + seconds
    while time.time() < end:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    return None


def refusal(body):
    """The error that a call ends with, as its class and text."""
    try:
        return "none", body()
    except consul.ConsulException as error:
        return type(error).__name__, str(error)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Plane:
    """A control plane that was started by hand, with directories that outlive it."""

    def __init__(self, *arguments, name="plane"):
        self.name = name
        self.data, self.run = f"{FOLDER}/{name}", f"{FOLDER}/{name}.run"
        os.makedirs(f"{self.data}/control", exist_ok=True)
        os.makedirs(self.run, exist_ok=True)
        self.api, self.metrics, self.registry = free_port(), free_port(), free_port()
        self.arguments = arguments
        self.start()

    def start(self):
        self.log = open(f"{FOLDER}/{self.name}.log", "ab")
        self.process = subprocess.Popen(
            [SKEIN, "control-plane", "--data-dir", self.data, "--run-dir", self.run, "--api", f"127.0.0.1:{self.api}",
             "--metrics", f"127.0.0.1:{self.metrics}", "--registry", f"127.0.0.1:{self.registry}", *self.arguments],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        return wait(lambda: self.ask("GET", "/readyz")[0] == 200)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(20)

    def ask(self, method, path, body=None):
        """The Kubernetes API over its unix socket."""
        try:
            connection = http.client.HTTPConnection("localhost", timeout=20)
            connection.sock = socket.socket(socket.AF_UNIX)
            connection.sock.settimeout(20)
            connection.sock.connect(f"{self.run}/api.sock")
            connection.request(method, path, json.dumps(body) if body is not None else None, {"content-type": "application/json"})
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text[:1] == b"{" else text
        except OSError as error:
            return 0, error

    def page(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=5)
        connection.request("GET", "/metrics")
        return connection.getresponse().read().decode()

    def token(self, name, rules):
        """A service account with a token and a role of those rules."""
        self.ask("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": name}})
        self.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterroles", {"metadata": {"name": name}, "rules": rules})
        self.ask("POST", "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", {
            "metadata": {"name": name}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}]})
        status, answer = self.ask("POST", f"/api/v1/namespaces/default/serviceaccounts/{name}/token", {"spec": {"expirationSeconds": 3600}})
        return answer["status"]["token"] if status == 201 else ""

    def raw(self, method, path, body=None, headers=None):
        """A request as no client would send it."""
        connection = http.client.HTTPConnection("127.0.0.1", self.registry, timeout=20)
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), dict(answer.getheaders())


class Backend(http.server.BaseHTTPRequestHandler):
    """A program whose health can be changed."""
    def do_GET(self):
        body = f"{self.server.label} {self.path}".encode()
        self.send_response(self.server.status if self.path == "/health" else 200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def serve(address="127.0.0.1", label="program"):
    server = http.server.ThreadingHTTPServer((address, 0), Backend)
    server.status, server.label = 200, label
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def keys(c, plane):
    check("KV: put and get, with flags", c.kv.put("app/color", "blue", flags=42) is True)
    index, data = c.kv.get("app/color")
    check("KV: value, flags and indices come back", data["Value"] == b"blue" and data["Flags"] == 42 and int(index) == data["ModifyIndex"])
    check("KV: a missing key is None with an index", c.kv.get("app/none")[1] is None and int(c.kv.get("app/none")[0]) > 0)
    check("KV: cas with the right index is done, with a wrong one not",
          c.kv.put("app/color", "red", cas=data["ModifyIndex"]) is True and c.kv.put("app/color", "green", cas=data["ModifyIndex"]) is False)
    check("KV: cas=0 makes only what is not there", c.kv.put("app/new", "1", cas=0) is True and c.kv.put("app/new", "2", cas=0) is False)
    c.kv.put("app/deep/one", "1")
    c.kv.put("app/deep/two", b"\x00\xff")
    _, all_keys = c.kv.get("app/", keys=True)
    _, folders = c.kv.get("app/", keys=True, separator="/")
    check("KV: keys, with a separator too", all_keys == ["app/color", "app/deep/one", "app/deep/two", "app/new"] and folders == ["app/color", "app/deep/", "app/new"], folders)
    _, tree = c.kv.get("app/deep/", recurse=True)
    check("KV: recurse brings the tree in order, bytes as they are", [(e["Key"], e["Value"]) for e in tree] == [("app/deep/one", b"1"), ("app/deep/two", b"\x00\xff")])
    check("KV: delete, recursive too", c.kv.delete("app/new") is True and c.kv.delete("app/deep/", recurse=True) is True and c.kv.get("app/deep/", recurse=True)[1] is None)
    status, text, _ = plane.raw("GET", "/v1/kv/app/color?raw", headers={"X-Consul-Token": c.token})
    check("KV: raw", (status, text) == (200, "red"))
    kind, text = refusal(lambda: c.kv.put("app/large", "x" * (512 * 1024 + 1)))
    check("KV: a value above 512 KiB is refused with 413", kind == "ClientError" and "413" in text and "too large" in text, text[:80])
    check("KV: a value of 512 KiB is kept", c.kv.put("app/large", "x" * (512 * 1024)) is True and len(c.kv.get("app/large")[1]["Value"]) == 512 * 1024)
    c.kv.delete("app/large")
    for bad, want in (("?cas=x", 400), ("?cas=1&acquire=x", 400)):
        status, text, _ = plane.raw("PUT", f"/v1/kv/app/color{bad}", "x", {"X-Consul-Token": c.token})
        check(f"KV: PUT {bad} is refused", status == want, text)

    answer = c.txn.put([{"KV": {"Verb": "set", "Key": "app/t", "Value": base64.b64encode(b"one").decode()}}, {"KV": {"Verb": "get", "Key": "app/t"}}])
    check("txn: several operations at once", answer["Errors"] is None and len(answer["Results"]) == 2 and base64.b64decode(answer["Results"][1]["KV"]["Value"]) == b"one")
    kind, text = refusal(lambda: c.txn.put([{"KV": {"Verb": "set", "Key": "app/u", "Value": ""}}, {"KV": {"Verb": "check-not-exists", "Key": "app/t"}}]))
    check("txn: one that cannot be done undoes all (409)", kind == "ClientError" and "409" in text and "OpIndex" in text and c.kv.get("app/u")[1] is None, text[:100])


def waiting(c):
    index, _ = c.kv.get("wait/key")
    threading.Timer(0.3, lambda: c.kv.put("wait/key", "now")).start()
    begin = time.time()
    after, data = c.kv.get("wait/key", index=index, wait="30s")
    check("blocking: a change ends the wait", data and data["Value"] == b"now" and int(after) > int(index) and time.time() - begin < 20, f"{time.time() - begin:.2f} s")
    begin = time.time()
    again, data = c.kv.get("wait/key", index=after, wait="1s")
    check("blocking: without a change the time ends it, with the same index", again == after and time.time() - begin >= 0.9)
    index, _ = c.health.service("late", passing=True)
    threading.Timer(0.3, lambda: c.agent.service.register("late", port=81)).start()
    _, found = c.health.service("late", passing=True, index=index, wait="30s")
    check("blocking: of a service that is registered meanwhile", len(found) == 1)
    c.agent.service.deregister("late")


def sessions(c):
    one = c.session.create(name="one", lock_delay=0)
    two = c.session.create(name="two", behavior="delete", ttl=10, lock_delay=0)
    _, info = c.session.info(one)
    check("sessions: made and told", info["Name"] == "one" and info["Behavior"] == "release" and len(c.session.list()[1]) == 2 and c.session.node(info["Node"])[1])
    check("sessions: a lock is taken by one only", c.kv.put("lock/a", "1", acquire=one) is True and c.kv.put("lock/a", "2", acquire=two) is False)
    _, held = c.kv.get("lock/a")
    check("sessions: the key tells its holder", held["Session"] == one and held["LockIndex"] == 1)
    check("sessions: given back and taken by another", c.kv.put("lock/a", "1", release=one) is True and c.kv.put("lock/a", "3", acquire=two) is True)
    check("sessions: renewed", c.session.renew(two)["ID"] == two)
    check("sessions: destroyed with behaviour delete, its key is gone", c.session.destroy(two) is True and c.kv.get("lock/a")[1] is None)
    three = c.session.create(lock_delay=60)
    c.kv.put("lock/b", "1", acquire=three)
    c.session.destroy(three)
    check("sessions: after a bad end nobody takes the lock for a while", c.kv.get("lock/b")[1].get("Session") is None and c.kv.put("lock/b", "2", acquire=one) is False)
    kind, _ = refusal(lambda: c.session.renew("00000000-0000-0000-0000-000000000000"))
    check("sessions: one that is not there cannot be renewed (404)", kind == "NotFound", kind)
    kind, text = refusal(lambda: c.kv.put("lock/c", "1", acquire="nobody"))
    check("sessions: a lock for nobody is refused", kind == "ConsulException" and "invalid session" in text, text)
    c.session.destroy(one)


def catalogue(c):
    check("catalog: register a node with a service and a check", c.catalog.register(
        "elsewhere", "192.0.2.7", service={"service": "db", "id": "db1", "tags": ["primary"], "port": 5432, "meta": {"v": "9"}},
        check={"name": "alive", "status": "passing"}, node_meta={"rack": "r1"}) is True)
    _, services = c.catalog.services()
    check("catalog: services with their tags", services.get("db") == ["primary"], services)
    _, found = c.catalog.service("db", tag="primary")
    check("catalog: instances with node and address", len(found) == 1 and found[0]["Address"] == "192.0.2.7" and found[0]["ServicePort"] == 5432 and found[0]["ServiceMeta"] == {"v": "9"})
    check("catalog: no instance with another tag", c.catalog.service("db", tag="replica")[1] == [])
    check("catalog: nodes, by metadata too", {n["Node"] for n in c.catalog.nodes()[1]} >= {"elsewhere"} and [n["Node"] for n in c.catalog.nodes(node_meta={"rack": "r1"})[1]] == ["elsewhere"])
    check("catalog: a node with its services", list(c.catalog.node("elsewhere")[1]["Services"]) == ["db1"] and c.catalog.node("nobody")[1] is None)
    check("catalog: datacenters", c.catalog.datacenters() == ["dc1"])
    check("health: of the instance", c.health.service("db", passing=True)[1][0]["Checks"][0]["Name"] == "alive" and c.health.node("elsewhere")[1][0]["Status"] == "passing")
    kind, text = refusal(lambda: c.catalog.service("db", near="_agent"))
    check("catalog: near is refused in so many words", kind == "BadRequest" and "near" in text, text)
    kind, text = refusal(lambda: c.catalog.nodes(dc="dc2"))
    check("catalog: another datacenter is refused", "No path to datacenter" in text, text)
    check("catalog: deregister a service, then the node", c.catalog.deregister("elsewhere", service_id="db1") and c.catalog.service("db")[1] == [] and c.catalog.deregister("elsewhere")
          and "elsewhere" not in {n["Node"] for n in c.catalog.nodes()[1]})


def agent(c, plane):
    check("agent: self and members", c.agent.self()["Config"]["Datacenter"] == "dc1" and len(c.agent.members()) == 1)
    check("agent: register with tags, metadata and a TTL check", c.agent.service.register(
        "web", service_id="web1", address="192.0.2.1", port=8080, tags=["v1"], meta={"a": "b"}, check=consul.Check.ttl("30s")) is True)
    own = c.agent.services()["web1"]
    check("agent: services", own["Service"] == "web" and own["Port"] == 8080 and own["Tags"] == ["v1"] and own["Meta"] == {"a": "b"} and own["Weights"] == {"Passing": 1, "Warning": 1})
    check("agent: the check is critical at first", c.agent.checks()["service:web1"]["Status"] == "critical" and c.health.service("web", passing=True)[1] == [])
    check("agent: the program reports that it is well", c.agent.check.ttl_pass("service:web1", "fine") and [s["Service"]["ID"] for s in c.health.service("web", passing=True)[1]] == ["web1"])
    check("health: the note is the check's output", c.health.checks("web")[1][0]["Output"] == "fine")
    check("agent: a warning is not passing", c.agent.check.ttl_warn("service:web1") and c.health.service("web", passing=True)[1] == [] and len(c.health.state("warning")[1]) == 1)
    check("agent: failed", c.agent.check.ttl_fail("service:web1") and c.health.state("critical")[1][0]["CheckID"] == "service:web1")
    c.agent.check.ttl_pass("service:web1")
    check("agent: maintenance takes it out and back", c.agent.service.maintenance("web1", "true", "works") and c.health.service("web", passing=True)[1] == []
          and c.agent.checks()["_service_maintenance:web1"]["Notes"] == "works" and c.agent.service.maintenance("web1", "false") and len(c.health.service("web", passing=True)[1]) == 1)
    check("agent: maintenance of the node", c.agent.maintenance("true") and c.health.service("web", passing=True)[1] == [] and c.agent.maintenance("false") and len(c.health.service("web", passing=True)[1]) == 1)
    check("agent: a check of its own for the service", c.agent.check.register("disk", check=consul.Check.ttl("30s"), service_id="web1") and c.agent.check.ttl_pass("disk") and c.agent.check.deregister("disk"))
    kind, text = refusal(lambda: c.agent.check.register("script", check=consul.Check.script(["/bin/true"], "10s")))
    check("agent: scripts are refused while they are not switched on", kind == "BadRequest" and "Scripts are disabled" in text, text[:60])
    kind, text = refusal(lambda: c.agent.service.register(""))
    check("agent: a service without a name is refused", kind == "BadRequest" and "Missing service name" in text)
    check("agent: what is not there cannot be removed", c.agent.service.deregister("nobody") is False)

    backend = serve()
    port = backend.server_address[1]
    c.agent.service.register("shop", service_id="shop1", address="192.0.2.2", port=port, check=consul.Check.http(f"http://127.0.0.1:{port}/health", "1s", timeout="5s"))
    c.agent.service.register("shop", service_id="shop2", address="192.0.2.3", port=port, check=consul.Check.tcp("127.0.0.1", port, "1s", timeout="5s"))
    passing = lambda: sorted(s["Service"]["ID"] for s in c.health.service("shop", passing=True)[1])
    check("checks: HTTP and TCP find out that a program is well", wait(lambda: passing() == ["shop1", "shop2"]), passing())
    backend.status = 500
    check("checks: HTTP finds out that it is not", wait(lambda: passing() == ["shop2"]), c.agent.checks()["service:shop1"]["Output"][:60])
    backend.shutdown()
    backend.server_close()
    health = grpc_health.HealthServicer()
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(2))
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    place = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}/shop"
    health.set("shop", health_pb2.HealthCheckResponse.SERVING)
    server.start()
    c.agent.service.register("grpc", address="192.0.2.4", port=1, check=consul.Check.grpc(place, "1s"))
    state = lambda: c.agent.checks()["service:grpc"]
    check("checks: gRPC finds out that a service is well", wait(lambda: state()["Status"] == "passing"), state()["Output"])
    health.set("shop", health_pb2.HealthCheckResponse.NOT_SERVING)
    check("checks: gRPC finds out that it is not", wait(lambda: state()["Status"] == "critical"), state()["Output"])
    server.stop(None)
    check("checks: TCP finds out that it is gone", wait(lambda: passing() == []), c.agent.checks()["service:shop2"]["Output"][:60])


def access(plane, token):
    nobody = consul.Consul(port=plane.registry)
    kind, text = refusal(lambda: nobody.agent.services())
    check("access: nobody without a token", kind == "ACLPermissionDenied" and "Permission denied" in text, text[:60])
    kind, text = refusal(lambda: consul.Consul(port=plane.registry, token="wrong").agent.services())
    check("access: no token of somebody else", kind == "ACLPermissionDenied" and "ACL not found" in text)
    reader = plane.token("reader", [{"apiGroups": ["registry.skein.dev"], "resources": ["registrations"], "verbs": ["get"]},
                                    {"apiGroups": ["registry.skein.dev"], "resources": ["keys"], "resourceNames": ["public"], "verbs": ["get", "update"]}])
    client = consul.Consul(port=plane.registry, token=reader)
    check("access: a role that reads may read", isinstance(client.agent.services(), dict) and client.kv.put("public", "1") is True)
    for name, call in (("register", lambda: client.agent.service.register("x", port=1)), ("write another key", lambda: client.kv.put("private", "1")),
                       ("read all keys", lambda: client.kv.get("", recurse=True)), ("make an intention", lambda: client.connect.intentions.create("a", "b", "consul", "allow"))):
        check(f"access: it may not {name}", refusal(call)[0] == "ACLPermissionDenied")
    status, text, _ = plane.raw("GET", "/v1/agent/services", headers={"Authorization": f"Bearer {token}"})
    check("access: the token as Bearer too", status == 200)
    status, text, _ = plane.raw("GET", "/v1/agent/services", headers={"X-Consul-Token": token, "Host": "evil.example"})
    check("access: a foreign Host is refused", status == 403, text)
    status, text, _ = plane.raw("DELETE", "/v1/agent/services", headers={"X-Consul-Token": token})
    check("access: another method is refused with 405", status == 405, text)
    check("access: unknown paths are 404", plane.raw("GET", "/v1/nothing", headers={"X-Consul-Token": token})[0] == 404)
    check("access: no token in the query", plane.raw("GET", f"/v1/kv/a?token={token}", headers={"X-Consul-Token": token})[0] == 400)


def intentions(c, plane):
    made = c.connect.intentions.create("orders", "payments", "consul", "deny", description="not yet")
    policies = lambda: {p["metadata"]["name"]: p["spec"] for p in plane.ask("GET", "/apis/security.istio.io/v1/namespaces/default/authorizationpolicies")[1]["items"]}
    name = "intentions-deny-payments"
    check("intentions: a denial becomes an AuthorizationPolicy", wait(lambda: name in policies()) and policies()[name]["action"] == "DENY"
          and policies()[name]["rules"][0]["from"][0]["source"]["principals"] == ["cluster.local/ns/default/sa/orders"], policies())
    check("intentions: listed, read, checked and matched", len(c.connect.intentions.list()) == 1 and c.connect.intentions.get(made["ID"])["DestinationName"] == "payments"
          and c.connect.intentions.check("orders", "payments")["Allowed"] is False and c.connect.intentions.check("web", "payments")["Allowed"] is True
          and len(c.connect.intentions.list_match("destination", "payments")["payments"]) == 1)
    check("intentions: changed and removed, its policy goes with it", c.connect.intentions.put(made["ID"], action="allow") and wait(lambda: name not in policies())
          and c.connect.intentions.delete(made["ID"]) and c.connect.intentions.list() == [])


def refused(c):
    for name, call in (("event.fire", lambda: c.event.fire("x")), ("query.list", lambda: c.query.list()), ("coordinate.nodes", lambda: c.coordinate.nodes()),
                       ("config.list", lambda: c.config.list("service-defaults")), ("operator.raft", lambda: c.operator.raft_config()),
                       ("snapshot.get", lambda: c.snapshot.get()), ("agent.join", lambda: c.agent.join("192.0.2.1"))):
        kind, text = refusal(call)
        check(f"refused in so many words: {name}", kind == "ConsulException" and text.startswith("501") or name == "snapshot.get" and "501" in text, text[:100])
    kind, text = refusal(lambda: c.acl.list())
    check("refused as Consul without access lists does it: acl", kind == "ACLDisabled", text)
    check("status: leader and peers", c.status.leader().endswith(":8300") and len(c.status.peers()) == 1)


def restart(c, plane):
    c.kv.put("kept", "yes")
    c.agent.service.register("kept", service_id="kept1", address="192.0.2.9", port=99)
    session = c.session.create(name="kept", ttl=3600)
    c.kv.put("kept-lock", "1", acquire=session)
    index, _ = c.kv.get("kept")
    plane.stop(signal.SIGKILL)
    check("restart: the control plane is back after a kill", plane.start())
    check("restart: keys, locks, services and sessions are as they were", c.kv.get("kept")[1]["Value"] == b"yes" and c.kv.get("kept-lock")[1]["Session"] == session
          and "kept1" in c.agent.services() and c.session.info(session)[1]["Name"] == "kept" and c.kv.get("kept")[0] == index)
    entries = lambda: [e["metadata"]["name"] for e in plane.ask("GET", "/apis/networking.istio.io/v1/namespaces/skein-system/serviceentries")[1]["items"]]
    check("mesh: a registered service has a ServiceEntry", wait(lambda: "registered-kept" in entries()), entries())
    c.agent.service.deregister("kept1")
    check("mesh: it goes with the registration", wait(lambda: "registered-kept" not in entries()), entries())
    check("metrics: the registry counts", "skein_registry_requests_total" in plane.page())


def two_servers():
    """Two control planes over one etcd."""
    client, peer = free_port(), free_port()
    log = open(f"{FOLDER}/etcd.log", "ab")
    etcd = subprocess.Popen(
        ["etcd", "--data-dir", f"{FOLDER}/etcd", "--listen-client-urls", f"http://127.0.0.1:{client}", "--advertise-client-urls", f"http://127.0.0.1:{client}",
         "--listen-peer-urls", f"http://127.0.0.1:{peer}", "--initial-advertise-peer-urls", f"http://127.0.0.1:{peer}",
         "--initial-cluster", f"default=http://127.0.0.1:{peer}"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    planes = []
    try:
        def answers():
            with socket.socket() as probe:
                return probe.connect_ex(("127.0.0.1", client)) == 0

        wait(answers)
        store = ("--store", f"etcd://127.0.0.1:{client}")
        planes.append(Plane(*store, name="one"))
        planes.append(Plane(*store, "--encryption-key", f"{planes[0].data}/control/secrets.key", name="two"))
        clients = [consul.Consul(port=plane.registry, token=plane.token("registrar", [{"apiGroups": ["registry.skein.dev"], "resources": ["*"], "verbs": ["*"]}]))
                   for plane in planes]
        one, two = clients
        check("etcd: what one server took, the other tells at once", one.kv.put("shared", "1") is True and two.kv.get("shared")[1]["Value"] == b"1")
        index, _ = two.kv.get("shared")
        threading.Timer(0.3, lambda: one.kv.put("shared", "2")).start()
        begin = time.time()
        check("etcd: a change at one server ends the wait at the other", two.kv.get("shared", index=index, wait="30s")[1]["Value"] == b"2" and time.time() - begin < 20)
        holder = one.session.create(lock_delay=0)
        other = two.session.create(lock_delay=0)
        taken = [c.kv.put("lock", "x", acquire=session) for c, session in ((one, holder), (two, other))]
        check("etcd: a lock has one holder over both", taken == [True, False], taken)
        racing = []
        threads = [threading.Thread(target=lambda c=c, n=n: racing.append(sum(c.kv.put(f"race/{i}", n, cas=0) for i in range(30)))) for c, n in ((one, "one"), (two, "two"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        check("etcd: of two that want the same key at once, one gets it", sum(racing) == 30, racing)
        one.agent.service.register("both", service_id="both1", address="192.0.2.1", port=1)
        check("etcd: a service is in the catalog of both", wait(lambda: len(two.catalog.service("both")[1]) == 1))
        entries = lambda: [e["metadata"]["name"] for e in planes[1].ask("GET", "/apis/networking.istio.io/v1/namespaces/skein-system/serviceentries")[1]["items"]]
        check("etcd: whoever leads writes its ServiceEntry", wait(lambda: "registered-both" in entries()), entries())
        planes[0].stop(signal.SIGKILL)
        check("etcd: when one is killed the other goes on", wait(lambda: two.kv.put("alone", "1")) is True and two.kv.get("shared")[1]["Value"] == b"2")
    finally:
        for plane in planes:
            if plane.process.poll() is None:
                plane.stop(signal.SIGKILL)
        etcd.kill()
        etcd.wait(10)


POD = """
apiVersion: v1
kind: Pod
metadata: {name: caller, labels: {app: caller}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: debian, command: [/usr/bin/python3, -m, http.server, "8000", --directory, /usr/share/doc/adduser]}]
---
apiVersion: v1
kind: Service
metadata: {name: caller}
spec: {selector: {app: caller}, ports: [{name: http, port: 80, targetPort: 8000}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: caller}
spec: {rules: [{host: caller.example, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: caller, port: {number: 80}}}}]}}]}
"""

CALL = """
import http.client, sys
for _ in range(int(sys.argv[2])):
    try:
        c = http.client.HTTPConnection(sys.argv[1], timeout=10)
        c.request("GET", "/hello")
        a = c.getresponse()
        print(a.status, a.getheader("x-envoy-upstream-service-time") is not None, a.read().decode())
    except OSError as error:
        print(type(error).__name__)
"""


class Machine:
    """`skein up` in our namespaces, with a pod that calls."""

    def __init__(self):
        self.data = f"{FOLDER}/up"
        os.chmod(FOLDER, 0o755)
        self.skein("up", "--data-dir", self.data, "--images", "host", "--detach", "--registry", "127.0.0.1:8500", timeout=180)
        self.skein("apply", "-f", "-", stdin=POD)
        wait(lambda: "Running" in self.skein("get", "pods").stdout, 60)

    def skein(self, *words, stdin=None, timeout=60):
        return subprocess.run([SKEIN, *words], input=stdin, capture_output=True, text=True, timeout=timeout)

    def pod(self, *words):
        return self.skein("exec", "caller", "--", *words).stdout.strip()

    def names(self, name, kind="A"):
        return sorted(line for line in self.pod("dig", "+short", "+time=5", kind, name).splitlines() if line)

    def call(self, place, count=1):
        return self.pod("/usr/bin/python3", "-c", CALL, place, str(count)).splitlines()

    def stop(self):
        self.skein("down", "--data-dir", self.data, timeout=180)


def programs():
    machine = Machine()
    try:
        done = machine.skein("register", "--help")
        check("command: register explains itself", done.returncode == 0 and "--check-http" in done.stdout)
        backend = serve("0.0.0.0")
        port = backend.server_address[1]
        done = machine.skein("register", "billing", "--port", str(port), "--check-http", f"http://127.0.0.1:{port}/health", "--interval", "1s",
                             "--tag", "v1", "--meta", "protocol=http")
        check("command: register", done.returncode == 0, done.stdout.strip() + done.stderr.strip())
        check("command: services tells that it is well", wait(lambda: "passing" in machine.skein("services").stdout.split("billing", 1)[-1]),
              machine.skein("services").stdout)
        # 127.0.0.1 until the node's agent has said how pods reach this machine.
        address = wait(lambda: [name for name in machine.names("billing.service.consul") if name != "127.0.0.1"])
        check("DNS: a pod finds the service", address and len(address) == 1, address)
        node = machine.skein("get", "nodes", "-o", "name").stdout.split("/")[-1].strip()
        for name in ("v1.billing.service.consul", "billing.service.dc1.consul", f"{node}.node.consul", f"{node}.node.dc1.consul"):
            check(f"DNS: {name.replace(node, 'NODE')}", machine.names(name) == address, machine.names(name))
        for name in ("billing.service.consul", "_billing._tcp.service.consul", "_billing._v1.service.consul"):
            check(f"DNS: SRV of {name}", machine.names(name, "SRV") == [f"1 1 {port} {node}.node.dc1.consul."], machine.names(name, "SRV"))
        check("DNS: no such service is no such name", machine.names("nothing.service.consul") == [] and "NXDOMAIN" in machine.pod("dig", "nothing.service.consul"))
        place = f"billing.service.consul:{port}"
        check("mesh: a pod calls it through its sidecar", wait(lambda: machine.call(place) == ["200 True program /hello"]), machine.call(place))
        second = serve("0.0.0.0", "second")
        machine.skein("register", "billing", "--id", "billing-two", "--port", str(second.server_address[1]), "--meta", "protocol=http")
        both = {"200 True program /hello", "200 True second /hello"}
        check("mesh: its sidecar balances over all instances, whichever port is called", wait(lambda: set(machine.call(place, 20)) == both), machine.call(place, 3))
        gone = free_port()
        machine.skein("register", "billing", "--id", "billing-gone", "--port", str(gone), "--meta", "protocol=http")
        dead = f"billing.service.consul:{gone}"
        check("mesh: the port of an instance that is gone is answered by others", wait(lambda: set(machine.call(dead, 20)) <= both), machine.call(dead, 3))
        answers = machine.call(dead, 40)
        check("mesh: an instance that is gone costs nobody an answer: retries", set(answers) <= both and len(answers) == 40, set(answers))
        machine.skein("deregister", "billing-two")
        check("command: deregister", machine.skein("deregister", "billing-gone").returncode == 0 and "billing-gone" not in machine.skein("services").stdout)
        def back():
            connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
            try:
                connection.request("GET", "/", headers={"Host": "caller.example"})
                return connection.getresponse().status
            except OSError as error:
                return str(error)

        check("mesh: the machine calls the pod back through the gateway", wait(lambda: back() == 200), back())
        backend.status = 500
        check("DNS: an instance that is not well has no name", wait(lambda: machine.names("billing.service.consul") == []), machine.names("billing.service.consul"))
        backend.status = 200
        check("DNS: and has one again", wait(lambda: machine.names("billing.service.consul") == address))
        done = machine.skein("register", "billing", "--remove")
        check("command: register --remove", done.returncode == 0 and wait(lambda: machine.names("billing.service.consul") == []), done.stderr)
        listed = lambda: machine.skein("get", "serviceentries", "-n", "skein-system").stdout
        check("mesh: its ServiceEntry is gone", wait(lambda: "registered-billing" not in listed()), listed())
        file = pathlib.Path(f"{FOLDER}/services.yaml")
        file.write_text("services:\n- {name: one, port: 1001, address: 192.0.2.1}\n- {name: two, port: 1002, address: 192.0.2.1}\n")
        done = machine.skein("register", "-f", str(file))
        check("command: register -f", done.returncode == 0 and {"one", "two"} <= set(machine.skein("services").stdout.split()), done.stderr)
    finally:
        machine.stop()


def main():
    plane = Plane()
    try:
        check("the control plane is ready", wait(lambda: plane.ask("GET", "/readyz")[0] == 200))
        token = plane.token("registrar", [{"apiGroups": ["registry.skein.dev"], "resources": ["*"], "verbs": ["*"]}])
        check("there is a token", token)
        c = consul.Consul(port=plane.registry, token=token)
        c.token = token
        # The client sends no token with coordinates.
        c.http.session.headers["X-Consul-Token"] = token
        for part in (lambda: keys(c, plane), lambda: waiting(c), lambda: sessions(c), lambda: catalogue(c), lambda: agent(c, plane),
                     lambda: access(plane, token), lambda: intentions(c, plane), lambda: refused(c), lambda: restart(c, plane)):
            part()
    finally:
        plane.stop(signal.SIGKILL)
    two_servers()
    if "--no-pods" not in sys.argv:
        programs()
    if not all(results):
        print(pathlib.Path(f"{FOLDER}/plane.log").read_text(errors="replace")[-4000:])


begin = time.time()
try:
    main()
finally:
    shutil.rmtree(FOLDER, ignore_errors=True)
print(f"{sum(results)} of {len(results)} checks, {time.time() - begin:.1f} s")
sys.exit(0 if results and all(results) else 1)
