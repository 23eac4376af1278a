"""What needs pods that run: `kubectl top`, the proxies of pods, services and nodes, ephemeral containers."""
import json
import os
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request

from .lib import Kubectl, check, kubectls, wait
from .streams import PODS, Node, terminal

CORE = "/api/v1/namespaces/default"


def get(one, path, code=0):
    out, errors = one("get", "--raw", path, code=code)
    return out if code == 0 else errors


def attempt(name, body):
    try:
        body()
    except (RuntimeError, KeyError, IndexError, ValueError, AssertionError, OSError) as error:
        said = error.read().decode(errors="replace") if isinstance(error, urllib.error.HTTPError) else ""
        check(name, False, f"{type(error).__name__}: {error} {said}")


def top(one, tag):
    out, _ = one("top", "pods")
    check(f"{tag}: top pods", "CPU(cores)" in out and "box" in out and "Mi" in out, out)
    out, _ = one("top", "pods", "-l", "app=box", "--containers")
    check(f"{tag}: top pods --containers with a label", "main" in out and "second" in out and "echo" not in out, out)
    out, _ = one("top", "pod", "box", "-n", "default")
    check(f"{tag}: top of one pod", "box" in out, out)
    _, errors = one("top", "pod", "nosuch", code=1)
    check(f"{tag}: top of no pod is not found", "not found" in errors.lower(), errors)
    out, _ = one("top", "nodes")
    row = out.splitlines()[1].split()
    check(f"{tag}: top nodes, with percents", "CPU%" in out.replace("(%)", "%") and row[1].endswith("m") and row[2].endswith("%")
          and row[3].endswith("Mi") and row[4].endswith("%"), out)
    found = json.loads(get(one, "/apis/metrics.k8s.io/v1beta1/pods?labelSelector=app%3Dbox"))
    usage = found["items"][0]["containers"][0]["usage"]
    check(f"{tag}: PodMetrics as metrics-server gives them", found["kind"] == "PodMetricsList" and usage["cpu"].endswith("n")
          and usage["memory"].endswith("Ki") and int(usage["memory"][:-2]) > 0 and found["items"][0]["window"].endswith("s"), found)
    out, _ = one("get", "podmetrics")
    check(f"{tag}: a table of metrics", "CPU" in out and "WINDOW" in out, out)


def proxies(one, tag):
    for path in ("pods/box:8000", "pods/http:box:8000", "pods/box", "services/box:80", "services/http:box:80"):
        text = get(one, f"{CORE}/{path}/proxy/")
        check(f"{tag}: {path} is reached", "Directory listing" in text, text[:300])
    errors = get(one, f"{CORE}/services/box:81/proxy/", code=1)
    check(f"{tag}: a port that a service does not have", 'no service port 81 found for service "box"' in errors, errors)
    errors = get(one, f"{CORE}/pods/box:8001/proxy/", code=1)
    check(f"{tag}: a port where nobody listens", "error trying to reach service" in errors, errors)
    errors = get(one, f"{CORE}/pods/ftp:box:80/proxy/", code=1)
    check(f"{tag}: a scheme that is none", "invalid pod request" in errors, errors)
    node = json.loads(one("get", "nodes", "-o", "json")[0])["items"][0]["metadata"]["name"]
    check(f"{tag}: nodes/proxy/healthz", get(one, f"/api/v1/nodes/{node}/proxy/healthz") == "ok")
    check(f"{tag}: nodes/proxy/pods", '"box"' in get(one, f"/api/v1/nodes/{node}/proxy/pods"))
    errors = get(one, f"/api/v1/nodes/{node}/proxy/exec/default/box/main?command=id", code=1)
    check(f"{tag}: nodes/proxy runs no commands", "nothing else" in errors or "could not find" in errors, errors)
    out, _ = one("cluster-info")
    check(f"{tag}: cluster-info", "is running at" in out, out)
    out, _ = one("auth", "can-i", "get", "pods/proxy", "--as=somebody", code=1)
    errors = one("get", "--raw", f"{CORE}/pods/box:8000/proxy/", "--as=somebody", code=1)[1]
    check(f"{tag}: the sub-resource needs its right", "no" in out and 'cannot get resource "pods/proxy"' in errors, (out, errors))


