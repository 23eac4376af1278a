#!/usr/bin/python3
"""Service addresses with few and with many services: how long one changed endpoint takes to get into the kernel's rules, and what a
connection to a service costs.

`skein up` in a network namespace of its own gets N services without selector, each with ten endpoints. A change is one EndpointSlice
patched through the API; it has arrived when the kernel tells of rules with the new address. A connection is opened, and reset, from
the namespace of one pod to a service whose endpoint is another pod; its cost is the time of a row of them, one after the other.

Each round ends with what the control plane, the node's agent and the gateway's proxy hold, and the CPU they took since the round before.

With --policies as many NetworkPolicies select the pod that is connected to, each of which lets another address in: what a connection to it
costs then, and how long a changed policy takes to get into the kernel's rules.

usage: bench-services.py [--services 10 1000 10000] [--policies 1 1000] [--changes 20] [--connections 20000] [--seconds 900]
"""
import argparse
import concurrent.futures
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

from check.lib import SKEIN, run

TAG = f"skb{os.getpid() % 100000}"
ENDPOINTS = 10
FRESH = (f"172.31.{250 + (number >> 8)}.{number & 255}" for number in range(1, 1500))

# Argument: listen PORT, or connect ADDRESS PORT COUNT, which prints nanoseconds a connection.
PROGRAM = r"""
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
int main(int argc, char **argv) {
    int listens = argc == 3;
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[listens ? 2 : 3]))};
    if (listens) {
        int one = 1, s = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
        if (bind(s, (struct sockaddr *)&a, sizeof a) || listen(s, 4096)) return 1;
        for (;;) { int c = accept(s, 0, 0); if (c >= 0) close(c); }
    }
    if (argc != 5 || inet_pton(AF_INET, argv[2], &a.sin_addr) != 1) return 2;
    int count = atoi(argv[4]);
    struct linger reset = {1, 0};
    struct timespec begin, end;
    clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < count; i++) {
        int s = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(s, (struct sockaddr *)&a, sizeof a)) { perror("connect"); return 1; }
        setsockopt(s, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        close(s);
    }
    clock_gettime(CLOCK_MONOTONIC, &end);
    printf("%.0f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / count);
    return 0;
}
"""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=60)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self.path)


