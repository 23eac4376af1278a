"""Our own proxy under our control plane, asking for what it uses: virtual hosts and clusters on demand, its last good configuration on
disk, and its memory while the mesh grows."""
import pathlib
import re
import threading
import time

from peers import addresses, mesh

ADDRESS = "10.244.0.7"
POD = "asker"


def proxy(program, plane, upstream, on_demand, keep):
    """One proxy with the bootstrap that the node agent gives to a sidecar, as far as it matters here."""
    configuration = mesh.bootstrap(POD, ADDRESS, upstream, metadata={"LAST_GOOD_FILE": keep})
    if on_demand:
        configuration["node"]["client_features"] = ["skein.on_demand"]
    return mesh.Sidecar(program, plane, configuration)


def speak_plain(plane, is_plain):
    """Certificates are the node agent's, and there is none here: a start without a control plane could not have any."""
    plane.apply({"apiVersion": "security.istio.io/v1", "kind": "PeerAuthentication", "metadata": {"name": "default"},
                 "spec": {"mtls": {"mode": "DISABLE" if is_plain else "PERMISSIVE"}}})
    versions = [{"name": f"v{number}", "labels": {"version": f"v{number}"}} for number in (1, 2)]
    policy = {"trafficPolicy": {"tls": {"mode": "DISABLE"}}} if is_plain else {}
    plane.destination("web", {"host": "web", "subsets": versions, **policy})


def services(process):
    """The clusters of services that a proxy has."""
    return sorted({line.split("::")[0] for line in process.admin_get("/clusters")[1].splitlines() if line.startswith("outbound|")})


def resident(process):
    status = pathlib.Path(f"/proc/{process.process.pid}/status").read_text()
    return int(re.search(r"RssAnon:\s+(\d+)", status).group(1)) / 1024


