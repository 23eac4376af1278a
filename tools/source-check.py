#!/usr/bin/python3
"""Tries `skein control-plane --kubeconfig` against a Kubernetes API behind a hostile proxy.

The API is our own in a process of its own, over TLS. The proxy between cuts watches every 2 s, answers 410, sends bookmarks only, hides
custom kinds for 5 s, answers status writes with 409, and lets the token expire. Each check prints one line; the exit status is 1 when one failed.
usage: source-check.py      SKEIN_BINARY names another binary than that of the release build.
"""
import base64
import http.client
import http.server
import json
import os
import pathlib
import shutil
import signal
import socket
import socketserver
import ssl
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKEIN = os.environ.get("SKEIN_BINARY", str(ROOT / ".build/release/skein"))
FOLDER = tempfile.mkdtemp(prefix="skein-source-")
results = []


def check(name, passed, detail=""):
    results.append(bool(passed))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)


def wait(condition, seconds=20):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Process:
    """A control plane with directories of its own."""

    def __init__(self, name, *arguments):
        self.name, self.metrics, self.api = name, free_port(), free_port()
        self.data, self.run = f"{FOLDER}/{name}", f"{FOLDER}/{name}.run"
        os.makedirs(self.run, exist_ok=True)
        os.makedirs(f"{self.data}/control", exist_ok=True)
        self.log = open(f"{FOLDER}/{name}.log", "ab")
        self.process = subprocess.Popen(
            [SKEIN, "control-plane", "--data-dir", self.data, "--run-dir", self.run, "--api", f"127.0.0.1:{self.api}",
             "--metrics", f"127.0.0.1:{self.metrics}", "--log-level", "debug", *arguments],
            stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)

    def end(self, number=signal.SIGTERM):
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.process.wait(20)
        return self.process.returncode

    def text(self):
        return pathlib.Path(f"{FOLDER}/{self.name}.log").read_text(errors="replace")

    def page(self, path="/metrics"):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=5)
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except OSError:
            return ""

    def objects(self, kind, group=""):
        for line in self.page().splitlines():
            if line.startswith(f'skein_control_objects{{kind="{kind}",group="{group}"}} '):
                return int(line.split()[-1])
        return -1

    def is_ready(self):
        return " ready " in self.text() or "] ready" in self.text()


class Upstream:
    """The API behind the proxy, by its kubeconfig."""

    def __init__(self, kubeconfig, port):
        self.port = port
        values = {}
        for line in pathlib.Path(kubeconfig).read_text().splitlines():
            for key in ("certificate-authority-data", "client-certificate-data", "client-key-data"):
                if f"{key}: " in line:
                    values[key] = base64.b64decode(line.split(": ", 1)[1])
        for key, value in values.items():
            pathlib.Path(f"{FOLDER}/{key}").write_bytes(value)
        self.context = ssl.create_default_context(cafile=f"{FOLDER}/certificate-authority-data")
        self.context.load_cert_chain(f"{FOLDER}/client-certificate-data", f"{FOLDER}/client-key-data")

    def connect(self, timeout=30):
        return http.client.HTTPSConnection("127.0.0.1", self.port, context=self.context, timeout=timeout)

    def ask(self, method, path, body=None, kind="application/json"):
        connection = self.connect()
        connection.request(method, path, json.dumps(body) if body is not None else None, {"content-type": kind, "accept": "application/json"})
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        return answer.status, json.loads(text) if text else None


class Hostility:
    """What the proxy does to those who ask."""

    def __init__(self):
        self.cut_after = None       # seconds after which a watch is cut in the middle
        self.forget = 0             # so many watches are answered with 410, in turns as an event
        self.hidden = ()            # groups that are not there
        self.conflicts = 0          # so many status writes get 409
        self.tokens = None          # the tokens that are good; None: not looked at
        self.bookmarks_only = ()    # plurals whose watches bring bookmarks and nothing else
        self.moved = set()          # names of the objects that went by as bookmarks
        self.stripped = ()          # plurals whose objects lose their status on the way
        self.lists = {}             # how often each kind was listed
        self.counts = {"watch": 0, "cut": 0, "410": 0, "404": 0, "409": 0, "401": 0, "status": 0}
        self.lock = threading.Lock()

    def count(self, name):
        with self.lock:
            self.counts[name] += 1


