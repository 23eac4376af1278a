"""The planner's page in a real browser, and what the mesh itself did with requests: tries and circuit breakers that have a real cause."""
import json
import time
import urllib.parse
import uuid

from check.explorer import apply
from check.lib import check, get, kubectl, many, pods, wait

CHANGES = ("add 50ms ratings", "rate web x2", "replicas orders=5")
# An answer of the planner with every member, for what the page makes of it: on a machine that is busy there is no other.
TOLD = {"refusal": None, "workloads": [
    {"name": "default/web", "requestsPerSecond": 12.5, "retriesPerSecond": 0, "utilisation": 0.42, "nowMilliseconds": 20.5, "meanMilliseconds": 71.25, "p99Milliseconds": 1234,
     "p99Bounds": [200, 1234], "inside": 0.89, "capacity": 29.8, "error": 0.03},
    {"name": "default/ratings", "requestsPerSecond": 3, "retriesPerSecond": 0.5, "utilisation": None, "nowMilliseconds": 2, "meanMilliseconds": 52, "p99Milliseconds": 80,
     "p99Bounds": [60, 80], "inside": 0.16, "capacity": None, "error": None}],
    "nodes": [{"name": "n", "pods": 9, "nowBusy": 0.2, "busy": 0.4}], "notes": ["the own time of ratings stays as it is <b>"],
    "curve": [{"name": "default/web", "points": [[0.2, 60], [1, 71.25], [2, 140]]}, {"name": "default/ratings", "points": [[0.2, 52], [1, 52]]}]}

# Nobody listens at its second endpoint (a pod's sidecar would): who is sent there has to try again.
FLAKY = """
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: flaky, namespace: default, labels: {check: planned}}
spec: {hosts: [flaky.check], location: MESH_INTERNAL, resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: ADDRESS, ports: {http: 8000}}, {address: 10.244.0.1, ports: {http: 1}}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: flaky, namespace: default, labels: {check: planned}}
spec:
  hosts: [ratings]
  http: [{retries: {attempts: 3, retryOn: "connect-failure,refused-stream"}, route: [{destination: {host: flaky.check}}]}]
"""
TIGHT = """
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tight, namespace: default, labels: {check: planned}}
spec: {host: catalog, trafficPolicy: {connectionPool: {tcp: {maxConnections: 1}, http: {http1MaxPendingRequests: 1}}}}
"""


