"""The scripted servers behind the proxies: HTTP/1.1 read and written by hand, raw TCP, UDP. HTTP/2 is in http2.py."""
import asyncio
import socket
import ssl
import struct

from model import Answer

REASONS = {100: "Continue", 101: "Switching Protocols", 103: "Early Hints", 200: "OK", 201: "Created", 204: "No Content",
           301: "Moved Permanently", 302: "Found", 304: "Not Modified", 400: "Bad Request", 404: "Not Found",
           409: "Conflict", 429: "Too Many Requests", 500: "Internal Server Error", 503: "Service Unavailable"}


def reset(writer):
    """Ends the connection with RST instead of FIN."""
    sock = writer.get_extra_info("socket")
    if sock is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def server_context(certs, tls) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    name = tls.get("certificate", "server")
    context.load_cert_chain(f"{certs}/{name}.pem", f"{certs}/{name}.key")
    if tls.get("client_ca"):
        context.load_verify_locations(f"{certs}/{tls['client_ca']}.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    if tls.get("alpn"):
        context.set_alpn_protocols(tls["alpn"])
    if tls.get("max_version"):
        context.maximum_version = getattr(ssl.TLSVersion, tls["max_version"])
    names = {}
    context.sni_callback = lambda sock, name, _: names.__setitem__(id(sock), name)
    context.seen_names = names
    return context


async def read_head(reader) -> tuple[str, list] | None:
    """The start line and the fields; None at a clean end."""
    try:
        data = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise ConnectionError(f"ended in a head: {error.partial[:200]!r}") from None
        return None
    lines = data[:-4].decode("latin-1").split("\r\n")
    fields = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        fields.append((name, value.strip(" \t")))
    return lines[0], fields


async def read_chunked(reader) -> tuple[bytes, list]:
    body = b""
    while True:
        size = int((await reader.readuntil(b"\r\n")).split(b";")[0], 16)
        if size == 0:
            break
        body += await reader.readexactly(size)
        await reader.readexactly(2)
    trailers = []
    while (line := (await reader.readuntil(b"\r\n"))[:-2]):
        name, _, value = line.decode("latin-1").partition(":")
        trailers.append((name, value.strip(" \t")))
    return body, trailers


def first(fields, name):
    return next((value for key, value in fields if key.lower() == name), None)


class HTTP1Server:
    """One upstream host that speaks HTTP/1.1."""

    def __init__(self, side, name, upstream):
        self.side, self.name, self.upstream = side, name, upstream

    async def start(self, port):
        context = server_context(self.side.certs, self.upstream.tls) if self.upstream.tls else None
        self.context = context
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port, ssl=context, limit=1 << 20)

    async def serve(self, reader, writer):
        self.side.connections.append(self.name)
        task = asyncio.current_task()
        self.side.tasks.add(task)
        self.side.writers.setdefault(self.name, set()).add(writer)
        try:
            prefix = None
            if self.upstream.proxy_protocol:
                prefix = await read_proxy_header(reader)
            while await self.request(reader, writer, prefix):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, ValueError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass
        finally:
            self.side.tasks.discard(task)
            self.side.writers[self.name].discard(writer)
            writer.close()

    async def request(self, reader, writer, prefix) -> bool:
        head = await read_head(reader)
        if head is None:
            return False
        line, fields = head
        method, target = (line.split(" ") + ["", ""])[:2]
        if target.startswith("/health"):
            status = self.side.health.get(self.name, 200)
            self.side.health_checks.append((self.name, line, fields))
            if status == "hang":
                await reader.read()
                return False
            extra = self.side.health_headers.get(self.name, "")
            writer.write(f"HTTP/1.1 {status} X\r\n{extra}content-length: 0\r\n\r\n".encode())
            await writer.drain()
            return first(fields, "connection") != "close"
        record = {"host": self.name, "line": line, "headers": fields, "body": b"", "trailers": []}
        if prefix is not None:
            record["proxy"] = prefix
        if self.upstream.tls:
            tls = writer.get_extra_info("ssl_object")
            record["tls"] = {"version": tls.version(), "alpn": tls.selected_alpn_protocol(),
                             "sni": self.context.seen_names.get(id(tls)), "peer": peer_name(tls)}
        if self.upstream.record:
            self.side.records.append(record)
        answer = self.side.next_answer(self.name) or self.upstream.default or Answer()
        if not answer.early:
            if first(fields, "expect"):
                writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            if (first(fields, "transfer-encoding") or "").lower() == "chunked":
                record["body"], record["trailers"] = await read_chunked(reader)
            elif first(fields, "content-length"):
                record["body"] = await reader.readexactly(int(first(fields, "content-length")))
        return await self.play(answer, method, fields, reader, writer, record)

    async def play(self, answer, method, fields, reader, writer, record) -> bool:
        if answer.hang:
            await reader.read()
            return False
        if answer.delay:
            await self.wait_or_end(reader, answer.delay)
        if answer.reset == "before":
            reset(writer)
            return False
        if answer.reset == "close":
            return False
        if answer.raw is not None:
            writer.write(answer.raw)
            await writer.drain()
            if answer.tunnel:
                await echo(reader, writer, record)
            if answer.reset == "body":
                await asyncio.sleep(0.05)
                reset(writer)
            return not answer.close and answer.reset is None
        for status, headers in answer.interim:
            writer.write(head_bytes(status, headers))
        headers = list(answer.headers)
        body = f"hello from {self.name}".encode() if answer.body is None else answer.body
        if answer.pieces is not None:
            body = b"".join(piece for piece in answer.pieces if isinstance(piece, bytes))
        has_body = method != "HEAD" and answer.status not in (204, 304) and answer.status >= 200
        chunked = answer.chunked or answer.trailers is not None
        if answer.close:
            headers.append(("connection", "close"))
        if answer.status >= 200 and answer.status != 204:
            if chunked:
                headers.append(("transfer-encoding", "chunked"))
            elif not any(name.lower() == "content-length" for name, _ in headers):
                headers.append(("content-length", str(len(body))))
        writer.write(head_bytes(answer.status, headers))
        await writer.drain()
        if answer.reset == "head":
            await asyncio.sleep(0.05)
            reset(writer)
            return False
        if answer.tunnel:
            await echo(reader, writer, record)
            return False
        if answer.body_delay:
            await self.wait_or_end(reader, answer.body_delay)
        if has_body:
            pieces = [body] if answer.pieces is None else answer.pieces
            if answer.reset == "body":
                writer.write(body[: len(body) // 2] if not chunked else b"5\r\nhello\r\n")
                await writer.drain()
                await asyncio.sleep(0.05)
                reset(writer)
                return False
            for piece in pieces:
                if not isinstance(piece, bytes):
                    await writer.drain()
                    await self.wait_or_end(reader, piece)
                elif chunked and piece:
                    writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                else:
                    writer.write(piece)
            if chunked:
                trailers = "".join(f"{name}: {value}\r\n" for name, value in answer.trailers or [])
                writer.write(b"0\r\n" + trailers.encode() + b"\r\n")
        await writer.drain()
        return not answer.close

    async def wait_or_end(self, reader, seconds):
        """Waits, but no longer than the peer does."""
        end = asyncio.get_running_loop().time() + seconds
        while (left := end - asyncio.get_running_loop().time()) > 0:
            if reader.at_eof():
                raise ConnectionError
            await asyncio.sleep(min(left, 0.02))

    async def stop(self):
        self.server.close()


def head_bytes(status, headers) -> bytes:
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'X')}"] + [f"{name}: {value}" for name, value in headers]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def peer_name(tls):
    """The client certificate's subject and URI names."""
    certificate = tls.getpeercert()
    if not certificate:
        return None
    return [value for kind, value in certificate.get("subjectAltName", ())]


