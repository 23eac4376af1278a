"""Commands in containers, attaching, copying and forwarded ports, with a node that runs pods."""
import fcntl
import http.client
import os
import pathlib
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import tempfile
import termios
import threading
import time

from .lib import Kubectl, check, kubectls, wait

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: box, labels: {app: box}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      image: debian
      command: [python3, -c, "import http.server as s; print('started', flush=True); s.test(s.SimpleHTTPRequestHandler, port=8000)"]
      workingDir: /tmp
      ports: [{containerPort: 8000, name: http}]
      # A machine that is busy must not take it out of its service.
      readinessProbe: {tcpSocket: {port: 8000}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 30}
    - {name: second, image: debian, command: [sleep, "100000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: echo}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: debian, stdin: true, tty: false, command: [sh, -c, "while read -r line; do echo got $line; done; sleep 100000"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: term}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: debian, stdin: true, tty: true, command: [sh]}]
---
apiVersion: v1
kind: Service
metadata: {name: box}
spec: {selector: {app: box}, ports: [{port: 80, targetPort: http}]}
"""


class Node:
    """`skein up` with pods on the machine's own file system."""

    def __init__(self, program):
        self.program = program
        self.directory = tempfile.TemporaryDirectory(prefix="skein-api-check-up-")
        os.chmod(self.directory.name, 0o755)
        self.data = self.directory.name + "/data"
        self.kubeconfig = self.directory.name + "/kubeconfig"
        self.skein("up", "--images", "host", "--api", "127.0.0.1:6444", "--metrics", "127.0.0.1:9401", "--detach", timeout=120)
        self.skein("kubeconfig", self.kubeconfig)

    def skein(self, *words, code=0, stdin=None, timeout=60):
        done = subprocess.run([self.program, *words[:1], "--data-dir", self.data, *words[1:]], input=stdin, capture_output=True, text=True,
                              timeout=timeout)
        if code is not None and done.returncode != code:
            raise RuntimeError(f"skein {' '.join(words)}: exit {done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}")
        return done.stdout, done.stderr

    def stop(self):
        self.skein("down", code=None, timeout=180)
        self.directory.cleanup()


def terminal(command, talk, environment, seconds=30):
    """Runs a command at a terminal of 100 columns and 30 rows; what it wrote and its exit status."""
    main, replica = pty.openpty()
    fcntl.ioctl(replica, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    # Its own controlling terminal, or it would not hear of a new size.
    process = subprocess.Popen(["setsid", "--ctty", "--wait", *command], stdin=replica, stdout=replica, stderr=replica, env=environment)
    os.close(replica)
    seen, end = b"", time.monotonic() + seconds
    for awaited, answer in talk:
        while awaited not in seen and time.monotonic() < end:
            if select.select([main], [], [], 0.2)[0]:
                try:
                    seen += os.read(main, 4096)
                except OSError:
                    break
        if callable(answer):
            answer(main)
        else:
            os.write(main, answer)
    while process.poll() is None and time.monotonic() < end:
        if select.select([main], [], [], 0.1)[0]:
            try:
                seen += os.read(main, 4096)
            except OSError:
                break
    try:
        code = process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        code = None
    os.close(main)
    return seen.decode(errors="replace"), code


def kubectl_streams(one):
    tag = f"kubectl 1.{one.minor}"
    out, _ = one("exec", "box", "-c", "main", "--", "echo", "a b", "c")
    check(f"{tag}: exec gives the output", out == "a b c\n", out)
    out, errors = one("exec", "box", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 7", code=7)
    check(f"{tag}: exec gives errors and the exit status", out == "out\n" and "err\n" in errors and "exit code 7" in errors, (out, errors))
    out, _ = one("exec", "-i", "box", "-c", "main", "--", "sh", "-c", "wc -c; echo end", stdin="x" * 300_000)
    check(f"{tag}: exec -i passes all of the input and its end", out == "300000\nend\n", out)
    out, _ = one("exec", "box", "-c", "main", "--", "head", "-c", "3000000", "/dev/zero", timeout=60)
    check(f"{tag}: exec gives 3 MB of output", len(out) == 3_000_000, len(out))
    _, errors = one("exec", "box", "-c", "main", "--", "no-such-program", code=1)
    check(f"{tag}: a program that is not there is told of", "no-such-program" in errors and "not found" in errors, errors)
    _, errors = one("exec", "nobody", "--", "true", code=1)
    check(f"{tag}: a pod that is not there", 'pods "nobody" not found' in errors, errors)
    _, errors = one("exec", "box", "-c", "third", "--", "true", code=1)
    check(f"{tag}: a container that is not there", "third" in errors and "not" in errors, errors)
    environment = {**os.environ, "HOME": one.home, "KUBECONFIG": one.kubeconfig}
    words = [one.program, "--kubeconfig", one.kubeconfig, "exec", "-it", "box", "-c", "main", "--", "sh"]

    def widen(main):
        fcntl.ioctl(main, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 123, 0, 0))
        os.write(main, b"while ! stty size | grep 123; do sleep 0.1; done; echo wide''ned\n")

    seen, code = terminal(words, [(b"# ", b"tty; while ! stty size | grep '30 100'; do sleep 0.1; done; echo fi''rst\n"), (b"first", widen), (b"widened", b"exit 3\n")], environment)
    check(f"{tag}: exec -it is a terminal that follows the client's size, with its exit status", "/dev/pts/" in seen and "30 100" in seen and "40 123" in seen and code == 3,
          (seen, code))
    seen, code = terminal(words, [(b"# ", b"sh -c 'echo run''ning; exec sleep 1000'\n"), (b"running", b"\x03"), (b"^C\r\n# ", b"exit 4\n")], environment)
    check(f"{tag}: Ctrl-C reaches the command, not kubectl", code == 4, (seen, code))
    # Copies: tar over exec.
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "file"
        path.write_bytes(os.urandom(700_000))
        one("cp", str(path), f"box:/tmp/copy{one.minor}", "-c", "main")
        one("cp", f"box:/tmp/copy{one.minor}", str(path) + ".back", "-c", "main")
        check(f"{tag}: cp there and back", path.read_bytes() == pathlib.Path(str(path) + ".back").read_bytes())
    # Ports.
    for target, port in (("pod/box", "8000"), ("service/box", "80")):
        process = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "port-forward", target, f":{port}"], stdout=subprocess.PIPE,
                                   stderr=subprocess.STDOUT, text=True, env=environment)
        try:
            line = process.stdout.readline()
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
            answers = []

            def ask():
                connection = http.client.HTTPConnection("127.0.0.1", int(found.group(1)), timeout=20)
                connection.request("GET", "/")
                answers.append(connection.getresponse().read()[:15])

            threads = [threading.Thread(target=ask) for _ in range(8)] if found else []
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            check(f"{tag}: port-forward to {target}, 8 connections", len(answers) == 8 and all(b"<!DOCTYPE" in a for a in answers), (line, answers))
        finally:
            process.terminate()
            process.wait(10)
    process = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "port-forward", "pod/box", ":9"], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, env=environment)
    try:
        found = re.search(r"127\.0\.0\.1:(\d+)", process.stdout.readline())
        with socket.create_connection(("127.0.0.1", int(found.group(1))), 10) as connection:
            connection.settimeout(10)
            try:
                rest = connection.recv(10)
            except OSError:
                rest = b""
        process.terminate()
        text = process.stdout.read()
        check(f"{tag}: a port where nobody listens is told of", rest == b"" and "refused" in text, text)
    finally:
        process.kill()
        process.wait(10)
    # Attach: what it says, what it is told, its terminal.
    done = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "attach", "-i", "echo"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, env=environment)
    try:
        done.stdin.write(f"hello{one.minor}\n".encode())
        done.stdin.flush()
        seen, end = b"", time.monotonic() + 20
        while f"got hello{one.minor}".encode() not in seen and time.monotonic() < end:
            if select.select([done.stdout], [], [], 0.2)[0]:
                seen += os.read(done.stdout.fileno(), 4096)
        check(f"{tag}: attach -i speaks with the container", f"got hello{one.minor}".encode() in seen, seen)
    finally:
        done.kill()
        done.wait(10)
    seen, _ = terminal([one.program, "--kubeconfig", one.kubeconfig, "attach", "-it", "term"],
                       [(b"", b"\n"), (b"# ", f"tty; echo at''tached{one.minor}\n".encode()), (f"attached{one.minor}".encode(), b"")],
                       environment, seconds=12) if one.minor == max(minors) else ("/dev/", 0)
    check(f"{tag}: attach -it is a terminal", "/dev/" in seen, seen)


