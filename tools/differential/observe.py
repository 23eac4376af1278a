"""What is compared: an observation of one side made comparable, and the differences of two by their paths."""
import fnmatch
import json
import re

from http2 import printable
from model import COMMON_STATS, matches

UUID = re.compile(r"^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")
DATE = re.compile(r"^(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$")


def value_of(name, value):
    """A header's value, where it is different in every run."""
    name = name.lower()
    if name == "date" and DATE.match(value):
        return "<date>"
    if name == "server" and value in ("envoy", "skein"):
        return "<server>"
    if name == "x-request-id" and UUID.match(value):
        return "<uuid>"
    if name in ("x-envoy-upstream-service-time", "x-envoy-attempt-latency") and value.isdigit():
        return "<ms>"
    if name == "traceparent":
        return "<trace>"
    return value


def headers(pairs) -> dict:
    """Fields by name: the order of different names means nothing, that of one name's values does."""
    out = {}
    for name, value in pairs:
        out.setdefault(name, []).append(value_of(name, value))
    return {name: values[0] if len(values) == 1 else values for name, values in out.items()}


def tidy(node):
    """Header lists as tables, bytes as text."""
    if isinstance(node, dict):
        out = {}
        for key, value in node.items():
            if key in ("headers", "trailers") and isinstance(value, list):
                out[key] = headers(value)
            else:
                out[key] = tidy(value)
        return out
    if isinstance(node, (list, tuple)):
        return [tidy(item) for item in node]
    if isinstance(node, bytes):
        return printable(node)
    return node


RECORD = ("host", "line", "headers", "body", "trailers", "reset", "messages", "tls", "proxy", "protocol")


def observation(side, steps, lines, before, after, case) -> dict:
    records = [{key: record[key] for key in RECORD if key in record} for record in side.records]
    stats = {}
    wanted = [*COMMON_STATS, *case.setup.stats, *case.stats]
    for name, value in after.items():
        if matches(name, wanted):
            change = value - before.get(name, 0)
            if change:
                stats[name] = change
    return tidy(side.names({
        "client": [seen for seen in steps if seen is not None], "upstream": records,
        "log": [parse(line) for line in lines], "stats": stats}))


def parse(line):
    try:
        return json.loads(line)
    except ValueError:
        return line


def close_enough(path, left, right) -> bool:
    """Values that count the time which passed: equal within 5 % or 50 ms."""
    if not path.endswith("x-envoy-expected-rq-timeout-ms"):
        return False
    try:
        return abs(int(left) - int(right)) <= max(50, int(left) // 20)
    except (TypeError, ValueError):
        return False


def compare(left, right, path, out):
    """Path -> (Envoy's value, ours); what one side lacks altogether is one difference."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted({*left, *right}, key=str):
            compare(left.get(key, ABSENT), right.get(key, ABSENT), f"{path}.{key}" if path else str(key), out)
    elif isinstance(left, list) and isinstance(right, list):
        for index in range(max(len(left), len(right))):
            compare(left[index] if index < len(left) else ABSENT, right[index] if index < len(right) else ABSENT, f"{path}.{index}", out)
    elif left != right and not close_enough(path, left, right):
        out[path] = (left, right)


ABSENT = "(absent)"


def differences(envoy: dict, skein: dict, ignore) -> dict:
    """Path -> (Envoy's value, ours), without the ignored ones."""
    out = {}
    compare(envoy, skein, "", out)
    return {path: pair for path, pair in out.items() if not matches(path, ignore)}


class Listed:
    """The table of docs/envoy-differences.md: case (glob), paths (globs), defaults (envoy, hardened, both), reason."""

    def __init__(self, text):
        self.rows = []
        for line in text.split("\n"):
            cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
            if not line.startswith("|") or len(cells) != 4 or cells[0] in ("case", "---") or set(cells[0]) <= {"-", " "}:
                continue
            cases = [c.strip("` ") for c in cells[0].split(",")]
            paths = [p.strip("` ") for p in cells[1].split(",")]
            self.rows.append({"cases": cases, "paths": paths, "defaults": cells[2], "reason": cells[3], "used": 0})

    def covers(self, case, path, defaults) -> bool:
        for row in self.rows:
            if row["defaults"] not in ("both", defaults):
                continue
            if any(fnmatch.fnmatchcase(case, c) for c in row["cases"]) and any(fnmatch.fnmatchcase(path, p) for p in row["paths"]):
                row["used"] += 1
                return True
        return False
