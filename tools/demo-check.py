#!/usr/bin/python3
"""Tries the whole product from outside, as a user would: starts the bookstore, asks, breaks things, stops.

Each check prints one line. The last line is a summary; the exit status is 1 when a check failed.
Measured bounds: the first good answer within 5 s of `skein up`, at most 10 MiB RSS for a sidecar.
"""
import collections
import concurrent.futures
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKEIN = str(ROOT / ".build/release/skein")
BOOKSTORE = str(ROOT / "examples/bookstore")
GATEWAY = ("127.0.0.1", 8080)
FIRST_ANSWER_SECONDS_MAX = 5.0
SIDECAR_RSS_MIB_MAX = 10.0

results = []


def check(name, passed, detail=""):
    results.append((name, bool(passed)))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail else ''}", flush=True)
    return passed


def run(*command, status=0, timeout=120, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, **options)
    if status is not None and done.returncode != status:
        raise RuntimeError(f"{' '.join(command)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def skein(*arguments, **options):
    return run(SKEIN, *arguments, "--data-dir", DATA, **options)


def kubectl(*arguments, **options):
    return run("kubectl", "--kubeconfig", f"{DATA}/kubeconfig.check", *arguments, **options)


def get(path="/api/books/1", headers=None, timeout=15):
    """Status and body of one request through the gateway; status 0 when there was no answer."""
    connection = http.client.HTTPConnection(*GATEWAY, timeout=timeout)
    try:
        connection.request("GET", path, headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error).encode()
    finally:
        connection.close()


def good(status, body):
    """Whether the page is there with all its parts (the page is shown without a part that failed)."""
    return status == 200 and b'"error"' not in body


def many(count, headers=None, workers=8):
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        return list(pool.map(lambda _: get(headers=headers), range(count)))


class Load:
    """Requests without a break from two threads while something happens."""

    def __enter__(self):
        self.stop, self.failures, self.count = threading.Event(), [], 0
        self.threads = [threading.Thread(target=self.work) for _ in range(2)]
        for thread in self.threads:
            thread.start()
        return self

    def work(self):
        while not self.stop.is_set():
            status, body = get()
            self.count += 1
            if not good(status, body):
                self.failures.append((status, body[:300]))

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def detail(self):
        return f"{self.count} requests, {len(self.failures)} failed {self.failures[:2] if self.failures else ''}"


def wait(condition, seconds, step=0.1):
    end = time.time() + seconds
    while time.time() < end:
        if condition():
            return True
        time.sleep(step)
    return False


def pods(selector=None):
    arguments = ["get", "pods", "-o", "json"] + (["-l", selector] if selector else [])
    return json.loads(kubectl(*arguments))["items"]


def ready(selector, count):
    def is_ready(pod):
        return "deletionTimestamp" not in pod["metadata"] and any(
            c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))
    found = pods(selector)
    return len(found) == count and all(map(is_ready, found))


