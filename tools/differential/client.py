"""What a client does: the steps of a case. Each step runs on one side and gives back what it saw."""
import asyncio
import json
import re
import socket
import ssl
from dataclasses import dataclass, field
from typing import Any

import h2.exceptions

import http2
from http2 import printable
from upstreams import first, read_chunked, reset

REPLY_TIMEOUT = 10.0
END_TIMEOUT = 2.0


@dataclass
class ClientTLS:
    """How the client speaks TLS."""

    sni: str | None = "a.example"
    alpn: list | None = None
    certificate: str | None = None
    ca: str = "ca"
    verify: bool = True
    min_version: str | None = None
    max_version: str | None = None
    ciphers: str | None = None

    def context(self, certs) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        if self.verify:
            context.load_verify_locations(f"{certs}/{self.ca}.pem")
        else:
            context.verify_mode = ssl.CERT_NONE
        if self.certificate:
            context.load_cert_chain(f"{certs}/{self.certificate}.pem", f"{certs}/{self.certificate}.key")
        if self.alpn:
            context.set_alpn_protocols(self.alpn)
        if self.min_version:
            context.minimum_version = getattr(ssl.TLSVersion, self.min_version)
        if self.max_version:
            context.maximum_version = getattr(ssl.TLSVersion, self.max_version)
        if self.ciphers:
            context.set_ciphers(self.ciphers)
        return context


def tls_facts(writer) -> dict:
    tls = writer.get_extra_info("ssl_object")
    certificate = tls.getpeercert() or {}
    names = [value for _, value in certificate.get("subjectAltName", ())]
    return {"version": tls.version(), "alpn": tls.selected_alpn_protocol(), "server": names}


def tls_failure(error) -> str:
    """The alert that ended a handshake, without what only our library says."""
    text = str(error)
    found = re.search(r"\[SSL: (\w+)\]", text)
    return found.group(1) if found else type(error).__name__


async def connect(side, listener, tls=None, source=None):
    context = tls.context(side.certs) if tls else None
    local = (source, 0) if source else None
    kind = "path" if isinstance(side.ports.get(listener), str) else "port"
    if kind == "path":
        return await asyncio.open_unix_connection(side.ports[listener])
    return await asyncio.wait_for(asyncio.open_connection(
        "127.0.0.1", side.ports[listener], ssl=context, local_addr=local, limit=1 << 22,
        server_hostname=(tls.sni or "") if tls else None), REPLY_TIMEOUT)


async def read_response(reader, method="GET") -> dict:
    """One HTTP/1 response as it came: names, order and framing untouched."""
    seen: dict[str, Any] = {"interim": []}
    while True:
        try:
            data = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return {**seen, "status": None, "end": "closed without a head" if not error.partial else "closed in the head"}
        except (ConnectionError, ssl.SSLError) as error:
            return {**seen, "status": None, "end": tls_failure(error)}
        lines = data[:-4].decode("latin-1").split("\r\n")
        version, status, reason = (lines[0].split(" ", 2) + ["", ""])[:3]
        headers = [tuple(part.strip(" \t") for part in line.partition(":")[::2]) for line in lines[1:]]
        if status.startswith("1") and status != "101":
            seen["interim"].append({"status": int(status), "headers": headers})
            continue
        break
    seen.update(version=version, status=int(status), reason=reason, headers=headers, body="", trailers=[], end="complete")
    body = b""
    try:
        if method == "HEAD" or status in ("204", "304", "101") or (method == "CONNECT" and status.startswith("2")):
            pass
        elif (first(headers, "transfer-encoding") or "").lower() == "chunked":
            body, trailers = await read_chunked(reader)
            seen["trailers"] = trailers
        elif first(headers, "content-length") is not None:
            body = await reader.readexactly(int(first(headers, "content-length")))
        else:
            body = await reader.read()
            seen["end"] = "until close"
    except asyncio.IncompleteReadError as error:
        body, seen["end"] = error.partial, "cut short"
    except (ConnectionError, ValueError) as error:
        seen["end"] = f"cut short: {type(error).__name__}"
    seen["raw_body"] = body
    return seen


async def wait_for_end(reader, timeout=END_TIMEOUT) -> str:
    try:
        rest = await asyncio.wait_for(reader.read(), timeout)
        return "closed" if not rest else f"closed after {printable(rest[:2000])}"
    except asyncio.TimeoutError:
        return "open"
    except ConnectionError:
        return "reset"


