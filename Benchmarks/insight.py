#!/usr/bin/env python3
"""What it costs to see: Istio's metrics, access log and 1 % of traces in a proxy, `skein tap` beside it, and the store of the control plane with 200 services.

usage: insight.py [--only cost|tap|store]... [--rounds N] [--seconds S] [--services N]   (as root for `store`: a namespace of its own)

    cost    plain skein-proxy and one with istio.stats, access log and 1 % of traces to a real collector (opentelemetry-proto), h1-1k and grpc
    tap     the second one at 5,000 requests a second, with and without a reader of all of them, as `skein tap` reads it
    store   CPU and memory of a control plane that reads the pages of 200 proxies every ten seconds

Figures are CPU of the process for a request (user and system), in rounds that take turns, so that what neighbours do is in both; printed is the median of the rounds' ratios and differences.
The upstream answers calls of gRPC with a status alone.
SKEIN_PROXY, SKEIN_BINARY and SKEIN_BENCH name other programs than those of the release build.
"""
import argparse
import contextlib
import http.client
import http.server
import json
import os
import pathlib
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path[:0] = [str(HERE), str(ROOT / "tools")]

import run as bench  # noqa: E402
from run import address, start, wait  # noqa: E402

SKEIN = os.environ.get("SKEIN_BINARY", str(ROOT / ".build/release/skein"))
SIMULATOR = os.environ.get("SKEIN_BENCH", str(ROOT / ".build/release/skein-bench"))
BARS = {"h1-1k": "ratio 1.25", "grpc": "3 us", "tap": "5 %", "store": "2 % of a core, 100 MiB"}
H2 = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions", "explicit_http_config": {"http2_protocol_options": {}}}}