class Plane:
    """`skein up` in a namespace, its API by its unix socket."""

    def __init__(self, base):
        self.base, self.local, self.slowest = base, threading.local(), 0
        self.words = ["--data-dir", f"{base}/data", "--run-dir", f"{base}/run"]
        self.log = open(f"{base}/log", "ab")
        run("ip", "netns", "add", TAG)
        run("ip", "-n", TAG, "link", "set", "lo", "up")
        self.process = subprocess.Popen(
            self.enter(SKEIN, "up", "--images", "host", *self.words), stdout=self.log, stderr=self.log, stdin=subprocess.DEVNULL)
        self.until(lambda: "Ctrl-C" in pathlib.Path(f"{base}/log").read_text(), "skein up")

    @staticmethod
    def enter(*command):
        return ["nsenter", f"--net=/run/netns/{TAG}", *command]

    @staticmethod
    def until(body, what, seconds=120):
        end = time.monotonic() + seconds
        while not body():
            if time.monotonic() > end:
                raise RuntimeError(f"{what} did not come within {seconds} s")
            time.sleep(0.05)

    def api(self, method, path, body=None, content="application/json"):
        # The server ends connections that nobody uses: after a pause there is a new one.
        if time.monotonic() - getattr(self.local, "used", 0) > 5:
            self.local.connection = UnixConnection(f"{self.base}/run/api.sock")
        self.local.used = begin = time.monotonic()
        self.local.connection.request(method, path, json.dumps(body) if body else None, {"content-type": content})
        answer = self.local.connection.getresponse()
        text = answer.read()
        self.slowest = max(self.slowest, time.monotonic() - begin)
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def agent_cpu(self):
        """CPU seconds of the process that writes the rules."""
        return self.cost(self.process.pid)[0]

    @staticmethod
    def cost(pid):
        """CPU seconds of a process, and MiB that it holds."""
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    def processes(self):
        """The agent, its control plane, and the proxy in the gateway's pod."""
        found = {"agent": self.process.pid}
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in children:
            if b"control-plane" in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                found["control plane"] = int(pid)
        for path in pathlib.Path("/proc").glob("[0-9]*/net"):
            try:
                if path.parent.joinpath("comm").read_text().strip() == "skein-proxy" and self.gateway_namespace() == path.parent.joinpath("ns/net").stat().st_ino:
                    found["gateway"] = int(path.parent.name)
            except OSError:
                continue  # It has ended meanwhile.
        return found

    def gateway_namespace(self):
        """The inode of the gateway pod's network namespace."""
        if not getattr(self, "gateway", None):
            pods = self.api("GET", "/api/v1/namespaces/skein-system/pods?labelSelector=istio%3Dingressgateway")["items"]
            self.gateway = os.stat(f"{self.base}/run/netns/{pods[0]['metadata']['uid']}").st_ino if pods else None
        return self.gateway

    def serves(self, endpoint):
        """Whether a rule leads to the endpoint; to list the whole table would take seconds."""
        element = f"{{ {endpoint} . {endpoint} }}"
        return subprocess.run(
            self.enter("nft", "get", "element", "inet", "skein_service", "hairpin4", element), capture_output=True).returncode == 0

    def close(self):
        self.process.terminate()
        try:
            self.process.wait(60)
        finally:
            subprocess.run(self.enter(SKEIN, "down", *self.words), capture_output=True)
            run("ip", "netns", "del", TAG, status=None)


def address(number, endpoint):
    """Of an endpoint that nobody has to reach."""
    value = number * ENDPOINTS + endpoint
    return f"172.{16 + (value >> 16)}.{value >> 8 & 255}.{value & 255}"


def service(plane, number):
    name = f"s{number}"
    plane.api("POST", "/api/v1/namespaces/many/services", {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}})
    plane.api("POST", "/apis/discovery.k8s.io/v1/namespaces/many/endpointslices", {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
        "metadata": {"name": f"{name}-0", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": 8000, "protocol": "TCP"}],
        "endpoints": [{"addresses": [address(number, index)], "conditions": {"ready": True}} for index in range(ENDPOINTS)]})


def pod(name):
    return {
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}, "annotations": {"sidecar.istio.io/inject": "false"}},
        "spec": {"terminationGracePeriodSeconds": 1, "containers": [
            {"name": "sleeper", "image": "host/python", "command": ["/usr/bin/python3", "-c", "import time; time.sleep(100000)"]}]}}


class Monitor:
    """Tells when an address has come into the kernel's rules, by the kernel's own messages about them.

    `nft monitor` would read all that there is before it listens: with 10,000 services longer than a change takes.
    """

    NETLINK_NETFILTER, NFNLGRP_NFTABLES, SOL_NETLINK, ADD_MEMBERSHIP, SO_RCVBUFFORCE = 12, 7, 270, 1, 33

    def __init__(self):
        self.seen, self.arrived, self.wanted = {}, threading.Condition(), None
        opened = threading.Event()
        threading.Thread(target=self.listen, args=(opened,), daemon=True).start()
        if not opened.wait(10):
            raise RuntimeError("the kernel's messages about rules cannot be read")

    def listen(self, opened):
        # This thread stays in the namespace; nothing else does.
        with open(f"/run/netns/{TAG}") as namespace:
            if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), 0x40000000):
                raise OSError(ctypes.get_errno(), "setns")
        self.socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, self.NETLINK_NETFILTER)
        self.socket.setsockopt(socket.SOL_SOCKET, self.SO_RCVBUFFORCE, 64 << 20)
        self.socket.bind((0, 0))
        self.socket.setsockopt(self.SOL_NETLINK, self.ADD_MEMBERSHIP, self.NFNLGRP_NFTABLES)
        opened.set()
        while True:
            message = self.socket.recv(1 << 20)
            with self.arrived:
                if self.wanted and socket.inet_aton(self.wanted) in message:
                    self.seen.setdefault(self.wanted, time.monotonic())
                    self.arrived.notify_all()

    def wait(self, address, seconds):
        with self.arrived:
            return self.arrived.wait_for(lambda: address in self.seen, seconds)

    def want(self, address):
        with self.arrived:
            self.wanted = address


