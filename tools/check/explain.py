"""skein explain and skein diff on the running bookstore: each cause is met by a real request first, and must then be explained so."""
import base64
import hashlib
import hmac
import json
import os
import pathlib
import signal
import subprocess
import threading
import time

from check.lib import BOOKSTORE, DATA, SKEIN, check, enter, get, good, kubectl, many, pid_of, pods, ready, run, skein, up, wait, write_kubeconfig

ASK = ("import http.client,sys\nc=http.client.HTTPConnection(sys.argv[1],int(sys.argv[4]) if len(sys.argv)>4 else 80,timeout=8)\n"
       "h=dict([sys.argv[3].split(': ',1)]) if len(sys.argv)>3 and sys.argv[3] else {}\n"
       "c.request('GET',sys.argv[2],headers=h);print(c.getresponse().status)")


def start():
    up("-f", BOOKSTORE)
    write_kubeconfig()
    check("the bookstore runs", wait(lambda: ready(None, 9), 30))


def explain(*words, status=None):
    """Exit status and answer of one question."""
    done = subprocess.run([SKEIN, "explain", *words, "-o", "json", "--data-dir", DATA], capture_output=True, text=True, timeout=60)
    try:
        return done.returncode, json.loads(done.stdout)
    except ValueError:
        return done.returncode, {"verdict": done.stderr}


def ask(host, path="/", header="", container="web", port="80", pod=None):
    """The status that a program in a pod gets; its error when it gets none."""
    pod = pod or pods(f"app={container}")[0]["metadata"]["name"]
    return enter(pod, container, "python3", "-c", ASK, host, path, header, port).strip().splitlines()[-1:] or ["nothing"]


def file_of(name, text):
    path = pathlib.Path(f"{DATA}.{name}.yaml")
    path.write_text(text)
    return str(path)


def met(what, text, words, real, cause, contains=(), wanted="503"):
    """Applies objects, waits until a program meets the cause, asks why, and takes the objects away again."""
    path = file_of("cause", text)
    skein("apply", "-f", path, "--wait")
    try:
        happens = wait(lambda: ask(*real)[0] == wanted, 15)
        code, answer = explain(*words)
        told = answer.get("cause") == cause and code == 1 and all(part in answer["verdict"] for part in contains)
        shown = str(answer.get("status")) == wanted or cause == "controlPlaneGone"
        check(f"explain: {what}", happens and told and shown, "" if happens and told and shown else
              f"a program gets {ask(*real)}, exit status {code}, {answer.get('cause')}: {answer.get('verdict')}")
    finally:
        skein("delete", "-f", path)
        pathlib.Path(path).unlink()


def answered():
    code, answer = explain("deployment/web", "reviews", "/reviews/1", "-H", "end-user: jason")
    check("explain: a request that a program answers, with its route's object and line",
          code == 0 and answer["cause"] == "answered" and ask("reviews", "/reviews/1", "end-user: jason")[0] == "200"
          and "VirtualService default/reviews spec.http[0].match[0], traffic.yaml:" in answer["verdict"]
          and answer["destination"]["pod"].startswith("reviews-v2"), answer["verdict"])
    line = int(answer["verdict"].split("traffic.yaml:")[1].split(")")[0])
    text = pathlib.Path(BOOKSTORE, "traffic.yaml").read_text().splitlines()[line - 1]
    check("explain: the line is that of the match", "headers" in text or "match" in text, text)
    code, answer = explain("gateway", "http://bookstore.example/api/books/1")
    check("explain: from outside, through the gateway", code == 0 and answer["source"]["gateway"], answer["verdict"])
    check("explain: wrong usage is exit status 2", explain("deployment/web")[0] == 2 and explain("nobody", "web")[0] == 2)


VIRTUAL = "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: cause}\nspec:\n  hosts: [catalog]\n  http:\n"
RULE = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: cause}\nspec:\n"
POLICY = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: cause}\nspec:\n  selector: {matchLabels: {app: catalog}}\n"


