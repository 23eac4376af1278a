"""A control plane of ours alone, pods that are only objects, and the xDS clients of others: Envoy and gRPC.

Everything lives in a network namespace of its own (`enter_namespace`), which is that of the callers: connections to service
addresses are redirected to port 15001 unless they come from group 1337, as in a pod. Pods with a sidecar have a namespace each
(`PodNamespace`), in which what comes in is redirected to port 15006.
"""
import collections
import concurrent.futures
import ctypes
import http.client
import http.server
import json
import os
import pathlib
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
INBOUND = """
table ip mesh_check {
    chain input {
        type nat hook prerouting priority -100;
        iif != lo tcp dport { 15000, 15020, 15021 } return
        iif != lo tcp dport 1-65535 redirect to :15006
    }
}
"""
HOST = "10.244.0.1"


def enter_namespace(local=()):
    """Starts this program again in a network namespace of its own, in which these addresses are local."""
    if os.environ.get("SKEIN_MESH_CHECK") == "1":
        subprocess.run("ip link set lo up && ip route add local 10.96.0.0/16 dev lo && ip addr add " + HOST + "/32 dev lo",
                       shell=True, check=True)
        for address in local:
            subprocess.run(["ip", "route", "add", "local", address, "dev", "lo"], check=True)
        subprocess.run(["nft", "-f", "-"], input=CAPTURE.encode(), check=True)
        return
    os.execvpe("unshare", ["unshare", "--net", sys.executable, *sys.argv], {**os.environ, "SKEIN_MESH_CHECK": "1"})


