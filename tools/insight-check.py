#!/usr/bin/python3
"""Asks a real Prometheus and `skein query` the same questions about the same samples, and both for the alerts of the shipped rules.

The samples are made from a seed, written as OpenMetrics, and put into Prometheus' own blocks by promtool. Every number must be within 0.1 %. For the rules, series
in which each of them has a cause are given to `promtool test rules` and to `skein alerts --samples`: the same alerts must fire at the same times, with the same texts.
usage: insight-check.py     SKEIN_BINARY names another binary than that of the release build.
"""
import json
import math
import os
import pathlib
import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import textwrap
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
    'label_join(sum by (service, pod) (up), "both", ".", "service", "pod")',
    "sum(up) by (service) OR vector(0)",
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
    # Every other function, aggregation and operator that docs/insight.md lists, and what is easily got wrong about them.
    "idelta(memory_bytes[5m])",
    "irate(restarting_total[10m])",
    "increase(restarting_total[1h30m])",
    "stdvar_over_time(up[10m])",
    "stddev_over_time(up[40s])",
    "present_over_time(up[1m])",
    "absent_over_time(nothing_here{a=\"b\",c=~\"d\"}[5m])",
    "absent_over_time(up[5m])",
    "absent(sum(nothing_here))",
    "max_over_time(up[1m] offset -5m)",
    "quantile_over_time(-1, up[5m])",
    "quantile_over_time(1.5, up[5m])",
    "avg by (service) (memory_bytes)",
    "min without (pod) (memory_bytes)",
    "max by (nowhere) (memory_bytes)",
    "group by (service) (up)",
    "stdvar without (pod, code) (http_requests_total)",
    "quantile by (service) (0.9, memory_bytes)",
    "quantile(2, up)",
    "topk by (service) (1, memory_bytes)",
    "bottomk(0, up)",
    "topk(2, up) by (service)",
    "count(http_requests_total) by ()",
    "sort(sum by (service) (memory_bytes))",
    "sort_desc(avg by (service) (memory_bytes))",
    "abs(delta(memory_bytes[5m]))",
    "ceil(memory_bytes / 1e7)",
    "floor(-memory_bytes / 1e7)",
    "exp(-memory_bytes / 1e8)",
    "ln(memory_bytes)",
    "log2(up)",
    "log10(memory_bytes - 3e8)",
    "sqrt(delta(memory_bytes[5m]))",
    "sgn(delta(memory_bytes[5m]))",
    "clamp(memory_bytes, 2.5e8, 3.5e8)",
    "clamp(memory_bytes, 3.5e8, 2.5e8)",
    "clamp_min(memory_bytes, 3e8)",
    "round(memory_bytes)",
    "round(-up / 2)",
    "round(memory_bytes, -1e6)",
    "vector(time())",
    "scalar(up)",
    "timestamp(memory_bytes offset 10m)",
    "timestamp(vector(1))",
    "timestamp(sum(up))",
    'label_replace(up, "pod", "${2}x$1", "pod", "(.*)-([0-9]+)")',
    'label_replace(up, "pod", "", "pod", ".*-0")',
    'label_replace(sum by (service) (up), "added", "fixed", "nothing", "")',
    'label_join(up, "pod", "", "service", "nothing", "pod")',
    "build_info * on(pod) group_right(version) up",
    "up / ignoring(service, version) group_left(version) build_info",
    "sum by (service) (up) - ignoring(code) group_right() sum by (service, code) (http_requests_total)",
    "up * ignoring(version, service) group_left build_info",
    "memory_bytes > bool 3e8",
    "3e8 < memory_bytes",
    "3 >= bool 3",
    "up == bool on(pod) build_info",
    "up != 1",
    "memory_bytes <= on(pod) (memory_bytes offset 5m)",
    "2 ^ 3 ^ 2 - -2 ^ 2",
    "-up ^ 2",
    "(0 - memory_bytes) % 7e6 + 1 / 0 - 7 % 0",
    "up / 0 or vector(NaN) or vector(-Inf)",
    "up unless up == 1 and up or memory_bytes",
    'up{pod=~"web-.*",pod!~".*-[12]",service!="x"}',
    'up{pod=~"web-0|orders-.+"}',
    '{__name__=~"up|build_info",pod="web-0"}',
    'up{nothing=""}',
    "sum({__name__=\"up\"} offset 1h)",
    "histogram_quantile(0, sum by (le) (rate(duration_seconds_bucket[5m])))",
    "histogram_quantile(1, sum by (le) (rate(duration_seconds_bucket[5m])))",
    "histogram_quantile(-1, sum by (le) (rate(duration_seconds_bucket[5m])))",
    "histogram_quantile(2, sum by (le) (rate(duration_seconds_bucket[5m])))",
    'histogram_quantile(0.9, duration_seconds_bucket{le!="+Inf"})',
    'histogram_quantile(0.5, rate(duration_seconds_bucket{le=~"0.005|[+]Inf"}[5m]))',
    "histogram_quantile(0.9, memory_bytes)",
    "rate(http_requests_total[16s])",
    "rate(http_requests_total[20s])",
    "sum(count_over_time(http_requests_total[1d]))",
    "0x1F + 1e3 + .5 + 1e-3",
    '"text"',
    "1 + time() % 60",
    "# a comment\nup # another\n",
]
# Queries to which no series is the answer.
EMPTY = {"absent_over_time(up[5m])", "bottomk(0, up)", "clamp(memory_bytes, 3.5e8, 2.5e8)", "histogram_quantile(0.9, memory_bytes)"}
# What Prometheus has beside: refused, and by its name.
REFUSED = {
    "max_over_time(rate(http_requests_total[5m])[30m:1m])": "subqueries", "up @ 100": "@", "up @ end()": "@", "predict_linear(memory_bytes[1h], 60)": "predict_linear",
    "deriv(memory_bytes[5m])": "deriv", "holt_winters(memory_bytes[5m], 0.5, 0.5)": "holt_winters", 'count_values("v", up)': "count_values", "hour()": "hour", "day_of_week(up)": "day_of_week",
    "sin(up)": "sin", "pi()": "pi", "deg(up)": "deg", "up atan2 up": "atan2", "days_in_month()": "days_in_month", "asinh(up)": "asinh", "minute()": "minute",
}

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
    done = subprocess.run([SKEIN, "query", "--samples", file, "-o", "json", *flags, "--", query], capture_output=True, text=True, timeout=180)
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
    if first == second:
        return True
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
    for place, query in enumerate(QUERIES):
        problems, count = [], 0
        try:
            # A range asks the same of many moments: one alone is for what has an order, or no range.
            if place < 42 or query.startswith(("sort", '"')):
                reference = flat(theirs(port, "query", query=query, time=end))
                mine = flat(ours(file, query, "--at", str(end)))
                problems.append(differences(mine, reference))
                if query.startswith("sort") and list(mine) != list(reference):
                    problems.append("another order")
                count = len(reference)
            if query.startswith('"'):  # A text has no range.
                check(query, not any(problems) and count, problems)
                continue
            span = {"start": end - 3000, "end": end, "step": 137}
            reference = flat(theirs(port, "query_range", query=query, **span))
            count = len(reference)
            mine = ours(file, query, "--start", str(span["start"]), "--end", str(end), "--step", "137")
            problems.append(differences(flat(mine), reference))
        except (RuntimeError, subprocess.SubprocessError, ValueError) as error:
            problems.append(str(error))
        problem = "; ".join(p for p in problems if p)
        check(f"{query}", not problem and bool(count) != (query in EMPTY), problem or f"{count} points")


