#!/usr/bin/env python3
"""Real Envoy and real gRPC under our control plane with the mesh's defaults, alone in network namespaces.

    sudo tools/mesh-check.py [--skein .build/release/skein] [--seconds S] [PART]...

Parts: envoy-delta (a pod's own unix socket), envoy-world (TCP with mTLS, state of the world), logs (Envoy's access
logs as metrics), skein (our proxy as the caller),
grpc, grpc-server (gRPC on both sides without a proxy), workloads (an Envoy that is no pod), identity, demand,
upgrade (to another build and back), rotation. The service `web` has two pods: one with our proxy and one with Envoy as sidecar. Certificates come
over the discovery streams. Each check prints one line, the last line is a count; ends with 1 when a check failed.
"""
import argparse
import collections
import datetime
import http.client
import json
import os
import pathlib
import socket
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from peers import addresses, demand, logs, mesh, upgrade, workloads  # noqa: E402

results = []
ADDRESS = "10.96.0.80"
OTHER = "10.96.0.81"
GRPC = "10.96.0.70"
ALONE = {"sidecar.istio.io/inject": "false"}
CALLER = "spiffe://cluster.local/ns/default/sa/default"
SERVER = "spiffe://cluster.local/ns/default/sa/web"


def check(name, passed, detail=""):
    results.append((name, bool(passed)))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)


def envoy_program():
    import envoy
    return os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy")


def world(plane):
    """Two versions of `web` with sidecars; another service on another port, and one for gRPC, without."""
    for account in ("web", "echo"):
        plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    plane.service("web", 80, 8080, address=ADDRESS)
    plane.service("other", 81, 8080, address=OTHER)
    plane.service("echo", 7070, 7070, "http-echo", address=GRPC)
    plane.pod("caller", "10.244.0.5", {"app": "caller"})
    for number in (1, 2):
        plane.pod(f"web-{number}", f"10.244.0.1{number}", {"app": "web", "version": f"v{number}"}, account="web")
        plane.pod(f"echo-{number}", f"10.244.0.3{number}", {"app": "echo", "version": f"v{number}"}, account="echo",
                  annotations=ALONE)
    plane.pod("other-1", "10.244.0.21", {"app": "other"}, annotations=ALONE)
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
    check(f"{kind}: another service on another port, without a sidecar", other() == (200, "other-1"))
    check_identities(kind, plane, ask)
    addresses.run(check, kind, plane, ADDRESS)

    split(plane, "web", 100, 0)
    took = soon("all to v1", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    split(plane, "web", 90, 10)
    mesh.wait("a split", lambda: "web-2" in {ask()[1] for _ in range(20)})
    seen = collections.Counter(ask()[1] for _ in range(1000))
    check(f"{kind}: R-1 a split of 90 to 10", 60 <= seen["web-2"] <= 145, f"{dict(seen)}, came after {took * 1000:.0f} ms")

    split(plane, "web", 100, 0, retries={"attempts": 2, "retryOn": "5xx"})
    soon("all to v1", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    statuses = [ask(f"/flaky/{number}")[0] for number in range(20)]
    tries = sum(count for server in backends.values() for path, count in server.seen.items() if path.startswith("/flaky"))
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
        r for r in plane.call("GET", "/skein/v1/convergence")[1]["refused"]
        if r["resource"].endswith("|bad.default.svc.cluster.local") and r["pod"] == "default/caller"],
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
    plane.pod("late-1", "10.244.0.22", {"app": "late"}, annotations=ALONE)
    mesh.wait("a new service beside a refused cluster", lambda: mesh.get("10.96.0.82", "/", "late", 82) == (200, "late-1"))
    check(f"{kind}: ATK-36 the others converge", True, f"{took * 1000:.0f} ms")
    plane.delete("EnvoyFilter", "networking.istio.io/v1alpha3", "bad")
    plane.delete("DestinationRule", "networking.istio.io/v1", "bad")
    mesh.wait("no refusal", lambda: is_synced(), log=plane.output)
    check(f"{kind}: everything is acknowledged when the bad object is gone", True)
    plane.delete("Service", "v1", "bad")
    # Envoy refuses the routes of a whole port for one regular expression that is larger than it was told to take.
    plane.service("wide", 80, 8080, address="10.96.0.84")
    plane.rule("wide", {"hosts": ["wide"], "http": [
        {"match": [{"uri": {"regex": "/(one|two|three|four){20,40}"}}], "route": [{"destination": {"host": "wide"}}]}]})
    split(plane, "web", 0, 100)
    took = soon("a change beside a refused virtual host", lambda: {ask()[1] for _ in range(10)}, {"web-2"}, plane)
    found = mesh.wait("a refusal", lambda: [r for r in plane.call("GET", "/skein/v1/convergence")[1]["refused"] if r["pod"] == "default/caller"],
                      log=lambda: envoy.output() + plane.output())
    check(f"{kind}: ATK-36 a refused virtual host keeps nobody of its port waiting", len(found) == 1 and found[0]["type"] == "RDS"
          and {source["name"] for source in found[0]["sources"]} == {"wide"}, f"{took * 1000:.0f} ms; {found[0]['message'][:80]!r}")
    plane.delete("VirtualService", "networking.istio.io/v1", "wide")
    mesh.wait("no refusal", lambda: is_synced(), log=plane.output)
    split(plane, "web", 100, 0)
    soon("all to v1", lambda: {ask()[1] for _ in range(10)}, {"web-1"}, plane)
    plane.delete("Service", "v1", "wide")
    rule["spec"]["http"][0]["headers"] = {"response": {"set": {"x-waited": "yes"}}}
    status, text = plane.skein("apply", "--wait", content=rule)
    check(f"{kind}: skein apply --wait returns when the proxies have it", status == 0 and "acknowledged by 3 proxies" in text,
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


def peer_mode(plane, mode):
    plane.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication",
                 "metadata": {"name": "default"}, "spec": {"mtls": {"mode": mode}}})