def finish(seen, options) -> dict:
    body = seen.pop("raw_body", b"")
    if options.get("body_length"):
        seen["body"] = f"{len(body)} bytes"
    else:
        seen["body"] = printable(body)
    return seen


class Step:
    requests = 0  # access log lines it is expected to make

    async def run(self, side) -> dict | None:
        raise NotImplementedError


class Request(Step):
    """One HTTP/1.1 request, on a connection of its own unless `conn` names one of the case's."""

    requests = 1

    def __init__(self, method, path, headers=(), body=None, *, host="a.example", listener="main", conn=None, tls=None,
                 chunked=False, trailers=(), version="1.1", end=False, source=None, body_length=False, pause=0.0, expect=False,
                 abandon=None, timeout=REPLY_TIMEOUT, prefix=b"", save=None):
        self.method, self.path, self.headers, self.body = method, path, list(headers), body
        self.host, self.listener, self.conn, self.tls = host, listener, conn, tls
        self.chunked, self.trailers, self.version, self.end = chunked, trailers, version, end
        self.source, self.options, self.pause, self.expect = source, {"body_length": body_length}, pause, expect
        self.abandon, self.timeout, self.prefix, self.save = abandon, timeout, prefix, save

    def head(self, side) -> bytes:
        lines = [f"{self.method} {self.path} HTTP/{self.version}"]
        if self.host is not None:
            lines.append(f"host: {side.fill(self.host)}")
        for name, value in self.headers:
            value = value(side) if callable(value) else value
            lines.append(f"{name}: {side.fill(value)}")
        if self.chunked:
            lines.append("transfer-encoding: chunked")
        elif self.body is not None and not any(n.lower() == "content-length" for n, _ in self.headers):
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"

    def body_bytes(self) -> bytes:
        if self.body is None and not self.chunked:
            return b""
        if not self.chunked:
            return self.body
        out = b"%x\r\n%b\r\n" % (len(self.body), self.body) if self.body else b""
        return out + b"0\r\n" + "".join(f"{n}: {v}\r\n" for n, v in self.trailers).encode() + b"\r\n"

    async def run(self, side):
        try:
            reader, writer = await side.connection(self.conn, self.listener, self.tls, self.source)
        except (ssl.SSLError, ConnectionError) as error:
            return {"handshake": tls_failure(error)}
        out = {}
        if self.tls and (self.conn is None or writer not in side.told):
            try:
                out["tls"] = tls_facts(writer)
            except ValueError:
                return {"handshake": "ended by the server"}
            side.told.add(writer)
        try:
            writer.write(self.prefix + self.head(side))
            if self.expect or self.pause:
                await writer.drain()
                if self.expect:
                    await asyncio.sleep(0.1)
                await asyncio.sleep(self.pause)
            writer.write(self.body_bytes())
            await writer.drain()
        except ConnectionError:
            pass
        if self.abandon is not None:
            await asyncio.sleep(self.abandon)
            writer.close()
            return {"end": "abandoned"}
        try:
            seen = await asyncio.wait_for(read_response(reader, self.method), self.timeout)
        except asyncio.TimeoutError:
            return {**out, "end": "no answer in time"}
        if self.save:
            side.saved[self.save] = seen
        out.update(finish(seen, self.options))
        if self.end:
            out["connection"] = await wait_for_end(reader)
        if self.conn is None:
            writer.close()
        return out


def get(path="/", headers=(), **options) -> Request:
    return Request("GET", path, headers, **options)


def post(path="/", body=b"body", headers=(), **options) -> Request:
    return Request("POST", path, headers, body, **options)


class Raw(Step):
    """Bytes as they are; then `responses` responses are read, then (unless end=False) the end of the connection."""

    def __init__(self, data, *, responses=1, listener="main", conn=None, tls=None, end=True, requests=None, pieces=None, methods=()):
        self.pieces = pieces or [data]
        self.responses, self.listener, self.conn, self.tls, self.end = responses, listener, conn, tls, end
        self.requests = responses if requests is None else requests
        self.methods = methods

    async def run(self, side):
        reader, writer = await side.connection(self.conn, self.listener, self.tls)
        out = []
        try:
            for piece in self.pieces:
                if isinstance(piece, (int, float)):
                    await asyncio.sleep(piece)
                else:
                    writer.write(side.fill_bytes(piece))
                    await writer.drain()
        except ConnectionError:
            pass
        for index in range(self.responses):
            method = self.methods[index] if index < len(self.methods) else "GET"
            try:
                out.append(finish(await asyncio.wait_for(read_response(reader, method), REPLY_TIMEOUT), {}))
            except asyncio.TimeoutError:
                out.append({"end": "no answer in time"})
                break
        seen = {"responses": out}
        if self.end:
            seen["connection"] = await wait_for_end(reader)
        if self.conn is None:
            writer.close()
        return seen


