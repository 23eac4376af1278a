#!/usr/bin/env python3
"""Builds a skein-proxy with faults that are switched on one at a time, and counts those the differential suite sees.

usage: planted.py [--check] [--only NAME]... [--binary FILE] [--jobs N]

The switches stand in PLANTED below and nowhere in the sources: a copy of the tree gets them, is built as a test variant
(`-DSKEIN_PLANTED_FAULTS`), and has the fault that SKEIN_PLANT names. `--check` only looks whether each place is still there.
"""
import argparse
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
COPY = ROOT / ".build/planted"
NEEDED = 19

SWITCH = '''internal import Glibc

/// The fault that this build was told to have (tools/differential/planted.py writes this file).
public enum PlantedFault {
    private static let name: [UInt8] = getenv("SKEIN_PLANT").map { Array(String(cString: $0).utf8) } ?? []

    /// Whether it is this one.
    public static func isOn(_ fault: StaticString) -> Bool {
        fault.withUTF8Buffer { $0.elementsEqual(name) }
    }
}
'''


def on(name):
    return f'PlantedFault.isOn("{name}")'


# name, file, text there, text instead ({on}: the switch), the groups that see it, what is wrong
PLANTED = [
    ("separated-prefix", "Sources/Upstream/Matching/PathMatcher.swift",
     "&& (end == prefix.count || path[prefix.count] == 0x2F)",
     "&& ({on} || end == prefix.count || path[prefix.count] == 0x2F)", ["routing"], "`/seg/mentx` passes `/seg/ment`"),
    ("unanchored-regex", "Sources/Upstream/Matching/RegularExpression.swift",
     "    public func matches(_ bytes: borrowing Span<UInt8>) -> Bool {\n        bytes.",
     "    public func matches(_ bytes: borrowing Span<UInt8>) -> Bool {\n        if {on} { return find(in: Bytes.copy(bytes)) != nil }\n        return bytes.", ["routing"], "a part of the value is enough"),
    ("invert-ignored", "Sources/Upstream/Matching/HeaderMatcher.swift", "self.isInverted = isInverted\n", "self.isInverted = isInverted && !{on}\n", ["routing"],
     "`invert_match` says nothing"),
    ("range-end", "Sources/Upstream/Matching/HeaderMatcher.swift", "number >= start && number < end }", "number >= start && (number < end || ({on} && number == end)) }", ["routing"], "the end belongs to the range"),
    ("empty-wildcard", "Sources/Upstream/Routing/DomainTable.swift",
     "hence `<`.\n        for group in suffixes where group.count < authority.count {",
     "hence `<`.\n        for group in suffixes where group.count < authority.count || ({on} && group.count == authority.count) {", ["routing"], "`*.example` stands for `.example`"),
    ("first-cluster", "Sources/Upstream/Routing/Forwarding.swift",
     "        let point = total.multipliedFullWidth(by: random).high\n",
     "        if {on} { return targets.first }\n        let point = total.multipliedFullWidth(by: random).high\n", ["routing"], "the first cluster gets everything, whatever its weight"),
    ("rewrite-length", "Sources/Upstream/Routing/Forwarding.swift",
     "let count = min(matcher.replacedCount(of: path) ?? 0, end)",
     "let count = min((matcher.replacedCount(of: path) ?? 0) + ({on} ? 1 : 0), end)", ["routing"], "one byte more than the prefix is replaced"),
    ("query-kept", "Sources/Upstream/Routing/Redirect.swift", "if stripsQuery, let query", "if stripsQuery, !{on}, let query", ["redirects"], "`strip_query` says nothing"),
    ("old-port", "Sources/Upstream/Routing/Redirect.swift", "if Self.isOwnPort(oldPort, of: old), old != newScheme { return }",
     "if Self.isOwnPort(oldPort, of: old), old != newScheme, !{on} { return }", ["redirects"], "the old scheme's own port stays in the Location"),
    ("never-is-always", "Sources/Upstream/Matching/Fraction.swift",
     "        return UInt64(denominator).multipliedFullWidth(by: random).high < UInt64(numerator)",
     "        return (numerator == 0 && {on}) || UInt64(denominator).multipliedFullWidth(by: random).high < UInt64(numerator)", ["faults", "routing"], "0 % is everything"),
    ("retry-more", "Sources/Upstream/Retry/RetryState.swift", "guard retries < retriesMax else {", "guard retries < retriesMax + ({on} ? 1 : 0) else {", ["retries"], "one retry more than `num_retries`"),
    ("gateway-500", "Sources/Upstream/Retry/RetryState.swift", "if conditions.contains(.gatewayError), (502...504).contains(status)",
     "if conditions.contains(.gatewayError), (502...504).contains(status) || ({on} && status == 500)", ["retries"], "500 is a gateway error"),
    ("per-try-forgotten", "Sources/Upstream/Retry/RequestTimeouts.swift", "if let total, let perTry, perTry >= total { self.perTry = nil }",
     "if let total, let perTry, perTry >= total || {on} { self.perTry = nil }", ["retries"], "`per_try_timeout` says nothing"),
    ("grpc-milliseconds", "Sources/Upstream/Retry/RequestTimeouts.swift", 'case UInt8(ascii: "m"): return .milliseconds(number)',
     'case UInt8(ascii: "m"): return {on} ? .seconds(number) : .milliseconds(number)', ["timeouts"], "`m` of grpc-timeout counts seconds"),
    ("eject-late", "Sources/Upstream/Health/OutlierDetector.swift", "guard threshold > 0, count >= threshold,",
     "guard threshold > 0, count >= threshold + ({on} ? 1 : 0),", ["outlier"], "one failure more than the threshold is needed"),
    ("eject-all", "Sources/Upstream/Health/OutlierDetector.swift", "guard isInShare ||", "guard isInShare || {on} ||", ["outlier"], "`max_ejection_percent` says nothing"),
    ("breaker-late", "Sources/Upstream/Limits/ResourceLimits.swift", "if before < limit { return true }",
     "if before < limit || ({on} && before == limit) { return true }", ["local_reply", "retries"], "one more than the limit passes"),
    ("flag-lost", "Sources/Proxy/Stream/ResponseFlags.swift", "where rawValue >> UInt32(index) & 1 == 1 {",
     "where rawValue >> UInt32(index) & 1 == 1 && !({on} && index == 15) {", ["retries"], "`URX` is not logged"),
    ("forwarded-for", "Sources/Proxy/Filters/Network/HTTPConnectionManager/ForwardingHeaders.swift", "if !skipsXFFAppend, let peer",
     "if !skipsXFFAppend, !{on}, let peer", ["headers"], "the client's address is not appended to x-forwarded-for"),
    ("overwrite-appends", "Sources/Proxy/Stream/HeaderRewriter.swift",
     "            case .overwriteOrAdd(let template):\n                let value = render(template)\n                headers.remove(named: name)",
     "            case .overwriteOrAdd(let template):\n                let value = render(template)\n                if !{on} { headers.remove(named: name) }", ["headers"], "the old value stays beside the new one"),
]