def status(code, reason, message):
    return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code, "reason": reason, "message": message}


def strip(value):
    """The object, event or list without any status."""
    for part in (value, value.get("object", {}), *value.get("items", [])):
        if part.get("kind") != "Status":
            part.pop("status", None)
    return value


def serve(upstream, hostility, certificate):
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def say(self, code, body):
            text = json.dumps(body).encode()
            self.send_response(code)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def handle_any(self):
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(length) if length else None
            token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
            if hostility.tokens is not None and token not in hostility.tokens:
                hostility.count("401")
                return self.say(401, status(401, "Unauthorized", "Unauthorized"))
            if any(self.path.startswith(f"/apis/{group}/") for group in hostility.hidden):
                hostility.count("404")
                return self.say(404, status(404, "NotFound", "the server could not find the requested resource"))
            if self.command == "PATCH" and "/status" in self.path and hostility.conflicts > 0:
                hostility.conflicts -= 1
                hostility.count("409")
                return self.say(409, status(409, "Conflict", "the object has been modified"))
            if "watch=true" in self.path:
                return self.watch()
            plural = self.path.split("?")[0].split("/")[-1]
            if self.command == "GET" and "limit=" in self.path:
                with hostility.lock:
                    hostility.lists[plural] = hostility.lists.get(plural, 0) + 1
            connection = upstream.connect()
            connection.request(self.command, self.path, body, {k: v for k, v in self.headers.items() if k.lower() in ("content-type", "accept")})
            answer = connection.getresponse()
            text = answer.read()
            connection.close()
            if self.command == "PATCH" and self.path.endswith("/status") and answer.status == 200:
                hostility.count("status")
            if self.command == "GET" and any(f"/{name}" in self.path for name in hostility.stripped):
                text = json.dumps(strip(json.loads(text))).encode()
            self.send_response(answer.status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def watch(self):
            hostility.count("watch")
            plural = self.path.split("?")[0].split("/")[-1]
            with hostility.lock:
                forget = hostility.forget
                if forget:
                    hostility.forget -= 1
                    hostility.counts["410"] += 1
            if forget and forget % 2:
                return self.say(410, status(410, "Expired", "too old resource version"))
            connection = upstream.connect(timeout=1)
            path = self.path
            connection.request("GET", path, headers={"accept": "application/json"})
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            begin = time.time()

            def chunk(data):
                self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
                self.wfile.flush()
            try:
                if forget:
                    chunk(json.dumps({"type": "ERROR", "object": status(410, "Expired", "too old")}).encode() + b"\n")
                    chunk(b"")
                    return
                answer = None
                while answer is None:
                    try:
                        answer = connection.getresponse()
                    except TimeoutError:
                        if hostility.cut_after and time.time() - begin > hostility.cut_after:
                            raise ConnectionResetError
                        continue
                if answer.status != 200:
                    self.close_connection = True
                    chunk(json.dumps({"type": "ERROR", "object": json.loads(answer.read())}).encode() + b"\n")
                    chunk(b"")
                    return
                rest = b""
                while True:
                    if hostility.cut_after and time.time() - begin > hostility.cut_after:
                        raise ConnectionResetError
                    connection.sock.settimeout(0.2)
                    try:
                        piece = answer.read1(65536)
                    except TimeoutError:
                        continue
                    if not piece:
                        break
                    rest += piece
                    *lines, rest = rest.split(b"\n")
                    for line in lines:
                        if plural in hostility.bookmarks_only and line:
                            event = json.loads(line)
                            hostility.moved.add(event["object"]["metadata"].get("name"))
                            line = json.dumps({"type": "BOOKMARK", "object": {
                                "kind": event["object"].get("kind"), "apiVersion": event["object"].get("apiVersion"),
                                "metadata": {"resourceVersion": event["object"]["metadata"]["resourceVersion"]}}}).encode()
                        if plural in hostility.stripped and line:
                            line = json.dumps(strip(json.loads(line))).encode()
                        chunk(line + b"\n")
                chunk(b"")
            except (OSError, ValueError, http.client.HTTPException):
                # In the middle of it, as networks do.
                hostility.count("cut")
                self.close_connection = True
            finally:
                connection.close()

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = handle_any

    class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
        daemon_threads = True
        request_queue_size = 256

        def handle_error(self, *_):
            pass

    server = Server(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def make_certificate():
    certificate, key = f"{FOLDER}/proxy.crt", f"{FOLDER}/proxy.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=hostile",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def kubeconfig(port, authority, user, name="kubeconfig"):
    path = f"{FOLDER}/{name}"
    data = base64.b64encode(pathlib.Path(authority).read_bytes()).decode()
    pathlib.Path(path).write_text(json.dumps({
        "current-context": "c", "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": data}}],
        "users": [{"name": "u", "user": user}]}))
    return path


