"""What the checks share: running commands, asking through the gateway, looking at the machine from outside."""
import collections
import concurrent.futures
import contextlib
import http.client
import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
SKEIN = os.environ.get("SKEIN_BINARY", str(ROOT / ".build/release/skein"))
BOOKSTORE = str(ROOT / "examples/bookstore")
GATEWAY = ("127.0.0.1", 8080)

DATA = tempfile.mkdtemp(prefix="skein-check-")
KUBECONFIG = f"{DATA}.kubeconfig"

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
    return run("kubectl", "--kubeconfig", KUBECONFIG, *arguments, **options)


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


def what_failed(answers):
    """What was wrong with the bad ones of `answers`, and which probes failed by now: a busy machine looks like a broken product otherwise."""
    found = collections.Counter()
    for status, body in answers:
        if not good(status, body):
            parts = re.findall(rb'"error": "([^"]*)"', body) or [body[:80]]
            found[f"{status} " + "; ".join(sorted({re.sub(rb"[0-9a-f]{6,}|[0-9]+", b"#", part[:80]).decode(errors="replace") for part in parts}))] += 1
    if not found:
        return ""
    events = kubectl("get", "events", "-A", "--field-selector", "reason=Unhealthy", "-o",
                     "jsonpath={range .items[*]}{.involvedObject.name}: {.message} x{.count}{'\\n'}{end}", status=None)
    return f"{dict(found.most_common(4))}, load {os.getloadavg()[0]:.0f}, probes that failed: {events.splitlines()[-6:] or 'none'}"


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
                errors = re.findall(rb'"error": "([^"]*)"', body)
                self.failures.append((status, errors or body[:300]))

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


# The mount namespaces that we, or what was started with our directory, have been in.
mounts_of_ours = {os.readlink("/proc/self/ns/mnt")}


def processes():
    """Numbers and command lines of what runs in our mount namespaces, of what descends from that (the processes of containers), and of containers without parent.

    Another Skein beside ours has another mount namespace, since both want /run/skein: its processes are not ours to look at, and not ours to end.
    """
    def of(entry):
        status = dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{entry}/status").read_text().splitlines() if ":" in line)
        line = pathlib.Path(f"/proc/{entry}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        return line, int(status["PPid"]), os.readlink(f"/proc/{entry}/ns/mnt"), os.readlink(f"/proc/{entry}/ns/pid")

    own_pids, found = os.readlink("/proc/self/ns/pid"), {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError, KeyError):
                found[int(entry)] = of(entry)
    mounts_of_ours.update(mounts for line, _, mounts, _ in found.values() if f"--data-dir {DATA}" in line)

    def is_ours(pid):
        _, parent, mounts, pids = found[pid]
        if mounts in mounts_of_ours:
            return True
        # A process of a container belongs to whose monitor its container has; what shares our processes' numbers and not our mounts is somebody else's.
        if pids == own_pids:
            return False
        # A container whose monitor was killed is nobody's child: it must be seen, or nobody would say that it is left behind.
        return is_ours(parent) if parent > 1 and parent in found else True

    return {pid: line for pid, (line, *_) in found.items() if is_ours(pid)}


def ours():
    """Processes that `skein up` brought to life: its own, monitors, containers."""
    marks = ("/skein up", "/skein control-plane", "skein-proxy", "conmon", "/app/")
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
    pattern = {"supervisor": r"/skein up ", "control plane": r"/skein control-plane "}[role]
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


def write_kubeconfig():
    """The kubeconfig that kubectl() uses."""
    pathlib.Path(KUBECONFIG).unlink(missing_ok=True)
    skein("kubeconfig", KUBECONFIG)


def fetch(url_path="/", host=None, address=GATEWAY, timeout=15):
    """Status, body and seconds of one request with that Host header."""
    begin = time.time()
    connection = http.client.HTTPConnection(*address, timeout=timeout)
    try:
        connection.request("GET", url_path, headers={"Host": host} if host else {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace"), time.time() - begin
    except (OSError, http.client.HTTPException) as error:
        return 0, str(error), time.time() - begin
    finally:
        connection.close()


def ask(path, **parameters):
    """An answer of the control plane's Prometheus API."""
    url = f"http://127.0.0.1:9400/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]