def causes():
    met("503 for a subset that nobody defines", VIRTUAL + "    - route: [{destination: {host: catalog, subset: v9}}]\n",
        ("deployment/web", "catalog"), ("catalog",), "unknownSubset", ("spec.http[0].route[0].destination.subset", "cause.yaml:7"))
    met("503 for a service without endpoints",
        "apiVersion: v1\nkind: Service\nmetadata: {name: empty}\nspec: {selector: {app: nobody}, ports: [{name: http, port: 80}]}\n",
        ("deployment/web", "empty"), ("empty",), "noEndpoint", ("no pod has the labels app=nobody",))
    met("404 for a request that no route matches", VIRTUAL + "    - match: [{uri: {prefix: /only}}]\n      route: [{destination: {host: catalog}}]\n",
        ("deployment/web", "catalog", "/books"), ("catalog", "/books"), "noRoute", ("spec.http[0].match[0]",), wanted="404")
    met("503 for STRICT against a DestinationRule without TLS",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: cause}\n"
        "spec: {selector: {matchLabels: {app: catalog}}, mtls: {mode: STRICT}}\n---\n" + RULE + "  host: catalog\n  trafficPolicy: {tls: {mode: DISABLE}}\n",
        ("deployment/web", "catalog", "/books"), ("catalog", "/books"), "mutualTLSMismatch", ("PeerAuthentication", "DestinationRule"))
    met("503 for a certificate whose name is not accepted",
        RULE + "  host: catalog\n  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, subjectAltNames: ['spiffe://cluster.local/ns/default/sa/other']}}\n",
        ("deployment/web", "catalog", "/books"), ("catalog", "/books"), "certificateRefused", ("subject alternative name",))
    met("403 by a DENY policy", POLICY + "  action: DENY\n  rules: [{to: [{operation: {paths: [/books*]}}]}]\n",
        ("deployment/web", "catalog", "/books"), ("catalog", "/books"), "policyDenied", ("spec.rules[0]", "cause.yaml:"), wanted="403")
    met("403 since no ALLOW policy lets it pass", POLICY + "  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/x]}}]}]\n",
        ("deployment/web", "catalog", "/books"), ("catalog", "/books"), "policyDenied", ("no rule of an ALLOW policy",), wanted="403")
    met("401 for a token that is none",
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: cause}\nspec:\n  selector: {matchLabels: {app: catalog}}\n"
        "  jwtRules: [{issuer: me, jwks: '{\"keys\":[{\"kty\":\"oct\",\"k\":\"AQAB\",\"alg\":\"HS256\",\"kid\":\"1\"}]}'}]\n",
        ("deployment/web", "catalog", "/books", "-H", "authorization: Bearer none"), ("catalog", "/books", "authorization: Bearer none"),
        "tokenRefused", ("RequestAuthentication default/cause",), wanted="401")
    met("503 since nothing listens at the target port",
        "apiVersion: v1\nkind: Service\nmetadata: {name: deaf}\nspec: {selector: {app: orders}, ports: [{name: http, port: 80, targetPort: 9999}]}\n",
        ("deployment/web", "deaf"), ("deaf",), "connectionFailed", ("Connection refused",))
    met("a fault", VIRTUAL + "    - fault: {abort: {httpStatus: 555, percentage: {value: 100}}}\n      route: [{destination: {host: catalog}}]\n",
        ("deployment/web", "catalog"), ("catalog",), "fault", wanted="555")


def certificate_missing():
    """The gateway is to show a certificate of a Secret that is not there."""
    path = file_of("secret", RULE + "  host: web\n  trafficPolicy: {tls: {mode: MUTUAL, credentialName: nowhere}}\n")
    skein("apply", "-f", path, "--wait")
    happens = wait(lambda: get()[0] == 503, 15)
    code, answer = explain("gateway", "http://bookstore.example/api/books/1")
    check("explain: 503 since a certificate is not there", happens and code == 1 and answer["cause"] == "certificateMissing" and answer["status"] == 503,
          f"{get()[0]}: {answer['verdict']}")
    skein("delete", "-f", path)
    pathlib.Path(path).unlink()
    check("explain: and without the rule it is as before", wait(lambda: good(*get()), 15))


