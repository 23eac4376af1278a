#!/usr/bin/env python3
"""Drives skein-proxy with a control plane that is not ours: grpcio and the published protos (PyPI `xds-protos`).

    tools/xds-check.py .build/debug/skein-proxy [--updates N]

For each of ADS state of the world, ADS delta, and single streams of both kinds: resources are added, changed and
removed; a bad one is refused with its path while the last good one serves; the stream is broken, and the next one
begins with the versions that the proxy has. Then N updates (default 200) while requests run, of which none may fail.
"""
import argparse
import collections
import concurrent.futures
import http.client
import http.server
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time

import grpc
from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.core.v3 import base_pb2  # noqa: F401: registers its messages
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.on_demand.v3 import on_demand_pb2  # noqa: F401
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2
from google.protobuf import any_pb2, json_format

TYPES = {"cds": cluster_pb2.Cluster, "eds": endpoint_pb2.ClusterLoadAssignment, "lds": listener_pb2.Listener,
         "rds": route_pb2.RouteConfiguration}
SERVICES = {"cds": ("cluster", "ClusterDiscoveryService", "Clusters"),
            "eds": ("endpoint", "EndpointDiscoveryService", "Endpoints"),
            "lds": ("listener", "ListenerDiscoveryService", "Listeners"),
            "rds": ("route", "RouteDiscoveryService", "Routes")}
FULL = ("cds", "lds")


def url(kind):
    return "type.googleapis.com/" + TYPES[kind].DESCRIPTOR.full_name


KINDS = {url(kind): kind for kind in TYPES}


class ControlPlane:
    """Resources by type and name, and every stream that wants some."""

    def __init__(self):
        self.lock = threading.RLock()
        self.resources = {kind: {} for kind in TYPES}  # name -> (version, message)
        self.version = 0
        self.streams = []
        self.rejections = []
        self.first_requests = []  # (kind, request) of each stream
        self.hidden = set()  # clusters for those alone who name them
        self.server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=32))
        self.server.add_generic_rpc_handlers([self])
        self.port = self.server.add_insecure_port("127.0.0.1:0")
        self.server.start()

    def service(self, call):
        delta = "/Delta" in call.method
        request = discovery_pb2.DeltaDiscoveryRequest if delta else discovery_pb2.DiscoveryRequest
        return grpc.stream_stream_rpc_method_handler(
            DeltaStream(self).serve if delta else StateStream(self).serve,
            request_deserializer=request.FromString, response_serializer=lambda message: message.SerializeToString())

    def set(self, kind, name, message):
        with self.lock:
            self.version += 1
            if message is None:
                self.resources[kind].pop(name, None)
            else:
                self.resources[kind][name] = (str(self.version), json_format.ParseDict(message, TYPES[kind]()))
            for stream in list(self.streams):
                stream.changed(kind)

    def break_streams(self):
        with self.lock:
            for stream in list(self.streams):
                stream.out.put(None)


class Stream:
    def __init__(self, plane):
        self.plane, self.out, self.nonce = plane, queue.Queue(), 0
        self.seen = set()

    def serve(self, requests, context):
        with self.plane.lock:
            self.plane.streams.append(self)

        def read():
            try:
                for request in requests:
                    with self.plane.lock:
                        self.request(request)
            except grpc.RpcError:
                pass
            self.out.put(None)
        threading.Thread(target=read, daemon=True).start()
        try:
            while (response := self.out.get()) is not None:
                yield response
        finally:
            with self.plane.lock:
                if self in self.plane.streams:
                    self.plane.streams.remove(self)

    def note(self, kind, request):
        if kind not in self.seen:
            self.seen.add(kind)
            self.plane.first_requests.append((kind, request))
        if request.HasField("error_detail"):
            self.plane.rejections.append(request.error_detail.message)


