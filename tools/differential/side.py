"""One of the two: a proxy's process, its upstream servers, its admin port and its access log."""
import asyncio
import json
import os
import pathlib
import random
import re
import shutil
import socket

import yaml

from client import connect, read_response
from http2 import HTTP2Server
from upstreams import HTTP1Server, TCPServer, UDPServer, reset
from model import Upstream

KINDS = {"http1": HTTP1Server, "http2": HTTP2Server, "tcp": TCPServer, "udp": UDPServer}
START_TIMEOUT = 40.0


class NotSupported(Exception):
    """skein-proxy refused the configuration, with this reason."""


class Refused(Exception):
    """Envoy refused the configuration: the case is wrong."""


def free_port(taken, kind=socket.SOCK_STREAM) -> int:
    """A free port below the ephemeral range, so that no outgoing connection takes it meanwhile."""
    while True:
        port = random.SystemRandom().randrange(10_000, 32_000)
        if port in taken:
            continue
        try:
            for family in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                with socket.socket(socket.AF_INET, family) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        taken.add(port)
        return port


class Side:
    def __init__(self, name, binary, arguments, setup, certs, directory):
        self.name, self.binary, self.arguments, self.setup = name, binary, arguments, setup
        self.certs, self.dir = str(certs), pathlib.Path(directory)
        self.ports, self.servers, self.held = {}, {}, []
        self.tasks, self.writers = set(), {}
        self.process = None
        self.health, self.health_headers = {}, {}
        self.begin({})

    def begin(self, script):
        """A new case: what the upstream servers answer, and empty notes."""
        self.queues = {name: list(answers) for name, answers in script.items() if not isinstance(answers, str)}
        self.tcp_script = {name: answers for name, answers in self.queues.items()
                           if self.setup.upstreams.get(name, Upstream()).kind == "tcp"}
        self.records, self.connections, self.health_checks = [], [], []
        self.named, self.saved, self.told = {}, {}, set()

    def next_answer(self, host):
        for name in (host, "*"):
            if self.queues.get(name):
                return self.queues[name].pop(0)
        return None

    # Configuration

    def fill(self, text):
        if not isinstance(text, str) or "$" not in text:
            return text
        text = text.replace("$dir", str(self.dir)).replace("$certs", self.certs)
        return re.sub(r"\$port:([A-Za-z0-9_-]+)", lambda found: str(self.port(found.group(1))), text)

    def fill_bytes(self, data):
        return self.fill(data.decode("latin-1")).encode("latin-1") if b"$port:" in data else data

    def port(self, name):
        if name not in self.ports:
            self.ports[name] = free_port(self.taken)
        return self.ports[name]

    def names(self, value):
        """Ports by their names: what stands for them in what is compared."""
        if isinstance(value, str):
            for name, port in self.ports.items():
                value = re.sub(rf"(?<!\d){port}(?!\d)", f"<{name}>", value)
            return value.replace(str(self.dir), "<dir>")
        if isinstance(value, int) and not isinstance(value, bool) and value >= 10_000 and value in self.ports.values():
            return next(f"<{name}>" for name, port in self.ports.items() if port == value)
        if isinstance(value, dict):
            return {self.names(key): self.names(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.names(item) for item in value]
        return value

    def write(self, name, text):
        path = self.dir / name
        other = path.with_suffix(".new")
        other.write_text(self.fill(text if isinstance(text, str) else json.dumps(text)))
        os.replace(other, path)

    def write_config(self):
        config = self.setup.config
        if isinstance(config, str):
            path, text = self.dir / "config.yaml", self.fill(config)
        else:
            text = json.dumps(config, indent=1)
            text = re.sub(r'"\$port:([A-Za-z0-9_-]+)"', lambda found: str(self.port(found.group(1))), text)
            path, text = self.dir / "config.json", self.fill(text)
        path.write_text(text)
        return path

    # Upstream servers

    def upstream_names(self, text):
        listeners = {"admin"} | set(re.findall(r"LISTEN:([\w-]+)", text))
        return [name for name in self.ports if name not in listeners]

    async def start_upstream(self, name):
        upstream = self.setup.upstreams.get(name) or Upstream()
        server = KINDS[upstream.kind](self, name, upstream)
        for held in [h for h in self.held if h.getsockname()[1] == self.ports[name]]:
            held.close()
            self.held.remove(held)
        await server.start(self.port(name))
        self.servers[name] = server

    async def stop_upstream(self, name):
        server = self.servers.pop(name, None)
        if server:
            await server.stop()
        for writer in list(self.writers.get(name, ())):
            reset(writer)
        self.hold(name)

    def hold(self, name):
        """Keeps the port without listening: connections are refused."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", self.port(name)))
        self.held.append(sock)

    # The process

    async def start(self, taken):
        self.taken = taken
        for attempt in range(3):
            try:
                return await self.start_once()
            except OSError:
                await self.stop()
                self.ports = {}
        raise Refused("no free ports")

    async def start_once(self):
        self.dir.mkdir(parents=True, exist_ok=True)
        for name, text in getattr(self.setup, "files", {}).items():
            self.write(name, text)
        path = self.write_config()
        listeners = listener_names(self.setup.config) | {"admin"}
        for name in list(self.ports):
            upstream = self.setup.upstreams.get(name)
            if name.startswith("dead"):
                self.hold(name)
            elif name not in listeners:
                await self.start_upstream(name)
                if upstream and upstream.unhealthy:
                    self.health[name] = 503
        self.log = open(self.dir / "proxy.log", "wb")
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "-c", str(path), "--concurrency", "1", *self.arguments, *self.setup.arguments,
            stdout=self.log, stderr=self.log)
        end = asyncio.get_running_loop().time() + START_TIMEOUT
        while True:
            if self.process.returncode is not None:
                text = self.output()
                if "ddress already in use" in text or "in use" in text:
                    raise OSError(text)
                raise (Refused if self.name == "envoy" else NotSupported)(text)
            try:
                status, _, _ = await self.admin("GET", "/ready")
                if status == 200 and await self.listens(listeners):
                    return
            except (OSError, asyncio.TimeoutError):
                pass
            if asyncio.get_running_loop().time() > end:
                raise (Refused if self.name == "envoy" else NotSupported)("not ready in time: " + self.output())
            await asyncio.sleep(0.02)

    async def listens(self, names) -> bool:
        """Whether the TCP listeners accept, without a connection that would be counted."""
        kinds = udp_names(self.setup.config)
        ports = {self.ports[name] for name in names if name in self.ports and name not in kinds}
        for _ in range(100):
            with open("/proc/net/tcp") as file:
                open_ones = {int(line.split()[1].split(":")[1], 16) for line in file.readlines()[1:] if line.split()[3] == "0A"}
            if ports <= open_ones:
                return True
            await asyncio.sleep(0.02)
        return True  # One that never listens is the cases' finding.

    def output(self) -> str:
        try:
            return (self.dir / "proxy.log").read_text(errors="replace")[-3000:]
        except FileNotFoundError:
            return ""

    async def stop(self):
        if self.process and self.process.returncode is None:
            self.process.kill()
        if self.process:
            await self.process.wait()
        for server in self.servers.values():
            await server.stop()
        for task in list(self.tasks):
            task.cancel()
        for sock in self.held:
            sock.close()
        self.servers, self.held = {}, []

    async def admin(self, method, path):
        reader, writer = await asyncio.open_connection("127.0.0.1", self.ports["admin"], limit=1 << 24)
        try:
            writer.write(f"{method} {path} HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode())
            seen = await asyncio.wait_for(read_response(reader, method), 5)
            if seen.get("status") is None:
                raise ConnectionError(seen["end"])
            return seen["status"], seen["headers"], seen.get("raw_body", b"")
        finally:
            writer.close()

    async def stats(self) -> dict:
        try:
            _, _, body = await self.admin("GET", "/stats")
        except (OSError, asyncio.TimeoutError):
            return {}
        out = {}
        for line in body.decode(errors="replace").split("\n"):
            name, _, value = line.rpartition(": ")
            if value.isdigit():
                out[self.names(name)] = int(value)
        return out

    async def connection(self, name, listener, tls=None, source=None):
        """A client's connection: a new one, or the case's one of this name."""
        if name is None:
            return await connect(self, listener, tls, source)
        if name not in self.named:
            self.named[name] = await connect(self, listener, tls, source)
        return self.named[name]

    def close_connections(self):
        for _, writer in self.named.values():
            writer.close()

    # Access log

    def log_size(self) -> int:
        try:
            return (self.dir / "access.log").stat().st_size
        except FileNotFoundError:
            return 0

    def log_lines(self, start) -> list:
        try:
            with open(self.dir / "access.log", "rb") as file:
                file.seek(start)
                return file.read().decode(errors="replace").splitlines()
        except FileNotFoundError:
            return []

    async def wait_for_lines(self, start, count, timeout=2.5) -> list:
        end = asyncio.get_running_loop().time() + timeout
        while len(lines := self.log_lines(start)) < count and asyncio.get_running_loop().time() < end:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.04)
        return self.log_lines(start)


def udp_names(config) -> set:
    """Names of ports of UDP listeners."""
    if isinstance(config, str):
        return set()
    addresses = [item.get("address", {}).get("socket_address", {}) for item in config["static_resources"]["listeners"]]
    return {a["port_value"].removeprefix("$port:") for a in addresses if a.get("protocol") == "UDP"}


def listener_names(config) -> set:
    """Names of ports that belong to listeners of the proxy itself."""
    if isinstance(config, str):
        config = yaml.safe_load(re.sub(r"\$port:([\w-]+)", r'"$port:\1"', config))
    out = set()

    def walk(node):
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "address" and isinstance(value, dict):
                    port = value.get("socket_address", {}).get("port_value")
                    if isinstance(port, str):
                        out.add(port.removeprefix("$port:"))
                else:
                    walk(value)
        elif isinstance(node, list):
            for item in node:
                walk(item)

    for item in (config.get("static_resources") or {}).get("listeners", []):
        walk({key: value for key, value in item.items() if key in ("address", "additional_addresses")})
    return out
