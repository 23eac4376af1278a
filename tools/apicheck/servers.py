"""Two control planes on one etcd, and a node that is connected with the first: kubectl asks the second."""
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

from .lib import Kubectl, check, kubectls, wait

HERE = pathlib.Path(__file__).resolve().parent.parent
SPACE = "skein-servers"
POD = """
apiVersion: v1
kind: Pod
metadata: {name: far, labels: {app: far}}
spec:
  nodeName: far-away
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: debian
      command: [python3, -c, "import http.server as s; print('started', flush=True); s.test(s.SimpleHTTPRequestHandler, port=8000)"]
      workingDir: /tmp
      ports: [{containerPort: 8000, name: http}]
      readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 30}
"""


CLAIM = """
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: kept}
spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 10Mi}}}
"""

HOLDER = """
apiVersion: v1
kind: Pod
metadata: {name: NAME}
spec:
  nodeName: far-away
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: debian, command: [sh, -c, "SCRIPT"], volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: kept}}]
"""


def claims(servers, one):
    """A claim of a pod on a joined machine is a directory there: it outlives the pod, and goes with the claim."""
    def holder(name, script):
        one("apply", "-f", "-", stdin=HOLDER.replace("NAME", name).replace("SCRIPT", script))
    one("apply", "-f", "-", stdin=CLAIM)
    holder("writer", "echo written > /data/f; sleep 100000")
    one("wait", "--for=condition=Ready", "pod/writer", "--timeout=90s", timeout=100)
    volume = json.loads(one("get", "pvc", "kept", "-o", "json")[0])
    name = volume["spec"]["volumeName"]
    place = json.loads(one("get", "pv", name, "-o", "json")[0])["spec"]
    check("claims on a joined machine: bound to a volume there", volume["status"]["phase"] == "Bound" and "far-away" in json.dumps(
        place.get("nodeAffinity", {})), place)
    one("delete", "pod", "writer", "--timeout=60s", timeout=70)
    holder("reader", "cat /data/f; sleep 100000")
    wait("what was written", lambda: "written" in one("logs", "reader", code=None)[0], 90, servers.output)
    check("claims on a joined machine: what a pod has written the next one reads", True)
    one("delete", "pod", "reader", "--timeout=60s", timeout=70)
    one("delete", "pvc", "kept", "--timeout=60s", timeout=70)
    wait("the volume to go", lambda: name not in one("get", "pv", code=None)[0], 90, servers.output)
    left = [str(p) for p in pathlib.Path(servers.directory.name, "data").rglob(name + "*")]
    check("claims on a joined machine: the volume goes with its claim, and so does its directory", not left, left)


def shell(*words):
    subprocess.run(words, check=True, capture_output=True, text=True, timeout=30)


class Servers:
    """Two servers at 192.0.2.1, and a machine at 192.0.2.2 that joins the first one."""

    def __init__(self, program):
        sys.path.insert(0, str(HERE))
        import importlib.util
        spec = importlib.util.spec_from_file_location("bench_api", HERE / "bench-api.py")
        self.bench = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(self.bench)
        self.program, self.planes, self.node = program, [], None
        self.directory = tempfile.TemporaryDirectory(prefix="skein-api-check-node-")
        os.chmod(self.directory.name, 0o755)
        shell("ip", "netns", "add", SPACE)
        shell("ip", "link", "add", "sks0", "type", "veth", "peer", "name", "eth0", "netns", SPACE)
        for words in (["address", "add", "192.0.2.1/24", "dev", "sks0"], ["link", "set", "sks0", "up"]):
            shell("ip", *words)
        for words in (["address", "add", "192.0.2.2/24", "dev", "eth0"], ["link", "set", "eth0", "up"], ["link", "set", "lo", "up"]):
            shell("ip", "-n", SPACE, *words)
        self.etcd = self.bench.Etcd()
        for number in (0, 1):
            more = ["--api", f"192.0.2.1:{6451 + number}", "--pool", "10.245.0.0/16", "--log-level", "info"]
            if number:
                more += ["--encryption-key", self.planes[0].directory + "/control/secrets.key"]
            self.planes.append(self.bench.Plane(program, "etcd=" + self.etcd.url, more))

    def join(self):
        status, body = self.bench.Client(self.planes[0].path, 30).call("POST", "/api/v1/namespaces/kube-system/secrets", {
            "metadata": {"name": "bootstrap-token-abcdef"}, "type": "bootstrap.kubernetes.io/token", "stringData": {
                "token-id": "abcdef", "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true"}})
        if status != 201:
            raise RuntimeError(f"no token: {status} {body[:300]}")
        self.log = open(self.directory.name + "/log", "w+b")
        self.node = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{SPACE}", self.program, "node", "--join", "https://192.0.2.1:6451", "--token", "abcdef.0123456789abcdef",
             "--name", "far-away", "--images", "host", *self.place()], stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL,
            start_new_session=True)

    def place(self):
        return ["--data-dir", self.directory.name + "/data", "--run-dir", self.directory.name + "/run"]

    def output(self):
        self.log.flush()
        words = [(self.directory.name + "/log")] + [plane.log.name for plane in self.planes]
        return "".join(f"\n--- {name}\n" + pathlib.Path(name).read_text(errors="replace")[-2500:] for name in words)

    def stop(self):
        if self.node:
            subprocess.run(["nsenter", f"--net=/run/netns/{SPACE}", self.program, "down", *self.place()], capture_output=True, timeout=120)
            if self.node.poll() is None:
                self.node.send_signal(signal.SIGTERM)
            try:
                self.node.wait(60)
            except subprocess.TimeoutExpired:
                self.node.kill()
                self.node.wait()
        for plane in self.planes:
            plane.stop()
        self.etcd.stop()
        subprocess.run(["ip", "netns", "del", SPACE], capture_output=True)
        self.directory.cleanup()