class PodNamespace:
    """The network namespace of a pod, with an interface to this one."""
    count = 0

    def __init__(self, address):
        self.address = address
        self.holder = subprocess.Popen(["unshare", "--net", "cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        own = os.stat("/proc/self/ns/net").st_ino
        wait("a namespace", lambda: os.stat(f"/proc/{self.holder.pid}/ns/net").st_ino != own)
        self.descriptor = os.open(f"/proc/{self.holder.pid}/ns/net", os.O_RDONLY)
        PodNamespace.count += 1
        link = f"pod{PodNamespace.count}"
        subprocess.run(f"ip link add {link} type veth peer name eth0 netns {self.holder.pid} && ip link set {link} up && "
                       f"ip route add {address}/32 dev {link} src {HOST}", shell=True, check=True)
        subprocess.run(["nsenter", "-t", str(self.holder.pid), "-n", "sh", "-c",
                        f"ip addr add {address}/32 dev eth0 && ip link set eth0 up && ip link set lo up && "
                        f"ip route add {HOST}/32 dev eth0 && ip route add default via {HOST} dev eth0"], check=True)
        subprocess.run(["nsenter", "-t", str(self.holder.pid), "-n", "nft", "-f", "-"], input=INBOUND.encode(), check=True)

    def enter(self):
        """Moves the calling thread, or process, into it."""
        if ctypes.CDLL(None, use_errno=True).setns(self.descriptor, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")

    def run(self, body):
        """What `body` returns in this namespace: sockets stay where they were made."""
        def work():
            self.enter()
            return body()
        with concurrent.futures.ThreadPoolExecutor(max_workers=1) as threads:
            return threads.submit(work).result()

    def close(self):
        self.holder.kill()
        self.holder.wait()
        os.close(self.descriptor)


def as_proxy(command, namespace=None):
    """What starts `command` with the proxies' group, in the pod's namespace if there is one. A program does the moving, not a function
    between fork and exec (`preexec_fn`): in this process gRPC has threads, and the child of such a fork can hang before its exec."""
    where = [f"--net=/proc/{namespace.holder.pid}/ns/net"] if namespace else []
    return ["nsenter", *where, f"--setgid={PROXY_GROUP}", "--", *command]


def inside(namespace, body):
    return namespace.run(body) if namespace else body()


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


PLURALS = {"AuthorizationPolicy": "authorizationpolicies", "PeerAuthentication": "peerauthentications",
           "ServiceAccount": "serviceaccounts", "Service": "services", "Pod": "pods", "ConfigMap": "configmaps", "Event": "events", "Namespace": "namespaces",
           "VirtualService": "virtualservices", "HTTPRoute": "httproutes", "DestinationRule": "destinationrules", "Gateway": "gateways",
           "EnvoyFilter": "envoyfilters", "WorkloadGroup": "workloadgroups", "WorkloadEntry": "workloadentries"}


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
        wait("the control plane", lambda: self.call("GET", "/readyz")[0] == 200, 60, log=self.output)
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

    def pod(self, name, address, labels, ready=True, account="default", annotations=None):
        """A pod that runs, as far as the objects say; it has a sidecar unless an annotation says otherwise."""
        path = self.where("Pod", "v1", "default", name)
        if self.call("GET", path)[0] != 200:
            self.apply({"apiVersion": "v1", "kind": "Pod",
                        "metadata": {"name": name, "labels": labels, "annotations": annotations or {}},
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

    def certificate(self, account, namespace="default"):
        """A certificate of the mesh for a service account, as `skein certs write` makes it; returns its directory."""
        directory = self.path / f"certs-{namespace}-{account}"
        status, text = self.skein("certs", "write", "--dir", str(directory), "-n", namespace, "--service-account", account)
        assert status == 0, text
        return directory


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def do_GET(self):
        self.server.seen[self.path] += 1
        status = 200
        if self.path.startswith("/flaky") and self.server.seen[self.path] % 2:
            status = 503
        if self.path == "/peer":
            return self.answer(200, self.headers.get("x-forwarded-client-cert", ""))
        self.answer(status, self.server.text)

    def answer(self, status, text):
        body = text.encode()
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


def backend(text, address, port=8080, namespace=None):
    server = inside(namespace, lambda: Server((address, port), Page))
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


def bootstrap(pod, address, pipe, delta=True, admin=15000, metadata=None):
    """Of a sidecar that subscribes on its pod's own socket."""
    ads = {"ads": {}, "resource_api_version": "V3"}
    return {
        "node": {"id": f"sidecar~{address}~{pod}.default~default.svc.cluster.local", "cluster": f"{pod}.default",
                 "metadata": metadata or {}},
        "admin": {"address": {"socket_address": {"address": "127.0.0.1", "port_value": admin}}},
        "dynamic_resources": {
            "cds_config": ads, "lds_config": ads,
            "ads_config": {"api_type": "DELTA_GRPC" if delta else "GRPC", "transport_api_version": "V3",
                           "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}]}},
        "static_resources": {"clusters": [{
            "name": "xds", "type": "STATIC", "connect_timeout": "1s",
            "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [
                {"endpoint": {"address": {"pipe": {"path": pipe}}}}]}]},
            "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                "explicit_http_config": {"http2_protocol_options": {}}}}}]}}


class Sidecar:
    """A proxy of a pod: Envoy, or ours, in this namespace or the pod's own; `configuration` is a bootstrap or the text of one."""
    count = 0

    def __init__(self, program, plane, configuration, namespace=None, admin=15000):
        self.admin, self.namespace = admin, namespace
        self.file = tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False)
        self.file.write(configuration if isinstance(configuration, str) else json.dumps(configuration))
        self.file.close()
        self.log = tempfile.TemporaryFile("w+b")

        Sidecar.count += 1
        more = ["--base-id", str(Sidecar.count), "-l", "warning"] if program.endswith("envoy") else ["-l", "info"]
        self.process = subprocess.Popen(
            as_proxy([program, "-c", self.file.name, "--concurrency", "2", "--drain-time-s", "2", *more], namespace),
            stdout=self.log, stderr=self.log)
        wait(f"{os.path.basename(program)}", lambda: self.admin_get("/ready")[0] == 200, seconds=30,
             log=lambda: self.output() + plane.output())

    def admin_get(self, path):
        return inside(self.namespace, lambda: get("127.0.0.1", path, "admin", self.admin))

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


def grpc_bootstrap(pod, address, pipe):
    """Of a gRPC program that subscribes on its pod's own socket and has no certificates."""
    return json.dumps({
        "xds_servers": [{"server_uri": "unix:" + pipe, "channel_creds": [{"type": "insecure"}], "server_features": ["xds_v3"]}],
        "node": {"id": f"sidecar~{address}~{pod}.default~default.svc.cluster.local", "cluster": f"{pod}.default"}})


class GrpcProgram:
    """grpcio in a process of its own (the bootstrap is read once for each process)."""

    def __init__(self, script, arguments, bootstrap):
        self.log = tempfile.TemporaryFile("w+b")
        self.process = subprocess.Popen(
            as_proxy([sys.executable, str(HERE / script), *arguments]), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self.log, env={**os.environ, "GRPC_XDS_BOOTSTRAP_CONFIG": bootstrap})

    def output(self):
        self.log.flush()
        self.log.seek(0)
        return "\n" + self.log.read().decode(errors="replace")[-4000:]

    def stop(self):
        self.process.kill()
        self.process.wait()


class GrpcServer(GrpcProgram):
    """A gRPC server that gets its listener from the control plane."""

    def __init__(self, name, address, bootstrap):
        super().__init__("grpc_serve.py", [name, address], bootstrap)
        self.process.stdout.readline()


class GrpcClient(GrpcProgram):
    """With an `xds:///` channel."""

    def __init__(self, target, bootstrap):
        super().__init__("grpc_calls.py", [target], bootstrap)

    def ask(self, **wish):
        self.process.stdin.write((json.dumps(wish) + "\n").encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError("the gRPC client ended" + self.output())
        return json.loads(line)

    def calls(self, count=1, method="/test.Echo/Say", metadata=(), wait_for_ready=False, seconds=5):
        """How often which answer (or error) came."""
        return collections.Counter(self.ask(count=count, method=method, metadata=list(metadata),
                                            wait_for_ready=wait_for_ready, seconds=seconds))


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