class Upgrade(Step):
    """An upgraded (or CONNECT) tunnel: the request, its answer, then bytes and what comes back."""

    requests = 1

    def __init__(self, request, *exchange, end="close", listener="main"):
        self.request, self.exchange, self.end, self.listener = request, exchange, end, listener

    async def run(self, side):
        reader, writer = await side.connection(None, self.listener, self.request.tls)
        writer.write(self.request.head(side))
        seen = finish(await asyncio.wait_for(read_response(reader, self.request.method), REPLY_TIMEOUT), {})
        seen["exchange"] = []
        for item in self.exchange:
            writer.write(item)
            try:
                seen["exchange"].append(printable(await asyncio.wait_for(reader.readexactly(len(item)), END_TIMEOUT)))
            except (asyncio.IncompleteReadError, asyncio.TimeoutError, ConnectionError) as error:
                seen["exchange"].append(type(error).__name__)
        writer.close()
        return seen


class Resumed(Step):
    """Two requests, each on a connection of its own, the second with the session of the first: whether the server goes on with it."""

    requests = 2

    def __init__(self, tls, listener="main"):
        self.tls, self.listener = tls, listener

    async def run(self, side):
        context = self.tls.context(side.certs)
        session, first = await asyncio.to_thread(self.ask, side, context, None)
        _, second = await asyncio.to_thread(self.ask, side, context, session)
        return {"first": first, "second": second}

    def ask(self, side, context, session):
        with socket.create_connection(("127.0.0.1", side.ports[self.listener]), REPLY_TIMEOUT) as plain:
            with context.wrap_socket(plain, server_hostname=self.tls.sni or "", session=session) as one:
                one.sendall(b"GET / HTTP/1.1\r\nhost: a.example\r\nconnection: close\r\n\r\n")
                answer = b"".join(iter(lambda: one.recv(65536), b""))
                # Tickets come before the answer.
                return one.session, {"status": answer[9:12].decode(), "is_resumed": one.session_reused}


class TCP(Step):
    """Bytes to a listener, and what comes back. Items: bytes, seconds, ("read", n), "half", "read-all", "close", "reset"."""

    requests = 1

    def __init__(self, *items, listener="main", tls=None, logs=1, source=None):
        self.items, self.listener, self.tls, self.requests, self.source = items, listener, tls, logs, source

    async def run(self, side):
        seen = {"read": []}
        try:
            reader, writer = await connect(side, self.listener, self.tls, self.source)
        except (ssl.SSLError, ConnectionError) as error:
            return {"handshake": tls_failure(error)}
        if self.tls:
            seen["tls"] = tls_facts(writer)
        try:
            for item in self.items:
                if isinstance(item, bytes):
                    writer.write(side.fill_bytes(item))
                    await writer.drain()
                elif isinstance(item, (int, float)):
                    await asyncio.sleep(item)
                elif item == "half":
                    writer.write_eof()
                elif item == "read-all":
                    seen["read"].append(printable(await asyncio.wait_for(reader.read(), 5)))
                elif item == "close":
                    writer.close()
                elif item == "reset":
                    reset(writer)
                else:
                    seen["read"].append(printable(await asyncio.wait_for(reader.readexactly(item[1]), 5)))
        except asyncio.IncompleteReadError as error:
            seen["read"].append("cut: " + printable(error.partial))
        except asyncio.TimeoutError:
            seen["read"].append("nothing in time")
        except (ConnectionError, ssl.SSLError) as error:
            seen["read"].append(tls_failure(error))
        writer.close()
        return seen


class UDP(Step):
    """Datagrams, each with one answer (or none in time)."""

    def __init__(self, *data, listener="main", timeout=1.0):
        self.data, self.listener, self.timeout = data, listener, timeout

    async def run(self, side):
        loop = asyncio.get_running_loop()
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.setblocking(False)
        sock.connect(("127.0.0.1", side.ports[self.listener]))
        seen = []
        for data in self.data:
            try:
                await loop.sock_sendall(sock, data)
                seen.append(printable(await asyncio.wait_for(loop.sock_recv(sock, 65536), self.timeout)))
            except (asyncio.TimeoutError, ConnectionError) as error:
                seen.append(type(error).__name__)
        sock.close()
        return {"datagrams": seen}