def plain(address):
    """What a caller without a sidecar gets."""
    try:
        return mesh.get(address, "/", "web", 8080, timeout=2)[0]
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__


def check_identities(kind, plane, ask):
    """Automatic mutual TLS with both kinds of servers, by certificates that came over the discovery streams."""
    peers = collections.defaultdict(set)
    for _ in range(40):
        peers[ask()[1]].add(ask("/peer")[1])
    facts = {part.split("=", 1)[1] for texts in peers.values() for text in texts for part in text.split(";")
             if part.startswith("URI=")}
    check(f"{kind}: A-14 automatic mutual TLS by SDS, both servers know the caller", facts == {CALLER}, facts)
    check(f"{kind}: A-12 PERMISSIVE takes plain text too", (plain("10.244.0.11"), plain("10.244.0.12")) == (200, 200))
    peer_mode(plane, "STRICT")
    soon("STRICT", lambda: [plain(f"10.244.0.1{n}") for n in (1, 2)].count(200), 0, plane)
    answers = collections.Counter(ask() for _ in range(100))
    check(f"{kind}: A-12 STRICT takes mutual TLS alone", {status for status, _ in answers} == {200} and len(answers) == 2,
          f"{dict(answers)}, without a certificate {plain('10.244.0.11')} and {plain('10.244.0.12')}")
    policy = {"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "web"}, "spec": {
        "selector": {"matchLabels": {"app": "web"}}, "action": "DENY", "rules": [
            {"from": [{"source": {"principals": [CALLER.removeprefix("spiffe://")]}}],
             "to": [{"operation": {"paths": ["/private"]}}]}]}}
    plane.apply(policy)
    soon("a policy", lambda: {ask("/private")[0] for _ in range(10)}, {403}, plane)
    check(f"{kind}: A-1 a policy by the caller's identity", {ask()[0] for _ in range(10)} == {200})
    plane.delete("AuthorizationPolicy", "security.istio.io/v1", "web")
    soon("no policy", lambda: {ask("/private")[0] for _ in range(10)}, {200}, plane)


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


