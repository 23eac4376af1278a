"""`skein analyze`: findings with code, line and exit status from files, and the same of what runs."""
import json
import pathlib
import subprocess
import tempfile

from check import lib
from check.lib import BOOKSTORE, ROOT, SKEIN, skein

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="skein-analyze-"))

DEAD = """apiVersion: v1
kind: Service
metadata: {name: cart}
spec:
  selector: {app: cart}
  ports: [{name: http, port: 80}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: cart}
spec:
  hosts: [cart]
  http:
    - match:
        - headers: {x-user: {exact: a}}
      route:
        - destination: {host: crt}
    - route:
        - destination: {host: cart, subset: v9}
"""
OLDER = """apiVersion: gateway.networking.k8s.io/v1alpha2
kind: TCPRoute
metadata: {name: bytes}
spec: {parentRefs: [{name: nowhere}], rules: [{backendRefs: [{name: web, port: 9000}]}]}
---
apiVersion: gateway.networking.k8s.io/v1beta1
kind: ReferenceGrant
metadata: {name: bytes}
spec:
  from: [{group: gateway.networking.k8s.io, kind: TCPRoute, namespace: other}]
  to: [{group: "", kind: Service}]
"""
REFUSED = DEAD[DEAD.index("---"):].replace("{host: crt}", "{host: cart}\n      retries: {attempts: 1, retryOn: sometimes}")
SCHEMA = """apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: cart}
spec:
  host: cart
  trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN, warmup: {duration: 30s, minimumPercent: 150}}}
"""
WRONG = DEAD.replace("- destination: {host: crt}", "- {destination: {host: cart}, weight: -1}")


def check(name, passed, detail=""):
    """The answers are long: they are shown where they are wrong."""
    lib.check(name, passed, "" if passed else detail)


def analyze(*arguments, **options):
    done = subprocess.run([SKEIN, "analyze", *arguments], capture_output=True, text=True, timeout=90, **options)
    return done.returncode, done.stdout, done.stderr


def file(name, text):
    path = FOLDER / name
    path.write_text(text)
    return str(path)


def files():
    dead, wrong = file("dead.yaml", DEAD), file("wrong.yaml", WRONG)
    status, text, _ = analyze("-f", dead)
    lines = text.split("\n")
    check("analyze: dead configuration is named with line, code, object and field", status == 0 and all(
        any(line.startswith(f"{dead}:{start}") for line in lines) for start in (
            "5: warning SKN0201: Service default/cart: spec.selector: ",
            "17: warning SKN0301: VirtualService default/cart: spec.http[0].route[0].destination.host: ",
            "19: warning SKN0302: VirtualService default/cart: spec.http[1].route[0].destination.subset: ")), text)
    check("analyze: what to do stands below each finding", all(
        lines[i + 1].startswith("    ") for i, line in enumerate(lines) if " SKN" in line), text)
    check("analyze: warnings exit with 1 when the threshold says so", analyze("-f", dead, "--failure-threshold", "warning")[0] == 1)
    status, text, _ = analyze("-f", wrong)
    check("analyze: an error exits with 1", status == 1 and f"{wrong}:17: error SKN0306" in text, text)
    status, text, _ = analyze("-f", dead, "-o", "json", "--suppress", "SKN0301=VirtualService *.default")
    found = json.loads(text)
    check("analyze: JSON, without what is suppressed", [(f["code"], f["line"], f.get("istioCodes", [])) for f in found]
          == [("SKN0201", 5, []), ("SKN0302", 19, ["IST0101"])] and status == 0, text)
    status, text, _ = analyze("-f", "-", input=DEAD.replace("{name: cart}\nspec:\n  hosts", "{name: cart, annotations: {skein.dev/analyze-suppress: '*'}}\nspec:\n  hosts"))
    check("analyze: standard input, and an object that keeps its findings quiet", status == 0 and "1 warning in 2 objects" in text, text)
    quiet = [analyze("-f", f"{BOOKSTORE}/bookstore.yaml", "-f", f"{BOOKSTORE}/{name}") for name in ("traffic.yaml", "gateway-api", "ingress")]
    check("analyze: the bookstore has no finding", all(
        answer[0] == 0 and answer[1].startswith("No findings") for answer in quiet), quiet)
    for name, text, words in (
            ("syntax.yaml", "kind: [a\n", "syntax.yaml:"), ("kind.yaml", "apiVersion: v1\nkind: Servize\nmetadata: {name: a}\n", "kind.yaml:2: no matches for kind")):
        status, out, error = analyze("-f", file(name, text))
        check(f"analyze: {name} is one clear error with the line, and exit status 2",
              status == 2 and words in error and error.count("\n") == 1 and not out, f"{status} {error}")
    both = file("both.yaml", "apiVersion: v1\nkind: Servize\nmetadata: {name: a}\n---\n" + DEAD)
    status, text, error = analyze("-f", both, "--ignore-unknown")
    check("analyze --ignore-unknown: the rest of the file is analysed", status == 0 and "SKN0301" in text and "both.yaml:2: no matches" in error, error)
    check("analyze: neither files nor --live is wrong usage", analyze()[0] == 2)
    status, text, _ = analyze("--list-codes", "-o", "json")
    pages = {path.stem for path in (ROOT / "docs/analysis").glob("SKN*.md")}
    check("analyze: every code of --list-codes has a page", {code["code"] for code in json.loads(text)} == pages, len(pages))


