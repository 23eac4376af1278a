#!/usr/bin/python3
"""Writes tools/function-order.txt: the functions that serving needs, then those that taking in a configuration needs.

The linker of a release build puts them side by side in this order. A page fault brings 64 KiB of the program into memory: with the megabyte
that a sidecar at work runs through scattered over 20 MiB of code, it would hold half of them. What is executed is seen in sidecars of the
bookstore while they serve (trace_functions.py) and in a proxy that does what no sidecar of the bookstore does (HTTP/2, TCP). Names that a
later build no longer has are passed over, and what is new lies behind the others: run this again when much has changed
(`make function-order`).

usage: function-order.py [BINARY]   (.build/release/skein-proxy by default, not stripped; as root, skein beside it; needs openssl)
"""
import contextlib
import importlib.util
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time

from check import lib

ROOT = pathlib.Path(__file__).resolve().parent.parent
ORDER = ROOT / "tools/function-order.txt"
REQUESTS = 40
SETTLE_SECONDS = 6
# A section of code of this size is not taken apart by function.
LARGE_BYTES = 100_000

CHAIN = """
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: %(name)s
          codec_type: AUTO
          normalize_path: true
          common_http_protocol_options: { idle_timeout: 3600s }
          stream_idle_timeout: 300s
          upgrade_configs: [ { upgrade_type: websocket } ]
          access_log:
          - name: file
            filter: { response_flag_filter: {} }
            typed_config: { "@type": type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog, path: /dev/null }
          http_filters:
          - { name: fault, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.fault.v3.HTTPFault } }
          - { name: cors, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors } }
          - { name: router, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router } }
          route_config:
            name: %(name)s
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - { match: { prefix: "/ready" }, route: { cluster: admin } }
              - match: { prefix: "/" }
                route: { cluster: %(cluster)s, timeout: 0s, retry_policy: { retry_on: reset-before-request, num_retries: 2 } }
"""

TLS = """
      transport_socket:
        name: envoy.transport_sockets.tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.%(kind)s
          common_tls_context:
            alpn_protocols: [%(alpn)s]
            tls_certificates: [ { certificate_chain: { filename: %(folder)s/cert }, private_key: { filename: %(folder)s/key } } ]
            validation_context: { trusted_ca: { filename: %(folder)s/cert } }
"""

CONFIG = """
admin: { address: { socket_address: { address: 127.0.0.1, port_value: %(admin)d } } }
static_resources:
  listeners:
  - name: outbound
    address: { socket_address: { address: 127.0.0.1, port_value: %(http)d } }
    listener_filters:
    - { name: i, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.http_inspector.v3.HttpInspector } }
    filter_chains:
    - name: http
%(outbound)s
  - name: inbound
    address: { socket_address: { address: 127.0.0.1, port_value: %(mtls)d } }
    listener_filters:
    - { name: i, typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.listener.tls_inspector.v3.TlsInspector } }
    filter_chains:
    - name: mtls
      filter_chain_match: { transport_protocol: tls }
%(inbound)s%(downstream)s
          require_client_certificate: true
    - name: plain
      filter_chain_match: { transport_protocol: raw_buffer }
%(inbound)s
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
    load_assignment: { cluster_name: backend, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(backend)d } } } } ] } ] }
  - name: admin
    type: STATIC
    load_assignment: { cluster_name: admin, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(admin)d } } } } ] } ] }
  - name: peer
    type: STATIC
    lb_policy: LEAST_REQUEST
    outlier_detection: {}
    load_assignment: { cluster_name: peer, endpoints: [ { lb_endpoints: [ { endpoint: { address: { socket_address: { address: 127.0.0.1, port_value: %(mtls)d } } } } ] } ] }
%(upstream)s
"""


