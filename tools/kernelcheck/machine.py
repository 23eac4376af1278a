"""Boots Debian's kernel in QEMU with this machine's files as its root, read only; what is written there is gone with it.

Nothing is installed: the packages are unpacked under .build/kernel-check. The machine has no network device but what is made inside.
"""
import os
import pathlib
import shutil
import stat
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
PLACE = ROOT / ".build" / "kernel-check"

# What the first program of the machine needs before it sees this machine's files.
EARLY = ["virtio_pci", "9pnet_virtio", "9p", "overlay"]
# What is tried: a kernel loads most of it by itself when it is asked for, as it would for anybody.
INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /lower /upper /new
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sys /sys
/bin/busybox mount -t devtmpfs dev /dev
for module in {modules}; do /bin/busybox insmod /modules/$module || echo "kernel-check: $module is not loaded"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,msize=262144,ro root /lower || exec /bin/busybox poweroff -f
/bin/busybox mount -t tmpfs -o size=75% upper /upper
/bin/busybox mkdir /upper/files /upper/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/files,workdir=/upper/work root /new || exec /bin/busybox poweroff -f
for place in proc sys dev; do /bin/busybox mount --move /$place /new/$place; done
exec /bin/busybox switch_root /new /bin/sh {begin}
"""
BEGIN = """
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin HOME=/root TMPDIR=/tmp
mount -t tmpfs tmpfs /run; mount -t tmpfs tmpfs /tmp; mkdir -p /dev/pts /dev/shm /run/netns
mount -t devpts devpts /dev/pts; mount -t tmpfs tmpfs /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mkdir -p /usr/local/sbin /lib/modules
ln -sfn {tree}/lib/modules/{version} /lib/modules/{version}
ln -sf {tree}/modprobe /usr/local/sbin/modprobe
echo /usr/local/sbin/modprobe > /proc/sys/kernel/modprobe
echo kernel-check > /proc/sys/kernel/hostname
ip link set lo up
cd {directory}
{environment}
{command} </dev/null >{port} 2>&1
echo "kernel-check: exit status $?" >{port}
sync; echo o > /proc/sysrq-trigger; sleep 60
"""


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, text=True, timeout=900, **options)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, command))}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def kernel_package():
    """The package behind linux-image-amd64, whose name has the version in it."""
    for line in run("apt-cache", "depends", "linux-image-amd64").splitlines():
        if "Depends: linux-image-" in line:
            return line.split(": ")[1].strip()
    raise RuntimeError("apt knows no linux-image-amd64: run apt-get update")


def unpack():
    """Fetches the packages and unpacks them, once; returns the directory."""
    tree, packages = PLACE / "tree", PLACE / "packages"
    if (PLACE / "done").exists():
        return tree
    shutil.rmtree(PLACE, ignore_errors=True)
    for directory in (tree, packages / "partial"):
        directory.mkdir(parents=True)
    user = ["-o", "APT::Sandbox::User=root"]
    # With all libraries that this machine does not have.
    run("apt-get", "install", "-y", "--download-only", "--no-install-recommends", "-o", f"Dir::Cache::archives={packages}", *user, "qemu-system-x86")
    run("apt-get", "download", *user, kernel_package(), "busybox-static", "kmod", "libkmod2", cwd=packages)
    for package in packages.glob("*.deb"):
        run("dpkg", "-x", package, tree)
    # kmod goes by the name that it is called by; its index makes a look-up of a module quick.
    (tree / "kmod").mkdir()
    for name in ("depmod", "modprobe"):
        (tree / "kmod" / name).symlink_to(tree / "bin" / "kmod")
        script = tree / name
        script.write_text(f"#!/bin/sh\nLD_LIBRARY_PATH={tree}/lib/x86_64-linux-gnu exec {tree}/kmod/{name} \"$@\"\n")
        script.chmod(0o755)
    run(tree / "depmod", "-b", tree, modules(tree).name)
    (PLACE / "done").touch()
    return tree


def modules(tree):
    return next((tree / "lib" / "modules").iterdir())


def needed(directory, names):
    """The files of these modules and of those that they need, in the order in which they are loaded."""
    needs = {}
    for line in (directory / "modules.dep").read_text().splitlines():
        path, _, others = line.partition(":")
        needs[path] = others.split()
    by_name = {pathlib.Path(path).name.split(".")[0].replace("-", "_"): path for path in needs}
    order = []
    def add(path):
        for other in needs[path]:
            add(other)
        if path not in order:
            order.append(path)
    for name in names:
        if name in by_name:  # Else it is built in.
            add(by_name[name])
    return [directory / path for path in order]


def archive(entries):
    """A cpio archive (newc) of (name, mode, content)."""
    out = bytearray()
    for number, (name, mode, content) in enumerate([*entries, ("TRAILER!!!", 0, b"")], 1):
        fields = [number, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0]
        out += b"070701" + b"".join(b"%08X" % field for field in fields) + name.encode() + b"\0"
        out += bytes(-len(out) % 4) + content
        out += bytes(-len(out) % 4)
    return bytes(out)


def boot(command, directory, environment, seconds, memory=3072):
    """Runs a command of the shell in the machine, whose lines come as they are written; returns its exit status, None without one."""
    tree = unpack()
    version = modules(tree).name
    begin = PLACE / f"begin.{os.getpid()}.sh"
    begin.write_text(BEGIN.format(
        tree=tree, version=version, directory=directory, port="/dev/ttyS1", command=command,
        environment="\n".join(f"export {name}='{value}'" for name, value in environment.items())))
    early = needed(modules(tree), EARLY)
    executable = stat.S_IFREG | 0o755
    entries = [("bin", stat.S_IFDIR | 0o755, b""), ("modules", stat.S_IFDIR | 0o755, b""),
               ("bin/busybox", executable, (tree / "bin" / "busybox").read_bytes()), ("bin/sh", stat.S_IFLNK | 0o777, b"busybox"),
               ("init", executable, INIT.format(modules=" ".join(p.name for p in early), begin=begin).encode())]
    entries += [(f"modules/{path.name}", stat.S_IFREG | 0o644, path.read_bytes()) for path in early]
    (PLACE / "initramfs").write_bytes(archive(entries))
    # KVM inside of a virtual machine often stands still: it is asked for.
    acceleration = os.environ.get("ACCELERATION", "tcg")
    library = tree / "usr" / "lib" / "x86_64-linux-gnu"
    words = [
        tree / "usr" / "bin" / "qemu-system-x86_64", "-L", tree / "usr" / "share" / "qemu", "-L", tree / "usr" / "share" / "seabios",
        "-machine", f"q35,accel={acceleration}", "-cpu", "host,arch-capabilities=off" if acceleration == "kvm" else "max", "-smp", "2", "-m", str(memory),
        "-kernel", tree / "boot" / f"vmlinuz-{version}", "-initrd", PLACE / "initramfs", "-append",
        "console=ttyS0 quiet panic=-1 random.trust_cpu=on", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
        "-device", "virtio-rng-pci", "-fsdev", "local,id=root,path=/,security_model=none,readonly=on,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=root,mount_tag=root", "-serial", f"file:{PLACE / 'console'}", "-serial", "stdio"]
    print(f"kernel-check: Linux {version}, {acceleration}", flush=True)
    libraries = f"{library}:{tree / 'lib' / 'x86_64-linux-gnu'}:{library / 'qemu'}"
    guard = ["timeout", "--kill-after=5", str(seconds)]
    status = None
    with subprocess.Popen([*guard, *words], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
                          env={**os.environ, "LD_LIBRARY_PATH": libraries}) as machine:
        for line in machine.stdout:
            if line.startswith("kernel-check: exit status "):
                status = int(line.split()[-1])
            else:
                sys.stdout.write(line)
                sys.stdout.flush()
    if status is None:
        print("kernel-check: the machine has ended without an answer; its console:")
        print("".join((PLACE / "console").read_text(errors="replace").splitlines(True)[-40:]))
    return status
