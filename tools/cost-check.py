#!/usr/bin/python3
"""Counts what a request costs in user space: instructions and allocations, exactly, and compares with Benchmarks/costs.json.

`mesh` is HTTP/1 with what a mesh configures: access log, grpc_stats, fault, cors, retries; `grpc` and `grpc-mesh` are unary gRPC calls over
HTTP/2 on both sides, plain and with that. `sidecar` and `grpc-sidecar` have what ours sends to its sidecars:
access log, fault, cors, Istio's standard metrics, and traces (of which next to none is taken here: the figure is that of the others).

usage: cost-check.py [debug|release] [--write] [--keep]

--keep leaves what callgrind wrote in .build/costs, a file for each path, for callgrind_annotate.

callgrind counts, so what neighbours do hardly shows; h2 alone was seen to take 3 % more beside other programs (more time in nghttp2's header compression)
than on a machine that is left alone. Of a debug build only the allocations are judged.
"""
import json
import os
import pathlib
import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
COSTS = ROOT / "Benchmarks/costs.json"
ALLOCATORS = {"malloc", "calloc", "realloc", "posix_memalign", "aligned_alloc"}
WARM, COUNTED = 300, 500
# Instructions may grow by this before it is a failure; allocations may not.
TOLERANCE = 1.03

CONFIG = """
static_resources:
  listeners:
  - name: http
    address: { socket_address: { address: 127.0.0.1, port_value: %(http)d } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: http
          codec_type: AUTO
          http_filters:
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - { name: all, domains: ["*"], routes: [ { match: { prefix: "/" }, route: { cluster: backend } } ] }
  - name: mesh
    address: { socket_address: { address: 127.0.0.1, port_value: %(mesh)d } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: mesh
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "%(log)s"
          http_filters:
          - name: grpc_stats
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.grpc_stats.v3.FilterConfig, emit_filter_state: true }
          - name: fault
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }
          - name: cors
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }
          - name: router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: backend, retry_policy: { retry_on: "connect-failure,refused-stream", num_retries: 2 } }
  - name: sidecar
    address: { socket_address: { address: 127.0.0.1, port_value: %(sidecar)d } }
    filter_chains:
    - filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: sidecar
          tracing:
            client_sampling: { value: 100 }
            random_sampling: { value: 0.0001 }
            overall_sampling: { value: 100 }
            provider:
              name: otlp
              typed_config:
                "@type": type.googleapis.com/envoy.config.trace.v3.OpenTelemetryConfig
                service_name: cost
                grpc_service: { envoy_grpc: { cluster_name: collector }, timeout: 1s }
          access_log:
          - name: file
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog
              path: "%(log)s"
          http_filters:
          - name: envoy.filters.http.fault
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault }
          - name: envoy.filters.http.cors
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors }
          - name: istio.stats
            typed_config: { "@type": type.googleapis.com/stats.PluginConfig }
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: backend, retry_policy: { retry_on: "connect-failure,refused-stream", num_retries: 2 } }
  - name: tcp
    address: { socket_address: { address: 127.0.0.1, port_value: %(tcp)d } }
    filter_chains:
    - filters:
      - name: tcp
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: tcp
          cluster: backend
  clusters:
  - name: backend
    type: STATIC
    load_assignment:
      cluster_name: backend
      endpoints:
      - lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(backend)d } } } } ]
  - name: grpc
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
    load_assignment:
      cluster_name: grpc
      endpoints:
      - lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(grpc)d } } } } ]
  - name: collector
    type: STATIC
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: { http2_protocol_options: {} }
    load_assignment:
      cluster_name: collector
      endpoints:
      - lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: 9 } } } } ]
"""

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 1024\r\n\r\n" + b"x" * 1024


def serve_http1(connection):
    """Answers every head with the same 1 KiB."""
    data = b""
    while True:
        piece = connection.recv(65536)
        if not piece:
            return
        data += piece
        while b"\r\n\r\n" in data:
            data = data.split(b"\r\n\r\n", 1)[1]
            connection.sendall(ANSWER)


