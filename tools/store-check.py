#!/usr/bin/env python3
"""Two control planes on one etcd under continuous writes, while things are killed and stopped.

    sudo tools/store-check.py [--skein FILE] [--rounds N] [--short | --acknowledgements]

Writers create ConfigMaps through both servers and note every answer 201. Watchers follow both servers as clients do: from a list, on from
the last event after a break, from a new list after 410. In between the first server, the second one and etcd are killed with SIGKILL and
started anew, and etcd is stopped for four seconds (a network that is silent). In the end every acknowledged object must be there with
the resource version that was acknowledged, and each watcher must know exactly what there is, having seen no event twice and none
out of order. `skein apply --wait` and the condition Programmed of a Gateway wait at one server for a proxy of the other. What is allowed and defined at one server holds at the other, and when a server dies the other one's controllers act within
five seconds. --short leaves out what takes longest: the second server and etcd are not killed, and etcd is not silent.
"""
import argparse
import importlib.util
import json
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
spec = importlib.util.spec_from_file_location("bench_api", HERE / "bench-api.py")
bench = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench)

sys.path.insert(0, str(HERE))
MAPS = "/api/v1/namespaces/default/configmaps"
acknowledged, refused, lock, ending = {}, [0], threading.Lock(), threading.Event()


def write(path, name):
    client, number = None, 0
    while not ending.is_set():
        number += 1
        try:
            client = client or bench.Client(path, 30)
            status, body = client.call("POST", MAPS, {"metadata": {"name": f"{name}-{number}"}, "data": {"n": str(number)}})
        except (OSError, EOFError):
            client = None
            time.sleep(0.1)
            continue
        with lock:
            if status == 201:
                acknowledged[f"{name}-{number}"] = json.loads(body)["metadata"]["resourceVersion"]
            else:
                refused[0] += 1
                time.sleep(0.05)


