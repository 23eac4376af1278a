#!/usr/bin/env python3
"""The control plane with thousands of simulated proxies over TLS, and changes without a break.

    sudo tools/bench-control.py [--services N] [--endpoints N] [--proxies N] [--uses N|all] [--rate N] [--seconds S] [--kib-each KIB] [--json FILE]

Services have two endpoints each, or as many as --endpoints says. Half of the changes are of endpoints, half of routes; each is of another service, so that every
one can be told apart. A change counts as acknowledged by all when the last proxy that uses the service has it (the proxies
acknowledge before they say so). CPU and memory are those of the control plane's process; with --kib-each it ends with 1 when a proxy that has
connected and waits costs more than that. At the end the control plane is started
anew and the proxies subscribe with nothing: what they get then must be what they had (the full computation).

Without --uses both scenarios run: 20 services for each proxy, and all. Bars: issue 4.
"""
import argparse
import json
import pathlib
import queue
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from peers import mesh  # noqa: E402

TICKS = 100


def cpu(pid):
    """Seconds of CPU that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def memory(pid, field):
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(field + ":"):
            return int(line.split()[1]) / 1024
    return 0


def slice_of(number, version, endpoints=2):
    more = [{"addresses": [f"10.{246 + index}.{number // 250}.{number % 250 + 1}"], "conditions": {"ready": True}}
            for index in range(3, endpoints + 1)]
    return {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": f"service-{number}", "labels": {"kubernetes.io/service-name": f"service-{number}"}},
            "ports": [{"name": "http", "port": 8080}],
            "endpoints": [{"addresses": [f"10.245.{number // 250}.{number % 250 + 1}"], "conditions": {"ready": True}},
                          {"addresses": [f"10.24{6 + version % 3}.{number // 250}.{number % 250 + 1}"], "conditions": {"ready": True}}, *more]}


def rule_of(number, version):
    return {"apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": f"service-{number}"},
            "spec": {"hosts": [f"service-{number}"], "http": [
                {"timeout": f"{version + 1}s", "route": [{"destination": {"host": f"service-{number}"}}]}]}}


mesh.PLURALS["EndpointSlice"] = "endpointslices"


def fill(plane, services, proxies, endpoints):
    """Objects by the API, from several connections."""
    def work(jobs):
        while True:
            try:
                job = jobs.get_nowait()
            except queue.Empty:
                return
            job()
    # Pods first: each is compared with the selectors of the services that there are.
    jobs = queue.Queue()
    for number in range(proxies):
        def make(number=number):
            plane.pod(f"proxy-{number}", f"10.244.{number // 250 + 1}.{number % 250 + 1}", {"app": "proxy"})
        jobs.put(make)
    for number in range(services):
        def make(number=number):
            plane.call("POST", plane.where("Service", "v1", "default"), {
                "apiVersion": "v1", "kind": "Service", "metadata": {"name": f"service-{number}"},
                "spec": {"ports": [{"name": "http", "port": 80}]}})
            plane.call("POST", plane.where("EndpointSlice", "discovery.k8s.io/v1", "default"), slice_of(number, 0, endpoints))
        jobs.put(make)
    threads = [threading.Thread(target=work, args=(jobs,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


class Crowd:
    """The process of the simulated proxies."""

    def __init__(self, program, plane, certificates, services, proxies, uses):
        self.process = subprocess.Popen(
            [program, "--address", f"127.0.0.1:{plane.port}", "--ca", str(plane.path / "control/ca.crt"),
             "--certificate", str(certificates / "cert-chain.pem"), "--key", str(certificates / "key.pem"), "--proxies", str(proxies), "--services", str(services),
             "--uses", str(uses)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lines, self.got = queue.Queue(), {}
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            said = json.loads(line)
            if "got" in said:
                entry = self.got.setdefault((said["got"], said["version"]), [0, 0])
                entry[0] += said["count"]
                entry[1] = max(entry[1], said["last"])
            elif "failure" in said:
                print("     " + said["failure"], flush=True)
            else:
                self.lines.put(said)
        self.lines.put(None)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()

    def ask(self, command=None, seconds=900):
        if command:
            self.tell(command)
        said = self.lines.get(timeout=seconds)
        if said is None:
            raise RuntimeError("the simulated proxies ended")
        return said

    def stop(self):
        self.process.kill()
        self.process.wait()


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def scenario(options, uses):
    plane = mesh.ControlPlane(options.skein)
    crowd = None
    try:
        fill(plane, options.services, options.proxies, options.endpoints)
        certificates = plane.certificate("default")
        empty = memory(plane.process.pid, "RssAnon")
        print(f"     filled: {cpu(plane.process.pid):.1f} s of CPU, {memory(plane.process.pid, 'VmRSS'):.0f} MiB", flush=True)
        begin, before = time.monotonic(), cpu(plane.process.pid)
        crowd = Crowd(options.program, plane, certificates, options.services, options.proxies, uses)
        crowd.ask()
        connect = time.monotonic() - begin, cpu(plane.process.pid) - before
        # What connecting took for a moment is given back a second after the last one.
        time.sleep(2)

        def cost():
            return (memory(plane.process.pid, "RssAnon") - empty) * 1024 / options.proxies
        each, end = cost(), time.monotonic() + 20
        while options.kib_each and each > options.kib_each and time.monotonic() < end:
            time.sleep(0.5)
            each = cost()
        print(f"     connected after {connect[0]:.1f} s, {connect[1]:.1f} s of CPU, {each:.0f} KiB of memory a proxy", flush=True)
        recorder = options.perf and subprocess.Popen(
            ["perf", "record", "-q", "-F", "499", "-g", "-o", options.perf, "-p", str(plane.process.pid)])
        crowd.got.clear()
        pid, changes = plane.process.pid, []
        traffic = plane.call("GET", "/skein/v1/traffic")[1]
        begin, before = time.monotonic(), cpu(pid)
        count = int(options.rate * options.seconds)
        order = [number * 7919 % options.services for number in range(options.services)]
        for index in range(count):
            due = begin + index / options.rate
            time.sleep(max(0, due - time.monotonic()))
            number, version = order[index // 2 % options.services], index // 2 // options.services + 1
            item = slice_of(number, version, options.endpoints) if index % 2 == 0 else rule_of(number, version)
            changes.append((index % 2 == 0, number, time.monotonic_ns()))
            plane.apply(item)
        took = time.monotonic() - begin
        used = cpu(pid) - before
        if recorder:
            recorder.send_signal(2)
            recorder.wait()
        mesh.wait("all to have everything", lambda: plane.call("GET", "/skein/v1/convergence")[1]["complete"], 120)
        time.sleep(0.5)
        later = plane.call("GET", "/skein/v1/traffic")[1]
        pushes = later["changes"]["responses"] - traffic["changes"]["responses"]
        sent = later["changes"]["responseBytes"] - traffic["changes"]["responseBytes"]
        times = {True: [], False: []}
        for is_endpoint, number, at in changes:
            name = f"service-{number}.default.svc.cluster.local"
            name = f"outbound|80||{name}" if is_endpoint else f"80/{name}"
            lasts = [last for (got, _), (_, last) in crowd.got.items() if got.startswith(name) and last >= at]
            if lasts:
                times[is_endpoint].append((min(lasts) - at) / 1e6)
        state = crowd.ask("state")["state"]
        figures = {
            "services": options.services, "endpoints": options.endpoints * options.services, "proxies": options.proxies, "uses": uses,
            "rate": count / took, "seconds": took, "cores": used / took, "rss_mib": memory(pid, "VmRSS"),
            "peak_mib": memory(pid, "VmHWM"), "kib_each": each, "pushes": pushes, "us_per_push": used / pushes * 1e6 if pushes else None,
            "bytes_per_change_and_proxy": sent / count / options.proxies,
            "messages_per_change_and_proxy": pushes / count / options.proxies,
            "endpoint_p50_ms": percentile(times[True], 0.5), "endpoint_p99_ms": percentile(times[True], 0.99),
            "route_p50_ms": percentile(times[False], 0.5), "route_p99_ms": percentile(times[False], 0.99),
            "measured": [len(times[True]), len(times[False])], "connect_s": connect[0], "connect_cpu_s": connect[1]}
        show(figures)
        crowd.tell("pause")
        plane.kill()
        plane.start()
        crowd.ask("reconnect")
        time.sleep(1)
        figures["equal"] = crowd.ask("state")["state"] == state
        return figures
    finally:
        if crowd:
            crowd.stop()
        plane.stop()


def show(figures):
    print(f"{figures['services']} services, {figures['endpoints']} endpoints, {figures['proxies']} proxies that use {figures['uses']}, "
          f"{figures['rate']:.1f} changes a second for {figures['seconds']:.0f} s")
    print(f"  {figures['cores']:.3f} core, {figures['rss_mib']:.0f} MiB (peak {figures['peak_mib']:.0f}), {figures['pushes']} pushes, "
          f"{figures['us_per_push'] or 0:.1f} us each with its ACK")
    print(f"  acknowledged by all: endpoints p50 {figures['endpoint_p50_ms']:.0f} ms, p99 {figures['endpoint_p99_ms']:.0f} ms; "
          f"routes p50 {figures['route_p50_ms']:.0f} ms, p99 {figures['route_p99_ms']:.0f} ms {figures['measured']}")
    print(f"  T_cd: {figures['bytes_per_change_and_proxy']:.1f} bytes, {figures['messages_per_change_and_proxy']:.3f} messages "
          f"per change and proxy; all connected after {figures['connect_s']:.1f} s ({figures['connect_cpu_s']:.1f} s of CPU)", flush=True)


def main():
    parser = argparse.ArgumentParser()
    release = HERE.parent / ".build/release"
    parser.add_argument("--skein", default=str(release / "skein"))
    parser.add_argument("--program", default=str(release / "skein-bench"))
    parser.add_argument("--services", type=int, default=1000)
    parser.add_argument("--endpoints", type=int, default=2, help="of each service, two to eight")
    parser.add_argument("--proxies", type=int, default=2000)
    parser.add_argument("--uses")
    parser.add_argument("--rate", type=float, default=10)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--kib-each", type=float, help="how much memory a connected proxy may cost, what all share counted in")
    parser.add_argument("--json")
    parser.add_argument("--perf", help="record the changes with perf in that file")
    options = parser.parse_args()
    mesh.enter_namespace()
    all_figures, missed = [], []
    for uses in [options.uses] if options.uses else [min(20, options.services), "all"]:
        figures = scenario(options, uses)
        all_figures.append(figures)
        print(f"  state of every proxy equal to the full computation: {figures['equal']}", flush=True)
        if not figures["equal"]:
            missed.append("equality")
        if options.kib_each and figures["kib_each"] > options.kib_each:
            print(f"  a proxy costs {figures['kib_each']:.0f} KiB, more than {options.kib_each:.0f}")
            missed.append("memory")
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(all_figures, indent=1) + "\n")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