minors = []


def python_streams(node):
    import kubernetes
    from kubernetes import client, config
    from kubernetes.stream import portforward, stream

    tag = f"python {kubernetes.__version__}"
    core = client.CoreV1Api(config.new_client_from_config(node.kubeconfig))
    out = stream(core.connect_get_namespaced_pod_exec, "box", "default", container="main", command=["sh", "-c", "echo one; echo two >&2"],
                 stderr=True, stdin=False, stdout=True, tty=False)
    check(f"{tag}: exec", "one" in out and "two" in out, out)
    core = client.CoreV1Api(config.new_client_from_config(node.kubeconfig))
    session = stream(core.connect_get_namespaced_pod_exec, "box", "default", container="main", command=["sh"], stderr=True, stdin=True, stdout=True,
                     tty=False, _preload_content=False)
    session.write_stdin("echo from $((40+2)); exit 5\n")
    session.run_forever(timeout=10)
    check(f"{tag}: exec with input and exit status", "from 42" in session.read_stdout() and session.returncode == 5, session.returncode)
    core = client.CoreV1Api(config.new_client_from_config(node.kubeconfig))
    forward = portforward(core.connect_get_namespaced_pod_portforward, "box", "default", ports="8000")
    connection = forward.socket(8000)
    connection.sendall(b"GET / HTTP/1.0\r\n\r\n")
    connection.settimeout(10)
    answer = connection.recv(100)
    check(f"{tag}: port forwarding", answer.startswith(b"HTTP/1.0 200"), answer)
    connection.close()