def forged(plane, identity):
    """A certificate with any name in it, as somebody could make it who has stolen the authority's key; and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    stolen = json.loads((plane.path / "control/mesh-ca.json").read_text())["intermediate"]
    authority = x509.load_pem_x509_certificate(stolen["certificate"].encode())
    signer = serialization.load_pem_private_key(stolen["key"].encode(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(authority.subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1)).not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.oid.ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(signer, hashes.SHA256()))
    return (certificate.public_bytes(serialization.Encoding.PEM) + stolen["certificate"].encode(),
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))


def check_identity(plane):
    """Who may subscribe as whom, asked with grpcio's own client."""
    import grpc
    from envoy.service.discovery.v3 import ads_pb2_grpc, discovery_pb2
    authority = (plane.path / "control/ca.crt").read_bytes()

    def subscribe(node, identity, files=None, typed="envoy.config.cluster.v3.Cluster", names=()):
        chain = files or (forged(plane, identity) if identity else [None, None])
        credentials = grpc.ssl_channel_credentials(authority, chain[1], chain[0])
        with grpc.secure_channel(f"127.0.0.1:{plane.port}", credentials,
                                 [("grpc.ssl_target_name_override", "skein.skein-system.svc")]) as channel:
            request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/" + typed, resource_names_subscribe=names)
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
    check_tokens(plane, subscribe, good.replace("caller", "web-1"))
    # The page of a proxy is there only while the proxy is: this one, whose stream stays open meanwhile.
    chain = forged(plane, "spiffe://cluster.local/ns/default/sa/default")
    credentials = grpc.ssl_channel_credentials(authority, chain[1], chain[0])
    with grpc.secure_channel(f"127.0.0.1:{plane.port}", credentials,
                             [("grpc.ssl_target_name_override", "skein.skein-system.svc")]) as channel:
        request = discovery_pb2.DeltaDiscoveryRequest(type_url="type.googleapis.com/envoy.config.cluster.v3.Cluster")
        request.node.id = good
        ended = threading.Event()

        def requests():
            yield request
            ended.wait(60)
        stream = ads_pb2_grpc.AggregatedDiscoveryServiceStub(channel).DeltaAggregatedResources(requests(), timeout=60)
        next(stream)
        check_pages(plane, "caller")
        ended.set()


