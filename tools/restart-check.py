#!/usr/bin/env python3
"""Replaces a running skein-proxy by another under load (--restart-epoch); no request and no connection may fail.

    tools/restart-check.py .build/debug/skein-proxy
"""
import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time

HCM = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def bootstrap(port, admin, text):
    manager = {"@type": HCM, "stat_prefix": "in", "http_filters": [{"name": "r", "typed_config": {"@type": ROUTER}}],
               "route_config": {"name": "r", "virtual_hosts": [{"name": "a", "domains": ["*"], "routes": [
                   {"match": {"prefix": "/"}, "direct_response": {"status": 200, "body": {"inline_string": text}}}]}]}}

    def address(number):
        return {"socket_address": {"address": "127.0.0.1", "port_value": number}}
    return json.dumps({"admin": {"address": address(admin)}, "static_resources": {"listeners": [
        {"name": "in", "address": address(port),
         "filter_chains": [{"filters": [{"name": "h", "typed_config": manager}]}]}]}})


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    return connection.getresponse().read().decode()


def wait(body, what):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        try:
            if body():
                return
        except OSError:
            pass
        time.sleep(0.05)
    sys.exit(f"waited in vain for {what}")


def main():
    port, admin = free_port(), free_port()

    def start(epoch, text):
        return subprocess.Popen(
            [sys.argv[1], "--config-yaml", bootstrap(port, admin, text), "--restart-epoch", str(epoch), "--base-id",
             str(os.getpid()), "--concurrency", "2", "--parent-shutdown-time-s", "5", "-l", "warning"])
    old = start(0, "old")
    new = None
    done, seen, failures = threading.Event(), {"old": 0, "new": 0}, []

    def load(keeps):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        while not done.is_set():
            try:
                connection.request("GET", "/")
                seen[connection.getresponse().read().decode()] += 1
            except (OSError, http.client.HTTPException) as error:
                failures.append(repr(error))
                connection.close()
            if not keeps:
                connection.close()
    threads = [threading.Thread(target=load, args=(keeps,)) for keeps in (True, True, False, False)]
    try:
        wait(lambda: get(port, "/") == "old", "the first process")
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        new = start(1, "new")
        wait(lambda: old.poll() is not None, "the end of the first process")
        time.sleep(0.5)
        epoch = json.loads(get(admin, "/server_info"))["command_line_options"]["restart_epoch"]
        assert epoch == 1, epoch
    finally:
        done.set()
        for thread in threads:
            if thread.ident:
                thread.join()
        for process in (old, new):
            if process:
                process.kill()
                process.wait()
    assert not failures, f"{len(failures)} failed: {failures[:3]}"
    assert seen["old"] and seen["new"], seen
    print(f"{sum(seen.values())} requests, none failed: {seen}")


if __name__ == "__main__":
    main()
