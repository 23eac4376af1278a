"""Direct calls of the plugin, as `cnitool` makes them."""
import json
import os
import re

from .lab import check, shell

# Whether the kernel has everything: what it refuses is then a failure.
WHOLE = os.environ.get("SKEIN_WHOLE_KERNEL") == "1"


def outside(lab):
    """A machine beyond the host's uplink, and a server on it."""
    if "out" in lab.namespaces:
        return
    lab.namespace("out")
    shell("ip link add up0 type veth peer name eth0 netns out; ip addr add 192.0.2.2/24 dev up0; ip link set up0 up;"
          "ip -n out addr add 192.0.2.1/24 dev eth0; ip -n out link set eth0 up; ip route add default via 192.0.2.1")
    lab.serve("out", 80)


def drop_in(lab):
    """The reference plugins' conflist, one exec instead of three."""
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}, {"hostPort": 5353, "containerPort": 80, "protocol": "udp"},
             {"hostPort": 8081, "containerPort": 80, "protocol": "tcp", "hostIP": "127.0.0.1"}]
    plain = lab.bridge(ipMasq=True, hairpinMode=True, capabilities={"portMappings": True})
    plain["ipam"]["ranges"].append([{"subnet": "fd00:211::/64"}])
    plain["ipam"]["routes"].append({"dst": "::/0"})
    mapped = {**plain, "runtimeConfig": {"portMappings": ports}}
    outside(lab)
    for name in ("a", "b"):
        lab.namespace(name)
    first = lab.add(mapped, "c1", "a")
    second = lab.add(plain, "c2", "b")
    address = [ip["address"].split("/")[0] for ip in first["ips"]]
    other = [ip["address"].split("/")[0] for ip in second["ips"]]
    check("bridge: result, interface and address file agree",
          lab.addresses("a") == address and set(lab.taken()) == {*address, *other}
          and [i["name"] for i in first["interfaces"]][0::2] == ["br-net1", "eth0"] and first["interfaces"][2]["sandbox"] == "/run/netns/a",
          (address, lab.addresses("a"), lab.taken()))
    status, answer = lab.call("ADD", mapped, "c1", "a")
    check("N-9 a second ADD of the same container and interface is an error, and the first stays",
          status == 1 and answer["code"] == 4 and lab.addresses("a") == address, answer)
    lab.serve("a", 80)
    lab.serve("b", 80)
    check("containers reach each other, both families", [lab.ask("b", x, 80) for x in address] == [f"a {x}" for x in other])
    check("ipMasq: the way out has an address of the host", lab.ask("a", "192.0.2.1", 80) == "out 192.0.2.2", lab.ask("a", "192.0.2.1", 80))
    answers = {"from outside": lab.ask("out", "192.0.2.2", 8080), "from the host": lab.ask("", "192.0.2.2", 8080),
               "loopback": lab.ask("", "127.0.0.1", 8080), "from the neighbour": lab.ask("b", "192.0.2.2", 8080),
               "N-13 from itself": lab.ask("a", "192.0.2.2", 8080), "datagrams": lab.ask("out", "192.0.2.2", 5353, udp=True),
               "only on loopback": lab.ask("", "127.0.0.1", 8081)}
    check("published ports answer from everywhere", all(x.startswith("a ") for x in answers.values()), answers)
    check("a port that is published on one address is on no other", lab.ask("out", "192.0.2.2", 8081) == "refused", lab.ask("out", "192.0.2.2", 8081))
    # A service of the host on its loopback stays the host's own, although loopback ports are routed (CVE-2020-8558).
    lab.serve("", 9090, "host")
    shell("ip -n b route add 127.0.0.2/32 via 10.211.0.1 2>/dev/null; ip netns exec b sysctl -qw net.ipv4.conf.all.route_localnet=1")
    check("a container does not reach the host's loopback", not lab.ask("b", "127.0.0.2", 9090).startswith("host"))
    status, answer = lab.call("ADD", {**mapped, "name": "net9", "bridge": "br-net9", "ipam": {**plain["ipam"], "ranges": [[{"subnet": "10.219.0.0/24"}]]}},
                              "c9", lab.namespace("n"))
    check("a port that is taken is an error 11, and nothing is left behind",
          status == 1 and answer["code"] == 11 and not lab.addresses("n") and not lab.taken("net9")
          and "br-net9" not in shell("ls /sys/class/net").split(), answer)
    listed = shell("nft list ruleset")
    check("rules name the object that they come from", 'comment "skein-cni net1 c1/eth0"' in listed, listed[:500])
    check("CHECK passes", lab.call("CHECK", {**mapped, "prevResult": first}, "c1", "a")[0] == 0, lab.call("CHECK", {**mapped, "prevResult": first}, "c1", "a"))
    shell("nft delete element inet skeincni_ports any4 '{ tcp . 8080 }'; ip -n a addr del %s/24 dev eth0" % address[0])
    status, answer = lab.call("CHECK", {**mapped, "prevResult": first}, "c1", "a")
    check("N-11 CHECK fails when an address and a port are gone", status == 1 and "address" in answer["msg"] and "port" in answer["msg"], answer)
    before = lab.links()
    status, answer = lab.call("DEL", {**mapped, "prevResult": first}, "c1", "a")
    after = lab.links()
    check("DEL: the link is gone at once after exit", status == 0 and len(before) == 2 and len(after) == 1, (answer, before, after))
    check("DEL: addresses and rules are gone", set(lab.taken()) == set(other) and not [e for e in lab.elements() if "c1/" in e],
          (lab.taken(), lab.elements()))
    check("N-9 DEL again, without a namespace, and of what never was",
          [lab.call("DEL", plain, c, n)[0] for c, n in (("c1", "a"), ("c2", ""), ("c2", ""), ("c77", "nowhere"))] == [0, 0, 0, 0])
    check("nothing is left", not lab.links() and not lab.taken() and not lab.elements(), (lab.links(), lab.taken(), lab.elements()))
    for name in ("a", "b", "n"):
        lab.drop(name)


