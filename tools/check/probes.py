"""What of the kernel's network parts this machine has: tests of what is missing show that it is refused with the reason."""
import socket
import subprocess

# Each in a network namespace of its own, which goes with the command.
LINKS = {
    "VXLAN": "ip link add p0 type vxlan id 1 dstport 4789",
    "macvlan": "ip link add p0 type veth peer name p2 && ip link add p1 link p0 type macvlan",
    "ipvlan": "ip link add p0 type veth peer name p2 && ip link add p1 link p0 type ipvlan",
    "VLAN": "ip link add p0 type veth peer name p2 && ip link add p1 link p0 type vlan id 5",
    "VLANs in bridges": "ip link add p0 type bridge vlan_filtering 1",
    "bandwidth limits (tbf, ifb)": "ip link add p0 type ifb && tc qdisc add dev p0 root tbf rate 1mbit burst 10kb latency 50ms",
    "WireGuard": "ip link add p0 type wireguard",
    "IPsec (ESP)": "ip xfrm state add src 192.0.2.1 dst 192.0.2.2 proto esp spi 1 mode tunnel enc 'cbc(aes)' 0x0123456789abcdef0123456789abcdef",
    "IPv6": "test -d /proc/sys/net/ipv6",
}


def has_sctp():
    """Whether programs of this machine can speak SCTP: its packets are forwarded and matched also where none can."""
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, 132).close()
    except OSError:
        return False
    return True


def probes():
    """(name, whether the kernel has it) of each."""
    for name, command in LINKS.items():
        done = subprocess.run(["unshare", "--net", "sh", "-c", command], capture_output=True, text=True, timeout=60)
        yield name, done.returncode == 0
    yield "SCTP sockets", has_sctp()


def show():
    """One line for each."""
    for name, is_there in probes():
        print(f"probe: {name}: {'there' if is_there else 'not in this kernel'}", flush=True)