def refusals(port, file, end):
    """What is no part of the subset is refused by its name, and is something that Prometheus does take."""
    for query, name in REFUSED.items():
        theirs(port, "query", query=query, time=end)
        done = subprocess.run([SKEIN, "query", "--samples", file, "--at", str(end), "--", query], capture_output=True, text=True, timeout=180)
        check(f"{query} is refused by its name", done.returncode == 1 and name in done.stderr and not done.stdout, done.stderr.strip() or done.stdout[:80])


def listed():
    """The names that the documentation lists are all compared with Prometheus."""
    text = (ROOT / "docs/insight.md").read_text(encoding="utf-8").split("## Queries", 1)[1].split("Not in it:", 1)[0]
    text = text[text.index("\n- "):]
    names = set()
    for group in re.findall(r"((?:`[^`]+`(?:, | and )?)+) `_over_time`", text):
        names |= {name + "_over_time" for name in re.findall(r"`([a-z]+)`", group)}
    prefixes = {name.removesuffix("_over_time") for name in names}
    names |= {name for name in re.findall(r"`([^`]+)`", text) if name != "_over_time"} - (prefixes - {"avg", "min", "max", "sum", "count", "stddev", "stdvar", "quantile", "absent"})
    names = {word for name in names for word in name.split()}
    missing = sorted(name for name in names if not any(name in query for query in QUERIES))
    check(f"each of the {len(names)} names and signs of the subset that is documented is compared", len(names) > 70 and not missing, missing)