def versions(lab):
    """Results in every version, and a chain with the reference plugins."""
    lab.namespace("v")
    for version in ("0.3.1", "0.4.0", "1.0.0", "1.1.0"):
        configuration = {**lab.bridge("vers", "10.212.0.0/24"), "cniVersion": version}
        answer = lab.add(configuration, "v", "v")
        check(f"result of {version}", answer["cniVersion"] == version and ("version" in answer["ips"][0]) == (version < "1.0.0")
              and ("mtu" in answer["interfaces"][2]) == (version == "1.1.0"), answer)
        lab.call("DEL", configuration, "v", "v")
    # The reference portmap works on our result, and ours on that of the reference bridge.
    ours = lab.bridge("vers", "10.212.0.0/24")
    answer = lab.add(ours, "v", "v")
    ports = {"runtimeConfig": {"portMappings": [{"hostPort": 8085, "containerPort": 80, "protocol": "tcp"}]}, "capabilities": {"portMappings": True}}
    theirs = {"cniVersion": "1.0.0", "name": "vers", "type": "portmap", **ports, "prevResult": answer}
    server = lab.serve("v", 80)
    status, answer = lab.call("ADD", theirs, "v", "v", program=f"{lab.plugins}/portmap")
    check("the reference portmap works on our result", status == 0 and lab.ask("", "10.212.0.1", 8085).startswith("v "), answer)
    lab.call("DEL", theirs, "v", "v", program=f"{lab.plugins}/portmap")
    lab.call("DEL", ours, "v", "v")
    server.kill()
    reference = {**ours, "type": "bridge", "bridge": "br-ref", "name": "ref", "ipam": {**ours["ipam"], "ranges": [[{"subnet": "10.213.0.0/24"}]]}}
    answer = lab.add(reference, "r", "v", program=f"{lab.plugins}/bridge")
    chained = {"cniVersion": "1.0.0", "name": "ref", "type": "skein-cni", **ports, "prevResult": answer}
    server = lab.serve("v", 80)
    status, passed = lab.call("ADD", chained, "r", "v")
    check("ours as portmap behind the reference bridge passes prevResult on", status == 0 and passed["ips"] == answer["ips"]
          and lab.ask("", "10.213.0.1", 8085).startswith("v ") and lab.ask("", "127.0.0.1", 8085).startswith("v "),
          (passed, lab.ask("", "10.213.0.1", 8085), lab.ask("", "127.0.0.1", 8085)))
    check("CHECK of the chain", lab.call("CHECK", chained, "r", "v")[0] == 0, lab.call("CHECK", chained, "r", "v"))
    del chained["prevResult"]
    check("DEL of the chain without prevResult", lab.call("DEL", chained, "r", "v")[0] == 0 and not lab.elements(), lab.elements())
    # A container that the reference plugin has made, after `type` was changed.
    migrated = {**reference, "type": "skein-cni"}
    third = lab.add(migrated, "r2", lab.namespace("v2"))
    check("the address of a container of host-local is not given again", third["ips"][0]["address"] != answer["ips"][0]["address"], third)
    check("DEL of a container that the reference bridge has made", lab.call("DEL", migrated, "r", "v")[0] == 0 and not lab.addresses("v")
          and not os.path.exists(f"{lab.data}/ref/10.213.0.2"), (lab.addresses("v"), os.listdir(f"{lab.data}/ref")))
    lab.call("DEL", migrated, "r2", "v2")
    server.kill()
    for name in ("v", "v2"):
        lab.drop(name)


