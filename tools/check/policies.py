"""The Gateway API and policies on the bookstore: routes and TLS of a Gateway, who may enter, who may call whom, global limits."""
# semantics: N-1 I-4 I-12 I-13 I-15 I-16 I-17 D-6 A-1 A-2 A-3 A-7 A-9 A-11 A-15 S-2
import base64
import collections
import http.client
import json
import pathlib
import re
import socket
import ssl
import subprocess
import threading

from check import explain as why
from check.lib import (
    BOOKSTORE, DATA, SKEIN, check, enter, get, good, kubectl, many, pods, ready, run, skein, up, wait, what_failed, write_kubeconfig)

HTTPS = ("127.0.0.1", 8443)
KEYS = ('{"keys": [{"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", "x": "nkN5GjenOH3jggkRAL94HsDx97waXZOG0aeMi9MDhgY",'
        ' "y": "1mvl2uoZi9DAWKPlgA4C_yDCF6Zh8aBnDJd7PU_MJ_M"}]}')
HEAD = "eyJhbGciOiJFUzI1NiIsImtpZCI6IjEiLCJ0eXAiOiJKV1QifQ."
# Of the groups readers and admins, until 2100.
ALICE = (HEAD + "eyJpc3MiOiJpc3N1ZXIuZXhhbXBsZSIsInN1YiI6ImFsaWNlIiwiZ3JvdXBzIjpbInJlYWRlcnMiLCJhZG1pbnMiXSwiZXhwIjo0MTAyNDQ0ODAwfQ."
         "r0uASly2hWU1OFjz_-1teJgYgFT7-0MgqSVA_JqY_RYrdTAWWJD6FbP3tAjLuh-sdEaR_bqj7pvQVdLpuHmv2A")
# Without groups, until 2100.
BOB = (HEAD + "eyJpc3MiOiJpc3N1ZXIuZXhhbXBsZSIsInN1YiI6ImJvYiIsImV4cCI6NDEwMjQ0NDgwMH0."
       "trWqC8Cr4vfUTPhUDx8XE3Tf3Sr5mRbatlTUfNAzqSVk5dBtU2hGlyRcAAVsFgVfTbE6ewq9ONrXgj7xZsa8HQ")

