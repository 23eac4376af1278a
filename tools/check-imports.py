#!/usr/bin/python3
"""Refuses an import that the layer table of Package.swift does not declare, and any import of Foundation.

The compiler's own check (--explicit-target-dependency-import-check) only refuses what is outside the transitive closure.
"""
import json
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
IMPORT = re.compile(
    r"^\s*(?:@\w+(?:\([^)]*\))?\s+)*(?:(?:public|package|internal|fileprivate|private)\s+)?import\s+"
    r"(?:(?:struct|class|enum|protocol|func|let|var|typealias)\s+)?(\w+)")


def main():
    package = json.loads(subprocess.check_output(["swift", "package", "dump-package"], cwd=ROOT))
    declared = {
        target["name"]: {d["byName"][0] for d in target["dependencies"] if "byName" in d} for target in package["targets"]}
    doors = {target["name"] for target in package["targets"] if target["type"] == "system"} | {"CLinux", "CRE2", "COpenSSL", "CLuaJIT"}
    owners = {}
    problems = []
    for target, allowed in sorted(declared.items()):
        folder = ROOT / ("Tests" if target.endswith("Tests") else "Sources") / target
        for file in sorted(folder.rglob("*.swift")):
            for number, line in enumerate(file.read_text().splitlines(), 1):
                match = IMPORT.match(line)
                if not match:
                    continue
                name = match.group(1)
                place = f"{file.relative_to(ROOT)}:{number}"
                if name.startswith("Foundation"):
                    problems.append(f"{place}: Foundation is not used in Skein (docs/decisions)")
                if name in declared and name not in allowed and name != target:
                    problems.append(f"{place}: {target} must not import {name}: it is not in its row of the layer table")
                if name in doors and folder.parent.name == "Sources":
                    owners.setdefault(name, set()).add(target)
    for door, targets in sorted(owners.items()):
        if len(targets) > 1:
            problems.append(f"{door}: imported by {', '.join(sorted(targets))}; a door has one target behind it")
    print("\n".join(problems) or f"imports: {len(declared)} targets follow the layer table")
    return 1 if problems else 0


sys.exit(main())
