#!/usr/bin/python3
"""Tries `skein-cni` from outside: direct calls, crashes at every system call, podman, containerd.

Everything happens in network, mount and PID namespaces of its own. Each check prints one line; the exit status is 1 when one failed.
usage: cni-check.py [PART…] [--cycles N]      parts: drop_in versions drivers machines housekeeping bandwidth every_call nameless parallel reboot cycles podman containerd agent
SKEIN_CNI and SKEIN_BINARY name other programs than those of the release build.
"""
import argparse
import sys
import time
import traceback

from cnicheck import agent, crash, direct, runtimes
from cnicheck.lab import Lab, check, enter, note, results

PARTS = {
    "drop_in": direct.drop_in, "versions": direct.versions, "drivers": direct.drivers, "machines": direct.machines, "housekeeping": direct.housekeeping, "bandwidth": direct.bandwidth,
    "every_call": crash.every_call, "nameless": crash.nameless, "parallel": crash.parallel, "reboot": crash.reboot, "cycles": crash.cycles,
    "podman": runtimes.podman, "containerd": runtimes.containerd, "agent": agent.agent,
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    parser.add_argument("--cycles", type=int, default=500)
    options = parser.parse_args()
    enter(__file__)
    lab = Lab()
    try:
        for name in options.parts or PARTS:
            begin = time.time()
            try:
                PARTS[name](lab, options.cycles) if name == "cycles" else PARTS[name](lab)
            except Exception:
                check(f"{name} came to its end", False, traceback.format_exc())
            note(f"{name}: {time.time() - begin:.1f} s")
    finally:
        lab.end()
    print(f"cni-check: {sum(results)} of {len(results)} checks passed")
    return 0 if all(results) else 1


sys.exit(main())