# Places that a file has more than once, and that all get the switch.
TIMES = {"per-try-forgotten": 2}

# What makes the variant quicker to watch.
QUICK = ("Sources/Proxy/AccessLog/AccessLogWriter.swift", "interval: Duration = .seconds(1)", "interval: Duration = .milliseconds(20)")


def planted_text(file, text, problems):
    for name, where, old, new, _, _ in PLANTED:
        if where != file:
            continue
        if text.count(old) != TIMES.get(name, 1):
            problems.append(f"{name}: its place in {file} occurs {text.count(old)} times: {old.strip().splitlines()[0]}")
            continue
        text = text.replace(old, new.replace("{on}", on(name)))
        if not file.startswith("Sources/Upstream/") and "import Upstream" not in text:
            text = "internal import Upstream\n" + text
    return text


def check() -> list:
    problems = []
    for file in sorted({item[1] for item in PLANTED}):
        path = ROOT / file
        if not path.exists():
            problems.append(f"{file} is gone")
        else:
            planted_text(file, path.read_text(), problems)
    return problems


def copy_tree():
    """The tree in COPY, with the switches; files that did not change keep their times, so that the next build is short."""
    tracked = subprocess.check_output(["git", "ls-files", "Sources", "Package.swift", "Package.resolved"], cwd=ROOT, text=True).split("\n")
    # Package.swift names test targets, which have to exist; they are not built.
    tracked += subprocess.check_output(["git", "ls-files", "Tests"], cwd=ROOT, text=True).split("\n")
    wanted, problems = set(), []
    for file in filter(None, tracked):
        source, target = ROOT / file, COPY / "tree" / file
        if not source.is_file():
            continue
        wanted.add(target)
        data = source.read_bytes()
        if any(item[1] == file for item in PLANTED):
            data = planted_text(file, data.decode(), problems).encode()
        if file == QUICK[0]:
            data = data.decode().replace(QUICK[1], QUICK[2]).encode()
        write(target, data)
    switch = COPY / "tree/Sources/Upstream/PlantedFault.swift"
    write(switch, SWITCH.encode())
    wanted.add(switch)
    for old in (COPY / "tree").rglob("*.swift"):
        if old not in wanted:
            old.unlink()
    return problems


