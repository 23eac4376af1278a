"""1 GiB through the proxy, each way, with a slow reader at the far end: every byte arrives, and the memory stays bounded.

The reader takes what comes at a fixed rate while the writer could be several times faster: what the proxy does not hold back
it would have to keep.
"""
import os
import socket
import subprocess
import tempfile
import threading
import time
import zlib

from hpack import Encoder

from peers.proxy import Proxy, cluster, free_port, http_manager, listener, tcp_proxy

BLOCK = os.urandom(1 << 16) * 4  # 256 KiB
RATE = 160 << 20
MEMORY_MAX = 32 << 10  # KiB
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def expected(size, block=BLOCK):
    crc = 0
    for _ in range(size // len(block)):
        crc = zlib.crc32(block, crc)
    return zlib.crc32(block[:size % len(block)], crc)


class Reader:
    """Counts and sums what comes, no faster than RATE."""

    def __init__(self):
        self.count, self.crc, self.begin = 0, 0, time.monotonic()

    def take(self, data):
        self.count += len(data)
        self.crc = zlib.crc32(data, self.crc)
        ahead = self.count / RATE - (time.monotonic() - self.begin)
        if ahead > 0.01:
            time.sleep(ahead)


def send_all(connection, size):
    left = size
    while left > 0:
        left -= connection.send(memoryview(BLOCK)[(size - left) % len(BLOCK):][:left])


class Upstream:
    """A server of one connection after the other; `kind`: h1, h2 or tcp."""

    def __init__(self, kind, size):
        self.kind, self.size, self.reader, self.failure = kind, size, Reader(), None
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                {"h1": self.h1, "h2": self.h2, "tcp": self.tcp}[self.kind](connection)
            except OSError as error:
                self.failure = error
            connection.close()

    def h1(self, connection):
        buffer = b""
        while b"\r\n\r\n" not in buffer:
            more = connection.recv(65536)
            if not more:
                return
            buffer += more
        head, _, body = buffer.partition(b"\r\n\r\n")
        if head.startswith(b"GET"):
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % self.size)
            send_all(connection, self.size)
        else:
            if b"100-continue" in head.lower():
                connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
            self.reader = Reader()
            self.reader.take(body)
            while self.reader.count < self.size:
                data = connection.recv(1 << 18)
                if not data:
                    return
                self.reader.take(data)
            text = b"%d" % self.reader.crc
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(text), text))

    def tcp(self, connection):
        order = connection.recv(1)
        if order == b"D":
            send_all(connection, self.size)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
            return
        self.reader = Reader()
        while data := connection.recv(1 << 18):
            self.reader.take(data)
        connection.sendall(b"%d" % self.reader.crc)

    def h2(self, connection):
        H2End(connection, is_server=True).serve(self)


class H2End:
    """HTTP/2 over a blocking socket, as little as a transfer needs."""

    def __init__(self, connection, is_server):
        self.socket, self.buffer, self.is_server = connection, bytearray(), is_server
        self.windows = {0: 65535}
        self.initial = 65535
        self.encoder = Encoder()
        # A stream's window of 256 KiB: the flow control is what is tried.
        settings = b"\x00\x04" + (1 << 18).to_bytes(4, "big")
        self.socket.sendall((b"" if is_server else PREFACE) + self.frame(4, 0, 0, settings)
                            + self.frame(8, 0, 0, (1 << 20).to_bytes(4, "big")))
        if is_server:
            self.fill(len(PREFACE))
            del self.buffer[:len(PREFACE)]

    @staticmethod
    def frame(kind, flags, stream, payload=b""):
        return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload

    def fill(self, count):
        while len(self.buffer) < count:
            data = self.socket.recv(1 << 18)
            if not data:
                raise ConnectionError("the connection ended")
            self.buffer += data

    def next(self):
        """The next frame that is not the connection's own business."""
        while True:
            self.fill(9)
            length = int.from_bytes(self.buffer[:3], "big")
            kind, flags = self.buffer[3], self.buffer[4]
            stream = int.from_bytes(self.buffer[5:9], "big")
            self.fill(9 + length)
            payload = bytes(self.buffer[9:9 + length])
            del self.buffer[:9 + length]
            if kind == 4 and not flags & 1:
                for place in range(0, length, 6):
                    if payload[place:place + 2] == b"\x00\x04":
                        value = int.from_bytes(payload[place + 2:place + 6], "big")
                        for key in self.windows:
                            if key:
                                self.windows[key] += value - self.initial
                        self.initial = value
                self.socket.sendall(self.frame(4, 1, 0))
            elif kind == 6 and not flags & 1:
                self.socket.sendall(self.frame(6, 1, 0, payload))
            elif kind == 8:
                self.windows[stream] = self.windows.get(stream, self.initial) + int.from_bytes(payload, "big")
                return kind, flags, stream, payload
            elif kind in (3, 7):
                raise ConnectionError(f"frame {kind}: {payload!r}")
            elif kind in (0, 1):
                return kind, flags, stream, payload

    def headers(self, stream, fields, is_end=False):
        self.windows.setdefault(stream, self.initial)
        self.socket.sendall(self.frame(1, 5 if is_end else 4, stream, self.encoder.encode(fields)))

    def send(self, stream, size):
        left = size
        view = memoryview(BLOCK)
        while left > 0:
            may = min(left, 16384, self.windows[0], self.windows[stream])
            if may <= 0:
                self.next()
                continue
            place = (size - left) % len(BLOCK)
            data = view[place:place + may]
            left -= len(data)
            self.windows[0] -= len(data)
            self.windows[stream] -= len(data)
            self.socket.sendall(self.frame(0, 1 if left == 0 else 0, stream, bytes(data)))

    def receive(self, stream, reader):
        """Takes the stream's DATA to its end."""
        credit = 0
        while True:
            kind, flags, where, payload = self.next()
            if where != stream or kind != 0:
                if kind == 1 and where == stream and flags & 1:
                    return
                continue
            if payload:
                reader.take(payload)
                credit += len(payload)
            if flags & 1:
                return
            if credit >= 1 << 16:
                increment = credit.to_bytes(4, "big")
                self.socket.sendall(self.frame(8, 0, 0, increment) + self.frame(8, 0, stream, increment))
                credit = 0

    def serve(self, upstream):
        while True:
            kind, flags, stream, _ = self.next()
            if kind != 1:
                continue
            if flags & 1:
                self.headers(stream, [(":status", "200"), ("content-length", str(upstream.size))])
                self.send(stream, upstream.size)
            else:
                upstream.reader = Reader()
                self.receive(stream, upstream.reader)
                self.headers(stream, [(":status", "200")])
                text = b"%d" % upstream.reader.crc
                self.socket.sendall(self.frame(0, 1, stream, text))