def check_pages(plane, pod):
    """ATK-32: what tells about the mesh is for administrators, and keys are in none of it."""
    import ssl
    pages = ("proxies", "convergence", "traffic", f"config?type=clusters&namespace=default&pod={pod}")

    def ask(address, path, secure=False, token=None):
        context = ssl.create_default_context(cafile=str(plane.path / "control/ca.crt")) if secure else None
        connection = http.client.HTTPSConnection(*address, timeout=10, context=context) if secure else http.client.HTTPConnection(*address, timeout=10)
        try:
            connection.request("GET", path, headers={"authorization": f"Bearer {token}"} if token else {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return 0, str(error)
        finally:
            connection.close()
    done = subprocess.run(["kubectl", "--kubeconfig", str(plane.path / "control/kubeconfig"), "create", "token", "default"],
                          capture_output=True, text=True, timeout=30)
    token = done.stdout.strip()
    api, metrics = ("127.0.0.1", 6443), ("127.0.0.1", 9400)
    found = {page: [ask(api, f"/skein/v1/{page}", True)[0], ask(api, f"/skein/v1/{page}", True, token)[0], ask(metrics, f"/skein/v1/{page}")[0],
                    ask(("127.0.0.1", plane.port), f"/skein/v1/{page}")[0]] for page in pages}
    check("identity: ATK-32 nobody reads the mesh without being an administrator: no certificate, a pod's token, the other listeners",
          token and all(line[0] == 401 and line[1] in (401, 403) and 200 not in line for line in found.values()), found)
    own = [plane.call("GET", f"/skein/v1/{page}") for page in pages]
    dumps = [json.dumps(body) for _, body in own] + [ask(metrics, path)[1] for path in ("/", "/metrics")]
    check("identity: ATK-32 an administrator does, and there are no keys in it",
          all(status == 200 for status, _ in own) and not any("PRIVATE KEY" in text or "inline_bytes" in text or "inlineBytes" in text for text in dumps),
          [status for status, _ in own])


def check_tokens(plane, subscribe, node):
    """First contact: a token of kubectl's, then the certificate that it brought."""
    token, ca = plane.path / "token", str(plane.path / "control/ca.crt")

    def create(*more, audience="skein"):
        done = subprocess.run(["kubectl", "--kubeconfig", str(plane.path / "control/kubeconfig"), "create", "token", "web",
                               "--audience", audience, *more], capture_output=True, text=True, timeout=30)
        token.write_text(done.stdout)
        return done.returncode, done.stderr

    def write(name, *more):
        directory = plane.path / name
        status, text = plane.skein("certs", "write", "--server", f"127.0.0.1:{plane.port}", "--ca", ca, "--dir", str(directory), *more)
        return status, text.strip(), directory
    bound = ("--bound-object-kind", "Pod", "--bound-object-name", "web-1", "--duration", "10m")
    status, text = create(*bound)
    check("token: kubectl create token --audience skein, bound to a pod", status == 0, text.strip())
    status, text, directory = write("first", "--token", str(token))
    modes = [oct((directory / name).stat().st_mode & 0o777) for name in ("key.pem", "cert-chain.pem")] if status == 0 else text
    check("token: skein certs write --server --token", status == 0 and modes == ["0o600", "0o644"]
          and plane.skein("certs", "verify", str(directory / "cert-chain.pem"))[0] == 0, modes)
    files = [(directory / name).read_bytes() for name in ("cert-chain.pem", "key.pem")]
    answer = subscribe(node, None, files)
    check("token: the certificate opens the pod's stream", isinstance(answer, int) and answer > 0, answer)
    answer = subscribe(node, None, files, "envoy.extensions.transport_sockets.tls.v3.Secret", ["default", "ROOTCA"])
    check("token: and its secrets", answer == 2, answer)
    answer = subscribe(node.replace("web-1", "caller"), None, files)
    check("token: ATK-39 and no stream of another account", str(answer).startswith("PERMISSION_DENIED"), answer)
    status, text, _ = write("first")
    after = (directory / "cert-chain.pem").read_bytes()
    check("token: the next certificate needs no token", status == 0 and after != files[0], text)
    status, text, _ = write("second", "--token", str(token))
    check("token: ATK-39 a token that was used certifies no second key", status == 1 and "used for another key" in text, text)
    plane.kill()
    plane.start()
    status, text, _ = write("second", "--token", str(token))
    check("token: ATK-39 nor after a restart of the control plane", status == 1 and "used for another key" in text, text)
    create(audience="https://kubernetes.default.svc")
    status, text, _ = write("third", "--token", str(token))
    check("token: ATK-39 a token of another audience is refused", status == 1 and "is not for skein" in text, text)
    status, text, _ = write("fourth")
    check("token: without token and certificate there is none", status == 1 and "give a token" in text, text)


# Larger regular expressions are refused by Envoy, and by nobody else here.
RUNTIME = {"layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 200}}]}
PARTS = ["envoy-delta", "envoy-world", "logs", "skein", "grpc", "grpc-server", "workloads", "identity", "demand", "upgrade", "rotation"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skein", default=str(HERE.parent / ".build/release/skein"))
    parser.add_argument("--proxy", help="skein-proxy; the one beside skein by default")
    parser.add_argument("--grows", type=int, default=1000, help="how many services come that the proxy on demand does not use")
    parser.add_argument("--other", help="another build of skein, for the part upgrade; a copy of this one by default")
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    parts = options.parts or PARTS
    for part in set(parts) - set(PARTS):
        parser.error(f"no part {part}")
    mesh.enter_namespace(("10.244.0.5", "10.244.0.6", demand.ADDRESS, "10.244.0.21", "10.244.0.22", "10.244.0.31", "10.244.0.32",
                          "10.244.0.41", "10.244.0.42"))
    namespaces = {f"web-{n}": mesh.PodNamespace(f"10.244.0.1{n}") for n in (1, 2)}
    backends = {name: mesh.backend(name, space.address, namespace=space) for name, space in namespaces.items()}
    backends["other-1"] = mesh.backend("other-1", "10.244.0.21")
    backends["late-1"] = mesh.backend("late-1", "10.244.0.22")
    grpc_backends = [mesh.grpc_backend(f"echo-{n}", f"10.244.0.3{n}") for n in (1, 2)]
    ours = options.proxy or str(pathlib.Path(options.skein).with_name("skein-proxy"))
    plane = mesh.ControlPlane(options.skein)
    sidecars = []
    try:
        world(plane)
        for name, program, metadata in (("web-1", ours, {"skein.secrets": "ads"}), ("web-2", envoy_program(), logs.METADATA)):
            configuration = mesh.bootstrap(name, namespaces[name].address, plane.pod_socket(name), metadata=metadata)
            sidecars.append(mesh.Sidecar(program, plane, configuration, namespaces[name]))
        pipe = plane.pod_socket("caller")
        for part in parts:
            begin = time.monotonic()
            try:
                if part == "logs":
                    check_logs(plane, pipe, namespaces)
                else:
                    run(part, plane, pipe, ours, backends, grpc_backends, options)
            except RuntimeError as error:
                check(part, False, error)
            print(f"     {part} took {time.monotonic() - begin:.1f} s", flush=True)
    finally:
        for sidecar in sidecars:
            if [name for name, passed in results if not passed]:
                print(sidecar.output())
            sidecar.stop()
        plane.stop()
        for server in grpc_backends:
            server.stop(None)
        for space in namespaces.values():
            space.close()
    failed = [name for name, passed in results if not passed]
    print(f"mesh-check: {len(results)} checks, {len(failed)} failed")
    return 1 if failed else 0


def check_logs(plane, pipe, namespaces):
    """Envoy as the caller and as the server's sidecar, both of which send their access logs."""
    peer_mode(plane, "PERMISSIVE")
    configuration = {**mesh.bootstrap("caller", "10.244.0.5", pipe, metadata=logs.METADATA), "layered_runtime": RUNTIME}
    envoy = mesh.Sidecar(envoy_program(), plane, configuration)
    try:
        def ask():
            return mesh.get(ADDRESS, "/", "web")
        mesh.wait("the first answer", lambda: ask()[0] == 200, log=lambda: envoy.output() + plane.output())
        logs.run(check, plane, ask, namespaces)
    finally:
        envoy.stop()


def run(part, plane, pipe, ours, backends, grpc_backends, options):
    """One part."""
    address = "10.244.0.5"
    if part in ("envoy-delta", "envoy-world", "skein", "upgrade", "rotation"):
        program = ours if part in ("skein", "upgrade") else envoy_program()
        if part == "envoy-world":
            configuration = envoy_example(plane)
        else:
            metadata = {"skein.secrets": "ads"} if program == ours else None
            configuration = {**mesh.bootstrap("caller", address, pipe, metadata=metadata), "layered_runtime": RUNTIME}
        proxy = mesh.Sidecar(program, plane, configuration)
        for server in backends.values():
            server.seen.clear()
        peer_mode(plane, "PERMISSIVE")
        try:
            if part == "rotation":
                check_rotation(plane)
            elif part == "upgrade":
                upgrade.run(check, plane, options.other, lambda first, second: split(plane, "web", first, second))
                plane.delete("VirtualService", "networking.istio.io/v1", "web")
            elif part == "skein":
                check_ours(plane)
            else:
                check_envoy(part, plane, proxy, backends, options.seconds)
        finally:
            proxy.stop()
    elif part == "grpc":
        plane.pod("grpc-caller", "10.244.0.6", {"app": "grpc-caller"}, annotations=ALONE)
        client = mesh.GrpcClient("echo.default.svc.cluster.local:7070",
                                 mesh.grpc_bootstrap("grpc-caller", "10.244.0.6", plane.pod_socket("grpc-caller")))
        try:
            check_grpc(plane, client, grpc_backends, options.seconds)
        finally:
            client.stop()
    elif part == "grpc-server":
        check_grpc_server(plane, pipe)
    elif part == "workloads":
        check_workloads(plane, pipe)
    elif part == "demand":
        demand.run(check, plane, ours, ADDRESS, OTHER, options.grows)
    elif part == "identity":
        check_identity(plane)


def check_grpc_server(plane, pipe):
    """gRPC programs on both sides without a proxy: listeners and certificates by files, as the bootstrap that users copy has it."""
    peer_mode(plane, "PERMISSIVE")
    plane.service("hello", 7071, 7071, "grpc", address="10.96.0.71")
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "hello"}})
    programs = []

    def bootstrap(pod, address, account):
        text = example("grpc.json", plane, plane.certificate(account))
        return text.replace("10.244.0.5", address).replace("caller.default", f"{pod}.default")
    try:
        for number in (1, 2):
            address = f"10.244.0.4{number}"
            plane.pod(f"hello-{number}", address, {"app": "hello"}, account="hello", annotations={"skein.dev/proxyless": "true"})
            programs.append(mesh.GrpcServer(f"hello-{number}", f"{address}:7071", bootstrap(f"hello-{number}", address, "hello")))
        client = mesh.GrpcClient("hello.default.svc.cluster.local:7071", bootstrap("caller", "10.244.0.5", "default"))
        programs.append(client)

        def seen(count=20, **more):
            return client.calls(count, **more)

        def log():
            return "".join(program.output() for program in programs) + plane.output()
        first = seen(1, wait_for_ready=True, seconds=15)
        mesh.wait("both servers", lambda: set(seen()) == {"hello-1", "hello-2"}, log=lambda: f" {first} {seen(2)}" + log())
        check("grpc-server: PERMISSIVE, both xDS servers answer in plain text", True)
        peer_mode(plane, "STRICT")
        wanted = {f"hello-{number} {CALLER}" for number in (1, 2)}
        mesh.wait("mutual TLS", lambda: set(seen()) == wanted, log=lambda: f" {seen(2)}" + log())
        many = seen(100)
        check("grpc-server: STRICT, mutual TLS by certificate files on both sides", set(many) == wanted, dict(many))
        stranger = mesh.GrpcClient("hello.default.svc.cluster.local:7071",
                                   mesh.grpc_bootstrap("caller", "10.244.0.5", pipe))
        programs.append(stranger)
        answer = stranger.calls(1, wait_for_ready=False)
        check("grpc-server: STRICT takes nobody without a certificate", list(answer)[0].startswith("UNAVAILABLE"), dict(answer))
        plane.destination("hello", {"host": "hello", "trafficPolicy": {"tls": {
            "mode": "ISTIO_MUTUAL", "subjectAltNames": ["spiffe://cluster.local/ns/default/sa/other"]}}})
        mesh.wait("another server's name", lambda: all(a.startswith("UNAVAILABLE") for a in seen(3)), log=lambda: f" {seen(2)}" + log())
        check("grpc-server: A-16 a server with another identity is not talked to", True)
        plane.delete("DestinationRule", "networking.istio.io/v1", "hello")
        mesh.wait("the right name", lambda: set(seen()) == wanted, log=log)
        plane.apply({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy", "metadata": {"name": "hello"}, "spec": {
            "selector": {"matchLabels": {"app": "hello"}}, "action": "DENY", "rules": [
                {"from": [{"source": {"principals": [CALLER.removeprefix("spiffe://")]}}],
                 "to": [{"operation": {"paths": ["/test.Echo/Private"]}}]}]}})
        mesh.wait("a policy", lambda: all(a.startswith("PERMISSION_DENIED") for a in seen(3, method="/test.Echo/Private")),
                  log=lambda: f" {seen(2, method='/test.Echo/Private')}" + log())
        check("grpc-server: A-1 a policy by the caller's identity", set(seen()) == wanted)
        plane.delete("AuthorizationPolicy", "security.istio.io/v1", "hello")
        plane.certificate("default")
        plane.kill()
        during = seen(50)
        plane.start()
        check("grpc-server: ATK-38 the control plane restarts without a failed call", set(during) == wanted, dict(during))
        mesh.wait("no policy", lambda: set(seen(3, method="/test.Echo/Private")) <= wanted, 60, log=log)
        check("grpc-server: and a change after it arrives", True)
    finally:
        for program in programs:
            program.stop()


