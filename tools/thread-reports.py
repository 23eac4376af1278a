#!/usr/bin/python3
"""Judges what the thread sanitizer wrote: prints every data race but those that a lock of the standard library explains.

usage: thread-reports.py FOLDER

`Mutex` waits in the kernel (a futex that hands the lock over), in a library that is not instrumented: when two threads really meet
there, the sanitizer does not see that one came after the other, and reports what both did under the lock. So a report is passed over
when both accesses happened inside of a closure of `Mutex.withLock`; its type, `(inout sending Value) -> sending Result`, is in the
closure's mangled name. An access without a lock against one with it stays a finding. So does everything that is no data race.
"""
import pathlib
import re
import sys

UNDER_LOCK = re.compile(r"zYuYT(XE|Xx)?\w*f?U?_")


def stacks(report):
    """The stacks of the accesses; what follows tells where memory and threads came from."""
    parts = re.split(r"\n\s*\n", report)
    return [part for part in parts if re.search(r"^\s*(Previous )?(atomic )?(read|write|modifying access) of", part, re.I | re.M)]


def is_explained(report):
    accesses = stacks(report)
    return re.search("data race|Swift access race", report) and len(accesses) == 2 and all(UNDER_LOCK.search(access) for access in accesses)


def main():
    folder = pathlib.Path(sys.argv[1])
    findings = explained = 0
    for file in sorted(folder.glob("report.*")):
        for report in re.findall(r"^WARNING: ThreadSanitizer.*?^SUMMARY:[^\n]*", file.read_text(errors="replace"), re.S | re.M):
            if is_explained(report):
                explained += 1
            else:
                findings += 1
                print(report, end="\n\n")
    print(f"thread sanitizer: {findings} findings; {explained} passed over (both accesses under a Mutex)")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
