#!/usr/bin/python3
"""Our name server beside unbound, each with one thread on 127.0.0.1, under dnsperf: queries a second and CPU microseconds a query.

`cached`: names of a server behind, kept by both (a second unbound that has them as local data). `zone`: names of 1,000 services,
unbound has them as local data. `denied`: names of the cluster's domain that are not there, another one each time. Rounds take turns.
"""
import argparse
import os
import pathlib
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent.parent
NAMES = 1000


def port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def cpu(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def unbound(directory, name, number, lines):
    path = directory / f"{name}.conf"
    path.write_text(f"""server:
  interface: 127.0.0.1@{number}
  do-daemonize: no
  chroot: ""
  username: ""
  pidfile: "{directory}/{name}.pid"
  directory: "{directory}"
  use-syslog: no
  verbosity: 0
  num-threads: 1
  module-config: "iterator"
  do-not-query-localhost: no
  access-control: 127.0.0.0/8 allow
  msg-cache-size: 64m
  rrset-cache-size: 128m
{lines}
""")
    return subprocess.Popen(["unbound", "-d", "-c", str(path)], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def ready(number, name):
    deadline = time.monotonic() + 30
    query = b"\x12\x34\x01\x00\x00\x01" + bytes(6) + b"".join(bytes([len(p)]) + p.encode() for p in name.split(".")) + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        while time.monotonic() < deadline:
            try:
                sock.sendto(query, ("127.0.0.1", number))
                if sock.recv(4096)[3] & 15 == 0:
                    return
            except (TimeoutError, ConnectionError):
                time.sleep(0.1)
    sys.exit(f"port {number} does not answer {name}")


def load(number, path, options):
    done = subprocess.run(
        ["dnsperf", "-s", "127.0.0.1", "-p", str(number), "-d", str(path), "-l", str(options.seconds), "-c", "8", "-q", "256"],
        capture_output=True, text=True, timeout=options.seconds + 60)
    figures = {key: float(value) for key, value in re.findall(r"(Queries sent|Queries completed|Queries lost|Queries per second):\s+([\d.]+)", done.stdout)}
    if done.returncode or not figures.get("Queries completed"):
        sys.exit(f"dnsperf: {done.stdout}{done.stderr}")
    return figures


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--program", default=str(HERE / ".build/release/skein-bench"))
    options = parser.parse_args()
    for program in ("unbound", "dnsperf"):
        if not shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin"):
            sys.exit(f"{program} is missing: apt-get install --no-install-recommends unbound dnsperf (unbound may begin to serve 127.0.0.1:53)")
    os.environ["PATH"] += ":/usr/sbin"
    directory = pathlib.Path(tempfile.mkdtemp(prefix="skein-bench-dns-"))
    started = []
    missed = 0
    try:
        behind, theirs, ours = port(), port(), port()
        data = "".join(f'  local-data: "www{n}.bench.example. 3600 A 192.0.2.{n % 250 + 1}"\n' for n in range(NAMES))
        started.append(unbound(directory, "behind", behind, '  local-zone: "bench.example." static\n' + data))
        ready(behind, "www0.bench.example")
        zone = "".join(f'  local-data: "web{n}.default.svc.cluster.local. 5 A 10.96.{n // 256}.{n % 256}"\n' for n in range(NAMES))
        started.append(unbound(directory, "peer", theirs,
                               f'  local-zone: "cluster.local." static\n{zone}forward-zone:\n  name: "bench.example."\n  forward-addr: 127.0.0.1@{behind}'))
        started.append(subprocess.Popen([options.program, "names", f"127.0.0.1:{ours}", f"127.0.0.1:{behind}", str(NAMES)],
                                        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL))
        servers = {"unbound": (theirs, started[1].pid), "skein": (ours, started[2].pid)}
        files = {
            "cached": [f"www{n}.bench.example A" for n in range(NAMES)],
            "zone": [f"web{n}.default.svc.cluster.local A" for n in range(NAMES)],
            "denied": [f"x{n}.default.svc.cluster.local A" for n in range(200_000)],
        }
        for kind, lines in files.items():
            (directory / kind).write_text("\n".join(lines) + "\n")
        for number, _ in servers.values():
            ready(number, "www0.bench.example")
            ready(number, "web0.default.svc.cluster.local")
        results = {}
        for kind in files:
            for round in range(options.rounds):
                for name, (number, pid) in servers.items():
                    before = cpu(pid)
                    figures = load(number, directory / kind, options)
                    results.setdefault((kind, name), []).append(
                        (figures["Queries per second"], (cpu(pid) - before) / figures["Queries completed"] * 1e6, figures.get("Queries lost", 0)))
        print(f"| {options.rounds} rounds of {options.seconds} s, medians | unbound: queries/s | CPU us | skein: queries/s | CPU us | queries/s, ratio | CPU, ratio |")
        print("| --- | --: | --: | --: | --: | --: | --: |")
        for kind in files:
            row = {name: [statistics.median(values) for values in zip(*results[kind, name])] for name in servers}
            rate, time_ratio = row["skein"][0] / row["unbound"][0], row["skein"][1] / row["unbound"][1]
            print(f"| {kind} | {row['unbound'][0]:.0f} | {row['unbound'][1]:.2f} | {row['skein'][0]:.0f} | {row['skein'][1]:.2f} | {rate:.2f} | {time_ratio:.2f} |")
            if row["skein"][2]:
                print(f"lost: {row['skein'][2]:.0f} of {kind}")
            missed += rate < 1 or time_ratio > 1
    finally:
        for process in started:
            process.terminate()
            process.wait()
        shutil.rmtree(directory)
    print("missed: a row with fewer queries a second or more CPU than unbound's" if missed else "ok: as many queries a second as unbound, and no more CPU")
    return 1 if missed else 0


sys.exit(main())
