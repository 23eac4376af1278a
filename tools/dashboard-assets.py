#!/usr/bin/python3
"""Writes the dashboard's files into Sources/ControlPlane/Dashboard/DashboardAssets.swift, so that they are part of the program.

usage: dashboard-assets.py [--check]     --check: only tells whether the Swift file is in step (make lint).
"""
import hashlib
import pathlib
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "Sources/ControlPlane/Dashboard"
OUTPUT = FOLDER / "DashboardAssets.swift"
BYTES_MAX = 200 << 10
HEAD = """// swift-format-ignore-file
// Made from Assets/ by tools/dashboard-assets.py; change the files there.

/// The files of the dashboard.
enum DashboardAssets {
    /// A file and what tells its versions apart.
    struct Asset: Sendable {
        var digest: String
        var text: String
    }

    /// The files by their names.
    static let all: [String: Asset] = [
"""


def text():
    parts, total = [HEAD], 0
    for path in sorted((FOLDER / "Assets").iterdir()):
        content = path.read_text(encoding="utf-8")
        total += len(content.encode())
        if '"""##' in content or not content.endswith("\n"):
            raise SystemExit(f"{path.relative_to(ROOT)}: ends without a line end, or holds \"\"\"##")
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        parts.append(f'        "{path.name}": Asset(digest: "{digest}", text: ##"""\n{content}\n"""##),\n')
    if total > BYTES_MAX:
        raise SystemExit(f"the dashboard's files have {total} bytes, more than {BYTES_MAX}")
    parts.append("    ]\n}\n")
    return "".join(parts), total


def main():
    made, total = text()
    if "--check" in sys.argv[1:]:
        if not OUTPUT.exists() or OUTPUT.read_text(encoding="utf-8") != made:
            print("Sources/ControlPlane/Dashboard/DashboardAssets.swift is not in step: run tools/dashboard-assets.py")
            return 1
        print(f"dashboard: files in step, {total / 1024:.0f} KiB")
        return 0
    OUTPUT.write_text(made, encoding="utf-8")
    print(f"dashboard: {total / 1024:.0f} KiB")
    return 0


sys.exit(main())
