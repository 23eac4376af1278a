"""Ends at the wrong moment: of the plugin, of the engine, of both; and many at once."""
import concurrent.futures
import subprocess

from .engine import gone
from .lab import IMAGE, check, shell, until


def crashes(lab):
    docker = lab.docker
    docker("network", "create", "-d", "skein", "--ipam-driver", "skein", "lasting")
    lab.run("first", "--network", "lasting", "-p", "18070:80", "--restart", "always")
    lab.run("second", "--network", "lasting")
    lab.kill_plugin()
    check("plugin killed: containers reach each other, and their ports answer", lab.ask("second", "first").startswith("first ")
          and lab.ask("out", "192.0.2.2", 18070).startswith("first "), (lab.ask("second", "first"), lab.ask("out", "192.0.2.2", 18070)))
    lab.start_plugin()
    lab.run("third", "--network", "lasting")
    check("started anew: a new container reaches the old ones by name", lab.ask("third", "first").startswith("first ") and lab.ask("first", "third").startswith("third "),
          (lab.ask("third", "first"), lab.ask("first", "third")))
    before = {name: lab.address(name, "lasting") for name in ("first", "second", "third")}
    check("and nobody has an address twice", len(set(before.values())) == 3, before)
    # A container that ends while nobody is here: the engine gives up on the calls.
    lab.kill_plugin()
    removal = subprocess.Popen(["/usr/bin/docker", "-H", "unix:///run/docker.sock", "kill", "third"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: not shell(f"ip -j neigh get {before['third']} dev lo").startswith("[{") and len(lab.links()) < 4, 20)
    lab.start_plugin()
    try:
        removal.wait(60)
    except subprocess.TimeoutExpired:
        removal.kill()
    docker("rm", "-f", "third", okay=False)
    check("a container that ended meanwhile has left nothing", until(lambda: len(lab.journal()["endpoints"]) == 2 and len(lab.links()) == 3
                                                                   and not any(before["third"] in e for e in lab.elements()), 30),
          (lab.journal()["endpoints"], lab.links()))
    # The engine: ended in order, then killed.
    for kill in (False, True):
        lab.stop_daemon(kill)
        lab.start_daemon()
        word = "killed" if kill else "restarted"
        docker("start", "second")
        check(f"dockerd {word}: what restarts is there, on its network, by name", until(lambda: lab.ask("second", "first").startswith("first "), 20)
              and until(lambda: lab.ask("out", "192.0.2.2", 18070).startswith("first "), 10), (lab.ask("second", "first"), lab.ask("out", "192.0.2.2", 18070)))
        state = lab.journal()
        check(f"dockerd {word}: nothing is left over", len(state["endpoints"]) == 2 and len(lab.links()) == 3
              and all(len(addresses) == 3 for addresses in state["pools"].values()), (state, lab.links()))
    docker("rm", "-f", "first", "second")
    docker("network", "rm", "lasting")
    gone(lab, "crashes")


def parallel(lab):
    docker = lab.docker
    docker("network", "create", "-d", "skein", "--ipam-driver", "skein", "crowd")
    names = [f"crowd-{number}" for number in range(8)]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: lab.run(name, "--network", "crowd"), names))
        addresses = list(pool.map(lambda name: lab.address(name, "crowd"), names))
        answers = list(pool.map(lambda name: lab.ask(name, names[0]), names[1:]))
    check("eight containers at once have eight addresses, and reach the first by name", len(set(addresses)) == 8 and all(a.startswith("crowd-0 ") for a in answers),
          (addresses, answers))
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: docker("rm", "-f", name), names))
    docker("network", "rm", "crowd")
    gone(lab, "parallel")