def drivers(lab):
    """Every driver, and what this kernel lacks."""
    outside(lab)
    for name in ("a", "b", "c"):
        lab.namespace(name)
    one = lab.routed("one", "10.214.0.0/24", capabilities={"portMappings": True})
    one["ipam"]["ranges"] = [[{"subnet": "fd00:214::/64"}]]
    two = lab.routed("two", "10.215.0.0/24")
    published = {**one, "runtimeConfig": {"portMappings": [{"hostPort": 8086, "containerPort": 80}]}}
    a, b, c = lab.add(published, "a", "a"), lab.add(one, "b", "b"), lab.add(two, "c", "c")
    address = {x: [ip["address"].split("/")[0] for ip in answer["ips"]] for x, answer in (("a", a), ("b", b), ("c", c))}
    servers = [lab.serve(x, 80) for x in "abc"]
    check("routed: a /32 of its own, by the host", a["ips"][0]["address"].endswith("/32") and a["ips"][0]["gateway"] == "169.254.1.1", a)
    check("routed: containers of one network reach each other", [lab.ask("b", x, 80) for x in address["a"]] == [f"a {x}" for x in address["b"]],
          [lab.ask("b", x, 80) for x in address["a"]])
    check("routed: one of another network does not", lab.ask("c", address["a"][0], 80) == "timeout" and lab.ask("a", address["c"][0], 80) == "timeout")
    check("routed: the host reaches them", lab.ask("", address["a"][0], 80).startswith("a "), lab.ask("", address["a"][0], 80))
    check("routed: published ports, also from another network and from itself",
          all(lab.ask(x, "192.0.2.2", 8086).startswith("a ") for x in ("out", "", "a", "b", "c")) and lab.ask("", "127.0.0.1", 8086).startswith("a "),
          [lab.ask(x, "192.0.2.2", 8086) for x in ("out", "", "a", "b", "c")])
    shell(f"ip -n b addr add 10.214.0.99/32 dev eth0")
    before = int(re.search(r"counter packets (\d+)", shell("nft list chain inet skeincni_isolation source")).group(1))
    shell(f"ip netns exec b timeout 2 python3 -c \"import socket; s=socket.socket(2,2); s.bind(('10.214.0.99',0)); s.sendto(b'x',('{address['a'][0]}',80))\"")
    after = int(re.search(r"counter packets (\d+)", shell("nft list chain inet skeincni_isolation source")).group(1))
    check("routed: a forged source is dropped", after > before, (before, after))
    check("routed: CHECK", lab.call("CHECK", {**published, "prevResult": a}, "a", "a")[0] == 0, lab.call("CHECK", {**published, "prevResult": a}, "a", "a"))
    for x, configuration in (("a", published), ("b", one), ("c", two)):
        lab.call("DEL", configuration, x, x)
    check("routed: nothing is left", not lab.links() and not lab.elements() and not lab.taken("one"), (lab.links(), lab.elements()))
    ptp = {"cniVersion": "0.4.0", "name": "p", "type": "skein-cni", "driver": "ptp", "ipMasq": True, "mtu": 1400,
           "ipam": {"type": "host-local", "dataDir": lab.data, "subnet": "10.216.0.0/24", "routes": [{"dst": "0.0.0.0/0"}]}}
    a, b = lab.add(ptp, "a", "a"), lab.add(ptp, "b", "b")
    first = a["ips"][0]["address"].split("/")[0]
    check("ptp: containers and the host reach each other, and the way out", lab.ask("b", first, 80).startswith("a 10.216") and
          lab.ask("", first, 80).startswith("a ") and lab.ask("a", "192.0.2.1", 80) == "out 192.0.2.2" and "mtu 1400" in shell("ip -n a link show eth0"),
          (lab.ask("b", first, 80), lab.ask("", first, 80), lab.ask("a", "192.0.2.1", 80)))
    check("ptp: CHECK and DEL", lab.call("CHECK", {**ptp, "prevResult": a}, "a", "a")[0] == 0 and [lab.call("DEL", ptp, x, x)[0] for x in "ab"] == [0, 0]
          and not lab.links(), lab.call("CHECK", {**ptp, "prevResult": a}, "a", "a"))
    shell("ip link add m0 type veth peer name m1; ip link set m0 up; ip link set m1 up")
    macvlan = {"cniVersion": "1.0.0", "name": "m", "type": "skein-cni", "master": "m0", "mode": "bridge",
               "ipam": {"type": "static", "addresses": [{"address": "10.217.0.5/24"}]}}
    lab.add(macvlan, "a", "a")
    other = {**macvlan, "ipam": {"type": "host-local", "dataDir": lab.data, "subnet": "10.217.0.0/24"}}
    lab.add(other, "b", "b", CNI_ARGS="IgnoreUnknown=1;IP=10.217.0.7;MAC=02:00:00:00:00:77")
    check("macvlan, addresses of the plugin static, CNI_ARGS", lab.ask("b", "10.217.0.5", 80) == "a 10.217.0.7" and
          "02:00:00:00:00:77" in shell("ip -n b link show eth0"), (lab.ask("b", "10.217.0.5", 80), shell("ip -n b addr")))
    check("macvlan: DEL", [lab.call("DEL", x, y, y)[0] for x, y in ((macvlan, "a"), (other, "b"))] == [0, 0] and not lab.addresses("a"))
    for kind, more in (("ipvlan", {"mode": "l2"}), ("vlan", {"vlanId": 5})):
        configuration = {"cniVersion": "1.0.0", "name": "k", "type": "skein-cni", "driver": kind, "master": "m0", **more,
                         "ipam": {"type": "host-local", "dataDir": lab.data, "subnet": "10.218.0.0/24"}}
        status, answer = lab.call("ADD", configuration, "a", "a")
        if status and not WHOLE:
            check(f"{kind}: this kernel lacks it, and the error says so", answer["code"] == 7 and "this kernel has no" in answer["msg"]
                  and not lab.taken("k"), answer)
        else:
            kinds(lab, kind, configuration)
    nothing = {"cniVersion": "1.0.0", "name": "n", "type": "skein-cni", "driver": "none"}
    check("none and host make nothing", lab.call("ADD", nothing, "a", "a") == (0, {"cniVersion": "1.0.0"})
          and lab.call("ADD", {**nothing, "driver": "host"}, "a", "a")[0] == 0 and not lab.links())
    vlans = lab.bridge("vl", "10.219.0.0/24", vlan=7)
    vlans["isGateway"] = False
    status, answer = lab.call("ADD", vlans, "a", "a")
    if status and not WHOLE:
        check("bridge: this kernel has no VLANs in bridges, and the error says so", answer["code"] == 7 and "VLAN" in answer["msg"], answer)
    else:
        lab.add({**vlans, "vlan": 8}, "b", "b")
        lab.add(vlans, "c", "c")
        check("bridge: VLANs keep containers apart", lab.ask("c", "10.219.0.2", 80).startswith("a ") and not lab.ask("b", "10.219.0.2", 80).startswith("a "),
              (answer, lab.ask("c", "10.219.0.2", 80), lab.ask("b", "10.219.0.2", 80), shell("bridge vlan show")))
        check("bridge: CHECK with a VLAN", lab.call("CHECK", {**vlans, "prevResult": answer}, "a", "a")[0] == 0,
              lab.call("CHECK", {**vlans, "prevResult": answer}, "a", "a"))
    for x in "abc":
        lab.call("DEL", vlans, x, x)
    multiple = lab.bridge("m1", "10.220.0.0/24")
    lab.add(multiple, "a", "a")
    lab.add(lab.routed("m2", "10.221.0.0/24", isolate=False, ipam={"type": "skein", "dataDir": lab.data, "subnet": "10.221.0.0/24", "routes": [{"dst": "10.221.0.0/24"}]}), "a", "a", interface="net1")
    check("several interfaces of one container", lab.addresses("a") and lab.addresses("a", "net1"), shell("ip -n a addr"))
    lab.call("DEL", multiple, "a", "a")
    check("a DEL of one leaves the other", not lab.addresses("a") and lab.addresses("a", "net1"))
    lab.call("DEL", lab.routed("m2", "10.221.0.0/24"), "a", "a", interface="net1")
    for server in servers:
        server.kill()
    for name in "abc":
        lab.drop(name)


