"""The commands that people type, with what they must lead to."""
import json
import re
import subprocess

from .lab import IMAGE, check, note, shell, until


def words(lab):
    """The commands of Docker's own pages, word for word."""
    docker = lab.docker
    docker("network", "create", "--driver", "skein", "my-network")
    docker("run", "-d", "--name", "my-container", "--network", "my-network", IMAGE)
    lab.run("second", "--network", "my-network")
    docker("network", "create", "--driver", "skein", "--ipam-driver", "skein", "other-network")
    lab.run("third", "--network", "other-network")
    address = {name: lab.address(name, network) for name, network in
               [("my-container", "my-network"), ("second", "my-network"), ("third", "other-network")]}
    answers = lab.asks(("second", address["my-container"]), ("second", "my-container"), ("my-container", "second"))
    check("two on one network reach each other by address", answers[0] == f"my-container {address['second']}", (answers, address))
    check("and by name", answers[1:] == [f"my-container {address['second']}", f"second {address['my-container']}"], answers)
    answers = lab.asks(("third", address["my-container"]), ("my-container", address["third"]), ("third", "my-container"))
    check("one on another network does not", answers == ["timeout", "timeout", "no name"], answers)
    answers = lab.asks(("second", "192.0.2.1"))
    check("the way out has an address of the machine", answers == ["outside 192.0.2.2"], answers)
    docker("network", "connect", "my-network", "third")
    answers = lab.asks(("third", "my-container"), ("third", address["second"]), ("my-container", "third"))
    check("network connect: then it does, by name and by address", [answer.split(" ")[0] for answer in answers] == ["my-container", "second", "third"], answers)
    shown = json.loads(docker("network", "inspect", "my-network"))[0]
    check("network inspect names driver and containers", shown["Driver"] == "skein" and {c["Name"] for c in shown["Containers"].values()} == {"my-container", "second", "third"},
          shown)
    docker("network", "disconnect", "my-network", "third")
    answers = lab.asks(("third", address["my-container"]))
    check("network disconnect: then it does not any more", answers == ["timeout"], answers)
    docker("rm", "-f", "my-container", "second", "third")
    docker("network", "rm", "my-network", "other-network")
    gone(lab, "words")


