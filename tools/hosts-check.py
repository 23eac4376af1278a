#!/usr/bin/python3
"""Tries several machines: network namespaces on one link of 1,500 bytes, a control plane on the first, `skein node` on the others.

Nothing outside of the namespaces that it makes is ever asked: they have no way out. Each check prints one line; the last line is a
summary; the exit status is 1 when a check failed.
usage: hosts-check.py [--short | --ways] [overlay] [host-gw] [wireguard]   (the first two by default)
--short: nothing that waits for a machine to be given up; --ways: what is between the machines, and no sidecars, services and policies, for slow machines.
SKEIN_BINARY names another binary than that of the release build.
"""
import json
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

from check import machines
from check.lib import SKEIN, check, results

# How much longer than on a machine of our own everything may take: kernel-check's is emulated.
PATIENCE = float(os.environ.get("SKEIN_PATIENCE", "1"))
TAG = f"skl{os.getpid() % 100000}"

SERVER = """
import http.server, os, socket, socketserver
class H(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        size = int(self.path[7:]) if self.path.startswith("/bytes/") else 0
        body = b"x" * size if size else (os.environ["NODE"] + " " + self.headers.get("x-forwarded-client-cert", "-")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class S(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    address_family = socket.AF_INET6
S(("::", 8000), H).serve_forever()
"""

# Nobody listens at that port: who says so has had the packet.
WHOLE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)  # IP_MTU_DISCOVER, IP_PMTUDISC_DO
s.settimeout(30)
s.connect((sys.argv[1], 9))
s.send(bytes(int(sys.argv[2])))
try:
    s.recv(1)
except ConnectionRefusedError:
    print("refused there", end="")
try:
    s.send(bytes(int(sys.argv[2]) + 1))
except OSError as error:
    print(", too long here" if error.errno == 90 else f", {error}")
"""


def run(*command, status=0, timeout=120, text=None):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout * PATIENCE, input=text)
    if status is not None and done.returncode != status:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def wait_for(what, body, seconds=60):
    """Awaits a condition; what is not true in time is a failed check with the last value."""
    end = time.time() + seconds * PATIENCE
    value = None
    while time.time() < end:
        try:
            value = body()
        except (RuntimeError, subprocess.SubprocessError, ValueError, KeyError, IndexError) as error:
            value = None
            last = str(error)
        else:
            last = value
            if value:
                return check(what, True)
        time.sleep(0.2)
    return check(what, False, last)


class Host:
    """A machine: a namespace, directories of its own, and what runs there."""

    def __init__(self, number, base):
        self.number = number
        self.namespace = f"{TAG}h{number}"
        self.address = f"192.0.2.{number}"
        self.addresses = f"192.0.2.{number},2001:db8::{number}"
        self.data = f"{base}/data{number}"
        self.run_dir = f"{base}/run{number}"
        self.log = f"{base}/host{number}.log"
        self.process = None
        self.name = f"node-{number}"

    def make(self):
        run("ip", "netns", "add", self.namespace)
        run("ip", "link", "add", f"{TAG}p{self.number}", "netns", f"{TAG}lan", "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "-n", f"{TAG}lan", "link", "set", f"{TAG}p{self.number}", "master", "br0", "up")
        for words in (["link", "set", "lo", "up"], ["link", "set", "eth0", "mtu", "1500", "up"], ["address", "add", f"{self.address}/24", "dev", "eth0"],
                      ["address", "add", f"2001:db8::{self.number}/64", "dev", "eth0", "nodad"]):
            run("ip", "-n", self.namespace, *words)

    def inside(self, *command, **options):
        # Not `ip netns exec`: that hides the control groups, which containers need.
        return run("nsenter", f"--net=/run/netns/{self.namespace}", *command, **options)

    def skein(self, *words, **options):
        return self.inside(SKEIN, *words, "--data-dir", self.data, "--run-dir", self.run_dir, **options)

    def start(self, *words, environment=()):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", "env", *environment, SKEIN, *words, "--data-dir", self.data, "--run-dir", self.run_dir],
                stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)

    def kill(self):
        if self.process:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            self.process = None

    def plug(self, up):
        run("ip", "-n", f"{TAG}lan", "link", "set", f"{TAG}p{self.number}", "up" if up else "down")

    def in_pod(self, uid, *command, **options):
        return run("nsenter", f"--net={self.run_dir}/netns/{uid}", *command, **options)

    def remove(self):
        try:
            self.skein("down", status=None, timeout=120)
        finally:
            self.kill()
            run("ip", "netns", "del", self.namespace, status=None)


def api(host, method, path, body=None, content="application/json"):
    """One request of the first machine's API, as root over its unix socket."""
    words = ["curl", "-sS", "--max-time", str(20 * PATIENCE), "--unix-socket", f"{host.run_dir}/api.sock", "-X", method, f"http://localhost{path}"]
    if body is not None:
        words += ["-H", f"content-type: {content}", "-d", "@-"]
    return json.loads(run(*words, text=None if body is None else json.dumps(body)))