def processes():
    """Numbers and command lines of everything that runs."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                found[int(entry)] = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
            except OSError:
                pass
    return found


def ours():
    """Processes that `skein up` brought to life: its own, monitors, containers."""
    marks = ("/skein up", "skein control-plane", "skein-proxy", "conmon", "/app/")
    return {pid: line for pid, line in processes().items() if any(m in line for m in marks) and pid != os.getpid()}


def host_state():
    """What has to be the same before and after: links, namespaces, nftables, mounts, processes of ours."""
    links = sorted(re.findall(r"^\d+: ([^:@]+)", run("ip", "-o", "link"), re.M))
    tables = sorted(run("nft", "list", "tables").split("\n"))
    mounts = sorted(line.split()[4] for line in open("/proc/self/mountinfo"))
    namespaces = sorted(run("ip", "netns").split("\n"))
    addresses = sorted(re.findall(r"inet6? (\S+)", run("ip", "-o", "addr")))
    routes = sorted(run("ip", "route").split("\n"))
    settings = [pathlib.Path(p).read_text().strip() for p in ("/proc/sys/net/ipv4/ip_forward",)]
    return {"links": links, "nftables": tables, "mounts": mounts, "namespaces": namespaces, "addresses": addresses,
            "routes": routes, "ip_forward": settings, "processes": sorted(ours().values()),
            "run directory": os.path.exists("/run/skein/pods") and os.listdir("/run/skein/pods") or []}


def same_as(before):
    after = host_state()
    return [f"{key}: {[x for x in after[key] if x not in before[key]]} more, {[x for x in before[key] if x not in after[key]]} less"
            for key in before if before[key] != after[key]]


def up(*more):
    return run(SKEIN, "up", "--data-dir", DATA, "--images", "host", "--detach", *more, timeout=120)


def pid_of(role):
    pattern = {"supervisor": r"skein up .*", "control plane": r"skein control-plane.*"}[role]
    return [pid for pid, line in ours().items() if re.search(pattern, line)]


def enter(pod, container, *command):
    """Runs a command inside a container of a pod."""
    for pid, line in processes().items():
        if f"/app/{container}.py" in line and "conmon" not in line:
            try:
                if os.path.basename(run("nsenter", "-t", str(pid), "-u", "hostname").strip()) == pod:
                    return run("nsenter", "-t", str(pid), "-a", *command, status=None)
            except RuntimeError:
                continue
    raise RuntimeError(f"no process of {pod}")


def start():
    begin = time.time()
    answer = {}

    def first():
        while "at" not in answer and time.time() < begin + 60:
            if good(*get(timeout=2)):
                answer["at"] = time.time() - begin
            time.sleep(0.05)
    watcher = threading.Thread(target=first)
    watcher.start()
    output = up("-f", BOOKSTORE)
    watcher.join()
    check("skein up prints a table with the services and the address to try",
          re.search(r"web\s+2/2", output) and "http://127.0.0.1:8080" in output, output if "web" not in output else "")
    check(f"first good answer within {FIRST_ANSWER_SECONDS_MAX:.0f} s",
          answer.get("at", 99) <= FIRST_ANSWER_SECONDS_MAX, f"{answer.get('at', 99):.2f} s")
    pathlib.Path(f"{DATA}/kubeconfig.check").write_text(skein("kubeconfig"))
    check("all replicas get ready", wait(lambda: len([p for p in pods() if p]) == 9 and ready(None, 9), 30))


def routing():
    answers = many(1000)
    failures = [(s, b[:200]) for s, b in answers if not good(s, b)]
    check("1,000 requests through the gateway, none fails", not failures, failures[:2])
    versions = collections.Counter(json.loads(b)["reviews"]["version"] for s, b in answers if good(s, b))
    # Binomial: sigma = sqrt(1000 * 0.1 * 0.9) = 9.5.
    check("reviews are divided 90/10 within 3 sigma", abs(versions["v2"] - 100) <= 28.5, dict(versions))
    jason = collections.Counter(json.loads(b)["reviews"]["version"] for s, b in many(100, {"end-user": "jason"}) if good(s, b))
    check("end-user: jason always gets v2", jason == {"v2": 100}, dict(jason))
    status, page = get("/")
    check("the page is HTML", status == 200 and b"<h1>The Comedy of Errors</h1>" in page, status)
    web = collections.Counter(json.loads(b)["pod"] for s, b in answers if good(s, b))
    check("both replicas of web answer", len(web) == 2, dict(web))


def names():
    pod = pods("app=web")[0]["metadata"]["name"]
    script = "import http.client,sys\nfor h in sys.argv[1:]:\n c=http.client.HTTPConnection(h,80,timeout=5);c.request('GET','/books/1');print(h,c.getresponse().status);c.close()"
    hosts = ["catalog", "catalog.default", "catalog.default.svc", "catalog.default.svc.cluster.local", "catalog.default.svc.cluster.local."]
    output = enter(pod, "web", "python3", "-c", script, *hosts)
    check("a pod reaches a service by every form of its name", all(f"{h} 200" in output for h in hosts), output.strip())
    script = ("import http.client,collections\nn=collections.Counter()\nfor i in range(300):\n"
              " c=http.client.HTTPConnection('web',80,timeout=5);c.request('GET','/healthz');a=c.getresponse();a.read();"
              "n[a.getheader('x-pod') if a.status==200 else a.status]+=1;c.close()\nprint(len(n),sum(n.values()),dict(n))")
    output = enter(pod, "web", "python3", "-c", script)
    check("a pod reaches its own service 300 times, on all replicas", output.startswith("2 300"), output.strip())


def failures():
    victim = next(pid for pid, line in processes().items() if "/app/catalog.py" in line and "conmon" not in line)
    with Load() as load:
        time.sleep(1)
        os.kill(victim, signal.SIGKILL)
        time.sleep(4)
    check("killing the process of a replica under load loses no request", not load.failures and load.count > 20, load.detail())
    check("the killed container is started again", wait(lambda: ready("app=catalog", 2), 30))

    with Load() as load:
        time.sleep(0.5)
        kubectl("scale", "deployment", "web", "--replicas=3")
        grown = wait(lambda: ready("app=web", 3), 30)
        kubectl("scale", "deployment", "web", "--replicas=2")
        shrunk = wait(lambda: ready("app=web", 2), 40)
        time.sleep(0.5)
    check("kubectl scale up and down under load loses nothing", grown and shrunk and not load.failures, load.detail())

    with Load() as load:
        time.sleep(0.5)
        kubectl("patch", "deployment", "catalog", "-p", '{"spec":{"template":{"metadata":{"annotations":{"round":"2"}}}}}')
        kubectl("rollout", "status", "deployment/catalog", "--timeout=60s")
        wait(lambda: ready("app=catalog", 2), 30)
        time.sleep(0.5)
    check("a rolling update under load loses nothing", not load.failures, load.detail())


def fault():
    skein("apply", "-f", f"{BOOKSTORE}/fault")

    def seconds():
        begin = time.time()
        get()
        return time.time() - begin
    slow = wait(lambda: seconds() >= 2.0, 10)
    skein("delete", "-f", f"{BOOKSTORE}/fault")
    fast = wait(lambda: seconds() < 1.5, 10)
    check("the delay fault delays, and ends with its object", slow and fast)


def container_pids():
    return sorted(pid for pid, line in processes().items() if ("/app/" in line or "skein-proxy" in line) and "conmon" not in line and "/skein up" not in line)


def kill_agent():
    before = container_pids()
    with Load() as load:
        time.sleep(0.5)
        for pid in pid_of("supervisor"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(1)
        up()
        time.sleep(1)
    check("kill -9 of the agent and a new start: same containers, no failed request",
          container_pids() == before and not load.failures, f"{load.detail()} pids same: {container_pids() == before}")
    with Load() as load:
        time.sleep(0.5)
        for pid in pid_of("control plane"):
            os.kill(pid, signal.SIGKILL)
        time.sleep(3)
    check("kill -9 of the control plane under load loses nothing", not load.failures, load.detail())
    check("the control plane is back", wait(lambda: kubectl("get", "pods", status=None) != "", 15))


def footprint():
    sizes = []
    for pid, line in processes().items():
        if "skein-proxy" in line and "conmon" not in line and "/skein up" not in line:
            status = pathlib.Path(f"/proc/{pid}/status").read_text()
            sizes.append(int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024)
    check(f"each of {len(sizes)} proxies has at most {SIDECAR_RSS_MIB_MAX:.0f} MiB RSS",
          sizes and max(sizes) <= SIDECAR_RSS_MIB_MAX, f"{min(sizes):.1f} to {max(sizes):.1f} MiB" if sizes else "")


def down(before, name):
    skein("down", timeout=90)
    difference = []
    wait(lambda: not difference.clear() and not difference.extend(same_as(before)) and not difference, 5, 0.5)
    check(f"skein down leaves nothing behind ({name})", not difference, "; ".join(difference))


def main():
    before = host_state()
    step = None
    try:
        for step in (start, routing, names, footprint, failures, fault, kill_agent):
            begin = time.time()
            step()
            print(f"     {step.__name__}: {time.time() - begin:.1f} s", flush=True)
        down(before, "after use")
        for role, more in (("supervisor", ()), ("control plane", ()), ("conmon", ()), ("skein-proxy", ()), ("/app/", ())):
            up(*more)
            victims = pid_of(role) if role in ("supervisor", "control plane") else [
                pid for pid, line in ours().items() if role in line and "/skein up" not in line and (role == "conmon" or "conmon" not in line)]
            for pid in victims:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
            down(before, f"after kill -9 of {role}, {len(victims)} processes")
    except (RuntimeError, subprocess.TimeoutExpired, OSError, ValueError, KeyError, StopIteration) as error:
        check(f"{step.__name__ if step else 'start'} ran to its end", False, f"{type(error).__name__}: {error}")
        log = pathlib.Path(DATA) / "log/skein.log"
        if log.exists():
            print("".join(log.read_text(errors="replace").splitlines(True)[-60:]))
    finally:
        subprocess.run([SKEIN, "down", "--data-dir", DATA], capture_output=True, timeout=120)
    passed = sum(1 for _, is_good in results if is_good)
    print(f"demo-check: {passed} passed, {len(results) - passed} failed")
    return 0 if passed == len(results) else 1


if os.getuid() != 0:
    sys.exit("demo-check: run as root (pods are network namespaces and containers)")
DATA = tempfile.mkdtemp(prefix="skein-demo-")
sys.exit(main())