def kinds(lab, kind, configuration):
    """ipvlan and VLAN links where the kernel has them; the first container has been added."""
    first = lab.addresses("a")
    if kind == "ipvlan":
        lab.add(configuration, "b", "b")
        reached = lab.ask("b", first[0], 80)
        check("ipvlan: containers on one device reach each other", reached.startswith("a "), (first, reached))
    else:
        # The other end of the device, with the number of the VLAN and with another one.
        for namespace, number in (("b", 5), ("c", 6)):
            shell(f"ip link add link m1 name tagged netns {namespace} type vlan id {number}; ip -n {namespace} addr add 10.218.0.{90 + number}/24 dev tagged;"
                  f"ip -n {namespace} link set tagged up")
        reached = [lab.ask(namespace, first[0], 80) for namespace in "bc"]
        check("vlan: packets have the VLAN's number, and those of another do not come in", reached[0].startswith("a ") and not reached[1].startswith("a "),
              (first, reached))
        for namespace in "bc":
            shell(f"ip -n {namespace} link del tagged")
    done = [lab.call("DEL", configuration, name, name)[0] for name in "ab"]
    check(f"{kind}: DEL takes everything away", done == [0, 0] and not lab.addresses("a") and not lab.taken("k"), (done, lab.taken("k")))


def machines(lab):
    """The drivers overlay and host-gw: the lab and a namespace are two machines on one link of 1,500 bytes."""
    lab.namespace("far")
    shell("ip link add lan0 type veth peer name eth0 netns far; ip addr add 192.0.2.129/25 dev lan0; ip link set lan0 up;"
          "ip -n far addr add 192.0.2.130/25 dev eth0; ip -n far link set eth0 up")
    for name in ("a", "b", "c"):
        lab.namespace(name)
    def far(verb, configuration, container, namespace):
        return lab.call(verb, configuration, container, namespace, program=f"{lab.folder}/far")
    with open(f"{lab.folder}/far", "w") as script:
        script.write(f"#!/bin/sh\nexec nsenter --net=/run/netns/far {lab.program}\n")
    os.chmod(f"{lab.folder}/far", 0o755)
    for name in "abc":
        lab.serve(name, 80)

    def configuration(own, first, last):
        return {"cniVersion": "1.1.0", "name": "wide", "type": "skein-cni", "driver": "overlay", "vni": 77, "peers": ["192.0.2.129", "192.0.2.130"], "ipMasq": True,
                "isGateway": True, "ipam": {"type": "host-local", "dataDir": f"{lab.data}/{own}", "routes": [{"dst": "0.0.0.0/0"}],
                                            "ranges": [[{"subnet": "10.230.0.0/24", "rangeStart": first, "rangeEnd": last, "gateway": first}]]}}
    here, there = configuration("here", "10.230.0.1", "10.230.0.99"), configuration("there", "10.230.0.101", "10.230.0.199")
    one = lab.add(here, "a", "a")
    status, other = far("ADD", there, "b", "b")
    check("overlay: two machines have one network", status == 0 and one["ips"][0]["address"] == "10.230.0.2/24" and other["ips"][0]["address"] == "10.230.0.102/24",
          (one, other))
    answers = [lab.ask("a", "10.230.0.102", 80), lab.ask("b", "10.230.0.2", 80), lab.ask("", "10.230.0.102", 80)]
    check("overlay: containers reach each other by their own addresses, and this machine the other's", answers[0] == "b 10.230.0.2"
          and answers[1] == "a 10.230.0.102" and answers[2].startswith("b "), answers)
    whole = shell("ip netns exec a ping -c 1 -W 5 -M do -s 1422 10.230.0.102 2>&1") if os.path.exists("/usr/bin/ping") else ""
    sizes = [link["mtu"] for name in "ab" for link in json.loads(shell(f"ip -j -n {name} link show eth0"))]
    check("N-14 overlay: packets leave room for the tunnel", sizes == [1450, 1450] and "100% packet loss" not in whole, (sizes, whole))
    status, answer = lab.call("ADD", {**here, "name": "other", "bridge": "br-other", "ipam": {**here["ipam"], "ranges": [[{"subnet": "10.232.0.0/24"}]]}}, "c", "c")
    check("overlay: a number that is another network's is refused, and nothing is left behind", status == 1 and answer["code"] == 7 and "vni" in answer["msg"]
          and "br-other" not in shell("ls /sys/class/net").split() and not lab.addresses("c"), answer)
    status, answer = lab.call("ADD", {**here, "mtu": 1451}, "c", "c")
    check("overlay: packets that are too large for the tunnel are refused", status == 1 and answer["code"] == 7 and "1450" in answer["msg"], answer)
    for key, value in (("vni", 0), ("vni", None), ("peers", []), ("peers", ["192.0.2.1", "2001:db8::1"]), ("peers", ["127.0.0.1"]), ("port", 70000)):
        status, answer = lab.call("ADD", {**here, key: value}, "c", "c")
        check(f"overlay: {key}: {value} is refused", status == 1 and answer["code"] == 7 and key in answer["msg"], answer)
    # Somebody who is no machine of the network, with its number.
    lab.namespace("evil")
    shell("ip -n far link add up1 type veth peer name eth0 netns evil; ip -n far addr add 192.0.2.1/30 dev up1; ip -n far link set up1 up;"
          "ip -n evil addr add 192.0.2.2/30 dev eth0; ip -n evil link set eth0 up; ip -n evil route add default via 192.0.2.1;"
          "ip -n evil link add v type vxlan id 77 dstport 4789 remote 192.0.2.130; ip -n evil addr add 10.230.0.150/24 dev v; ip -n evil link set v up")
    check("overlay: frames of a machine that is none of the network's do not come in", lab.ask("evil", "10.230.0.102", 80) in ("timeout", "no route to host", ""),
          lab.ask("evil", "10.230.0.102", 80))
    lab.drop("evil")
    check("overlay: CHECK", lab.call("CHECK", {**here, "prevResult": one}, "a", "a")[0] == 0, lab.call("CHECK", {**here, "prevResult": one}, "a", "a"))
    peers(lab, here, one)
    done = [lab.call("DEL", here, "a", "a")[0], far("DEL", there, "b", "b")[0]]
    gone = [lab.call("GC", {**here, "cni.dev/valid-attachments": []})[0], far("GC", {**there, "cni.dev/valid-attachments": []}, "", "")[0]]
    left = [link["ifname"] for place in ("", "-n far") for link in json.loads(shell(f"ip -j {place} link")) if link["ifname"].startswith(("sk",))]
    check("overlay: DEL and GC leave nothing", done == gone == [0, 0] and not left and not [e for e in lab.elements() if "wide" in e], (done, gone, left, lab.elements()))

    def routed(own, other, machine):
        return {"cniVersion": "1.1.0", "name": "plain", "type": "skein-cni", "driver": "host-gw", "machines": [{"block": f"10.231.{other}.0/24", "address": machine}],
                "ipMasq": True, "ipam": {"type": "skein", "dataDir": f"{lab.data}/{own}", "subnet": f"10.231.{own}.0/24"}}
    here, there = routed(1, 2, "192.0.2.130"), routed(2, 1, "192.0.2.129")
    one = lab.add(here, "a", "a")
    status, other = far("ADD", there, "b", "b")
    answers = [lab.ask("a", "10.231.2.2", 80), lab.ask("b", "10.231.1.2", 80)]
    check("host-gw: containers of two machines reach each other by their own addresses", status == 0 and answers == ["b 10.231.1.2", "a 10.231.2.2"],
          (one, other, answers))
    check("host-gw: the way out is the machine's own address", lab.ask("a", "192.0.2.130", 80) == "refused", lab.ask("a", "192.0.2.130", 80))
    off = {**here, "name": "off", "machines": [{"block": "10.231.9.0/24", "address": "198.51.100.1"}],
           "ipam": {"type": "skein", "dataDir": lab.data, "subnet": "10.233.1.0/24"}}
    status, answer = lab.call("ADD", off, "c", "c")
    check("host-gw: a machine behind a router is refused, and nothing is left behind", status == 1 and answer["code"] == 7 and "no link" in answer["msg"]
          and not lab.addresses("c") and not lab.taken("off"), answer)
    for value in (None, [{"block": "10.231.2.0/24"}], [{"block": "x", "address": "192.0.2.130"}], [{"block": "10.231.2.0/24", "address": "192.0.2.130", "more": 1}],
                  [{"block": "10.231.2.0/24", "address": "192.0.2.130"}, {"block": "10.231.0.0/16", "address": "192.0.2.131"}]):
        status, answer = lab.call("ADD", {**here, "machines": value}, "c", "c")
        check(f"host-gw: machines: {json.dumps(value)[:40]} is refused", status == 1 and answer["code"] in (2, 6, 7), answer)
    done = [lab.call("DEL", here, "a", "a")[0], far("DEL", there, "b", "b")[0]]
    gone = [lab.call("GC", {**here, "cni.dev/valid-attachments": []})[0], far("GC", {**there, "cni.dev/valid-attachments": []}, "", "")[0]]
    check("host-gw: DEL and GC leave nothing", done == gone == [0, 0] and "10.231" not in shell("ip route; ip -n far route") and not lab.links(),
          (done, gone, shell("ip route; ip -n far route")))
    status, answer = lab.call("ADD", {**here, "driver": "wireguard"}, "c", "c")
    check("wireguard: keys are the node's, and the error says so", status == 1 and "--encrypt wireguard" in answer["msg"], answer)
    for name in ("a", "b", "c", "far"):
        lab.drop(name)


