#!/usr/bin/python3
"""Times of ADD and DEL of `skein-cni` beside the reference plugins, one call after the other, in namespaces of their own.

A runtime's chain is bridge (with host-local) then portmap; ours is one call with the same configuration. Each row is the time from fork to
the end of the process, as a runtime sees it; the first is that of an empty process. usage: bench-cni.py [RUNS]
"""
import json
import statistics
import subprocess
import sys
import time

from cnicheck.lab import PLUGINS, Lab, enter, shell


def main():
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 40
    enter(__file__)
    lab = Lab()
    times = {}

    def timed(name, program, verb, configuration, container, namespace):
        command = ["chrt", "-r", "10", program]
        environment = lab.environment(verb, container, namespace)
        begin = time.perf_counter()
        done = subprocess.run(command, input=json.dumps(configuration), env=environment, capture_output=True, text=True, timeout=60)
        times.setdefault(name, []).append((time.perf_counter() - begin) * 1000)
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stdout}{done.stderr}")
        return json.loads(done.stdout) if done.stdout.strip() else None

    bars = []
    try:
        for masquerades in (False, True):
            kind = " with ipMasq" if masquerades else ""
            ours = lab.bridge("ours", "10.212.0.0/16", ipMasq=masquerades, capabilities={"portMappings": True})
            theirs = {**lab.bridge("theirs", "10.211.0.0/16", ipMasq=masquerades), "type": "bridge"}
            ports = {"portMappings": [{"hostPort": 20000, "containerPort": 80, "protocol": "tcp"}]}
            portmap = {"cniVersion": "1.0.0", "name": "theirs", "type": "portmap", "capabilities": {"portMappings": True}, "runtimeConfig": ports}
            for number in range(runs):
                begin = time.perf_counter()
                subprocess.run(["chrt", "-r", "10", "/bin/true"], capture_output=True)
                times.setdefault("empty process", []).append((time.perf_counter() - begin) * 1000)
                name = lab.namespace(f"n{number}")
                result = timed(f"bridge ADD{kind}", f"{PLUGINS}/bridge", "ADD", theirs, name, name)
                mapped = {**portmap, "prevResult": result}
                timed(f"portmap ADD{kind}", f"{PLUGINS}/portmap", "ADD", mapped, name, name)
                timed(f"portmap DEL{kind}", f"{PLUGINS}/portmap", "DEL", mapped, name, name)
                timed(f"bridge DEL{kind}", f"{PLUGINS}/bridge", "DEL", theirs, name, name)
                timed(f"skein-cni ADD{kind}", lab.program, "ADD", ours, name, name)
                timed(f"skein-cni DEL{kind}", lab.program, "DEL", ours, name, name)
                both = {**ours, "runtimeConfig": ports}
                timed(f"skein-cni ADD with a port{kind}", lab.program, "ADD", both, name, name)
                timed(f"skein-cni DEL with a port{kind}", lab.program, "DEL", both, name, name)
                lab.drop(name)
            add = 0.35 if masquerades else 0.5
            bars += [(f"skein-cni ADD{kind}", [f"bridge ADD{kind}"], add), (f"skein-cni DEL{kind}", [f"bridge DEL{kind}"], 0.3),
                     (f"skein-cni ADD with a port{kind}", [f"bridge ADD{kind}", f"portmap ADD{kind}"], 0.4),
                     (f"skein-cni DEL with a port{kind}", [f"bridge DEL{kind}", f"portmap DEL{kind}"], 0.3)]
    finally:
        lab.end()
    print(f"| {runs} runs | median ms | least | 95 of 100 |\n| --- | --: | --: | --: |")
    for name, values in times.items():
        values.sort()
        print(f"| {name} | {statistics.median(values):.1f} | {values[0]:.1f} | {values[int(len(values) * 0.95)]:.1f} |")
    missed = 0
    for name, reference, bar in bars:
        ratio = statistics.median(times[name]) / sum(statistics.median(times[other]) for other in reference)
        missed += ratio > bar
        print(f"{'ok  ' if ratio <= bar else 'FAIL'} {name}: {ratio:.2f} of the reference (bar {bar})")
    return 1 if missed else 0


sys.exit(main())