def check_workloads(plane, pipe):
    """An Envoy of a machine that is no pod, called by Envoy."""
    peer_mode(plane, "STRICT")
    plane.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "vm"}})
    text = envoy_example(plane, "vm").replace("sidecar~10.244.0.5~caller.default", f"sidecar~{workloads.ADDRESS}~machine.default")
    text = text.replace("    skein.access_logs: xds", "    AUTO_REGISTER_GROUP: vms").replace("cluster: caller.default", "cluster: machine.default")
    caller = mesh.Sidecar(envoy_program(), plane, {**mesh.bootstrap("caller", "10.244.0.5", pipe), "layered_runtime": RUNTIME})
    try:
        workloads.run(check, plane, lambda path: mesh.get(workloads.SERVICE, path, "vms", port=90), text, envoy_program())
    finally:
        caller.stop()


def example(name, plane, certificates):
    """The text of a file of examples/agentless with this control plane's files."""
    text = (HERE.parent / "examples/agentless" / name).read_text()
    return text.replace("/etc/skein/certs", str(certificates)).replace("/etc/skein", str(plane.path / "control"))


def envoy_example(plane, account="default"):
    """The bootstrap that users copy, here with state of the world."""
    certificates = plane.certificate(account)
    (certificates / "envoy-secret.yaml").write_text(example("envoy-secret.yaml", plane, certificates))
    return example("envoy.yaml", plane, certificates).replace("DELTA_GRPC", "GRPC") + f"layered_runtime: {json.dumps(RUNTIME)}\n"