class StateStream(Stream):
    def __init__(self, plane):
        super().__init__(plane)
        self.names, self.sent, self.nonces = {}, {}, {}

    def request(self, request):
        kind = KINDS[request.type_url]
        self.note(kind, request)
        if request.response_nonce and request.response_nonce != self.nonces.get(kind):
            return
        names = set(request.resource_names)
        is_new = names - self.names.get(kind, set()) or kind not in self.names
        self.names[kind] = names
        if is_new and (not request.version_info or request.response_nonce):
            self.send(kind)
        elif is_new:
            self.sent[kind] = None
            if any(v != request.version_info for v, _ in self.wanted(kind).values()) or kind in FULL:
                self.send(kind)

    def wanted(self, kind):
        all_of = self.plane.resources[kind]
        return all_of if kind in FULL else {n: r for n, r in all_of.items() if n in self.names.get(kind, ())}

    def changed(self, kind):
        if kind in self.names and {n: v for n, (v, _) in self.wanted(kind).items()} != self.sent.get(kind):
            self.send(kind)

    def send(self, kind):
        wanted = self.wanted(kind)
        if not wanted and kind not in FULL:
            return
        self.nonce += 1
        self.nonces[kind] = str(self.nonce)
        self.sent[kind] = {n: v for n, (v, _) in wanted.items()}
        response = discovery_pb2.DiscoveryResponse(
            version_info=str(self.plane.version), type_url=url(kind), nonce=str(self.nonce))
        for name in sorted(wanted):
            response.resources.add().Pack(wanted[name][1])
        self.out.put(response)


class DeltaStream(Stream):
    def __init__(self, plane):
        super().__init__(plane)
        self.names, self.sent = {}, collections.defaultdict(dict)

    def request(self, request):
        kind = KINDS[request.type_url]
        self.note(kind, request)
        names = self.names.setdefault(kind, set())
        if not request.response_nonce:
            self.sent[kind].update(request.initial_resource_versions)
        names |= set(request.resource_names_subscribe)
        names -= set(request.resource_names_unsubscribe)
        for name in request.resource_names_unsubscribe:
            self.sent[kind].pop(name, None)
        have = self.plane.resources[kind]
        self.changed(kind, [n for n in request.resource_names_subscribe if n != "*" and n not in have and kind == "cds"])

    def changed(self, kind, missing=()):
        if kind not in self.names:
            return
        names, have = self.names[kind], self.plane.resources[kind]
        wanted = {n: r for n, r in have.items() if n in names or kind in FULL and n not in self.plane.hidden}
        changed = [n for n, (v, _) in sorted(wanted.items()) if self.sent[kind].get(n) != v]
        gone = [n for n in self.sent[kind] if n not in wanted]
        if missing:
            # Who names what is not there is told so.
            self.nonce += 1
            self.out.put(discovery_pb2.DeltaDiscoveryResponse(type_url=url(kind), nonce=str(self.nonce), removed_resources=missing))
        if not changed and not gone and (self.sent[kind] or kind not in FULL):
            return
        self.nonce += 1
        response = discovery_pb2.DeltaDiscoveryResponse(type_url=url(kind), nonce=str(self.nonce), removed_resources=gone)
        for name in changed:
            version, message = wanted[name]
            body = any_pb2.Any()
            body.Pack(message)
            response.resources.add(name=name, version=version, resource=body)
            self.sent[kind][name] = version
        for name in gone:
            del self.sent[kind][name]
        self.out.put(response)


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.server.text.encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def backend(text):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.text, server.daemon_threads = text, True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server.server_address[1]


