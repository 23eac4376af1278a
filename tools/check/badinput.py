"""Bad input: one clear error each, and nothing left half done."""
import atexit
import os
import pathlib
import shutil
import socket
import subprocess
import tempfile

from check.lib import DATA, SKEIN, check, host_state, same_as

FOLDER = pathlib.Path(tempfile.mkdtemp(prefix="skein-bad-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)


def attempt(name, words, *arguments, status=1, before=None, **options):
    """Runs skein; checks its status, that it says one line with the words, and that the machine is as it was."""
    done = subprocess.run([SKEIN, *arguments], capture_output=True, text=True, timeout=90, **options)
    lines = [line for line in done.stderr.split("\n") if line]
    said = done.returncode == status and len(lines) == 1 and all(word in lines[0] for word in words)
    difference = same_as(before) if before else []
    check(f"{name}", said and not difference, f"{done.returncode} {done.stderr.strip()[:300]} {difference or ''}")


def file(name, text):
    path = FOLDER / name
    path.write_text(text)
    return str(path)


def files():
    before = host_state()
    syntax = file("syntax.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: [a\nspec: {}\n")
    field = file("field.yaml", "apiVersion: v1\nkind: Service\nmetadata:\n  name: a\nspec:\n  portz: []\n")
    kind = file("kind.yaml", "apiVersion: v1\nkind: Servize\nmetadata:\n  name: a\n")
    both = file("both.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: good\n---\napiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: a\nspec:\n  replicas: many\n")
    up = ("up", "--data-dir", DATA, "--detach", "-f")
    attempt("a YAML syntax error: file and line", ["syntax.yaml:"], *up, syntax, before=before)
    attempt("an unknown field: its path", ["field.yaml:6", 'unknown field "spec.portz"'], *up, field, before=before)
    attempt("an unknown kind", ["kind.yaml:2", 'no matches for kind "Servize" in version "v1"'], *up, kind, before=before)
    attempt("a wrong type in the second object: nothing is applied", ["both.yaml:11", "spec.replicas"], *up, both, before=before)
    attempt("a file that is not there", ["/no/such/file", "no such file"], *up, "/no/such/file", before=before)
    attempt("an unknown flag", ["--wrong"], "up", "--wrong", status=2, before=before)
    attempt("an unknown command", ['"upp"'], "upp", status=2)


def machine():
    before = host_state()
    for port, words in ((8080, "--gateway-http"), (6443, "--api")):
        taken = socket.socket()
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", port))
        taken.listen()
        attempt(f"port {port} in use", [f"127.0.0.1:{port}", "in use", words], "up", "--data-dir", DATA, "--detach", before=before)
        taken.close()
    attempt("a pool that overlaps an address of the machine", ["overlap"], "up", "--data-dir", DATA, "--detach", "--pool", overlapping(), before=before)
    attempt("no runc", ["runc is not installed", "apt-get install runc"], "up", "--data-dir", DATA, "--detach",
            env={**os.environ, "SKEIN_PATH": "/nonexistent"}, before=before)
    attempt("not root", ["must be root"], "up", "--data-dir", "/tmp/skein-nobody", "--detach", user=65534, group=65534, extra_groups=[])


def overlapping():
    """A range around an address that this machine has."""
    output = subprocess.run(["ip", "-4", "-o", "addr", "show", "scope", "global"], capture_output=True, text=True).stdout
    if not output:
        subprocess.run(["ip", "addr", "add", "10.9.9.9/24", "dev", "lo"], check=True)
        return "10.9.0.0/16"
    first, second = output.split("inet ")[1].split(".")[:2]
    return f"{first}.{second}.0.0/16"


def disk():
    before = host_state()
    full = FOLDER / "full"
    full.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(full)], check=True)
    try:
        attempt("a full data disk", ["KiB left", "--data-dir"], "up", "--data-dir", f"{full}/data", "--detach")
    finally:
        subprocess.run(["umount", str(full)], check=True)
    check("a full data disk leaves nothing", not same_as(before), same_as(before))


def database():
    before = host_state()
    subprocess.run([SKEIN, "up", "--data-dir", DATA, "--detach"], check=True, capture_output=True, timeout=60)
    subprocess.run([SKEIN, "down", "--data-dir", DATA], check=True, capture_output=True, timeout=60)
    path = pathlib.Path(DATA) / "control/skein.db"
    good = path.read_bytes()
    check("skein down leaves everything in the database file", len(good) > 20_000, f"{len(good)} bytes")
    damaged = good[:8192] + os.urandom(8192) + good[16384:]
    path.write_bytes(damaged)
    for more in ("-wal", "-shm"):
        pathlib.Path(f"{path}{more}").unlink(missing_ok=True)
    attempt("a corrupted database is refused, with what to do", ["skein.db"], "up", "--data-dir", DATA, "--detach", before=before)
    check("and never overwritten", path.read_bytes() == damaged)
    path.write_bytes(good)


def second_up():
    subprocess.run([SKEIN, "up", "--data-dir", DATA, "--detach"], check=True, capture_output=True, timeout=60)
    attempt("a second skein up at the same time", ["running already", "skein apply", "skein down"], "up", "--data-dir", DATA, "--detach")
    subprocess.run([SKEIN, "down", "--data-dir", DATA], check=True, capture_output=True, timeout=60)


def phases(_before):
    return files, machine, disk, database, second_up