class Watcher(threading.Thread):
    """A client that follows one server."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.known, self.version, self.problems, self.lists, self.stop_at = path, {}, None, [], 0, None
        self.start()

    def list(self):
        status, body = bench.Client(self.path, 30).call("GET", MAPS)
        if status != 200:
            raise OSError(status)
        page = json.loads(body)
        self.lists += 1
        self.known = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in page["items"]}
        self.version = int(page["metadata"]["resourceVersion"])

    def run(self):
        while not self.is_done():
            try:
                if self.version is None:
                    self.list()
                client = bench.Client(self.path)
                client.socket.settimeout(1)
                client.send("GET", f"{MAPS}?watch=1&timeoutSeconds=5&resourceVersion={self.version}")
                status, _ = client.head()
                if status == 410:
                    self.version = None
                    continue
                if status != 200:
                    raise OSError(status)
                self.follow(client)
            except (OSError, EOFError, ValueError):
                time.sleep(0.1)

    def follow(self, client):
        while not self.is_done():
            *lines, client.buffer = client.buffer.split(b"\n")
            for line in lines:
                if line == b"0\r":  # The last chunk: the time of this watch is over.
                    return
                if not line.startswith(b"{"):
                    continue
                event = json.loads(line)
                if event["type"] == "ERROR":
                    self.version = None
                    return
                meta = event["object"]["metadata"]
                version = int(meta["resourceVersion"])
                if event["type"] == "BOOKMARK":
                    self.version = max(version, self.version)
                    continue
                if version <= self.version:
                    self.problems.append(f"{meta['name']} at {version} came after {self.version}")
                if meta["name"] in self.known:
                    self.problems.append(f"{meta['name']} was added twice: at {self.known[meta['name']]} and {version}")
                self.version = version
                self.known[meta["name"]] = meta["resourceVersion"]
            try:
                client.more()
            except TimeoutError:
                pass

    def is_done(self):
        return self.stop_at is not None and self.version is not None and self.version >= self.stop_at


def progress(count, what):
    target, deadline = len(acknowledged) + count, time.monotonic() + 90
    while len(acknowledged) < target:
        if time.monotonic() > deadline:
            sys.exit(f"store-check: nothing is written after: {what}")
        time.sleep(0.05)
    print(f"{what}: goes on, {len(acknowledged)} acknowledged, {refused[0]} refused", flush=True)


REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"


def until(what, condition, seconds=5):
    """The seconds until a condition holds."""
    begin = time.monotonic()
    while not condition():
        if time.monotonic() - begin > seconds:
            sys.exit(f"store-check: not within {seconds} s: {what}")
        time.sleep(0.02)
    return time.monotonic() - begin


def ask(plane, *arguments, wanted=(200, 201)):
    status, body = bench.Client(plane.path, 30).call(*arguments)
    if status not in wanted:
        sys.exit(f"store-check: {arguments[:2]}: {status} {body[:300]}")
    return json.loads(body)


def obeys(first, second):
    """What is allowed and defined at one server is allowed and defined at the other."""
    wish = {"spec": {"user": "jane", "resourceAttributes": {"namespace": "default", "verb": "list", "resource": "pods"}}}

    def may():
        return ask(second, "POST", REVIEWS, wish)["status"].get("allowed", False)
    if may():
        sys.exit("store-check: jane may list pods before anybody said so")
    ask(first, "POST", ROLES + "roles", {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["list"]}]})
    ask(first, "POST", ROLES + "rolebindings", {
        "metadata": {"name": "r"}, "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"},
        "subjects": [{"kind": "User", "name": "jane"}]})
    given = until("a right given at one server is given at the other", may)
    ask(first, "DELETE", ROLES + "rolebindings/r")
    taken = until("a right taken at one server is taken at the other", lambda: not may())
    ask(first, "POST", DEFINITIONS, {
        "metadata": {"name": "boats.example.com"}, "spec": {
            "group": "example.com", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {
                "type": "object", "properties": {"spec": {"type": "object", "properties": {"sails": {"type": "integer", "default": 2}}}}}}}]}})
    boats = "/apis/example.com/v1/namespaces/default/boats"
    made = ask(second, "POST", boats, {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "b"}, "spec": {}})
    if made["spec"] != {"sails": 2}:
        sys.exit(f"store-check: the definition of the first server's kind is not whole at the second: {made}")
    ask(first, "GET", boats + "/b")
    ask(first, "DELETE", DEFINITIONS + "/boats.example.com")
    until("a kind that is gone at one server is gone at the other", lambda: bench.Client(second.path, 30).call("GET", boats)[0] == 404)
    print(f"rights and kinds: one server obeys the other: given after {given * 1000:.0f} ms, taken after {taken * 1000:.0f} ms", flush=True)


def covered(plane, number):
    """The seconds until a controller acts for what is written at this server."""
    name = f"work-{number}"
    ask(plane, "POST", "/apis/apps/v1/namespaces/default/deployments", {
        "metadata": {"name": name}, "spec": {"replicas": 0, "selector": {"matchLabels": {"app": name}}, "template": {
            "metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c", "image": "x"}]}}}})
    sets = "/apis/apps/v1/namespaces/default/replicasets?labelSelector=app%3D" + name
    return until("a controller acts after a server was killed", lambda: ask(plane, "GET", sets)["items"])


def pod(plane, name, address, namespace="default", annotations=None, labels=None):
    """A pod that runs, as far as the objects say; its uid."""
    pods = f"/api/v1/namespaces/{namespace}/pods"
    made = ask(plane, "POST", pods, {"metadata": {"name": name, "labels": labels or {"app": name}, "annotations": annotations or {}}, "spec": {"containers": [{"name": "c", "image": "x"}]}})
    ask(plane, "PATCH", f"{pods}/{name}/status", {"status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]}},
        "application/json", bench.MERGE)
    return made["metadata"]["uid"]


def service(plane, name):
    """Something that every proxy hears of; the revision at which it was written."""
    return ask(plane, "POST", "/api/v1/namespaces/default/services", {
        "metadata": {"name": name}, "spec": {"ports": [{"name": "http", "port": 80}]}})["metadata"]["resourceVersion"]


def applied(plane, name, seconds=20):
    """`skein apply --wait` of something that every proxy hears of, as it goes on."""
    path = pathlib.Path(plane.directory, name + ".yaml")
    path.write_text(f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{ports: [{{name: http, port: 80}}]}}\n")
    words = [plane.words[0], "apply", "-f", str(path), "--wait", "--timeout", f"{seconds}s", "--data-dir", plane.directory, "--run-dir", plane.directory]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def ended(process, what, status, word=""):
    text = process.communicate(timeout=60)[0]
    if process.returncode != status or word not in text:
        sys.exit(f"store-check: {what}: status {process.returncode}, not {status}: {text}")


def apply_waits(planes, proxy):
    """What is applied at the first server waits for the proxy of the second, which ends as it should."""
    ended(applied(planes[0], "applied-1"), "apply --wait with proxies that acknowledge", 0)
    proxy.mode = "hold"
    process = applied(planes[0], "applied-2")
    until("the proxy holds back", lambda: proxy.held, 20)
    time.sleep(1)
    if process.poll() is not None:
        ended(process, "apply --wait has not waited for the proxy of another server", None)
    proxy.go_on()
    ended(process, "apply --wait when the proxy has acknowledged", 0)
    proxy.mode = "hold"
    ended(applied(planes[0], "applied-3", 2), "apply --wait with a proxy that says nothing", 1, "proxy-1")
    proxy.go_on("refuse")
    ended(applied(planes[0], "applied-4", 5), "apply --wait with a proxy that refuses", 1, "refuses on purpose")
    for number in (1, 2, 3, 4):
        ask(planes[0], "DELETE", f"/api/v1/namespaces/default/services/applied-{number}")
    proxy.go_on()
    print("apply --wait at one server waits for the other's proxy, and says whom it waited for and what was refused", flush=True)


def programmed(planes):
    """A Gateway is Programmed when the gateway's proxy has acknowledged, whichever server that is connected to."""
    from peers.acknowledging import Proxy
    gateways = "/apis/gateway.networking.k8s.io/v1/namespaces/default/gateways"

    route = "/apis/gateway.networking.k8s.io/v1/namespaces/default/httproutes"


    def condition():
        found = [c for c in ask(planes[0], "GET", gateways + "/edge").get("status", {}).get("conditions", []) if c["type"] == "Programmed"]
        return (found[0]["status"], found[0]["reason"]) if found else None
    # Without an address it would wait for one.
    services = "/api/v1/namespaces/skein-system/services"
    bench.Client(planes[0].path, 30).call("POST", services, {"metadata": {"name": "istio-ingressgateway"}, "spec": {
        "type": "LoadBalancer", "ports": [{"name": "http", "port": 80}]}})
    ask(planes[0], "PATCH", services + "/istio-ingressgateway/status", {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}}},
        "application/json", bench.MERGE)
    service(planes[0], "routed")
    ask(planes[0], "POST", route, {"metadata": {"name": "all"}, "spec": {
        "parentRefs": [{"name": "edge"}], "rules": [{"backendRefs": [{"name": "routed", "port": 80}]}]}})
    for index, plane in enumerate(planes):
        name = f"gateway-{index}"
        uid = pod(plane, name, f"10.244.0.{10 + index}", "skein-system", {"skein.dev/gateway": "true"},
                  {"app": "istio-ingressgateway", "istio": "ingressgateway"})
        ask(plane, "POST", gateways, {"metadata": {"name": "edge"}, "spec": {
            "gatewayClassName": "skein", "listeners": [{"name": "http", "protocol": "HTTP", "port": 80}]}})
        proxy = Proxy(plane.directory, name, uid, f"10.244.0.{10 + index}", "skein-system", "router", "hold")
        until("the gateway's proxy is sent something", lambda: proxy.held, 20)
        until("the Gateway waits for its proxy", lambda: condition() == ("False", "Pending"), 20)
        time.sleep(1)
        if condition() != ("False", "Pending"):
            sys.exit(f"store-check: a Gateway whose proxy holds back is {condition()}")
        proxy.go_on()
        until("the Gateway is Programmed", lambda: condition() == ("True", "Programmed"), 20)
        ask(plane, "DELETE", gateways + "/edge")
        proxy.close()
        ask(plane, "DELETE", f"/api/v1/namespaces/skein-system/pods/{name}", {"gracePeriodSeconds": 0})
        until("the gateway's proxy is gone", lambda: all(
            row["pod"] != name for p in planes for row in ask(p, "GET", "/skein/v1/proxies")["proxies"]), 20)
    print("a Gateway is Programmed when its proxy has acknowledged, at either server", flush=True)


