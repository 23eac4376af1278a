"""The machine on which cni-check works: namespaces of its own, so that the host's network is never touched."""
import ctypes
import json
import os
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PROGRAM = os.environ.get("SKEIN_CNI", str(ROOT / ".build/release/skein-cni"))
PLUGINS = "/usr/lib/cni"
results = []


def check(name, passed, detail=""):
    results.append(bool(passed))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail != '' and not passed else ''}", flush=True)
    return bool(passed)


def note(text):
    print(f"     {text}", flush=True)


def enter(script):
    """Starts the script again inside of namespaces of its own, and ends with its status."""
    if os.environ.get("SKEIN_CNI_CHECK") == "inside":
        return
    if os.geteuid() != 0:
        sys.exit("cni-check: run as root (sudo make cni-check): it makes namespaces")
    environment = {**os.environ, "SKEIN_CNI_CHECK": "inside"}
    os.execvpe("unshare", ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--propagation", "private", "--mount-proc",
                           # The first process there: it takes in the processes that a DEL leaves behind to wait for the kernel.
                           "sh", "-c", '"$0" "$@"; exit $?', sys.executable, script, *sys.argv[1:]], environment)


def shell(command, **more):
    done = subprocess.run(command, shell=isinstance(command, str), capture_output=True, text=True, timeout=60, **more)
    return done.stdout + done.stderr


class Lab:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="skein-cni-")
        for place in ["/run", "/etc/cni/net.d", "/var/lib/cni"]:
            os.makedirs(place, exist_ok=True)
            subprocess.run(["mount", "-t", "tmpfs", "tmpfs", place], check=True)
        os.makedirs("/run/netns")
        # Writable settings of this network namespace, whatever the outer /proc allows.
        shell("mount -o remount,rw /proc/sys 2>/dev/null")
        shell("ip link set lo up")
        self.peer = f"{self.folder}/peer"
        subprocess.run(["gcc", "-O1", "-static", "-o", self.peer, str(ROOT / "tools/cnicheck/peer.c")], check=True)
        self.plugins = f"{self.folder}/plugins"
        shutil.copytree(PLUGINS, self.plugins, symlinks=False)
        shutil.copy(PROGRAM, f"{self.plugins}/skein-cni")
        self.program = f"{self.plugins}/skein-cni"
        self.servers = []
        self.namespaces = []
        self.data = f"{self.folder}/ipam"

    def end(self):
        for server in self.servers:
            server.kill()
            server.wait()
        for name in list(self.namespaces):
            self.drop(name)
        shutil.rmtree(self.folder, ignore_errors=True)

    # Namespaces and programs in them.

    def namespace(self, name):
        subprocess.run(["ip", "netns", "add", name], check=True)
        shell(f"ip -n {name} link set lo up")
        self.namespaces.append(name)
        return name

    def drop(self, name):
        shell(f"ip netns del {name}")
        self.namespaces.remove(name)

    def serve(self, namespace, port, name=None):
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        server = subprocess.Popen([*prefix, self.peer, "serve", name or namespace, str(port)], stdout=subprocess.PIPE)
        server.stdout.readline()
        self.servers.append(server)
        return server

    def ask(self, namespace, address, port, udp=False):
        prefix = ["ip", "netns", "exec", namespace] if namespace else []
        done = subprocess.run([*prefix, self.peer, "ask-udp" if udp else "ask", address, str(port)], capture_output=True, text=True, timeout=20)
        return done.stdout.strip()

    # The plugin.

    def environment(self, verb, container, namespace, interface="eth0", **more):
        path = namespace if not namespace or namespace.startswith("/") else f"/run/netns/{namespace}"
        return {"PATH": os.environ["PATH"], "CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": path, "CNI_IFNAME": interface,
                "CNI_PATH": self.plugins, **more}

    def call(self, verb, configuration, container="c1", namespace="", interface="eth0", program=None, **more):
        text = configuration if isinstance(configuration, str) else json.dumps(configuration)
        done = subprocess.run([program or self.program], input=text, env=self.environment(verb, container, namespace, interface, **more),
                              capture_output=True, text=True, timeout=60)
        try:
            answer = json.loads(done.stdout) if done.stdout.strip() else {}
        except json.JSONDecodeError:
            answer = {"raw": done.stdout}
        return done.returncode, answer

    def add(self, configuration, container, namespace, **more):
        status, answer = self.call("ADD", configuration, container, namespace, **more)
        if status:
            raise RuntimeError(f"ADD {container}: {answer}")
        return answer

    # What is there.

    def bridge(self, name="net1", subnet="10.211.0.0/24", **more):
        return {"cniVersion": "1.0.0", "name": name, "type": "skein-cni", "bridge": f"br-{name}", "isGateway": True,
                "ipam": {"type": "host-local", "dataDir": self.data, "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}]}, **more}

    def routed(self, name="net1", subnet="10.211.0.0/24", **more):
        return {"cniVersion": "1.0.0", "name": name, "type": "skein-cni", "driver": "routed",
                "ipam": {"type": "skein", "dataDir": self.data, "subnet": subnet}, **more}

    def held(self, network="net1"):
        """Addresses by state, straight out of the files: {address: state}."""
        found = {}
        folder = pathlib.Path(self.data, network)
        for path in folder.glob("skein-*") if folder.exists() else []:
            base, length = path.name[6:].rsplit("-", 1)
            is_v6 = ":" in base
            count = 1 << ((128 if is_v6 else 32) - int(length))
            data = path.read_bytes()
            start = 64 + max(8, count // 2) * 32
            import ipaddress
            first = int(ipaddress.ip_address(base))
            for number in range(count):
                slot = data[start + number * 48:start + number * 48 + 48]
                if len(slot) == 48 and any(slot):
                    state = struct.unpack_from("<I", slot, 24)[0]
                    found[str(ipaddress.ip_address(first + number))] = (state, slot[28:44].rstrip(b"\0").decode())
        return found

    def taken(self, network="net1"):
        return {address: who for address, (state, who) in self.held(network).items() if state == 1}

    def links(self):
        """Links of CNI containers: `skc` and eleven digits. Those of the mesh's own pods are `sk` and ten, of which the first may be a c."""
        return [link["ifname"] for link in json.loads(shell("ip -j link") or "[]") if re.fullmatch("skc[0-9a-f]{11}", link["ifname"])]

    def addresses(self, namespace, interface="eth0"):
        try:
            value = json.loads(shell(f"ip -j -n {namespace} addr show {interface} 2>/dev/null") or "[]")
        except json.JSONDecodeError:
            return []
        return [a["local"] for link in value for a in link.get("addr_info", []) if not a["local"].startswith("fe80")]

    def elements(self):
        """The elements of our tables that belong to a container, as text."""
        value = json.loads(shell("nft -j list ruleset"))
        found = []
        for item in value["nftables"]:
            for kind in ("set", "map"):
                if item.get(kind, {}).get("table", "").startswith("skeincni") and item[kind]["name"] != "loopback":
                    found += [f"{item[kind]['name']}: {json.dumps(e)}" for e in item[kind].get("elem", [])]
        return found


libc = ctypes.CDLL(None, use_errno=True)
