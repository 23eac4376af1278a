#!/usr/bin/python3
"""What a tired eye misses in the tree: lengths, leftovers, machine paths, binaries, links in the documentation."""
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
LINES_MAX = 600
# Files that are one table or one state machine, or generated; everything else stays short.
LONG = re.compile(r"^Sources/EnvoyAPI/|^Sources/ControlPlane/Dashboard/DashboardAssets\.swift$")
LEFTOVER = re.compile(r"\b(TODO|FIXME|XXX)\b|\btry!|\bas! |fatalError\(")
STRANGE = re.compile(r"/(?:wor[k])/|Thread\.slee[p]\(")


def main():
    problems = []
    files = subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, text=True).split("\n")
    for name in filter(None, files):
        path = ROOT / name
        if not path.is_file():
            continue
        data = path.read_bytes()
        if b"\0" in data[:8192]:
            if not (name.startswith("docs/images/") and name.endswith(".png") and len(data) <= 200 << 10):
                problems.append(f"{name}: a binary")
            continue
        text = data.decode(errors="replace")
        lines = text.split("\n")
        if name.endswith(".swift") and len(lines) > LINES_MAX and not LONG.match(name):
            problems.append(f"{name}: {len(lines)} lines (at most {LINES_MAX})")
        for number, line in enumerate(lines, 1):
            if name.startswith("Sources/") and LEFTOVER.search(line):
                problems.append(f"{name}:{number}: {line.strip()[:80]}")
            if STRANGE.search(line) and name != "tools/tidy.py":
                problems.append(f"{name}:{number}: a path or call that does not belong here")
        if name.endswith(".md"):
            for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
                if not (path.parent / link).exists():
                    problems.append(f"{name}: the link to {link} leads nowhere")
    print("\n".join(problems) or "tidy: nothing to do")
    return 1 if problems else 0


sys.exit(main())