@dataclass
class Stream:
    """One request of an HTTP/2 client."""

    method: str = "GET"
    path: str = "/"
    headers: list = field(default_factory=list)
    body: bytes | list | None = None  # a list: pieces and seconds
    trailers: list | None = None
    authority: str = "a.example"
    scheme: str = "http"
    pseudo: list | None = None  # instead of the usual ones
    cancel: float | None = None  # RST_STREAM(CANCEL) after so many seconds
    open: bool = False  # the stream is not ended
    wait: bool = True  # read the response before the next request begins


class HTTP2(Step):
    """Requests on one HTTP/2 connection. `raw`: bytes after the preface instead."""

    def __init__(self, *streams, listener="main", tls=None, logs=None, together=False, raw=None, settings=None, end=False):
        self.streams, self.listener, self.tls, self.together = streams, listener, tls, together
        self.raw, self.settings, self.end = raw, settings, end
        self.requests = len(streams) if logs is None else logs

    async def run(self, side):
        loop = asyncio.get_running_loop()
        context = self.tls.context(side.certs) if self.tls else None
        try:
            transport, client = await loop.create_connection(
                http2.ClientConnection, "127.0.0.1", side.ports[self.listener], ssl=context,
                server_hostname=(self.tls.sni or "") if self.tls else None)
        except (ssl.SSLError, ConnectionError) as error:
            return {"handshake": tls_failure(error)}
        seen = {}
        if self.settings:
            client.http2.update_settings(self.settings)
            client.flush()
        if self.raw is not None:
            transport.write(self.raw)
        numbers = []
        for stream in self.streams:
            number = client.http2.get_next_available_stream_id()
            numbers.append(number)
            try:
                await asyncio.wait_for(self.send(client, number, stream, side), REPLY_TIMEOUT)
                if not self.together and stream.wait:
                    await asyncio.wait_for(client.stream(number)["done"].wait(), REPLY_TIMEOUT)
            except asyncio.TimeoutError:
                client.stream(number)["end"] = "no answer in time"
            except (h2.exceptions.ProtocolError, ConnectionError) as error:
                client.stream(number)["end"] = client.stream(number)["end"] or type(error).__name__
        for number in numbers:
            try:
                await asyncio.wait_for(client.stream(number)["done"].wait(), REPLY_TIMEOUT)
            except asyncio.TimeoutError:
                client.stream(number)["end"] = "no answer in time"
        seen["streams"] = []
        for number in numbers:
            stream = client.stream(number)
            seen["streams"].append({
                "interim": stream["interim"], "status": stream["status"], "headers": stream["headers"],
                "body": printable(stream["body"]), "trailers": stream["trailers"], "end": stream["end"]})
        if self.end:
            try:
                await asyncio.wait_for(client.gone.wait(), END_TIMEOUT)
                seen["connection"] = "closed"
            except asyncio.TimeoutError:
                seen["connection"] = "open"
            seen["goaway"] = client.goaway
        transport.close()
        return seen

    async def send(self, client, number, stream, side):
        client.stream(number)
        pseudo = stream.pseudo if stream.pseudo is not None else [
            (":method", stream.method), (":scheme", stream.scheme), (":authority", side.fill(stream.authority)), (":path", stream.path)]
        headers = [(name, side.fill(value)) for name, value in [*pseudo, *stream.headers]]
        nothing_more = stream.body is None and stream.trailers is None and not stream.open
        client.http2.send_headers(number, headers, end_stream=nothing_more)
        client.flush()
        pieces = stream.body if isinstance(stream.body, list) else [] if stream.body is None else [stream.body]
        for index, piece in enumerate(pieces):
            if isinstance(piece, bytes):
                last = index == len(pieces) - 1 and stream.trailers is None and not stream.open
                await client.send_data(number, piece, last)
            else:
                await asyncio.sleep(piece)
        if stream.trailers is not None:
            client.http2.send_headers(number, stream.trailers, end_stream=True)
            client.flush()
        if stream.cancel is not None:
            await asyncio.sleep(stream.cancel)
            client.http2.reset_stream(number, 8)
            client.flush()
            client.stream(number)["end"] = "cancelled"
            client.stream(number)["done"].set()


