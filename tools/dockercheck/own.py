"""Docker's words without Docker: `skein network`, `run`, `ps`, `stop` and `rm` on a machine with a running `skein up`."""
import concurrent.futures
import json
import os
import signal
import subprocess
import urllib.request

from .lab import PROGRAM, check, shell, until

# Python alone, as the first process of a container, would not end by SIGTERM.
SERVE = ["/bin/sh", "-c", "/usr/bin/python3 -m http.server 80 --bind 0.0.0.0 & trap 'kill $!; exit' TERM; wait"]
ASK = "import sys,urllib.request\ntry: print(urllib.request.urlopen(sys.argv[1],timeout=1).status)\nexcept OSError as e: print('no name' if 'resolution' in str(e) or 'not known' in str(e) else 'nothing')"


class Own:
    """The words, with the directories of this check."""

    def __init__(self, lab):
        self.lab = lab
        self.data = f"{lab.folder}/own"
        os.chmod(lab.folder, 0o711)  # The control plane is another user.

    def __call__(self, *words, status=0):
        where = {"exec": ["--data-dir", self.data], "logs": ["--data-dir", self.data]}.get(words[0])
        words = [*words[:1], *where, *words[1:]] if where else list(words)
        done = subprocess.run([PROGRAM, *words], capture_output=True, text=True, timeout=120)
        text = (done.stdout + done.stderr).strip()
        if status is not None and done.returncode != status:
            raise RuntimeError(f"skein {' '.join(words)}: exit status {done.returncode}: {text[-600:]}")
        self.status = done.returncode
        return text

    def up(self, *words):
        self("up", "-d", "--data-dir", self.data, *words)

    def down(self):
        self("down", "--data-dir", self.data)

    def serve(self, name, *words):
        return self("run", "-d", "--name", name, *words, "img", *SERVE)

    def ask(self, name, url):
        return self("exec", name, "--", "/usr/bin/python3", "-c", ASK, f"http://{url}/", status=None)

    def asks(self, *questions):
        with concurrent.futures.ThreadPoolExecutor(len(questions)) as pool:
            return list(pool.map(lambda question: self.ask(*question), questions))

    def knows(self, name, other):
        """Whether a container has a name for another (asking for one that it has not would wait for a DNS that is not here)."""
        return any(other in line.split()[1:] for line in self("exec", name, "--", "/bin/cat", "/etc/hosts").splitlines())

    def address(self, name, network):
        found = json.loads(self("network", "inspect", network))[0]["Containers"].values()
        return next(c["IPv4Address"].split("/")[0] for c in found if c["Name"] == name)


def own(lab):
    """Two on one network reach each other by address and name, one on another does not; everything is gone after removal."""
    skein = Own(lab)
    before = lab.links(), len(lab.elements())
    skein.up("--images", "host")
    try:
        words(lab, skein)
        ends(lab, skein)
    finally:
        skein.down()
    # What is left of bridges of Docker's plugin stays: it is another's.
    check("own: nothing is left of networks and containers after skein down", (lab.links(), len(lab.elements())) == before, (lab.links(), lab.elements()))