def peers(lab, here, one):
    """The list of machines changes: who is no longer on it is told nothing and lets nothing in any more, and what others wrote stays."""
    def told():
        entries = json.loads(shell("bridge -j fdb show dev skt77") or "[]")
        rules = shell("nft list set inet skeincni_tunnels peers4; nft list set inet skeincni_tunnels peers6")
        return (sorted({e["dst"] for e in entries if "dst" in e and e["mac"] == "00:00:00:00:00:00"}), sorted(e["dst"] for e in entries if e.get("dst") and e["mac"] != "00:00:00:00:00:00"),
                [address for address in ("192.0.2.130", "192.0.2.131", "192.0.2.132", "192.0.2.133") if address in rules])
    wide = {**here, "peers": [*here["peers"], "192.0.2.131", "192.0.2.132"]}
    lab.add(wide, "c", "c")
    # As if frames had been heard from two machines; what somebody else tells the device; and what somebody else floods.
    shell("bridge fdb append 02:00:00:00:01:31 dev skt77 dst 192.0.2.131 dynamic; bridge fdb append 02:00:00:00:01:30 dev skt77 dst 192.0.2.130 dynamic;"
          "bridge fdb append 02:00:00:00:02:31 dev skt77 dst 192.0.2.131 permanent; bridge fdb append 00:00:00:00:00:00 dev skt77 dst 192.0.2.133 permanent")
    before = told()
    lab.call("DEL", wide, "c", "c")
    less = {**wide, "peers": [*here["peers"], "192.0.2.132"]}
    lab.add(less, "c", "c")
    after = told()
    lab.call("DEL", less, "c", "c")
    check("overlay: a machine that the list no longer names is out at the next ADD, what was learned of it too, and what others wrote stays",
          "192.0.2.131" in before[0] and "192.0.2.131" in before[2] and after[0] == ["192.0.2.130", "192.0.2.132", "192.0.2.133"]
          and after[1].count("192.0.2.131") == 1 and "192.0.2.130" in after[1] and after[2] == ["192.0.2.130", "192.0.2.132"], (before, after))
    status, answer = lab.call("CHECK", {**here, "prevResult": one}, "a", "a")
    check("overlay: or at the next CHECK", status == 0 and told()[0] == ["192.0.2.130", "192.0.2.133"] and told()[2] == ["192.0.2.130"], (answer, told()))
    check("overlay: the machines that stay reach each other", lab.ask("a", "10.230.0.102", 80) == "b 10.230.0.2", lab.ask("a", "10.230.0.102", 80))
    shell("bridge fdb del 00:00:00:00:00:00 dev skt77 dst 192.0.2.133; bridge fdb del 02:00:00:00:02:31 dev skt77 dst 192.0.2.131")


