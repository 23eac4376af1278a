#!/usr/bin/python3
"""Tries what needs parts of the kernel that the machine at hand may lack, in a virtual machine with Debian's own kernel.

WireGuard between machines, ipvlan, VLAN links, bridges with VLANs, SCTP. Nothing of this machine is changed: its files are read.
usage: kernel-check.py [PART…]      parts: probes wireguard sctp cni ways hosts (without one: the first four); or -- COMMAND, for people
ways is the whole product on three machines under WireGuard, as far as it is between the machines; hosts is all of hosts-check there, of which an emulated
machine does little in an hour.
SKEIN_TESTS, SKEIN_CNI and SKEIN_BINARY name other programs than those that `make kernel-check` builds; ACCELERATION=kvm is quicker where it works.
"""
import os
import shlex
import sys
import time

from kernelcheck import machine

TESTS = os.environ.get("SKEIN_TESTS", str(machine.ROOT / ".build/debug/skeinPackageTests.xctest"))
ENVIRONMENT = {
    "SKEIN_WHOLE_KERNEL": "1",
    "SKEIN_PATIENCE": "5",
    "SKEIN_CNI": os.environ.get("SKEIN_CNI", str(machine.ROOT / ".build/debug/skein-cni")),
    "SKEIN_BINARY": os.environ.get("SKEIN_BINARY", str(machine.ROOT / ".build/debug/skein")),
}
# What each part runs, and for how many seconds at most; without KVM everything is some thirty times slower.
PARTS = {
    "probes": ("python3 -c 'import sys; sys.path.insert(0, \"tools\"); from check import probes; probes.show(); "
               "sys.exit(not all(there for _, there in probes.probes()))'", 300),
    "wireguard": (f"{TESTS} --testing-library swift-testing --no-parallel --filter NodeEncryptionTests", 600),
    "sctp": (f"{TESTS} --testing-library swift-testing --no-parallel --filter SCTPTests", 600),
    "cni": ("python3 tools/cni-check.py drivers", 600),
    "ways": ("python3 tools/hosts-check.py --ways wireguard", 3600),
    "hosts": ("python3 tools/hosts-check.py --short wireguard", 3000),
}


def main():
    words = sys.argv[1:]
    if os.getuid() != 0:
        print("kernel-check: run as root (it gives this machine's files to a virtual one, read only)", file=sys.stderr)
        return 1
    if words[:1] == ["--"]:
        return machine.boot(shlex.join(words[1:]), machine.ROOT, ENVIRONMENT, 3600) or 0
    if set(words) - set(PARTS):
        print(__doc__, file=sys.stderr)
        return 2
    failed = []
    begin = time.time()
    for name in words or ["probes", "wireguard", "sctp", "cni"]:
        command, seconds = PARTS[name]
        part = time.time()
        if machine.boot(command, machine.ROOT, ENVIRONMENT, seconds) != 0:
            failed.append(name)
        print(f"kernel-check: {name}: {'FAILED' if name in failed else 'passed'}, {time.time() - part:.0f} s", flush=True)
    print(f"kernel-check: {'failed: ' + ' '.join(failed) if failed else 'all passed'}, {time.time() - begin:.0f} s")
    return 1 if failed else 0


sys.exit(main())
