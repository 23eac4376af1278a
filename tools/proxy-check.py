#!/usr/bin/env python3
"""skein-proxy with real peers: conformance, gRPC, xDS, hot restart, WebSocket, 1 GiB transfers, smuggling, a soak.

    tools/proxy-check.py [--program .build/release/skein-proxy] [--size MIB] [--soak SECONDS] [PART]...

Each check prints one line, the last line is a count; ends with 1 when a check failed. A peer that is missing is a failure:
run it by `make proxy-check`, which makes the environment of tools/requirements.txt first.
"""
import argparse
import http.server
import pathlib
import re
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from peers import smuggling, transfers, websocket_cases  # noqa: E402
from peers.proxy import Proxy, cluster, free_port, http_manager, listener  # noqa: E402

results = []


def check(name, passed, detail=""):
    results.append((name, bool(passed)))
    print(f"{'ok  ' if passed else 'FAIL'} {name}{': ' + str(detail) if detail != '' else ''}", flush=True)


def script(name, *command, timeout=300, summary=r".*"):
    """Another program of ours: its last line that fits is the detail, its failures are shown."""
    begin = time.monotonic()
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, timeout=timeout)
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
    for line in lines:
        if line.startswith(("FAILED", "FAIL ")):
            print(f"     {line}")
    if done.returncode:
        print("\n".join("     " + line for line in lines[-12:]))
    fitting = [line for line in lines if re.search(summary, line)]
    check(name, done.returncode == 0, f"{fitting[-1] if fitting else 'no summary'} ({time.monotonic() - begin:.0f} s)")


class Page(http.server.BaseHTTPRequestHandler):
    """Answers everything with a few bytes."""
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def answer(self):
        self.rfile.read(int(self.headers.get("content-length") or 0))
        if "chunked" in self.headers.get("transfer-encoding", ""):
            while (count := int(self.rfile.readline().split(b";")[0] or b"0", 16)):
                self.rfile.read(count + 2)
            while self.rfile.readline().strip():
                pass
        self.send_response(200)
        self.send_header("content-length", "10")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(b"0123456789")

    do_GET = do_HEAD = do_POST = do_OPTIONS = do_PUT = do_DELETE = answer

    def log_message(self, *_):
        pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 512

    def handle_error(self, *_):
        pass  # Requests are cut short on purpose.


def conformance(options):
    server = Server(("127.0.0.1", 0), Page)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = free_port()
    entry = listener("in", port, http_manager([{"match": {"prefix": "/"}, "route": {"cluster": "backend"}}]))
    with Proxy(options.program, [entry], [cluster("backend", [server.server_port])]) as proxy:
        script("HTTP/2 conformance, frame by frame", str(HERE / "conformance/h2.py"), f"127.0.0.1:{port}", "--timeout", "2",
               summary=r"\d+ cases")
        check("HTTP/2 conformance: the proxy runs", proxy.is_running())
    server.shutdown()


def grpc(options):
    script("gRPC: a real client and server, 1,000 streams at once", str(HERE / "conformance/grpc_cases.py"), options.program,
           "--streams", "1000", summary=r"\d+ failed")


def xds(options):
    script("xDS: a control plane that is not ours", str(HERE / "xds-check.py"), options.program, summary="none failed")


def restart(options):
    script("hot restart under load", str(HERE / "restart-check.py"), options.program, summary="none failed")


def websocket(options):
    websocket_cases.run(options.program, check)


def transfer(options):
    transfers.run(options.program, options.size << 20, check)


def smuggle(options):
    smuggling.run(options.program, check)


def soak(options):
    script(f"soak of {options.soak} seconds", str(HERE / "soak.py"), "--program", options.program, "--seconds", str(options.soak),
           timeout=options.soak + 180, summary=r"^soak: ")


PARTS = {"conformance": conformance, "grpc": grpc, "xds": xds, "restart": restart, "websocket": websocket, "smuggling": smuggle,
         "transfers": transfer, "soak": soak}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", default=str(HERE.parent / ".build/release/skein-proxy"))
    parser.add_argument("--size", type=int, default=1024, help="MiB of a transfer")
    parser.add_argument("--soak", type=int, default=60, help="seconds")
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS])
    options = parser.parse_args()
    options.program = str(pathlib.Path(options.program).resolve())
    begin = time.monotonic()
    for name in options.parts or PARTS:
        start = time.monotonic()
        try:
            PARTS[name](options)
        except Exception as error:  # noqa: BLE001: the other parts are tried all the same
            check(f"{name} ran to its end", False, f"{type(error).__name__}: {error}")
        print(f"     {name}: {time.monotonic() - start:.0f} s", flush=True)
    failed = [name for name, passed in results if not passed]
    print(f"proxy-check: {len(results) - len(failed)} passed, {len(failed)} failed, {time.monotonic() - begin:.0f} s")
    for name in failed:
        print(f"FAILED {name}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
