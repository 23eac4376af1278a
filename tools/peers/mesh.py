"""A control plane of ours alone, pods that are only objects, and the xDS clients of others: Envoy and gRPC.

Everything lives in a network namespace of its own (`enter_namespace`): service addresses and pod addresses are all local to
it, and connections to service addresses are redirected to port 15001 unless they come from group 1337, as in a pod.
"""
import collections
import concurrent.futures
import datetime
import http.client
import http.server
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
PROXY_GROUP = 1337
CAPTURE = """
table ip mesh_check {
    chain output {
        type nat hook output priority -100;
        meta skgid 1337 return
        ip daddr 10.96.0.0/16 tcp dport 1-65535 redirect to :15001
    }
}
"""


def enter_namespace():
    """Starts this program again in a network namespace of its own."""
    if os.environ.get("SKEIN_MESH_CHECK") == "1":
        subprocess.run("ip link set lo up && ip route add local 10.96.0.0/16 dev lo && ip route add local 10.244.0.0/16 dev lo",
                       shell=True, check=True)
        subprocess.run(["nft", "-f", "-"], input=CAPTURE.encode(), check=True)
        return
    os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], {**os.environ, "SKEIN_MESH_CHECK": "1"})


def wait(what, body, seconds=20, log=None):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = body()
            if last:
                return last
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.01)
    raise RuntimeError(f"waited in vain for {what} ({last}){log() if log else ''}")


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


PLURALS = {"EnvoyFilter": "envoyfilters", "PeerAuthentication": "peerauthentications", "Service": "services", "Pod": "pods", "ConfigMap": "configmaps", "Event": "events", "Namespace": "namespaces",
           "VirtualService": "virtualservices", "DestinationRule": "destinationrules", "Gateway": "gateways",
           "EnvoyFilter": "envoyfilters"}