async def echo(reader, writer, record):
    while data := await reader.read(65536):
        record["body"] += data
        writer.write(data)
        await writer.drain()


async def read_proxy_header(reader) -> str:
    start = await reader.readexactly(5)
    if start == b"PROXY":
        return (start + await reader.readuntil(b"\r\n")).decode()
    rest = await reader.readexactly(11)
    length = int.from_bytes(rest[9:11], "big")
    body = await reader.readexactly(length)
    return "v2 " + (start + rest + body).hex()


class TCPServer:
    """One upstream host that speaks bytes, by a script.

    The script is a list of: bytes (written), a number (seconds to wait), ("read", n), "read-all", "echo", "half" (FIN, goes
    on reading), "close", "reset".
    """

    def __init__(self, side, name, upstream):
        self.side, self.name, self.upstream = side, name, upstream

    async def start(self, port):
        context = server_context(self.side.certs, self.upstream.tls) if self.upstream.tls else None
        self.server = await asyncio.start_server(self.serve, "127.0.0.1", port, ssl=context)

    async def serve(self, reader, writer):
        record = {"host": self.name, "body": b""}
        task = asyncio.current_task()
        self.side.tasks.add(task)
        try:
            if self.upstream.proxy_protocol:
                record["proxy"] = await read_proxy_header(reader)
            self.side.records.append(record)
            for step in self.side.tcp_script.get(self.name, self.upstream.script or ["echo"]):
                if isinstance(step, bytes):
                    writer.write(step)
                    await writer.drain()
                elif isinstance(step, (int, float)):
                    await asyncio.sleep(step)
                elif step == "echo":
                    await echo(reader, writer, record)
                elif step == "read-all":
                    while data := await reader.read(65536):
                        record["body"] += data
                elif step == "half":
                    writer.write_eof()
                elif step == "reset":
                    reset(writer)
                    return
                elif step == "close":
                    return
                else:
                    record["body"] += await reader.readexactly(step[1])
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.side.tasks.discard(task)
            writer.close()

    async def stop(self):
        self.server.close()


class UDPServer(asyncio.DatagramProtocol):
    """One upstream host that sends each datagram back, with its name before it."""

    def __init__(self, side, name, upstream):
        self.side, self.name = side, name

    async def start(self, port):
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: self, local_addr=("127.0.0.1", port))

    def connection_made(self, transport):
        self.transport = transport

    def datagram_received(self, data, peer):
        self.side.records.append({"host": self.name, "body": data})
        self.transport.sendto(self.name.encode() + b": " + data, peer)

    async def stop(self):
        self.transport.close()
