"""The control plane is replaced by another build and back while requests run, and one that is too old for the store leaves it alone."""
import os
import shutil
import sqlite3
import subprocess

from peers import mesh

ADDRESS = "10.96.0.80"


def database(plane):
    return plane.path / "control" / "skein.db"


def layout(plane, change=0):
    """The layout of the store's tables; `change` makes it another."""
    store = sqlite3.connect(database(plane))
    try:
        found = store.execute("PRAGMA user_version").fetchone()[0]
        if change:
            store.execute(f"PRAGMA user_version = {found + change}")
            store.commit()
        return found
    finally:
        store.close()


def replace(plane, program):
    """Ends the control plane as a service manager does, and starts that program in its place."""
    plane.process.terminate()
    plane.process.wait(20)
    plane.agent.close()
    plane.program = program
    plane.start()


def begin(plane, program):
    """Starts a program that is expected to give up; its exit status and what it says."""
    done = subprocess.run(
        [program, "control-plane", "--data-dir", str(plane.path), "--run-dir", str(plane.path / "run"), "--api", "127.0.0.1:6443",
         "--metrics", "127.0.0.1:9400", "--discovery", f"127.0.0.1:{plane.port}"], capture_output=True, text=True, timeout=30)
    return done.returncode, (done.stderr + done.stdout).strip().splitlines()


def run(check, plane, other, split):
    """`other` is another build of skein; a copy of this one when there is none. `split(first, second)` writes a rule for the service."""
    def ask():
        return mesh.get(ADDRESS, "/", "web")

    def only(number):
        return {ask()[1] for _ in range(10)} == {f"web-{number}"}

    def version(program):
        return subprocess.run([program, "version"], capture_output=True, text=True).stdout.strip()

    own = plane.program
    if not other:
        other = str(plane.path / "skein")
        shutil.copy(own, other)
    mesh.wait("the first answer", lambda: ask()[0] == 200, log=plane.output)
    split(100, 0)
    mesh.wait("the first rule", lambda: only(1), log=plane.output)
    with mesh.Load(ask) as load:
        replace(plane, other)
        running = os.readlink(f"/proc/{plane.process.pid}/exe")
        mesh.wait("all proxies to be back", lambda: plane.call("GET", "/skein/v1/convergence")[1].get("proxies", 0) >= 2, 60, plane.output)
        split(0, 100)
        mesh.wait("a rule under the other build", lambda: only(2), 30, plane.output)
    check("upgrade: another build takes over under load, no request fails, its rules arrive",
          not load.failures and load.count > 20 and os.path.samefile(running, other),
          f"{version(own)} -> {version(other)}, {load.count} requests, {load.failures[:2]}")

    with mesh.Load(ask) as load:
        replace(plane, own)
        mesh.wait("all proxies to be back", lambda: plane.call("GET", "/skein/v1/convergence")[1].get("proxies", 0) >= 2, 60, plane.output)
        split(100, 0)
        mesh.wait("a rule after the rollback", lambda: only(1), 30, plane.output)
    check("upgrade: the rollback under load loses no request, what was written in between is there",
          not load.failures and load.count > 20, f"{load.count} requests, {load.failures[:2]}")

    with mesh.Load(ask) as load:
        plane.process.terminate()
        plane.process.wait(20)
        plane.agent.close()
        known = layout(plane, +1)
        before = database(plane).read_bytes()
        status, lines = begin(plane, own)
        untouched = database(plane).read_bytes() == before
        layout(plane, -1)
        plane.start()
        mesh.wait("all proxies to be back", lambda: plane.call("GET", "/skein/v1/convergence")[1].get("proxies", 0) >= 2, 60, plane.output)
    said = [line for line in lines if "newer Skein" in line]
    check("upgrade: a build that is older than the store's layout refuses it in one line, and changes nothing",
          status == 1 and len(said) == 1 and f"layout {known + 1}" in said[0] and untouched, f"{status} {lines[-1:]}")
    check("upgrade: meanwhile no request fails", not load.failures and load.count > 20, f"{load.count} requests, {load.failures[:2]}")
