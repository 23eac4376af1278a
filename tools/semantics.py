#!/usr/bin/python3
"""The rules of docs/semantics.md, the tests that carry their ids, and whether those passed.

    semantics.py [LOG]    LOG is what `swift test` printed

Fails when more rules of the mesh lack a test than may, or when a test that carries an id has failed.
"""
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
RULE = re.compile(r"^- \*\*([A-Z]-\d+)\*\* (.*)$", re.M)
TEST = re.compile(r'@Test\(\s*"((?:[^"\\]|\\.)*)"')
ID = re.compile(r"\b([RHTOBDSIANPX])-(\d+)\b(?:\s*(?:to|\.\.)\s*(?:[A-Z]-)?(\d+)\b)?")
SECTIONS = "RHTOBDSIAPX"
WITHOUT_MAX = 8
# Why a rule has no test yet.
REASONS = {}


def ids(text):
    for match in ID.finditer(text):
        first = int(match[2])
        for number in range(first, int(match[3] or first) + 1):
            yield f"{match[1]}-{number}"


def tests():
    """Ids to the names of tests."""
    found = {}
    for path in sorted((ROOT / "Tests").rglob("*.swift")):
        if path.is_symlink():
            continue
        for match in TEST.finditer(path.read_text(errors="replace")):
            for rule in ids(match[1]):
                found.setdefault(rule, []).append((match[1], path.parent.relative_to(ROOT).parts[1]))
    for path in sorted((ROOT / "tools").rglob("*.py")):
        text = path.read_text(errors="replace")
        for line in re.findall(r'^\s*#\s*semantics: (.*)$', text, re.M):
            for rule in ids(line):
                found.setdefault(rule, []).append((line, path.relative_to(ROOT).as_posix()))
    return found


def outcomes(log):
    """Names of tests to whether they passed."""
    result = {}
    for line in log.splitlines():
        match = re.search(r'(✔|✘) Test "?(.*?)"? (?:with \d+ test cases? )?(passed|failed) after', line)
        if match:
            name = match[2].replace('\\"', '"')
            result[name] = result.get(name, True) and match[3] == "passed"
    return result


def main():
    rules = dict(RULE.findall((ROOT / "docs/semantics.md").read_text()))
    found = tests()
    results = outcomes(pathlib.Path(sys.argv[1]).read_text(errors="replace")) if len(sys.argv) > 1 else {}
    missing, failed = [], []
    for rule, sentence in rules.items():
        names = found.get(rule, [])
        states = [results.get(name.replace('\\"', '"')) for name, _ in names]
        state = "FAIL" if False in states else "pass" if True in states else "test" if names else "-"
        print(f"{rule:5} {state:4} {sentence[:110]}")
        for (name, place), passed in list(zip(names, states))[:4]:
            print(f"             {'' if passed is None else 'ok ' if passed else 'FAILED '}{place}: {name[:120]}")
        if len(names) > 4:
            print(f"             and {len(names) - 4} more")
        if not names and rule[0] in SECTIONS:
            missing.append(rule)
        if state == "FAIL":
            failed.append(rule)
    apart = [rule for rule in rules if rule not in found and rule[0] not in SECTIONS]
    if apart:
        print("not of the mesh, but of the container network, and without a test: " + " ".join(apart))
    unknown = sorted(set(found) - set(rules) - {f"{letter}-{n}" for letter in "N" for n in range(99)})
    print()
    print(f"{len(rules)} rules, {len(rules) - len([r for r in rules if r not in found])} with tests")
    for rule in missing:
        print(f"without a test: {rule}: {REASONS.get(rule, 'no reason is given')}")
    if unknown:
        print("no such rule: " + " ".join(unknown))
    if failed:
        print("failed: " + " ".join(failed))
    if len(missing) > WITHOUT_MAX:
        print(f"{len(missing)} rules of the mesh have no test; at most {WITHOUT_MAX} may")
    sys.exit(1 if failed or len(missing) > WITHOUT_MAX else 0)


main()
