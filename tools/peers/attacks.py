"""Attacks at their full size, with an eye on memory and on those who mean no harm (the ids are those of the tests)."""
import asyncio
import http.client
import socket
import struct
import threading
import time

from hpack import Encoder

from peers.proxy import Proxy, cluster, free_port, http_manager, listener

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
# KiB: what a proxy may keep of an attack that is over, and a stream of a reader that does not read.
GROWTH_MAX = 4096
STREAM_MAX = 160


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def request(path="/", more=()):
    return Encoder().encode([(":method", "GET"), (":scheme", "http"), (":path", path), (":authority", "a"), *more], huffman=False)


def connect(port):
    connection = socket.create_connection(("127.0.0.1", port), timeout=10)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


class Bystander(threading.Thread):
    """Asks all the time, and remembers how long it took."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.port, self.times, self.failures, self.is_over = port, [], [], False
        self.start()

    def run(self):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self.is_over:
            begin = time.monotonic()
            try:
                connection.request("GET", "/0")
                response = connection.getresponse()
                response.read()
                if response.status != 200:
                    self.failures.append(response.status)
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
                connection.close()
            self.times.append(time.monotonic() - begin)
            time.sleep(0.005)

    def end(self):
        self.is_over = True
        self.join()
        return sorted(self.times)[int(len(self.times) * 0.99)] if self.times else 0.0


class Upstream:
    """Answers `GET /N` with N bytes, as fast as they are taken."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.requests = 0
        started = threading.Event()

        def run():
            asyncio.set_event_loop(self.loop)
            server = self.loop.run_until_complete(asyncio.start_server(self.serve, "127.0.0.1", 0, backlog=4096))
            self.port = server.sockets[0].getsockname()[1]
            started.set()
            self.loop.run_forever()
        threading.Thread(target=run, daemon=True).start()
        started.wait()

    async def serve(self, reader, writer):
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests += 1
                size = int(head.split(b" ", 2)[1].rpartition(b"/")[2] or 0)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
                while size:
                    piece = min(size, 65536)
                    writer.write(bytes(piece))
                    size -= piece
                    await writer.drain()
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, IndexError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()


def flood(port, first, piece, limit):
    """Writes until the proxy ends the connection, and begins again, `limit` bytes in all; how many connections it took."""
    sent, connections = 0, 0
    while sent < limit:
        connections += 1
        try:
            with connect(port) as client:
                client.sendall(first)
                while sent < limit:
                    client.sendall(piece)
                    sent += len(piece)
        except OSError:
            sent += len(piece)
    return connections


def rapid_reset(port, seconds):
    end, streams = time.monotonic() + seconds, 0
    block = request("/0")
    while time.monotonic() < end:
        try:
            with connect(port) as client:
                client.sendall(PREFACE + frame(4))
                stream = 1
                while time.monotonic() < end:
                    client.sendall(b"".join(
                        frame(1, 5, number, block) + frame(3, 0, number, struct.pack(">I", 8)) for number in range(stream, stream + 200, 2)))
                    stream += 200
                    streams += 100
        except OSError:
            pass
    return streams


def dribble(port, streams, path):
    """Connections with windows of one byte; they stay open."""
    clients = []
    for _ in range(streams // 100):
        client = connect(port)
        client.sendall(PREFACE + frame(4, 0, 0, b"\x00\x04" + struct.pack(">I", 1))
                       + b"".join(frame(1, 5, number, request(path)) for number in range(1, 200, 2)))
        clients.append(client)
    return clients


def run(program, check):
    upstream = Upstream()
    port = free_port()
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}]
    limits = {"thresholds": [{"max_connections": 10000, "max_requests": 10000, "max_pending_requests": 10000}]}
    entry = listener("in", port, http_manager(routes))
    with Proxy(program, [entry], [cluster("backend", [upstream.port], circuit_breakers=limits)]) as proxy:
        bystander = Bystander(port)
        time.sleep(1)
        before, quiet = proxy.memory(), len(bystander.times)

        asked = upstream.requests
        streams = rapid_reset(port, 5)
        connections = proxy.stats().get("http2.premature_resets_flood", 0)
        asked = upstream.requests - asked - (len(bystander.times) - quiet)
        check(f"ATK-01: {streams} streams begun and reset in 5 s: {connections} connections were cut off", connections > 0)
        check("ATK-01: few of them reach the upstream", asked <= 300 * (connections + 1), f"{asked} requests")

        field = request("/", [("x", "v" * 1000)])
        first = PREFACE + frame(4) + frame(1, 1, 1, request())
        count = flood(port, first, frame(9, 0, 1, field[:16000]), 1 << 30)
        check("ATK-02: 1 GiB of CONTINUATION", proxy.is_running(), f"{count} connections were cut off")

        for name, piece in (("PING", frame(6, 0, 0, bytes(8))), ("SETTINGS", frame(4)), ("PRIORITY", frame(2, 0, 1, b"\0\0\0\0\x09")),
                            ("WINDOW_UPDATE", frame(8, 0, 0, struct.pack(">I", 1))), ("empty DATA", frame(0, 0, 1))):
            count = flood(port, PREFACE + frame(4) + frame(1, 4, 1, request()), piece * 1000, 1_000_000 * len(piece))
            check(f"ATK-04: a million {name} frames", proxy.is_running(), f"{count} connections were cut off")

        count = flood(port, b"", b"BAD\r\n\r\n" * 1000, 100_000 * 7)
        check("ATK-09: 100,000 bad requests that nobody reads the answers of", proxy.is_running(), f"{count} connections were cut off")

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        for number in range(40_000):
            if number % 20 == 0:
                connection.close()
            connection.putrequest("GET", f"/{number % 2}", skip_host=True)
            connection.putheader("host", f"host-{number}.example")
            connection.endheaders()
            connection.getresponse().read()
            if number == 10_000:
                middle = proxy.memory()
        check("ATK-19: 40,000 names of hosts leave no trace", proxy.memory() - middle <= GROWTH_MAX,
              f"{proxy.memory() - middle:+} KiB after the first 10,000")

        p99 = bystander.end()
        check("ATK-01, 02, 04, 09: nobody else's request failed", not bystander.failures,
              bystander.failures[:3] or f"{len(bystander.times)} requests, p99 {p99 * 1000:.0f} ms")
        check("ATK-01, 02, 04, 09: nothing is kept of them", proxy.memory() - before <= GROWTH_MAX + 8192,
              f"{proxy.memory() - before:+} KiB")

        before = proxy.memory()
        clients = dribble(port, 1000, f"/{100 << 20}")
        time.sleep(5)
        growth = proxy.memory() - before
        check("ATK-05: 1,000 answers of 100 MiB to readers with a window of one byte", growth <= 1000 * STREAM_MAX, f"{growth:+} KiB")
        for client in clients:
            client.close()

        slow = []
        for _ in range(2000):
            client = connect(port)
            client.sendall(b"G")
            slow.append(client)
        status = proxy.get("/ready")[0]
        check("ATK-10: 2,000 connections that send a byte a second, and the admin page answers", status == 200)
        time.sleep(11)
        timeouts = proxy.stats().get("http.in.downstream_rq_header_timeout", 0)
        check("ATK-10: their heads are not waited for", timeouts >= 2000, f"{timeouts} timeouts")
        for client in slow:
            client.close()
        check("after all attacks the proxy serves", http_get(port) == 200)


def http_get(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", "/5")
    return connection.getresponse().status
