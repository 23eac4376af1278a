"""A workload outside of the cluster: no pod, a real Envoy that registers itself for a WorkloadGroup."""
import socket
import threading

from . import mesh

ADDRESS = "10.244.0.51"
SERVICE = "10.96.0.90"
ENTRY = "vms-10.244.0.51"
IDENTITY = "spiffe://cluster.local/ns/default/sa/vm"


def relay(namespace, port):
    """Leads 127.0.0.1:PORT of a namespace to that of this one, as a machine's own network would."""
    def listen():
        listening = socket.create_server(("127.0.0.1", port))
        listening.settimeout(None)
        return listening
    listening = namespace.run(listen)

    def copy(source, sink):
        try:
            while piece := source.recv(65536):
                sink.sendall(piece)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept():
        while True:
            try:
                near = listening.accept()[0]
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", port))
            except OSError:
                near.close()
                continue
            for pair in ((near, far), (far, near)):
                for end in pair:
                    end.settimeout(None)
                threading.Thread(target=copy, args=pair, daemon=True).start()
    threading.Thread(target=accept, daemon=True).start()
    return listening


def entry(plane):
    status, item = plane.call("GET", plane.where("WorkloadEntry", "networking.istio.io/v1", "default", ENTRY))
    return item if status == 200 else None


def run(check, plane, ask, configuration, envoy):
    """`configuration` is the bootstrap that users copy, with a certificate of service account `vm`; `ask` a request through the mesh."""
    space = mesh.PodNamespace(ADDRESS)
    backend = mesh.backend("vm", ADDRESS, namespace=space)
    way = relay(space, plane.port)
    machine = None
    try:
        plane.service("vms", 90, 8080, address=SERVICE)
        plane.apply({"apiVersion": "networking.istio.io/v1", "kind": "WorkloadGroup", "metadata": {"name": "vms"}, "spec": {
            "metadata": {"labels": {"app": "vms"}}, "template": {"serviceAccount": "vm", "labels": {"version": "v1"}}}})
        machine = mesh.Sidecar(envoy, plane, configuration, space)
        mesh.wait("the entry", lambda: entry(plane), 60, log=lambda: machine.output() + plane.output())
        item = entry(plane)
        check("workloads: a connected Envoy is a WorkloadEntry", item["spec"]["address"] == ADDRESS
              and item["spec"]["serviceAccount"] == "vm" and item["metadata"]["ownerReferences"][0]["name"] == "vms",
              item["spec"]["labels"])
        mesh.wait("an answer", lambda: ask("/")[:2] == (200, "vm"), 60, log=lambda: f" {ask('/')}" + machine.output() + plane.output())
        status, peer = ask("/peer")[:2]
        check("workloads: callers reach it by its Service with mutual TLS", status == 200 and f"By={IDENTITY}" in peer, peer)
        plane.apply({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "vms"}, "spec": {
            "selector": {"matchLabels": {"app": "vms"}}, "action": "DENY", "rules": [{"to": [{"operation": {"paths": ["/no"]}}]}]}})
        mesh.wait("a policy", lambda: ask("/no")[0] == 403, 30, log=lambda: f" {ask('/no')}" + machine.output())
        check("workloads: policies that select its labels are enforced in it", ask("/")[0] == 200)
        plane.delete("AuthorizationPolicy", "security.istio.io/v1", "vms")
        plane.kill()
        plane.start()
        mesh.wait("the same entry", lambda: (entry(plane) or item)["metadata"]["annotations"]["istio.io/workloadController"]
                  != item["metadata"]["annotations"]["istio.io/workloadController"], 120, log=plane.output)
        check("workloads: its entry outlives a restart of the control plane",
              entry(plane)["metadata"]["uid"] == item["metadata"]["uid"] and ask("/")[0] == 200)
        gone, machine = machine, None
        gone.stop()
        mesh.wait("goodbye", lambda: "istio.io/disconnectedAt" in entry(plane)["metadata"]["annotations"], 30, log=plane.output)
        check("workloads: a proxy that is gone leaves its entry for the time of grace", entry(plane) is not None)
    finally:
        if machine:
            machine.stop()
        plane.delete("WorkloadGroup", "networking.istio.io/v1", "vms")
        way.close()
        backend.shutdown()
        space.close()