def rounds(plane, monitor, count, total, seconds):
    """Milliseconds from the patch of a slice until the rule is there, and CPU milliseconds of the agent for it."""
    times, before, end = [], plane.agent_cpu(), time.monotonic() + seconds
    for index in range(count):
        # No address twice, also not in the next round: nothing would change.
        number, fresh = (index * 7919) % total, next(FRESH)
        path = f"/apis/discovery.k8s.io/v1/namespaces/many/endpointslices/s{number}-0"
        endpoints = [{"addresses": [address(number, at)], "conditions": {"ready": True}} for at in range(1, ENDPOINTS)]
        monitor.want(fresh)
        begin = time.monotonic()
        plane.api("PATCH", path, {"endpoints": endpoints + [{"addresses": [fresh], "conditions": {"ready": True}}]},
                  "application/merge-patch+json")
        if not monitor.wait(fresh, max(1, end - time.monotonic())):
            raise RuntimeError(f"the change of s{number} did not arrive")
        times.append((monitor.seen[fresh] - begin) * 1000)
        time.sleep(0.2)
        if time.monotonic() > end:
            break
    return sorted(times), (plane.agent_cpu() - before) * 1000 / len(times)


def policy(number, address):
    """Lets an address in to the server, and with the first one the client."""
    more = [{"podSelector": {"matchLabels": {"app": "client"}}}] if number == 0 else []
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": f"p{number}"}, "spec": {
        "podSelector": {"matchLabels": {"app": "server"}}, "policyTypes": ["Ingress"],
        "ingress": [{"from": [{"ipBlock": {"cidr": f"{address}/32"}}, *more], "ports": [{"port": 9000, "protocol": "TCP"}]}]}}