class Wait(Step):
    """Time that has to pass."""

    def __init__(self, seconds):
        self.seconds = seconds

    async def run(self, side):
        await asyncio.sleep(self.seconds)


class Health(Step):
    """From here on the host's health check answers with this status ("hang": not at all)."""

    def __init__(self, host, status, headers=""):
        self.host, self.status, self.headers = host, status, headers

    async def run(self, side):
        side.health[self.host] = self.status
        side.health_headers[self.host] = self.headers


class Until(Step):
    """Waits until a statistic has a value (or one that a function accepts)."""

    def __init__(self, stat, value, timeout=8.0):
        self.stat, self.value, self.timeout = stat, value, timeout

    async def run(self, side):
        loop = asyncio.get_running_loop()
        end = loop.time() + self.timeout
        while True:
            now = (await side.stats()).get(self.stat)
            if (self.value(now) if callable(self.value) else now == self.value):
                await asyncio.sleep(0.05)  # the gauge may be set before the workers know
                return {"until": f"{self.stat} reached"}
            if loop.time() > (end if now is not None else end - self.timeout + 1):
                return {"until": f"{self.stat} stayed {now}"}
            await asyncio.sleep(0.03)


class Together(Step):
    """Steps at the same time; what they saw is compared in their order (or sorted)."""

    def __init__(self, *steps, stagger=0.0, sort=False):
        self.steps, self.stagger, self.sort = steps, stagger, sort
        self.requests = sum(step.requests for step in steps)

    async def run(self, side):
        async def one(index, step):
            await asyncio.sleep(index * self.stagger)
            return await step.run(side)
        out = await asyncio.gather(*(one(i, step) for i, step in enumerate(self.steps)))
        return {"together": sorted(out, key=lambda o: json.dumps(o, default=str)) if self.sort else out}


class Repeat(Step):
    """The same step several times; only how often each (status, body, flag) came is compared."""

    def __init__(self, count, step, key=lambda seen: f"{seen.get('status')} {seen.get('body')}"):
        self.count, self.step, self.key = count, step, key
        self.requests = count * step.requests

    async def run(self, side):
        tally = {}
        for _ in range(self.count):
            key = self.key(await self.step.run(side))
            tally[key] = tally.get(key, 0) + 1
        return {"tally": dict(sorted(tally.items()))}


def spread(count=6, path="/", **options) -> Repeat:
    """How many of `count` requests each host got: which is first differs from run to run."""
    return Repeat(count, Request("GET", path, **options))


class Share(Step):
    """A step many times: whether each answer's share is within the bounds given (`{body: (low, high)}`)."""

    def __init__(self, count, step, shares):
        self.count, self.step, self.shares, self.requests = count, step, shares, count * step.requests

    async def run(self, side):
        tally = {}
        for _ in range(self.count):
            seen = await self.step.run(side)
            key = seen.get("body") or str(seen.get("status"))
            tally[key] = tally.get(key, 0) + 1
        out = {}
        for body, (low, high) in self.shares.items():
            share = tally.pop(body, 0) / self.count
            out[body] = "within" if low <= share <= high else f"{share:.2f} not in {low}..{high}"
        out["others"] = sorted(tally)
        return {"shares": out}


class Admin(Step):
    """A request to the admin server; `pick` makes of the body what is compared."""

    def __init__(self, path, method="GET", pick=None, headers=()):
        self.path, self.method, self.pick, self.names = path, method, pick, headers

    async def run(self, side):
        status, headers, body = await side.admin(self.method, side.fill(self.path))
        seen = {"status": status}
        if self.pick is None:
            seen["body"] = printable(body)
        else:
            try:
                seen["picked"] = self.pick(body.decode())
            except Exception as error:  # What the page was is then the finding.
                seen["picked"] = f"{type(error).__name__}: {error}"
        for name in self.names:
            seen[name] = first(headers, name)
        return seen


class Restart(Step):
    """An upstream host goes away (`up=False`) or comes back."""

    def __init__(self, host, up):
        self.host, self.up = host, up

    async def run(self, side):
        await (side.start_upstream(self.host) if self.up else side.stop_upstream(self.host))


class Write(Step):
    """Writes a file in the side's directory, by rename (what a file watcher sees)."""

    def __init__(self, name, text):
        self.name, self.text = name, text

    async def run(self, side):
        side.write(self.name, self.text)
