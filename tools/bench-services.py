#!/usr/bin/python3
"""Service addresses with few and with many services: how long one changed endpoint takes to get into the kernel's rules, and what a
connection to a service costs.

`skein up` in a network namespace of its own gets N services without selector, each with ten endpoints. A change is one EndpointSlice
patched through the API; it has arrived when `nft monitor` shows the rule with the new address. A connection is opened, and reset, from
the namespace of one pod to a service whose endpoint is another pod; its cost is the time of a row of them, one after the other.

usage: bench-services.py [--services 10 10000] [--changes 20] [--connections 20000]
"""
import argparse
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
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
        self.base, self.local = base, threading.local()
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
        self.local.used = time.monotonic()
        self.local.connection.request(method, path, json.dumps(body) if body else None, {"content-type": content})
        answer = self.local.connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]}")
        return json.loads(text)

    def agent_cpu(self):
        """CPU seconds of the process that writes the rules."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

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


def changes(plane, count, total):
    """Milliseconds from the patch of a slice until the rule is there, and CPU milliseconds of the agent for it."""
    monitor = subprocess.Popen(plane.enter("stdbuf", "-oL", "nft", "monitor", "rules"), stdout=subprocess.PIPE, text=True)
    seen, arrived = {}, threading.Condition()

    def listen():
        for line in monitor.stdout:
            for found in re.findall(r"172\.31\.25[0-9]\.[0-9]+", line):
                with arrived:
                    seen.setdefault(found, time.monotonic())
                    arrived.notify_all()

    threading.Thread(target=listen, daemon=True).start()
    try:
        time.sleep(1)
        return rounds(plane, count, total, seen, arrived)
    finally:
        monitor.terminate()
        monitor.wait()


def rounds(plane, count, total, seen, arrived):
    times, before = [], plane.agent_cpu()
    for index in range(count):
        # No address twice, also not in the next round: nothing would change.
        number, fresh = (index * 7919) % total, next(FRESH)
        path = f"/apis/discovery.k8s.io/v1/namespaces/many/endpointslices/s{number}-0"
        endpoints = [{"addresses": [address(number, at)], "conditions": {"ready": True}} for at in range(1, ENDPOINTS)]
        begin = time.monotonic()
        plane.api("PATCH", path, {"endpoints": endpoints + [{"addresses": [fresh], "conditions": {"ready": True}}]},
                  "application/merge-patch+json")
        with arrived:
            if not arrived.wait_for(lambda: fresh in seen, 60):
                raise RuntimeError(f"the change of s{number} did not arrive")
        times.append((seen[fresh] - begin) * 1000)
        time.sleep(0.2)
    return sorted(times), (plane.agent_cpu() - before) * 1000 / count


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--services", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--changes", type=int, default=20)
    parser.add_argument("--connections", type=int, default=20_000)
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
        have = 0
        for total in options.services:
            begin = time.monotonic()
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                list(pool.map(lambda number: service(plane, number), range(have, total)))
            have = max(have, total)
            made = time.monotonic() - begin
            plane.until(lambda: plane.serves(address(total - 1, 0)), "the rules of all services", 300)
            whole = time.monotonic() - begin
            time.sleep(3)
            times, cpu = changes(plane, options.changes, total)
            # Rounds take turns; the least is what the rules cost, the rest is what else the machine did.
            costs = {"pod": [], "service": []}
            for _ in range(5):
                for name, words in (("pod", [direct, "9000"]), ("service", [target, "80"])):
                    costs[name].append(int(run("nsenter", pods["client"], f"{base}/connect", "connect", *words, str(options.connections))))
            print(f"{total} services: made in {made:.1f} s, served after {whole:.1f} s; a changed endpoint: median {statistics.median(times):.1f} ms, "
                  f"most {times[-1]:.1f} ms, CPU {cpu:.1f} ms; a connection: {min(costs['service'])} ns by the service, {min(costs['pod'])} ns to the pod "
                  f"(medians {int(statistics.median(costs['service']))}, {int(statistics.median(costs['pod']))})", flush=True)
    finally:
        for server in servers:
            server.kill()
        if plane:
            plane.close()
        shutil.rmtree(base, ignore_errors=True)
    return 0


sys.exit(main())
