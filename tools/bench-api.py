#!/usr/bin/env python3
"""The API and its stores: writes per second, lists, watchers, memory.

    sudo tools/bench-api.py [--part all|watches] [--skein FILE] [--pods N] [--watchers N] [--seconds S] [--writers N] [--no-etcd] [--json FILE]

Clients are on the root-only unix socket of the API and speak plain HTTP/1.1, so what is measured is API and store, not TLS. A write
counts when its answer is there, which is when it is on the disk (SQLite) or in the cluster (one etcd member on this machine). A change
is timed from before its request is sent until each watcher has its event. Memory is RSS of the API's process. Bars: issue 5.
"""
import argparse
import json
import multiprocessing
import os
import pathlib
import resource
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Client:
    """One connection to the API."""

    def __init__(self, path, timeout=None):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.socket.connect(path)
        self.buffer = b""

    def send(self, method, target, body=None, accept="application/json", kind="application/json"):
        data = b"" if body is None else json.dumps(body).encode()
        head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\n\r\n"
        self.socket.sendall(head.encode() + data)

    def more(self):
        piece = self.socket.recv(1 << 20)
        if not piece:
            raise EOFError("the API ended the connection")
        self.buffer += piece

    def head(self):
        while b"\r\n\r\n" not in self.buffer:
            self.more()
        head, self.buffer = self.buffer.split(b"\r\n\r\n", 1)
        lines = head.decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        return int(lines[0].split()[1]), fields

    def call(self, *arguments, **options):
        self.send(*arguments, **options)
        status, fields = self.head()
        pieces, left = [self.buffer], int(fields["content-length"]) - len(self.buffer)
        while left > 0:
            piece = self.socket.recv(min(left, 1 << 20))
            if not piece:
                raise EOFError("the API ended the connection")
            pieces.append(piece)
            left -= len(piece)
        self.buffer = b""
        return status, b"".join(pieces)


class Plane:
    """A control plane with a data directory of its own."""

    def __init__(self, program, store="sqlite", more=()):
        self.directory = tempfile.mkdtemp(prefix="skein-bench-api-")
        os.mkdir(self.directory + "/control", 0o700)
        self.path = self.directory + "/api.sock"
        self.log = open(self.directory + "/log", "wb")
        self.words = [program, "control-plane", "--data-dir", self.directory, "--run-dir", self.directory, "--api", f"127.0.0.1:{free_port()}",
                      "--metrics", f"127.0.0.1:{free_port()}", "--store", store, "--log-level", "warning", *more]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.words, stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + 30
        while True:
            try:
                if Client(self.path).call("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            if self.process.poll() is not None or time.monotonic() > deadline:
                sys.exit("bench-api: the control plane does not start:\n" + pathlib.Path(self.log.name).read_text())
            time.sleep(0.05)

    def memory(self):
        time.sleep(1)
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        shutil.rmtree(self.directory)


class Etcd:
    """One etcd member on loopback."""

    def __init__(self):
        program = shutil.which("etcd")
        if not program:
            sys.exit("bench-api: no etcd: install the Debian package etcd-server (make deps), or say --no-etcd")
        self.directory = tempfile.mkdtemp(prefix="skein-bench-etcd-")
        client, peer = (f"http://127.0.0.1:{free_port()}" for _ in range(2))
        self.url = client
        self.words = (
            [program, "--data-dir", self.directory + "/data", "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", "default=" + peer, "--log-level", "error"])
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def kill(self):
        self.process.kill()
        self.process.wait()

    def stop(self):
        self.kill()
        shutil.rmtree(self.directory)


def pod(number, labels=None):
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"pod-{number:05}", "labels": labels or {"app": f"app-{number % 100}", "version": "v1"}},
            "spec": {"nodeName": f"node-{number % 50}", "serviceAccountName": "default", "containers": [
                {"name": "main", "image": "registry.example/team/service:1.2.3", "ports": [{"name": "http", "containerPort": 8080}],
                 "env": [{"name": "LEVEL", "value": "info"}, {"name": "REGION", "value": "north"}],
                 "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
                 "readinessProbe": {"httpGet": {"path": "/ready", "port": 8080}, "periodSeconds": 5}}]}}