VAULT = """
import http.server, ssl
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = ("vault " + self.path + " " + self.headers.get("host", "")).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("", 9443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/app/tls.crt", "/app/tls.key")
server.socket = context.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def applied(text):
    path = f"{DATA}.objects.yaml"
    pathlib.Path(path).write_text(text)
    try:
        kubectl("apply", "-f", path)
    finally:
        pathlib.Path(path).unlink()
    return text


def deleted(text):
    path = f"{DATA}.objects.yaml"
    pathlib.Path(path).write_text(text)
    try:
        kubectl("delete", "-f", path)
    finally:
        pathlib.Path(path).unlink()


class objects:
    """Objects that are there inside of a `with`."""

    def __init__(self, text):
        self.text = text

    def __enter__(self):
        applied(self.text)

    def __exit__(self, *_):
        deleted(self.text)


def entry(kind, name, spec, namespace="default"):
    group = {"AuthorizationPolicy": "security.istio.io/v1", "RequestAuthentication": "security.istio.io/v1",
             "HTTPRoute": "gateway.networking.k8s.io/v1", "Gateway": "gateway.networking.k8s.io/v1",
             "TLSRoute": "gateway.networking.k8s.io/v1", "BackendTLSPolicy": "gateway.networking.k8s.io/v1",
             "ReferenceGrant": "gateway.networking.k8s.io/v1beta1", "EnvoyFilter": "networking.istio.io/v1alpha3"}[kind]
    return f"---\napiVersion: {group}\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"


def status(path="/", method="GET", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
    try:
        connection.request(method, path, headers=headers or {})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        connection.close()


def eventually(name, found, wanted, seconds=10):
    """Checks that `found` gets to be `wanted`."""
    last = []
    passed = wait(lambda: not last.clear() and not last.append(found()) and last[0] == wanted, seconds)
    check(name, passed, "" if passed else f"{last[0] if last else '?'}, wanted {wanted}")


# MARK: Gateway API

def start():
    up("-f", f"{BOOKSTORE}/bookstore.yaml", "-f", f"{BOOKSTORE}/gateway-api")
    write_kubeconfig()
    check("all replicas get ready", wait(lambda: len(pods()) == 9 and ready(None, 9), 30))
    output = run("kubectl", "--kubeconfig", f"{DATA}.kubeconfig", "wait", "--for=condition=Programmed", "gateways.gateway.networking.k8s.io/bookstore", "--timeout=20s", status=None)
    check("kubectl wait --for=condition=Programmed returns", "condition met" in output, output)


def routes():
    """I-4, I-16 on examples/bookstore/gateway-api."""
    check("first good answer through the Gateway", wait(lambda: good(*get()), 10))
    gateway = json.loads(kubectl("get", "gateways.gateway.networking.k8s.io", "bookstore", "-o", "json"))
    listener = gateway["status"]["listeners"][0]
    check("I-16 the Gateway's status has an address, and its route counted",
          gateway["status"]["addresses"] and listener["attachedRoutes"] == 1
          and all(c["observedGeneration"] == gateway["metadata"]["generation"] for c in gateway["status"]["conditions"]), gateway["status"])
    route = json.loads(kubectl("get", "httproute", "bookstore", "-o", "json"))
    conditions = {c["type"]: c["status"] for c in route["status"]["parents"][0]["conditions"]}
    check("I-16 the HTTPRoute is accepted and its references are there", conditions == {"Accepted": "True", "ResolvedRefs": "True"}, conditions)
    connection = http.client.HTTPConnection("127.0.0.1", 8080, timeout=5)
    connection.request("GET", "/healthz")
    answer = connection.getresponse()
    code, answered = why.explain("gateway/bookstore", "http://bookstore.example/api/books/1")
    check("explain: from outside at a Gateway's own address", code == 0 and answered["source"]["gateway"] and answered["destination"]["pod"].startswith("web-")
          and "at the address of Gateway default/bookstore" in answered["entrance"], answered.get("verdict"))
    code, answered = why.explain("deployment/web", "bookstore-skein", "/api/books/1")
    check("explain: from a pod to a Gateway's Service, through the gateway to where it leads",
          code == 0 and answered["through"]["gateway"] and answered["destination"]["pod"].startswith("web-") and why.ask("bookstore-skein", "/api/books/1")[0] == "200",
          answered.get("verdict"))
    code, answered = why.explain("deployment/web", "bookstore-skein", "/healthz")
    check("explain: what the gateway answers itself", code == 1 and answered["cause"] == "answeredByProxy" and why.ask("bookstore-skein", "/healthz")[0] == "302", answered.get("verdict"))
    check("explain: a Gateway that is not there is exit status 2", why.explain("gateway/nothing", "web")[0] == 2)
    check("a redirect filter", answer.status == 302 and answer.getheader("location", "").endswith("/"), answer.status)
    connection.close()
    answers = many(500)
    versions = collections.Counter(json.loads(b)["reviews"]["version"] for s, b in answers if good(s, b))
    # Binomial: sigma = sqrt(500 * 0.1 * 0.9) = 6.7.
    check("I-15 a route inside of the mesh divides 90/10 within 3 sigma", sum(versions.values()) == 500 and abs(versions["v2"] - 50) <= 20.1,
          (dict(versions), what_failed(answers)))
    jason = collections.Counter(json.loads(b)["reviews"]["version"] for s, b in many(50, {"end-user": "jason"}) if good(s, b))
    check("I-15 and goes by header", jason == {"v2": 50}, dict(jason))


def certificate(name):
    """A certificate of its own authority: chain, key."""
    base = f"{DATA}.{name}"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={name}",
                    "-addext", f"subjectAltName=DNS:{name}", "-keyout", f"{base}.key", "-out", f"{base}.crt"], check=True, capture_output=True)
    found = pathlib.Path(f"{base}.crt").read_text(), pathlib.Path(f"{base}.key").read_text()
    pathlib.Path(f"{base}.key").unlink()
    pathlib.Path(f"{base}.crt").unlink()
    return found


def secret(name, pair, namespace="default"):
    chain, key = (base64.b64encode(text.encode()).decode() for text in pair)
    return (f"---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}, namespace: {namespace}}}\ntype: kubernetes.io/tls\n"
            f"data: {{tls.crt: {chain}, tls.key: {key}}}\n")


def https(name, authority, path="/api/books/1", host=None):
    """Status and body by TLS under a server name, verified; status 0 with the reason when it fails."""
    context = ssl.create_default_context(cadata=authority)
    try:
        with socket.create_connection(HTTPS, timeout=5) as raw, context.wrap_socket(raw, server_hostname=name) as wire:
            wire.sendall(f"GET {path} HTTP/1.1\r\nHost: {host or name}\r\nConnection: close\r\n\r\n".encode())
            answer = http.client.HTTPResponse(wire)
            answer.begin()
            return answer.status, answer.read().decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return 0, f"{type(error).__name__}: {error}"


def listeners(*entries):
    return entry("Gateway", "bookstore", "{gatewayClassName: skein, listeners: [{name: http, port: 80, protocol: HTTP}, " + ", ".join(entries) + "]}")


def tls():
    """I-10, I-12, I-13, I-17: HTTPS with a Secret (SDS), passthrough by server name, TLS to a backend, references across namespaces."""
    shop, vault, other = certificate("shop.example"), certificate("vault.example"), certificate("other.example")
    script = "\n".join("    " + line for line in VAULT.splitlines())
    pem = {name: "\n".join("    " + line for line in text.splitlines()) for name, text in (("crt", vault[0]), ("key", vault[1]))}
    applied(
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: safe}\n" + secret("shop", shop) + secret("other", other, "safe")
        + f"---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: vault, namespace: safe}}\ndata:\n  vault.py: |\n{script}\n"
        f"  tls.crt: |\n{pem['crt']}\n  tls.key: |\n{pem['key']}\n  ca.crt: |\n{pem['crt']}\n"
        "---\napiVersion: apps/v1\nkind: Deployment\nmetadata: {name: vault, namespace: safe}\nspec:\n  selector: {matchLabels: {app: vault}}\n"
        "  template:\n    metadata: {labels: {app: vault}}\n    spec:\n      containers:\n        - {name: vault, image: 'python:3.11-slim', "
        "command: [python3, /app/vault.py], ports: [{containerPort: 9443}], volumeMounts: [{name: app, mountPath: /app}]}\n"
        "      volumes: [{name: app, configMap: {name: vault}}]\n"
        "---\napiVersion: v1\nkind: Service\nmetadata: {name: vault, namespace: safe}\nspec:\n  selector: {app: vault}\n"
        "  ports: [{name: tls, port: 443, targetPort: 9443}, {name: https, port: 8443, targetPort: 9443, appProtocol: http}]\n")
    applied(
        listeners("{name: shop, port: 443, protocol: HTTPS, hostname: shop.example, tls: {certificateRefs: [{name: shop}]}}",
                  "{name: other, port: 443, protocol: HTTPS, hostname: other.example, tls: {certificateRefs: [{name: other, namespace: safe}]}}",
                  "{name: pass, port: 443, protocol: TLS, hostname: vault.example, tls: {mode: Passthrough}}")
        + entry("HTTPRoute", "shop", "{parentRefs: [{name: bookstore, sectionName: shop}], rules: [{matches: [{path: {value: /vault}}], "
                "backendRefs: [{name: vault, namespace: safe, port: 8443}]}, {backendRefs: [{name: web, port: 80}]}]}")
        + entry("TLSRoute", "vault", "{parentRefs: [{name: bookstore, sectionName: pass}], hostnames: [vault.example], "
                "rules: [{backendRefs: [{name: vault, namespace: safe, port: 443}]}]}"))
    eventually("I-17 HTTPS ends at the gateway with the certificate of a Secret", lambda: https("shop.example", shop[0])[0], 200, 20)
    check("I-17 another authority does not vouch for it", "CERTIFICATE_VERIFY_FAILED" in https("shop.example", vault[0])[1])
    check("I-13 a certificate of another namespace needs a ReferenceGrant", https("other.example", other[0])[0] == 0)
    check("I-13 and so does a backend: 500", https("shop.example", shop[0], "/vault")[0] == 500, https("shop.example", shop[0], "/vault"))
    grant = entry("ReferenceGrant", "all", "{from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}, "
                  "{group: gateway.networking.k8s.io, kind: TLSRoute, namespace: default}, {group: gateway.networking.k8s.io, kind: Gateway, namespace: default}], "
                  "to: [{group: '', kind: Service}, {group: '', kind: Secret}]}", "safe")
    trust = entry("BackendTLSPolicy", "vault", "{targetRefs: [{group: '', kind: Service, name: vault, sectionName: https}], "
                  "validation: {hostname: vault.example, caCertificateRefs: [{group: '', kind: ConfigMap, name: vault}]}}", "safe")
    applied(grant)
    eventually("I-17 passthrough by server name reaches the backend's own TLS", lambda: https("vault.example", vault[0], "/deep"), (200, "vault /deep vault.example"))
    eventually("I-12 a host of another listener on this connection is 421", lambda: https("shop.example", shop[0], host="other.example")[0], 421)
    applied(trust)
    eventually("D-6 a BackendTLSPolicy has the gateway speak verified TLS to the backend",
               lambda: https("shop.example", shop[0], "/vault/x"), (200, "vault /vault/x shop.example"))
    applied(trust.replace("hostname: vault.example", "hostname: wrong.example"))
    eventually("and not when the certificate is for another name", lambda: https("shop.example", shop[0], "/vault/x")[0], 503)
    deleted(grant)
    eventually("I-13 without the grant access ends", lambda: https("shop.example", shop[0], "/vault")[0], 500)
    eventually("the rest goes on", lambda: https("shop.example", shop[0])[0], 200)


# MARK: Policies

def entering():
    """A-1, A-7, A-11, A-15 at the gateway."""
    with objects(entry("AuthorizationPolicy", "edge", "{selector: {matchLabels: {istio: ingressgateway}}, action: DENY, "
                       "rules: [{to: [{operation: {paths: ['/api/*'], methods: [GET]}}]}]}", "istio-system")):
        eventually("A-1 DENY at the gateway", lambda: status("/api/books/1"), 403)
        check("A-7 however the path is spelt", [status(p) for p in ("//api/books/1", "/x/../api/books/1", "/%61pi/books/1")] == [403] * 3)
        check("and what it does not name passes", status("/") == 200, status("/"))
    eventually("and ends with the policy", lambda: status("/api/books/1"), 200)
    target = "targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: bookstore}]"
    with objects(entry("RequestAuthentication", "tokens", f"{{{target}, jwtRules: [{{issuer: issuer.example, jwks: '{KEYS}'}}]}}")
                 + entry("AuthorizationPolicy", "admins", f"{{{target}, action: DENY, rules: [{{to: [{{operation: {{paths: [/]}}}}], "
                         "when: [{key: 'request.auth.claims[groups]', notValues: [admins]}]}]}")):
        def found():
            return [status("/", headers={"authorization": f"Bearer {t}"} if t else {}) for t in (None, BOB, ALICE)] + [
                status("/api/books/1", headers={"authorization": "Bearer broken"})]
        eventually("A-11 A-15 a policy attached to the Gateway goes by claims of tokens", found, [403, 403, 200, 401])
    eventually("and ends", lambda: status("/"), 200)


def ask(app, url, method="GET", headers=None):
    """Status of a request from a pod of that app; 0 when there was no answer."""
    host, _, path = url.partition("/")
    script = ("import http.client,sys,json\nm,h,p,f=sys.argv[1:]\nc=http.client.HTTPConnection(h,80,timeout=5)\n"
              "try:\n c.request(m,p,headers=json.loads(f));print(c.getresponse().status)\nexcept Exception:\n print(0)")
    pod = pods(f"app={app}")[0]["metadata"]["name"]
    try:
        return int(enter(pod, app, "python3", "-c", script, method, host, "/" + path, json.dumps(headers or {})).strip() or 0)
    except RuntimeError:
        return 0  # Its container is being started again.


def inside():
    """A-1, A-2, A-3, A-9, A-11 between sidecars."""
    def policy(spec, name="p"):
        return objects(entry("AuthorizationPolicy", name, f"{{selector: {{matchLabels: {{app: catalog}}}}, {spec}}}"))
    with policy("rules: [{to: [{operation: {paths: ['/books/1'], methods: [GET]}}]}]"):
        eventually("A-3 ALLOW by path and method", lambda: [ask("orders", "catalog/books/1"), ask("orders", "catalog/books/2"),
                                                           ask("orders", "catalog/books/1", "POST")], [200, 403, 403])
    with policy("rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/default]}}]}]"):
        eventually("A-9 ALLOW by principal lets that one in", lambda: ask("orders", "catalog/books/1"), 200)
    with policy("rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/nobody]}}]}]"):
        eventually("A-9 and no other", lambda: ask("orders", "catalog/books/1"), 403)
        with policy("action: DENY, rules: [{to: [{operation: {paths: ['/books/2']}}]}]", "q"):
            eventually("A-1 DENY beside it", lambda: ask("orders", "catalog/books/2"), 403)
    with policy("rules: [{}]"), policy("action: DENY, rules: [{to: [{operation: {paths: ['/books/2']}}]}]", "q"):
        eventually("A-1 DENY comes before ALLOW", lambda: [ask("orders", "catalog/books/1"), ask("orders", "catalog/books/2")], [200, 403])
    with objects("apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: nothing}\nspec: {}\n"):
        eventually("A-2 an empty policy refuses everybody in the namespace", lambda: [ask("orders", "catalog/books/1"), status("/api/books/1")], [403, 403])
    eventually("and ends", lambda: [ask("orders", "catalog/books/1"), status("/api/books/1")], [200, 200])
    with objects(entry("RequestAuthentication", "t", f"{{selector: {{matchLabels: {{app: catalog}}}}, jwtRules: [{{issuer: issuer.example, jwks: '{KEYS}'}}]}}")), \
            policy("rules: [{from: [{source: {requestPrincipals: ['issuer.example/alice']}}]}]"):
        eventually("A-11 tokens between sidecars", lambda: [
            ask("orders", "catalog/books/1", headers={"authorization": f"Bearer {t}"} if t else {}) for t in (None, BOB, ALICE, "broken")], [403, 403, 200, 401])
    raw = ("apiVersion: v1\nkind: Service\nmetadata: {name: catalog-raw}\nspec: {selector: {app: catalog}, ports: [{port: 80, targetPort: http}]}\n")
    with objects(raw), policy("action: DENY, rules: [{to: [{operation: {paths: ['/books/2']}}]}]"):
        # As bytes the path would be unknown, and DENY would take everything.
        eventually("S-2 HTTP on a port that says nothing is HTTP inside of mutual TLS", lambda: [
            ask("orders", "catalog-raw/books/1"), ask("orders", "catalog-raw/books/2"), ask("orders", "catalog/books/1")], [200, 403, 200])


LISTENERS = """
import socket, threading
def serve(family, address, port):
    server = socket.socket(family)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6: server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    server.bind((address, port))
    server.listen()
    while True:
        connection = server.accept()[0]
        connection.sendall(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\nconnection: close\\r\\n\\r\\n")
        connection.close()
for family, address, port in ((socket.AF_INET, "0.0.0.0", 9999), (socket.AF_INET6, "::", 9999), (socket.AF_INET, "127.0.0.1", 9998)):
    threading.Thread(target=serve, args=(family, address, port), daemon=True).start()
threading.Event().wait(60)
"""


def around():
    """ATK-33: who is not in the mesh reaches a pod on no port and in no family past its sidecar, and nobody what listens on loopback."""
    pod = pods("app=catalog")[0]
    name, address = pod["metadata"]["name"], pod["status"]["podIP"]
    local = next(word.split("/")[0] for line in enter(name, "catalog", "ip", "-o", "-6", "addr", "show", "eth0").splitlines()
                 for word in line.split() if word.startswith("fe80"))
    link = re.search(r" dev (\S+)", run("ip", "route", "get", address)).group(1)
    threading.Thread(target=lambda: enter(name, "catalog", "python3", "-c", LISTENERS), daemon=True).start()
    scope = socket.if_nametoindex(link)

    def answers(family, target, port):
        with socket.socket(family) as connection:
            connection.settimeout(3)
            try:
                connection.connect((target, port) if family == socket.AF_INET else (target, port, 0, scope))
                connection.sendall(b"GET / HTTP/1.1\r\nhost: catalog\r\nconnection: close\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 ")
            except OSError:
                return False
    doors = [(family, target, port) for family, target in ((socket.AF_INET, address), (socket.AF_INET6, local)) for port in (8000, 9999, 9998, 15006, 15001)]
    # PERMISSIVE lets plain text in: so the others are seen to be there. Of IPv6 pods have link-local addresses only, to which no proxy can connect.
    eventually("ATK-33 plain text to a pod, while that is allowed", lambda: [answers(*door) for door in doors[:2]], [True, True])
    check("ATK-33 what listens on the pod's loopback is reached by nobody", not answers(socket.AF_INET, address, 9998) and not answers(socket.AF_INET6, local, 9998))
    with objects("apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default}\nspec: {mtls: {mode: STRICT}}\n"):
        eventually("ATK-33 STRICT: on no port and in no family past the sidecar", lambda: [answers(*door) for door in doors], [False] * len(doors))
        check("ATK-33 and inside of the mesh as before", ask("orders", "catalog/books/1") == 200)


LIMITS = """apiVersion: v1
kind: ConfigMap
metadata: {name: ratelimit-config, namespace: istio-system, labels: {skein.dev/ratelimit: "true"}}
data:
  config.yaml: |
    domain: bookstore
    descriptors:
      - key: PATH
        value: /limited
        rate_limit: {unit: hour, requests_per_unit: 3}
      - key: PATH
"""

FILTERS = """---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: ratelimit, namespace: istio-system}
spec:
  workloadSelector: {labels: {istio: ingressgateway}}
  configPatches:
    - applyTo: HTTP_FILTER
      match: {context: GATEWAY, listener: {filterChain: {filter: {name: envoy.filters.network.http_connection_manager, subFilter: {name: envoy.filters.http.router}}}}}
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.ratelimit
          typed_config:
            "@type": type.googleapis.com/envoy.extensions.filters.http.ratelimit.v3.RateLimit
            domain: bookstore
            failure_mode_deny: true
            rate_limit_service:
              transport_api_version: V3
              grpc_service: {envoy_grpc: {cluster_name: skein-ratelimit}, timeout: 5s}
    - applyTo: VIRTUAL_HOST
      match: {context: GATEWAY}
      patch:
        operation: MERGE
        value:
          rate_limits:
            - actions: [{request_headers: {header_name: ":path", descriptor_key: PATH}}]