def cpu_seconds(pid):
    """Seconds of processor time of all threads of a process, to the nanosecond: ticks are too coarse for a round."""
    return sum(int((task / "schedstat").read_text(encoding="ascii").split()[0]) for task in pathlib.Path(f"/proc/{pid}/task").iterdir()) / 1e9


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def cluster(name, port, is_http2=False):
    more = {"typed_extension_protocol_options": H2} if is_http2 else {}
    return {"name": name, "type": "STATIC", "connect_timeout": "5s", **more, "load_assignment": {
        "cluster_name": name, "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(port)}}]}]}}


def seeing(config, log):
    """The same proxy with what makes a mesh seen."""
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    manager["http_filters"].insert(0, {"name": "istio.stats", "typed_config": {"@type": "type.googleapis.com/stats.PluginConfig"}})
    manager["access_log"] = [{"name": "file", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog", "path": str(log)}}]
    manager["tracing"] = {"client_sampling": {"value": 100}, "random_sampling": {"value": 1}, "overall_sampling": {"value": 100}, "provider": {"name": "otlp", "typed_config": {
        "@type": "type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig", "service_name": "bench",
        "grpc_service": {"envoy_grpc": {"cluster_name": "collector"}, "timeout": "1s"}}}}
    return config


class Load:
    """Requests of one kind to a port; how many there were, and that all went well."""

    def __init__(self, kind, body):
        self.kind, self.body = kind, body

    def __call__(self, port, seconds, rate=None):
        url = f"http://127.0.0.1:{port}/"
        if self.kind == "h1-1k":
            words = ["h2load", "--h1", "-t1", "-c64"]
        else:
            words = ["h2load", "-t1", "-c10", "-m100", "-d", str(self.body), "-H", "content-type: application/grpc", "-H", "te: trailers"]
        if rate:
            words += [f"--rps={rate / 64:.3f}" if self.kind == "h1-1k" else f"--rps={rate / 10:.3f}"]
        output = subprocess.run(["taskset", "-c", "1", *words, "-D", str(seconds), url], capture_output=True, text=True, check=True).stdout
        counts = dict((name, int(count)) for count, name in re.findall(r"(\d+) (succeeded|failed|errored|timeout)", output))
        good = int(re.search(r"status codes: (\d+) 2xx", output).group(1))
        if counts.get("failed") or good < counts["succeeded"]:
            raise RuntimeError(output)
        return good


@contextlib.contextmanager
def proxies(folder, kind):
    """The upstream, the collector, a plain proxy and one that tells what it sees."""
    names = ("upstream", "upstream admin", "plain", "plain admin", "seeing", "seeing admin", "collector")
    ports = {name: free_port() for name in names}
    action = {"direct_response": {"status": 200, "body": {"inline_string": "x" * 1024}}}
    route = {"route": {"cluster": "upstream"}}
    clusters = [cluster("upstream", ports["upstream"], kind == "grpc"), cluster("collector", ports["collector"], True)]
    python = subprocess.run(["sh", str(ROOT / "tools/python.sh")], capture_output=True, text=True, check=True).stdout.strip()
    with open(folder / "spans", "w", encoding="utf-8") as spans:
        collector = subprocess.Popen(["taskset", "-c", "1", python, str(ROOT / "tools/peers/otlp.py"), "receive", str(ports["collector"]), "3600"], stdout=spans)
    started = [collector, start(folder, "upstream", 1, bench.bootstrap(ports["upstream"], ports["upstream admin"], action)),
               start(folder, "plain", 0, bench.bootstrap(ports["plain"], ports["plain admin"], route, clusters)),
               start(folder, "seeing", 0, seeing(bench.bootstrap(ports["seeing"], ports["seeing admin"], route, clusters), folder / "access.log"))]
    try:
        for name in ("upstream", "plain", "seeing"):
            if kind == "h1-1k":
                wait(ports[name])
            else:
                while socket.socket().connect_ex(("127.0.0.1", ports[name])):
                    time.sleep(0.05)
        yield ports, {"plain": started[2].pid, "seeing": started[3].pid}
    finally:
        for process in started:
            process.terminate()
            process.wait()


def used(pid, body):
    """CPU microseconds of a process for each request that `body` makes."""
    before = cpu_seconds(pid)
    requests = body()
    return (cpu_seconds(pid) - before) / requests * 1e6


def turns(rounds, first, second):
    """The figures of both, in turns; the order changes with each round."""
    pairs = []
    for number in range(rounds):
        a, b = (first(), second()) if number % 2 else reversed((second(), first()))
        pairs.append((a, b))
    return pairs


def spread(values, form):
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def cost(options):
    for kind in ("h1-1k", "grpc"):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            body = folder / "message"
            body.write_bytes(b"\0\0\0\0\x10" + b"y" * 16)
            load = Load(kind, body)
            with proxies(folder, kind) as (ports, pids):
                for which in pids:
                    load(ports[which], 1)
                pairs = turns(options.rounds, *(lambda which=which: used(pids[which], lambda: load(ports[which], options.seconds)) for which in ("plain", "seeing")))
            lines = sum(1 for _ in open(folder / "access.log", "rb"))
            spans = sum(1 for _ in open(folder / "spans", "rb"))
        plain, full = ([pair[side] for pair in pairs] for side in (0, 1))
        print(f"{kind}: plain {statistics.median(plain):.1f} us, with metrics, access log and 1 % traces {statistics.median(full):.1f} us a request; ratio "
              f"{spread([b / a for a, b in pairs], '.2f')}, {spread([b - a for a, b in pairs], '.1f')} us more; {lines:,} log lines, {spans:,} spans arrived (bar: {BARS[kind]})", flush=True)


class Tap:
    """Reads what `skein tap` reads of a proxy, as fast as it comes."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.connection.request("GET", "/tap?rate=200")
        self.answer = self.connection.getresponse()
        self.events = self.dropped = 0
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def read(self):
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException, AttributeError):
            for line in self.answer:
                told = json.loads(line)
                self.dropped += told.get("dropped", 0)
                self.events += "dropped" not in told

    def end(self):
        self.connection.sock and self.connection.sock.shutdown(socket.SHUT_RDWR)
        self.connection.close()
        self.thread.join(10)


def tap(options):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        load = Load("h1-1k", None)
        seen = [0, 0]
        with proxies(folder, "h1-1k") as (ports, pids):
            load(ports["seeing"], 1)

            def alone():
                return used(pids["seeing"], lambda: load(ports["seeing"], options.seconds, 5000))

            def read():
                reader = Tap(ports["seeing admin"])
                try:
                    return alone()
                finally:
                    reader.end()
                    seen[0], seen[1] = seen[0] + reader.events, seen[1] + reader.dropped
            pairs = turns(options.rounds, alone, read)
    print(f"tap at 5,000 requests a second: {statistics.median(a for a, _ in pairs):.1f} us a request without, {statistics.median(b for _, b in pairs):.1f} with a reader; "
          f"{spread([(b / a - 1) * 100 for a, b in pairs], '+.1f')} %; {seen[0]:,} requests shown, {seen[1]:,} left out (bar: {BARS['tap']})", flush=True)


# MARK: Store

class Pages:
    """The metrics pages of so many sidecars of the bookstore's `web`, whose numbers grow as at ten requests a second; the address that is asked says whose it is."""

    def __init__(self, template, services):
        self.template, self.services, self.begin, self.bytes, self.count = template, services, time.time(), 0, 0
        pages = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                page = pages.page(self.connection.getsockname()[0])
                pages.bytes, pages.count = pages.bytes + len(page), pages.count + 1
                self.send_response(200)
                self.send_header("content-length", str(len(page)))
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_):
                pass
        self.server = http.server.ThreadingHTTPServer(("0.0.0.0", 15020), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def page(self, host):
        third, fourth = (int(part) for part in host.split(".")[2:])
        number = (third - 1) * 250 + fourth - 1
        # Each calls the two services after it.
        text = self.template
        for index, name in enumerate(("catalog", "orders")):
            text = text.replace(name, f"service-{(number + index + 1) % self.services}")
        text = text.replace("web", f"service-{number}")
        factor = 1 + (time.time() - self.begin) * (10 + number % 7) / 30
        return re.sub(r" (\d+)$", lambda found: f" {int(int(found.group(1)) * factor)}", text, flags=re.M).encode()


def fetched(host, port, path):
    """The body of a good answer, else nothing."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    text = answer.read().decode()
    return text if answer.status == 200 else ""


def captured():
    """A page of a sidecar of the bookstore, with its inbound cluster and two outbound ones, as the control plane asks for it."""
    query = re.search(r'"(usedonly[^"]*)"\s*\+ "([^"]*)"', (ROOT / "Sources/Insight/Collect/ProxyPage.swift").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o711)  # The control plane is somebody else than root.
        config = f"{name}/kubeconfig"
        subprocess.run([SKEIN, "up", "-f", str(ROOT / "examples/bookstore"), "--images", "host", "--data-dir", f"{name}/data", "--detach"], check=True, stdout=subprocess.DEVNULL)
        try:
            subprocess.run([SKEIN, "kubeconfig", config, "--data-dir", f"{name}/data"], check=True)
            answers, page, end = 0, "", time.time() + 120
            while not page and time.time() < end:
                with contextlib.suppress(OSError, http.client.HTTPException):
                    answers += fetched("127.0.0.1", 8080, "/api/books/1") != ""
                    if answers >= 60:
                        pods = json.loads(subprocess.run(["kubectl", "--kubeconfig", config, "get", "pods", "-l", "app=web", "-o", "json"], check=True, capture_output=True).stdout)
                        page = fetched(pods["items"][0]["status"]["podIP"], 15020, "/stats/prometheus?" + "".join(query.groups()))
        finally:
            subprocess.run([SKEIN, "down", "--data-dir", f"{name}/data"], check=True, stdout=subprocess.DEVNULL)
    if not page:
        raise RuntimeError(f"the bookstore gave no page to measure with: {answers} good answers in 120 s")
    return "".join(line + "\n" for line in page.splitlines() if not re.search("reviews|ratings", line))


def store(options):
    from peers import mesh
    # The program starts itself anew in a namespace, where the addresses of all pods are its own; the page is had before.
    if "SKEIN_PAGE" not in os.environ:
        with tempfile.NamedTemporaryFile("w", delete=False) as file:
            file.write(captured())
        os.environ["SKEIN_PAGE"] = file.name
    mesh.enter_namespace(["10.244.0.0/16"])
    path = pathlib.Path(os.environ["SKEIN_PAGE"])
    pages = Pages(path.read_text(encoding="utf-8"), options.services)
    path.unlink()
    plane = mesh.ControlPlane(SKEIN)
    crowd = None
    try:
        pid = plane.process.pid
        before = bench.memory_mib(pid)
        for number in range(options.services):
            plane.pod(f"proxy-{number}", f"10.244.{number // 250 + 1}.{number % 250 + 1}", {"app": f"service-{number}"})
            plane.service(f"service-{number}", 80, 8080)
        crowd = subprocess.Popen([SIMULATOR, "--address", f"127.0.0.1:{plane.port}", "--ca", str(plane.path / "control/ca.crt"),
                                  *(word for kind, file in (("certificate", "cert-chain.pem"), ("key", "key.pem")) for word in (f"--{kind}", str(plane.certificate("default") / file))),
                                  "--proxies", str(options.services), "--services", str(options.services), "--uses", "2"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        mesh.wait("all pages to be read", lambda: pages.count >= 2 * options.services, 120)
        read, begin, used_before = pages.count, time.time(), cpu_seconds(pid)
        # Whole steps, and the minute at which files are written.
        time.sleep(options.minutes * 60)
        seconds, share = time.time() - begin, cpu_seconds(pid) - used_before
        metrics = {name: float(value) for name, value in re.findall(r"^(skein_insight_\w+) (\S+)$", fetched("127.0.0.1", 9400, "/metrics"), re.M)}
        reads = (pages.count - read) / options.services
        print(f"store with {options.services} services: {share / seconds:.1%} of a core for the whole control plane ({share / max(1, reads) * 1000:.0f} ms for each reading of {options.services} pages of "
              f"{pages.bytes // max(1, pages.count) // 1024} KiB), {metrics['skein_insight_series']:,.0f} series, {metrics['skein_insight_bytes'] / 1048576:.1f} MiB of samples after {reads:.0f} readings, "
              f"the process {before:.0f} to {bench.memory_mib(pid):.0f} MiB RSS, {metrics['skein_insight_refused_total']:.0f} refused (bar: {BARS['store']})", flush=True)
    finally:
        if crowd:
            crowd.kill()
            crowd.wait()
        plane.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=("cost", "tap", "store"))
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--services", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=2)
    options = parser.parse_args()
    parts = options.only or ["cost", "tap", "store"]
    if os.environ.get("SKEIN_MESH_CHECK") != "1":
        print(f"load of the machine: {', '.join(f'{one:.1f}' for one in os.getloadavg())}", flush=True)
        # As neighbours may have more threads than there are processors.
        with contextlib.suppress(PermissionError):
            os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(2))
        for part in parts:
            if part != "store":
                globals()[part](options)
        # Containers cannot have that precedence: their control groups have no share of it.
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    # Last, as it starts this program anew in a namespace of its own.
    if "store" in parts:
        store(options)


if __name__ == "__main__":
    main()
