#!/usr/bin/python3
"""skein-proxy under load: requests per second and CPU microseconds per request. usage: run.py [SECONDS]"""
import json
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent
PROXY = os.environ.get("SKEIN_PROXY", str(ROOT / ".build/release/skein-proxy"))
SECONDS = int(sys.argv[1]) if len(sys.argv) > 1 and __name__ == "__main__" else 5
HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def address(port):
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def bootstrap(port, admin, action, clusters=()):
    manager = {
        "@type": HCM, "stat_prefix": "bench", "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {"virtual_hosts": [
            {"name": "all", "domains": ["*"], "routes": [{"match": {"prefix": "/"}, **action}]}]}}
    listener = {"name": "bench", "address": address(port), "filter_chains": [
        {"filters": [{"name": "http", "typed_config": manager}]}]}
    return {"admin": {"address": address(admin)}, "static_resources": {"listeners": [listener], "clusters": list(clusters)}}


def start(folder, name, core, config):
    path = pathlib.Path(folder) / f"{name}.json"
    path.write_text(json.dumps(config))
    return subprocess.Popen(["taskset", "-c", str(core), PROXY, "-c", str(path), "--concurrency", "1"], stderr=subprocess.DEVNULL)


def wait(port):
    for _ in range(100):
        try:
            return urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
        except OSError:
            time.sleep(0.05)
    sys.exit(f"nothing answers on port {port}")


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


def main():
    with tempfile.TemporaryDirectory() as folder:
        body = {"direct_response": {"status": 200, "body": {"inline_string": "x" * 1024}}}
        cluster = {"name": "upstream", "type": "STATIC", "connect_timeout": "5s", "load_assignment": {
            "cluster_name": "upstream", "endpoints": [{"lb_endpoints": [{"endpoint": {"address": address(18201)}}]}]}}
        upstream = start(folder, "upstream", 1, bootstrap(18201, 18211, body))
        proxy = start(folder, "proxy", 0, bootstrap(18202, 18212, {"route": {"cluster": "upstream"}}, [cluster]))
        try:
            wait(18201)
            wait(18202)
            idle = memory_mib(proxy.pid)
            before = cpu_seconds(proxy.pid)
            output = subprocess.run(
                ["taskset", "-c", "1", "wrk", "-t1", "-c64", f"-d{SECONDS}s", "http://127.0.0.1:18202/"],
                capture_output=True, text=True, check=True).stdout
            used = cpu_seconds(proxy.pid) - before
            requests = int(re.search(r"(\d+) requests in", output).group(1))
            rate = float(re.search(r"Requests/sec:\s+([\d.]+)", output).group(1))
            failed = re.search(r"Non-2xx or 3xx responses: (\d+)", output)
            print(f"h1-1k, 64 connections: {rate:,.0f} requests/s, {used / requests * 1e6:.1f} us CPU per request, "
                  f"RSS {idle:.1f} MiB idle, {memory_mib(proxy.pid):.1f} MiB after; failed: {failed.group(1) if failed else 0}")
        finally:
            for process in (proxy, upstream):
                process.terminate()
                process.wait()


if __name__ == "__main__":
    main()