def asks(one, tag):
    """Everything that only the node's agent knows, asked at the server that it is not connected with."""
    check(f"{tag}: logs", "started" in one("logs", "far")[0])
    check(f"{tag}: exec, with input", one("exec", "-i", "far", "--", "cat", stdin="there and back")[0] == "there and back")
    _, errors = one("exec", "far", "--", "python3", "-c", "raise SystemExit(7)", code=7)
    with tempfile.TemporaryDirectory() as place:
        pathlib.Path(place, "a").write_bytes(os.urandom(300_000))
        one("cp", place + "/a", "far:/tmp/copied")
        one("cp", "far:/tmp/copied", place + "/b")
        check(f"{tag}: cp both ways", pathlib.Path(place, "a").read_bytes() == pathlib.Path(place, "b").read_bytes())
    text, _ = one("get", "--raw", "/api/v1/namespaces/default/pods/far:8000/proxy/")
    check(f"{tag}: proxy of a pod", "Directory listing" in text, text[:200])
    text, _ = one("get", "--raw", "/api/v1/nodes/far-away/proxy/pods")
    check(f"{tag}: proxy of the node", "far" in text, text[:200])

    def top():
        return [row for row in one("top", "pods", code=None)[0].splitlines() if row.startswith("far ")]
    check(f"{tag}: top pods", wait("what the pod uses", top, 60))
    forward = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "port-forward", "pod/far", ":8000"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env={**os.environ, "HOME": one.home})
    try:
        line = forward.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        page = subprocess.run(["curl", "-sS", "--max-time", "30", f"http://127.0.0.1:{found.group(1)}/"], capture_output=True, text=True).stdout
        check(f"{tag}: port-forward", "Directory listing" in page, page[:200])
    finally:
        forward.terminate()
        forward.wait(20)


def relays(servers, number):
    """Connections that a server has made for others, by its figures."""
    status, body = servers.bench.Client(servers.planes[number].path, 30).call("GET", "/metrics")
    found = re.search(r"^skein_control_node_relayed_total (\d+)$", body.decode(), re.M)
    return int(found.group(1)) if found else -1


