#!/usr/bin/env python3
"""The differential suite: the same configurations and requests through Envoy and skein-proxy, side by side.

usage: run.py [--group G]... [--case GLOB]... [--verbose] [--defaults envoy|hardened] [--list] [--jobs N]
"""
import argparse
import asyncio
import copy
import importlib
import json
import multiprocessing
import os
import pathlib
import pkgutil
import re
import subprocess
import sys
import tempfile
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

import cases  # noqa: E402
import certificates  # noqa: E402
from model import matches  # noqa: E402
from observe import Listed, differences, observation  # noqa: E402
from side import NotSupported, Refused, Side  # noqa: E402

CASE_TIMEOUT = 40.0


def groups(wanted) -> list:
    out = []
    for module in sorted(m.name for m in pkgutil.iter_modules(cases.__path__)):
        if not wanted or module in wanted:
            out.append(importlib.import_module(f"cases.{module}").GROUP)
    return out


def envoy_binary() -> str:
    if os.environ.get("ENVOY"):
        return os.environ["ENVOY"]
    import envoy
    return os.path.join(os.path.dirname(envoy.__file__), "_bin", "envoy")


def skein_binary() -> str:
    if os.environ.get("SKEIN_PROXY"):
        return os.environ["SKEIN_PROXY"]
    for kind in ("release", "debug"):
        path = ROOT / ".build" / kind / "skein-proxy"
        if path.exists():
            return str(path)
    sys.exit("differential: no skein-proxy: `make build`, or name one in SKEIN_PROXY")


class Options:
    def __init__(self, arguments, certs):
        self.envoy, self.skein, self.certs = envoy_binary(), skein_binary(), certs
        self.defaults, self.verbose = arguments.defaults, arguments.verbose
        self.show = arguments.show
        self.ignore, self.attempts = arguments.ignore, 1 if arguments.once else 2
        self.envoy_arguments = ["--disable-hot-restart", "--file-flush-interval-msec", "20", "-l", "warning"]
        self.skein_arguments = []
        help_text = subprocess.run([self.skein, "--help"], capture_output=True, text=True, timeout=20).stdout
        if "--defaults" in help_text:
            self.skein_arguments += ["--defaults", arguments.defaults]
        if "--file-flush-interval-msec" in help_text:
            self.skein_arguments += ["--file-flush-interval-msec", "20"]


async def run_side(side, setup, wanted, taken):
    """All wanted cases on one side: {case name: observation}, or the error that stopped it."""
    out = {}
    try:
        await side.start(taken)
    except (NotSupported, Refused) as error:
        await side.stop()
        return {"refused": error}
    try:
        side.begin({})
        for step in setup.ready:
            await asyncio.wait_for(step.run(side), CASE_TIMEOUT)
        for case in wanted:
            out[case.name] = await run_case(side, case)
            if side.process.returncode is not None:
                out[case.name]["process"] = f"ended with {side.process.returncode}"
                out[case.name]["output"] = side.output()[-1500:] if side.name == "skein" else ""
                break
    finally:
        await side.stop()
    return out


async def run_case(side, case):
    side.begin(copy.deepcopy(case.upstream))
    before, start = await side.stats(), side.log_size()
    steps, expected = [], 0
    try:
        for step in case.steps:
            expected += step.requests
            steps.append(await asyncio.wait_for(step.run(side), CASE_TIMEOUT))
    except asyncio.TimeoutError:
        steps.append({"step": "took too long"})
    except Exception as error:  # What a proxy did to the client is an observation, too.
        steps.append({"step": f"{type(error).__name__}: {error}"})
    side.close_connections()
    lines = await side.wait_for_lines(start, expected if case.logs is None else case.logs)
    after = await side.stats()
    return observation(side, steps, lines, before, after, case)


async def run_setup(setup, wanted, options, directory):
    taken = set()
    sides = [
        Side("envoy", options.envoy, options.envoy_arguments, setup, options.certs, f"{directory}/envoy"),
        Side("skein", options.skein, options.skein_arguments, setup, options.certs, f"{directory}/skein"),
    ]
    return await asyncio.gather(*(run_side(side, setup, wanted, taken) for side in sides))