class ControlPlane:
    """`skein control-plane` in a directory of its own."""

    def __init__(self, program, port=15012):
        self.program, self.port = program, port
        self.directory = tempfile.TemporaryDirectory(prefix="skein-mesh-check-")
        self.path = pathlib.Path(self.directory.name)
        (self.path / "run").mkdir()
        (self.path / "control").mkdir()
        self.log = open(self.path / "log", "w+b")
        self.sockets = {}
        self.process = None
        self.agent = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [self.program, "control-plane", "--data-dir", str(self.path), "--run-dir", str(self.path / "run"),
             "--api", "127.0.0.1:6443", "--metrics", "127.0.0.1:9400", "--discovery", f"127.0.0.1:{self.port}", "--log-level", os.environ.get("SKEIN_LOG", "info")],
            stdout=self.log, stderr=self.log)
        wait("the control plane", lambda: self.call("GET", "/readyz")[0] == 200, log=self.output)
        self.agent = socket.socket(socket.AF_UNIX)
        self.agent.connect(str(self.path / "run/agent.sock"))
        for uid, (name, listening) in self.sockets.items():
            self.hand_over(uid, name, listening)

    def hand_over(self, uid, name, listening):
        line = json.dumps({"op": "xds", "uid": uid, "namespace": "default", "name": name}) + "\n"
        socket.send_fds(self.agent, [line.encode()], [listening.fileno()])

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.agent.close()

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.log.close()
        self.directory.cleanup()

    def output(self):
        self.log.flush()
        return "\n" + (self.path / "log").read_text(errors="replace")[-6000:]

    # The API

    def call(self, method, path, body=None, kind="application/json"):
        connection = UnixConnection(str(self.path / "run/api.sock"))
        try:
            connection.request(method, path, json.dumps(body) if body is not None else None,
                               {"content-type": kind} if body is not None else {})
            response = connection.getresponse()
            text = response.read()
            try:
                return response.status, json.loads(text)
            except ValueError:
                return response.status, text.decode(errors="replace")
        finally:
            connection.close()

    @staticmethod
    def where(kind, version, namespace, name=""):
        group = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        place = f"{group}/namespaces/{namespace}/{PLURALS[kind]}"
        return place + (f"/{name}" if name else "")

    def apply(self, item):
        meta = item["metadata"]
        namespace = meta.setdefault("namespace", "default")
        path = self.where(item["kind"], item["apiVersion"], namespace, meta["name"])
        status, old = self.call("GET", path)
        if status == 200:
            meta["resourceVersion"] = old["metadata"]["resourceVersion"]
            status, answer = self.call("PUT", path, item)
            del meta["resourceVersion"]
            if status == 409:
                return self.apply(item)  # Its status has been written in between.
        else:
            status, answer = self.call("POST", self.where(item["kind"], item["apiVersion"], namespace), item)
        assert status in (200, 201), (status, answer)
        return answer

    def delete(self, kind, version, name, namespace="default"):
        return self.call("DELETE", self.where(kind, version, namespace, name), {"gracePeriodSeconds": 0})

    def service(self, name, port, target, port_name="http", address=None):
        spec = {"selector": {"app": name}, "ports": [{"name": port_name, "port": port, "targetPort": target}]}
        if address:
            spec["clusterIP"] = address
        return self.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec})

    def pod(self, name, address, labels, ready=True, account="default"):
        """A pod that runs, as far as the objects say."""
        path = self.where("Pod", "v1", "default", name)
        if self.call("GET", path)[0] != 200:
            self.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": labels},
                        "spec": {"serviceAccountName": account, "containers": [{"name": "c", "image": "i"}]}})
        status = {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}],
                             "conditions": [{"type": "Ready", "status": "True" if ready else "False"}]}}
        code, answer = self.call("PATCH", path + "/status", status, "application/merge-patch+json")
        assert code == 200, (code, answer)
        return answer

    def rule(self, name, spec):
        return self.apply({"apiVersion": "networking.istio.io/v1", "kind": "VirtualService",
                           "metadata": {"name": name}, "spec": spec})

    def destination(self, name, spec):
        return self.apply({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
                           "metadata": {"name": name}, "spec": spec})

    def events(self, name):
        items = self.call("GET", self.where("Event", "v1", "default"))[1].get("items", [])
        return [item for item in items if item.get("involvedObject", {}).get("name") == name]

    def skein(self, *arguments, content=None):
        """Exit status and output of a command of ours; `content` is applied as a file."""
        if content is not None:
            file = self.path / "apply.json"
            file.write_text(json.dumps(content))
            arguments = (*arguments, "-f", str(file))
        done = subprocess.run([self.program, *arguments, "--run-dir", str(self.path / "run"), "--data-dir", str(self.path)],
                              capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout + done.stderr

    # Ways in

    def pod_socket(self, name):
        """The xDS socket of a pod, as the node agent makes it."""
        uid = self.call("GET", self.where("Pod", "v1", "default", name))[1]["metadata"]["uid"]
        path = str(self.path / "run" / f"{uid}.sock")
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(path)
        listening.listen(16)
        self.sockets[uid] = (name, listening)
        self.hand_over(uid, name, listening)
        return path

    def certificate(self, identity, name="client"):
        """A client certificate of the mesh's authority; returns the files of certificate and key."""
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        authority = x509.load_pem_x509_certificate((self.path / "control/ca.crt").read_bytes())
        signer = serialization.load_pem_private_key((self.path / "control/ca.key").read_bytes(), None)
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.datetime.now(datetime.timezone.utc)
        certificate = (
            x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.subject)
            .public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(minutes=5)).not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
            .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(signer, hashes.SHA256()))
        files = self.path / f"{name}.crt", self.path / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                                               serialization.NoEncryption()))
        return tuple(map(str, files))


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.server.seen[self.path] += 1
        status = 200
        if self.path.startswith("/flaky") and self.server.seen[self.path] % 2:
            status = 503
        body = self.server.text.encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def server_bind(self):
        # Not HTTPServer's: it looks up its own name.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_name, self.server_port = self.server_address[:2]


def backend(text, address, port=8080):
    server = Server((address, port), Page)
    server.text, server.seen = text, collections.Counter()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def get(address, path="/", host="web", port=80, timeout=5):
    connection = http.client.HTTPConnection(address, port, timeout=timeout)
    try:
        connection.request("GET", path, headers={"host": host})
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


class Load:
    """Requests without a break while something happens."""

    def __init__(self, ask, threads=3):
        self.ask, self.done, self.failures, self.count = ask, threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.work) for _ in range(threads)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def work(self):
        while not self.done.is_set():
            try:
                status, body = self.ask()
                if status != 200:
                    self.failures.append((status, body))
            except (OSError, http.client.HTTPException) as error:
                self.failures.append(repr(error))
            self.count += 1

    def __exit__(self, *_):
        self.done.set()
        for thread in self.threads:
            thread.join()


def pipe_cluster(path):
    return {"pipe": {"path": path}}