def free_port():
    import socket
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def source(mode, delta):
    if mode == "ads":
        return {"ads": {}, "resource_api_version": "V3"}
    return {"api_config_source": {"api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
                                  "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}}


class Run:
    def __init__(self, program, mode, delta):
        self.mode, self.delta, self.plane = mode, delta, ControlPlane()
        self.source = source(mode, delta)
        self.port, self.admin = free_port(), free_port()
        dynamic = {"cds_config": self.source, "lds_config": self.source}
        if mode == "ads":
            dynamic["ads_config"] = source("single", delta)["api_config_source"]
        bootstrap = {
            "node": {"id": "check", "cluster": "check"},
            "admin": {"address": self.address(self.admin)},
            "dynamic_resources": dynamic,
            "static_resources": {"clusters": [{
                "name": "xds", "connect_timeout": "1s", "load_assignment": self.endpoints("xds", self.plane.port),
                "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                    "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                    "explicit_http_config": {"http2_protocol_options": {}}}}}]}}
        self.file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
        json.dump(bootstrap, self.file)
        self.file.close()
        self.process = subprocess.Popen([program, "-c", self.file.name, "--concurrency", "2", "-l", "warning"],
                                        stderr=subprocess.DEVNULL)

    @staticmethod
    def address(port):
        return {"socket_address": {"address": "127.0.0.1", "port_value": port}}

    def endpoints(self, name, *ports):
        return {"cluster_name": name, "endpoints": [
            {"lb_endpoints": [{"endpoint": {"address": self.address(port)}} for port in ports]}]}

    def cluster(self, name):
        return {"name": name, "type": "EDS", "connect_timeout": "1s", "eds_cluster_config": {"eds_config": self.source}}

    def listener(self, *filters):
        manager = {
            "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "in", "rds": {"route_config_name": "routes", "config_source": self.source},
            "http_filters": [*filters, {"name": "router", "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"}}]}
        return {"name": "in", "address": self.address(self.port),
                "filter_chains": [{"filters": [{"name": "hcm", "typed_config": manager}]}]}

    def check_demand(self):
        """Clusters that come when a request wants them (ODCDS), beside those that CDS sends."""
        plane, three = self.plane, backend("three")
        plane.hidden.add("late")
        plane.set("cds", "late", self.cluster("late"))
        plane.set("eds", "late", self.endpoints("late", three))
        plane.set("lds", "in", self.listener({"name": "on_demand", "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.on_demand.v3.OnDemand",
            "odcds": {"source": self.source, "timeout": "10s"}}}))
        routes = self.routes("b", "demand")
        routes["virtual_hosts"][0]["routes"][:0] = [
            {"match": {"path": f"/{name}"}, "route": {"cluster": name}} for name in ("late", "never")]
        plane.set("rds", "routes", routes)
        self.wait("routes to clusters on demand", lambda: self.get("/note") == (200, "demand"))
        assert "late::" not in self.get("/clusters", self.admin)[1], "a cluster that nobody has asked for"
        self.wait("a listener with on_demand", lambda: self.get("/late")[0] == 200, 5)
        begin = time.monotonic()
        assert self.get("/never")[0] == 503, "a cluster that does not exist"
        assert time.monotonic() - begin < 5, "the server said at once that there is none"
        assert self.get("/late") == (200, "three")
        assert self.get()[0] == 200, "the clusters of CDS are still there"

    @staticmethod
    def routes(cluster, note=""):
        return {"name": "routes", "virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [
            {"match": {"path": "/note"}, "direct_response": {"status": 200, "body": {"inline_string": note or "-"}}},
            {"match": {"prefix": "/"}, "route": {"cluster": cluster}}]}]}

    def get(self, path="/", port=None):
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def wait(self, what, body, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                if body():
                    return
            except OSError:
                pass
            time.sleep(0.02)
        raise SystemExit(f"{self.mode} {'delta' if self.delta else 'state of the world'}: waited in vain for {what}")

    def check(self, updates):
        plane = self.plane
        one, two = backend("one"), backend("two")
        plane.set("cds", "a", self.cluster("a"))
        plane.set("eds", "a", self.endpoints("a", one))
        plane.set("lds", "in", self.listener())
        plane.set("rds", "routes", self.routes("a", "first"))
        self.wait("the first answer", lambda: self.get() == (200, "one"))
        self.wait("/ready", lambda: self.get("/ready", self.admin)[0] == 200)

        plane.set("eds", "a", self.endpoints("a", two))
        self.wait("changed endpoints", lambda: self.get() == (200, "two"))
        plane.set("cds", "b", self.cluster("b"))
        plane.set("eds", "b", self.endpoints("b", one))
        plane.set("rds", "routes", self.routes("b", "second"))
        self.wait("a new cluster and changed routes", lambda: self.get() == (200, "one"))
        plane.set("cds", "a", None)
        self.wait("a removed cluster", lambda: "a::" not in self.get("/clusters", self.admin)[1])

        bad = self.routes("b", "bad")
        bad["virtual_hosts"][0]["routes"][0]["match"] = {"safe_regex": {"regex": "("}}
        plane.set("rds", "routes", bad)
        self.wait("a refusal", lambda: plane.rejections)
        path = "routes[routes].virtual_hosts[0].routes[0].match.safe_regex.regex: "
        assert path in plane.rejections[0], plane.rejections
        assert self.get("/note") == (200, "second"), "the last good routes serve"
        dump = self.get("/config_dump?resource=dynamic_route_configs", self.admin)[1]
        assert "error_state" in dump, "config_dump tells what was refused"
        plane.set("rds", "routes", self.routes("b", "third"))
        self.wait("good routes after bad ones", lambda: self.get("/note") == (200, "third"))

        plane.first_requests.clear()
        plane.break_streams()
        assert self.get() == (200, "one"), "without a management server it goes on"
        self.wait("new streams", lambda: {k for k, _ in plane.first_requests} >= set(TYPES))
        for kind, request in plane.first_requests:
            if self.delta:
                wanted = set(request.resource_names_subscribe)
                known = {n: v for n, (v, _) in plane.resources[kind].items() if kind in FULL or n in wanted}
                assert dict(request.initial_resource_versions) == known, (kind, request)
            else:
                assert request.version_info, (kind, request)

        failures, done, count = [], threading.Event(), [0]

        def load():
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            while not done.is_set():
                try:
                    connection.request("GET", "/")
                    response = connection.getresponse()
                    response.read()
                    if response.status != 200:
                        failures.append(response.status)
                    if response.will_close:
                        connection.close()
                except (OSError, http.client.HTTPException) as error:
                    failures.append(repr(error))
                    connection.close()
                count[0] += 1
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for number in range(updates):
            if number % 4 == 0:
                plane.set("eds", "b", self.endpoints("b", *([one], [two], [one, two])[number // 4 % 3]))
            elif number % 4 == 1:
                plane.set("rds", "routes", self.routes("b", f"update {number}"))
            elif number % 4 == 2:
                changed = self.cluster("b")
                changed["circuit_breakers"] = {"thresholds": [{"max_requests": 1000 + number}]}
                plane.set("cds", "b", changed)
            else:
                changed = self.listener()
                changed["filter_chains"][0]["name"] = f"chain-{number}"
                plane.set("lds", "in", changed)
            time.sleep(0.02)
        last = [n for n in range(updates) if n % 4 == 1][-1]
        self.wait("the last update", lambda: self.get("/note") == (200, f"update {last}"))
        done.set()
        for thread in threads:
            thread.join()
        assert not failures, f"{len(failures)} of {count[0]} requests failed: {failures[:3]}"
        if self.delta:
            self.check_demand()
        plane.set("lds", "in", None)

        def is_gone():
            try:
                self.get()
                return False
            except OSError:
                return True
        self.wait("a removed listener", is_gone)
        print(f"{self.mode} {'delta' if self.delta else 'state of the world'}: {updates} updates, {count[0]} requests, "
              "none failed")

    def stop(self):
        self.process.kill()
        self.process.wait()
        self.plane.server.stop(None)
        os.unlink(self.file.name)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--updates", type=int, default=200)
    options = parser.parse_args()
    for mode in ("ads", "single"):
        for delta in (False, True):
            run = Run(options.program, mode, delta)
            try:
                run.check(options.updates)
            finally:
                run.stop()


if __name__ == "__main__":
    sys.exit(main())
