"""A control plane alone in namespaces of its own, the kubectls of this machine, and the list of checks."""
import glob
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

results = []


def check(name, passed, detail=""):
    results.append((name, bool(passed)))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail)[:600] if detail != '' and not passed else ''}", flush=True)


def enter_namespaces():
    """Starts this program again in network, mount and process namespaces of its own."""
    if os.environ.get("SKEIN_API_CHECK") == "1":
        subprocess.run("mkdir -p /run/netns /run/skein && mount -t tmpfs none /run/skein && mount -t tmpfs none /run/netns && "
                       "ip link set lo up", shell=True, check=True)
        return
    os.execvpe("unshare", ["unshare", "-m", "-n", "-p", "-f", "--mount-proc", sys.executable, *sys.argv],
               {**os.environ, "SKEIN_API_CHECK": "1"})


def wait(what, body, seconds=20, log=lambda: ""):
    end = time.monotonic() + seconds
    last = None
    while time.monotonic() < end:
        try:
            last = body()
            if last:
                return last
        except (OSError, http.client.HTTPException) as error:
            last = error
        time.sleep(0.02)
    raise RuntimeError(f"waited in vain for {what} ({last}){log()}")


class Plane:
    """`skein control-plane` with an empty store."""

    def __init__(self, program):
        self.program = program
        self.directory = tempfile.TemporaryDirectory(prefix="skein-api-check-")
        self.path = pathlib.Path(self.directory.name)
        for name in ("run", "control"):
            (self.path / name).mkdir()
        self.log = open(self.path / "log", "w+b")
        self.process = subprocess.Popen(
            [program, "control-plane", "--data-dir", str(self.path), "--run-dir", str(self.path / "run"), "--api", "127.0.0.1:6443",
             "--metrics", "127.0.0.1:9400", "--watches", "1500", "--log-level", "info"], stdout=self.log, stderr=self.log)
        wait("the API", self.is_ready, 60, self.output)
        self.kubeconfig = str(wait("a kubeconfig", lambda: next(self.path.rglob("kubeconfig*"), None) or next(
            self.path.rglob("*.kubeconfig"), None)))

    def is_ready(self):
        connection = http.client.HTTPConnection("localhost", timeout=5)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path / "run/api.sock"))
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200

    def request(self, method, path, body):
        """The status and the object of an answer, as root on this machine asks."""
        connection = http.client.HTTPConnection("localhost", timeout=20)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(self.path / "run/api.sock"))
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        connection.request(method, path, json.dumps(body), {"Content-Type": kind})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())

    def output(self):
        self.log.flush()
        return "\n" + (self.path / "log").read_text(errors="replace")[-4000:]

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.log.close()
        self.directory.cleanup()


class Kubectl:
    """One kubectl, with a home of its own (clients keep discovery on disk)."""

    def __init__(self, program, kubeconfig, home):
        self.program, self.kubeconfig, self.home = program, kubeconfig, home
        text = subprocess.run([program, "version", "--client", "--output=json"], capture_output=True, text=True, timeout=20).stdout
        found = re.search(r'"gitVersion": "v1\.(\d+)', text)
        self.minor = int(found.group(1)) if found else 0
        pathlib.Path(home).mkdir(exist_ok=True)

    def __call__(self, *words, stdin=None, code=0, timeout=60):
        """Output and errors; raises when the exit status is not `code` (None: whatever it is)."""
        done = subprocess.run([self.program, "--kubeconfig", self.kubeconfig, *words], input=stdin, capture_output=True, text=True,
                              timeout=timeout, env={**os.environ, "HOME": self.home, "KUBECONFIG": self.kubeconfig, "LC_ALL": "C"})
        if code is not None and done.returncode != code:
            raise RuntimeError(f"kubectl {' '.join(words)}: exit {done.returncode}: {done.stdout[-500:]}{done.stderr[-500:]}")
        return done.stdout, done.stderr


def kubectls():
    """The kubectls of this machine, one of each version: `kubectl` from PATH and what is called kubectl.1.N beside it."""
    found = {}
    first = shutil.which("kubectl")
    beside = os.path.dirname(os.path.realpath(first)) if first else ""
    names = sorted(glob.glob(os.path.join(beside, "kubectl.1.*"))) or ([first] if first else [])
    for program in names + [os.environ.get("SKEIN_KUBECTL_120", "")]:
        if program and os.access(program, os.X_OK):
            found[os.path.realpath(program)] = program
    return list(found.values())
