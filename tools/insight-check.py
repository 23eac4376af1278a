#!/usr/bin/python3
"""Asks a real Prometheus and `skein query` the same questions about the same samples.

The samples are made from a seed, written as OpenMetrics, and put into Prometheus' own blocks by promtool. Every number must be within 0.1 %.
usage: insight-check.py     SKEIN_BINARY names another binary than that of the release build.
"""
import json
import math
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
SKEIN = os.environ.get("SKEIN_BINARY", str(ROOT / ".build/release/skein"))
RULES = ROOT / "contrib/prometheus/skein-rules.yaml"
TOLERANCE = 0.001

QUERIES = [
    "http_requests_total",
    "sum(rate(http_requests_total[5m]))",
    "sum by (code) (rate(http_requests_total[5m]))",
    "sum without (pod, instance) (increase(http_requests_total[10m]))",
    "avg by (service) (irate(http_requests_total[2m]))",
    'sum(rate(http_requests_total{code=~"5.."}[5m])) / sum(rate(http_requests_total[5m]))',
    'sum by (service) (rate(http_requests_total{code=~"5.."}[5m])) / on(service) sum by (service) (rate(http_requests_total[5m])) > 0.01',
    "histogram_quantile(0.5, sum by (le) (rate(duration_seconds_bucket[5m])))",
    "histogram_quantile(0.99, sum by (le, service) (rate(duration_seconds_bucket[10m])))",
    "rate(duration_seconds_sum[5m]) / rate(duration_seconds_count[5m])",
    "max_over_time(memory_bytes[15m])",
    "min by (service) (min_over_time(memory_bytes[15m]))",
    "avg_over_time(memory_bytes[7m])",
    "sum_over_time(memory_bytes[3m])",
    "count_over_time(memory_bytes[10m])",
    "stddev_over_time(memory_bytes[10m])",
    "quantile_over_time(0.9, memory_bytes[10m])",
    "last_over_time(memory_bytes[10m] offset 20m)",
    "delta(memory_bytes[10m])",
    "http_requests_total offset 30m",
    "topk(3, sum by (service, pod) (rate(http_requests_total[5m])))",
    "bottomk(2, memory_bytes)",
    "count by (service) (up == 1)",
    "absent(nothing_here{a=\"b\"})",
    "up == 0 or memory_bytes > 4e8",
    "memory_bytes and on(pod) up == 1",
    "memory_bytes unless on(pod) (up == 0)",
    "memory_bytes / 2 ^ 20 % 7",
    'label_replace(up, "short", "$1", "pod", "(.*)-[0-9]+")',
    "up * on(pod) group_left(version) build_info",
    "resets(http_requests_total[30m]) > bool 0",
    "changes(up[30m])",
    "time() - timestamp(up)",
    "quantile(0.5, memory_bytes)",
    "stddev by (service) (memory_bytes)",
    "clamp_max(sqrt(memory_bytes), 15000)",
    "round(memory_bytes / 1e6, 0.5)",
    "scalar(count(up)) * vector(2)",
    "-sum(rate(http_requests_total[5m])) + 10",
    "sum(rate(restarting_total[10m]))",
]

results = []


def check(name, passed, detail=""):
    results.append(bool(passed))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail else ''}", flush=True)


def samples(path, begin, end):
    """Two hours of samples every 15 s, each series at its own moment, with restarts and gaps; the seed is fixed."""
    numbers = random.Random(20261)
    families = {}

    def add(family, kind, name, labels, points):
        text = ",".join(f'{key}="{value}"' for key, value in labels.items())
        families.setdefault((family, kind), []).extend(f"{name}{{{text}}} {value!r} {when:.3f}" for when, value in points)

    def times():
        phase = numbers.uniform(0.1, 14.9)
        when = begin + phase
        while when < end:
            if numbers.random() > 0.01:
                yield round(when, 3)
            when += 15

    for service in ("web", "catalog", "orders"):
        for replica in range(3):
            pod = {"service": service, "pod": f"{service}-{replica}"}
            moments = list(times())
            for code, mean in (("200", 40), ("404", 3), ("503", 1 if service == "orders" else 0.1)):
                value, points = numbers.randrange(5000), []
                for when in moments:
                    value += max(0, int(numbers.gauss(mean, mean / 3)))
                    if numbers.random() < 0.002:
                        value = 0
                    points.append((when, float(value)))
                add("http_requests", "counter", "http_requests_total", {**pod, "code": code}, points)
            bounds = [0.005, 0.01, 0.05, 0.1, 0.5, 1, 5]
            counts, total = [0] * (len(bounds) + 1), 0.0
            rows = {bound: [] for bound in [*map(str, bounds), "+Inf"]}
            sums = []
            for when in moments:
                for _ in range(20):
                    value = numbers.lognormvariate(-3, 1.2)
                    total += value
                    for index, bound in enumerate([*bounds, math.inf]):
                        counts[index] += value <= bound
                for index, bound in enumerate(rows):
                    rows[bound].append((when, float(counts[index])))
                sums.append((when, total))
            for bound, points in rows.items():
                add("duration_seconds", "histogram", "duration_seconds_bucket", {**pod, "le": bound}, points)
            add("duration_seconds", "histogram", "duration_seconds_sum", pod, sums)
            add("duration_seconds", "histogram", "duration_seconds_count", pod, rows["+Inf"])
            add("memory_bytes", "gauge", "memory_bytes", pod, [(when, 3e8 + numbers.gauss(0, 5e7)) for when in moments])
            add("up", "gauge", "up", pod, [(when, float(numbers.random() > 0.05)) for when in moments])
            add("build_info", "gauge", "build_info", {"pod": pod["pod"], "version": f"1.{replica}"}, [(when, 1.0) for when in moments])
            add("restarting", "counter", "restarting_total", pod, [(when, float(int(when - begin) % 400)) for when in moments])
    with open(path, "w", encoding="utf-8") as file:
        for (family, kind), lines in families.items():
            file.write(f"# TYPE {family} {kind}\n" + "\n".join(lines) + "\n")
        file.write("# EOF\n")