def words(lab, skein):
    created = skein("network", "create", "web")
    skein("network", "create", "--subnet", "10.55.0.0/24", "other")
    skein("network", "create", "--internal", "inside")
    ids = [skein.serve("a", "--network", "web"), skein.serve("b", "--network", "web", "-p", "8081:80", "--network-alias", "bee"),
           skein.serve("c", "--network", "other", "--ip", "10.55.0.77"), skein.serve("i", "--network", "inside"), skein.serve("m", "--network", "mesh")]
    check("own: network create and run -d print ids", all(len(i) == 32 for i in ids) and len(created) == 64, (created, ids))
    # Python takes a moment until it listens.
    check("own: two on one network reach each other by name", until(lambda: skein.asks(("a", "b"), ("b", "a")) == ["200", "200"]), skein.asks(("a", "b"), ("b", "a")))
    b, i = skein.address("b", "web"), skein.address("i", "inside")
    until(lambda: skein.ask("m", "127.0.0.1") == "200")
    answers = skein.asks(("a", b), ("a", "bee"), ("a", "10.55.0.77"), ("c", b), ("a", i), ("m", "10.55.0.77"))
    check("own: by address and by alias", answers[:2] == ["200", "200"], answers)
    check("own: one on another network does not, nor a pod of the mesh", answers[2:] == ["nothing"] * 4 and not skein.knows("a", "c"), answers)
    skein("network", "connect", "--alias", "sea", "other", "a")
    answers = skein.asks(("a", "c"), ("c", "a"), ("c", "sea"), ("a", "b"))
    check("own: network connect: a container that runs is on both networks", answers == ["200"] * 4, answers)
    skein("network", "disconnect", "other", "a")
    answers = skein.asks(("a", "10.55.0.77"), ("a", "b"))
    check("own: network disconnect: on the first alone", answers == ["nothing", "200"] and not skein.knows("a", "c"), answers)
    status = urllib.request.urlopen("http://127.0.0.1:8081/", timeout=5).status
    outside = shell(["ip", "netns", "exec", "out", "/usr/bin/python3", "-c", ASK, "http://192.0.2.2:8081/"]).strip()
    check("own: a published port answers on the machine and from outside", (status, outside) == (200, "200"), (status, outside))
    table = skein("ps").splitlines()
    check("own: ps has Docker's columns", table[0].split()[:3] == ["CONTAINER", "ID", "IMAGE"] and any("0.0.0.0:8081->80/tcp" in line for line in table), table)
    shown = json.loads(skein("network", "inspect", "other"))[0]
    check("own: network inspect shows subnet, address and name", shown["IPAM"]["Config"] == [{"Gateway": "10.55.0.1", "Subnet": "10.55.0.0/24"}]
          and [(c["Name"], c["IPv4Address"]) for c in shown["Containers"].values()] == [("c", "10.55.0.77/24")], shown)


def ends(lab, skein):
    refusals = [(("network", "create", "web"), 1, "already exists"), (("network", "rm", "web"), 1, "has active endpoints"), (("network", "rm", "nope"), 1, "No such network: nope"),
                (("network", "create", "--subnet", "10.55.0.0/16", "x"), 1, "overlaps"), (("run", "-d", "--network", "nope", "img", "x"), 125, "network nope not found"),
                (("run", "-d", "--name", "a", "img", "x"), 125, "is already in use"), (("run", "-d", "--network", "web", "-p", "8081:80", "img", "sleep", "1"), 125, "is already allocated"),
                (("run", "-d", "--network", "other", "--ip", "10.55.0.77", "img", "sleep", "1"), 125, "in use"), (("run", "img", "/no/such"), 127, "no such file"),
                (("rm", "a"), 1, "You cannot remove a running container"), (("run", "--nope", "img"), 125, "unknown flag")]
    answers = [(skein(*words, status=None), skein.status, words, status, text) for words, status, text in refusals]
    wrong = [(answer, code, words) for answer, code, words, status, text in answers if code != status or text not in answer]
    check("own: what cannot be is refused in Docker's words and with its exit statuses", not wrong, wrong)
    text = skein("run", "--rm", "-e", "A=b", "-w", "/tmp", "img", "/bin/sh", "-c", "echo $A; pwd; exit 3", status=3)
    check("own: run in the foreground shows the output and ends with the container's status", text.split() == ["b", "/tmp"], text)
    skein("network", "connect", "other", "b")
    skein("network", "disconnect", "web", "b")
    skein.down()
    check("own: skein down takes containers off their networks", not [e for e in lab.elements() if "skein-node" in e], lab.elements())
    skein.up("--images", "host")
    check("own: after skein down and up containers are on the networks that they were on last", until(lambda: skein.ask("c", "b") == "200") and not skein.knows("a", "b"),
          skein.ask("c", "b"))
    skein("network", "connect", "web", "b")
    supervisor = int(shell("pgrep -of 'skein up'").split()[0])
    os.kill(supervisor, signal.SIGKILL)
    until(lambda: not os.path.exists(f"/proc/{supervisor}"))
    skein.up("--images", "host")
    check("own: after kill -9 and a new start the networks and containers are there", until(lambda: skein.asks(("a", "b"), ("b", "a")) == ["200", "200"]), skein("ps"))
    skein("stop", "-t", "1", "a")
    table = skein("ps", "-a")
    check("own: stop ends a container and keeps it", "Exited" in next(line for line in table.splitlines() if line.endswith(" a")), table)
    skein("rm", "a")
    skein("rm", "-f", "b", "c", "i", "m")
    skein("network", "rm", "web", "other", "inside")
    left = [line.split()[1] for line in skein("network", "ls").splitlines()[1:]]
    check("own: networks are gone after network rm", left == ["bridge", "host", "mesh", "none"] and not [e for e in lab.elements() if "skein-node" in e], left)