def policies(plane, monitor, have, total, changes):
    """Makes policies up to that number; milliseconds until the last is in the kernel, those of changed ones, CPU milliseconds of the agent for one."""
    path = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies"
    begin = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: plane.api("POST", path, policy(number, address(20_000 + number, 0))), range(have, total - 1)))
    last = next(FRESH)
    monitor.want(last)
    plane.api("POST", path, policy(total - 1, last))
    if not monitor.wait(last, 120):
        raise RuntimeError("the last policy did not arrive")
    made = time.monotonic() - begin
    time.sleep(2)
    times, before = [], plane.agent_cpu()
    for _ in range(changes):
        fresh = next(FRESH)
        monitor.want(fresh)
        begin = time.monotonic()
        plane.api("PATCH", f"{path}/p{total - 1}", {"spec": policy(total - 1, fresh)["spec"]}, "application/merge-patch+json")
        if not monitor.wait(fresh, 60):
            raise RuntimeError("a changed policy did not arrive")
        times.append((monitor.seen[fresh] - begin) * 1000)
        time.sleep(0.2)
    return made, sorted(times), (plane.agent_cpu() - before) * 1000 / len(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[10, 1000, 10_000])
    parser.add_argument("--policies", type=int, nargs="*", default=[])
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--connections", type=int, default=20_000)
    parser.add_argument("--seconds", type=int, default=900, help="in which the services of a round have to be made and served")
    options = parser.parse_args()
    # Ended from outside it cleans up, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    base = tempfile.mkdtemp(prefix="skein-bench-services-")
    os.chmod(base, 0o711)
    (pathlib.Path(base) / "connect.c").write_text(PROGRAM)
    run("gcc", "-O2", "-o", f"{base}/connect", f"{base}/connect.c")
    plane, servers = None, []
    try:
        plane = Plane(base)
        plane.api("POST", "/api/v1/namespaces", {"metadata": {"name": "many"}})
        uid = {}
        for name in ("client", "server"):
            uid[name] = plane.api("POST", "/api/v1/namespaces/default/pods", pod(name))["metadata"]["uid"]
        plane.api("POST", "/api/v1/namespaces/default/services", {
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "server"},
            "spec": {"selector": {"app": "server"}, "ports": [{"port": 80, "targetPort": 9000}]}})
        target = plane.api("GET", "/api/v1/namespaces/default/services/server")["spec"]["clusterIP"]
        pods = {n: f"--net={base}/run/netns/{uid[n]}" for n in uid}
        plane.until(lambda: all(plane.api("GET", f"/api/v1/namespaces/default/pods/{n}")["status"].get("phase") == "Running" for n in uid), "the pods")
        direct = plane.api("GET", "/api/v1/namespaces/default/pods/server")["status"]["podIP"]
        servers.append(subprocess.Popen(["nsenter", pods["server"], f"{base}/connect", "listen", "9000"]))
        plane.until(lambda: plane.serves(direct), "the rules of the service")
        have, spent, monitor = 0, {}, Monitor()
        for total in options.services:
            begin, plane.slowest = time.monotonic(), 0
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda number: service(plane, number), range(have, total)))
            have = max(have, total)
            made, slowest = time.monotonic() - begin, plane.slowest
            plane.until(lambda: plane.serves(address(total - 1, 0)), "the rules of all services", max(1, options.seconds - made))
            whole = time.monotonic() - begin
            time.sleep(3)
            times, cpu = rounds(plane, monitor, options.changes, total, 60)
            # Rounds take turns; the least is what the rules cost, the rest is what else the machine did.
            costs = {"pod": [], "service": []}
            for _ in range(5):
                for name, words in (("pod", [direct, "9000"]), ("service", [target, "80"])):
                    costs[name].append(int(run("nsenter", pods["client"], f"{base}/connect", "connect", *words, str(options.connections))))
            print(f"{total} services: made in {made:.1f} s (one request {slowest * 1000:.0f} ms at most), served after {whole:.1f} s; a changed endpoint: median {statistics.median(times):.1f} ms, "
                  f"most {times[-1]:.1f} ms, CPU {cpu:.1f} ms; a connection: {min(costs['service'])} ns by the service, {min(costs['pod'])} ns to the pod "
                  f"(medians {int(statistics.median(costs['service']))}, {int(statistics.median(costs['pod']))})", flush=True)
            now = {name: plane.cost(pid) for name, pid in plane.processes().items()}
            print("  " + "; ".join(f"{name}: {mib:.0f} MiB, {cpu - spent.get(name, 0):.1f} s of CPU" for name, (cpu, mib) in now.items()), flush=True)
            spent = {name: cpu for name, (cpu, _) in now.items()}
        have = 0
        for total in options.policies:
            made, times, cpu = policies(plane, monitor, have, total, options.changes)
            have = total
            costs = [int(run("nsenter", pods["client"], f"{base}/connect", "connect", direct, "9000", str(options.connections))) for _ in range(5)]
            print(f"{total} policies of one pod: in force after {made:.1f} s; a changed one: median {statistics.median(times):.1f} ms, most {times[-1]:.1f} ms, CPU {cpu:.1f} ms; "
                  f"a connection to the pod: {min(costs)} ns (median {int(statistics.median(costs))})", flush=True)
    finally:
        for server in servers:
            server.kill()
        if plane:
            plane.close()
        shutil.rmtree(base, ignore_errors=True)
    return 0


sys.exit(main())