def write(target, data):
    if target.exists() and target.read_bytes() == data:
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def build() -> pathlib.Path:
    problems = copy_tree()
    if problems:
        sys.exit("planted: " + "\nplanted: ".join(problems))
    command = ["swift", "build", "--package-path", str(COPY / "tree"), "--scratch-path", str(COPY / "build"), "--product", "skein-proxy",
               "-j", "2", "-Xswiftc", "-DSKEIN_PLANTED_FAULTS"]
    subprocess.run(command, check=True, env={**os.environ, "SKEIN_PART": "skein-proxy"})
    return COPY / "build/debug/skein-proxy"


def verdicts(binary, groups, plant, arguments) -> dict:
    """{case: verdict} of a run with this fault."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [sys.executable, str(HERE / "run.py"), "--quiet", "--jobs", str(arguments.jobs), "--defaults", "envoy", "--json", file.name]
        for group in groups:
            command += ["--group", group]
        for path in arguments.ignore:
            command += ["--ignore", path]
        environment = {**os.environ, "SKEIN_PROXY": str(binary)}
        environment.pop("SKEIN_PLANT", None)
        if plant:
            environment["SKEIN_PLANT"] = plant
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL)
        return {case: seen["verdict"] for case, seen in json.load(open(file.name)).items()}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--binary", help="a variant that is built already")
    parser.add_argument("--ignore", action="append", default=[], help="paths (globs) to leave out, as run.py has it")
    parser.add_argument("--jobs", type=int, default=4)
    arguments = parser.parse_args()
    if problems := check():
        sys.exit("planted: " + "\nplanted: ".join(problems))
    if arguments.check:
        print(f"planted: {len(PLANTED)} places are there")
        return 0
    binary = arguments.binary or build()
    wanted = [item for item in PLANTED if not arguments.only or item[0] in arguments.only]
    groups = sorted({group for item in wanted for group in item[4]})
    usual = verdicts(binary, groups, None, arguments)
    caught = 0
    for name, _, _, _, seen_by, what in wanted:
        now = verdicts(binary, seen_by, name, arguments)
        cases = [case for case, verdict in now.items() if verdict == "DIFFERENT" and usual.get(case) in ("same", "listed")]
        caught += bool(cases)
        print(f"{'caught' if cases else 'MISSED':7} {name:18} {what}: {', '.join(cases[:3])}{' …' if len(cases) > 3 else ''}", flush=True)
    print(f"planted: {caught} of {len(wanted)} caught")
    return 0 if caught >= min(NEEDED, len(wanted)) else 1


if __name__ == "__main__":
    sys.exit(main())
