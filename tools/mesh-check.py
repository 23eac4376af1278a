#!/usr/bin/env python3
"""Real Envoy and real gRPC under our control plane, alone in a network namespace.

    sudo tools/mesh-check.py [--skein .build/release/skein] [--seconds S] [PART]...

Parts: envoy-delta (a pod's own unix socket), envoy-world (TCP with mTLS, state of the world), grpc, identity. Each check
prints one line, the last line is a count; ends with 1 when a check failed.
"""
import argparse
import collections
import os
import pathlib
import socket
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from peers import mesh  # noqa: E402

results = []
ADDRESS = "10.96.0.80"
OTHER = "10.96.0.81"
GRPC = "10.96.0.70"


def check(name, passed, detail=""):
    results.append((name, bool(passed)))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)


def envoy_program():
    import envoy
    return os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy")


def world(plane):
    """Two versions of `web`, another service on another port, and one for gRPC; in plain text, as no agent gives Envoy a certificate."""
    plane.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "istio", "namespace": "istio-system"},
                 "data": {"mesh": "enableAutoMtls: false\n"}})
    plane.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                 "metadata": {"name": "default", "namespace": "istio-system"}, "spec": {"mtls": {"mode": "DISABLE"}}})
    plane.service("web", 80, 8080, address=ADDRESS)
    plane.service("other", 81, 8080, address=OTHER)
    plane.service("echo", 7070, 7070, "http-echo", address=GRPC)
    plane.pod("caller", "10.244.0.5", {"app": "caller"})
    for number in (1, 2):
        plane.pod(f"web-{number}", f"10.244.0.1{number}", {"app": "web", "version": f"v{number}"})
        plane.pod(f"echo-{number}", f"10.244.0.3{number}", {"app": "echo", "version": f"v{number}"})
    plane.pod("other-1", "10.244.0.21", {"app": "other"})
    for name in ("web", "echo"):
        plane.destination(name, {"host": name, "subsets": [
            {"name": f"v{number}", "labels": {"version": f"v{number}"}} for number in (1, 2)]})


def split(plane, name, first, second, **more):
    def to(subset, weight):
        return {"destination": {"host": name, "subset": subset}, "weight": weight}
    route = {"route": [to("v1", first), to("v2", second)], **more}
    return plane.rule(name, {"hosts": [name], "http": [route]})


def soon(what, ask, wanted, plane, seconds=10):
    begin = time.monotonic()
    mesh.wait(what, lambda: ask() == wanted, seconds,
              lambda: f": {ask()} {plane.call('GET', '/skein/v1/proxies')[1]}{plane.output()}")
    return time.monotonic() - begin


