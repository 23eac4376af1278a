"""The commands of Insight by what all of them have: help, exit statuses, JSON, completion, the manual, 80 columns."""
import json
import re
import subprocess

from check.lib import DATA, ROOT, SKEIN, check, pods

# Command to: operands with which it answers while the bookstore runs; a wrong usage of its own; which `-o` it has; exit statuses of an answer.
COMMANDS = {
    "stat": ([], ["-t", "0s"], ["table", "json"], {0}),
    "top": (["services", "--once"], ["everything"], ["table", "json"], {0}),
    "edges": ([], ["-t", "25h"], ["table", "json"], {0}),
    "graph": ([], ["somebody"], ["dot", "mermaid", "json"], {0}),
    "query": (["sum(istio_requests_total)"], [], ["table", "json"], {0}),
    "alerts": ([], ["somebody"], ["table", "json"], {0, 1}),
    "plan": ([], ["somebody"], ["table", "json"], {0, 1}),
    "traces": ([], ["one", "two"], ["table", "json"], {0}),
    "tap": ([], ["--rate", "many"], ["table", "json"], None),
    "explain": (["deployment/web", "catalog"], ["web"], ["text", "json"], {0}),
    "dashboard": ([], ["somebody"], [], {0}),
    "logs": ([], [], [], {0}),
}
NOWHERE = ["--data-dir", "/nonexistent", "--run-dir", "/nonexistent"]


def skein(*words):
    return subprocess.run([SKEIN, *words], capture_output=True, text=True, timeout=120)


def completed(*words):
    """What the shell would offer behind these words."""
    script = f'eval "$({SKEIN} completion bash)"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _skein; printf "%s\\n" "${{COMPREPLY[@]}}"'
    return set(subprocess.run(["bash", "-c", script, "bash", "skein", *words], capture_output=True, text=True, timeout=60).stdout.split())


def said():
    """What can be said without anything that runs."""
    bad, manual = [], (ROOT / "docs/man/skein.8").read_text(encoding="utf-8").replace("\\-", "-")
    overview = skein("--help").stdout
    for name, (_, wrong, forms, _) in COMMANDS.items():
        text = skein(name, "--help")
        flags = set(re.findall(r"^ +(?:-\w, )?(--[a-z-]+)", text.stdout, re.M))
        tests = {
            "help": text.returncode == 0 and f"Usage: skein {name}" in text.stdout and text.stdout == skein("help", name).stdout and not text.stderr,
            "overview": re.search(rf"^  {name} ", overview, re.M),
            "unknown flag": (done := skein(name, "--nonsense")).returncode == 2 and "--nonsense" in done.stderr and not done.stdout,
            "wrong usage": not wrong and name != "query" or (done := skein(name, *wrong, *NOWHERE)).returncode == 2 and f"skein {name} --help" in done.stderr,
            "wrong form": not forms or (done := skein(name, *COMMANDS[name][0], "-o", "nonsense", *NOWHERE)).returncode == 2 and "nonsense" in done.stderr,
            "nothing runs": name == "explain" or (done := skein(name, *(COMMANDS[name][0] or (["x"] if name == "logs" else [])), *NOWHERE)).returncode == 1 and done.stderr and not done.stdout,
            "completion": name in completed("") and flags | {"--help"} == completed(name, "--") and (not forms or completed(name, "-o", "") == set(forms)),
            "manual": f'"skein {name}' in manual or f".B skein {name}" in manual,
        }
        bad += [f"{name}: {what}" for what, passed in tests.items() if not passed]
    check(f"{len(COMMANDS)} commands: help, wrong usage is 2, nothing that runs is 1, completion and manual know them", not bad, bad)


def answered():
    """What each answers while the bookstore runs."""
    bad = []
    for name, (words, _, forms, statuses) in COMMANDS.items():
        if statuses is None:
            continue
        words = [pods("app=web")[0]["metadata"]["name"], "--tail", "1"] if name == "logs" else words
        for form in forms or [None]:
            done = skein(name, *words, *(["-o", form] if form else []), "--data-dir", DATA)
            # A plan may be refused; then it says why.
            is_refused = name == "plan" and done.returncode == 1
            if done.returncode not in statuses or not (done.stderr if is_refused else done.stdout):
                bad.append((name, form, done.returncode, done.stderr[:100]))
            elif form == "json" and not is_refused:
                json.loads(done.stdout)
            elif form == "table" and name not in ("alerts", "query") and any(len(line) > 80 for line in done.stdout.splitlines()):
                bad.append((name, "wider than 80 columns", max(map(len, done.stdout.splitlines()))))
    check("each answers in each of its forms, JSON to programs, tables in 80 columns", not bad, bad)


def commands():
    """Help, exit statuses, forms."""
    said()
    answered()
