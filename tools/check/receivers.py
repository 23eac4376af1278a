"""Who is told what Insight knows: a real Alertmanager, a mail program, and a receiver of OTLP metrics made of opentelemetry-proto."""
import base64
import contextlib
import json
import pathlib
import random
import re
import shutil
import subprocess
import threading
import urllib.request

from check.lib import DATA, ROOT, check, run, wait

MAILBOX = pathlib.Path(f"{DATA}.mailbox")
MAIL = """#!/bin/sh
# What a mail program is asked for: the recipients are in the message.
test "$*" = "-i -t" || exit 64
cat > "${0%/*}/$$.new" && mv "${0%/*}/$$.new" "${0%/*}/$$.eml"
"""


class Metrics:
    """The receiver of OTLP metrics: it has to be there when the control plane starts."""

    def __init__(self):
        python = run("sh", str(ROOT / "tools/python.sh"), timeout=300).strip()
        self.process = subprocess.Popen([python, str(ROOT / "tools/peers/otlp.py"), "metrics"], stdout=subprocess.PIPE, text=True)
        self.port = int(self.process.stdout.readline())
        self.exports = []
        threading.Thread(target=lambda: self.exports.extend(json.loads(line) for line in self.process.stdout), daemon=True).start()

    def end(self):
        self.process.terminate()
        self.process.wait(10)


metrics = None


def prepare():
    """The flags of `skein up` for all of them."""
    global metrics
    metrics = Metrics()
    MAILBOX.mkdir()
    MAILBOX.chmod(0o777)
    program = MAILBOX / "sendmail"
    program.write_text(MAIL, encoding="utf-8")
    program.chmod(0o755)
    return ["--metrics-otlp", f"http://127.0.0.1:{metrics.port}/v1/metrics", "--mail-program", str(program)]


def end():
    if metrics:
        metrics.end()
    shutil.rmtree(MAILBOX, ignore_errors=True)


# MARK: OTLP

# Summaries of ours have no quantiles: a histogram without bounds.
KINDS = {"counter": "sum", "gauge": "gauge", "histogram": "histogram", "summary": "histogram"}
LINE = re.compile(r"^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$", re.M)
LABEL = re.compile(r'([a-zA-Z_]\w*)="((?:[^"\\\\]|\\\\.)*)"')


def page():
    """Kinds of the families of the control plane's page, and every value by name and labels."""
    with urllib.request.urlopen("http://127.0.0.1:9400/metrics", timeout=20) as answer:
        text = answer.read().decode()
    values = {(name, tuple(sorted(LABEL.findall(labels)))): float(value) for name, labels, value in LINE.findall(text)}
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.M)), values


def exported():
    """The control plane's own page, as a receiver of OTLP has it, who was busy the first time."""
    check("a receiver that was busy the first time gets the metrics", wait(lambda: len(metrics.exports) > 1, 60, 0.5), len(metrics.exports))
    kinds, before = page()
    known = len(metrics.exports)
    wait(lambda: len(metrics.exports) > known, 60, 0.2)
    _, after = page()
    first, last = metrics.exports[0], metrics.exports[known]
    check("to the path and with the type of OTLP, with a resource that says whose they are",
          last["path"] == "/v1/metrics" and last["type"] == "application/x-protobuf" and last["resource"].get("service.name") == "skein-control-plane"
          and {"host.name", "telemetry.sdk.name", "telemetry.sdk.version"} <= last["resource"].keys(), last["resource"])
    there = {name for name in kinds if any(key.removesuffix(suffix) == name for key, _ in before for suffix in ("", "_count"))}
    missing = sorted(name for name in there if name not in last["metrics"])
    wrong = sorted(name for name in there - set(missing) if last["metrics"][name]["kind"] != KINDS[kinds[name]]
                   or kinds[name] != "gauge" and not last["metrics"][name]["cumulative"] or kinds[name] == "counter" and not last["metrics"][name]["monotonic"])
    check("every metric of the page is in it, with its kind, cumulative", len(there) > 30 and not missing and not wrong, (len(there), missing, wrong))
    off, compared = {}, 0
    for name, metric in last["metrics"].items():
        for point in metric["points"]:
            labels = tuple(sorted(point["labels"].items()))
            for suffix, value in ([("", point["value"])] if "value" in point else [("_count", point["count"]), ("_sum", point["sum"])]):
                low, high = before.get((name + suffix, labels)), after.get((name + suffix, labels))
                if metric["kind"] == "gauge" or low is None or high is None:
                    continue
                compared += 1
                if not low - 1e-6 <= value <= high + 1e-6:
                    off[name + suffix + str(labels)] = (low, value, high)
    check("every counter has what the page has", compared > 50 and not off, off or compared)
    histograms = [p for m in last["metrics"].values() if m["kind"] == "histogram" for p in m["points"]]
    check("histograms have a count for each bucket, and their sum is the whole",
          histograms and all(len(p["buckets"]) == len(p["bounds"]) + 1 and sum(p["buckets"]) == p["count"] and p["bounds"] == sorted(p["bounds"]) for p in histograms), len(histograms))

    def starts(export):
        return {(name, json.dumps(p["labels"], sort_keys=True)): p for name, m in export["metrics"].items() if m["kind"] != "gauge" for p in m["points"]}
    old, new = starts(first), starts(last)
    check("counting began at the same time in each export, and time goes on", old and all(
        new[key]["start"] == p["start"] <= p["time"] < new[key]["time"] and new[key].get("value", 0) >= p.get("value", 0) for key, p in old.items() if key in new), len(old))
    metrics.end()

    def told():
        return page()[1].get(("skein_otlp_failed_exports_total", ()), 0) >= 1
    values = page()[1]
    check("what was tried again is counted", values.get(("skein_otlp_retries_total", ()), 0) >= 1 and values.get(("skein_otlp_exports_total", ()), 0) >= known, values.get(("skein_otlp_exports_total", ())))
    check("a receiver that is gone is counted", wait(told, 60, 1))


