"""The machine on which docker-check works: namespaces of its own with an engine and our plugin, so that the host's are never touched."""
import concurrent.futures
import contextlib
import glob
import io
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tarfile
import tempfile
import time

from cnicheck.lab import ROOT, check, note, results, shell

PROGRAM = os.environ.get("SKEIN", str(ROOT / ".build/release/skein"))
# Debian's own, whatever other `docker` is in the path.
DOCKER = "/usr/bin/docker"
IMAGE = "my-image"
SOCKET = "/run/docker/plugins/skein.sock"
__all__ = ["IMAGE", "Lab", "check", "enter", "note", "results", "shell", "until"]


def enter(script):
    """Starts the script again inside of namespaces of its own, and ends with its status."""
    if os.environ.get("SKEIN_DOCKER_CHECK") == "inside":
        return
    if os.geteuid() != 0:
        sys.exit("docker-check: run as root (sudo make docker-check): it makes namespaces")
    os.execvpe("unshare", ["unshare", "--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation", "private", "--mount-proc",
                           "sh", "-c", '"$0" "$@"; exit $?', sys.executable, script, *sys.argv[1:]], {**os.environ, "SKEIN_DOCKER_CHECK": "inside"})


def until(condition, seconds=30):
    """Waits for a condition; what it was at last."""
    end = time.time() + seconds
    while True:
        value = condition()
        if value or time.time() > end:
            return value
        time.sleep(0.05)