def options(lab):
    """Options of `docker network create`, by Docker's address management and by ours."""
    docker = lab.docker
    for name, ipam, net in [("theirs", "default", "10.31.0"), ("ours", "skein", "10.32.0")]:
        docker("network", "create", "-d", "skein", "--ipam-driver", ipam, "--subnet", f"{net}.0/24", "--gateway", f"{net}.254", "--ip-range", f"{net}.64/28",
               "--aux-address", f"printer={net}.65", "-o", "com.docker.network.driver.mtu=1400", "-o", "com.docker.network.bridge.name=br-" + name, name)
        lab.run(name + "-1", "--network", name, "--ip", f"{net}.7")
        lab.run(name + "-2", "--network", name, "--network-alias", "alias")
        second = lab.address(name + "-2", name)
        number = int(second.rsplit(".", 1)[1])
        check(f"{name}: --ip, --ip-range, --aux-address and --gateway hold", lab.address(name + "-1", name) == f"{net}.7" and 64 <= number < 80 and number != 65
              and lab.inspect(name + "-1", name)["Gateway"] == f"{net}.254", (lab.inspect(name + "-1", name), second))
        check(f"{name}: both reach each other, by an alias too", lab.ask(name + "-1", "alias") == f"{name}-2 {net}.7", lab.ask(name + "-1", "alias"))
        refused = docker("run", "-d", "--name", "fourth", "--network", name, "--ip", f"{net}.7", IMAGE, okay=False)
        check(f"{name}: an address twice is refused", lab.status != 0 and "in use" in refused, refused)
        docker("rm", "-f", "fourth", okay=False)
    mtu = [link["mtu"] for link in json.loads(shell("ip -j link")) if link["ifname"] == "br-ours" or link.get("master") == "br-ours"]
    check("the MTU is that of bridge and links", mtu == [1400] * 3, mtu)
    docker("rm", "-f", "theirs-1", "theirs-2", "ours-1", "ours-2")
    docker("network", "rm", "theirs", "ours")
    docker("network", "create", "-d", "skein", "--internal", "closed")
    docker("network", "create", "-d", "skein", "-o", "com.docker.network.bridge.enable_icc=false", "silent")
    docker("network", "create", "-d", "skein", "--ipv6", "--subnet", "10.33.0.0/24", "--subnet", "fd00:33::/64", "double")
    for network in ("closed", "silent", "double"):
        lab.run(network + "-1", "--network", network)
        lab.run(network + "-2", "--network", network)
    address = {name: lab.address(name, name[:-2]) for name in ("closed-1", "closed-2", "silent-2", "double-2")}
    check("internal: containers reach each other and nothing else", lab.ask("closed-1", "closed-2") == f"closed-2 {address['closed-1']}"
          and lab.ask("closed-1", "192.0.2.1") not in ("", "outside 192.0.2.2"), (lab.ask("closed-1", "closed-2"), lab.ask("closed-1", "192.0.2.1")))
    pid = docker("inspect", "-f", "{{.State.Pid}}", "closed-1")
    shell(f"nsenter -t {pid} -n ip route add default dev eth0; nsenter -t {pid} -n ip route replace default via {address['closed-2'].rsplit('.', 1)[0]}.1")
    check("internal: also not by a route of its own", lab.ask("closed-1", "192.0.2.1") == "timeout", lab.ask("closed-1", "192.0.2.1"))
    check("enable_icc=false: containers do not reach each other, and reach the world", lab.ask("silent-1", address["silent-2"]) != f"silent-2 {lab.address('silent-1', 'silent')}"
          and lab.ask("silent-1", "192.0.2.1") == "outside 192.0.2.2", (lab.ask("silent-1", address["silent-2"]), lab.ask("silent-1", "192.0.2.1")))
    six = {name: lab.inspect(name, "double")["GlobalIPv6Address"] for name in ("double-1", "double-2")}
    check("--ipv6: both families", lab.ask("double-1", six["double-2"]) == f"double-2 {six['double-1']}" and lab.ask("double-1", address["double-2"]).startswith("double-2 "),
          (six, lab.ask("double-1", six["double-2"])))
    docker("rm", "-f", *(f"{network}-{number}" for network in ("closed", "silent", "double") for number in (1, 2)))
    docker("network", "rm", "closed", "silent", "double")
    for words, expected in [(["-o", "com.example.colour=red"], "com.example.colour"), (["-o", "skein.driver=overlay"], "skein.vni"), (["-o", "skein.driver=macvlan"], "parent"),
                            (["--subnet", "192.0.2.0/28"], "up0"), (["--ipam-driver", "skein", "--ipam-opt", "speed=high", "--subnet", "10.34.0.0/24"], "speed"),
                            (["-o", "com.docker.network.driver.mtu=much"], "mtu")]:
        text = docker("network", "create", "-d", "skein", *words, "never", okay=False)
        check(f"network create {' '.join(words)}: refused with the reason", lab.status != 0 and expected in text and text.count("\n") == 0, text)
    shell("ip link add parent0 type veth peer name parent1; ip link set parent0 up; ip link set parent1 up")
    docker("network", "create", "-d", "skein", "-o", "skein.driver=macvlan", "-o", "parent=parent0", "--subnet", "10.35.0.0/24", "flat")
    heard = f"{lab.folder}/links"
    with open(heard, "w") as file:
        monitor = subprocess.Popen(["ip", "monitor", "link"], stdout=file)
    until(lambda: shell("ip link set parent1 alias heard") == "" and "parent1" in shell(f"cat {heard}"), 30)
    lab.run("flat-1", "--network", "flat")
    lab.run("flat-2", "--network", "flat")
    check("macvlan: containers reach each other by name", lab.ask("flat-1", "flat-2") == f"flat-2 {lab.address('flat-1', 'flat')}", lab.ask("flat-1", "flat-2"))
    monitor.kill()
    monitor.wait()
    groups = re.findall(r"skp[0-9a-f]{12}@.* group (\w+)", shell(f"cat {heard}"))
    check("macvlan: a link is in a group of its own until it has its alias", len(set(groups)) == 2 and groups[0].isdigit() and groups[-1] == "default", groups)
    # Such a link that a killed plugin has left, and one of somebody else.
    lab.kill_plugin()
    shell(f"ip link add link parent0 name skpffffffffffff group {groups[0]} type macvlan mode bridge; ip link add link parent0 name skpeeeeeeeeeeee type macvlan mode bridge")
    before = lab.links()
    lab.start_plugin()
    check("ATK-41 macvlan: the next plugin takes a link away that was not named yet, and no other one", before == ["skpeeeeeeeeeeee", "skpffffffffffff"]
          and until(lambda: lab.links() == ["skpeeeeeeeeeeee"], 30) and lab.ask("flat-1", "flat-2").startswith("flat-2 "), (before, lab.links()))
    shell("ip link del skpeeeeeeeeeeee")
    docker("rm", "-f", "flat-1", "flat-2")
    docker("network", "rm", "flat")
    shell("ip link del parent0")
    gone(lab, "options")


