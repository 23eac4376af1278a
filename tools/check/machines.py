"""What a cluster of several machines says to those who are outside of it: who is a balancer, and who reads a node's conditions."""
import json

from .lib import check

PATH = "/api/v1/namespaces/default/services"


def asked(host, asker, port, path="/", v6=False):
    """What a machine answers another one on its health-check port: the status, and the endpoints that it says it has."""
    address = host.addresses.split(",")[1 if v6 else 0]
    text = asker.inside("curl", "-sS", "-g", "--max-time", "20", "-w", "\n%{http_code}", f"http://{'[' + address + ']' if v6 else address}:{port}{path}", status=None)
    body, _, status = text.rpartition("\n")
    try:
        said = json.loads(body)
    except ValueError:
        said = {}
    return int(status or 0), said.get("localEndpoints"), said.get("service")


def health(driver, hosts, service, api, wait_for):
    """A LoadBalancer service whose outside traffic stays on its machine: by HTTP each machine says whether it has an endpoint."""
    first, second, third = hosts
    balanced = service("balanced", {"app": "plain", "machine": "2"})
    balanced["spec"] |= {"type": "LoadBalancer", "externalTrafficPolicy": "Local"}
    made = api(first, "POST", PATH, balanced)
    port = made["spec"].get("healthCheckNodePort", 0)
    there = 30000 <= port <= 32767
    check(f"{driver}: a balanced service whose traffic stays on its machine has a health-check port", there, "" if there else made)
    name = {"namespace": "default", "name": "balanced"}
    def said(*expected, v6=False):
        answers = [asked(host, second if host is first else first, port, v6=v6) for host in hosts]
        if answers != list(expected):
            raise ValueError(f"{answers}")
        return True
    wait_for(f"{driver}: the health-check port answers 200 where the endpoint is, and 503 where none is",
             lambda: said((503, 0, name), (200, 1, name), (503, 0, name)))
    wait_for(f"{driver}: by the IPv6 addresses, too", lambda: said((503, 0, name), (200, 1, name), (503, 0, name), v6=True))
    api(first, "PATCH", f"{PATH}/balanced", {"spec": {"selector": {"machine": "3"}}}, "application/merge-patch+json")
    wait_for(f"{driver}: and changes its mind when the endpoint goes to another machine", lambda: said((503, 0, name), (503, 0, name), (200, 1, name)))
    api(first, "PATCH", f"{PATH}/balanced", {"spec": {"externalTrafficPolicy": "Cluster"}}, "application/merge-patch+json")
    wait_for(f"{driver}: nobody listens there when the traffic may go anywhere", lambda: said(*[(0, None, None)] * 3))
    api(first, "DELETE", f"{PATH}/balanced")


def ways(driver, first, names, api, wait_for):
    """The condition NetworkUnavailable of machines, that of `skein up` among them: a node that cannot be reached comes and goes."""
    def said(name):
        conditions = api(first, "GET", f"/api/v1/nodes/{name}")["status"].get("conditions", [])
        return [(c["status"], c["reason"], c["message"]) for c in conditions if c["type"] == "NetworkUnavailable"]
    good = [("False", "WaysAreThere", "the pods of all nodes are reached")]
    for name in names:
        wait_for(f"{driver}: the object of {name} says that all are reached", lambda: said(name) == good)
    api(first, "POST", "/api/v1/nodes", {"apiVersion": "v1", "kind": "Node", "spec": {"podCIDR": "10.244.250.0/24", "podCIDRs": ["10.244.250.0/24"]}, "metadata": {
        "name": "node-9", "annotations": {"skein.dev/wireguard-key": "A" * 43 + "="}}})
    api(first, "PATCH", "/api/v1/nodes/node-9/status", {"status": {"addresses": [{"type": "InternalIP", "address": "192.0.2.9"}]}}, "application/merge-patch+json")
    for name in names:
        wait_for(f"{driver}: the object of {name} names a node that it does not reach, and why", lambda: [
            (status, reason) for status, reason, message in said(name) if "node node-9 encrypts with WireGuard and this one does not" in message] == [
                ("True", "NodesNotReached")])
    api(first, "DELETE", "/api/v1/nodes/node-9")
    for name in names:
        wait_for(f"{driver}: and that all are reached when it has gone", lambda: said(name) == good)
