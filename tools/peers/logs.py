"""Real Envoy tells Skein's control plane by its access log (gRPC) what it did: Istio's metrics, with the workloads of both sides, come out of it."""
import json
import socket
import subprocess
import threading
import urllib.parse
import urllib.request

from peers import mesh

# What an Envoy's bootstrap says to have its access logs sent: the name of the cluster that leads to the control plane.
METADATA = {"skein.access_logs": "xds"}
BYTES = "10.96.0.40"
CALLER, ENVOY = "10.244.0.5", "10.244.0.12"
PORT = 9000
REQUESTS, CONNECTIONS, SIZE = 40, 3, 1000


def echo(address, namespace):
    """Gives back what comes, connection by connection."""
    def listen():
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((address, PORT))
        server.listen(16)
        return server
    server = mesh.inside(namespace, listen)

    def serve(peer):
        with peer:
            while data := peer.recv(65536):
                peer.sendall(data)

    def accept():
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return server


def ask(query):
    url = "http://127.0.0.1:9400/api/v1/query?" + urllib.parse.urlencode({"query": query})
    with urllib.request.urlopen(url, timeout=10) as answer:
        return [(s["metric"], float(s["value"][1])) for s in json.load(answer)["data"]["result"]]


def send(size):
    """A connection that carries `size` bytes there and back."""
    with socket.create_connection((BYTES, PORT), timeout=10) as peer:
        peer.sendall(b"x" * size)
        left = size
        while left:
            data = peer.recv(65536)
            if not data:
                raise OSError("the connection ended early")
            left -= len(data)


def run(check, plane, http, namespaces):
    """`http()` is a request to web; `namespaces` those of its pods, the second of which has Envoy as its sidecar, as the caller has."""
    # The caller lives in this namespace: its connections come from its own address, as those of a pod do.
    route = next(line for line in subprocess.check_output(["ip", "route"], text=True).splitlines() if line.startswith(ENVOY))
    subprocess.run(["ip", "route", "replace", *route.replace(f"src {mesh.HOST}", f"src {CALLER}").split()], check=True)
    servers = [echo(space.address, space) for space in namespaces.values()]
    try:
        plane.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "bytes"}, "spec": {
            "clusterIP": BYTES, "selector": {"app": "web"}, "ports": [{"name": "tcp", "port": PORT, "targetPort": PORT}]}})
        mesh.wait("connections", lambda: send(10) or True)
        before = counted()
        for _ in range(REQUESTS):
            mesh.wait("a request", lambda: http()[0] == 200)
        # Envoy's workers take a new listener one after the other: a connection may meet the old one.
        for _ in range(CONNECTIONS):
            mesh.wait("a connection", lambda: send(SIZE) or True)
        look(check, plane, before)
    finally:
        for server in servers:
            server.shutdown(socket.SHUT_RDWR)  # Wakes the thread that accepts.
            server.close()
        subprocess.run(["ip", "route", "replace", *route.split()], check=True)
        plane.delete("Service", "v1", "bytes")


def counted():
    """What the caller's requests and connections are said to be by now."""
    source = '{reporter="source",source_workload="caller"}'
    return {name: sum(value for _, value in ask(name + source)) for name in
            ("istio_requests_total", "istio_request_duration_milliseconds_count", "istio_request_bytes_sum", "istio_response_bytes_sum",
             "istio_tcp_connections_opened_total", "istio_tcp_connections_closed_total", "istio_tcp_sent_bytes_total",
             "istio_tcp_received_bytes_total")}


def look(check, plane, before):
    def told():
        return {name: value - before[name] for name, value in counted().items()}

    def complete():
        now = told()
        return now["istio_requests_total"] >= REQUESTS and now["istio_tcp_connections_closed_total"] >= CONNECTIONS and now
    now = mesh.wait("what Envoy logs", complete, 40, lambda: f"{told()}{plane.output()}")
    check("Envoy's access log: every request and connection of the caller is counted, with times and sizes",
          now["istio_requests_total"] == now["istio_request_duration_milliseconds_count"] >= REQUESTS
          and now["istio_request_bytes_sum"] > 20 * REQUESTS and now["istio_response_bytes_sum"] > 20 * REQUESTS
          and now["istio_tcp_connections_opened_total"] == now["istio_tcp_connections_closed_total"] >= CONNECTIONS
          and now["istio_tcp_sent_bytes_total"] >= CONNECTIONS * SIZE <= now["istio_tcp_received_bytes_total"], now)
    edges = {(m["reporter"], m["source_workload"], m["destination_workload"], m["destination_service"]): m
             for m, _ in ask('istio_requests_total{destination_service_name="web"}')}
    service = "web.default.svc.cluster.local"
    source = edges.get(("source", "caller", "web-2", service), {})
    server = edges.get(("destination", "caller", "web-2", service), {})
    check("with the workloads of both sides, the service and its labels, as both Envoys saw it",
          source and server and source["response_code"] == "200" and source["response_flags"] == "-" and source["destination_app"] == "web"
          and source["destination_version"] == "v2" and source["source_app"] == "caller" and source["request_protocol"] == "http"
          and source["destination_canonical_revision"] == "v2", sorted(edges))
    check("the server's Envoy says who the caller was by his certificate", server.get("connection_security_policy") == "mutual_tls"
          and server["source_principal"].startswith("spiffe://") and server["destination_principal"].endswith("/sa/web"), server)
    connections = {(m["reporter"], m["source_workload"], m["destination_workload"]) for m, _ in
                   ask('istio_tcp_sent_bytes_total{destination_service_name="bytes"} > 0')}
    check("connections have the workloads of both sides, too", {("source", "caller", "web-2"), ("destination", "caller", "web-2")} <= connections,
          sorted(connections))
    view = plane.call("GET", "/skein/v1/traffic-view?seconds=120")[1]
    seen = {(e["source"], e["host"]): e for e in view["edges"]}
    edge = seen.get(("caller", service), {})
    check("skein stat, edges, top and graph know what Envoy told", edge.get("requestsPerSecond", 0) * 120 >= REQUESTS
          and edge["p95Milliseconds"] is not None and edge["success"] == 1 and edge["sentBytesPerSecond"] > 0, edge or view)
    figures = {name: value for line in page().splitlines() if line.startswith("skein_access_log_") for name, value in [line.split(" ")]}
    check("entries are counted, none was refused", float(figures["skein_access_log_entries_total"]) > REQUESTS
          and {figures[f"skein_access_log_{name}_total"] for name in ("refused", "malformed", "overflowed", "refused_streams")} == {"0"}, figures)


def page():
    with urllib.request.urlopen("http://127.0.0.1:9400/metrics", timeout=10) as answer:
        return answer.read().decode()