def housekeeping(lab):
    """GC, STATUS, an exhausted pool, and addresses of others in it."""
    small = {**lab.bridge("small", "10.222.0.0/29"), "cniVersion": "1.1.0", "ipMasq": True}
    names = [lab.namespace(f"s{number}") for number in range(5)]
    for name in names:
        lab.add(small, name, name)
    sixth = lab.namespace("s6")
    status, answer = lab.call("ADD", small, "s6", sixth)
    check("an exhausted pool is an error 11, and nothing is left behind", status == 1 and answer["code"] == 11 and not lab.addresses("s6") and len(lab.links()) == 5, answer)
    check("N-10 STATUS is 50 then", lab.call("STATUS", small)[1].get("code") == 50, lab.call("STATUS", small))
    keep = [{"containerID": name, "ifname": "eth0"} for name in names[:2]]
    lab.drop(names[4])
    status, answer = lab.call("GC", {**small, "cni.dev/valid-attachments": keep})
    check("N-10 GC keeps what is valid and removes all else", status == 0 and len(lab.taken("small")) == 2 and len(lab.links()) == 2
          and {e.split("small ")[1].split("/")[0] for e in lab.elements()} == {"s0", "s1"}, (answer, lab.taken("small"), lab.links(), lab.elements()))
    check("N-10 STATUS is well then", lab.call("STATUS", small) == (0, {}), lab.call("STATUS", small))
    # A call that was ended after it had made the link, before it could say whose it is: here without an address of our own.
    delegated = {**small, "ipam": {"type": "static", "addresses": [{"address": "10.222.0.6/29"}]}}
    shell("ip link add skc00000000abc type veth peer name lost0; ip link set skc00000000abc master br-small;"
          "ip link add skc00000000abd type veth peer name lost1; for n in $(ls /sys/class/net | grep '^skc'); do ip link set $n alias ''; done")
    lab.call("GC", {**delegated, "cni.dev/valid-attachments": keep})
    check("N-10 GC takes a nameless link of its bridge away, and no other's", len(lab.links()) == 3 and "skc00000000abd" in lab.links()
          and "skc00000000abc" not in lab.links(), lab.links())
    shell("ip link del skc00000000abd")
    check("GC without a list is an error", lab.call("GC", small)[1].get("code") == 7)
    shell("ip addr add 10.222.0.4/32 dev lo")
    given = {lab.add(small, x, x)["ips"][0]["address"] for x in ("s6", "s3")}
    check("an address that the host has itself is not given", "10.222.0.4/29" not in given and len(given) == 2, given)
    for name in ("s0", "s1", "s3", "s6"):
        lab.call("DEL", small, name, name)
    check("nothing is left", not lab.links() and not lab.taken("small") and not lab.elements())
    for name in list(names[:4]) + ["s6"]:
        lab.drop(name)


