"""The shipped alert rules about machines, certificates and proxies that stay behind, each by a real cause in a mesh of its own.

The mesh's machine is a container: control groups of its own with few processors and little memory, so that programs in pods can use up all that there is without harm to anybody
else. Takes half an hour, as the rules wait before they say anything; not in the default run. A clock that is wrong is in hosts-check: it takes a second machine.
"""
import json
import os
import pathlib
import signal
import subprocess
import time

from check import alerts, bookstore
from check.alerts import apply, firing, once, pod, told
from check.lib import DATA, SKEIN, ask, check, kubectl, pid_of, run, wait, write_kubeconfig

ROOT = pathlib.Path("/sys/fs/cgroup")
NAME = f"skein-check-{os.getpid()}"
PROCESSORS, MEMORY = 1.2, 3 << 30
# What is left of the processors when they are used up: neighbours of a machine that is shared leave that much.
PROCESSORS_LATER = 0.25
LIFETIME = 200
# Seconds that a rule may take beyond what it waits by itself.
PATIENCE = 300

HOG = "import os\nfor _ in range(3): os.fork() or exec('while True: pass')\nimport time; time.sleep(1e9)"
# Touches what it takes, and keeps it.
HOLDER = "import os, time\nheld = bytearray(int(os.environ['BYTES']))\nfor i in range(0, len(held), 4096): held[i] = 1\ntime.sleep(1e9)"

# A proxy as sidecar of the pod, without an agent that would start another one for it when it does not answer.
BOOTSTRAP = """
node: {{id: "sidecar~{address}~{name}.default~default.svc.cluster.local", cluster: {name}.default}}
admin: {{address: {{pipe: {{path: "{data}.behind.admin"}}}}}}
dynamic_resources:
  cds_config: {{ads: {{}}, resource_api_version: V3}}
  lds_config: {{ads: {{}}, resource_api_version: V3}}
  ads_config: {{api_type: DELTA_GRPC, transport_api_version: V3, grpc_services: [{{envoy_grpc: {{cluster_name: xds}}}}]}}
static_resources:
  clusters:
  - name: xds
    type: STATIC
    connect_timeout: 1s
    load_assignment: {{cluster_name: xds, endpoints: [{{lb_endpoints: [{{endpoint: {{address: {{pipe: {{path: "/run/skein/pods/{uid}/xds.sock"}}}}}}}}]}}]}}
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config: {{http2_protocol_options: {{}}}}
"""

behind = None


