"""Crashes of the plugin, many calls at once, pretended reboots: an address is never given twice and never lost (ATK-41)."""
import concurrent.futures
import json
import os
import re
import resource
import subprocess

from . import kill
from .lab import check, note, shell


def consistent(lab, network, owners):
    """What is wrong: an address that a container has and the file does not hold for it, or that two have."""
    taken = lab.taken(network)
    problems = []
    seen = {}
    for container, namespace in owners.items():
        for address in lab.addresses(namespace):
            if address in seen:
                problems.append(f"{address} is given to {container} and {seen[address]}")
            seen[address] = container
            if taken.get(address) != container[:16]:
                problems.append(f"{container} has {address}, which is held for {taken.get(address)}")
    return problems


def everything_gone(lab, network, but=()):
    left = [f"{a} is held for {who}" for a, who in lab.taken(network).items() if who not in but]
    left += [element for element in lab.elements() if not any(f" {who}/" in element for who in but)]
    if len(lab.links()) != len(but):
        left.append(f"links {lab.links()}")
    return left


def every_call(lab):
    """Ends ADD and DEL at the beginning of every system call."""
    configuration = {**lab.bridge("crash", "10.230.0.0/26"), "cniVersion": "1.1.0", "ipMasq": True, "capabilities": {"portMappings": True},
                     "runtimeConfig": {"portMappings": [{"hostPort": 8090, "containerPort": 80}]}}
    plain = {key: value for key, value in configuration.items() if key != "runtimeConfig"}
    text = json.dumps(configuration)
    for name in ("victim", "other"):
        lab.namespace(name)
    problems = []
    points = 0
    for verb in ("ADD", "DEL"):
        point = 0
        while True:
            point += 1
            if verb == "DEL":
                lab.add(configuration, "victim", "victim")
            calls, status, _ = kill.run(lab.program, lab.environment(verb, "victim", "victim"), text, kill_at=point)
            if status is not None:
                if status != 0:
                    problems.append(f"{verb}: status {status} without a crash")
                lab.call("DEL", configuration, "victim", "victim")
                break
            points += 1
            place = f"{verb} ended at call {point}"
            lab.add(plain, "other", "other")
            problems += [f"{place}: {text}" for text in consistent(lab, "crash", {"victim": "victim", "other": "other"})]
            # Either the runtime calls DEL, or it has forgotten the container and calls GC.
            if point % 2:
                status, answer = lab.call("DEL", configuration, "victim", "victim")
            else:
                valid = [{"containerID": "other", "ifname": "eth0"}]
                status, answer = lab.call("GC", {**plain, "cni.dev/valid-attachments": valid})
            if status:
                problems.append(f"{place}: afterwards {answer}")
            problems += [f"{place}: {text}" for text in everything_gone(lab, "crash", ("other",))]
            lab.call("DEL", plain, "other", "other")
            if len(problems) > 5 or point > 3000:
                break
        note(f"{verb}: ended at each of its {point - 1} system calls")
    check(f"ATK-41 ended at every system call ({points} points): nothing is given twice, nothing is left", points >= 100 and not problems, problems[:5])
    # The check itself: with a write of the address file that is left out, it must find something.
    found = []
    for write in (1, 2, 3, 4):
        calls, status, writes = kill.run(lab.program, lab.environment("ADD", "victim", "victim"), text, lie_at=write)
        try:
            lab.add(plain, "other", "other")
        except RuntimeError as error:
            found.append(str(error))
        found += consistent(lab, "crash", {"victim": "victim", "other": "other"})
        for name in ("victim", "other"):
            lab.call("DEL", plain, name, name)
            shell(f"ip -n {name} link del eth0 2>/dev/null")
        lab.call("GC", {**plain, "cni.dev/valid-attachments": []})
    check("a write that is left out on purpose is found by this check", found, found)
    for name in ("victim", "other"):
        lab.drop(name)