def pod(name, node, labels, plain=False):
    annotations = {"sidecar.istio.io/inject": "false"} if plain else {}
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels, "annotations": annotations},
        "spec": {"nodeName": node, "terminationGracePeriodSeconds": 1, "containers": [
            {"name": "server", "image": "host/python", "command": ["/usr/bin/python3", "-c", SERVER], "env": [{"name": "NODE", "value": node}],
             "ports": [{"name": "http", "containerPort": 8000}], "readinessProbe": {"tcpSocket": {"port": 8000}, "periodSeconds": 1}}]}}


def service(name, selector):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
            "spec": {"selector": selector, "ipFamilyPolicy": "RequireDualStack", "ports": [{"name": "http", "port": 80, "targetPort": 8000}]}}


def laboratory(driver, is_short, is_brief):
    base = tempfile.mkdtemp(prefix="skein-hosts-")
    os.chmod(base, 0o711)  # The control plane is somebody else than root.
    run("ip", "netns", "add", f"{TAG}lan")
    run("ip", "-n", f"{TAG}lan", "link", "add", "br0", "mtu", "1500", "type", "bridge", "forward_delay", "0")
    run("ip", "-n", f"{TAG}lan", "link", "set", "br0", "up")
    hosts = [Host(number, base) for number in (1, 2, 3)]
    try:
        for host in hosts:
            host.make()
        checks(driver, hosts, is_short, is_brief)
    except (RuntimeError, subprocess.SubprocessError, OSError, ValueError, KeyError, IndexError) as error:
        check(f"{driver}: ran to its end", False, f"{type(error).__name__}: {error}")
    finally:
        if any(not good for _, good in results):
            for path in [pathlib.Path(host.log) for host in hosts] + [pathlib.Path(hosts[0].data) / "log" / "control-plane.log"]:
                if path.exists():
                    print(f"--- {path.name}\n" + "".join(path.read_text(errors="replace").splitlines(True)[-30:]))
        for host in reversed(hosts):
            try:
                host.remove()
            except (RuntimeError, subprocess.SubprocessError, OSError) as error:
                check(f"{driver}: {host.name} is removed", False, error)
        run("ip", "netns", "del", f"{TAG}lan", status=None)
        shutil.rmtree(base, ignore_errors=True)


