#!/usr/bin/python3
"""TCP throughput between two containers of one network, beside two namespaces on a plain bridge, and two on plain routes, that `ip` has made.

The ways take turns in an order drawn anew, sender and receiver on a processor each, and each row is the median of what each round says against the
plain bridge of the same round: what else the machine does meets them alike. Both drivers have their rules: isolation and checked sources (routed), the
way out (bridge). The plain route tells how much of a difference is the kernel's, which routes and does not bridge. usage: bench-throughput.py [ROUNDS]
"""
import os
import random
import statistics
import subprocess
import sys

from cnicheck.lab import Lab, enter, shell

BAR = 0.97
SECONDS = 0.4
RECEIVE = """
import socket, sys, time
a = socket.socket(); a.bind((sys.argv[1], 5001)); a.listen(1); print("ready", flush=True)
c, _ = a.accept(); buffer = bytearray(1 << 20); size = 0; begin = time.perf_counter()
while (count := c.recv_into(buffer)): size += count
print(size * 8 / (time.perf_counter() - begin) / 1e9, flush=True)
"""
SEND = """
import socket, sys, time
s = socket.create_connection((sys.argv[1], 5001), 10); piece = bytes(1 << 20); end = time.perf_counter() + float(sys.argv[2])
while time.perf_counter() < end: s.sendall(piece)
"""


def pinned(processor):
    """In front of a command: it runs on that processor, where there are as many."""
    return ["taskset", "-c", str(processor)] if len(os.sched_getaffinity(0)) > processor else []


def measure(source, target, address):
    """Gbit/s from one namespace to an address of another."""
    with subprocess.Popen([*pinned(1), "ip", "netns", "exec", target, "python3", "-c", RECEIVE, address], stdout=subprocess.PIPE, text=True) as receiver:
        receiver.stdout.readline()
        subprocess.run([*pinned(0), "ip", "netns", "exec", source, "python3", "-c", SEND, address, str(SECONDS)], timeout=60, check=True)
        return float(receiver.stdout.readline())


def main():
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 45
    enter(__file__)
    lab = Lab()
    try:
        ways = {}
        shell("ip link add plain type bridge; ip link set plain up")
        for number, name in enumerate(("p1", "p2"), 1):
            lab.namespace(name)
            shell(f"ip link add {name} type veth peer name eth0 netns {name}; ip link set {name} master plain up;"
                  f"ip -n {name} addr add 10.240.0.{number}/24 dev eth0; ip -n {name} link set eth0 up")
        ways["plain bridge"] = ("p1", "p2", "10.240.0.2")
        for number, name in enumerate(("q1", "q2"), 1):
            lab.namespace(name)
            shell(f"ip link add {name} type veth peer name eth0 netns {name}; ip link set {name} up; ip addr add 169.254.1.1/32 dev {name}; ip route add 10.243.0.{number} dev {name};"
                  f"ip -n {name} addr add 10.243.0.{number}/32 dev eth0; ip -n {name} link set eth0 up;"
                  f"ip -n {name} route add 169.254.1.1 dev eth0; ip -n {name} route add default via 169.254.1.1")
        ways["plain route"] = ("q1", "q2", "10.243.0.2")
        for kind, configuration in (("skein-cni bridge", lab.bridge("tb", "10.241.0.0/24", ipMasq=True)),
                                    ("skein-cni routed", lab.routed("tr", "10.242.0.0/24", ipMasq=True))):
            names = [lab.namespace(f"{configuration['name']}{number}") for number in (1, 2)]
            answers = [lab.add(configuration, name, name) for name in names]
            ways[kind] = (*names, answers[1]["ips"][0]["address"].split("/")[0])
        found = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in random.sample(list(ways.items()), len(ways)):
                found[name].append(measure(*way))
        missed = 0

        def ratio(name, other):
            return statistics.median(value / plain for value, plain in zip(found[name], found[other]))

        for name, values in found.items():
            told = f"{name}: median {statistics.median(values):.1f} Gbit/s, {ratio(name, 'plain bridge'):.3f} of the plain bridge"
            if name.startswith("plain"):
                print(f"     {told}")
                continue
            is_met = ratio(name, "plain bridge") >= BAR
            missed += not is_met
            more = f", {ratio(name, 'plain route'):.3f} of the plain route" if name.endswith("routed") else ""
            print(f"{'ok  ' if is_met else 'FAIL'} {told} (bar {BAR}){more}")
    finally:
        lab.end()
    return 1 if missed else 0


sys.exit(main())
