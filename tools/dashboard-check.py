#!/usr/bin/python3
"""Looks at the dashboard with Debian's Chromium while the bookstore runs, as a user would.

Each check prints one line; the exit status is 1 when a check failed.
usage: dashboard-check.py [--screenshots DIRECTORY]     SKEIN_BINARY names another binary than that of the release build.
"""
import os
import shutil
import subprocess
import sys
import time

from check import dashboard
from check.lib import BOOKSTORE, DATA, SKEIN, check, good, get, results, run, up, wait


def main():
    if os.getuid() != 0:
        print("dashboard-check: run as root (pods are network namespaces and containers)", file=sys.stderr)
        return 1
    begin = time.time()
    folder = sys.argv[2] if sys.argv[1:2] == ["--screenshots"] and len(sys.argv) == 3 else None
    try:
        up("-f", BOOKSTORE)
        check("the bookstore answers", wait(lambda: good(*get(timeout=3)), 60))
        for phase in [dashboard.screenshots(folder)] if folder else dashboard.phases():
            started = time.time()
            phase()
            print(f"     dashboard {phase.__name__}: {time.time() - started:.1f} s", flush=True)
    except (RuntimeError, subprocess.SubprocessError, OSError, ValueError, KeyError, IndexError, TypeError) as error:
        check("the check ran to its end", False, f"{type(error).__name__}: {error}")
    finally:
        dashboard.end()
        subprocess.run([SKEIN, "down", "--data-dir", DATA], capture_output=True, timeout=180)
        shutil.rmtree(DATA, ignore_errors=True)
    passed = sum(1 for _, is_good in results if is_good)
    print(f"dashboard-check: {passed} passed, {len(results) - passed} failed, {time.time() - begin:.0f} s")
    return 0 if passed == len(results) else 1


sys.exit(main())
