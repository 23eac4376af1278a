#!/usr/bin/python3
"""Tries `skein docker-plugin` with Debian's Docker engine: networks, containers, names, ports, crashes.

Everything happens in network, mount and PID namespaces of its own, with a dockerd started there. Each check prints one line; the exit status is 1
when one failed.
usage: docker-check.py [PART…]      parts: words options ports overlay compose calls crashes parallel own pods podman
SKEIN names another program than that of the release build.
"""
import argparse
import sys
import time
import traceback

from dockercheck import compose, crash, engine, overlay, own, pods
from dockercheck.lab import Lab, check, enter, note, results

PARTS = {"words": engine.words, "options": engine.options, "ports": engine.ports, "overlay": overlay.overlay, "compose": compose.compose, "calls": engine.calls, "crashes": crash.crashes, "parallel": crash.parallel,
         "own": own.own, "pods": pods.pods, "podman": pods.podman}

# The same parts with another engine: for those who change what engines are asked.
ON_REQUEST = {"podman"}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []])
    options = parser.parse_args()
    enter(__file__)
    lab = Lab()
    try:
        lab.start_plugin()
        lab.start_daemon()
        lab.image()
        for name in options.parts or [name for name in PARTS if name not in ON_REQUEST]:
            begin = time.time()
            try:
                PARTS[name](lab)
            except Exception:
                check(f"{name} came to its end", False, traceback.format_exc() + lab.log("plugin"))
            note(f"{name}: {time.time() - begin:.1f} s")
    finally:
        lab.end()
    print(f"docker-check: {sum(results)} of {len(results)} checks passed")
    return 0 if all(results) else 1


sys.exit(main())