class Planned:
    """The phases, with the browser and the helpers of the explorer."""

    def __init__(self, explorer):
        self.explorer = explorer

    def __getattr__(self, name):
        return getattr(self.explorer, name)

    def phases(self):
        return (self.rendered, self.answers, self.retried, self.broken)

    # MARK: Planner

    def predicted(self):
        """What the page shows: lines of the table, points of the plot, notes; or why there is no prediction."""
        return self.browser.evaluate("""({
            notice: document.querySelector('main .notice')?.innerText ?? null,
            rows: [...(document.querySelector('main table')?.tBodies[0].rows ?? [])].map((r) => [...r.cells].map((c) => c.innerText.trim())),
            points: [...document.querySelectorAll('main svg.chart polyline')].map((p) => p.getAttribute('points').split(' ').length),
            places: [...document.querySelectorAll('main svg.chart polyline')].map((p) => p.getAttribute('points').split(' ').map((one) => one.split(',').map(Number))),
            legend: [...document.querySelectorAll('main .legend li')].map((l) => l.innerText), text: document.querySelector('main').innerText })""")

    def ask_for(self, change):
        self.browser.evaluate("""((change) => { const e = document.querySelector('main input[name=change]'); e.focus(); e.value = change; e.dispatchEvent(new Event('input', {bubbles: true})); })(%s)""" % json.dumps(change))
        self.browser.press("Enter")
        self.browser.settle()

    def rendered(self):
        """Every member of an answer is on the page: table, bottleneck, plot, notes; by the keyboard alone."""
        self.browser.evaluate("""((told) => { window.trueFetch ??= window.fetch; window.asked = [];
            window.fetch = (input, ...rest) => { const url = String(input.url ?? input); if (!url.includes('/dashboard/plan')) return window.trueFetch(input, ...rest);
              window.asked.push(url); return Promise.resolve(new Response(JSON.stringify(told), {headers: {'content-type': 'application/json'}})); }; })(%s)""" % json.dumps(TOLD))
        self.show("overview")
        self.show("planner")
        self.ask_for("add 50ms ratings & more")
        asked = self.browser.wait("window.asked.find((url) => url.includes('what-if'))", 30) or ""
        question = urllib.parse.parse_qs(urllib.parse.urlparse(asked).query)
        check("Enter in the field asks for the change that stands in it", question.get("what-if") == ["add 50ms ratings & more"] and int(question["window"][0]) >= 300, asked)
        self.browser.wait("document.querySelectorAll('main table tbody tr').length === 2", 30)
        seen = self.predicted()
        web, ratings = seen["rows"]
        check("the page has the predicted times and loads of the answer", web[0] == "default/web" and web[1] == "12.5" and web[2] == "42 %" and web[6] == "0.89" and web[7] == "29.8" and web[8] == "3 %"
              and ratings[2] == ratings[7] == ratings[8] == "-" and all(cell for row in seen["rows"] for cell in row), seen["rows"])
        check("the bottleneck and what was assumed, as texts", "default/web" in seen["text"].split("bottleneck", 1)[-1][:40] and "stays as it is <b>" in seen["text"], seen["text"][-200:])
        xs, ys = zip(*seen["places"][0]) if seen["places"] else ((), ())
        check("latency over load is drawn, more load further right and slower higher up", seen["points"] == [3, 2] and list(xs) == sorted(xs) and list(ys) == sorted(ys, reverse=True)
              and [one.split()[0] for one in seen["legend"]] == ["default/web", "default/ratings"], (seen["points"], seen["legend"]))
        # Wide tables scroll by themselves; the page does not.
        self.browser.evaluate("window.fetch = window.trueFetch")

    def answers(self):
        """The running control plane's own answers: as the API has them, now and after changes."""
        many(150)
        time.sleep(10)
        for change in ("", *CHANGES, "add 5ms nobody", "make it fast"):
            query = "dashboard/plan?window=300" + ("&" + urllib.parse.urlencode({"what-if": change}) if change else "")
            found = {}

            def alike(change=change, query=query, found=found):
                # Both ask anew; a tick in between makes other numbers.
                self.show("overview")
                self.show("planner")
                self.ask_for(change)
                self.browser.wait("!!document.querySelector('main .notice') || !!document.querySelector('main table tbody td')", 20)
                told, seen = self.admin(query), self.predicted()
                found.update(told=told, seen=seen)
                if told.get("refusal"):
                    return seen["notice"] == f"No prediction: {told['refusal']}"
                return [row[0] for row in seen["rows"]] == [one["name"] for one in told["workloads"]] and all(
                    row[6] == f"{one['inside']:.2f}" for row, one in zip(seen["rows"], told["workloads"])) and seen["points"] == [
                        len(one["points"]) for one in told["curve"]]
            same = wait(alike, 60, 1)
            wrong = change in ("add 5ms nobody", "make it fast") and not found["told"].get("refusal")
            check(f"the planner's page says what the API says{' of ' + repr(change) if change else ''}", same and not wrong,
                  found["told"].get("refusal") or {one["name"].split("/")[-1]: round(one["meanMilliseconds"]) for one in found["told"].get("workloads", [])})

    # MARK: Marks

    def traced(self, seconds, wanted, workers=6):
        """A trace of which a span has an event of that name, and that gets no more spans: asks, so many at a time, until there is one."""
        found = {}

        def there():
            many(workers, {"x-client-trace-id": str(uuid.uuid4())}, workers=workers)
            for line in json.loads(self.ask("/skein/v1/traces?limit=50&since=30s")[2])["traces"]:
                trace = json.loads(self.ask("/skein/v1/traces/" + line["traceId"])[2])
                if any(event["name"] == wanted for span in trace.get("spans", []) for event in span["events"]):
                    found.update(trace)
                    return True
            return False

        def complete():
            found.update(json.loads(self.ask("/skein/v1/traces/" + found["traceId"])[2]))
            return found["complete"]
        if wait(there, seconds, 2):
            wait(complete, 90, 1)
        return found

    def marked(self, trace, event, words):
        """The waterfall of a trace: each event of that name has its mark where it happened, and its words."""
        self.show("requests/" + trace.get("traceId", "0" * 32))
        rows = self.rows("Trace ", least=trace.get("spanCount", 1))
        told = [[one for one in span["events"] if one["name"] == event] for span in trace.get("spans", [])]
        drawn = self.browser.evaluate("""[...document.querySelectorAll('main table tbody tr')].map((r) => [...r.querySelectorAll('path.mark')]
            .map((m) => [m.querySelector('title').textContent, Number(m.getAttribute('transform').match(/[\\d.]+/)[0])]))""")
        right = [len([1 for text, _ in marks if words in text]) == len(events) and all(
            any(words in text and abs(x - min(1, max(0, one["offsetMicroseconds"] / max(1, trace["durationMicroseconds"]))) * 358) <= 1 for text, x in marks) for one in events)
            for marks, events in zip(drawn, told)]
        return len(rows) == trace.get("spanCount") and any(told) and all(right) and all(words in row[6] for row, events in zip(rows, told) if events), [
            (row[6], marks) for row, marks, events in zip(rows, drawn, told) if events][:1]

    def edge(self, source, target):
        """State and words of an edge of the graph."""
        return self.browser.evaluate("""((a, b) => { const e = document.querySelector(`g.edge[data-source="${a}"][data-target="${b}"]`);
            return e && [e.getAttribute('class'), e.querySelector('title')?.textContent ?? e.getAttribute('aria-label') ?? '']; })(%s, %s)""" % (json.dumps(source), json.dumps(target)))

    def retried(self):
        """An endpoint that nobody answers at: the request is tried again, and the waterfall shows where."""
        address = pods("app=ratings")[0]["status"]["podIP"]
        apply(FLAKY.replace("ADDRESS", address))
        check("everybody has it", wait(lambda: self.admin("convergence").get("complete"), 60, 0.5))
        trace = self.traced(90, "retry")
        check("a request that was tried again is traced", trace, trace.get("traceId"))
        good, detail = self.marked(trace, "retry", "retry") if trace else (False, "")
        check("each further try has its mark in the waterfall, where it happened, and its words", good, detail)
        good, detail = self.marked(trace, "connection failed", "connection failed") if trace else (False, "")
        check("and so has the connection that failed", good, detail)
        kubectl("delete", "serviceentry,virtualservice", "-l", "check=planned")

    def broken(self):
        """More requests at a time than a connection pool lets through."""
        apply(TIGHT)
        check("everybody has it", wait(lambda: self.admin("convergence").get("complete"), 60, 0.5))
        # On a calm machine the catalog answers in a few milliseconds, and few requests meet there.
        trace = self.traced(90, "circuit breaker", workers=40)
        check("a request that a circuit breaker refused is traced, with its flag", trace and any("UO" in span["flags"] for span in trace["spans"]), trace.get("traceId"))
        good, detail = self.marked(trace, "circuit breaker", "circuit breaker of") if trace else (False, "")
        check("the open circuit breaker has its mark in the waterfall, where it happened, and its words", good, detail)
        self.show("graph")

        def seen():
            many(80, workers=40)
            return (self.edge("default/web", "default/catalog") or ["", ""])[0].split()[-1] in ("warning", "critical")
        check("and its edge of the graph has the colour of errors", wait(seen, 60, 1), self.edge("default/web", "default/catalog"))
        self.show("overview")
        check("the overview says that something is wrong with it", self.browser.wait("document.querySelector('main').innerText.includes('catalog')", 30))
        kubectl("delete", "destinationrule", "-l", "check=planned")
        wait(lambda: get()[0] == 200, 30)