def short(value) -> str:
    text = repr(value)
    return text if len(text) <= 300 else text[:300] + "…"


def summary(seen) -> str:
    """One side of a case in a line."""
    def of(step):
        for key in ("responses", "streams", "together"):
            if key in step:
                return f"[{', '.join(of(s) for s in step[key])}] {step.get('connection', '')}{step.get('goaway', '')}"
        if "status" in step:
            return f"{step['status']} {str(step.get('body', step.get('picked')))[:40]!r} {step.get('end', '')} {step.get('connection', '')}".replace(" complete", "").strip()
        return str(step)[:160]
    logs = [f"{line.get('code', '')}/{line.get('flags')}/{line.get('details')}" if isinstance(line, dict) else line for line in seen["log"]]
    return f"{' ; '.join(of(s) for s in seen['client'])} | up {[r.get('line', r['host']) for r in seen['upstream']]} | log {logs}"[:700]


def reason(error) -> str:
    """What skein-proxy said when it refused: its last lines, without the file's name and the time."""
    lines = [re.sub(r"^.*?config\.(json|yaml):\s*", "", line) for line in str(error).strip().split("\n")[-3:]]
    return "    " + " | ".join(re.sub(r"^.*?(error|critical)[]:]*\s*", "", line)[:300] for line in lines)


def judge(setup, wanted, seen, options, listed) -> list:
    """[(case id, verdict, detail)]"""
    envoy, skein = seen
    out = []
    if "refused" in envoy:
        if setup.refused and "refused" in skein:
            return [(case.id, "same", "") for case in wanted]
        return [(case.id, "BROKEN", f"Envoy refused it: {envoy['refused']}") for case in wanted]
    if setup.refused:
        return [(case.id, "BROKEN", "Envoy takes the configuration") for case in wanted]
    if "refused" in skein and options.show:
        return [(case.id, "not supported", f"    E {summary(envoy[case.name])}") for case in wanted if case.name in envoy]
    if "refused" in skein:
        return [(case.id, "not supported", reason(skein["refused"])) for case in wanted]
    for case in wanted:
        left, right = envoy.get(case.name), skein.get(case.name)
        if left is None or right is None:
            out.append((case.id, "DIFFERENT", f"no observation of {'envoy' if left is None else 'skein'}: its process had ended"))
            continue
        found = differences(left, right, [*setup.ignore, *case.ignore, *options.ignore])
        open_ones = {path: pair for path, pair in found.items() if not listed.covers(case.id, path, options.defaults)}
        detail = "\n".join(f"    {path}: Envoy {short(pair[0])}, Skein {short(pair[1])}" for path, pair in (open_ones or found).items())
        if options.show:
            detail = f"    E {summary(left)}\n    S {summary(right)}"
        if options.verbose:
            detail += "\n  envoy: " + json.dumps(left, indent=1) + "\n  skein: " + json.dumps(right, indent=1)
        out.append((case.id, "DIFFERENT" if open_ones else "listed" if found else "same", detail))
    return out


def work(job):
    """One setup, in a process of the pool; what differs is tried a second time."""
    setup, wanted, options, text = job
    began = time.monotonic()
    listed = Listed(text)
    results = []
    try:
        for attempt in range(options.attempts):
            with tempfile.TemporaryDirectory(prefix="differential-") as directory:
                seen = asyncio.run(run_setup(setup, wanted, options, directory))
            again = judge(setup, wanted, seen, options, listed)
            if attempt == 0:
                results = again
            else:
                better = {r[0]: r for r in again}
                results = [better.get(r[0], r) if r[1] in ("DIFFERENT",) and better[r[0]][1] != "DIFFERENT" else r for r in results]
            if not any(r[1] == "DIFFERENT" for r in results):
                break
    except Exception:
        results = [(case.id, "BROKEN", traceback.format_exc()) for case in wanted]
    return setup.group, setup.name, results, [row["used"] for row in listed.rows], time.monotonic() - began