class Envoy:
    """A real Envoy as the sidecar of a pod."""

    def __init__(self, program, plane, pod, address, delta, upstream, transport=None, admin=15000, base_id=0, more=None):
        ads = {"ads": {}, "resource_api_version": "V3"}
        cluster = {
            "name": "xds", "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": upstream}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}}}
        if transport:
            cluster["transport_socket"] = transport
        bootstrap = {
            "node": {"id": f"sidecar~{address}~{pod}.default~default.svc.cluster.local", "cluster": f"{pod}.default"},
            "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
            "dynamic_resources": {
                "cds_config": ads, "lds_config": ads,
                "ads_config": {"api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
                               "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}},
            # Listeners and clusters with mTLS name the second for their certificates.
            "static_resources": {"clusters": [cluster, {**cluster, "name": "sds-grpc"}]}, **(more or {})}
        self.admin = admin
        self.file = tempfile.NamedTemporaryFile("w", suffix=".json", delete=False)
        json.dump(bootstrap, self.file)
        self.file.close()
        self.log = tempfile.TemporaryFile("w+b")
        self.process = subprocess.Popen(
            [program, "-c", self.file.name, "--concurrency", "2", "-l", "warning", "--base-id", str(base_id),
             "--drain-time-s", "2"],
            stdout=self.log, stderr=self.log, preexec_fn=lambda: os.setgid(PROXY_GROUP))
        wait("Envoy", lambda: self.admin_get("/ready")[0] == 200, seconds=30, log=lambda: self.output() + plane.output())

    def admin_get(self, path):
        return get("127.0.0.1", path, "admin", self.admin)

    def stats(self, pattern):
        lines = self.admin_get(f"/stats?filter={pattern}")[1].splitlines()
        return {name: int(value) for name, _, value in (line.partition(": ") for line in lines) if value.isdigit()}

    def output(self):
        self.log.flush()
        self.log.seek(0)
        return "\n" + self.log.read().decode(errors="replace")[-4000:]

    def stop(self):
        self.process.kill()
        self.process.wait()
        os.unlink(self.file.name)


def tls(plane, files, name="skein.skein-system.svc"):
    return {"name": "tls", "typed_config": {
        "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": name,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [{"certificate_chain": {"filename": files[0]}, "private_key": {"filename": files[1]}}],
            "validation_context": {"trusted_ca": {"filename": str(plane.path / "control/ca.crt")}}}}}


class GrpcClient:
    """grpcio in a process of its own with an `xds:///` channel (the bootstrap is read once for each process)."""

    def __init__(self, target, pod, address, server_uri, credentials, plane):
        bootstrap = {
            "xds_servers": [{"server_uri": server_uri, "channel_creds": [credentials], "server_features": ["xds_v3"]}],
            "node": {"id": f"sidecar~{address}~{pod}.default~default.svc.cluster.local", "cluster": f"{pod}.default"}}
        self.log = tempfile.TemporaryFile("w+b")
        environment = {**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": json.dumps(bootstrap)}
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "grpc_calls.py"), target], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log, env=environment, preexec_fn=lambda: os.setgid(PROXY_GROUP))
        self.plane = plane

    def ask(self, **wish):
        self.process.stdin.write((json.dumps(wish) + "\n").encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the gRPC client ended" + self.output())
        return json.loads(line)

    def output(self):
        self.log.flush()
        self.log.seek(0)
        return "\n" + self.log.read().decode(errors="replace")[-4000:]

    def calls(self, count=1, method="/test.Echo/Say", metadata=(), wait_for_ready=False, seconds=5):
        """How often which answer (or error) came."""
        return collections.Counter(self.ask(count=count, method=method, metadata=list(metadata),
                                            wait_for_ready=wait_for_ready, seconds=seconds))

    def stop(self):
        self.process.kill()
        self.process.wait()


def grpc_backend(text, address, port=7070):
    import grpc

    class Handler(grpc.GenericRpcHandler):
        def __init__(self):
            self.seen = collections.Counter()

        def service(self, call):
            def say(_, context):
                self.seen[call.method] += 1
                if call.method.endswith("Flaky") and self.seen[call.method] % 2:
                    context.abort(grpc.StatusCode.UNAVAILABLE, "not now")
                return text.encode()
            return grpc.unary_unary_rpc_method_handler(say)
    server = grpc.server(concurrent.futures.ThreadPoolExecutor(max_workers=8))
    handler = Handler()
    server.add_generic_rpc_handlers([handler])
    assert server.add_insecure_port(f"{address}:{port}")
    server.start()
    server.handler = handler
    return server


def terminate_children():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