def debugs(one, tag):
    """Containers that join a pod, by `kubectl debug` and, as kubectl 1.20 has it as alpha of another form, by its request."""
    name = f"look{one.minor}"
    if one.minor >= 25:
        one("debug", "box", "--image=debian", "-c", name, "--target=main", "--", "sh", "-c", "echo hello from $PPID; sleep 100000")
    else:
        pod = json.loads(one("get", "pod", "box", "-o", "json")[0])
        known = pod["spec"].get("ephemeralContainers", [])
        body = {"spec": {"ephemeralContainers": [*known, {"name": name, "image": "debian", "targetContainerName": "main", "command": [
            "sh", "-c", "echo hello from $PPID; sleep 100000"]}]}}
        curl(one, "PATCH", f"{CORE}/pods/box/ephemeralcontainers", body)

    def state():
        pod = json.loads(one("get", "pod", "box", "-o", "json")[0])
        found = [s for s in pod["status"].get("ephemeralContainerStatuses", []) if s["name"] == name]
        return found and "running" in found[0]["state"] and pod
    pod = wait("the container that joins", state, 40)
    # A probe may be late on a loaded machine: the container that joins does not keep the pod from being ready.
    check(f"{tag}: a container joins a pod that runs, which stays ready", wait("a ready pod", lambda: all(
        s["ready"] for s in state()["status"]["containerStatuses"]), 40) and pod)
    out = wait("its log", lambda: one("logs", "box", "-c", name)[0])
    check(f"{tag}: its log", "hello from" in out, out)
    out, _ = one("exec", "box", "-c", name, "--", "cat", "/proc/1/cmdline")
    check(f"{tag}: it sees the processes of its target", "SimpleHTTPRequestHandler" in out, out)
    out, _ = one("exec", "box", "-c", name, "--", "python3", "-c", "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000').status)")
    check(f"{tag}: it is in the pod's network", out.strip() == "200", out)
    if one.minor >= 21:
        out, _ = one("describe", "pod", "box")
        check(f"{tag}: describe shows it", "Ephemeral Containers:" in out and name in out, out)
    if one.minor >= 25:
        _, errors = one("debug", "box", "--image=debian", "-c", name + "x", "--target=nosuch", "--", "true", code=1)
        check(f"{tag}: a target that there is not", "targetContainerName: Not found" in errors, errors)
        text, code = terminal([one.program, "--kubeconfig", one.kubeconfig, "debug", "-it", "echo", "--image=debian", "-c", name, "--", "sh"],
                              # What was written before it is attached is not seen.
                              [(b"enter.", b"\n"), (b"#", b"echo a$((40+2))\n"), (b"a42", b"exit\n")], {**os.environ, "HOME": one.home}, 60)
        check(f"{tag}: debug -it is a terminal", "a42" in text, (text, code))
        _, errors = one("debug", "echo", "--copy-to", f"copy{one.minor}", "--image=debian", "-c", "extra", "--share-processes=true", "--", "sleep",
                        "1000", code=1)
        check(f"{tag}: debug --copy-to with shared processes is refused and says what to do", "spec.shareProcessNamespace: Forbidden" in errors
              and "--share-processes=false" in errors, errors)
        one("debug", "echo", "--copy-to", f"copy{one.minor}", "--image=debian", "-c", "extra", "--share-processes=false", "--", "sleep", "1000")
        copy = wait("the copy", lambda: [p for p in [json.loads(one("get", "pod", f"copy{one.minor}", "-o", "json")[0])]
                                         if p["status"].get("phase") == "Running"], 40)
        check(f"{tag}: debug --copy-to", [c["name"] for c in copy[0]["spec"]["containers"]] == ["main", "extra"])
        one("delete", "pod", f"copy{one.minor}", "--wait=false")