def circuit():
    """One request that takes its time is as many as the limit allows."""
    path = file_of("slow", "apiVersion: v1\nkind: Service\nmetadata: {name: slow}\n"
                   "spec: {selector: {app: orders}, ports: [{name: http, port: 80, targetPort: 9000}]}\n---\n"
                   "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: slow}\n"
                   "spec: {host: slow, trafficPolicy: {connectionPool: {http: {http2MaxRequests: 1}}}}\n")
    serve = ("import http.server,time\nclass H(http.server.BaseHTTPRequestHandler):\n def do_GET(s):\n  time.sleep(5 if s.path=='/slow' else 0)\n"
             "  s.send_response(200);s.end_headers()\n"
             "s=http.server.ThreadingHTTPServer(('0.0.0.0',9000),H)\ns.timeout=1\nend=time.time()+60\nwhile time.time()<end: s.handle_request()")
    orders = pods("app=orders")[0]["metadata"]["name"]
    skein("apply", "-f", path, "--wait")
    server = threading.Thread(target=lambda: enter(orders, "orders", "python3", "-c", serve), daemon=True)
    server.start()
    check("explain: the slow service answers", wait(lambda: ask("slow")[0] == "200", 20))
    slow = threading.Thread(target=lambda: ask("slow", "/slow"))
    slow.start()
    web = pods("app=web")[0]["metadata"]["name"]

    def is_open():
        code, answer = explain(web, "slow")
        return code == 1 and answer["cause"] == "circuitOpen" and "requests 1 of 1" in answer["verdict"] and "DestinationRule default/slow" in answer["verdict"]
    check("explain: 503 while the circuit is open", wait(is_open, 6) and ask("slow")[0] == "503")
    slow.join()
    check("explain: and no more when it is closed", wait(lambda: explain(web, "slow")[0] == 0, 10))
    skein("delete", "-f", path)
    pathlib.Path(path).unlink()


SERVER = ("import http.server,time\nseen=[0]\nclass H(http.server.BaseHTTPRequestHandler):\n def log_message(s,*a): pass\n def do_GET(s):\n"
          "  if s.path!='/count': seen[0]+=1\n  status,body=ANSWERS.get(s.path,(200,str(seen[0])))\n  body=body.encode()\n"
          "  s.send_response(status);s.send_header('content-length',str(len(body)));s.end_headers();s.wfile.write(body)\n"
          "s=http.server.ThreadingHTTPServer(('0.0.0.0',PORT),H)\ns.timeout=1\nend=time.time()+90\nwhile time.time()<end: s.handle_request()")


def program(name, port, answers):
    """A service whose program, beside that of orders, answers as told."""
    path = file_of(name, f"apiVersion: v1\nkind: Service\nmetadata: {{name: {name}}}\n"
                   f"spec: {{selector: {{app: orders}}, ports: [{{name: http, port: 80, targetPort: {port}}}]}}\n")
    skein("apply", "-f", path, "--wait")
    orders = pods("app=orders")[0]["metadata"]["name"]
    code = f"ANSWERS={answers!r}\nPORT={port}\n" + SERVER
    threading.Thread(target=lambda: enter(orders, "orders", "python3", "-c", code), daemon=True).start()
    check(f"explain: the program of {name} answers", wait(lambda: ask(name)[0] == "200", 40))
    return path