"""


def limits():
    """Limits of the whole mesh: rules in a ConfigMap, the filter by EnvoyFilter as Istio's users write it."""
    with objects(LIMITS + FILTERS):
        eventually("a path over its limit gets 429", lambda: status("/limited"), 429)
        found = [status("/api/books/1") for _ in range(5)]
        check("and nothing else does", found == [200] * 5, found)
        applied(LIMITS.replace("requests_per_unit: 3", "requests_per_unit: 1000"))
        eventually("the limit follows its ConfigMap", lambda: status("/limited") != 429, True)
    eventually("and ends", lambda: status("/api/books/1"), 200)


def packets():
    """`skein explain --packet` says of NetworkPolicies what happens to connections, and by which object."""
    names = {app: pods(f"app={app}")[0]["metadata"]["name"] for app in ("web", "orders")}

    def told(app):
        done = subprocess.run([SKEIN, "explain", "--packet", names[app], "service/catalog", "80", "--data-dir", DATA],
                              capture_output=True, text=True, timeout=30)
        return done.returncode, "NetworkPolicy default/only-web" in done.stdout

    check("explain --packet without a policy: it passes", told("orders") == (0, False), told("orders"))
    policy = ("apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: only-web}\nspec: {podSelector: {matchLabels: {app: catalog}}, "
              "ingress: [{from: [{podSelector: {matchLabels: {app: web}}}], ports: [{port: 8000}]}]}\n")
    with objects(policy):
        check("explain --packet names the policy that drops", told("orders") == (1, True), told("orders"))
        check("and the policy that lets in", told("web") == (0, True), told("web"))
        # From the pod itself: the whole page would also wait for orders, which asks catalog.
        eventually("N-1 whom it lets in gets answers", lambda: ask("web", "catalog/books/1"), 200)
        eventually("N-1 whom it drops gets none", lambda: ask("orders", "catalog/books/1") in (0, 503), True, 30)
    eventually("and ends", lambda: ask("orders", "catalog/books/1"), 200, 30)


def down():
    skein("down", timeout=90)


def phases(before):
    return (start, routes, tls, entering, inside, around, limits, packets, down)
