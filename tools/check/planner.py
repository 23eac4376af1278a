"""The planner on the running bookstore, whose own times are sleeps: what it predicts of changes that it has not seen, and when it refuses.

The part `planner` tries every change, waits until the machine is quiet enough, and makes it busy at the end. `insight` tries the first change.
"""
import dataclasses
import json
import pathlib
import subprocess
import sys
import threading
import time

from check import bookstore, live
from check.lib import DATA, SKEIN, ask, check, get, kubectl, ready, wait

DELAYS = """apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: NAME-delay, labels: {check: plan}}
spec: {hosts: [NAME], http: [{fault: {delay: {percentage: {value: 100}, fixedDelay: TIMEms}}, route: [{destination: {host: NAME}}]}]}
---
"""
# Own times are sleeps: the machine is hardly busy with them. The callers' proxies sleep, so that the own answers of a service do not show its sleep: it is compared by who calls it.
OWN_MILLISECONDS = {"catalog": 20, "orders": 30, "ratings": 10}
# Requests a second, and how long they come.
RATE = 15
LOAD_SECONDS = 16
# Samples are taken every ten seconds.
SAMPLED_SECONDS = 11
WINDOW = "40s"
TOLERANCE = 0.15
# Above that nothing is predicted, and nothing compared.
BUSY_MAX = 0.6
# Shorter times than that are not compared: what the machine does in between is a large part of them.
MILLISECONDS_MIN = 10


@dataclasses.dataclass
class Change:
    """A change as the planner is asked about it, and as it is made."""

    title: str
    words: str
    delays: dict = dataclasses.field(default_factory=dict)
    rate: int = RATE
    catalogs: int = 2


CHANGES = [Change("a delay of 60 ms more in ratings", "add 60ms ratings", {"ratings": 60}), Change("twice as many requests", "rate web x2", rate=2 * RATE),
           Change("a replica of catalog less", "lose pod catalog", catalogs=1)]


def delays(**more):
    """Lets services take their own times, and so many milliseconds more."""
    path = pathlib.Path(f"{DATA}.delays.yaml")
    path.write_text("".join(DELAYS.replace("NAME", name).replace("TIME", str(own + more.get(name, 0))) for name, own in OWN_MILLISECONDS.items()), encoding="utf-8")
    if not more:
        kubectl("apply", "-f", str(path))
    return path


def end():
    kubectl("delete", "virtualservices", "-l", "check=plan")
    pathlib.Path(f"{DATA}.delays.yaml").unlink(missing_ok=True)


def paced(seconds, rate=RATE):
    """Requests at a steady rate, half of them Jason's, so that both versions of reviews get enough; says how busy the machine was meanwhile."""
    begin, threads, first = live.processors(), [], time.monotonic()
    for number in range(rate * seconds):
        threads.append(threading.Thread(target=get, kwargs={"headers": {"end-user": "jason"} if number % 2 else None}))
        threads[-1].start()
        time.sleep(max(0, first + (number + 1) / rate - time.monotonic()))
    for thread in threads:
        thread.join()
    last = live.processors()
    return (last[0] - begin[0]) / max(1, last[1] - begin[1])


def observed():
    """Gives the planner something to learn from."""
    time.sleep(1)
    busy = paced(LOAD_SECONDS)
    edges = f'sum(increase(istio_requests_total{{reporter="destination",destination_workload="ratings"}}[{WINDOW}]))'
    wait(lambda: (ask("query", query=edges)["result"] or [{"value": [0, "0"]}])[0]["value"][1] > "0", 30, 1)
    time.sleep(SAMPLED_SECONDS)
    return busy


def asked(words, window=WINDOW):
    return subprocess.run([SKEIN, "plan", "-t", window, "--what-if", words, "-o", "json"], capture_output=True, text=True, timeout=30)


def is_busy(done):
    """Whether an answer of the planner is that the machine was too busy."""
    return done.returncode != 0 and "processors of node" in done.stderr