def ports(lab):
    docker = lab.docker
    # As dockerd does where it has to switch on forwarding itself: everything below works nevertheless.
    shell("iptables -P FORWARD DROP")
    docker("network", "create", "-d", "skein", "inner")
    docker("network", "create", "-d", "skein", "foreign")
    docker("network", "create", "docker-own")
    lab.run("web", "--network", "inner", "-p", "18080:80", "-p", "127.0.0.1:18081:80", "-p", "18082:80/udp", "-p", "18090-18093:80")
    lab.run("near", "--network", "inner")
    lab.run("far", "--network", "foreign", "-p", "18083:80")
    lab.run("own", "--network", "docker-own", "-p", "18084:80")
    address = {"web": lab.address("web", "inner"), "near": lab.address("near", "inner"), "far": lab.address("far", "foreign"), "own": lab.address("own", "docker-own")}
    for name, asker, host, port, udp in [
            ("at the machine's address, from another machine", "out", "192.0.2.2", 18080, False), ("at the machine's address, from itself", None, "192.0.2.2", 18080, False),
            ("at its loopback", None, "127.0.0.1", 18080, False), ("at the loopback alone", None, "127.0.0.1", 18081, False), ("by UDP", "out", "192.0.2.2", 18082, True),
            ("from its own network", "near", "192.0.2.2", 18080, False), ("from the container itself", "web", "192.0.2.2", 18080, False),
            ("from another network", "far", "192.0.2.2", 18080, False), ("from a network of Docker's own", "own", "192.0.2.2", 18080, False),
            ("out of a range", "out", "192.0.2.2", 18090, False)]:
        answer = lab.ask(asker, host, port, udp=udp)
        check(f"a published port answers {name}", answer.startswith("web "), answer)
    answers = lab.asks(("out", "192.0.2.2", 18081), ("out", "192.0.2.2", 18080), ("web", "192.0.2.2", 18084))
    check("what is published at the loopback is not at other addresses", answers[0] in ("refused", "timeout"), answers)
    check("a client's address is seen", answers[1] == "web 192.0.2.1", answers)
    check("published ports of Docker's own networks answer to ours", answers[2].startswith("own "), answers)
    answers = lab.asks(("own", address["web"]), ("web", address["own"]))
    check("else Docker's own networks are apart, both ways", answers == ["timeout", "timeout"], answers)
    for port, who in [(18080, "a container"), (18084, "a program")]:
        text = docker("run", "-d", "--name", "late", "--network", "inner", "-p", f"{port}:80", IMAGE, okay=False)
        check(f"a port that {who} has is refused", lab.status != 0 and "already allocated" in text, text)
        docker("rm", "-f", "late", okay=False)
    docker("stop", "-t", "1", "web")
    answers = lab.asks((None, "127.0.0.1", 18080))
    check("a container that was stopped has no port", answers == ["refused"], answers)
    docker("start", "web")
    check("and started again it has", until(lambda: lab.ask(None, "127.0.0.1", 18080).startswith("web "), 10))
    check("what dockerd drops is what it dropped before: our rules stand in DOCKER-USER", "DROP" in shell("iptables -S FORWARD").splitlines()[0]
          and "skein-docker" in shell("iptables -S DOCKER-USER"), shell("iptables -S FORWARD; iptables -S DOCKER-USER"))
    docker("rm", "-f", "web", "near", "far", "own")
    docker("network", "rm", "inner", "foreign", "docker-own")
    check("and are gone with the networks", "skein-docker" not in shell("iptables -S DOCKER-USER"), shell("iptables -S DOCKER-USER"))
    shell("iptables -P FORWARD ACCEPT")
    gone(lab, "ports")


def calls(lab):
    """What no engine sends."""
    check("an unknown method is 404", lab.call("NetworkDriver.Dance")[0] == 404, lab.call("NetworkDriver.Dance"))
    answers = [lab.call("NetworkDriver.CreateNetwork", raw=raw) for raw in (b"{", b"[]", b'{"NetworkID":7}', b'{"NetworkID":"../x"}', b"\xff\x00", b"[" * 5000)]
    check("bad bodies are 400, one sentence each", all(status == 400 and body.get("Err") for status, body in answers), answers)
    status, body = lab.call("NetworkDriver.CreateNetwork", raw=b"", length=2 << 20)
    check("a body over the limit is 413", status == 413, (status, body))
    check("and the plugin goes on", lab.call("Plugin.Activate")[1] == {"Implements": ["NetworkDriver", "IpamDriver"]}, lab.call("Plugin.Activate"))
    memory = {line.split(":")[0]: line.split()[1] for line in open(f"/proc/{lab.plugin.pid}/status") if line.startswith(("RssAnon", "VmRSS"))}
    note(f"the plugin's memory: {int(memory['RssAnon']) / 1024:.1f} MiB of its own")


def gone(lab, part):
    """Nothing is left of a part: links, rules, addresses, state."""
    state = lab.journal()
    check(f"{part}: links, rules, addresses and state are gone after removal", until(lambda: not lab.links() and not lab.elements() and not any(lab.journal().values()), 10),
          (lab.links(), lab.elements(), state))
