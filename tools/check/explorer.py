"""The pages of the dashboard that answer questions, in a real browser: traces, access log, what becomes of a request or a packet, what changed. What they show is
compared with the commands, the API and the kernel."""
import json
import re
import subprocess
import time
import urllib.parse
import uuid

from check.lib import DATA, SKEIN, check, get, kubectl, many, pods, run, wait, write_kubeconfig

ACCESS_LOG = """
apiVersion: telemetry.istio.io/v1
kind: Telemetry
metadata: {name: dashboard-check, namespace: istio-system}
spec: {accessLogging: [{providers: [{name: envoy}]}]}
"""
FAULT = """
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: dashboard-check, namespace: default}
spec:
  hosts: [ratings]
  http: [{fault: {abort: {httpStatus: 503, percentage: {value: 100}}}, route: [{destination: {host: ratings}}]}]
"""
POLICY = """
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: dashboard-check, namespace: default}
spec:
  podSelector: {matchLabels: {app: ratings}}
  policyTypes: [Ingress]
  ingress: [{from: [{podSelector: {matchLabels: {app: web}}}, {podSelector: {matchLabels: {app: reviews}}}]}]
"""
HOST = "reviews.default.svc.cluster.local"


def apply(text, verb="apply"):
    return kubectl(verb, "-f", "-", input=text)


def command(*words):
    """What a command answers in JSON, whatever its exit status says."""
    done = subprocess.run([SKEIN, *words, "-o", "json", "--data-dir", DATA], capture_output=True, text=True, timeout=60)
    return json.loads(done.stdout)