def free_port():
    numbers = random.Random()
    while True:
        port = numbers.randrange(20000, 31999)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue


def theirs(port, path, **parameters):
    url = f"http://127.0.0.1:{port}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]
    except urllib.error.HTTPError as error:
        raise RuntimeError(error.read().decode()) from error


def ours(file, query, *flags):
    done = subprocess.run([SKEIN, "query", "--samples", file, "-o", "json", *flags, "--", query], capture_output=True, text=True, timeout=60)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def flat(data):
    """Every number of an answer by its labels and its time."""
    if data["resultType"] in ("scalar", "string"):
        return {("", data["result"][0]): data["result"][1]}
    found = {}
    for series in data["result"]:
        labels = json.dumps(series["metric"], sort_keys=True)
        for when, value in series.get("values") or [series["value"]]:
            found[(labels, float(when))] = value
    return found


def same(first, second):
    a, b = float(first.replace("Inf", "inf")), float(second.replace("Inf", "inf"))
    if math.isnan(a) or math.isnan(b) or math.isinf(a) or math.isinf(b):
        return str(a) == str(b)
    return abs(a - b) <= TOLERANCE * max(abs(a), abs(b)) + 1e-9


def differences(mine, reference):
    if mine.keys() != reference.keys():
        missing, extra = reference.keys() - mine.keys(), mine.keys() - reference.keys()
        return f"{len(missing)} missing, {len(extra)} too many of {len(reference)}: {sorted(missing)[:1]} {sorted(extra)[:1]}"
    wrong = [(key, mine[key], reference[key]) for key in reference if not same(mine[key], reference[key])]
    return f"{len(wrong)} of {len(reference)} differ: {wrong[:2]}" if wrong else ""


def compare(port, file, end):
    for query in QUERIES:
        problems, count = [], 0
        try:
            reference = flat(theirs(port, "query", query=query, time=end))
            problems.append(differences(flat(ours(file, query, "--at", str(end))), reference))
            span = {"start": end - 3000, "end": end, "step": 137}
            reference = flat(theirs(port, "query_range", query=query, **span))
            count = len(reference)
            mine = ours(file, query, "--start", str(span["start"]), "--end", str(end), "--step", "137")
            problems.append(differences(flat(mine), reference))
        except (RuntimeError, subprocess.SubprocessError, ValueError) as error:
            problems.append(str(error))
        problem = "; ".join(p for p in problems if p)
        check(f"{query}", not problem and (count or query.startswith("absent")), problem or f"{count} points")


def main():
    for program in ("prometheus", "promtool"):
        if not shutil.which(program):
            print(f"insight-check: {program} is not installed (apt install prometheus)", file=sys.stderr)
            return 1
    begin = time.time()
    folder = tempfile.mkdtemp(prefix="insight-check-")
    end = int(time.time()) // 7200 * 7200 - 7200 + 7000.251
    file = f"{folder}/samples.txt"
    samples(file, end - 7000, end)
    subprocess.run(["promtool", "tsdb", "create-blocks-from", "openmetrics", file, f"{folder}/data"], check=True, capture_output=True, timeout=120)
    if RULES.exists():
        done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True, text=True, timeout=30)
        check("promtool accepts the rules that are shipped", done.returncode == 0, done.stderr.strip() or done.stdout.strip().replace("\n", " "))
    pathlib.Path(f"{folder}/prometheus.yml").write_text("scrape_configs: []\n", encoding="utf-8")
    port = free_port()
    server = subprocess.Popen(
        ["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data", "--storage.tsdb.retention.time=10y",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
    try:
        for _ in range(300):
            try:
                if theirs(port, "query", query="1"):
                    break
            except (OSError, RuntimeError):
                time.sleep(0.1)
        compare(port, file, end)
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"insight-check: {sum(results)} passed, {len(results) - sum(results)} failed, {time.time() - begin:.0f} s")
    return 0 if all(results) and results else 1


sys.exit(main())
