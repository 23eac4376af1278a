"""What is refused, and with which status: bodies, nesting, watches, strangers, foreign names; and what is written down of it."""
import http.client
import json
import os
import resource
import socket
import ssl
import subprocess
import tempfile
import time

from .lib import check, wait

MAPS = "/api/v1/namespaces/default/configmaps"


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=30)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def full_disk(program):
    """A control plane whose disk is full: it says so, has lost nothing, and goes on when there is space."""
    folder = tempfile.mkdtemp(prefix="skein-full-")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "none", folder], check=True)
    os.makedirs(folder + "/control")
    # The socket and the log are elsewhere: what is tried is the store.
    run, log = tempfile.mkdtemp(prefix="skein-full-run-"), tempfile.TemporaryFile()
    process = subprocess.Popen([program, "control-plane", "--data-dir", folder, "--run-dir", run, "--api", "127.0.0.1:6453", "--metrics", "127.0.0.1:9453",
                                "--log-level", "warning"], stdout=log, stderr=log)

    def ask(method, target, body=None):
        connection = Unix(run + "/api.sock")
        connection.request(method, target, None if body is None else json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        connection.close()
        return response.status, json.loads(text) if text.startswith(b"{") else {}
    try:
        wait("the control plane on the small disk", lambda: ask("GET", "/readyz")[0] == 200, 60)
        ask("POST", MAPS, {"metadata": {"name": "before"}, "data": {"text": "x" * 1000}})
        with open(folder + "/filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(b"x" * 65536)
            except OSError:
                pass
        acknowledged, refusal = ["before"], (0, {})
        for number in range(400):
            status, body = ask("POST", MAPS, {"metadata": {"name": f"m{number}"}, "data": {"text": "x" * 100_000}})
            if status != 201:
                refusal = (status, body)
                break
            acknowledged.append(f"m{number}")
        check("limits: a full disk is 507 with a Status that says so", refusal[0] == 507 and refusal[1].get("kind") == "Status"
              and "space" in refusal[1].get("message", ""), refusal)
        names = {item["metadata"]["name"] for item in ask("GET", MAPS)[1].get("items", [])}
        check("limits: beside a full disk what was acknowledged is read, and nothing else", names - {"kube-root-ca.crt"} == set(acknowledged),
              (sorted(names), acknowledged))
        os.unlink(folder + "/filler")
        status, body = ask("POST", MAPS, {"metadata": {"name": "after"}})
        check("limits: with space again writes go on", status == 201, (status, body))
        process.kill()
        process.wait()
        process = subprocess.Popen(process.args, stdout=log, stderr=log)
        wait("the control plane after kill -9", lambda: ask("GET", "/readyz")[0] == 200, 60)
        names = {item["metadata"]["name"] for item in ask("GET", MAPS)[1].get("items", [])}
        check("limits: after kill -9 all of it is there", names - {"kube-root-ca.crt"} == {*acknowledged, "after"}, sorted(names))
    finally:
        process.kill()
        process.wait()
        subprocess.run(["umount", "-l", folder])


def run(plane):
    path = str(plane.path / "run/api.sock")

    def ask(method, target, body=None, kind="application/json", connection=None, **headers):
        connection = connection or Unix(path)
        try:
            connection.request(method, target, body, {"content-type": kind, **headers} if body is not None else headers)
        except (BrokenPipeError, ConnectionResetError):
            pass  # What is refused is not read to its end; the answer is there.
        response = connection.getresponse()
        text = response.read()
        connection.close()
        try:
            return response.status, json.loads(text), response
        except ValueError:
            return response.status, {}, response

    status, body, _ = ask("POST", MAPS, json.dumps({"metadata": {"name": "big"}, "data": {"x": "y" * (4 << 20)}}).encode())
    check("limits: a body of 4 MiB is 413 with a Status", status == 413 and body.get("reason") == "RequestEntityTooLarge", (status, body))
    status, body, _ = ask("POST", MAPS, '{"metadata":' + '{"a":' * 500 + "1" + "}" * 501)
    check("limits: deep nesting is 400", status == 400 and body.get("kind") == "Status", (status, body))
    status, body, _ = ask("POST", MAPS, b"\xff\xfe not JSON")
    check("limits: what is no JSON is 400", status == 400 and body.get("kind") == "Status", (status, body))
    bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12))
    begin = time.monotonic()
    status, body, _ = ask("PATCH", MAPS + "/x?fieldManager=x", bomb, "application/apply-patch+yaml")
    check("limits: ATK-35 a bomb of YAML aliases is 400, soon", status == 400 and time.monotonic() - begin < 5, (status, body))

    context = ssl.create_default_context(cafile=str(plane.path / "control/ca.crt"))

    def remote():
        return http.client.HTTPSConnection("127.0.0.1", 6443, timeout=30, context=context)
    status, body, _ = ask("GET", MAPS, connection=remote())
    check("access: who shows nothing is 401", status == 401 and body.get("reason") == "Unauthorized", (status, body))
    status, body, _ = ask("GET", "/version", connection=remote())
    check("access: the version is for everybody", status == 200 and body["major"] == "1", (status, body))
    status, _, response = ask("GET", "/metrics")
    check("access: /metrics on the API's address, for who may read it", status == 200 and response.getheader("content-type").startswith("text/plain"), status)
    status, body, _ = ask("GET", "/metrics", connection=remote())
    check("access: /metrics is not for strangers", status == 401, (status, body))
    status, body, _ = ask("GET", "/version", connection=remote(), host="evil.example")
    check("access: another Host is refused", status == 403, (status, body))
    for bad in ("Bearer x", "Bearer ", "Basic eDp5", "Bearer a.b.c", "Bearer abcdef.0123456789abcdef"):
        status, body, _ = ask("GET", MAPS, connection=remote(), authorization=bad)
        check(f"access: ATK-39 {bad!r} is 401", status == 401, (status, body))

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    watches = []
    for _ in range(1500):
        one = socket.socket(socket.AF_UNIX)
        one.connect(path)
        one.sendall(f"GET {MAPS}?watch=1 HTTP/1.1\r\nhost: localhost\r\n\r\n".encode())
        if not one.recv(20).startswith(b"HTTP/1.1 200"):
            break
        watches.append(one)
    status, body, response = ask("GET", MAPS + "?watch=1&timeoutSeconds=1")
    check("limits: the watch after 1,500 is 429 with retry-after", len(watches) == 1500 and status == 429
          and response.getheader("retry-after") == "1", (len(watches), status, body))
    begin = time.monotonic()
    status, _, _ = ask("GET", MAPS)
    check("limits: others are answered beside 1,500 watches", status == 200 and time.monotonic() - begin < 2)
    for one in watches:
        one.close()
    deadline = time.monotonic() + 10
    while ask("GET", MAPS + "?watch=1&timeoutSeconds=1")[0] == 429 and time.monotonic() < deadline:
        time.sleep(0.2)
    check("limits: places of closed watches are free again", time.monotonic() < deadline)

    full_disk(plane.program)

    ask("POST", MAPS, json.dumps({"metadata": {"name": "audited"}, "data": {"secret": "do-not-write-me-down"}}))
    log = plane.path / "control/audit.log"
    deadline = time.monotonic() + 5
    while '"audited"' not in (text := log.read_text() if log.exists() else "") and time.monotonic() < deadline:
        ask("POST", MAPS, json.dumps({"metadata": {"name": "x"}}))
        ask("DELETE", MAPS + "/audited")
        time.sleep(0.1)
    events = [json.loads(line) for line in text.splitlines()]
    check("audit: writes are noted, without bodies", "do-not-write-me-down" not in text and any(
        e["verb"] == "create" and e["objectRef"].get("resource") == "configmaps" and e["responseStatus"]["code"] == 201
        and e["user"]["username"] == "system:admin" for e in events), text[-500:])
    check("audit: refusals are noted", any(e["responseStatus"]["code"] in (401, 403) for e in events), text[-500:])