def live():
    dead = file("live.yaml", DEAD)
    skein("up", "--detach", timeout=120)
    done = subprocess.run([SKEIN, "apply", "-f", dead], capture_output=True, text=True, timeout=60)
    check("apply: warnings carry the code", done.returncode == 0 and "[SKN0301]" in done.stderr and "[SKN0302]" in done.stderr, done.stderr)
    status, text, _ = analyze("--live")
    check("analyze --live: the same findings, without files", status == 0 and all(
        f"\nwarning {code}: " in "\n" + text for code in ("SKN0201", "SKN0301", "SKN0302")), text)
    status, text, _ = analyze("--live", "-n", "skein-system")
    check("analyze --live -n: findings of that namespace only", status == 0 and text.startswith("No findings"), text)
    status, text, _ = analyze("--live", "-A", "--failure-threshold", "warning")
    check("analyze --live -A: all namespaces", status == 1 and "SKN0301" in text, text)
    older = file("older.yaml", OLDER)
    steps = [subprocess.run([SKEIN, *words], capture_output=True, text=True, timeout=60) for words in (
        ("apply", "-f", older), ("apply", "-f", file("changed.yaml", OLDER.replace("9000", "9001"))), ("delete", "-f", older))]
    check("apply: what is written in an older version of the API is made, changed and deleted", all(s.returncode == 0 for s in steps)
          and "tcproute.gateway.networking.k8s.io/bytes configured" in steps[1].stdout, [s.stdout + s.stderr for s in steps])
    mended = file("mended.yaml", DEAD[DEAD.index("---"):].replace("crt", "cart").replace(", subset: v9", ""))
    alone, beside = analyze("-f", mended)[1], analyze("-f", mended, "--use-live")[1]
    check("analyze --use-live: files see what runs", "SKN0301" in alone and "No findings in 1 object." in beside, alone + beside)
    refused = subprocess.run([SKEIN, "apply", "-f", file("refused.yaml", REFUSED)], capture_output=True, text=True, timeout=60)
    check("apply: a refusal carries the code", refused.returncode == 1 and "[SKN0326]" in refused.stderr, refused.stderr)
    for name, text, code in (("schema", SCHEMA, "SKN0102"), ("type", SCHEMA.replace("150", "much"), "SKN0102"), ("field", SCHEMA.replace("minimumPercent", "minimum"), "SKN0101")):
        path = file(f"{name}.yaml", text)
        refused = subprocess.run([SKEIN, "apply", "-f", path], capture_output=True, text=True, timeout=60)
        found = [(f["code"], f["field"]) for f in json.loads(analyze("-f", path, "-o", "json")[1]) if f["code"] == code]
        check(f"apply: what the schema refuses ({name}) carries the code and field of analyze", refused.returncode == 1 and len(found) == 1
              and f"[{code}]" in refused.stderr and found[0][1] in refused.stderr, f"{found} {refused.stderr}")


def stopped():
    skein("down", timeout=120)
    status, _, error = analyze("--live")
    check("analyze --live: without Skein one clear error, and exit status 2", status == 2 and "skein up" in error, error)


def phases(_before):
    return files, live, stopped
