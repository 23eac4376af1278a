"""One skein-proxy with a configuration of its own, watched from outside; and pieces of configurations."""
import http.client
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time

EXTENSIONS = "type.googleapis.com/envoy.extensions."
HCM = EXTENSIONS + "filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = EXTENSIONS + "filters.http.router.v3.Router"
TCP = EXTENSIONS + "filters.network.tcp_proxy.v3.TcpProxy"
OPTIONS = EXTENSIONS + "upstreams.http.v3.HttpProtocolOptions"
DOWNSTREAM_TLS = EXTENSIONS + "transport_sockets.tls.v3.DownstreamTlsContext"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def listener(name, port, network_filter, transport=None):
    chain = {"filters": [network_filter]}
    if transport:
        chain["transport_socket"] = transport
    return {"name": name, "address": address(port), "filter_chains": [chain]}


def http_manager(routes=None, rds=None, **more):
    manager = {"@type": HCM, "stat_prefix": "in", "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}], **more}
    if rds:
        manager["rds"] = rds
    else:
        manager["route_config"] = {"name": "local", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]}
    return {"name": "http", "typed_config": manager}


def tcp_proxy(cluster):
    return {"name": "tcp", "typed_config": {"@type": TCP, "stat_prefix": "tcp", "cluster": cluster}}


def cluster(name, ports, http2=False, **more):
    hosts = [{"endpoint": {"address": address(port)}} for port in ports]
    result = {"name": name, "type": "STATIC", "connect_timeout": "5s",
              "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": hosts}]}, **more}
    if http2:
        result["typed_extension_protocol_options"] = {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": OPTIONS, "explicit_http_config": {"http2_protocol_options": {"allow_connect": True}}}}
    return result


class Proxy:
    """Started with `listeners` and `clusters`; `more` is put into the bootstrap."""

    def __init__(self, program, listeners, clusters, concurrency=1, **more):
        self.admin = free_port()
        bootstrap = {"admin": {"address": address(self.admin)},
                     "static_resources": {"listeners": listeners, "clusters": clusters}, **more}
        self.directory = tempfile.TemporaryDirectory(prefix="skein-proxy-check-")
        file = pathlib.Path(self.directory.name) / "bootstrap.json"
        file.write_text(json.dumps(bootstrap))
        self.log = open(pathlib.Path(self.directory.name) / "log", "w+b")
        self.process = subprocess.Popen(
            [program, "-c", str(file), "--concurrency", str(concurrency), "-l", "warning"], stderr=self.log,
            stdout=self.log)
        self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def wait_ready(self):
        end = time.monotonic() + 30
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            try:
                if self.get("/ready")[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise RuntimeError("the proxy did not become ready:\n" + self.output())

    def get(self, path):
        connection = http.client.HTTPConnection("127.0.0.1", self.admin, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def stats(self):
        return {name: int(value) for name, _, value in
                (line.partition(": ") for line in self.get("/stats")[1].splitlines()) if value.isdigit()}

    def output(self):
        self.log.flush()
        return pathlib.Path(self.log.name).read_text(errors="replace")[-4000:]

    def memory(self, field="VmRSS"):
        """KiB of memory by /proc; VmHWM is the most there ever was."""
        for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(field + ":"):
                return int(line.split()[1])
        return 0

    def forget_peak(self):
        """VmHWM begins anew."""
        pathlib.Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def is_running(self):
        return self.process.poll() is None

    def stop(self):
        if self.is_running():
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        self.directory.cleanup()