def answered():
    """Of each workload: milliseconds of all its answers so far, and their number."""
    parts = [{s["metric"]["destination_workload"]: float(s["value"][1]) for s in ask(
        "query", query=f'sum by (destination_workload) (istio_request_duration_milliseconds_{part}{{reporter="destination",destination_workload_namespace="default"}})')["result"]}
        for part in ("sum", "count")]
    return {name: (parts[0][name], parts[1][name]) for name in parts[0]}


def compare(change, done, busy, counts_when_busy=True):
    """Measures what was predicted; whether the machine was quiet enough for a judgement."""
    predicted = {w["name"].split("/")[-1]: w for w in json.loads(done.stdout)["workloads"]} if done.returncode == 0 else {}
    before = answered()
    later = paced(LOAD_SECONDS, change.rate)
    time.sleep(SAMPLED_SECONDS)
    found = {name: (time_sum - before[name][0]) / (count - before[name][1]) for name, (time_sum, count) in answered().items()
             if name in before and count > before[name][1]}
    rows = {name: (round(line["nowMilliseconds"], 1), round(line["meanMilliseconds"], 1), round(found.get(name, 0), 1))
            for name, line in predicted.items() if name not in change.delays and max(line["meanMilliseconds"], found.get(name, 0)) >= MILLISECONDS_MIN}
    wrong = {name: row for name, row in rows.items() if abs(row[1] - row[2]) > TOLERANCE * row[2]}
    is_quiet = later < BUSY_MAX
    if counts_when_busy and not is_quiet:
        print(f"     not compared: the machine was busy to {later:.0%}", flush=True)
        return False
    check(f"skein plan predicts what {change.title} does to the bookstore, which it has not seen, within 15 % of what is measured then",
          {"web", "reviews-v2"} <= rows.keys() and (not wrong or not is_quiet), f"now, predicted, measured: {rows}; busy to {busy:.0%} and {later:.0%} {done.stderr.strip()}")
    return True


# MARK: The part of its own

# How often and how long a quiet machine is waited for.
TRIES, PAUSE = 20, 30


def little():
    """When there were hardly any requests yet."""
    get()
    wait(lambda: "no samples yet" not in asked("rate web x2").stderr, 60, 1)
    done = asked("rate web x2")
    check("skein plan refuses with too little to learn from, and says what is missing", done.returncode == 1 and done.stdout == "" and "requests" in done.stderr, done.stderr.strip())


def foreseen():
    """Each change is predicted from the time before it, and made afterwards."""
    for change in CHANGES:
        for _ in range(TRIES):
            delays()
            kubectl("scale", "deployment", "catalog", "--replicas=2")
            wait(lambda: ready("app=catalog", 2), 60)
            busy = observed()
            done = asked(change.words)
            if is_busy(done):
                print(f"     {change.words}: busy to {busy:.0%}: {done.stderr.strip()[:100]}; later", flush=True)
                time.sleep(PAUSE)
                continue
            if change.delays:
                kubectl("apply", "-f", str(delays(**change.delays)))
            kubectl("scale", "deployment", "catalog", f"--replicas={change.catalogs}")
            wait(lambda: ready("app=catalog", change.catalogs), 60)
            time.sleep(2)
            if compare(change, done, busy):
                break
            time.sleep(PAUSE)
        else:
            check(f"the machine is quiet enough for {change.words}", False, f"not once in {TRIES} times")
    kubectl("scale", "deployment", "catalog", "--replicas=2")
    wait(lambda: ready("app=catalog", 2), 60)


def refused():
    """Programs beside the mesh keep all processors busy: whose times are measured then, nobody can say."""
    hogs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(live.count())]
    try:
        busy = paced(30)
    finally:
        for hog in hogs:
            hog.kill()
            hog.wait()
    time.sleep(SAMPLED_SECONDS)
    done = asked(CHANGES[0].words)
    check("above 60 % skein plan refuses, and names the node and its shared processors", done.returncode == 1 and done.stdout == "" and "processors of node" in done.stderr
          and "all its pods share" in done.stderr and "above 60 %" in done.stderr and busy > BUSY_MAX, f"busy to {busy:.0%}: {done.stderr.strip()}")
    end()


def phases(before):
    return (bookstore.start, little, foreseen, refused, lambda: bookstore.down(before, "planner"))