class Watch:
    """Records what processes execute, or a command from its start on, until it is left."""

    def __init__(self, binary, out, *what):
        self.out, self.met = out, {}
        self.tracer = subprocess.Popen(
            [sys.executable, ROOT / "tools/trace_functions.py", binary, out, *map(str, what)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        if self.tracer.stdout.readline() != b"watching\n":
            sys.exit(f"function-order: {what} cannot be watched")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.tracer.send_signal(signal.SIGINT)
        self.tracer.wait(60)
        for line in self.out.read_text().splitlines():
            address, _, name = line.split(" ", 2)
            self.met[name] = int(address, 16)


def serve(costs, ports, folder):
    """What users do: requests on kept and on new connections, plain and with TLS, HTTP/1 and HTTP/2, probes, metrics."""
    context = ssl.create_default_context(cafile=folder / "cert")
    context.load_cert_chain(folder / "cert", folder / "key")
    context.check_hostname = False
    for _ in range(4):
        for client in (costs.HTTP1(ports["http"]), costs.HTTP2(ports["http"]), costs.HTTP1(ports["tcp"]), costs.HTTP1(ports["mtls"]),
                       costs.HTTP2(ports["mtls"])):
            for _ in range(REQUESTS):
                client.request()
            client.connection.close()
        secure = context.wrap_socket(socket.create_connection(("127.0.0.1", ports["mtls"]), timeout=60))
        client = costs.HTTP1.__new__(costs.HTTP1)
        client.connection = secure
        for _ in range(REQUESTS):
            client.request()
        secure.close()
        for port, path in ((ports["http"], "/ready"), (ports["mtls"], "/ready"), (ports["admin"], "/stats/prometheus")):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as probe:
                probe.sendall(f"GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
                while probe.recv(65536):
                    pass


def sidecars():
    return [pid for pid, line in lib.processes().items()
            if line.split(" ")[0].endswith("/skein-proxy") and "conmon" not in line and "/skein up" not in line]


def mesh(binary, folder):
    """What sidecars of the bookstore execute: while they serve, and when something changes."""
    # The control plane does not run as root.
    folder.chmod(0o755)
    folder.joinpath("bin").mkdir()
    shutil.copy(lib.SKEIN, folder / "bin/skein")
    subprocess.run(["strip", "-g", "-o", folder / "bin/skein-proxy", binary], check=True)
    lib.SKEIN = str(folder / "bin/skein")
    try:
        lib.up("-f", lib.BOOKSTORE)
        lib.write_kubeconfig()
        if not lib.wait(lambda: len([p for p in lib.pods() if p]) == 9 and lib.ready(None, 9), 60):
            sys.exit("function-order: the bookstore does not get ready")
        # Every other one: the services have two replicas.
        watched = sidecars()[::2]
        rounds = []
        for name, act in (("serving", lambda: [lib.get("/") for _ in range(200)] and time.sleep(SETTLE_SECONDS)), ("changing", change)):
            with contextlib.ExitStack() as stack:
                watches = [stack.enter_context(Watch(binary, folder / f"{name}.{pid}", pid)) for pid in watched]
                act()
            met = {}
            for watch in watches:
                met |= watch.met
            rounds.append(met)
        return rounds
    finally:
        lib.skein("down", status=None, timeout=180)
        shutil.rmtree(lib.DATA, ignore_errors=True)


def change():
    for verb in ("apply", "delete"):
        lib.skein(verb, "-f", f"{lib.BOOKSTORE}/fault")
        time.sleep(SETTLE_SECONDS)


def unsplit():
    """The functions of the standard library that lie in one large section: naming one first would put megabytes in front."""
    names = set()
    libraries = pathlib.Path(shutil.which("swiftc")).resolve().parent.parent / "lib/swift_static/linux"
    for library in ("libswiftCore.a", "libswift_Concurrency.a", "libswift_StringProcessing.a", "libswift_RegexParser.a"):
        large = set()
        listing = subprocess.run(["readelf", "-SsW", libraries / library], capture_output=True, text=True, check=True).stdout
        for line in listing.splitlines():
            if line.startswith("File:"):
                large = set()
            section = re.match(r"\s*\[\s*(\d+)\]\s+\.text\s+PROGBITS\s+\S+\s+\S+\s+([0-9a-f]+)", line)
            if section and int(section.group(2), 16) > LARGE_BYTES:
                large.add(section.group(1))
            parts = line.split()
            if len(parts) == 8 and parts[3] == "FUNC" and parts[6] in large:
                names.add(parts[7])
    return names


def alone(binary, folder):
    """What a proxy executes at its start, and for clients and protocols that the bookstore has not."""
    spec = importlib.util.spec_from_file_location("costs", ROOT / "tools/cost-check.py")
    costs = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(costs)
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "key", "-out",
         folder / "cert", "-days", "2", "-subj", "/CN=a", "-addext", "subjectAltName=URI:spiffe://cluster.local/ns/a/sa/a,DNS:a"],
        check=True, capture_output=True)
    ports = {name: costs.free_port() for name in ("http", "mtls", "tcp", "admin")} | {"backend": costs.backend()}
    parts = {
        "outbound": CHAIN % {"name": "outbound", "cluster": "peer"}, "inbound": CHAIN % {"name": "inbound", "cluster": "backend"},
        "downstream": TLS % {"kind": "DownstreamTlsContext", "alpn": "h2, http/1.1", "folder": folder},
        "upstream": TLS.replace("\n  ", "\n") % {"kind": "UpstreamTlsContext", "alpn": "http/1.1", "folder": folder}}
    (folder / "proxy.yaml").write_text(CONFIG % (ports | parts))
    command = [binary, "-c", folder / "proxy.yaml", "--concurrency", "1"]
    with Watch(binary, folder / "start", "--", *command) as start:
        answers(ports["tcp"])
    proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        answers(ports["tcp"])
        with Watch(binary, folder / "served", proxy.pid) as served:
            serve(costs, ports, folder)
    finally:
        proxy.kill()
        proxy.wait()
    return start.met, served.met


def answers(port):
    if not lib.wait(lambda: socket.socket().connect_ex(("127.0.0.1", port)) == 0, 60):
        sys.exit("function-order: skein-proxy does not start")


def main():
    binary = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ROOT / ".build/release/skein-proxy").resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        start, served = alone(binary, folder)
        serving, changing = mesh(binary, folder)
    last = unsplit()
    order = {}
    for group in (serving, served, changing | start):
        names = [name for name in group if name not in last]
        # Swift's and C++'s functions have a section each and are packed; those of C come with their neighbours, so neighbours stay together.
        packed = [name for name in names if name.startswith(("$s", "_Z"))]
        order |= dict.fromkeys(packed + sorted(set(names) - set(packed), key=group.get))
    order |= dict.fromkeys(name for group in (serving, served, changing, start) for name in group if name in last)
    ORDER.write_text("\n".join(name for name in order if re.fullmatch(r"[\w.$@]+", name)) + "\n")
    print(f"{ORDER.relative_to(ROOT)}: {len(order)} functions, {len(serving)} of them of sidecars that serve")


if __name__ == "__main__":
    main()