JOBS = []


def work_at(index):
    return work(JOBS[index])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--verbose", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="only what is not the same")
    parser.add_argument("--causes", action="store_true", help="differences that many cases share, once each")
    parser.add_argument("--ignore", action="append", default=[], help="paths (globs) to leave out, when looking for causes")
    parser.add_argument("--show", action="store_true", help="what both sides did, a line each")
    parser.add_argument("--once", action="store_true", help="do not try a second time what differs")
    parser.add_argument("--defaults", choices=("envoy", "hardened"), default="envoy")
    parser.add_argument("--jobs", type=int, default=4, help="setups at a time (most of the time is waited)")
    parser.add_argument("--json", help="file for the verdicts, with the differences of each case")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    jobs = []
    table = ROOT / "docs/envoy-differences.md"
    text = table.read_text() if table.exists() else ""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="differential-certs-") as certs:
        if not arguments.list:
            certificates.make(pathlib.Path(certs))
        options = None if arguments.list else Options(arguments, certs)
        for group in groups(arguments.group):
            seen = set()
            for setup in group.setups:
                for case in setup.cases:
                    assert case.id not in seen, f"two cases {case.id}"
                    seen.add(case.id)
                wanted = [c for c in setup.cases if not arguments.case or matches(c.id, arguments.case) or matches(c.name, arguments.case)]
                if arguments.list:
                    print("\n".join(case.id for case in wanted))
                    continue
                for case in [c for c in wanted if c.fresh]:
                    jobs.append((setup, [case], options, text))
                if rest := [c for c in wanted if not c.fresh]:
                    jobs.append((setup, rest, options, text))
        if arguments.list:
            return 0
        JOBS.extend(jobs)
        tally, used, causes, verdicts = {}, None, {}, {}
        # Forked, because cases hold functions; jobs are named by their index.
        with multiprocessing.get_context("fork").Pool(arguments.jobs) as pool:
            for group, name, results, rows, _ in pool.imap_unordered(work_at, range(len(jobs))):
                used = rows if used is None else [a + b for a, b in zip(used, rows)]
                for case, verdict, detail in results:
                    tally[verdict] = tally.get(verdict, 0) + 1
                    verdicts[case] = {"verdict": verdict, "differences": detail.strip().split("\n") if verdict in ("DIFFERENT", "BROKEN") else []}
                    if arguments.causes:
                        for line in detail.strip().split("\n") if verdict in ("DIFFERENT", "BROKEN", "not supported") else ():
                            causes.setdefault((verdict, re.sub(r"\.\d+\.", ".N.", line.strip())), []).append(case)
                        continue
                    if not (arguments.quiet and verdict in ("same", "listed", "not supported")):
                        print(f"{verdict:13} {case}", flush=True)
                    if detail and (verdict in ("DIFFERENT", "BROKEN") or arguments.verbose or arguments.show):
                        print(detail, flush=True)
        for (verdict, cause), found in sorted(causes.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1])):
            print(f"{verdict:13} {len(found):4} x {cause}\n{'':18} {', '.join(found[:6])}{' …' if len(found) > 6 else ''}")
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(verdicts, indent=1))
    if not arguments.group and not arguments.case:
        for row, count in zip(Listed(text).rows, used or []):
            if count == 0 and row["defaults"] in ("both", arguments.defaults):
                print(f"listed, but no difference any more: {', '.join(row['cases'])}: {', '.join(row['paths'])}")
    bad = tally.get("DIFFERENT", 0) + tally.get("BROKEN", 0)
    broken = f", {tally['BROKEN']} BROKEN" if tally.get("BROKEN") else ""
    print(f"differential: {sum(tally.values())} cases, {tally.get('same', 0)} same, {tally.get('listed', 0)} listed differences, "
          f"{tally.get('DIFFERENT', 0)} DIFFERENT, {tally.get('not supported', 0)} not supported{broken} ({time.monotonic() - began:.0f} s)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