def curl(one, method, path, body):
    """A request with the credentials of the kubeconfig, through `kubectl proxy`."""
    process = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=json.dumps(body).encode(), method=method,
                                         headers={"Content-Type": "application/strategic-merge-patch+json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())
    finally:
        process.terminate()
        process.wait(20)


def through_kubectl_proxy(one, tag):
    """`kubectl proxy`, as a browser uses it: redirects, bodies, a WebSocket's upgrade."""
    process = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    try:
        port = int(process.stdout.readline().rsplit(":", 1)[1])
        base = f"http://127.0.0.1:{port}{CORE}"
        with urllib.request.urlopen(f"{base}/pods/box:8000/proxy", timeout=30) as answer:
            check(f"{tag}: without a slash it is sent to the page with one", answer.url.endswith("/proxy/"), answer.url)
        with urllib.request.urlopen(f"{base}/pods/answer:8080/proxy/away", timeout=30) as answer:
            text = answer.read().decode()
            check(f"{tag}: what is sent elsewhere on the pod stays below the proxy", answer.url.endswith("/pods/answer:8080/proxy/here?a=b")
                  and "GET /here?a=b" in text, (answer.url, text))
        data = b"x" * 100_000
        with urllib.request.urlopen(urllib.request.Request(f"{base}/services/answer/proxy/put", data=data, method="PUT"), timeout=30) as answer:
            text = answer.read().decode()
            check(f"{tag}: a body arrives, and no credentials", f"PUT /put {len(data)}" in text and "authorization" not in text.lower()
                  and "x-forwarded-uri: /api/v1/namespaces/default/services/answer/proxy/put" in text.lower(), text)
        with socket.create_connection(("127.0.0.1", port), 30) as stream:
            stream.sendall(f"GET {CORE}/pods/answer:8080/proxy/talk HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: Upgrade\r\n"
                           "Upgrade: echo\r\n\r\n".encode())
            seen = b""
            while b"\r\n\r\n" not in seen:
                seen += stream.recv(4096)
            stream.sendall(b"hello\n")
            rest = seen.split(b"\r\n\r\n", 1)[1]
            while b"\n" not in rest:
                rest += stream.recv(4096)
            check(f"{tag}: an upgraded connection carries both ways", b" 101 " in seen and rest == b"you said hello\n", (seen, rest))
    finally:
        process.terminate()
        process.wait(20)


ANSWER = '''
import http.server
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/here?a=b")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.headers.get("Upgrade") == "echo":
            self.send_response(101)
            self.send_header("Connection", "Upgrade")
            self.send_header("Upgrade", "echo")
            self.end_headers()
            self.wfile.write(b"you said " + self.rfile.readline())
            self.close_connection = True
        else:
            size = int(self.headers.get("Content-Length", 0))
            text = f"{self.command} {self.path} {len(self.rfile.read(size))}\\\\n{self.headers}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
    do_PUT = do_GET
http.server.ThreadingHTTPServer(("", 8080), H).serve_forever()
'''

MORE = """
---
apiVersion: v1
kind: Pod
metadata: {name: answer, labels: {app: answer}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: debian
      command: [python3, -c, SCRIPT]
      ports: [{containerPort: 8080}]
      # A machine that is busy must not take it out of its service.
      readinessProbe: {tcpSocket: {port: 8080}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 30}
---
apiVersion: v1
kind: Service
metadata: {name: answer}
spec: {selector: {app: answer}, ports: [{port: 80, targetPort: 8080}]}
""".replace("SCRIPT", json.dumps(ANSWER.replace("\\\\", "\\")))


def run(plane):
    node = Node(plane.program)
    try:
        programs = kubectls()
        first = Kubectl(programs[0], node.kubeconfig, node.directory.name + "/home")
        first("apply", "-f", "-", stdin=PODS + MORE)
        first("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s", timeout=70)
        wait("endpoints", lambda: "10." in first("get", "endpointslices", "-l", "kubernetes.io/service-name=answer")[0])
        # The newest and the oldest.
        for number, program in enumerate(programs[-2:]):
            one = Kubectl(program, node.kubeconfig, f"{node.directory.name}/home{number}")
            tag = f"kubectl 1.{one.minor}"
            for body in (top, proxies, through_kubectl_proxy, debugs):
                attempt(f"{tag}: {body.__name__}", lambda: body(one, tag))
    finally:
        node.stop()