def containers(driver, first, second):
    """A container that a runtime puts on a joined machine with skein-cni, whose call its agent does."""
    box = f"{TAG}box"
    network = {"cniVersion": "1.0.0", "name": TAG, "type": "skein-cni", "bridge": f"{TAG}b", "isGateway": True, "ipMasq": True,
               "ipam": {"type": "host-local", "subnet": "10.240.0.0/24", "dataDir": f"{second.data}/cni"}}
    def call(verb):
        environment = {"CNI_COMMAND": verb, "CNI_CONTAINERID": box, "CNI_NETNS": f"/run/netns/{box}", "CNI_IFNAME": "eth0", "CNI_PATH": "/nowhere",
                       "CNI_ARGS": "IgnoreUnknown=1;K8S_POD_NAMESPACE=my-box;K8S_POD_NAME=my-box"}
        words = ["curl", "-sS", "--max-time", "30", "--unix-socket", f"{second.run_dir}/kubelet.sock", "http://node/cni", "-d", "@-"]
        return json.loads(second.inside(*words, text=json.dumps({"environment": environment, "input": json.dumps(network)})))
    def entries():
        items = api(first, "GET", "/apis/networking.istio.io/v1/namespaces/default/workloadentries")["items"]
        return [(e["spec"]["address"], e["metadata"]["labels"]) for e in items]
    run("ip", "netns", "add", box)
    try:
        answer = call("ADD")
        address = json.loads(answer["output"])["ips"][0]["address"].split("/")[0] if answer["status"] == 0 else str(answer)
        wait_for(f"{driver}: the mesh learns of a container that skein-cni puts on a joined machine",
                 lambda: entries() == [(address, {"skein.dev/container": "my-box", "skein.dev/cni-node": second.name})], 30)
        answer = call("DEL")
        wait_for(f"{driver}: and forgets it", lambda: answer["status"] == 0 and entries() == [], 30)
    finally:
        run("ip", "netns", "del", box)