class Machine:
    """Control groups with limits, version 1 or 2, in which everything of `skein up` runs. What they allow they get, whatever neighbours do."""

    @staticmethod
    def groups():
        """The directory of the hierarchies' own groups, and what limits them."""
        if (ROOT / "cgroup.controllers").exists():
            return {ROOT / NAME: {"memory.max": MEMORY, "cpu.max": f"{int(PROCESSORS * 100_000)} 100000", "cpu.weight": 10_000}}
        limits = {"memory": {"memory.limit_in_bytes": MEMORY}, "cpu": {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": int(PROCESSORS * 100_000), "cpu.shares": 1 << 18}}
        return {place / NAME: limits.get(place.name, {}) for place in ROOT.iterdir() if (place / "cgroup.procs").exists() and place.name not in ("unified", "cpuset")}

    @classmethod
    def start(cls, *words):
        for group, limits in cls.groups().items():
            group.mkdir(exist_ok=True)
            for name, value in limits.items():
                (group / name).write_text(str(value), encoding="ascii")
        join = "".join(f"echo $$ > {group}/cgroup.procs; " for group in cls.groups())
        # What is mounted anew in a namespace of control groups shows its own group as the root.
        if (ROOT / "cgroup.controllers").exists():
            mounts = f"umount {ROOT}; mount -t cgroup2 cgroup {ROOT}"
        else:
            kinds = {group.parent.name: "none,name=systemd" if group.parent.name == "systemd" else group.parent.name for group in cls.groups()}
            mounts = "; ".join(f"umount {ROOT}/{name}; mount -t cgroup -o {kind} cgroup {ROOT}/{name}" for name, kind in kinds.items())
        run("sh", "-c", f'{join} exec unshare --cgroup --mount --propagation slave sh -ec \'{mounts}; exec "$@"\' sh "$@"', "sh", *words, timeout=120)

    @classmethod
    def narrow(cls, processors):
        """Another limit, while everything runs."""
        for group, limits in cls.groups().items():
            for name in limits:
                if name in ("cpu.max", "cpu.cfs_quota_us"):
                    (group / name).write_text(f"{int(processors * 100_000)} 100000" if name == "cpu.max" else str(int(processors * 100_000)), encoding="ascii")

    @classmethod
    def remove(cls):
        def gone(group):
            for inner in [*group.glob("*/"), group]:
                try:
                    inner.rmdir()
                except OSError:
                    pass
            return not group.exists()
        return wait(lambda: all(map(gone, cls.groups())), 30, 0.5)


def value(query):
    found = ask("query", query=query)["result"]
    return float(found[0]["value"][1]) if found else None


def start():
    Machine.start(SKEIN, "up", "--data-dir", DATA, "--images", "host", "--certificate-lifetime", f"{LIFETIME}s", "--detach")
    write_kubeconfig()
    alerts.receive()
    apply(pod("renewed", "renewed", alerts.SERVER), pod("behind", "behind", alerts.SERVER), alerts.service("renewed"))
    kubectl("wait", "pods", "--for=condition=Ready", "--timeout=60s", "renewed", "behind")
    check("the node has the memory and the processors that its control groups allow",
          wait(lambda: (value("skein_node_memory_bytes"), value("skein_node_processors")) == (MEMORY, PROCESSORS), 60, 1), (value("skein_node_memory_bytes"), value("skein_node_processors")))


def stay_behind():
    """A proxy is stopped, and what it does not take in any more changes."""
    global behind
    found = json.loads(kubectl("get", "pod", "behind", "-o", "json"))
    path = pathlib.Path(f"{DATA}.behind.yaml")
    path.write_text(BOOTSTRAP.format(address=found["status"]["podIP"], name="behind", uid=found["metadata"]["uid"], data=DATA), encoding="utf-8")
    # In a network of its own its ports are nobody's.
    behind = subprocess.Popen(["unshare", "--net", os.path.join(os.path.dirname(SKEIN), "skein-proxy"), "-c", str(path), "--concurrency", "1"], stdout=subprocess.DEVNULL,
                              stderr=open(f"{DATA}.behind.log", "w", encoding="utf-8"))

    def connected():
        return len([p for p in json.loads(run(SKEIN, "proxy-status", "-o", "json")) if p["pod"].endswith("behind")]) == 2
    check("a second proxy of a pod is connected", wait(connected, 30, 0.5), pathlib.Path(f"{DATA}.behind.log").read_text(encoding="utf-8")[-500:])
    time.sleep(2)
    behind.send_signal(signal.SIGSTOP)
    apply(alerts.service("more", "behind"))


def use_up():
    """Memory and processors: all but a little of what there is."""
    left, all_of_it = value("skein_node_memory_available_bytes"), value("skein_node_memory_bytes")
    apply(pod("holder", "holder", HOLDER, sidecar=False, BYTES=str(int(left - 0.035 * all_of_it))), pod("hog", "hog", HOG, sidecar=False))
    kubectl("wait", "pods", "--for=condition=Ready", "--timeout=60s", "holder", "hog")
    Machine.narrow(PROCESSORS_LATER)
    check("a limit that changes is seen", wait(lambda: value("skein_node_processors") == PROCESSORS_LATER, 60, 1), value("skein_node_processors"))


def expire():
    """The agent is stopped, so that nobody renews certificates; it goes on when the alert has been told."""
    held = pid_of("supervisor")
    for pid in held:
        os.kill(pid, signal.SIGSTOP)
    try:
        expect({("CertificateIsNotRenewed", "renewed"), ("CertificateIsNotRenewed", "behind")}, LIFETIME + 60)
    finally:
        for pid in held:
            os.kill(pid, signal.SIGCONT)
    over({("CertificateIsNotRenewed", "renewed"), ("CertificateIsNotRenewed", "behind")}, 60)


MACHINE = {("ProxiesNotConverged", ""), ("NodeIsShortOfMemory", ""), ("NodeIsShortOfProcessor", "")}


def expect(wanted, seconds):
    fired = set()
    names = ", ".join(sorted({name for name, _ in wanted}))
    check(f"{names}: fires by its cause", wait(lambda: fired.update(firing()) or wanted <= fired, seconds + PATIENCE, 2), sorted(wanted - fired))
    # What is over before the group was told is not told at all.
    check(f"{names}: is told", wait(lambda: all(told[key] for key in wanted), 60), {" ".join(key): told[key] for key in wanted})


def over(wanted, seconds):
    names = ", ".join(sorted({name for name, _ in wanted}))
    check(f"{names}: is over when its cause is", wait(lambda: not wanted & firing(), seconds + PATIENCE, 2), sorted(wanted & firing()))
    check(f"{names}: was told once, and its end once", wait(lambda: all(map(once, wanted)), 60), {" ".join(key): told[key] for key in wanted})


def exhausted():
    # The processors have to be busy for a quarter of an hour, after five minutes on the average.
    expect(MACHINE, 1260)


def recovered():
    Machine.narrow(PROCESSORS)
    behind.send_signal(signal.SIGCONT)
    kubectl("delete", "pod", "holder", "hog", "--wait=false")
    over(MACHINE, 360)
    behind.terminate()
    behind.wait(10)


def down(before):
    if behind and behind.poll() is None:
        behind.kill()
        behind.wait()
    bookstore.down(before, "shortages")
    check("its control groups are gone", Machine.remove(), list(Machine.groups()))


def phases(before):
    return (start, stay_behind, use_up, expire, exhausted, recovered, lambda: down(before))