def h2_client(port, upload, size):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    end = H2End(connection, is_server=False)
    fields = [(":method", "POST" if upload else "GET"), (":scheme", "http"), (":path", "/"), (":authority", "t")]
    end.headers(1, fields, is_end=not upload)
    if upload:
        end.send(1, size)
    reader = Collector() if upload else Reader()
    end.receive(1, reader)
    connection.close()
    return reader


class Collector:
    def __init__(self):
        self.data = b""

    def take(self, data):
        self.data += data


def tcp_client(port, upload, size):
    connection = socket.create_connection(("127.0.0.1", port))
    connection.sendall(b"U" if upload else b"D")
    if upload:
        send_all(connection, size)
        connection.shutdown(socket.SHUT_WR)
    reader = Collector() if upload else Reader()
    while data := connection.recv(1 << 18):
        reader.take(data)
    connection.close()
    return reader


def curl_client(port, upload, size, version):
    """curl, the real thing: it sums for us by way of a pipe."""
    command = ["curl", "--silent", "--show-error", "--no-buffer", version, f"http://127.0.0.1:{port}/"]
    if not upload:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, bufsize=0)
        reader = Reader()
        while data := process.stdout.read(1 << 18):
            reader.take(data)
        process.wait()
        return reader
    # A file of the repeated block would take the disk that it says; its bytes are known, too, when it is one hole.
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(size)
        collector = Collector()
        collector.take(subprocess.run(command + ["-X", "POST", "-T", file.name], stdout=subprocess.PIPE).stdout)
    return collector


def curl_with(version):
    def curl(port, upload, size):
        return curl_client(port, upload, size, version)
    return curl


# name, kind of upstream, client
CASES = [
    ("HTTP/1.1", "h1", curl_with("--http1.1")),
    ("HTTP/2 to HTTP/1.1", "h1", curl_with("--http2-prior-knowledge")),
    ("HTTP/2", "h2", h2_client),
    ("TCP", "tcp", tcp_client),
]


def run(program, size, check):
    whole, hole = expected(size), expected(size, bytes(len(BLOCK)))
    for name, kind, client in CASES:
        for upload in (False, True):
            upstream = Upstream(kind, size)
            # curl sends a file.
            want = hole if upload and client.__name__ == "curl" else whole
            port = free_port()
            if kind == "tcp":
                entry = listener("in", port, tcp_proxy("backend"))
            else:
                routes = [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}]
                entry = listener("in", port, http_manager(routes))
            with Proxy(program, [entry], [cluster("backend", [upstream.port], http2=kind == "h2")]) as proxy:
                begin = time.monotonic()
                proxy.forget_peak()
                try:
                    reader = client(port, upload, size)
                    got = int(reader.data or b"-1") if upload else (reader.crc if reader.count == size else -reader.count)
                except (OSError, ValueError) as error:
                    got = repr(error)
                seconds, peak = time.monotonic() - begin, proxy.memory("VmHWM")
                words = f"{name} {'upload' if upload else 'download'} of {size >> 20} MiB, slow reader"
                check(words, got == want and proxy.is_running(), f"{seconds:.1f} s" if got == want else f"{got} {upstream.failure}")
                check(f"{words}: at most {MEMORY_MAX >> 10} MiB", peak <= MEMORY_MAX, f"{peak / 1024:.1f} MiB")
            upstream.socket.close()
