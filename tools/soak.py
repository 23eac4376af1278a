#!/usr/bin/env python3
"""A soak of skein-proxy: connections, configuration, upstreams and certificates change all the time while requests run.

    tools/soak.py [--program .build/release/skein-proxy] [--seconds 1800]

Traffic: HTTP/1.1 kept alive and one connection a request, HTTP/2 with many streams, TLS (new handshakes and kept ones), TCP. Beside
it noise that no proxy may mind: clients that vanish in the middle, that send rubbish, that open connections and say nothing.
Change: upstreams die and come back (connections cut, port closed), clusters and routes come by xDS files that are replaced, the
server's certificate by an SDS file.

At the end: no safe request failed (retries as the routes allow them), descriptors and memory as after the warm-up. The thresholds
stand below, the figures are printed.
"""
import argparse
import asyncio
import json
import os
import pathlib
import random
import ssl
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE / "differential"))

import h2.config  # noqa: E402
import h2.connection  # noqa: E402
import h2.events  # noqa: E402
import h2.exceptions  # noqa: E402

import certificates  # noqa: E402
from peers.proxy import DOWNSTREAM_TLS, Proxy, address, cluster, free_port, http_manager, listener, tcp_proxy  # noqa: E402

TYPE = "type.googleapis.com/envoy.config."
SECRET = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret"
# Growth between the end of the warm-up and the end that is no leak: arenas, caches and pools settle.
DESCRIPTORS_MAX = 16
MEMORY_MAX = 6 << 10  # KiB
BACKENDS = 4


class Count:
    def __init__(self):
        self.good, self.failures, self.by_kind, self.changes = 0, [], {}, {}

    def success(self, kind):
        self.good += 1
        self.by_kind[kind] = self.by_kind.get(kind, 0) + 1

    def failure(self, kind, what):
        if len(self.failures) < 1000:
            self.failures.append(f"{kind}: {what}")

    def change(self, kind):
        self.changes[kind] = self.changes.get(kind, 0) + 1


class Backend:
    """An HTTP/1.1 server whose body says how long it is; `die` cuts everything off."""

    def __init__(self, echoes=False):
        self.echoes, self.server, self.writers, self.port = echoes, None, set(), free_port()

    async def start(self):
        self.server = await asyncio.start_server(self.serve_tcp if self.echoes else self.serve, "127.0.0.1", self.port, backlog=512)

    async def die(self):
        self.server.close()
        for writer in list(self.writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def serve(self, reader, writer):
        self.writers.add(writer)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                length = 0
                for line in head.lower().split(b"\r\n"):
                    if line.startswith(b"content-length:"):
                        length = int(line[15:])
                if length:
                    await reader.readexactly(length)
                elif b"\r\ntransfer-encoding: chunked" in head.lower():
                    while (size := int((await reader.readline()).split(b";")[0], 16)):
                        await reader.readexactly(size + 2)
                    await reader.readline()
                body = b"x" * int(path.rpartition(b"/")[2] or 0)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, IndexError, asyncio.LimitOverrunError):
            pass
        finally:
            self.writers.discard(writer)
            writer.close()

    async def serve_tcp(self, reader, writer):
        self.writers.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.writers.discard(writer)
            writer.close()