def run(plane):
    node = Node(plane.program)
    try:
        programs = kubectls()
        tools = [Kubectl(program, node.kubeconfig, f"{node.directory.name}/home{number}") for number, program in enumerate(programs)]
        minors.extend(one.minor for one in tools)
        one = tools[-1]
        one("apply", "-f", "-", stdin=PODS)
        one("wait", "--for=condition=Ready", "pod/box", "pod/echo", "pod/term", "--timeout=60s", timeout=90)
        check("logs of a container", wait("the log", lambda: "started" in one("logs", "box", "-c", "main")[0], 20))
        for tool in tools:
            begin = time.monotonic()
            kubectl_streams(tool)
            print(f"     kubectl 1.{tool.minor}: {time.monotonic() - begin:.1f} s", flush=True)
        out, _ = node.skein("exec", "box", "-c", "main", "--", "echo", "hi")
        check("skein exec gives the output", out == "hi\n", out)
        out, _ = node.skein("exec", "-i", "box", "-c", "main", "--", "sh", "-c", "cat; exit 9", stdin="words", code=9)
        check("skein exec -i passes the input and the exit status", out == "words", out)
        python_streams(node)
        access(node, one)
        gone(node, one)
        left = [line for line in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines() if "runc" in line and " exec " in line]
        check("no command is left running", not left, left)
        files = [name for name in os.listdir("/run/skein") if name.startswith("exec-")]
        check("no file of a command is left", not files, files)
    except Exception:
        for log in pathlib.Path(node.data).rglob("*.log"):
            if log.parent.name == "log":
                print(f"--- {log.name}\n" + log.read_text(errors="replace")[-3000:])
        raise
    finally:
        node.stop()


def access(node, one):
    """The right to look at pods is not the right to run programs in them; who did is in the audit log."""
    one("create", "serviceaccount", "looker")
    one("create", "role", "look", "--verb=get,list,watch", "--resource=pods,pods/exec,pods/portforward")
    one("create", "rolebinding", "look", "--role=look", "--serviceaccount=default:looker")
    name = "--as=system:serviceaccount:default:looker"
    _, errors = one(name, "exec", "box", "-c", "main", "--", "true", code=1)
    check("get on pods/exec is not enough to run a command", "forbidden" in errors, errors)
    one("create", "role", "run", "--verb=create", "--resource=pods/exec")
    one("create", "rolebinding", "run", "--role=run", "--serviceaccount=default:looker")
    out, _ = one(name, "exec", "box", "-c", "main", "--", "echo", "allowed")
    check("create on pods/exec is", out == "allowed\n", out)
    events = wait("the audit log", lambda: [line for path in pathlib.Path(node.data).rglob("audit*.log") for line in
                                           path.read_text().splitlines() if '"exec"' in line and '"code":101' in line], 10)
    check("commands are in the audit log as creates", events and '"verb":"create"' in events[-1], events[-1:])


def gone(node, one):
    """A client that goes takes its command with it."""
    process = subprocess.Popen([one.program, "--kubeconfig", one.kubeconfig, "exec", "box", "-c", "main", "--", "sleep", "98765"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def command_runs():
        lines = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout.splitlines()
        return "sleep 98765" in lines
    wait("the command", command_runs, 20)
    process.send_signal(signal.SIGKILL)
    process.wait()
    check("a client that goes takes its command with it", wait("the command's end", lambda: not command_runs(), 20))
