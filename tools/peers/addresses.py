"""Routes of the Gateway API whose parent is a Service count by the address that a connection goes to (MeshClusterIPMatching)."""
import http.client

from peers import mesh

ELSEWHERE = "10.96.0.99"
VERSION = "gateway.networking.k8s.io/v1"
ROUTED = (200, "other-1")


def run(check, kind, plane, web):
    """Gives the service `web`, at that address, a route that leads to `other`, and takes it away again."""
    def ask(address, host):
        return mesh.get(address, "/", host)

    def on(connection):
        connection.request("GET", "/", headers={"host": "web"})
        response = connection.getresponse()
        return response.status, response.read().decode()

    def both():
        return {ask(web, "web")[1] for _ in range(20)} == {"web-1", "web-2"}

    server = mesh.backend("elsewhere", ELSEWHERE, 80)
    kept = http.client.HTTPConnection(web, 80, timeout=5)
    try:
        before = on(kept)[1]
        with mesh.Load(lambda: ask(web, "web")) as load:
            plane.apply({"apiVersion": VERSION, "kind": "HTTPRoute", "metadata": {"name": "web"}, "spec": {
                "parentRefs": [{"group": "", "kind": "Service", "name": "web"}],
                "rules": [{"backendRefs": [{"name": "other", "port": 81}]}]}})
            mesh.wait("the route", lambda: ask(web, "nobody.example") == ROUTED, 30, log=plane.output)
        seen = {host: ask(web, host) for host in ("web", "other", "web.default:80", "nobody.example")}
        check(f"{kind}: MeshClusterIPMatching at a service's address its route answers, whatever the host", set(seen.values()) == {ROUTED}, seen)
        seen = ask(ELSEWHERE, "web")
        check(f"{kind}: MeshClusterIPMatching the service's host at another address goes to that", seen == (200, "elsewhere"), seen)
        # A proxy that lets its connections go for the new chain says so with the next answer.
        mesh.wait("the kept connection", lambda: on(kept) == ROUTED, 10, log=plane.output)
        check(f"{kind}: MeshClusterIPMatching whoever keeps a connection gets the route, too", before in ("web-1", "web-2"), before)
        plane.delete("HTTPRoute", VERSION, "web")
        mesh.wait("both versions", both, 30, log=plane.output)
        # Without routes the host counts, as it did.
        seen = ask(web, "web"), ask(ELSEWHERE, "web")
        check(f"{kind}: MeshClusterIPMatching the route comes and goes without a failed request",
              not load.failures and all(status == 200 and body in ("web-1", "web-2") for status, body in seen),
              f"{load.count} requests, {load.failures[:2]} {seen}")
    finally:
        plane.delete("HTTPRoute", VERSION, "web")
        kept.close()
        server.shutdown()
        server.server_close()
