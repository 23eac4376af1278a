#!/usr/bin/python3
"""Runs the test suites and says what `swift test` keeps quiet: time per suite, skipped and cancelled tests by name.

What failed stands at the very end again, one line a failure: of a long log often only the last lines are kept.
A skipped or cancelled test is a failure in CI (a peer that is missing must be seen): set CI=true.
"""
import os
import re
import signal
import subprocess
import sys
import threading
import time

ARGUMENTS = ["swift", "test", "--skip-build", "--disable-xctest"]
# How long the tests may say nothing before they count as stuck.
SILENCE = 300
SLOWEST = 10
NAME = r'(".*"|[^"\s]\S*)'


class Watch:
    """Ends a run that says nothing any more: its tests are named instead of a time limit of somebody else's."""

    def __init__(self, process):
        self.process, self.heard, self.is_stuck = process, time.time(), False
        threading.Thread(target=self.look, daemon=True).start()

    def look(self):
        while self.process.poll() is None:
            time.sleep(1)
            if time.time() - self.heard > SILENCE:
                self.is_stuck = True
                # Its own group: `swift test` leaves the test process behind when it alone is ended.
                os.killpg(self.process.pid, signal.SIGKILL)
                return


def main():
    begin = time.time()
    environment = {**os.environ, "SWIFT_BACKTRACE": "enable=no"}
    process = subprocess.Popen(
        ARGUMENTS + sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
        env=environment, start_new_session=True)
    watch = Watch(process)
    left_out, suites, closing, failures, running = [], [], "", [], {}
    try:
        for line in process.stdout:
            watch.heard = time.time()
            line = line.rstrip("\n")
            plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
            # The name is quoted (or a function): a test may well be about something that is cancelled.
            if re.match(rf"^\S+ (Test|Suite|Test case)( passing .*)? {NAME} (was )?(skipped|cancelled)", plain):
                left_out.append(plain)
            if match := re.match(rf"^\S+ Test (?!run ){NAME} started", plain):
                running[match.group(1)] = running.get(match.group(1), 0) + 1
            if match := re.match(rf"^\S+ Test {NAME} (with \d+ test cases? )?(passed|failed) after", plain):
                left = running.pop(match.group(1), 1) - 1
                if left > 0:
                    running[match.group(1)] = left
            if match := re.match(r"^\S+ Suite (.+?) (passed|failed) after ([0-9.]+) seconds", plain):
                suites.append((float(match.group(3)), match.group(1)))
            # Arguments of a test may say anything.
            if not plain.startswith(("◇", "✔")) and (plain.startswith("✘") or re.search(r"error:|↳|Fatal|ERROR: AddressSanitizer|^SUMMARY: ", plain)):
                print(line, flush=True)
                if "recorded an issue" in plain or "error:" in plain or "Fatal" in plain:
                    failures.append(plain.removeprefix("✘ "))
                elif plain.startswith("↳") and not plain.startswith("↳ ///") and failures:
                    failures[-1] += " " + plain.strip()
            if "Test run with" in plain:
                closing = plain
        status = process.wait()
    except BaseException:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    for seconds, name in sorted(suites, reverse=True)[:SLOWEST]:
        print(f"{seconds:8.2f} s  {name}")
    print(f"skipped or cancelled: {len(left_out)}")
    for line in left_out:
        print(f"  {line}")
    print(f"tests took {time.time() - begin:.0f} s")
    print(closing or f"no closing line: the test process ended with status {status}")
    if status == 0 and not closing:
        status = 1
    if not closing:
        print(f"stuck for {SILENCE} s in:" if watch.is_stuck else "the test process ended in the middle of:")
        for name in list(running)[:12]:
            print(f"  {name}")
    for failure in failures[:40]:
        print(f"FAILED {failure[:600]}")
    if left_out and os.environ.get("CI"):
        print("a skipped or cancelled test is a failure in CI", file=sys.stderr)
        status = status or 1
    return 1 if status else 0


sys.exit(main())