# Ranges leave out their beginning in Prometheus 3 and ours, not in Prometheus 2: samples every 7 s meet few of the moments at which rules are asked, and those are left out.
STEP = 7
RULE_TICKS = 470
WINDOWS = (120, 300, 600, 1800, 3600, 21600)


def watched():
    """Series as the built-in store has them, in which each of the shipped rules has a cause for a while: name with labels to values."""
    numbers = random.Random(7)
    caller = 'source_workload="client",destination_service="web.shop.svc.cluster.local"'
    request = f'istio_requests_total{{reporter="source",{caller},response_code="%s"}}'
    bucket = f'istio_request_duration_milliseconds_bucket{{reporter="source",{caller},le="%s"}}'
    failure = f'skein_edge_failures_total{{{caller},response_flags="%s"}}'
    pod = 'namespace="shop",pod="client-1"'
    series, sums = {}, {}

    def gauge(name, value):
        series.setdefault(name, []).append(value)

    def count(name, value):
        sums[name] = sums.get(name, 0) + value
        gauge(name, sums[name])
    for tick in range(RULE_TICKS):
        is_wrong = 57 <= tick < 271
        good, bad, slow = 900 + numbers.randrange(100), 40 + numbers.randrange(9) if is_wrong else 0, 30 if is_wrong else 0
        count(request % "200", good)
        count(request % "503", bad)
        for bound, value in (("10", good + bad - slow), ("2500", good + bad), ("+Inf", good + bad)):
            count(bucket % bound, value)
        for flag in ("UH", "UO"):
            count(failure % flag, numbers.randrange(1, 9) if is_wrong else 0)
        gauge(f"skein_edge_endpoints_ejected{{{caller}}}", int(is_wrong))
        gauge('skein_control_proxies_refusing{job="control-plane"}', 2 * is_wrong)
        gauge('skein_control_proxies_unsettled{job="control-plane"}', 3 * is_wrong)
        gauge(f'up{{job="proxies",{pod}}}', int(not is_wrong))
        gauge(f"skein_certificate_left_percent{{{pod}}}", 12.5 if is_wrong else 70)
        count('skein_dns_queries_total{job="control-plane"}', 100)
        count('skein_dns_failures_total{job="control-plane"}', numbers.randrange(7, 20) if is_wrong else 0)
        count(f"skein_pod_restarts_total{{{pod}}}", int(is_wrong and tick % 12 == 0))
        gauge('skein_node_memory_bytes{node="n1"}', 2 ** 34)
        gauge('skein_node_memory_available_bytes{node="n1"}', 2 ** 34 // (30 if is_wrong else 2))
        for mode, value in (("idle", 0.4 if is_wrong else 30), ("user", 39.6 if is_wrong else 10)):
            count(f'skein_node_cpu_seconds_total{{node="n1",mode="{mode}"}}', value)
        gauge('skein_node_addresses_used{node="n1"}', 240 if is_wrong else 20)
        gauge('skein_node_addresses{node="n1"}', 253)
        gauge('skein_clock_skew_seconds{node="n1"}', -3.25 if is_wrong else 0.01)
    return series


def rules(folder):
    """The same samples for our rules and for promtool's: the same alerts at each minute, with the same labels and texts."""
    series = watched()
    file = f"{folder}/watched.txt"
    with open(file, "w", encoding="utf-8") as out:
        for name, values in series.items():
            out.writelines(f"{name} {value!r} {tick * STEP}\n" for tick, value in enumerate(values))
        out.write("# EOF\n")
    done = subprocess.run([SKEIN, "alerts", "--samples", file, "-f", str(RULES), "--step", "1m"], capture_output=True, text=True, timeout=120)
    history = json.loads(done.stdout) if done.returncode == 0 else []
    fired = {alert["labels"]["alertname"] for moment in history for alert in moment["alerts"]}
    names = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    check("each of the shipped rules fires for its cause, and none at the end", history and fired == set(names) and not [
        a for a in history[-1]["alerts"] if a["labels"]["alertname"] != "ErrorBudgetBurnsSlowly"], sorted(set(names) - fired) or done.stderr or len(names))
    tests = []
    for moment in history:
        if any((moment["time"] - window) % STEP == 0 for window in WINDOWS):
            continue
        for name in names:
            expected = [{"exp_labels": {k: v for k, v in a["labels"].items() if k != "alertname"}, "exp_annotations": a["annotations"]}
                        for a in moment["alerts"] if a["labels"]["alertname"] == name]
            tests.append({"eval_time": f"{int(moment['time'])}s", "alertname": name, "exp_alerts": expected})
    document = {"rule_files": [str(RULES)], "evaluation_interval": "10s", "tests": [{
        "interval": f"{STEP}s", "alert_rule_test": tests,
        "input_series": [{"series": name, "values": " ".join(map(repr, values))} for name, values in series.items()]}]}
    # JSON is YAML.
    pathlib.Path(f"{folder}/rules-test.yaml").write_text(json.dumps(document), encoding="utf-8")
    done = subprocess.run(["promtool", "test", "rules", f"{folder}/rules-test.yaml"], capture_output=True, text=True, timeout=120)
    check("promtool says of every rule and minute what ours says: which alerts fire, their labels and texts",
          done.returncode == 0 and tests, f"{len(tests)} comparisons, {sum(bool(t['exp_alerts']) for t in tests)} with alerts"
          if done.returncode == 0 else (done.stdout + done.stderr)[:1500])


def contributed():
    """What is shipped for a Prometheus and for a collector of OpenTelemetry. There is no collector to be had here: its scrape configuration is Prometheus' own, the rest is looked at."""
    shipped = ROOT / "contrib/prometheus/prometheus.yaml"
    done = subprocess.run(["promtool", "check", "config", str(shipped)], capture_output=True, text=True, timeout=30)
    check("promtool accepts the scrape configuration that is shipped, with its rules", done.returncode == 0 and "rules found" in done.stdout, done.stderr.strip())
    text = (ROOT / "contrib/opentelemetry/collector.yaml").read_text(encoding="utf-8")
    block = re.search(r"^  prometheus:\n    config:\n((?:      .*\n)+)", text, re.M)
    done = subprocess.run(["promtool", "check", "config", "/dev/stdin"], input=textwrap.dedent(block.group(1)) if block else "-", capture_output=True, text=True, timeout=30)
    check("promtool accepts the scrape configuration of the collector that is shipped", done.returncode == 0, done.stderr.strip())
    places = [set(re.findall(r"127\.0\.0\.1:[\w/]+", part)) for part in (block.group(1) if block else "", shipped.read_text(encoding="utf-8"))]
    check("it asks the same places as the Prometheus", places[0] and places[0] <= places[1], places)
    parts = {name: set(re.findall(r"^  (\w+):", body, re.M)) for name, body in re.findall(r"^(receivers|processors|exporters):\n((?: .*\n)+)", text, re.M)}
    used = {kind: {one for names in re.findall(rf"{kind}: \[([^\]]*)\]", text) for one in names.split(", ")} for kind in parts}
    check("its pipelines use what it has, and all of it", len(parts) == 3 and used == parts and all(f"    {kind}: {{" in text for kind in ("traces", "logs", "metrics")), (parts, used))


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
        rules(folder)
    contributed()
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
        listed()
        compare(port, file, end)
        refusals(port, file, end)
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)
    print(f"insight-check: {sum(results)} passed, {len(results) - sum(results)} failed, {time.time() - begin:.0f} s")
    return 0 if all(results) and results else 1


sys.exit(main())