# MARK: Alerts

@contextlib.contextmanager
def alertmanager():
    """Debian's Alertmanager, with a silence of its own for what nobody is to hear of."""
    folder = pathlib.Path(f"{DATA}.alertmanager")
    folder.mkdir(exist_ok=True)
    (folder / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", encoding="utf-8")
    port = random.Random().randrange(20000, 31999)
    server = subprocess.Popen(
        ["prometheus-alertmanager", f"--config.file={folder}/alertmanager.yml", f"--storage.path={folder}/data", "--cluster.listen-address=",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"])
    url = f"http://127.0.0.1:{port}"

    def answers():
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=5) as answer:
                return answer.status == 200
        except OSError:
            return False
    try:
        check("a real Alertmanager runs", wait(answers, 60, 0.2))
        yield port
    finally:
        server.terminate()
        server.wait(20)
        shutil.rmtree(folder, ignore_errors=True)


def held(port, *words):
    """What the Alertmanager has, by its own command."""
    text = run("amtool", f"--alertmanager.url=http://127.0.0.1:{port}", "alert", "query", "-o", "json", *words)
    return {alert["labels"]["alertname"]: alert for alert in json.loads(text) or []}


def letters():
    """Heads and texts of the messages that the mail program took."""
    found = []
    for path in MAILBOX.glob("*.eml"):
        head, _, body = path.read_text(encoding="utf-8").partition("\n\n")
        found.append((head, base64.b64decode(body).decode()))
    return found


def told(port):
    """The alert that fires is in the Alertmanager and in the mail."""
    there = {}

    def known():
        there.update(held(port, "alertname=SomebodyAsks"))
        return there
    check("the Alertmanager has the alert that fires", wait(known, 60, 0.5))
    alert = there.get("SomebodyAsks", {})
    check("with labels, annotations, a time and a link to the evidence",
          alert.get("labels", {}).get("severity") == "info" and "requests a second" in alert.get("annotations", {}).get("summary", "")
          and alert.get("generatorURL", "").startswith("http://127.0.0.1:9400/") and alert.get("startsAt", "").startswith("2"), alert)
    run("amtool", f"--alertmanager.url=http://127.0.0.1:{port}", "silence", "add", "--author=check", "--comment=check", "alertname=SomebodyAsks")
    check("a silence of the Alertmanager holds for it", wait(lambda: "SomebodyAsks" in held(port, "--silenced"), 30, 0.5))

    def written():
        return [one for one in letters() if "[FIRING:1] SomebodyAsks" in one[0]]
    check("the mail program got a message with what and since when",
          wait(written, 60, 0.5) and "To: ops@example.com" in written()[0][0] and "FIRING SomebodyAsks since 2" in written()[0][1], [one[0] for one in letters()])


def over(port):
    """Its end is in both, too."""
    check("the Alertmanager takes it as over", wait(lambda: "SomebodyAsks" not in held(port, "-s", "-i", "-a"), 90, 1), list(held(port)))
    check("and a message tells it", wait(lambda: any("[RESOLVED] SomebodyAsks" in head for head, _ in letters()), 60, 1), [head.splitlines()[2] for head, _ in letters()])
    check("each was told by mail exactly once", sorted(line for head, _ in letters() for line in head.splitlines() if line.endswith("SomebodyAsks")) ==
          ["Subject: [FIRING:1] SomebodyAsks", "Subject: [RESOLVED] SomebodyAsks"], len(letters()))