def refusals(servers, one):
    """Who is no control plane is given no connection to a node, whatever else it may do."""
    base = ["curl", "-sS", "--max-time", "20", "-H", "connection: upgrade", "-H", "upgrade: skein-kubelet", "-o", "/dev/null", "-w", "%{http_code}"]
    url = "https://192.0.2.1:6451/skein/v1/node/relay?server=x&node=far-away"
    nobody = subprocess.run([*base, "-k", url], capture_output=True, text=True).stdout
    import base64
    import yaml
    config = yaml.safe_load(pathlib.Path(one.kubeconfig).read_text())
    place = servers.directory.name
    for name, field in (("cert", "client-certificate-data"), ("key", "client-key-data")):
        pathlib.Path(place, name).write_bytes(base64.b64decode(config["users"][0]["user"][field]))
    admin = subprocess.run([*base, "-k", "--cert", place + "/cert", "--key", place + "/key", url], capture_output=True, text=True).stdout
    asked = subprocess.run([*base, "-k", "--cert", place + "/cert", "--key", place + "/key", "-H", "Impersonate-User: x", "-H",
                            "Impersonate-Group: skein:control-planes", url], capture_output=True, text=True).stdout
    check("ATK-38: who is no control plane is given no connection to a node", (nobody, admin, asked) == ("401", "403", "403"),
          (nobody, admin, asked))


def rotation(servers):
    """A new root of the mesh that one server is told of comes to both, and neither is touched by hand."""
    def authority(plane):
        kept = json.loads(pathlib.Path(plane.directory, "control/mesh-ca.json").read_text())
        return {root["stage"]: root["certificate"] for root in kept["roots"]}, kept["reissue"]
    first = authority(servers.planes[0])
    check("servers: both have one mesh authority", first == authority(servers.planes[1]))
    for number, plane in enumerate(servers.planes[::-1], 1):
        # First at the second server, then at the first: one of them does not lead.
        before = authority(plane)[0]["Signing"]
        answer = subprocess.run([plane.words[0], "certs", "rotate", "--announcement", "5", "--run-dir", plane.directory],
                                capture_output=True, text=True, timeout=60)
        wait("the new root at both", lambda: authority(servers.planes[0]) == authority(servers.planes[1])
             and authority(plane)[1] == number and authority(plane)[0]["Signing"] != before, 90,
             lambda: f"{answer}\n{[authority(p) for p in servers.planes]}\n{servers.output()}")
        check(f"servers: skein certs rotate at one is a new root at both, time {number}", answer.returncode == 0, answer.stderr)


def run(plane):
    begin = time.monotonic()
    servers = Servers(plane.program)
    try:
        servers.join()
        program = kubectls()[-1]
        ones = [Kubectl(program, p.directory + "/control/kubeconfig", f"{servers.directory.name}/home{number}")
                for number, p in enumerate(servers.planes)]
        authority = [pathlib.Path(p.directory, "control/ca.crt").read_text() for p in servers.planes]
        check("servers: both have one authority, and keep it for themselves", authority[0] == authority[1] and all(
            pathlib.Path(p.directory, "control", name).stat().st_mode & 0o777 == 0o600 for p in servers.planes
            for name in ("ca.key", "sa.key", "mesh-ca.json")))
        wait("the node", lambda: "far-away" in ones[1]("get", "nodes", code=None)[0], 60, servers.output)
        ones[1]("apply", "-f", "-", stdin=POD)
        ones[1]("wait", "--for=condition=Ready", "pod/far", "--timeout=90s", timeout=100)
        before = relays(servers, 0)
        asks(ones[1], "servers: at the one without the node")
        check("servers: it asked the one that has it", relays(servers, 0) > before, (before, relays(servers, 0)))
        check("servers: the one with the node answers too", "started" in ones[0]("logs", "far")[0])
        token, _ = ones[0]("create", "token", "default") if ones[0].minor >= 24 else ("", "")
        if token:
            review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token.strip()}}
            status, body = servers.bench.Client(servers.planes[1].path, 30).call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
            check("servers: a token of one is good at the other", json.loads(body)["status"].get("authenticated") is True, body[:300])
        refusals(servers, ones[0])
        rotation(servers)
        claims(servers, ones[1])
        servers.planes[0].kill()
        _, errors = wait("the second to notice", lambda: (found := ones[1]("logs", "far", code=None, timeout=60)) and "does not answer" in found[1]
                         and found, 60)
        check("servers: when its server is gone the node is said to be out of reach", "far-away" in errors, errors)
        servers.planes[0].start()
        wait("logs after a new start", lambda: "started" in ones[1]("logs", "far", code=None, timeout=60)[0], 90, servers.output)
        check("servers: and it is asked again when that is back", True)
    except (RuntimeError, subprocess.SubprocessError, SystemExit) as error:
        check("servers: ran to its end", False, f"{error}{servers.output()}")
    finally:
        servers.stop()
    print(f"     servers: {time.monotonic() - begin:.1f} s", flush=True)