def bandwidth(lab):
    """Limits both ways, measured."""
    import subprocess
    lab.namespace("w")
    limits = {"ingressRate": 16_000_000, "ingressBurst": 1_600_000, "egressRate": 16_000_000, "egressBurst": 1_600_000}
    configuration = lab.bridge("bw", "10.224.0.0/24", capabilities={"bandwidth": True}, runtimeConfig={"bandwidth": limits})
    lab.add(configuration, "w", "w")
    script = """
import socket, sys, time
a = socket.socket(); a.bind((sys.argv[1], 0)); a.listen(1)
print(a.getsockname()[1], flush=True)
c, _ = a.accept(); size = 0; begin = time.time()
while True:
    d = c.recv(65536)
    if not d: break
    size += len(d)
print(size * 8 / (time.time() - begin), flush=True)
"""
    send = "import socket,sys\ns=socket.create_connection((sys.argv[1],int(sys.argv[2])),5)\nfor _ in range(64): s.sendall(bytes(65536))\n"
    rates = {}
    for way, inside, outside, address in (("to it", ["ip", "netns", "exec", "w"], [], "10.224.0.2"), ("from it", [], ["ip", "netns", "exec", "w"], "10.224.0.1")):
        server = subprocess.Popen([*inside, "python3", "-c", script, address], stdout=subprocess.PIPE, text=True)
        port = server.stdout.readline().strip()
        subprocess.run([*outside, "python3", "-c", send, address, port], timeout=30, check=True)
        rates[way] = float(server.stdout.readline()) / 1e6
        server.wait(10)
    # 4 MiB at 16 Mbit/s, of which the first 1.6 Mbit go at once.
    check("bandwidth: 16 Mbit/s both ways", all(10 < rate < 20 for rate in rates.values()), rates)
    status, answer = lab.call("DEL", configuration, "w", "w")
    left = [name for name in shell("ls /sys/class/net").split() if name.startswith("sk") and name[2] in "ic"]
    check("bandwidth: nothing is left", status == 0 and not left, (answer, left))
    lab.drop("w")