def status_of(number):
    return {"status": {"phase": "Running", "podIP": f"10.244.{number // 250}.{number % 250 + 1}", "podIPs": [{"ip": f"10.244.{number // 250}.{number % 250 + 1}"}],
                       "hostIP": "192.0.2.1", "startTime": "2026-11-21T12:00:00Z", "conditions": [
                           {"type": kind, "status": "True", "lastTransitionTime": "2026-11-21T12:00:00Z"}
                           for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")],
                       "containerStatuses": [{"name": "main", "ready": True, "restartCount": 0, "started": True, "image": "registry.example/team/service:1.2.3",
                                              "state": {"running": {"startedAt": "2026-11-21T12:00:00Z"}}}]}}


PODS = "/api/v1/namespaces/default/pods"
MERGE = "application/merge-patch+json"


def parallel(path, jobs, writers):
    """Does jobs (calls) from several connections."""
    jobs, lock, failures = iter(jobs), threading.Lock(), []

    def work():
        client = Client(path)
        while True:
            with lock:
                job = next(jobs, None)
            if job is None:
                return
            status, body = client.call(*job[0], **job[1])
            if status >= 300:
                failures.append((status, body[:300]))
                return
    threads = [threading.Thread(target=work) for _ in range(writers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    if failures:
        sys.exit(f"bench-api: a write was refused: {failures[0]}")


def fill_pods(path, numbers):
    parallel(path, ((("POST", PODS, pod(number)), {}) for number in numbers), 16)
    parallel(path, ((("PATCH", f"{PODS}/pod-{number:05}/status", status_of(number)), {"kind": MERGE}) for number in numbers), 16)


def write_for(path, name, writers, until, counts):
    """Writers in a process of their own."""
    done = [0] * writers

    def work(index):
        client, number = Client(path), 0
        while time.monotonic() < until:
            number += 1
            status, body = client.call("POST", "/api/v1/namespaces/default/configmaps", {
                "metadata": {"name": f"{name}-{index}-{number}"}, "data": {"key": "value " * 20}})
            if status != 201:
                print(status, body[:300], file=sys.stderr)
                return
            done[index] += 1
    threads = [threading.Thread(target=work, args=(index,)) for index in range(writers)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    counts.put(sum(done))


def writes_per_second(path, name, writers, seconds):
    counts = multiprocessing.Queue()
    processes = min(4, writers)
    begin = time.monotonic()
    workers = [multiprocessing.Process(target=write_for, args=(path, f"{name}-{index}", writers // processes, begin + seconds, counts))
               for index in range(processes)]
    [worker.start() for worker in workers]
    total = sum(counts.get() for _ in workers)
    [worker.join() for worker in workers]
    Client(path).call("DELETE", "/api/v1/namespaces/default/configmaps")
    return total / (time.monotonic() - begin)


def list_milliseconds(path, accept):
    client, times = Client(path), []
    for _ in range(7):
        begin = time.monotonic()
        status, body = client.call("GET", PODS + "?resourceVersion=0", accept=accept)
        times.append((time.monotonic() - begin) * 1000)
        assert status == 200, body[:300]
    return statistics.median(times), len(body)


def watch_latencies(path, watchers, changes, rate):
    """Milliseconds until each watcher has each change."""
    version = json.loads(Client(path).call("GET", PODS + "?limit=1")[1])["metadata"]["resourceVersion"]
    poll, buffers = select.epoll(), {}
    sockets = []
    for _ in range(watchers):
        client = Client(path)
        client.send("GET", f"{PODS}?watch=1&resourceVersion={version}")
        sockets.append(client)
    for client in sockets:
        assert client.head()[0] == 200
        client.socket.setblocking(False)
        poll.register(client.socket, select.EPOLLIN)
        buffers[client.socket.fileno()] = [client, client.buffer]
    sent, latencies, done = {}, [], threading.Event()

    def change():
        writer = Client(path)
        for number in range(changes):
            mark = f"bench-mark-{number:05}"
            sent[mark.encode()] = time.monotonic()
            status, body = writer.call("PATCH", f"{PODS}/pod-{number:05}", {"metadata": {"annotations": {"mark": mark}}}, kind=MERGE)
            assert status == 200, body[:300]
            time.sleep(1 / rate)
        done.set()
    thread = threading.Thread(target=change)
    thread.start()
    deadline = None
    while len(latencies) < watchers * changes:
        for descriptor, _ in poll.poll(0.2, watchers):
            entry = buffers[descriptor]
            now = time.monotonic()
            entry[1] += entry[0].socket.recv(1 << 18)
            *lines, entry[1] = entry[1].split(b"\n")
            for line in lines:
                at = line.find(b"bench-mark-")
                if at >= 0:
                    latencies.append((now - sent[line[at:at + 16]]) * 1000)
        if done.is_set():
            deadline = deadline or time.monotonic() + 10
            if time.monotonic() > deadline:
                sys.exit(f"bench-api: {watchers * changes - len(latencies)} events never came")
    thread.join()
    return sorted(latencies), sockets


def hold_watches(path, count, version, begin, counted, held):
    """Clients in a process of their own that have a watch each and read what comes."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    poll, clients, statuses = select.epoll(), {}, {}
    for _ in range(count):
        client = Client(path, timeout=60)
        client.send("GET", f"{MAPS}?watch=1&resourceVersion={version}&timeoutSeconds=3600")
        try:
            status = client.head()[0]
        except OSError:
            status = 0
        statuses[status] = statuses.get(status, 0) + 1
        if status == 200:
            client.socket.setblocking(False)
            poll.register(client.socket, select.EPOLLIN)
            clients[client.socket.fileno()] = client
    held.put(statuses)
    while True:
        for descriptor, _ in poll.poll(1, 1024):
            piece = clients[descriptor].socket.recv(1 << 16)
            if not piece:
                poll.unregister(descriptor)
            with counted.get_lock():
                counted.value += piece.count(b'"mark-')


def others(path, seconds, rate=100):
    """Milliseconds of requests of a client that does not watch: each with a connection of its own, reads and writes in turn."""
    times, begin, number = [], time.monotonic(), 0
    while time.monotonic() - begin < seconds:
        number += 1
        start = time.monotonic()
        client = Client(path, timeout=30)
        if number % 2:
            status, body = client.call("GET", "/api/v1/namespaces/default/services/kubernetes")
        else:
            status, body = client.call("PATCH", "/api/v1/namespaces/default/services/kubernetes", {"metadata": {"annotations": {"n": str(number)}}}, kind=MERGE)
        times.append((time.monotonic() - start) * 1000)
        assert status == 200, body[:300]
        client.socket.close()
        time.sleep(max(0, 1 / rate - (time.monotonic() - start)))
    times.sort()
    return times[len(times) // 2], times[int(len(times) * 0.99)]


MAPS = "/api/v1/namespaces/default/configmaps"


def watch_clients(plane, count, row):
    """What other clients feel beside so many clients with a watch each."""
    path = plane.path
    status, body = Client(path).call("POST", MAPS, {"metadata": {"name": "watched"}, "data": {"text": "value " * 100}})
    assert status == 201, body
    for name, value in zip(("p50", "p99"), others(path, 5)):
        row(f"another client's requests, no watches, {name}", value, "ms")
    idle = plane.memory()
    version = json.loads(Client(path).call("GET", MAPS + "?limit=1")[1])["metadata"]["resourceVersion"]
    counted, held, begin = multiprocessing.Value("q", 0), multiprocessing.Queue(), time.monotonic()
    process = multiprocessing.Process(target=hold_watches, args=(path, count, version, begin, counted, held), daemon=True)
    process.start()
    statuses = held.get(timeout=120)
    watches = statuses.get(200, 0)
    row(f"{count} clients open a watch each: watches ({statuses})", watches, "", count, most=False)
    row("seconds until they are open", time.monotonic() - begin, "s")
    row("memory of a watch that waits", (plane.memory() - idle) * 1024 / max(1, watches), "KiB")
    for name, value in zip(("p50", "p99"), others(path, 5)):
        row(f"another client's requests beside {watches} watches that wait, {name}", value, "ms")
    stop, sent, reached = threading.Event(), [0], []

    def change():
        writer, number = Client(path), 0
        while not stop.is_set():
            number += 1
            start = time.monotonic()
            status, body = writer.call("PATCH", MAPS + "/watched", {"data": {"mark": f"mark-{number}"}}, kind=MERGE)
            assert status == 200, body[:300]
            sent[0] += 1
            while counted.value < sent[0] * watches and time.monotonic() - start < 30:
                time.sleep(0.005)
            reached.append((time.monotonic() - start) * 1000)
            time.sleep(max(0, 1 - (time.monotonic() - start)))
    thread = threading.Thread(target=change)
    thread.start()
    for name, value in zip(("p50", "p99"), others(path, 10)):
        row(f"another client's requests while {watches} watches get a change a second, {name}", value, "ms")
    stop.set()
    thread.join()
    row(f"events that came, of {sent[0] * watches}", counted.value, "", sent[0] * watches, most=False)
    row(f"a change has reached all {watches} watches, median", statistics.median(reached), "ms")
    row(f"RSS with {watches} watches", plane.memory(), "MiB")
    process.kill()
    process.join()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skein", default=str(ROOT / ".build/release/skein"))
    parser.add_argument("--pods", type=int, default=10_000)
    parser.add_argument("--watchers", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--writers", type=int, default=64)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--no-etcd", action="store_true")
    parser.add_argument("--watch-clients", type=int, default=10_000)
    parser.add_argument("--part", choices=("all", "watches"), default="all")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows = []

    def row(what, value, unit, bar=None, most=True):
        verdict = "" if bar is None else ("met" if (value <= bar if most else value >= bar) else "MISSED")
        rows.append({"what": what, "value": round(value, 1), "unit": unit, "bar": bar, "verdict": verdict})
        print(f"{what:60} {value:10.1f} {unit:9} {'' if bar is None else f'bar {bar}: {verdict}'}", flush=True)

    plane = Plane(options.skein)
    try:
        watch_clients(plane, options.watch_clients, row)
    finally:
        plane.stop()
    if options.part == "watches":
        return
    plane = Plane(options.skein)
    try:
        row("RSS of the API at its start", plane.memory(), "MiB")
        row("writes, SQLite, 1 writer", writes_per_second(plane.path, "one", 1, options.seconds), "a second")
        row(f"writes, SQLite, {options.writers} writers", writes_per_second(plane.path, "many", options.writers, options.seconds), "a second")
    finally:
        plane.stop()
    plane = Plane(options.skein)
    try:
        fill_pods(plane.path, range(1000))
        row("RSS with 1,000 pods", plane.memory(), "MiB", 60)
        fill_pods(plane.path, range(1000, options.pods))
        for name, accept in (("JSON", "application/json"), ("Table", "application/json;as=Table;v=v1;g=meta.k8s.io")):
            milliseconds, size = list_milliseconds(plane.path, accept)
            row(f"list of {options.pods} pods as {name} ({size / 1e6:.1f} MB)", milliseconds, "ms", 250)
        latencies, sockets = watch_latencies(plane.path, options.watchers, options.changes, 10)
        row(f"a change reaches {options.watchers} watchers, p50", latencies[len(latencies) // 2], "ms")
        row(f"a change reaches {options.watchers} watchers, p99", latencies[int(len(latencies) * 0.99)], "ms", 50)
        row(f"RSS with {options.pods} pods and {options.watchers} watchers", plane.memory(), "MiB", 200)
        del sockets
    finally:
        plane.stop()
    if not options.no_etcd:
        etcd = Etcd()
        plane = Plane(options.skein, "etcd=" + etcd.url)
        try:
            row("writes, etcd, 1 writer", writes_per_second(plane.path, "one", 1, options.seconds), "a second")
            row(f"writes, etcd, {options.writers} writers", writes_per_second(plane.path, "many", options.writers, options.seconds), "a second")
        finally:
            plane.stop()
            etcd.stop()
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