def tries():
    """A retry that happens, and one that does not: counted at the program, and told for the same answer."""
    service = program("flaky", 9001, {"/503": (503, "no"), "/500": (500, "no")})
    rule = file_of("rule", VIRTUAL.replace("hosts: [catalog]", "hosts: [flaky]")
                   + "    - retries: {attempts: 2, retryOn: '503'}\n      route: [{destination: {host: flaky}}]\n")
    skein("apply", "-f", rule, "--wait")
    count = ("import http.client;c=http.client.HTTPConnection('flaky');c.request('GET','/count');print(c.getresponse().read().decode())")

    def tried(path):
        before = int(enter(pods("app=web")[0]["metadata"]["name"], "web", "python3", "-c", count))
        status = ask("flaky", path)[0]
        return status, int(enter(pods("app=web")[0]["metadata"]["name"], "web", "python3", "-c", count)) - before
    real = tried("/503")
    code, answer = explain("deployment/web", "flaky", "/503", "--answer", "503")
    made = answer["outbound"]["state"]["retries"]["made"]
    check("explain: a retry that happens, twice, and does not help", real == ("503", 3) and answer["cause"] == "retriesExhausted" and answer["flags"] == "URX"
          and "tried again 2 times" in answer["verdict"] and "VirtualService default/cause spec.http[0].retries" in answer["verdict"] and made >= 2,
          f"{real}, {made} counted: {answer['verdict']}")
    real = tried("/500")
    code, answer = explain("deployment/web", "flaky", "/500", "--answer", "500")
    check("explain: a retry that does not happen, since retry_on has no such condition", real == ("500", 1) and answer["cause"] == "notRetried"
          and "no condition of retry_on" in answer["verdict"] and code == 0, f"{real}: {answer['verdict']}")
    check("explain: one that helps", explain("deployment/web", "flaky", "/", "--answer", "503,200")[1]["cause"] == "answered")
    for path in (rule, service):
        skein("delete", "-f", path)
        pathlib.Path(path).unlink()


def token(key, issuer="me"):
    def part(data):
        return base64.urlsafe_b64encode(data).rstrip(b"=")
    text = part(json.dumps({"alg": "HS256", "kid": "1"}).encode()) + b"." + part(json.dumps({"iss": issuer, "sub": "a", "exp": int(time.time()) + 600}).encode())
    return (text + b"." + part(hmac.new(key, text, hashlib.sha256).digest())).decode()


def keys():
    """Keys that the proxy has to fetch: judged with them, not taken to be good."""
    secret = b"0123456789abcdef0123456789abcdef"
    jwk = {"kty": "oct", "alg": "HS256", "kid": "1", "k": base64.urlsafe_b64encode(secret).rstrip(b"=").decode()}
    service = program("keys", 9002, {"/jwks": (200, json.dumps({"keys": [jwk]}))})
    policy = ("apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: cause}\nspec:\n  selector: {matchLabels: {app: catalog}}\n"
              "  jwtRules: [{issuer: me, jwksUri: 'http://keys.default.svc.cluster.local/PATH'}]\n")
    path = file_of("policy", policy.replace("PATH", "jwks"))
    skein("apply", "-f", path, "--wait")
    good, bad = f"authorization: Bearer {token(secret)}", f"authorization: Bearer {token(b'other')}"
    code, answer = explain("deployment/web", "catalog", "/books", "-H", good)
    check("explain: a token that fetched keys vouch for", code == 0 and answer["inbound"]["exact"] and ask("catalog", "/books", good)[0] == "200", answer["verdict"])
    code, answer = explain("deployment/web", "catalog", "/books", "-H", bad)
    check("explain: a token that fetched keys do not vouch for", answer["cause"] == "tokenRefused" and answer["status"] == 401 and ask("catalog", "/books", bad)[0] == "401",
          answer["verdict"])
    skein("delete", "-f", path)
    met("401 since the keys cannot be fetched", policy.replace("PATH", "nothing"), ("deployment/web", "catalog", "/books", "-H", good),
        ("catalog", "/books", good), "tokenRefused", ("cannot be fetched",), wanted="401")
    skein("delete", "-f", service)
    for name in (path, service):
        pathlib.Path(name).unlink()