def tells(planes):
    """What the proxies of one server have acknowledged and refuse is known at the other."""
    from peers.acknowledging import Proxy
    uids = [pod(planes[0], f"proxy-{index}", f"10.244.0.{index + 1}") for index in (0, 1)]
    proxies = [Proxy(planes[index].directory, f"proxy-{index}", uids[index], f"10.244.0.{index + 1}") for index in (0, 1)]

    def state(plane, revision=""):
        return ask(plane, "GET", "/skein/v1/convergence" + (f"?revision={revision}" if revision else ""))

    def at_both(what, condition, revision=""):
        return max(until(f"{what}, at server {index}", lambda plane=plane: condition(state(plane, revision)), 20) for index, plane in enumerate(planes))
    first = service(planes[0], "first")
    at_both("two proxies have the first service", lambda s: s["complete"] and s["proxies"] == 2 and s["servers"] == 2, first)
    for plane in planes:
        rows = {row["pod"] for row in ask(plane, "GET", "/skein/v1/proxies")["proxies"]}
        if rows != {"proxy-0", "proxy-1"}:
            sys.exit(f"store-check: a server shows the proxies {rows}")
    proxies[1].mode = "hold"
    second = service(planes[0], "second")
    at_both("the second server's proxy is waited for", lambda s: not s["complete"] and "default/proxy-1" in s["waiting"], second)
    proxies[1].go_on()
    seconds = at_both("the second server's proxy has acknowledged", lambda s: s["complete"], second)
    proxies[1].mode = "refuse"
    third = service(planes[0], "third")
    at_both("what the second server's proxy refuses is told", lambda s: not s["complete"] and any(r["pod"] == "default/proxy-1" for r in s["refused"]), third)
    proxies[1].mode = "acknowledge"
    # What is refused stays so until it is another.
    ask(planes[0], "DELETE", "/api/v1/namespaces/default/services/third")
    fourth = service(planes[1], "fourth")
    at_both("what is gone is no longer refused", lambda s: s["complete"], fourth)
    traffic = [ask(plane, "GET", "/skein/v1/traffic") for plane in planes]
    if any((t["servers"], t["proxies"], t["silent"]) != (2, 2, 0) for t in traffic):
        sys.exit(f"store-check: a server does not count what the other has sent: {traffic}")
    apply_waits(planes, proxies[1])
    programmed(planes)
    print(f"acknowledgements: each server knows of the other's proxies, {seconds * 1000:.0f} ms after they came", flush=True)
    planes[1].kill()
    proxies[1].close()
    gone = until("the proxies of a server that was killed are no longer counted", lambda: state(planes[0])["proxies"] == 1, 20)
    proxies[1] = Proxy(planes[0].directory, "proxy-1", uids[1], "10.244.0.2")
    fifth = service(planes[0], "fifth")
    until("its proxy is at the other server", lambda: (s := state(planes[0], fifth))["complete"] and s["proxies"] == 2, 20)
    print(f"a server was killed: its proxies are no longer counted after {gone:.1f} s, and the other one takes them", flush=True)
    planes[1].start()
    until("a server that begins again hears of the other's proxies", lambda: state(planes[1], fifth)["proxies"] == 2, 20)
    for proxy in proxies:
        proxy.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--skein", default=str(bench.ROOT / ".build/release/skein"))
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--acknowledgements", action="store_true", help="only what servers tell each other of their proxies")
    parser.add_argument("--short", action="store_true", help="one server is killed once, and etcd is left alone")
    options = parser.parse_args()
    etcd, planes = bench.Etcd(), []
    try:
        planes.append(bench.Plane(options.skein, "etcd=" + etcd.url))
        key = planes[0].directory + "/control/secrets.key"
        planes.append(bench.Plane(options.skein, "etcd=" + etcd.url, ("--encryption-key", key)))
        tells(planes)
        if options.acknowledgements:
            return
        watchers = [Watcher(plane.path) for plane in planes]
        writers = [threading.Thread(target=write, args=(plane.path, f"{which}-{index}"), daemon=True)
                   for which, plane in zip("ab", planes) for index in range(3)]
        [writer.start() for writer in writers]
        progress(100, "the beginning")
        obeys(planes[0], planes[1])
        for number in range(options.rounds):
            for name, victim, other in (("the first server", *planes), ("the second server", *reversed(planes))):
                victim.kill()
                seconds = covered(other, f"{number}-{planes.index(victim)}")
                print(f"{name} was killed: after {seconds:.1f} s the other one's controllers act", flush=True)
                victim.start()
                progress(100, f"{name} was killed")
                if options.short:
                    break
            if options.short:
                break
            etcd.kill()
            time.sleep(1)
            etcd.start()
            progress(100, "etcd was killed")
            etcd.process.send_signal(signal.SIGSTOP)
            time.sleep(4)
            etcd.process.send_signal(signal.SIGCONT)
            progress(100, "etcd was silent for four seconds")
        ending.set()
        [writer.join() for writer in writers]
        problems = []
        status, body = bench.Client(planes[0].path).call("GET", MAPS)
        page = json.loads(body)
        there = {item["metadata"]["name"]: item["metadata"]["resourceVersion"] for item in page["items"]}
        lost = [name for name, version in acknowledged.items() if there.get(name) != version]
        if lost:
            problems.append(f"{len(lost)} acknowledged writes are lost: "
                            + ", ".join(f"{name} at {acknowledged[name]}, there is {there.get(name)}" for name in lost[:5]))
        for watcher in watchers:
            watcher.stop_at = max(int(version) for version in there.values())
            watcher.join(60)
            if watcher.is_alive():
                problems.append(f"a watcher stays at {watcher.version}, not {watcher.stop_at}")
            problems += watcher.problems[:5]
            known = {name: version for name, version in watcher.known.items() if name in there}
            if known != there:
                problems.append(f"a watcher knows {len(known)} of {len(there)} objects")
        for plane in planes if problems else []:
            for query in ("?limit=1&resourceVersion=0", "?limit=1"):
                status, body = bench.Client(plane.path, 30).call("GET", MAPS + query)
                page = json.loads(body)
                problems.append(f"{plane.path} answers {query}: {status}, {page.get('message') or page['metadata']['resourceVersion']}")
        for problem in problems:
            print("store-check: " + problem, file=sys.stderr)
        if problems:
            for plane in planes:
                shutil.copy(plane.log.name, f"/tmp/store-check-{planes.index(plane)}.log")
            sys.exit(1)
        print(f"store-check: {len(acknowledged)} acknowledged writes are there; the watchers listed {[w.lists for w in watchers]} times")
    finally:
        ending.set()
        for plane in planes:
            plane.stop()
        etcd.stop()


if __name__ == "__main__":
    main()