def nameless(lab):
    """Ends ADD between the moment in which it has made a link and the one in which the link says whose it is; no address of ours tells of it."""
    more = {"cniVersion": "1.0.0", "ipam": {"type": "static", "addresses": [{"address": "10.236.0.5/24"}]}, "capabilities": {"bandwidth": True},
            "runtimeConfig": {"bandwidth": {"ingressRate": 16_000_000, "ingressBurst": 1_600_000, "egressRate": 16_000_000, "egressBurst": 1_600_000}}}
    routed = lab.routed("lost", **more)
    kinds = {"routed": routed, "ptp": {**routed, "driver": "ptp"}, "bridge": lab.bridge("lost", **more)}
    lab.namespace("victim")

    def there():
        """What is there, with its alias: ends of links, and devices in which packets wait."""
        links = json.loads(shell("ip -j link") or "[]")
        return {link["ifname"]: link.get("ifalias", "") for link in links if re.fullmatch("sk[ci][0-9a-f]{11}", link["ifname"])}

    def collect(configuration, *valid, **change):
        lab.call("GC", {**configuration, **change, "cniVersion": "1.1.0", "cni.dev/valid-attachments": [{"containerID": name, "ifname": "eth0"} for name in valid]})

    def end(configuration, point):
        """Ends it at that call; what is there then, and whether the call went through."""
        calls, status, _ = kill.run(lab.program, lab.environment("ADD", "victim", "victim"), json.dumps(configuration), kill_at=point)
        return there(), status is not None, calls

    problems, found = [], []
    for kind, configuration in kinds.items():
        _, _, high = end(configuration, 0)
        collect(configuration)
        if there():
            problems.append(f"{kind}: {there()} is left after a whole ADD")
        for prefix in ("skc", "ski") if kind == "routed" else ("skc",):
            low, last = 1, high
            while low < last:  # The first call at which such a link is there.
                middle = (low + last) // 2
                is_there = any(name.startswith(prefix) for name in end(configuration, middle)[0])
                collect(configuration)
                low, last = (low, middle) if is_there else (middle + 1, last)
            for point in range(max(1, low - 6), low + 12):
                before, _, _ = end(configuration, point)
                for name in [name for name, alias in before.items() if not alias]:
                    found.append((kind, name[:3], point))
                    # Another network, in the same bridge where it has one; and its own, to which the container is still there.
                    for what, change in (("another network", {"name": "other"}), ("a GC to which it is valid", {})):
                        collect(configuration, *([] if change else ["victim"]), **change)
                        if name not in there():
                            problems.append(f"{kind} ended at call {point}: {name} was taken away by {what}")
                collect(configuration)
                if before and there():
                    problems.append(f"{kind} ended at call {point}: {there()} is left, of {before}")
                    lab.call("DEL", configuration, "victim", "victim")
                if any(name.startswith(prefix) and alias for name, alias in before.items()) and any(f[:2] == (kind, prefix) for f in found):
                    break  # It has said whose it is.
    check("N-10 GC takes away links that an ADD has not named yet, those of its own network alone, also under another IPAM plugin",
          {kind for kind, prefix, _ in found if prefix == "skc"} == set(kinds) and "ski" in {prefix for _, prefix, _ in found} and not problems, (found, problems[:5]))
    shell("ip link del br-lost")
    lab.drop("victim")


def parallel(lab):
    """200 ADDs from 8 processes."""
    configuration = lab.bridge("many", "10.231.0.0/24", ipMasq=True)
    names = [lab.namespace(f"p{number}") for number in range(200)]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda name: lab.call("ADD", configuration, name, name), names))
    failed = [answer for status, answer in answers if status]
    given = [answer["ips"][0]["address"] for status, answer in answers if not status]
    check("200 ADDs from 8 processes at once: 200 addresses", not failed and len(set(given)) == 200 and len(lab.taken("many")) == 200, (failed[:2], len(set(given))))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        gone = list(pool.map(lambda name: lab.call("DEL", configuration, name, name), names))
    check("and 200 DELs: nothing is left", not any(status for status, _ in gone) and not everything_gone(lab, "many"),
          ([x for x in gone if x[0]][:2], everything_gone(lab, "many")[:3]))
    for name in names:
        lab.drop(name)


def cycles(lab, count):
    """ADD and DEL, again and again."""
    configuration = lab.bridge("cycle", "10.232.0.0/24", ipMasq=True)
    lab.namespace("y")
    sizes = []
    for number in range(count):
        lab.add(configuration, f"y{number}", "y")
        lab.call("DEL", configuration, f"y{number}", "y")
        if number % max(1, count // 4) == 0:
            sizes.append(sum(os.path.getsize(f"{lab.data}/cycle/{name}") for name in os.listdir(f"{lab.data}/cycle")))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    waiting = shell("ps -eo stat,comm").count("skein-cni")
    note(f"{waiting} processes of the last calls still wait for the kernel; the largest child had {peak / 1024:.0f} MiB")
    check("the processes that wait for the kernel end by themselves", waiting < 50, waiting)
    check(f"{count} cycles leave nothing and need no more memory", not everything_gone(lab, "cycle") and len(set(sizes)) == 1, (sizes, everything_gone(lab, "cycle")))
    lab.drop("y")


def reboot(lab):
    """The kernel's boot id changes: what was held is void."""
    configuration = lab.bridge("boot", "10.233.0.0/24")
    lab.namespace("z")
    lab.add(configuration, "before", "z")
    shell("ip -n z link del eth0")
    identity = f"{lab.folder}/boot_id"
    with open(identity, "w") as file:
        file.write("00000000-0000-4000-8000-000000000000\n")
    subprocess.run(["mount", "--bind", identity, "/proc/sys/kernel/random/boot_id"], check=True)
    answer = lab.add(configuration, "after", "z")
    check("ATK-41 after a pretended reboot everything is free again", answer["ips"][0]["address"] == "10.233.0.2/24" and set(lab.taken("boot").values()) == {"after"},
          (answer, lab.taken("boot")))
    check("a DEL of a container from before it", lab.call("DEL", configuration, "before", "")[0] == 0 and set(lab.taken("boot").values()) == {"after"})
    lab.call("DEL", configuration, "after", "z")
    shell("umount /proc/sys/kernel/random/boot_id")
    lab.drop("z")