def literal(name, value):
    """A header field that no table keeps (RFC 7541, section 6.2.2); both shorter than 127 bytes."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


MESSAGE = b"\0\0\0\0\x64" + b"x" * 100


def serve_grpc(connection):
    """Answers every call with one message of 100 bytes and grpc-status 0; windows are given back as they are used."""
    exactly(connection, 24)
    connection.sendall(frame(4, 0, 0, b""))
    while True:
        head = connection.recv(9, socket.MSG_WAITALL)
        if len(head) < 9:
            return
        length, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
        exactly(connection, length)
        if kind == 4 and not flags & 1:
            connection.sendall(frame(4, 1, 0, b""))
        if kind == 6 and not flags & 1:
            sys.exit("cost-check: the backend was pinged")
        if kind == 0 and flags & 1:
            connection.sendall(frame(8, 0, 0, struct.pack(">I", length)) + frame(1, 4, stream, b"\x88" + literal(b"content-type", b"application/grpc"))
                               + frame(0, 0, stream, MESSAGE) + frame(1, 5, stream, literal(b"grpc-status", b"0")))


def backend(serve):
    """Serves connections that way; the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def begin(connection):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        serve(connection)

    def accept():
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=begin, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def exactly(connection, count):
    data = b""
    while len(data) < count:
        piece = connection.recv(count - len(data))
        if not piece:
            sys.exit("cost-check: the proxy closed the connection")
        data += piece
    return data