def agents(driver, first, api, is_short):
    """What only the agent of a joined machine knows, asked through the API of the first one."""
    kubectl = ["kubectl", "--kubeconfig", f"{first.data}/control/kubeconfig"]
    said = first.inside(
        SKEIN, "exec", "--data-dir", first.data, "--run-dir", first.run_dir, "plain-2", "--", "/usr/bin/python3", "-c",
        "import os; print('in', os.environ['NODE'])")
    check(f"{driver}: skein exec on a joined machine", said.strip() == "in node-2", said)
    said = first.inside(*kubectl, "exec", "-i", "plain-3", "--", "cat", text="from the first machine")
    check(f"{driver}: kubectl exec with input on a joined machine", said == "from the first machine", said)
    failed = first.inside(*kubectl, "exec", "plain-3", "--", "/usr/bin/python3", "-c", "raise SystemExit(7)", status=7)
    check(f"{driver}: its exit status arrives", failed == "", failed)
    talker = pod("talker", "node-2", {"app": "talker"}, plain=True)
    talker["spec"]["containers"][0] = {
        "name": "talker", "image": "host/python", "command": ["/usr/bin/python3", "-u", "-c", "import time\nfor n in range(600): print('line', n); time.sleep(0.1)"]}
    api(first, "POST", "/api/v1/namespaces/default/pods", talker)
    wait_for(f"{driver}: kubectl logs of a joined machine", lambda: "line 5\n" in first.inside(*kubectl, "logs", "talker"), 60)
    follower = subprocess.Popen(["nsenter", f"--net=/run/netns/{first.namespace}", "timeout", "60", *kubectl, "logs", "-f", "--tail=1", "talker"],
                                stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    followed = [follower.stdout.readline() for _ in range(6)]
    follower.terminate()
    follower.wait()
    follower.stdout.close()
    check(f"{driver}: kubectl logs -f goes on", all(line.startswith("line ") for line in followed), followed[:3])
    wait_for(f"{driver}: skein logs of a joined machine", lambda: "line 5\n" in first.skein("logs", "talker"), 30)
    forward = subprocess.Popen(
        ["nsenter", f"--net=/run/netns/{first.namespace}", *kubectl, "port-forward", "pod/plain-2", "18000:8000"], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    try:
        wait_for(f"{driver}: kubectl port-forward to a joined machine",
                 lambda: first.inside("curl", "-sS", "--max-time", "5", "http://127.0.0.1:18000/").startswith("node-2"), 30)
    finally:
        forward.terminate()
        forward.wait()
    if is_short:
        api(first, "DELETE", "/api/v1/namespaces/default/pods/talker")
        return
    template = pod("busy", "node-2", {"app": "busy"})
    template["spec"].pop("terminationGracePeriodSeconds")
    api(first, "POST", "/apis/apps/v1/namespaces/default/deployments", {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "busy"},
        "spec": {"selector": {"matchLabels": {"app": "busy"}}, "template": {"metadata": template["metadata"], "spec": template["spec"]}}})
    api(first, "POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers", {
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "busy"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "busy"}, "maxReplicas": 2,
                 "metrics": [{"type": "Pods", "pods": {
                     "metric": {"name": "requests_per_second"}, "target": {"type": "AverageValue", "averageValue": "1000"}}}]}})
    def measured():
        metrics = api(first, "GET", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/busy").get("status", {}).get("currentMetrics", [])
        return [m for m in metrics or [] if "averageValue" in m.get("pods", {}).get("current", {})]
    wait_for(f"{driver}: what a pod of a joined machine gets is measured for its autoscaler", measured, 90)
    for path in ("/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers/busy", "/apis/apps/v1/namespaces/default/deployments/busy",
                 "/api/v1/namespaces/default/pods/talker"):
        api(first, "DELETE", path)


def encrypted(hosts, nodes, ip, ask):
    """What is between the machines, who may take part, and what people see of it."""
    first, second, third = hosts
    def ways(name):
        return [(c["status"], c["message"]) for c in nodes()[name]["status"].get("conditions", []) if c["type"] == "NetworkUnavailable"]
    good = [("False", "the pods of all nodes are reached, by WireGuard")]
    for name in nodes():
        wait_for(f"wireguard: the object of {name} says so", lambda: ways(name) == good, 60)
    modes = [oct(os.stat(f"{host.data}/node/wireguard.key").st_mode & 0o777) for host in hosts]
    check("wireguard: the private keys are root's alone", modes == ["0o600"] * 3, modes)
    rules = "add table inet seen; add chain inet seen in { type filter hook prerouting priority -400; }; "
    pods = "ip saddr 10.244.0.0/16 counter; add rule inet seen in iifname eth0 ip6 saddr fd00:244::/48 counter; "
    second.inside("nft", rules + "add rule inet seen in iifname eth0 " + pods + "add rule inet seen in iifname eth0 udp dport 4789 counter; "
                  "add rule inet seen in iifname eth0 udp dport 51820 counter")
    answer = ask(first, "plain-1", f"http://{ip['plain-2']}:8000/bytes/100000", "-o", "/dev/null", "-w", "%{size_download}")
    counts = [int(line.split("packets ")[1].split()[0]) for line in second.inside("nft", "list chain inet seen in").splitlines() if "packets " in line]
    check("wireguard: what is between the machines is WireGuard and nothing else", answer == "100000" and counts[:3] == [0, 0, 0] and counts[3] > 20,
          (answer, counts))
    # A node whose agent comes back without encryption is not reached, and reaches nobody; with it, it is there again.
    third.kill()
    third.start("node", "--join", "https://192.0.2.1:6443", "--name", third.name, "--images", "host")
    wait_for("wireguard: a node that encrypts nothing is told of", lambda: "node-3 has published no WireGuard key" in ways("node-2")[0][1], 90)
    def silent():
        return [ask(host, who, f"http://{ip[to]}:8000/", seconds=2) for host, who, to in ((second, "plain-2", "plain-3"), (third, "plain-3", "plain-2"))] == ["", ""]
    wait_for("wireguard: and nothing goes to it or comes from it in the clear", silent, 30)
    third.kill()
    os.remove(f"{third.data}/node/wireguard.key")
    third.start("node", "--join", "https://192.0.2.1:6443", "--name", third.name, "--images", "host", "--encrypt", "wireguard")
    wait_for("wireguard: with a new key it is reached again", lambda: ask(second, "plain-2", f"http://{ip['plain-3']}:8000/").startswith("node-3"), 90)
    wait_for("wireguard: and all is well", lambda: ways("node-2") == good, 60)


def partition(driver, hosts, names, address, ip, ready, ask):
    """Who is cut off goes on, is taken out of the services, and comes back by itself."""
    first, second, third = hosts
    third.plug(False)
    wait_for(f"{driver}: a machine that is cut off is not ready", lambda: not ready("node-3"), 90)
    def endpoints():
        slices = api(first, "GET", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices")["items"]
        return {a for s in slices if s["metadata"]["labels"].get("kubernetes.io/service-name") == "plain" for e in s["endpoints"] or []
                if e["conditions"].get("ready", True) for a in e["addresses"]}
    wait_for(f"{driver}: its pods have left their services", lambda: ip["plain-3"] not in endpoints(), 20)
    answers = [ask(second, "plain-2", f"http://{address}/").split(" ")[0] for _ in range(10)]
    check(f"{driver}: the others go on without it", set(answers) == {names[0], "node-2"}, answers)
    third.plug(True)
    wait_for(f"{driver}: after the repair it is ready again", lambda: ready("node-3"), 90)
    wait_for(f"{driver}: and its pods are back in their services", lambda: ip["plain-3"] in endpoints(), 60)
    wait_for(f"{driver}: and are reached", lambda: ask(second, "plain-2", f"http://{ip['plain-3']}:8000/").startswith("node-3"), 30)


RECEIVER = """
import http.server, json, sys
class H(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        for alert in json.loads(self.rfile.read(int(self.headers["content-length"])))["alerts"]:
            print(alert["status"], alert["labels"]["alertname"], alert["labels"].get("node", ""), flush=True)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 9095), H).serve_forever()
"""


class Clock:
    """A machine's clock that can be set: that of its agent, and of what the agent starts."""

    @staticmethod
    def prepare(host):
        library = f"{host.data}.clock.so"
        run("gcc", "-O1", "-shared", "-fPIC", "-o", library, str(pathlib.Path(__file__).parent / "check/clock.c"), "-ldl", "-lm")
        Clock.set(host, 0)
        return [f"LD_PRELOAD={library}", f"SKEIN_CHECK_CLOCK={host.data}.clock"]

    @staticmethod
    def set(host, seconds):
        # In place: who has it mapped sees the change.
        with open(f"{host.data}.clock", "r+b" if os.path.exists(f"{host.data}.clock") else "wb") as file:
            file.write(struct.pack("d", seconds))

    @staticmethod
    def wrong(driver, first, second):
        """The clock of a joined machine goes wrong and is set again: an alert, told once, and its end once."""
        told = f"{first.data}.told"
        with open(told, "wb") as file:
            receiver = subprocess.Popen(["nsenter", f"--net=/run/netns/{first.namespace}", "/usr/bin/python3", "-c", RECEIVER], stdout=file)
        try:
            api(first, "POST", "/api/v1/namespaces/skein-system/configmaps", {
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "skein-alerts"}, "data": {"alertmanager.yaml": json.dumps({
                    "route": {"receiver": "check", "group_by": ["..."], "group_wait": "1s", "group_interval": "1s"},
                    "receivers": [{"name": "check", "webhook_configs": [{"url": "http://127.0.0.1:9095/hook", "send_resolved": True}]}]})}})
            def lines():
                return [line for line in pathlib.Path(told).read_text(encoding="utf-8").splitlines() if "ClockIsWrong" in line]
            Clock.set(second, -5.5)
            wait_for(f"{driver}: ClockIsWrong fires when a machine's clock is wrong by seconds", lambda: lines() == [f"firing ClockIsWrong {second.name}"], 180)
            Clock.set(second, 0)
            wait_for(f"{driver}: and is over when it is right again", lambda: len(lines()) > 1, 120)
            time.sleep(12)
            check(f"{driver}: each was told once", lines() == [f"firing ClockIsWrong {second.name}", f"resolved ClockIsWrong {second.name}"], lines())
        finally:
            receiver.kill()
            receiver.wait()


def served(driver, hosts, names, addresses, services, ask, lookup):
    """Names, services, sidecars and policies over all machines."""
    first, second, _ = hosts
    ip, ip6 = addresses
    address, address6 = services
    for host in hosts:
        wait_for(f"{driver}: names are answered on machine {host.number}", lambda: lookup(host, "plain.default.svc.cluster.local") == [address], 30)
        wait_for(f"{driver}: with IPv6 addresses, by both of its own", lambda: lookup(host, "plain.default.svc.cluster.local", "AAAA") == [address6]
                 == lookup(host, "plain.default.svc.cluster.local", "AAAA", ip6[f"plain-{host.number}"].rsplit(":", 1)[0] + ":1"), 30)
    api(first, "POST", "/apis/networking.istio.io/v1/namespaces/default/serviceentries",
        {"apiVersion": "networking.istio.io/v1", "kind": "ServiceEntry", "metadata": {"name": "outside"},
         "spec": {"hosts": ["api.example.org"], "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}], "resolution": "DNS"}})
    for host in hosts:
        wait_for(f"{driver}: S-17 a host of a ServiceEntry is answered on machine {host.number}",
                 lambda: [a.startswith("240.240.") for a in lookup(host, "api.example.org")] == [True], 30)
    for host in hosts:
        def balanced(written):
            return {ask(host, f"plain-{host.number}", f"http://{written}/").split(" ")[0] for _ in range(30)} == set(names)
        wait_for(f"{driver}: a service balances over all machines, asked from {host.number}", lambda: balanced(address))
        wait_for(f"{driver}: and by its IPv6 address", lambda: balanced(f"[{address6}]"))
    for host in hosts:
        def through_sidecars():
            answers = [ask(host, f"web-{host.number}", "http://web.default.svc.cluster.local/", "--resolve",
                           f"web.default.svc.cluster.local:80:{web}") for _ in range(12)]
            return {a.split(" ")[0] for a in answers} == set(names) and all("spiffe://cluster.local/ns/default/sa/default" in a for a in answers)
        web = api(first, "GET", "/api/v1/namespaces/default/services/web")["spec"]["clusterIPs"][0]
        wait_for(f"{driver}: sidecars speak mTLS over machines, asked from {host.number}", through_sidecars, 60)
        web = "[" + api(first, "GET", "/api/v1/namespaces/default/services/web")["spec"]["clusterIPs"][1] + "]"
        wait_for(f"{driver}: and for connections to its IPv6 address", through_sidecars, 60)
    # curl's 56 (reset) or 52 (empty): no certificate, no answer.
    refused = ask(first, "plain-1", f"http://{ip['web-2']}:8000/")
    check(f"{driver}: without a certificate a STRICT pod of another machine says nothing", not refused.startswith("node-2"), refused)
    refused = ask(first, "plain-1", f"http://[{ip6['web-2']}]:8000/")
    check(f"{driver}: nor by its IPv6 address", not refused.startswith("node-2"), refused)
    api(first, "POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies",
        {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "closed"}, "spec": {
            "podSelector": {"matchLabels": {"app": "plain"}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [{"ipBlock": {"cidr": ip6["plain-1"] + "/128"}}]}]}})
    def answering():
        return [ask(host, f"plain-{host.number}", f"http://{to}:8000/", seconds=2).startswith("node-3") for host in (first, second)
                for to in (ip["plain-3"], f"[{ip6['plain-3']}]")]
    wait_for(f"{driver}: N-1 a policy lets in by one IPv6 address what comes from it, and nothing else", lambda: answering() == [False, True, False, False])
    api(first, "DELETE", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/closed")
    wait_for(f"{driver}: and lets all in when it is gone", lambda: all(answering()))


def checks(driver, hosts, is_short, is_brief):
    first, second, third = hosts
    network = ["--encrypt", "wireguard"] if driver == "wireguard" else ["--network", driver]
    first.start("up", "--images", "host", "--api", "192.0.2.1:6443", "--node-address", first.addresses, *network,
                "--pool", "10.244.0.0/16,fd00:244::/48", "--service-pool", "10.96.0.0/16,fd00:96::/112")
    wait_for(f"{driver}: the first machine is up", lambda: "Ctrl-C" in pathlib.Path(first.log).read_text(), 120)
    first.name = api(first, "GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    wrong = second.inside(
        SKEIN, "node", "--join", "https://192.0.2.1:6443", "--token", "aaaaaa.0123456789abcdef", "--data-dir", second.data, "--run-dir",
        second.run_dir, status=1)
    check(f"{driver}: a token that nobody has made is refused", wrong == "")
    token = first.skein("node", "token").strip()
    for host in (second, third):
        host.start("node", "--join", "https://192.0.2.1:6443", "--token", token, "--name", host.name, "--images", "host", *network,
                   "--node-address", host.addresses)
    def nodes():
        return {n["metadata"]["name"]: n for n in api(first, "GET", "/api/v1/nodes")["items"]}
    def ready(name):
        return [c["status"] for c in nodes()[name].get("status", {}).get("conditions", []) if c["type"] == "Ready"] == ["True"]
    wait_for(f"{driver}: two machines have joined", lambda: ready("node-2") and ready("node-3"))
    blocks = [b for n in nodes().values() for b in n["spec"]["podCIDRs"]]
    check(f"{driver}: each has a block of each family of its own", len(set(blocks)) == 6, blocks)

    names = [first.name, "node-2", "node-3"]
    for host, node in zip(hosts, names):
        if not is_brief:
            api(first, "POST", "/api/v1/namespaces/default/pods", pod(f"web-{host.number}", node, {"app": "web"}))
        api(first, "POST", "/api/v1/namespaces/default/pods", pod(f"plain-{host.number}", node, {"app": "plain", "machine": f"{host.number}"}, plain=True))
    api(first, "POST", "/api/v1/namespaces/default/services", service("web", {"app": "web"}))
    api(first, "POST", "/api/v1/namespaces/default/services", service("plain", {"app": "plain"}))
    api(first, "POST", "/apis/security.istio.io/v1/namespaces/default/peerauthentications",
        {"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "strict"},
         "spec": {"selector": {"matchLabels": {"app": "web"}}, "mtls": {"mode": "STRICT"}}})

    def pods():
        return {p["metadata"]["name"]: p for p in api(first, "GET", "/api/v1/namespaces/default/pods")["items"]}
    def pods_ready(names):
        return all(any(c["type"] == "Ready" and c["status"] == "True" for c in pods()[n]["status"].get("conditions", [])) for n in names)
    everything = [f"{kind}-{n}" for kind in (["plain"] if is_brief else ["web", "plain"]) for n in (1, 2, 3)]
    wait_for(f"{driver}: pods run on all three{'' if is_brief else ', with sidecars'}", lambda: pods_ready(everything), 120)
    found = pods()
    uid = {name: p["metadata"]["uid"] for name, p in found.items()}
    ip = {name: p["status"]["podIP"] for name, p in found.items()}

    def ask(host, who, url, *more, seconds=5):
        return host.in_pod(uid[who], "curl", "-sS", "--max-time", str(seconds * PATIENCE), *more, url, status=None, timeout=seconds + 20)

    ip6 = {name: p["status"]["podIPs"][1]["ip"] for name, p in found.items()}
    def all_reached(written):
        return all(ask(a, f"plain-{a.number}", f"http://{written[f'plain-{b.number}']}:8000/").startswith(names[b.number - 1]) for a in hosts for b in hosts)
    wait_for(f"{driver}: every pod reaches every pod by address", lambda: all_reached(ip))
    wait_for(f"{driver}: and by its IPv6 address", lambda: all_reached({name: f"[{one}]" for name, one in ip6.items()}))

    def lookup(host, name, kind="A", server=None):
        return host.in_pod(uid[f"plain-{host.number}"], "dig", "+short", "+time=2", "+tries=2", f"@{server or gateway(host)}", name, kind,
                           status=None).split()
    def gateway(host):
        return ip[f"plain-{host.number}"].rsplit(".", 1)[0] + ".1"
    address, address6 = api(first, "GET", "/api/v1/namespaces/default/services/plain")["spec"]["clusterIPs"]
    if not is_brief:
        served(driver, hosts, names, (ip, ip6), (address, address6), ask, lookup)

    if driver == "wireguard":
        encrypted(hosts, nodes, ip, ask)
    else:
        machines.ways(driver, first, names[:2], api, wait_for)
    if not is_brief:
        machines.health(driver, hosts, service, api, wait_for)
        agents(driver, first, api, is_short)
        containers(driver, first, second)

    wait_for(f"{driver}: N-14 1 MiB over a link of 1,500 bytes", lambda: ask(
        first, "plain-1", f"http://{ip['plain-3']}:8000/bytes/1048576", "-o", "/dev/null", "-w", "%{size_download}", seconds=20) == "1048576")
    mtu = first.in_pod(uid["plain-1"], "ip", "-o", "link", "show", "eth0", status=None).split(" mtu ")[-1].split(" ")[0]
    payload = {"overlay": 1450, "host-gw": 1500, "wireguard": 1440}[driver] - 28
    whole = first.in_pod(uid["plain-1"], "/usr/bin/python3", "-c", WHOLE, ip["plain-3"], str(payload), status=None)
    check(f"{driver}: N-14 the largest packet passes with don't fragment, and no larger one is sent", whole.strip() == "refused there, too long here",
          f"{whole.strip()}, payload {payload}, mtu {mtu}")

    if not is_short:
        partition(driver, hosts, names, address, ip, ready, ask)

    watch = [] if is_short else Clock.prepare(second)
    # The agent is killed: its pods go on, and the next agent takes them over without the token.
    kept = everything[1]
    before = pods()[kept]["status"]["containerStatuses"][0].get("containerID")
    second.kill()
    wait_for(f"{driver}: pods go on without their agent", lambda: ask(first, "plain-1", f"http://{ip['plain-2']}:8000/").startswith("node-2"))
    second.start("node", "--join", "https://192.0.2.1:6443", "--name", second.name, "--images", "host", *network, environment=watch)
    wait_for(f"{driver}: the next agent takes them over", lambda: pathlib.Path(second.log).read_text().count("is up with") == 2, 60)
    check(f"{driver}: without a restart", pods()[kept]["status"]["containerStatuses"][0].get("containerID") == before)
    wait_for(f"{driver}: names are answered again there", lambda: lookup(second, "plain.default.svc.cluster.local") == [address], 30)

    if not is_short:
        Clock.wrong(driver, first, second)

    # A machine dies for good: its object is deleted, and only then its block is free.
    block = nodes()["node-3"]["spec"]["podCIDRs"][0]
    third.kill()
    third.skein("down", status=None)
    api(first, "DELETE", "/api/v1/nodes/node-3")
    wait_for(f"{driver}: the way to a machine that was removed is gone",
             lambda: block not in second.inside("ip", "route") and "node-3" not in nodes(), 30)
    refused = third.inside(SKEIN, "node", "--join", "https://192.0.2.1:6443", "--name", "node-3", "--data-dir", third.data, "--run-dir", third.run_dir,
                           status=None, timeout=60)
    check(f"{driver}: its certificate is good for nothing any more", "is up with" not in refused, refused)


def main():
    if os.getuid() != 0:
        print("hosts-check: run as root (it makes network namespaces)", file=sys.stderr)
        return 1
    begin = time.time()
    if set(sys.argv[1:]) - {"--short", "--ways", "overlay", "host-gw", "wireguard"}:
        print("usage: hosts-check.py [--short | --ways] [overlay] [host-gw] [wireguard]", file=sys.stderr)
        return 2
    drivers = [word for word in sys.argv[1:] if not word.startswith("--")]
    for driver in drivers or ["overlay", "host-gw"]:
        laboratory(driver, "--short" in sys.argv or "--ways" in sys.argv, "--ways" in sys.argv)
    passed = sum(1 for _, is_good in results if is_good)
    print(f"hosts-check: {passed} passed, {len(results) - passed} failed, {time.time() - begin:.0f} s")
    return 0 if passed == len(results) else 1


sys.exit(main())
