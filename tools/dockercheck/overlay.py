"""A network over several machines: an engine on one, the plugin with an engine's calls on the other, and somebody who is neither."""
import json
import subprocess
import sys
import threading
import time

from .engine import gone
from .lab import PROGRAM, SOCKET, check, shell, until

OPTIONS = {"skein.driver": "overlay", "skein.vni": "4242", "skein.peers": "192.0.2.1,192.0.2.2"}


# IP_MTU_DISCOVER with IP_PMTUDISC_DO; ECONNREFUSED is 111, EMSGSIZE 90.
WHOLE = """
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.IPPROTO_IP, 10, 2)
s.settimeout(30)
s.connect((sys.argv[1], 9))
for size, operation in ((1422, lambda: s.recv(1)), (1423, lambda: None)):
    try:
        s.send(bytes(size))
        operation()
    except OSError as error:
        print(error.errno)
"""


class Second:
    """The other machine: the namespace `out`, with a plugin that this script calls as an engine would."""

    def __init__(self, lab):
        self.lab = lab
        self.log = open(f"{lab.folder}/second.log", "a")
        self.plugin = subprocess.Popen(
            ["ip", "netns", "exec", "out", "sh", "-c", f'mount -t tmpfs tmpfs /run/docker && touch /run/docker/second && exec "{PROGRAM}" docker-plugin --data-dir "{lab.folder}/second"'],
            stdout=self.log, stderr=self.log)
        # Before it has a /run/docker of its own, the first plugin would answer there.
        inside = ["nsenter", "-t", str(self.plugin.pid), "-m", "test", "-e", "/run/docker/second"]
        if not until(lambda: subprocess.run(inside, capture_output=True).returncode == 0 and self.call("Plugin.Activate").get("Implements"), 60):
            raise RuntimeError("the second plugin does not start: " + lab.log("second"))

    def call(self, method, **body):
        done = subprocess.run(["nsenter", "-t", str(self.plugin.pid), "-n", "-m", "curl", "-sS", "--max-time", "30", "--unix-socket", SOCKET, "-d", "@-",
                               f"http://plugin/{method}"], input=json.dumps(body), capture_output=True, text=True, timeout=60)
        try:
            return json.loads(done.stdout)
        except ValueError:
            return {"Err": done.stdout + done.stderr}

    def end(self):
        self.plugin.terminate()
        self.plugin.wait(30)
        self.log.close()


