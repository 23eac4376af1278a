#!/usr/bin/env python3
"""Real clients at our API: every kubectl of this machine, the Python client, and clients that nobody here has written.

    sudo tools/api-check.py [--skein .build/release/skein] [PART]...

Parts: kubectl, python, clients, definitions, limits, streams, pods, kinds, servers. Runs alone in network, mount and process namespaces. Each check prints one line, the last line is a
count; ends with 1 when a check failed.
"""
import argparse
import os
import pathlib
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from apicheck import clients, definitions, kinds, kubectl, lib, limits, pods, python, servers, streams  # noqa: E402


def kubectl_part(plane):
    programs = lib.kubectls()
    lib.check("there is a kubectl", programs)
    for number, program in enumerate(programs):
        one = lib.Kubectl(program, plane.kubeconfig, str(plane.path / f"home{number}"))
        begin = time.monotonic()
        # The newest and the oldest are last.
        kubectl.everyday(one, f"k{one.minor}", number >= len(programs) - 2)
        print(f"     kubectl 1.{one.minor}: {time.monotonic() - begin:.1f} s", flush=True)


PARTS = {"kubectl": kubectl_part, "python": python.run, "clients": clients.run, "definitions": definitions.run, "limits": limits.run,
         "streams": streams.run, "pods": pods.run, "kinds": kinds.run, "servers": servers.run}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--skein", default=str(HERE.parent / ".build/release/skein"))
    parser.add_argument("parts", nargs="*")
    arguments = parser.parse_args()
    if os.getuid() != 0:
        print("api-check: run as root (it makes namespaces)", file=sys.stderr)
        return 1
    lib.enter_namespaces()
    begin = time.monotonic()
    plane = lib.Plane(arguments.skein)
    try:
        for name in arguments.parts or PARTS:
            try:
                PARTS[name](plane)
            except Exception as error:  # a client's own errors are of many types
                lib.check(f"{name} ran to its end", False, f"{type(error).__name__}: {error}{plane.output()}")
    finally:
        plane.stop()
    passed = sum(1 for _, is_good in lib.results if is_good)
    print(f"api-check: {passed} passed, {len(lib.results) - passed} failed, {time.monotonic() - begin:.0f} s")
    return 0 if passed == len(lib.results) else 1


if __name__ == "__main__":
    sys.exit(main())