def service(name):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}}


GATEWAY = {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "g"},
           "spec": {"gatewayClassName": "skein", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]}}
GATEWAYS = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"
SERVICES = "/api/v1/namespaces/default/services"
LEASE = "/apis/coordination.k8s.io/v1/namespaces/skein-system/leases/skein-control-plane"


def refuses():
    path = kubeconfig(1, certificate[0], {"exec": {"command": "aws"}}, "exec.kubeconfig")
    plugin = Process("exec", "--kubeconfig", path)
    code = plugin.process.wait(20)
    check("an exec plugin is refused with what to do instead", code == 1 and "tokenFile" in plugin.text(), plugin.text().strip().splitlines()[-1:])


def starts():
    hostility.hidden = ("gateway.networking.k8s.io", "networking.istio.io")
    begin = time.time()
    one = Process("one", "--kubeconfig", path)
    check("it serves although custom kinds are missing", wait(one.is_ready), f"{time.time() - begin:.1f} s")
    check("what there is it knows", one.objects("Service") == upstream_count(SERVICES.replace("/namespaces/default", "")), one.objects("Service"))
    upstream.ask("POST", GATEWAYS, GATEWAY)
    time_left = 5 - (time.time() - begin)
    wait(lambda: time.time() - begin > 5, max(time_left, 0) + 1)
    check("and does not know what is hidden", one.objects("Gateway", "gateway.networking.k8s.io") == 0, one.objects("Gateway", "gateway.networking.k8s.io"))
    hostility.conflicts, hostility.stripped = 3, ("gateways",)
    hostility.hidden = ()
    check("custom kinds that come 5 s late are found", wait(lambda: one.objects("Gateway", "gateway.networking.k8s.io") >= 1), one.objects("Gateway", "gateway.networking.k8s.io"))
    return one


def upstream_count(path):
    return len(upstream.ask("GET", path)[1]["items"])


def statuses(one):
    # The API's own control plane writes them, too: what comes through the proxy is counted.
    check("a status is written back although the first tries get 409", wait(lambda: hostility.counts["status"] >= 1) and hostility.counts["409"] == 3,
          f"{hostility.counts['409']} times 409, {hostility.counts['status']} written")


def cut(one):
    hostility.cut_after = 2
    lists = hostility.lists["services"]
    names = set()
    for number in range(40):
        name = f"s{number}"
        assert upstream.ask("POST", SERVICES, service(name))[0] == 201
        names.add(name)
        if number % 4 == 3:
            upstream.ask("DELETE", f"{SERVICES}/s{number - 2}")
            names.discard(f"s{number - 2}")
        time.sleep(0.15)
    wanted = upstream_count("/api/v1/services")
    check("with watches cut every 2 s nothing is missed", wait(lambda: one.objects("Service") == wanted), f"{one.objects('Service')} of {wanted}")
    check("watches were cut and went on where they were, without a list",
          hostility.counts["cut"] > 10 and hostility.lists["services"] == lists, f"{hostility.counts['cut']} cuts, {hostility.lists['services'] - lists} lists")
    hostility.cut_after = None


def forgotten(one):
    lists = hostility.lists["services"]
    hostility.cut_after, hostility.forget = 1, 80
    for number in range(10):
        upstream.ask("POST", SERVICES, service(f"f{number}"))
        upstream.ask("DELETE", f"{SERVICES}/f{number - 1}")
        time.sleep(0.3)
    wait(lambda: hostility.forget == 0, 30)
    hostility.cut_after = None
    wanted = upstream_count("/api/v1/services")
    check("a server that has forgotten (410, as answer and as event) is listed anew, and nothing is missed",
          wait(lambda: one.objects("Service") == wanted) and hostility.lists["services"] > lists,
          f"{one.objects('Service')} of {wanted}, {hostility.counts['410']} times 410, {hostility.lists['services'] - lists} lists")


