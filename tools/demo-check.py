#!/usr/bin/python3
"""Tries the whole product from outside, as a user would: starts it, asks, breaks things, stops.

Each check prints one line. The last line is a summary; the exit status is 1 when a check failed.
Measured bounds: the first good answer within 5 s of `skein up`, 10 MiB RSS for a sidecar.
usage: demo-check.py [--failed] [badinput] [analysis] [bookstore] [manifests] [explain] [policies] [workloads] [insight] [expiry]   (all of these by default) [alerts] [live] [planner] [shortages]
SKEIN_BINARY names another binary than that of the release build. --failed tries the parts that failed the last time, if there were any.
"""
import os
import pathlib
import shutil
import subprocess
import sys
import time

from check import alerts, analysis, badinput, bookstore, expiry, explain, insight, manifests, planner, policies, shortages, workloads
from check.lib import DATA, KUBECONFIG, ROOT, SKEIN, check, host_state, results

# The parts that failed the last time, a line each.
FAILED = ROOT / ".build/demo-check.failed"
PARTS = {"badinput": badinput, "analysis": analysis, "bookstore": bookstore, "manifests": manifests, "explain": explain, "policies": policies,
         "workloads": workloads, "insight": insight, "expiry": expiry}
# Parts that must be named: they take long, or want a machine for themselves.
LONG = {"alerts": alerts, "live": insight.Live, "planner": planner, "shortages": shortages}


def run(name, part):
    before = host_state()
    step = name
    try:
        for phase in part.phases(before):
            step = phase.__name__.strip("<>")
            begin = time.time()
            phase()
            print(f"     {name} {step}: {time.time() - begin:.1f} s", flush=True)
    except (RuntimeError, subprocess.SubprocessError, OSError, ValueError, KeyError, IndexError, StopIteration) as error:
        check(f"{name} {step} ran to its end", False, f"{type(error).__name__}: {error}")
        for log in ("skein.log", "control-plane.log"):
            path = pathlib.Path(DATA) / "log" / log
            if path.exists():
                print(f"--- {log}\n" + "".join(path.read_text(errors="replace").splitlines(True)[-40:]))
    finally:
        subprocess.run([SKEIN, "down", "--data-dir", DATA], capture_output=True, timeout=180)


def main():
    if os.getuid() != 0:
        print("demo-check: run as root (pods are network namespaces and containers)", file=sys.stderr)
        return 1
    begin = time.time()
    names = [word for word in sys.argv[1:] if word != "--failed"]
    if "--failed" in sys.argv and FAILED.exists():
        names = FAILED.read_text().split()
    failed = []
    for name in names or PARTS:
        known = len(results)
        run(name, (PARTS | LONG)[name])
        if not all(is_good for _, is_good in results[known:]):
            failed.append(name)
        shutil.rmtree(DATA, ignore_errors=True)
    FAILED.write_text("\n".join(failed))
    pathlib.Path(KUBECONFIG).unlink(missing_ok=True)
    passed = sum(1 for _, is_good in results if is_good)
    print(f"demo-check: {passed} passed, {len(results) - passed} failed, {time.time() - begin:.0f} s")
    return 0 if passed == len(results) else 1


sys.exit(main())