def check_envoy(kind, plane, envoy, backends, seconds):
    def ask(path="/", host="web"):
        return mesh.get(ADDRESS, path, host)

    def other():
        return mesh.get(OTHER, "/", "other", 81)

    def is_synced():
        return plane.call("GET", "/skein/v1/convergence")[1].get("complete")

    mesh.wait("the first answer", lambda: ask()[0] == 200, log=lambda: envoy.output() + plane.output())
    seen = collections.Counter(ask()[1] for _ in range(100))
    check(f"{kind}: both versions answer", set(seen) == {"web-1", "web-2"}, dict(seen))
    check(f"{kind}: another service on another port", other() == (200, "other-1"))

    split(plane, "web", 100, 0)
    took = soon("all to v1", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    split(plane, "web", 90, 10)
    mesh.wait("a split", lambda: "web-2" in {ask()[1] for _ in range(20)})
    seen = collections.Counter(ask()[1] for _ in range(1000))
    check(f"{kind}: R-1 a split of 90 to 10", 60 <= seen["web-2"] <= 145, f"{dict(seen)}, came after {took * 1000:.0f} ms")

    split(plane, "web", 100, 0, retries={"attempts": 2, "retryOn": "5xx"})
    soon("all to v1", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    statuses = [ask(f"/flaky/{number}")[0] for number in range(20)]
    tries = sum(count for path, count in backends["web-1"].seen.items() if path.startswith("/flaky"))
    check(f"{kind}: retries", statuses == [200] * 20 and tries == 40, f"{tries} tries for 20 requests")

    plane.call("PATCH", plane.where("VirtualService", "networking.istio.io/v1", "default", "web"),
               {"metadata": {"annotations": {"a": "b"}}}, "application/merge-patch+json")
    plane.delete("VirtualService", "networking.istio.io/v1", "web")
    mesh.wait("both again", lambda: {ask()[1] for _ in range(20)} == {"web-1", "web-2"})
    begin = time.monotonic()
    plane.pod("web-2", "10.244.0.12", {"app": "web", "version": "v2"}, ready=False)
    took = soon("an endpoint to go", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    plane.pod("web-2", "10.244.0.12", {"app": "web", "version": "v2"})
    mesh.wait("an endpoint to come", lambda: {ask()[1] for _ in range(20)} == {"web-1", "web-2"})
    check(f"{kind}: X-6 endpoints are pushed at once", took < 1, f"{took * 1000:.0f} ms; {time.monotonic() - begin:.2f} s")

    with mesh.Load(ask) as load:
        end, changes = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            split(plane, "web", *((100, 0), (50, 50), (0, 100))[changes % 3])
            plane.destination("web", {"host": "web", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1000 + changes}}},
                                      "subsets": [{"name": f"v{n}", "labels": {"version": f"v{n}"}} for n in (1, 2)]})
            if changes % 4 == 0:  # a cluster that comes and goes with its route: make before break
                plane.destination("web", {"host": "web", "subsets": [
                    {"name": f"v{n}", "labels": {"version": f"v{n}"}} for n in (1, 2)] + [
                        {"name": f"x{changes}", "labels": {"version": "v1"}}]})
                plane.rule("web", {"hosts": ["web"], "http": [
                    {"route": [{"destination": {"host": "web", "subset": f"x{changes}"}}]}]})
            changes += 1
            time.sleep(0.05)
    check(f"{kind}: P-7 live changes without a failed request", not load.failures,
          f"{changes} changes, {load.count} requests, {len(load.failures)} failed {load.failures[:2]}")
    plane.destination("web", {"host": "web", "subsets": [{"name": f"v{n}", "labels": {"version": f"v{n}"}} for n in (1, 2)]})

    # ATK-36: the API takes what only Envoy refuses (its own bound on a number).
    split(plane, "web", 0, 100)
    soon("all to v2", lambda: {ask()[1] for _ in range(10)}, {"web-2"}, plane)
    bad(plane)
    refusals = mesh.wait("a refusal", lambda: [
        r for r in plane.call("GET", "/skein/v1/convergence")[1]["refused"] if r["resource"].endswith("|bad.default.svc.cluster.local")],
        log=lambda: envoy.output() + plane.output())
    source = refusals[0]["sources"][0]
    event = mesh.wait("an event at the object", lambda: [
        e for e in plane.events(source["name"]) if e["reason"] == "ConfigurationRefused"], log=plane.output)
    check(f"{kind}: ATK-36 a refusal names its object", len(refusals) == 1 and source["name"] == "bad",
          f"{source['kind']} {source['name']} {source['field']}; {event[0]['message'][:60]!r}")
    status, text = plane.skein("proxy-status", "caller")
    check(f"{kind}: skein proxy-status names what is refused", status == 1 and "REJECTED" in text and "|bad." in text
          and ("keeps the last good" in text or "it has none" in text), text.splitlines()[1:2])
    rule = {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "waited"},
            "spec": {"hosts": ["other"], "http": [{"route": [{"destination": {"host": "other"}}]}]}}
    status, text = plane.skein("apply", "--wait", "--timeout", "5s", content=rule)
    check(f"{kind}: skein apply --wait says what is refused", status == 1 and "caller refuses CDS outbound|83||bad" in text,
          text.splitlines()[-1])
    check(f"{kind}: the last good configuration serves", ask() == (200, "web-2") and other() == (200, "other-1"))
    split(plane, "web", 100, 0)
    took = soon("a good change beside a refused one", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    plane.service("late", 82, 8080, address="10.96.0.82")
    plane.pod("late-1", "10.244.0.22", {"app": "late"})
    mesh.wait("a new service beside a refused cluster", lambda: mesh.get("10.96.0.82", "/", "late", 82) == (200, "late-1"))
    check(f"{kind}: ATK-36 the others converge", True, f"{took * 1000:.0f} ms")
    plane.delete("EnvoyFilter", "networking.istio.io/v1alpha3", "bad")
    plane.delete("DestinationRule", "networking.istio.io/v1", "bad")
    mesh.wait("no refusal", lambda: is_synced(), log=plane.output)
    check(f"{kind}: everything is acknowledged when the bad object is gone", True)
    plane.delete("Service", "v1", "bad")
    rule["spec"]["http"][0]["headers"] = {"response": {"set": {"x-waited": "yes"}}}
    status, text = plane.skein("apply", "--wait", content=rule)
    check(f"{kind}: skein apply --wait returns when the proxies have it", status == 0 and "acknowledged by 1 proxies" in text,
          text.splitlines()[-1])
    tables = {what: plane.skein("proxy-config", what, "caller.default")[1] for what in ("clusters", "listeners", "routes", "endpoints")}
    check(f"{kind}: skein proxy-config", "web.default.svc.cluster.local" in tables["clusters"] and "Route: 80" in tables["listeners"]
          and "VirtualService default/waited" in tables["routes"] and "10.244.0.21:8080" in tables["endpoints"],
          f"{sum(len(table.splitlines()) for table in tables.values())} lines")
    report = plane.skein("status", "--traffic")[1]
    check(f"{kind}: skein status --traffic", "Per change and proxy:" in report, report.splitlines()[2])
    plane.delete("VirtualService", "networking.istio.io/v1", "waited")
    plane.delete("Service", "v1", "late")

    with mesh.Load(ask) as load:
        time.sleep(0.3)
        plane.kill()
        time.sleep(1)
        plane.start()
        split(plane, "web", 0, 100)
        soon("a change after the restart", lambda: {ask()[1] for _ in range(10)}, {"web-2"}, plane, 30)
        time.sleep(0.3)
    check(f"{kind}: ATK-38 the control plane restarts without a failed request", not load.failures,
          f"{load.count} requests, {len(load.failures)} failed {load.failures[:2]}")
    plane.delete("VirtualService", "networking.istio.io/v1", "web")


def bad(plane):
    """A cluster that Envoy refuses and no check of ours does: a balancer that only skein-proxy has."""
    plane.service("bad", 83, 8080, address="10.96.0.83")
    plane.destination("bad", {"host": "bad", "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 7}}}})
    plane.apply({"apiVersion": "networking.istio.io/v1alpha3", "kind": "EnvoyFilter", "metadata": {"name": "bad"}, "spec": {
        "configPatches": [{"applyTo": "CLUSTER", "match": {"cluster": {"service": "bad.default.svc.cluster.local"}}, "patch": {
            "operation": "MERGE", "value": {"load_balancing_policy": {"policies": [{"typed_extension_config": {
                "name": "least_bytes", "typed_config": {
                    "@type": "type.googleapis.com/skein.load_balancing.v1.LeastBytesInFlight"}}}]}}}}]}})


def check_grpc(plane, client, backends, seconds):
    def seen(count=1, **more):
        return client.calls(count, **more)
    first = seen(wait_for_ready=True, seconds=15)
    check("grpc: an xds:/// channel reaches the service", set(first) <= {"echo-1", "echo-2"}, dict(first) if first else client.output())
    many = seen(100)
    check("grpc: both endpoints answer", set(many) == {"echo-1", "echo-2"}, dict(many))
    split(plane, "echo", 100, 0)
    mesh.wait("all to v1", lambda: set(seen(10)) == {"echo-1"}, log=lambda: f" {seen(3)} {plane.call('GET', '/skein/v1/proxies')[1]}" + client.output() + plane.output())
    split(plane, "echo", 90, 10)
    mesh.wait("a split", lambda: "echo-2" in seen(20))
    many = seen(1000)
    check("grpc: R-1 a split of 90 to 10", 60 <= many["echo-2"] <= 145, dict(many))
    plane.rule("echo", {"hosts": ["echo"], "http": [
        {"match": [{"headers": {"who": {"exact": "canary"}}}], "route": [{"destination": {"host": "echo", "subset": "v2"}}]},
        {"match": [{"uri": {"prefix": "/test.Echo"}}], "route": [{"destination": {"host": "echo", "subset": "v1"}}],
         "retries": {"attempts": 3, "retryOn": "unavailable"}}]})
    mesh.wait("routes", lambda: set(seen(10, metadata=[("who", "canary")])) == {"echo-2"} and set(seen(10)) == {"echo-1"})
    check("grpc: routes by header and path", True)
    flaky = seen(20, method="/test.Echo/Flaky")
    check("grpc: retries", flaky == {"echo-1": 20}, dict(flaky))
    missing = seen(1, method="/other.Service/Call")
    check("grpc: what no route matches fails as UNAVAILABLE", list(missing)[0].startswith("UNAVAILABLE"), dict(missing))
    plane.delete("VirtualService", "networking.istio.io/v1", "echo")
    mesh.wait("both again", lambda: set(seen(20)) == {"echo-1", "echo-2"})
    plane.pod("echo-2", "10.244.0.32", {"app": "echo", "version": "v2"}, ready=False)
    begin = time.monotonic()
    mesh.wait("an endpoint to go", lambda: set(seen(10)) == {"echo-1"})
    check("grpc: X-6 endpoints are pushed at once", time.monotonic() - begin < 1, f"{(time.monotonic() - begin) * 1000:.0f} ms")
    plane.pod("echo-2", "10.244.0.32", {"app": "echo", "version": "v2"})
    plane.kill()
    during = seen(50)
    plane.start()
    split(plane, "echo", 0, 100)
    mesh.wait("a change after the restart", lambda: set(seen(10)) == {"echo-2"}, 60)
    check("grpc: ATK-38 the control plane restarts without a failed call", set(during) <= {"echo-1", "echo-2"}, dict(during))
    plane.delete("VirtualService", "networking.istio.io/v1", "echo")


def check_identity(plane):
    """Who may subscribe as whom, asked with grpcio's own client."""
    import grpc
    from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
    authority = (plane.path / "control/ca.crt").read_bytes()

    def subscribe(node, identity):
        files = plane.certificate(identity, "someone") if identity else None
        chain = [pathlib.Path(file).read_bytes() for file in files] if files else [None, None]
        credentials = grpc.ssl_channel_credentials(authority, chain[1], chain[0])
        with grpc.secure_channel(f"127.0.0.1:{plane.port}", credentials,
                                 [("grpc.ssl_target_name_override", "skein.skein-system.svc")]) as channel:
            request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
            request.node.id = node
            stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources(iter([request]), timeout=10)
            try:
                return len(next(stream).resources)
            except grpc.RpcError as error:
                return f"{error.code().name}: {error.details()}"
    good = "sidecar~10.244.0.5~caller.default~default.svc.cluster.local"
    own = "spiffe://cluster.local/ns/default/sa/default"
    answer = subscribe(good, own)
    check("identity: a certificate of the pod's service account", isinstance(answer, int) and answer > 0, answer)
    for what, node, identity, wanted in (
            ("another service account", good, "spiffe://cluster.local/ns/default/sa/other", "PERMISSION_DENIED"),
            ("another namespace", good, "spiffe://cluster.local/ns/other/sa/default", "PERMISSION_DENIED"),
            ("another trust domain", good, "spiffe://other.example/ns/default/sa/default", "UNAUTHENTICATED"),
            ("no certificate", good, None, "UNAUTHENTICATED"),
            ("a node id of another form", "caller", own, "PERMISSION_DENIED"),
            ("a pod that is not there", good.replace("caller", "nobody"), own, "UNAVAILABLE"),
            ("a gateway's role", good.replace("sidecar", "router"), own, "PERMISSION_DENIED")):
        answer = subscribe(node, identity)
        check(f"identity: {what} is refused", str(answer).startswith(wanted), answer)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skein", default=str(HERE.parent / ".build/release/skein"))
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    parts = options.parts or ["envoy-delta", "envoy-world", "grpc", "identity"]
    mesh.enter_namespace()
    backends = {f"web-{n}": mesh.backend(f"web-{n}", f"10.244.0.1{n}") for n in (1, 2)}
    backends["other-1"] = mesh.backend("other-1", "10.244.0.21")
    backends["late-1"] = mesh.backend("late-1", "10.244.0.22")
    grpc_backends = [mesh.grpc_backend(f"echo-{n}", f"10.244.0.3{n}") for n in (1, 2)]
    plane = mesh.ControlPlane(options.skein)
    try:
        world(plane)
        for part in parts:
            begin = time.monotonic()
            try:
                if part in ("envoy-delta", "envoy-world"):
                    is_delta = part == "envoy-delta"
                    if is_delta:
                        upstream, transport = mesh.pipe_cluster(plane.pod_socket("caller")), None
                    else:
                        upstream = {"socket_address": {"address": "127.0.0.1", "port_value": plane.port}}
                        transport = mesh.tls(plane, plane.certificate("spiffe://cluster.local/ns/default/sa/default"))
                    envoy = mesh.Envoy(envoy_program(), plane, "caller", "10.244.0.5", is_delta, upstream, transport)
                    for server in backends.values():
                        server.seen.clear()
                    try:
                        check_envoy(part, plane, envoy, backends, options.seconds)
                    finally:
                        envoy.stop()
                elif part == "grpc":
                    plane.pod("grpc-caller", "10.244.0.6", {"app": "grpc-caller"})
                    client = mesh.GrpcClient("echo.default.svc.cluster.local:7070", "grpc-caller", "10.244.0.6",
                                             "unix:" + plane.pod_socket("grpc-caller"), {"type": "insecure"}, plane)
                    try:
                        check_grpc(plane, client, grpc_backends, options.seconds)
                    finally:
                        client.stop()
                elif part == "identity":
                    check_identity(plane)
                else:
                    parser.error(f"no part {part}")
            except RuntimeError as error:
                check(part, False, error)
            print(f"     {part} took {time.monotonic() - begin:.1f} s", flush=True)
    finally:
        plane.stop()
        for server in grpc_backends:
            server.stop(None)
    failed = [name for name, passed in results if not passed]
    print(f"mesh-check: {len(results)} checks, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    sys.exit(main())