def overlay(lab):
    words = [word for name, value in OPTIONS.items() for word in ("-o", f"{name}={value}")]
    lab.docker("network", "create", "-d", "skein", *words, "--subnet", "10.36.0.0/24", "--ip-range", "10.36.0.0/26", "wide")
    lab.run("near", "--network", "wide", "-p", "18100:80")
    near = lab.address("near", "wide")
    second = Second(lab)
    box = None
    try:
        answer = second.call("NetworkDriver.CreateNetwork", NetworkID="wide2", Options={"com.docker.network.generic": OPTIONS},
                             IPv4Data=[{"Pool": "10.36.0.0/24", "Gateway": "10.36.0.65/24"}], IPv6Data=[])
        check("overlay: the same network on another machine", answer == {}, answer)
        second.call("NetworkDriver.CreateEndpoint", NetworkID="wide2", EndpointID="far", Options={}, Interface={"Address": "10.36.0.66/24"})
        link = second.call("NetworkDriver.Join", NetworkID="wide2", EndpointID="far", SandboxKey="x", Options={}).get("InterfaceName", {}).get("SrcName")
        shell(f"ip netns add box2; ip -n out link set {link} netns box2 name eth0; ip -n box2 addr add 10.36.0.66/24 dev eth0; ip -n box2 link set eth0 up;"
              "ip -n box2 link set lo up; ip -n box2 route add default via 10.36.0.65")
        box = subprocess.Popen(["ip", "netns", "exec", "box2", lab.peer, "serve", "far", "80"], stdout=subprocess.PIPE)
        box.stdout.readline()

        def far(host, port=80):
            return subprocess.run(["ip", "netns", "exec", "box2", lab.peer, "ask", host, str(port)], capture_output=True, text=True, timeout=30).stdout.strip()
        check("overlay: a container reaches one on the other machine", until(lambda: lab.ask("near", "10.36.0.66") == f"far {near}", 30), lab.ask("near", "10.36.0.66"))
        check("overlay: and the other way round", until(lambda: far(near) == "near 10.36.0.66", 30), far(near))
        check("overlay: this machine reaches the container on the other one", until(lambda: lab.ask(None, "10.36.0.66").startswith("far "), 30), lab.ask(None, "10.36.0.66"))
        check("overlay: the way out is each machine's own", lab.ask("near", "192.0.2.1") == "outside 192.0.2.2" and far("192.0.2.1").startswith("outside "),
              (lab.ask("near", "192.0.2.1"), far("192.0.2.1")))
        check("overlay: a published port answers there", far("192.0.2.2", 18100).startswith("near "), far("192.0.2.2", 18100))
        mtu = [json.loads(shell(f"ip -n {name} -j link show eth0"))[0]["mtu"] for name in ["box2"]]
        check("N-14 packets fit into the tunnel", mtu == [1450], mtu)
        # Where no program has the port the packet is answered: it has come.
        whole = subprocess.run(["ip", "netns", "exec", "box2", sys.executable, "-c", WHOLE, near], capture_output=True, text=True, timeout=60)
        check("N-14 the largest one passes uncut, and no larger one is sent", whole.stdout.split() == ["111", "90"], whole.stdout + whole.stderr)
        lab.kill_plugin()
        lab.start_plugin()
        check("overlay: a plugin that was killed finds it as it was", until(lambda: far(near) == "near 10.36.0.66", 30), far(near))
        answer = [second.call("NetworkDriver.Leave", NetworkID="wide2", EndpointID="far"), second.call("NetworkDriver.DeleteEndpoint", NetworkID="wide2", EndpointID="far"),
                  second.call("NetworkDriver.DeleteNetwork", NetworkID="wide2")]
        left = [name for name in shell("ip -n out -o link").splitlines() if "skv" in name or "skb-" in name]
        check("overlay: nothing is left on the other machine", answer == [{}] * 3 and not left, (answer, left))
    finally:
        if box:
            box.terminate()
            box.wait()
        shell("ip netns del box2")
        second.end()

    def forge(local):
        shell("ip -n out link del forged 2>/dev/null; ip -n out addr add 192.0.2.9/24 dev eth0 2>/dev/null;"
              f"ip -n out link add forged type vxlan id 4242 dstport 4789 remote 192.0.2.2 local {local}; ip -n out addr add 10.36.0.99/24 dev forged; ip -n out link set forged up")
        return lab.ask("out", near)
    # A machine of the network says first that the tunnel is open at all.
    answers = [forge("192.0.2.1"), forge("192.0.2.9")]
    dropped = [rule for rule in shell("nft list table inet skeincni_tunnels").splitlines() if "drop" in rule]
    check("ATK-33 overlay: frames of a machine that is none of the network's are dropped, and counted", answers == ["near 10.36.0.99", "timeout"]
          and any("packets 0 " not in rule for rule in dropped), (answers, dropped))
    shell("ip -n out link del forged; ip -n out addr del 192.0.2.9/24 dev eth0")
    text = lab.docker("network", "create", "-d", "skein", *words, "--subnet", "10.37.0.0/24", "never", okay=False)
    check("overlay: a number is one network's", lab.status != 0 and "skein.vni" in text, text)
    lab.docker("rm", "-f", "near")
    lab.docker("network", "rm", "wide")
    gone(lab, "overlay")
    killed(lab)


def killed(lab):
    """The plugin is killed while it makes such a network, a little later each time."""
    problems, made = [], 0
    for attempt in range(6):
        request = {"NetworkID": f"k{attempt}", "Options": {"com.docker.network.generic": OPTIONS}, "IPv4Data": [{"Pool": "10.38.0.0/24", "Gateway": "10.38.0.1/24"}], "IPv6Data": []}
        caller = threading.Thread(target=lab.call, args=("NetworkDriver.CreateNetwork", request))
        caller.start()
        time.sleep(0.005 * 2 ** attempt)
        lab.kill_plugin()
        caller.join(60)
        lab.start_plugin()
        is_known = bool(lab.journal()["networks"])
        made += is_known
        there = sorted(link[:3] for link in lab.links())
        if there != (["skb", "skv"] if is_known else []) or bool([e for e in lab.elements() if "skeincni_tunnels" in e]) != is_known:
            problems.append((attempt, is_known, lab.links(), lab.elements()))
        lab.call("NetworkDriver.DeleteNetwork", {"NetworkID": f"k{attempt}"})
    check(f"ATK-41 overlay: a plugin that is killed while it makes a network has made all of it or nothing ({made} of 6 were made)", not problems, problems)
    gone(lab, "killed")