def check_ours(plane):
    """Our own proxy as a caller without an agent, to a server with Envoy and one with ours."""
    def ask(path="/"):
        return mesh.get(ADDRESS, path, "web")
    mesh.wait("the first answer", lambda: ask()[0] == 200, log=plane.output)
    seen = collections.Counter(ask()[1] for _ in range(100))
    check("skein: both versions answer", set(seen) == {"web-1", "web-2"}, dict(seen))
    check_identities("skein", plane, ask)
    addresses.run(check, "skein", plane, ADDRESS)
    with mesh.Load(ask) as load:
        plane.kill()
        time.sleep(1)
        plane.start()
        split(plane, "web", 0, 100)
        soon("a change after the restart", lambda: {ask()[1] for _ in range(10)}, {"web-2"}, plane, 30)
    plane.delete("VirtualService", "networking.istio.io/v1", "web")
    check("skein: ATK-38 the control plane restarts without a failed request", not load.failures,
          f"{load.count} requests, {len(load.failures)} failed {load.failures[:2]}")


def check_rotation(plane):
    """The root is replaced while requests run between proxies of both kinds."""
    def ask():
        return mesh.get(ADDRESS, "/", "web")

    def facts():
        return json.loads(plane.skein("certs", "list", "-o", "json")[1])
    mesh.wait("the first answer", lambda: ask()[0] == 200, log=plane.output)
    peer_mode(plane, "STRICT")
    before = facts()
    check("rotation: every proxy without an agent is listed with its identity",
          sorted({(w["pod"], w["identity"]) for w in before["workloads"]})
          == [("caller", CALLER), ("web-1", SERVER), ("web-2", SERVER)], [w["health"] for w in before["workloads"]])
    begin = time.monotonic()
    kept = plane.path / "kept"
    keeper = subprocess.Popen([plane.program, "certs", "write", "--dir", str(kept), "--keep", "--run-dir", str(plane.path / "run")],
                              stdout=plane.log, stderr=plane.log)
    mesh.wait("files", lambda: (kept / "root-cert.pem").exists())
    with mesh.Load(ask) as load:
        status, text = plane.skein("certs", "rotate", "--announcement", "5", "--wait")
        took = time.monotonic() - begin
        after = facts()
        mesh.wait("certificates under the new root", lambda: {w["root"] for w in facts()["workloads"]}
                  == {next(r["id"] for r in after["roots"] if r["stage"] == "Signing")})
        time.sleep(0.5)
    check("rotation: a new root signs when all have acknowledged it", [r["stage"] for r in after["roots"]].count("Signing") == 1
          and len(after["roots"]) == 2 and after["bundle"] != before["bundle"], f"{took:.1f} s")
    mesh.wait("the roots in files", lambda: (kept / "root-cert.pem").read_text().count("BEGIN") == 2, 30)
    good = plane.skein("certs", "verify", str(kept / "cert-chain.pem"))
    keeper.terminate()
    keeper.wait()
    check("rotation: skein certs write --keep follows the roots", good[0] == 0 and sorted(
        p.name for p in kept.iterdir() if not p.name.startswith("..")) == ["cert-chain.pem", "key.pem", "root-cert.pem"],
        f"{time.monotonic() - begin:.1f} s")
    check("rotation: ATK-40 the root is replaced without a failed request", not load.failures,
          f"{load.count} requests, {len(load.failures)} failed {load.failures[:2]}")


if __name__ == "__main__":
    socket.setdefaulttimeout(30)
    sys.exit(main())
