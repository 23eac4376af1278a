#!/usr/bin/python3
"""Runs the test suites and says what `swift test` keeps quiet: time per suite, skipped and cancelled tests by name.

A skipped or cancelled test is a failure in CI (a peer that is missing must be seen): set CI=true.
"""
import os
import re
import subprocess
import sys
import time

ARGUMENTS = ["swift", "test", "--skip-build", "--disable-xctest"]


def main():
    begin = time.time()
    environment = {**os.environ, "SWIFT_BACKTRACE": "enable=no"}
    process = subprocess.Popen(
        ARGUMENTS + sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment)
    left_out, suites, closing, failures = [], [], "", []
    for line in process.stdout:
        line = line.rstrip("\n")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        # The name is quoted (or a function): a test may well be about something that is cancelled.
        if re.match(r'^\S+ (Test|Suite|Test case)( passing .*)? (".*"|[^"\s]\S*) (was )?(skipped|cancelled)', plain):
            left_out.append(plain)
        match = re.match(r"^\S+ Suite (.+?) (passed|failed) after ([0-9.]+) seconds", plain)
        if match:
            suites.append((float(match.group(3)), match.group(1)))
        if plain.startswith("✘") or "error:" in plain or "↳" in plain:
            failures.append(line)
            print(line, flush=True)
        if "Test run with" in plain:
            closing = plain
    status = process.wait()
    for seconds, name in sorted(suites, reverse=True)[:25]:
        print(f"{seconds:8.2f} s  {name}")
    print(f"skipped or cancelled: {len(left_out)}")
    for line in left_out:
        print(f"  {line}")
    print(f"tests took {time.time() - begin:.0f} s")
    print(closing or f"no closing line: the test process ended with status {status}")
    if status == 0 and not closing:
        status = 1
    if left_out and os.environ.get("CI"):
        print("a skipped or cancelled test is a failure in CI", file=sys.stderr)
        status = status or 1
    return 1 if status else 0


sys.exit(main())