class HTTP1:
    """One keep-alive connection; over tcp_proxy too, which passes the same bytes."""

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def request(self):
        self.connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nuser-agent: cost\r\naccept: */*\r\n\r\n")
        data = b""
        while b"\r\n\r\n" not in data:
            data += exactly(self.connection, 1)
        assert data.startswith(b"HTTP/1.1 200"), data
        exactly(self.connection, 1024)


class HTTP2:
    """One connection with prior knowledge, one stream at a time."""
    expected = 1024

    def __init__(self, port):
        self.connection = socket.create_connection(("127.0.0.1", port), timeout=60)
        self.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b""))
        self.stream = 1

    def send(self):
        # GET, http, "/" of the static table, then :authority and user-agent as literals that no table keeps.
        self.connection.sendall(frame(1, 5, self.stream, b"\x82\x86\x84\x01\x01a\x0f\x2b\x04cost"))

    def request(self):
        self.send()
        received = 0
        while True:
            head = exactly(self.connection, 9)
            length, kind, flags, stream = int.from_bytes(head[:3], "big"), head[3], head[4], int.from_bytes(head[5:], "big")
            payload = exactly(self.connection, length)
            if kind == 4 and not flags & 1:
                self.connection.sendall(frame(4, 1, 0, b""))
            if kind in (3, 7):
                sys.exit(f"cost-check: HTTP/2 frame of type {kind}: {payload!r}")
            if stream == self.stream and kind == 0:
                received += length
            if stream == self.stream and kind in (0, 1) and flags & 1:
                break
        assert received == self.expected, received
        window = struct.pack(">I", received)
        self.connection.sendall(frame(8, 0, 0, window))
        self.stream += 2


class GRPC(HTTP2):
    """One unary call at a time, with a message of 100 bytes each way."""
    expected = len(MESSAGE)

    def send(self):
        block = (b"\x83\x86" + literal(b":path", b"/bench.Echo/Say") + literal(b":authority", b"a") + literal(b"content-type", b"application/grpc")
                 + literal(b"te", b"trailers"))
        self.connection.sendall(frame(1, 4, self.stream, block) + frame(0, 1, self.stream, MESSAGE))


def configuration(ports):
    """The file; listeners of calls are those of HTTP/1 with another port and cluster."""
    begin, end = CONFIG.index("  - name: http\n"), CONFIG.index("  - name: tcp\n")
    calls = CONFIG[begin:end].replace("cluster: backend", "cluster: grpc")
    for name in ("http", "mesh", "sidecar"):
        calls = calls.replace(f"- name: {name}\n    address", f"- name: calls-{name}\n    address").replace(f"%({name})d", f"%(calls_{name})d")
    return (CONFIG[:end] + calls + CONFIG[end:]) % ports


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def count(path):
    """Instructions in all and calls of allocators, of one callgrind file."""
    names, total, calls, callee = {}, 0, 0, ""
    for line in path.read_text(errors="replace").splitlines():
        if line.startswith("cfn="):
            match = re.match(r"cfn=\((\d+)\)(?: (.*))?", line)
            if match.group(2):
                names[match.group(1)] = match.group(2)
            callee = names.get(match.group(1), "")
        elif line.startswith("fn="):
            match = re.match(r"fn=\((\d+)\)(?: (.*))?", line)
            if match.group(2):
                names[match.group(1)] = match.group(2)
        elif line.startswith("calls=") and callee.split("'")[0] in ALLOCATORS:
            calls += int(line[6:].split()[0])
        elif line.startswith(("summary:", "totals:")):
            total = int(line.split()[1])
    return total, calls


def control(pid, *arguments):
    subprocess.run(["callgrind_control", *arguments, str(pid)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def main():
    kind = next((word for word in sys.argv[1:] if word in ("debug", "release")), "release")
    if not shutil.which("valgrind"):
        sys.exit("cost-check: valgrind is missing (make deps installs it)")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        binary = folder / "skein-proxy"
        # valgrind stumbles over the debugging information; the names of functions stay.
        subprocess.run(["strip", "-g", "-o", binary, ROOT / f".build/{kind}/skein-proxy"], check=True)
        ports = {"http": free_port(), "mesh": free_port(), "calls_http": free_port(), "calls_mesh": free_port(), "calls_sidecar": free_port(), "sidecar": free_port(), "tcp": free_port(), "backend": backend(serve_http1), "grpc": backend(serve_grpc),
                 "log": folder / "access.log"}
        (folder / "proxy.yaml").write_text(configuration(ports))
        proxy = subprocess.Popen(
            ["valgrind", "--tool=callgrind", "--instr-atstart=no", f"--callgrind-out-file={folder}/out", binary,
             "-c", folder / "proxy.yaml", "--concurrency", "1"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        threading.Thread(target=proxy.stderr.read, daemon=True).start()
        try:
            for _ in range(600):
                try:
                    socket.create_connection(("127.0.0.1", ports["tcp"]), timeout=1).close()
                    break
                except OSError:
                    if proxy.poll() is not None:
                        sys.exit(f"cost-check: skein-proxy ended with {proxy.returncode}")
                    time.sleep(0.1)
            paths = [("h1", HTTP1(ports["http"])), ("h2", HTTP2(ports["http"])), ("mesh", HTTP1(ports["mesh"])),
                     ("sidecar", HTTP1(ports["sidecar"])), ("tcp", HTTP1(ports["tcp"])),
                     ("grpc", GRPC(ports["calls_http"])), ("grpc-mesh", GRPC(ports["calls_mesh"])), ("grpc-sidecar", GRPC(ports["calls_sidecar"]))]
            figures = {}
            for number, (name, client) in enumerate(paths, 1):
                for _ in range(WARM):
                    client.request()
                control(proxy.pid, "-i", "on")
                for _ in range(COUNTED):
                    client.request()
                control(proxy.pid, "-i", "off")
                control(proxy.pid, "-d")
                out = folder / f"out.{number}"
                for _ in range(100):
                    if out.exists() and re.search(r"^(totals|summary):", out.read_text(errors="replace"), re.M):
                        break
                    time.sleep(0.1)
                instructions, allocations = count(out)
                if "--keep" in sys.argv:
                    (ROOT / ".build/costs").mkdir(parents=True, exist_ok=True)
                    shutil.copy(out, ROOT / f".build/costs/{kind}-{name}")
                figures[name] = {
                    "instructions": round(instructions / COUNTED), "allocations": round(allocations / COUNTED, 2)}
        finally:
            proxy.kill()
            proxy.wait()
    known = json.loads(COSTS.read_text()) if COSTS.exists() else {}
    if "--write" in sys.argv:
        known[kind] = figures
        COSTS.write_text(json.dumps(known, indent=2) + "\n")
    failed = False
    for name, now in figures.items():
        bound = known.get(kind, {}).get(name)
        if bound is None:
            print(f"✘ {kind} {name}: {now['instructions']} instructions, {now['allocations']} allocations; no threshold in {COSTS.name}")
            failed = True
            continue
        problems = []
        # Half an allocation a request: growth of arrays that happens now and then is no leak of discipline.
        if now["allocations"] > bound["allocations"] + 0.5:
            problems.append("more allocations than the threshold")
        if kind == "release" and now["instructions"] > bound["instructions"] * TOLERANCE:
            problems.append("more instructions than the threshold")
        print(f"{'✘' if problems else '✔'} {kind} {name}: {now['instructions']} instructions ({bound['instructions']}), "
              f"{now['allocations']} allocations ({bound['allocations']}) a request {'; '.join(problems)}")
        failed = failed or bool(problems)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