class Explorer:
    """The phases, with the browser of the others."""

    def __init__(self, board):
        self.board = board
        self.trace_id = ""

    def __getattr__(self, name):
        return getattr(self.board, name)

    def admin(self, path):
        status, _, body = self.ask("/skein/v1/" + path, {"Authorization": f"Bearer {self.token()}"})
        return json.loads(body) if status == 200 else {"status": status, "body": body}

    def rows(self, caption, seconds=30, least=1):
        """The cells of the table with that caption, as soon as it has so many lines."""
        script = ("[...document.querySelectorAll('main table')].filter((t) => t.caption.textContent.startsWith(%s))"
                  ".map((t) => [...t.tBodies[0].rows].map((r) => [...r.cells].map((c) => c.innerText.trim())))[0] ?? null" % json.dumps(caption))
        self.browser.wait(f"(({script})?.length ?? 0) >= {least}", seconds)
        return self.browser.evaluate(script) or []

    def text(self):
        return self.browser.evaluate("document.querySelector('main').innerText")

    def fill(self, form, values):
        """Writes into the fields of a form as somebody would, and sends it."""
        self.browser.evaluate("""((form, values) => { const f = document.querySelector(`form[data-key^="${form}"]`);
            for (const [name, value] of Object.entries(values)) { const e = f.elements[name]; e.value = value; e.dispatchEvent(new Event('input', {bubbles: true})); e.dispatchEvent(new Event('change', {bubbles: true})); }
            f.requestSubmit(); })(%s, %s)""" % (json.dumps(form), json.dumps(values)))
        self.browser.settle()

    def phases(self):
        return (self.traces, self.explained, self.changes, self.packets, self.endpoints)

    # MARK: Requests

    def traces(self):
        """A failed request that asked to be traced: found by its errors, its waterfall, its log, and one click further why."""
        write_kubeconfig()
        apply(ACCESS_LOG)
        apply(FAULT)
        check("everybody has what the check applies", wait(lambda: self.admin("convergence").get("complete"), 60, 0.5))
        found, begin = {}, time.time() * 1e6

        def failed():
            get("/api/books/1", headers={"x-client-trace-id": str(uuid.uuid4())})
            time.sleep(1)
            for line in json.loads(self.ask("/skein/v1/traces?status=error&limit=50")[2])["traces"]:
                if line["complete"] and line["spans"] >= 12 and line["status"] == 200 and line["startMicroseconds"] > begin:
                    found.update(line)
            return found
        check("a request of which a part fails is in the store", wait(failed, 60, 1), found.get("traceId"))
        apply(FAULT, "delete")
        self.trace_id = found.get("traceId", "0" * 32)
        trace = json.loads(self.ask("/skein/v1/traces/" + self.trace_id)[2])
        ids = {s["attributes"].get("guid:x-request-id") for s in trace["spans"]} - {None, ""}
        since, until = trace["startMicroseconds"] // 1000 - 100, (trace["startMicroseconds"] + trace["durationMicroseconds"]) // 1000 + 100

        def logged():
            return [line for line in self.admin(f"dashboard/access?since={since}&until={until}")["lines"] if line["requestId"] in ids]
        # Lines are written together, after a second at most.
        check("the proxies' access logs have the request", wait(lambda: len(logged()) >= 8, 30, 0.5), len(logged()))
        self.show("requests")
        all_lines = self.rows("Traces")
        self.browser.evaluate("(() => { const e = document.querySelector('input[name=errors]'); e.checked = true; e.dispatchEvent(new Event('change')); })()")
        wanted = {line["traceId"][:8] for line in json.loads(self.ask("/skein/v1/traces?status=error&limit=50")[2])["traces"]}
        check("errors only: the list has those of the API", self.browser.wait(
            f"[...document.querySelectorAll('main table')][0]?.tBodies[0].rows.length === {len(wanted)}", 30) and {row[0] for row in self.rows("Traces")} == wanted, (len(all_lines), len(wanted)))
        self.browser.evaluate("(() => { const e = document.querySelector('input[name=errors]'); e.checked = false; e.dispatchEvent(new Event('change')); })()")
        self.fill("id", {"id": self.trace_id[:12]})
        check("the first digits of an id lead to a trace", self.browser.wait(f"document.title.includes('{self.trace_id[:8]}')", 10))
        rows = self.rows("Trace ", least=trace["spanCount"])
        check("the waterfall has every span in its order", len(rows) == trace["spanCount"] and all(
            row[0].endswith(span["service"]) and row[4].split()[0] == str(span["status"] or "-") for row, span in zip(rows, trace["spans"])), (len(rows), trace["spanCount"]))
        events = "\n".join(row[6] for row in rows)
        check("and what the mesh did: waiting, connections with TLS, faults", "after waiting" in events and "TLSv1.3" in events, events[:200])
        bars = self.browser.evaluate("[...document.querySelectorAll('main rect.bar')].map((r) => [Number(r.getAttribute('x')), Number(r.getAttribute('width')), r.classList.contains('bad')])")
        total = max(1, trace["durationMicroseconds"])
        right = [abs(x - max(0, s["offsetMicroseconds"]) / total * 358) <= 1 and bad == s["error"] for (x, _, bad), s in zip(bars, trace["spans"])]
        check("a span's bar stands where it began", len(right) == trace["spanCount"] and all(right), (sum(right), len(right)))
        lines, known = self.rows("Access log", 30), logged()
        check("the access log of the request stands below it", len(lines) >= len(known) >= 8, (len(lines), len(known)))
        check("no query, agent or header is in it", not any(word in json.dumps(known) for word in ("python", "curl", "agent", "?")))
        self.browser.evaluate("document.querySelector('main a.explain').click()")
        verdict = self.browser.wait("document.querySelector('main .verdict')?.innerText", 40)
        form = self.browser.evaluate("Object.fromEntries([...document.querySelector('form[data-key^=explain]').elements].filter((e) => e.name).map((e) => [e.name, e.value]))")
        check("one click on a trace asks what becomes of such a request", verdict and form["to"].endswith(":80") and form["path"] == "/api/books/1" and "istio-ingressgateway" in form["from"], (verdict, form))

    def explained(self):
        """What the form says is what the command says."""
        self.show("requests")
        for question in ({"from": "deployment/web", "to": "catalog", "method": "GET", "path": "/books/1"}, {"from": "deployment/web", "to": "nowhere", "method": "POST", "path": "/x"},
                         {"from": "deployment/web", "to": "reviews", "method": "GET", "path": "/reviews/1", "header": "end-user: jason"}):
            words = [question["from"], question["to"], question["method"], question["path"]] + (["--header", question["header"]] if "header" in question else [])
            said = {}

            def alike():
                # Of several pods that would do, another may be picked; only the command opens the files that objects came from.
                said.update(command("explain", *words))
                self.fill("explain", {"header": "", "namespace": "", **question})
                wanted = re.sub(r"pod \S+ at \S+|, [\w.-]+\.yaml:\d+", "", said["verdict"])
                return self.browser.wait(r"document.querySelector('main .verdict')?.innerText.slice(2).replace(/pod \S+ at \S+/, '') === " + json.dumps(wanted), 10)
            shown = wait(alike, 60)
            steps = self.rows("Decisions", least=0)
            origins = {f"{o['kind']} {o['namespace']}/{o['name']} {o['field']}" for o in said["origins"]}
            # A name that nobody has leads to no proxy's decision.
            told = not origins or all(any(origin in cell for row in steps for cell in row) or origin in self.text() for origin in origins)
            check(f"{question['from']} to {question['to']} is explained as the command does, with object and field", shown and told, (said["verdict"], self.browser.evaluate("document.querySelector('main .verdict')?.innerText"), len(steps)))
        self.fill("explain", {"from": "nobody", "to": "catalog", "header": "", "namespace": ""})
        check("a pod that is not there is told", self.browser.wait("document.querySelector('main').innerText.includes('there is no pod or deployment default/nobody')", 30))
        self.browser.console[:] = [line for line in self.browser.console if "422" not in line]

    # MARK: Configuration

    def changes(self):
        """A change of the bookstore's weights: the field, before and after, and who has it."""
        name = "VirtualService default reviews".split()
        before = json.loads(kubectl("get", "virtualservice", "reviews", "-o", "json"))
        http = before["spec"]["http"]
        place = next(i for i, rule in enumerate(http) if len(rule["route"]) == 2)
        for number, weight in enumerate((70, 30)):
            http[place]["route"][number]["weight"] = weight
        kubectl("patch", "virtualservice", "reviews", "--type=merge", "-p", json.dumps({"spec": {"http": http}}))
        self.show("configuration/" + urllib.parse.quote("/".join(name), safe=""))
        wanted = {(f"spec.http[{place}].route[0].weight", "90", "70"), (f"spec.http[{place}].route[1].weight", "10", "30")}

        def shown():
            return {tuple(cell.lstrip("−+ ") for cell in row) for row in self.rows("Difference", 1, 2)}
        check("the page of an object tells what a change has changed", wait(lambda: shown() == wanted, 40, 0.5), sorted(shown()))
        revisions = self.rows("Revisions")

        def acknowledged():
            proxies = self.admin("proxies")["proxies"]
            have = sum(one["acknowledged"] >= int(revisions[0][0]) for one in proxies)
            return (len(proxies) == have and self.rows("Revisions")[0][4]) == f"{have} of {len(proxies)} have it"
        check("and who has it", wait(acknowledged, 60, 0.5), self.rows("Revisions")[:1])
        http[place]["route"][0]["weight"], http[place]["route"][1]["weight"] = 90, 10
        kubectl("patch", "virtualservice", "reviews", "--type=merge", "-p", json.dumps({"spec": {"http": http}}))
        check("another change is another revision", wait(lambda: len(self.rows("Revisions", 1)) == len(revisions) + 1, 40, 0.5), len(revisions))
        self.show("configuration")

        def listed():
            latest = self.admin("dashboard/history")["changes"]
            return [(row[1], row[4]) for row in self.rows("Changes")[:5]] == [(f"{c['kind']} {c['namespace']}/{c['name']}", str(c["revision"])) for c in latest[:5]]
        check("the list of changes is the API's", wait(listed, 40, 1), self.rows("Changes")[:2])

    # MARK: Network

    def packets(self):
        """A network policy: its verdicts, with the object, and what the kernel has counted for it."""
        apply(POLICY)
        self.show("network")
        for source, port, word in (("deployment/catalog", "8000", "dropped"), ("deployment/web", "8000", "passes")):
            def said():
                return command("explain", "--packet", source, "deployment/ratings", port)[0]
            wait(lambda: said()["verdict"] == word, 20, 0.5)
            self.fill("packet", {"from": source, "to": "deployment/ratings", "port": port})
            found = self.browser.wait(f"document.querySelector('main .verdict')?.innerText.includes({json.dumps(word + ': TCP 8000')})", 30)
            ends = {(end["direction"], end["cause"]) for end in said()["ends"]}
            rows = {({"leaves": "egress", "arrives": "ingress"}[row[0]], row[3]) for row in self.rows("Verdict", least=0)}
            check(f"from {source} to ratings: {word}, with the rule or policy of each end", found and rows == ends and any("dashboard-check" in cause for _, cause in rows), sorted(rows))
        web, ratings = pods("app=web")[0]["metadata"]["name"], pods("app=ratings")[0]["status"]["podIP"]
        ask = f"import socket; s = socket.create_connection(('{ratings}', 8000), 5); s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); s.recv(9)"

        def counted():
            run(SKEIN, "exec", web, "--data-dir", DATA, "--", "python3", "-c", ask, status=None, timeout=30)
            return sum(one["packets"] for one in self.admin("dashboard/policies")["counters"] if "dashboard-check" in one["cause"] and one["allowed"]) > 0
        check("connections that a rule accepts are counted", wait(counted, 30, 0.5))
        # Numbers move until nobody asks: the page has what the API says between two equal answers.
        same = wait(lambda: self.counters() == self.shown_counters(), 40, 0.5)
        check("and the page has what the kernel has counted", same, (self.shown_counters(), self.counters()))
        apply(POLICY, "delete")

    def counters(self):
        """From the kernel itself."""
        found = []
        for line in run("nft", "list", "ruleset").splitlines():
            words = line.split()
            if words[:2] == ["counter", "packets"] and "NetworkPolicy default/dashboard-check" in line:
                found.append((line.split('"')[1], words[2]))
        return sorted(found)

    def shown_counters(self):
        return sorted((row[0], row[2]) for row in self.rows("Policy rules") if "dashboard-check" in row[0])

    # MARK: A service

    def endpoints(self):
        """The page of a service in the browser: charts with samples, endpoints with what callers see."""
        many(100)
        self.show("service/" + HOST)
        drawn = self.browser.wait("document.querySelectorAll('main svg.chart').length === 4 && document.querySelectorAll('main svg.heat rect').length > 0 && "
                                  "[...document.querySelectorAll('main .chart polyline')].every((p) => p.getAttribute('points').length > 0)", 40)
        check("rate, errors, latency and the heat map are drawn", drawn, self.browser.evaluate("[document.querySelectorAll('main svg.chart').length, document.querySelectorAll('main svg.heat rect').length]"))

        def parts(caption):
            return {row[0] for row in self.rows(caption, 1)}
        check("by version and by caller", wait(lambda: "default/web" in parts("By caller") and {"v1", "v2"} <= parts("By version"), 40, 1), sorted(parts("By version")))

        def agrees():
            self.browser.settle()
            seen = {one["ip"]: one for one in self.admin("dashboard/endpoints?host=" + HOST)["endpoints"]}
            rows = self.rows("Endpoints")
            return len(rows) == len(seen) == 3 and all(
                row[5] == "healthy" and row[8] == str(int(seen[row[0]]["requests"])) and row[7] == str(int(seen[row[0]]["activeConnections"])) for row in rows)
        check("every endpoint has its health, connections and requests as the callers' proxies have them", wait(agrees, 40, 1), self.rows("Endpoints")[:1])