def fill(plane, count, http):
    """Services that nobody uses: `http` of them HTTP, the others TCP, with one endpoint each."""
    def work(numbers):
        for number in numbers:
            name = f"unused-{number}"
            port = {"name": "http", "port": 80} if number < http else {"name": "tcp", "port": 9000}
            plane.call("POST", plane.where("Service", "v1", "default"),
                       {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                        "spec": {"clusterIP": f"10.96.{8 + number // 250}.{number % 250 + 1}", "ports": [port]}})
    threads = [threading.Thread(target=work, args=(range(first, count, 4),)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def run(check, plane, program, web, other, grows=1000):
    """Tries it all; `web` and `other` are addresses of services."""
    def ask(path="/", host="web"):
        return mesh.get(web, path, host)

    def complete():
        return plane.call("GET", "/skein/v1/convergence")[1].get("complete")

    speak_plain(plane, True)
    plane.pod(POD, ADDRESS, {"app": POD})
    upstream, keep = plane.pod_socket(POD), str(plane.path / "configuration.pb")
    process = proxy(program, plane, upstream, True, keep)
    try:
        mesh.wait("the first answer", lambda: ask()[0] == 200, log=lambda: process.output() + plane.output())
        check("on demand: the first request waits for its virtual host and cluster, and is answered",
              services(process) == ["outbound|80||web.default.svc.cluster.local"], services(process))
        plane.rule("other", {"hosts": ["other"], "http": [{
            "fault": {"abort": {"httpStatus": 418, "percentage": {"value": 100}}}, "route": [{"destination": {"host": "other"}}]}]})
        # Nobody has to say so but the control plane: what it calls complete holds for the next request.
        mesh.wait("convergence", complete)
        first = [mesh.get(other, "/", "other", 81)[0] for _ in range(2)]
        check("on demand: a fault of a VirtualService holds for the first request to its host", first == [418, 418], first)
        plane.delete("VirtualService", "networking.istio.io/v1", "other")
        mesh.wait("no fault", lambda: mesh.get(other, "/", "other", 81)[0] == 200)
        begin = time.monotonic()
        status, body = mesh.get(other, "/", "other", 81)
        took = time.monotonic() - begin
        check("on demand: so is one to a service on another port", (status, body) == (200, "other-1"), f"{took * 1000:.0f} ms")
        begin = time.monotonic()
        status, _ = ask(host="nobody.example")
        check("on demand: an authority that nobody claims goes where it was going, at once",
              status == 503 and time.monotonic() - begin < 3, f"{status} after {(time.monotonic() - begin) * 1000:.0f} ms")
        check("on demand: the proxy has what it uses, and no more", len(services(process)) == 2, services(process))

        plane.rule("web", {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web", "subset": "v1"}}]}]})
        mesh.wait("the rule", lambda: {ask()[1] for _ in range(10)} == {"web-1"}, log=lambda: process.output() + plane.output())
        check("on demand: a rule changes the virtual host and brings the subset's cluster", complete() and len(services(process)) == 3)
        plane.delete("VirtualService", "networking.istio.io/v1", "web")
        mesh.wait("both versions", lambda: {ask()[1] for _ in range(20)} == {"web-1", "web-2"})
        plane.pod("web-2", "10.244.0.12", {"app": "web", "version": "v2"}, ready=False)
        mesh.wait("the endpoint to go", lambda: {ask()[1] for _ in range(10)} == {"web-1"})
        plane.pod("web-2", "10.244.0.12", {"app": "web", "version": "v2"})
        mesh.wait("the endpoint to come", lambda: {ask()[1] for _ in range(20)} == {"web-1", "web-2"})
        shown = plane.call("GET", f"/skein/v1/config?type=clusters&namespace=default&pod={POD}")
        names = sorted(item["name"] for item in shown[1]["items"] if item["name"].startswith("outbound|")) if shown[0] == 200 else shown
        check("on demand: proxy-config shows what the proxy has, convergence holds", names == services(process)
              and mesh.wait("convergence", complete), f"{names} {services(process)}")

        addresses.run(check, "on demand", plane, web)

        with mesh.Load(ask) as load:
            plane.kill()
            time.sleep(1)
            plane.start()
            mesh.wait("the proxy to be back", lambda: plane.call("GET", "/skein/v1/convergence")[1].get("proxies"))
        check("the control plane is killed and started anew under load: no request fails", not load.failures and load.count > 20,
              f"{load.count} requests, {load.failures[:2]}")

        before = resident(process)
        fill(plane, grows, grows * 9 // 10)
        mesh.wait("convergence", complete, 60)
        for _ in range(50):
            ask()
        grown = resident(process) - before
        check(f"a proxy that uses two services grows by at most 2 MiB when {grows} others come", grown <= 2,
              f"{grown:.2f} MiB, {before:.1f} before; {len(services(process))} clusters")

        mesh.wait("the kept configuration", lambda: pathlib.Path(keep).exists())
        time.sleep(1.2)
        plane.kill()
        process.stop()
        process = proxy(program, plane, upstream, True, keep)
        answers = [ask()[0] for _ in range(20)]
        check("the control plane is gone, the proxy starts anew: it serves its last good configuration", answers == [200] * 20, answers)
        check("no private key is in that", b"PRIVATE KEY" not in pathlib.Path(keep).read_bytes()
              and pathlib.Path(keep).stat().st_mode & 0o777 == 0o600)
        plane.start()
        mesh.wait("the proxy to be back", lambda: plane.call("GET", "/skein/v1/convergence")[1].get("proxies"))
        plane.rule("web", {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web", "subset": "v2"}}]}]})
        mesh.wait("the rule", lambda: {ask()[1] for _ in range(10)} == {"web-2"}, log=lambda: process.output() + plane.output())
        check("when the control plane is back, changes of what was kept arrive", True)
        plane.delete("VirtualService", "networking.istio.io/v1", "web")
    finally:
        process.stop()
        speak_plain(plane, False)