def expired():
    """Certificates that hold for seconds, and an agent that is stopped before it renews them."""
    up("-f", BOOKSTORE, "--certificate-lifetime", "30s")
    write_kubeconfig()
    check("explain: the bookstore runs with certificates of 30 s", wait(lambda: ready(None, 9), 40))
    held = pid_of("supervisor")
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        def all_expired():
            answer = json.loads(run(SKEIN, "certs", "list", "-o", "json", status=None))
            mine = [line for line in answer["workloads"] if line["pod"].startswith(("web", "catalog"))]
            return mine and all(line["health"] == "Expired" for line in mine)
        check("explain: nobody renews them", wait(all_expired, 60, 0.5))
        real = ask("catalog", "/books")[0]
        code, answer = explain("deployment/web", "catalog", "/books")
        check("explain: 503 for certificates that have expired", real == "503" and code == 1 and answer["cause"] == "certificateExpired"
              and answer["status"] == 503 and "skein certs recover" in " ".join(answer["advice"]), f"a program gets {real}: {answer['verdict']}")
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
    begin = time.time()
    renewed = wait(lambda: ask("catalog", "/books")[0] == "200", 20)
    took = time.time() - begin
    told = wait(lambda: explain("deployment/web", "catalog", "/books")[1].get("cause") == "answered", 10)
    check("explain: as before when the agent is back", renewed and told, f"renewed after {took:.1f} s" if renewed and told else
          f"a program gets {ask('catalog', '/books')}, told {explain('deployment/web', 'catalog', '/books')[1].get('verdict')}")


def diff():
    many(800)
    path = file_of("new", pathlib.Path(BOOKSTORE, "traffic.yaml").read_text().replace("weight: 90", "weight: 50").replace("weight: 10", "weight: 50")
                   + "---\n" + POLICY.replace("catalog", "ratings") + "  rules: [{from: [{source: {principals: [cluster.local/ns/default/sa/x]}}]}]\n")

    def run(*words):
        done = subprocess.run([SKEIN, "diff", *words, "--data-dir", DATA], capture_output=True, text=True, timeout=120)
        return done.returncode, done.stdout + done.stderr
    code, text = run("-f", f"{BOOKSTORE}/traffic.yaml")
    check("diff: what is in force already changes nothing", code == 0 and "none would be answered differently" in text, text[:300])
    code, text = run("-f", path, "--save", f"{DATA}.requests")
    check("diff: other weights and a policy show, grouped, with lines of both files",
          code == 1 and "\nweights: " in text and "\nanswer, policy: " in text and "traffic.yaml:" in text and "new.yaml:" in text, text[:1500])
    kept, again = run("-f", path, "--against", f"{DATA}.requests")
    count = [line for line in text.splitlines() if "recorded requests" in line]
    check("diff: the same from a file", kept == 1 and count and count[0] in again, again[:200])
    check("diff: nothing was applied", good(*get()) and "cause" not in kubectl("get", "authorizationpolicies"))
    check("diff: a file that is none is exit status 2", run("-f", "/nonexistent")[0] == 2)


def alone():
    """The control plane hangs: names and objects are not to be had, the proxies go on."""
    address = kubectl("get", "service", "catalog", "-o", "jsonpath={.spec.clusterIP}")
    web = pods("app=web")[0]["metadata"]["name"]
    ask("catalog", "/books", pod=web)
    held = pid_of("control plane")
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        code, answer = explain("deployment/web", "catalog", "/books")
        check("explain: without control plane no name is found, and it is said what there would be with the address",
              code == 1 and answer["cause"] == "controlPlaneGone" and not ask("catalog", "/books", pod=web)[0].isdigit()
              and "answered by pod default/catalog" in answer["verdict"] and "does not answer" in answer["controlPlaneProblem"], answer["verdict"])
        code, answer = explain("deployment/web", address, "/books")
        check("explain: with the address the proxies go on", code == 0 and answer["cause"] == "answered" and ask(address, "/books", pod=web)[0] == "200", answer["verdict"])
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
    check("explain: as before when it is back", wait(lambda: explain("deployment/web", "catalog", "/books")[1].get("cause") == "answered", 20))


def phases(_before):
    return (start, answered, causes, certificate_missing, circuit, tries, keys, diff, alone)