def bookmarks(one):
    hostility.cut_after = 1
    hostility.bookmarks_only = ("configmaps",)
    lists = hostility.lists["configmaps"]
    for number in range(4):
        upstream.ask("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": f"b{number}"}})
        time.sleep(0.7)
    # A watch that was cut is opened again after a pause: until then nothing goes by.
    wait(lambda: {f"b{number}" for number in range(4)} <= hostility.moved, 40)
    before = one.objects("ConfigMap")
    hostility.bookmarks_only = ()
    upstream.ask("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "after"}})
    check("a place that bookmarks have moved is taken up there, without a list",
          wait(lambda: one.objects("ConfigMap") == before + 1) and hostility.lists["configmaps"] == lists, f"{before} then {one.objects('ConfigMap')}")
    hostility.cut_after = None


def tokens(one):
    pathlib.Path(token_file).write_text("second\n")
    hostility.tokens = {"second"}
    hostility.cut_after = 1
    refused = hostility.counts["401"]
    upstream.ask("POST", SERVICES, service("token"))
    wanted = upstream_count("/api/v1/services")
    check("a token that has expired is read again from its file", wait(lambda: one.objects("Service") == wanted), f"{hostility.counts['401'] - refused} times 401")
    hostility.tokens = {"third"}
    check("a token that is good no more is told", wait(lambda: "401" in one.text(), 30))
    upstream.ask("POST", SERVICES, service("late"))
    pathlib.Path(token_file).write_text("third\n")
    wanted = upstream_count("/api/v1/services")
    check("and all is well again with the next one", wait(lambda: one.objects("Service") == wanted, 40), f"{one.objects('Service')} of {wanted}")
    hostility.cut_after = None


def holder():
    code, lease = upstream.ask("GET", LEASE)
    return lease["spec"]["holderIdentity"] if code == 200 else None


def election(one):
    check("one holds the Lease", wait(lambda: bool(holder())), holder())
    first = holder()
    two = Process("two", "--kubeconfig", path)
    check("a second control plane serves, too", wait(two.is_ready))
    check("and leaves the writing to the first", holder() == first and "this control plane writes" not in two.text())
    one.end(signal.SIGKILL)
    begin = time.time()
    covered = wait(lambda: holder() not in (first, None, ""), 15)
    check("the death of the writer is covered within 5 s", covered and time.time() - begin <= 5, f"{time.time() - begin:.1f} s")
    written = hostility.counts["status"]
    upstream.ask("PATCH", f"{GATEWAYS}/g", {"metadata": {"annotations": {"a": "b"}}}, "application/merge-patch+json")
    check("what the dead one cannot write the other writes", wait(lambda: hostility.counts["status"] > written))
    check("it ends when it is told", two.end() == 0 and wait(lambda: holder() == "", 5), holder())


certificate = make_certificate()
api = Process("api")
try:
    if not wait(lambda: os.path.exists(f"{api.data}/control/kubeconfig") and api.is_ready()):
        raise SystemExit("the API does not start:\n" + api.text()[-3000:])
    upstream, hostility = Upstream(f"{api.data}/control/kubeconfig", api.api), Hostility()
    port = serve(upstream, hostility, certificate)
    token_file = f"{FOLDER}/token"
    pathlib.Path(token_file).write_text("first\n")
    hostility.tokens = {"first"}
    path = kubeconfig(port, certificate[0], {"tokenFile": "token"})
    refuses()
    one = starts()
    statuses(one)
    cut(one)
    forgotten(one)
    bookmarks(one)
    tokens(one)
    election(one)
finally:
    for name in list(globals().values()):
        if isinstance(name, Process):
            name.end(signal.SIGKILL)
    if not all(results):
        for log in sorted(pathlib.Path(FOLDER).glob("one.log")):
            print(f"--- {log.name}\n" + "".join(log.read_text(errors="replace").splitlines(True)[-30:]))
    shutil.rmtree(FOLDER, ignore_errors=True)
print(f"source-check: {sum(results)} passed, {len(results) - sum(results)} failed")
sys.exit(0 if all(results) and results else 1)