class Files:
    """The configuration that changes: files that are replaced as a whole."""

    def __init__(self, directory, backends):
        self.directory, self.backends, self.version = pathlib.Path(directory), backends, 0
        self.authority = certificates.authority(self.directory, "ca", "Soak CA")
        self.new_certificate()
        self.change()

    def path(self, name):
        return str(self.directory / name)

    def source(self, name):
        return {"path_config_source": {"path": self.path(name), "watched_directory": {"path": str(self.directory)}},
                "resource_api_version": "V3"}

    def put(self, name, kind, resources):
        self.version += 1
        text = json.dumps({"version_info": str(self.version), "resources": [{"@type": kind, **each} for each in resources]})
        fresh = self.directory / (name + ".new")
        fresh.write_text(text)
        fresh.rename(self.directory / name)

    def change(self):
        """Other weights, order, a cluster more or less, other routes."""
        hosts = [{"endpoint": {"address": address(backend.port)}, "load_balancing_weight": random.randint(1, 5)}
                 for backend in random.sample(self.backends, BACKENDS)]
        main = cluster("main", [], lb_policy=random.choice(["ROUND_ROBIN", "LEAST_REQUEST", "RANDOM", "MAGLEV"]))
        main["load_assignment"]["endpoints"] = [{"lb_endpoints": hosts}]
        main["connect_timeout"] = "2s"
        main["health_checks"] = [{"timeout": "1s", "interval": "0.2s", "unhealthy_threshold": 1, "healthy_threshold": 1,
                                  "http_health_check": {"path": "/0"}, "always_log_health_check_failures": False}]
        main["circuit_breakers"] = {"thresholds": [{"max_connections": 10000, "max_requests": 10000, "max_pending_requests": 10000,
                                                    "max_retries": 10000}]}
        more = [cluster(f"other-{number}", [1]) for number in range(random.randint(0, 5))]
        self.put("cds.json", TYPE + "cluster.v3.Cluster", [main] + more)
        retries = {"retry_on": "connect-failure,refused-stream,reset,5xx", "num_retries": 8,
                   "retry_back_off": {"base_interval": "0.025s", "max_interval": "0.25s"},
                   "retry_host_predicate": [{"name": "previous", "typed_config": {
                       "@type": "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"}}],
                   "host_selection_retry_max_attempts": 5}
        routes = [{"match": {"prefix": f"/unused/{number}"}, "direct_response": {"status": 404}} for number in range(random.randint(0, 20))]
        routes.append({"match": {"prefix": "/"}, "route": {"cluster": "main", "timeout": "20s", "retry_policy": retries}})
        self.put("rds.json", TYPE + "route.v3.RouteConfiguration",
                 [{"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}])

    def new_certificate(self):
        certificates.leaf(self.directory, "leaf", self.authority, "soak", names=["soak.example"])
        self.put("sds.json", SECRET, [{"name": "server", "tls_certificate": {
            "certificate_chain": {"inline_string": (self.directory / "leaf.pem").read_text()},
            "private_key": {"inline_string": (self.directory / "leaf.key").read_text()}}}])


class Soak:
    def __init__(self, program, seconds):
        self.program, self.seconds, self.count = program, seconds, Count()
        self.is_over = False
        self.http, self.https, self.tcp = free_port(), free_port(), free_port()

    async def run(self, directory):
        backends = [Backend() for _ in range(BACKENDS)]
        echo = Backend(echoes=True)
        for backend in backends + [echo]:
            await backend.start()
        files = Files(directory, backends)
        rds = {"route_config_name": "routes", "config_source": files.source("rds.json")}
        tls = {"name": "tls", "typed_config": {"@type": DOWNSTREAM_TLS, "common_tls_context": {
            "alpn_protocols": ["h2", "http/1.1"],
            "tls_certificate_sds_secret_configs": [{"name": "server", "sds_config": files.source("sds.json")}]}}}
        listeners = [listener("http", self.http, http_manager(rds=rds)), listener("https", self.https, http_manager(rds=rds), tls),
                     listener("tcp", self.tcp, tcp_proxy("echo"))]
        proxy = await asyncio.to_thread(
            lambda: Proxy(self.program, listeners, [cluster("echo", [echo.port])], concurrency=2, node={"id": "soak", "cluster": "soak"},
                          dynamic_resources={"cds_config": files.source("cds.json")}))
        self.authority = files.path("ca.pem")
        try:
            return await self.load(proxy, files, backends)
        finally:
            proxy.stop()

    async def load(self, proxy, files, backends):
        clients = [self.kept() for _ in range(4)] + [self.fresh() for _ in range(4)] + [self.kept(tls=True) for _ in range(2)]
        clients += [self.fresh(tls=True) for _ in range(2)] + [self.streams(), self.streams(tls=True)] + [self.echo() for _ in range(2)]
        clients += [self.vanish(), self.rubbish(), self.silence()]
        changes = [self.deaths(backends), self.every(0.5, files.change, "configurations"), self.every(3, files.new_certificate, "certificates")]
        begin = time.monotonic()
        tasks = [asyncio.create_task(each) for each in clients + changes]
        await asyncio.sleep(self.seconds * 0.3)
        print(f"warm-up over: {await self.figures(proxy)}", flush=True)
        step = max(self.seconds / 10, 5)
        samples = []
        told = time.monotonic()
        while (left := begin + self.seconds - time.monotonic()) > 0:
            # Often: what is open at a moment goes up and down by megabytes, and both halves are to have seen its peaks.
            await asyncio.sleep(min(0.25, left))
            samples.append((proxy.memory(), proxy.descriptors()))
            if (now := time.monotonic()) >= told + step:
                told = now
                print(f"{now - begin:6.0f} s: {self.count.good} good, {len(self.count.failures)} failed, {samples[-1][0]} KiB, "
                      f"{samples[-1][1]} descriptors", flush=True)
            if not proxy.is_running():
                break
        self.is_over = True
        _, pending = await asyncio.wait(tasks, timeout=30)
        for task in pending:
            task.cancel()
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception():
                self.count.failure("the soak itself", repr(task.exception()))
        return await self.verdict(proxy, samples, time.monotonic() - begin)

    async def figures(self, proxy):
        return f"{proxy.memory()} KiB, {proxy.descriptors()} descriptors"

    async def verdict(self, proxy, samples, seconds):
        problems = []
        if not proxy.is_running():
            return [f"the proxy ended with {proxy.process.returncode}: {proxy.output()}"]
        # Clients are gone: what is left is what the proxy keeps. Connections to upstreams may stay as they were.
        for _ in range(50):
            stats = await asyncio.to_thread(proxy.stats)
            active = sum(value for name, value in stats.items() if name.startswith("listener.") and name.endswith("downstream_cx_active")
                         and ".admin." not in name and "worker_" not in name)
            if not active:
                break
            await asyncio.sleep(0.2)
        half = max(len(samples) // 2, 1)
        early, late = max(memory for memory, _ in samples[:half]), max(memory for memory, _ in samples[half:] or samples)
        count = self.count
        print(f"requests: {count.by_kind}")
        print(f"changes: {count.changes}; retries {stats.get('cluster.main.upstream_rq_retry', 0)}, "
              f"connections {sum(v for k, v in stats.items() if k.endswith('.downstream_cx_total') and k.startswith('http.'))}")
        print(f"memory: at most {early} KiB in the first half, {late} KiB in the second, {proxy.memory()} KiB at the end "
              f"(growth allowed: {MEMORY_MAX} KiB)")
        first, last = min(descriptors for _, descriptors in samples), proxy.descriptors()
        print(f"descriptors: at least {first} under load, {last} at the end (growth allowed: {DESCRIPTORS_MAX})")
        if active:
            problems.append(f"{active} connections of clients are counted as active, and there is none")
        if late - early > MEMORY_MAX:
            problems.append(f"memory grew by {late - early} KiB")
        if last - first > DESCRIPTORS_MAX:
            problems.append(f"{last - first} descriptors more than under load")
        if count.failures:
            problems.append(f"{len(count.failures)} safe requests failed: {count.failures[:5]}")
        for kind in ("kept", "fresh", "kept tls", "fresh tls", "streams", "streams tls", "tcp"):
            if not count.by_kind.get(kind):
                problems.append(f"no {kind} request was good")
        print(f"soak: {count.good} requests in {seconds:.0f} s, {len(count.failures)} failed, {late - early:+} KiB, {last - first:+} descriptors")
        return problems

    # Change

    async def every(self, seconds, body, name):
        while not self.is_over:
            await asyncio.to_thread(body)
            self.count.change(name)
            await asyncio.sleep(seconds * random.uniform(0.5, 1.5))

    async def deaths(self, backends):
        """One upstream after the other; the rest serve."""
        while not self.is_over:
            await asyncio.sleep(random.uniform(0.5, 2))
            backend = random.choice(backends)
            await backend.die()
            await asyncio.sleep(random.uniform(0.1, 1))
            for _ in range(100):
                try:
                    await backend.start()
                    break
                except OSError:
                    await asyncio.sleep(0.1)
            self.count.change("deaths")

    # Traffic that must not fail

    async def connect(self, tls, is_h2=False):
        if not tls:
            return await asyncio.open_connection("127.0.0.1", self.http)
        # A context of its own each time: a shared one would resume, and never see a new certificate.
        context = ssl.create_default_context(cafile=self.authority)
        context.set_alpn_protocols(["h2" if is_h2 else "http/1.1"])
        return await asyncio.open_connection("127.0.0.1", self.https, ssl=context, server_hostname="soak.example")

    async def ask(self, reader, writer, close):
        size = random.choice((0, 10, 1000, 100_000))
        writer.write(b"GET /%d HTTP/1.1\r\nhost: soak\r\n%s\r\n" % (size, b"connection: close\r\n" if close else b""))
        await writer.drain()
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"HTTP/1.1 200") or len(body) != size:
            raise ValueError(f"{head[:40]!r} {body[:100]!r}")
        return b"\r\nconnection: close" in head.lower()

    async def kept(self, tls=False):
        kind = "kept tls" if tls else "kept"
        while not self.is_over:
            writer = None
            try:
                reader, writer = await self.connect(tls)
                for _ in range(random.randint(1, 300)):
                    ends = await asyncio.wait_for(self.ask(reader, writer, False), 30)
                    self.count.success(kind)
                    await asyncio.sleep(random.uniform(0, 0.01))
                    if ends or self.is_over:
                        break
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                self.count.failure(kind, repr(error))
                await asyncio.sleep(0.1)
            finally:
                if writer:
                    writer.close()

    async def fresh(self, tls=False):
        kind = "fresh tls" if tls else "fresh"
        while not self.is_over:
            try:
                reader, writer = await self.connect(tls)
                await asyncio.wait_for(self.ask(reader, writer, True), 30)
                self.count.success(kind)
                writer.close()
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                self.count.failure(kind, repr(error))
            await asyncio.sleep(random.uniform(0, 0.02))

    async def streams(self, tls=False):
        """HTTP/2 with twenty requests at once, until the server asks to go elsewhere."""
        kind = "streams tls" if tls else "streams"
        while not self.is_over:
            writer = None
            try:
                reader, writer = await self.connect(tls, is_h2=True)
                await asyncio.wait_for(self.multiplex(reader, writer, kind, random.randint(20, 400)), 60)
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError, h2.exceptions.ProtocolError) as error:
                self.count.failure(kind, repr(error))
                await asyncio.sleep(0.1)
            finally:
                if writer:
                    writer.close()

    async def multiplex(self, reader, writer, kind, total):
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        connection.initiate_connection()
        connection.increment_flow_control_window(1 << 24)
        open_streams, begun, is_leaving = {}, 0, False
        while True:
            while len(open_streams) < 20 and begun < total and not is_leaving and not self.is_over:
                stream, size = connection.get_next_available_stream_id(), random.choice((0, 10, 1000, 60_000))
                connection.send_headers(stream, [(":method", "GET"), (":scheme", "http"), (":path", f"/{size}"), (":authority", "soak")], True)
                open_streams[stream] = [size, None, 0]
                begun += 1
            if not open_streams:
                return
            writer.write(connection.data_to_send())
            await writer.drain()
            data = await reader.read(65536)
            if not data:
                raise ValueError(f"the connection ended with {len(open_streams)} streams open")
            for event in connection.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    open_streams[event.stream_id][1] = dict(event.headers)[":status"]
                elif isinstance(event, h2.events.DataReceived):
                    open_streams[event.stream_id][2] += len(event.data)
                    connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    size, status, count = open_streams.pop(event.stream_id)
                    if status != "200" or count != size:
                        raise ValueError(f"status {status}, {count} of {size} bytes")
                    self.count.success(kind)
                elif isinstance(event, h2.events.StreamReset):
                    raise ValueError(f"reset {event.error_code}")
                elif isinstance(event, h2.events.ConnectionTerminated):
                    is_leaving = True

    async def echo(self):
        while not self.is_over:
            writer = None
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", self.tcp)
                for _ in range(random.randint(1, 20)):
                    message = os.urandom(random.choice((1, 1000, 200_000)))
                    writer.write(message)
                    if await asyncio.wait_for(reader.readexactly(len(message)), 30) != message:
                        raise ValueError("other bytes")
                    self.count.success("tcp")
                    await asyncio.sleep(random.uniform(0, 0.02))
            except (OSError, ValueError, asyncio.IncompleteReadError, asyncio.TimeoutError) as error:
                self.count.failure("tcp", repr(error))
                await asyncio.sleep(0.1)
            finally:
                if writer:
                    writer.close()

    # Noise

    async def noise(self, body, pause):
        while not self.is_over:
            writer = None
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", random.choice((self.http, self.https, self.tcp)))
                await body(writer)
            except OSError:
                pass
            if writer:
                writer.transport.abort()
            self.count.change("noise")
            await asyncio.sleep(random.uniform(0, pause))

    async def vanish(self):
        async def half(writer):
            writer.write(random.choice((
                b"POST /10 HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\nabc", b"GET /100000 HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HT",
                b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", b"\x16\x03\x01\x01\x00\x01")))
            await asyncio.sleep(random.uniform(0, 0.05))
        await self.noise(half, 0.05)

    async def rubbish(self):
        async def junk(writer):
            writer.write(os.urandom(random.randint(1, 3000)))
            await asyncio.sleep(random.uniform(0, 0.05))
        await self.noise(junk, 0.1)

    async def silence(self):
        async def wait(writer):
            await asyncio.sleep(random.uniform(0, 2))
        await asyncio.gather(*(self.noise(wait, 0.1) for _ in range(10)))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(HERE.parent / ".build/release/skein-proxy"))
    parser.add_argument("--seconds", type=int, default=1800)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="skein-soak-") as directory:
        problems = asyncio.run(Soak(options.program, options.seconds).run(directory))
    for problem in problems:
        print(f"FAILED {problem}")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