class Lab:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="skein-docker-")
        for place in ["/run", "/var/lib/docker", "/var/lib/containerd"]:
            os.makedirs(place, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        shell("mount -o remount,rw /proc/sys 2>/dev/null")
        shell("ip link set lo up")
        self.peer = f"{self.folder}/peer"
        subprocess.run(["gcc", "-O1", "-static", "-o", self.peer, str(ROOT / "tools/cnicheck/peer.c")], check=True)
        self.plugin = self.daemon = None
        # Another machine, so that there is a way out of this one.
        shell("ip netns add out; ip link add up0 type veth peer name eth0 netns out; ip addr add 192.0.2.2/24 dev up0; ip link set up0 up;"
              "ip -n out addr add 192.0.2.1/24 dev eth0; ip -n out link set eth0 up; ip -n out link set lo up; ip route add default via 192.0.2.1")
        self.servers = [subprocess.Popen(["ip", "netns", "exec", "out", self.peer, "serve", "outside", "80"], stdout=subprocess.PIPE)]
        self.servers[0].stdout.readline()

    def end(self):
        for process in [self.daemon, self.plugin, *self.servers]:
            if process and process.poll() is None:
                process.terminate()
                try:
                    process.wait(20)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
        shell("ip netns del out")
        # The engine leaves mounts where its containers were.
        shell(f"umount -R {self.folder}/data 2>/dev/null")
        shutil.rmtree(self.folder, ignore_errors=True)
        for path, _, _ in (entry for root in glob.glob("/sys/fs/cgroup/*/skein-docker-check") + ["/sys/fs/cgroup/skein-docker-check"]
                           for entry in os.walk(root, topdown=False)):
            with contextlib.suppress(OSError):
                os.rmdir(path)

    # The plugin and the engine.

    def start_plugin(self, *words):
        log = open(f"{self.folder}/plugin.log", "a")
        self.plugin = subprocess.Popen([PROGRAM, "docker-plugin", "--data-dir", f"{self.folder}/skein", *words], stdout=log, stderr=log)
        if not until(lambda: self.call("Plugin.Activate")[0] == 200 or self.plugin.poll() is not None, 30) or self.plugin.poll() is not None:
            raise RuntimeError("the plugin does not start: " + self.log("plugin"))

    def kill_plugin(self):
        self.plugin.kill()
        self.plugin.wait()

    def start_daemon(self):
        log = open(f"{self.folder}/dockerd.log", "a")
        # vfs: whatever the file system below.
        self.daemon = subprocess.Popen(["dockerd", "--data-root", f"{self.folder}/data", "--exec-root", "/run/docker-exec", "-H", "unix:///run/docker.sock",
                                        "-p", "/run/docker.pid", "--bridge=none", "--storage-driver=vfs", "--exec-opt", "native.cgroupdriver=cgroupfs",
                                        "--cgroup-parent", "/skein-docker-check",
                                        # Nobody answers there, and says so at once: a name that is unknown costs no patience.
                                        "--dns", "192.0.2.1"], stdout=log, stderr=log)
        if not until(lambda: self.docker("version", okay=False) is not None and self.status == 0 or self.daemon.poll() is not None, 60) or self.daemon.poll() is not None:
            raise RuntimeError("dockerd does not start: " + self.log("dockerd"))

    def stop_daemon(self, kill=False):
        if kill:
            self.daemon.kill()
        else:
            self.daemon.terminate()
        self.daemon.wait(30)

    def log(self, name, lines=12):
        return "\n".join(pathlib.Path(self.folder, f"{name}.log").read_text().splitlines()[-lines:])

    def docker(self, *words, okay=True, input=None):
        done = subprocess.run([DOCKER, "-H", "unix:///run/docker.sock", *words], capture_output=True, text=input is None, timeout=180, input=input)
        self.status = done.returncode
        out, err = (done.stdout, done.stderr) if input is None else (done.stdout.decode(), done.stderr.decode())
        if okay and done.returncode:
            raise RuntimeError(f"docker {' '.join(words)}: {err.strip()[-700:]}")
        return (out if done.returncode == 0 else out + err).strip()

    def image(self):
        """An image without a registry: one program, and the folders that an engine wants."""
        layer = io.BytesIO()
        with tarfile.open(fileobj=layer, mode="w") as tar:
            tar.add(self.peer, "peer")
            for name in ("etc", "proc", "sys", "dev", "tmp"):
                folder = tarfile.TarInfo(name)
                folder.type, folder.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(folder)
        self.docker("import", "--change", 'ENTRYPOINT ["/peer"]', "--change", 'CMD ["serve", "my-container", "80"]', "-", IMAGE, input=layer.getvalue())

    def run(self, name, *words):
        self.docker("run", "-d", "--name", name, *words, IMAGE, "serve", name, "80")
        return name

    def inspect(self, name, network):
        return json.loads(self.docker("inspect", name))[0]["NetworkSettings"]["Networks"][network]

    def address(self, name, network):
        return self.inspect(name, network)["IPAddress"]

    def ask(self, name, host, port=80, udp=False):
        """What a container (or this machine, or another one) is answered."""
        words = ["ask-udp" if udp else "ask", host, str(port)]
        if name in (None, "out"):
            prefix = ["ip", "netns", "exec", "out"] if name else []
            return subprocess.run([*prefix, self.peer, *words], capture_output=True, text=True, timeout=20).stdout.strip()
        return self.docker("exec", name, "/peer", *words, okay=False)

    def asks(self, *questions):
        """What several are answered, at once: most of the time is waiting for what must not come."""
        with concurrent.futures.ThreadPoolExecutor(len(questions)) as pool:
            return list(pool.map(lambda question: self.ask(*question), questions))

    # The plugin's calls, as an engine makes them.

    def call(self, method, body=None, raw=None, length=None):
        data = raw if raw is not None else json.dumps(body or {}).encode()
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(30)
                connection.connect(SOCKET)
                head = f"POST /{method} HTTP/1.1\r\nHost: plugin\r\nContent-Length: {length or len(data)}\r\nConnection: close\r\n\r\n"
                try:
                    connection.sendall(head.encode() + data)
                except BrokenPipeError:
                    pass  # It has answered before the end.
                answer = b""
                while piece := connection.recv(65536):
                    answer += piece
        except OSError as error:
            return 0, str(error)
        head, _, rest = answer.partition(b"\r\n\r\n")
        try:
            return int(head.split()[1]), json.loads(rest or b"{}")
        except (ValueError, IndexError):
            return 0, answer[:200]

    # What is there.

    def links(self):
        return sorted(link["ifname"] for link in json.loads(shell("ip -j link") or "[]") if link["ifname"].startswith(("skb-", "skd", "skp", "skv")))

    def elements(self):
        """The elements of our tables, as text."""
        found = []
        for item in json.loads(shell("nft -j list ruleset") or '{"nftables": []}')["nftables"]:
            for kind in ("set", "map"):
                if item.get(kind, {}).get("table", "").startswith("skeincni"):
                    found += [f"{item[kind]['table']} {item[kind]['name']}: {json.dumps(e)}" for e in item[kind].get("elem", [])]
        return found

    def journal(self):
        """The plugin's state, out of its file."""
        state = {"networks": {}, "endpoints": {}, "pools": {}}
        for line in pathlib.Path(self.folder, "skein/docker/journal").read_text().splitlines():
            item = json.loads(line.split(" ", 1)[1])
            if "network" in item:
                state["networks"][item["network"]["id"]] = item["network"]
            if "endpoint" in item:
                state["endpoints"][item["endpoint"]["id"]] = item["endpoint"]
            state["networks"].pop(item.get("noNetwork"), None)
            state["endpoints"].pop(item.get("noEndpoint"), None)
            if "pool" in item:
                state["pools"].setdefault(item["pool"], set())
            state["pools"].pop(item.get("noPool"), None)
            if "take" in item:
                state["pools"][item["from"]].add(item["take"])
            if "release" in item:
                state["pools"][item["to"]].discard(item["release"])
        return state
