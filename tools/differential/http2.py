"""HTTP/2 on both ends: the scripted server and the client, over the frame library h2."""
import asyncio
import base64
import importlib
import json

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings

from model import Answer
from upstreams import peer_name, server_context


def text(headers) -> list:
    return [(as_text(name), as_text(value)) for name, value in headers]


def as_text(value) -> str:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def grpc_frame(message: bytes) -> bytes:
    return b"\0" + len(message).to_bytes(4, "big") + message


def grpc_messages(body: bytes) -> list:
    out = []
    while len(body) >= 5:
        size = int.from_bytes(body[1:5], "big")
        out.append(body[5:5 + size])
        body = body[5 + size:]
    return out


def decode(name: str, data: bytes):
    """A protobuf message as JSON-like data."""
    from google.protobuf import json_format

    module, _, message = name.partition(":")
    value = getattr(importlib.import_module(module), message).FromString(data)
    return json.loads(json_format.MessageToJson(value, preserving_proto_field_name=True))


class Connection(asyncio.Protocol):
    """What both ends share: the state machine of h2 on a transport, with windows waited for."""

    def __init__(self, client: bool):
        self.http2 = h2.connection.H2Connection(h2.config.H2Configuration(
            client_side=client, header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False,
            validate_inbound_headers=False))
        self.window = asyncio.Event()
        self.gone = asyncio.Event()
        self.goaway = None

    def connection_made(self, transport):
        self.transport = transport
        self.http2.initiate_connection()
        self.flush()

    def connection_lost(self, error):
        self.gone.set()
        self.window.set()
        self.lost()

    def lost(self):
        pass

    def flush(self):
        data = self.http2.data_to_send()
        if data and not self.transport.is_closing():
            self.transport.write(data)

    def data_received(self, data):
        try:
            events = self.http2.receive_data(data)
        except h2.exceptions.ProtocolError as error:
            self.goaway = f"our library: {error}"
            self.flush()
            self.transport.close()
            return
        for event in events:
            if isinstance(event, h2.events.DataReceived):
                self.http2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, (h2.events.WindowUpdated, h2.events.RemoteSettingsChanged)):
                self.window.set()
            elif isinstance(event, h2.events.ConnectionTerminated):
                self.goaway = int(event.error_code or 0)
                self.terminated()
            self.handle(event)
        self.flush()

    def terminated(self):
        pass

    async def send_data(self, stream, data, end):
        view = memoryview(data)
        while True:
            room = min(self.http2.local_flow_control_window(stream), self.http2.max_outbound_frame_size)
            if len(view) == 0 or room > 0:
                piece = view[:max(room, 0)]
                view = view[len(piece):]
                self.http2.send_data(stream, bytes(piece), end_stream=end and len(view) == 0)
                self.flush()
                if len(view) == 0:
                    return
            else:
                self.window.clear()
                await self.window.wait()
                if self.gone.is_set():
                    raise ConnectionError


class HTTP2Server:
    """One upstream host that speaks HTTP/2 (and with it gRPC)."""

    def __init__(self, side, name, upstream):
        self.side, self.name, self.upstream = side, name, upstream

    async def start(self, port):
        context = None
        if self.upstream.decode:  # Imported now: later the proxy's call would wait for it.
            importlib.import_module(self.upstream.decode.partition(":")[0])
        if self.upstream.tls:
            context = server_context(self.side.certs, {"alpn": ["h2"], **self.upstream.tls})
        self.context = context
        loop = asyncio.get_running_loop()
        self.server = await loop.create_server(lambda: ServerConnection(self), "127.0.0.1", port, ssl=context)

    async def stop(self):
        self.server.close()


class ServerConnection(Connection):
    def __init__(self, server):
        super().__init__(client=False)
        self.server, self.side = server, server.side
        self.records = {}
        self.tasks = {}

    def connection_made(self, transport):
        self.side.connections.append(self.server.name)
        super().connection_made(transport)

    def lost(self):
        for task in self.tasks.values():
            task.cancel()

    def handle(self, event):
        if isinstance(event, h2.events.RequestReceived):
            headers = text(event.headers)
            pseudo = dict(h for h in headers if h[0].startswith(":"))
            record = {"host": self.server.name, "line": " ".join(pseudo.get(k, "-") for k in (":method", ":scheme", ":authority", ":path")),
                      "pseudo": sorted(pseudo.items()), "headers": [h for h in headers if not h[0].startswith(":")],
                      "body": b"", "trailers": [], "protocol": "HTTP/2"}
            if self.server.upstream.tls:
                tls = self.transport.get_extra_info("ssl_object")
                record["tls"] = {"version": tls.version(), "alpn": tls.selected_alpn_protocol(),
                                 "sni": self.server.context.seen_names.get(id(tls)), "peer": peer_name(tls)}
            self.records[event.stream_id] = record
            if pseudo.get(":path", "").startswith("/grpc.health"):
                record["health"] = True
            elif self.server.upstream.record:
                self.side.records.append(record)
            if not record.get("health"):
                record["answer"] = self.side.next_answer(self.server.name) or self.server.upstream.default or Answer()
                if record["answer"].early or (record["answer"].tunnel and not event.stream_ended):
                    self.begin(event.stream_id)
            if event.stream_ended:
                self.begin(event.stream_id)
        elif isinstance(event, h2.events.DataReceived):
            self.records[event.stream_id]["body"] += event.data
            answer = self.records[event.stream_id].get("answer")
            if answer is not None and answer.dialog is not None:
                self.converse(event.stream_id, answer)
            if answer is not None and answer.tunnel:
                asyncio.ensure_future(self.send_data(event.stream_id, event.data, False))
        elif isinstance(event, h2.events.TrailersReceived):
            self.records[event.stream_id]["trailers"] = text(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            if event.stream_id in self.records:
                self.records[event.stream_id]["reset"] = int(event.error_code)
            task = self.tasks.get(event.stream_id)
            if task:
                task.cancel()
        if isinstance(event, h2.events.StreamEnded) and event.stream_id not in self.tasks:
            answer = self.records[event.stream_id].get("answer")
            if answer is not None and answer.dialog is not None:
                self.records[event.stream_id]["answer"] = None
                return self.end_dialog(event.stream_id, 0)
            self.begin(event.stream_id)

    def converse(self, stream, answer):
        """Answers the messages of a gRPC stream as they come."""
        record = self.records[stream]
        while len(record["body"]) >= 5:
            size = int.from_bytes(record["body"][1:5], "big")
            if len(record["body"]) < 5 + size:
                return
            message, record["body"] = record["body"][5:5 + size], record["body"][5 + size:]
            record.setdefault("messages", []).append(decode(self.server.upstream.decode, message))
            reply = answer.dialog(message)
            if isinstance(reply, int):
                record["answer"] = None
                return self.end_dialog(stream, reply)
            if reply is not None:
                self.open_dialog(stream)
                self.http2.send_data(stream, grpc_frame(reply))
                self.flush()

    def open_dialog(self, stream):
        if not self.records[stream].get("opened"):
            self.records[stream]["opened"] = True
            self.http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])

    def end_dialog(self, stream, status):
        head = [] if self.records[stream].get("opened") else [(":status", "200"), ("content-type", "application/grpc")]
        try:
            self.http2.send_headers(stream, [*head, ("grpc-status", str(status))], end_stream=True)
        except h2.exceptions.ProtocolError:
            pass  # It was reset meanwhile.
        self.flush()

    def begin(self, stream):
        if stream not in self.tasks:
            self.tasks[stream] = asyncio.ensure_future(self.play(stream))

    async def play(self, stream):
        try:
            await self.answer(stream)
        except (ConnectionError, h2.exceptions.ProtocolError, asyncio.CancelledError):
            pass

    async def answer(self, stream):
        record = self.records[stream]
        if record.get("health"):
            status = self.side.health.get(self.server.name, 200)
            if status == "hang":
                return
            self.http2.send_headers(stream, [(":status", "200"), ("content-type", "application/grpc")])
            self.http2.send_data(stream, grpc_frame(b"\x08\x01" if status == 200 else b"\x08\x02"))
            self.http2.send_headers(stream, [("grpc-status", "0")], end_stream=True)
            return self.flush()
        if self.server.upstream.decode:
            record["messages"] = [decode(self.server.upstream.decode, m) for m in grpc_messages(record["body"])]
            record["body"] = b""
        answer = record.pop("answer")
        record.pop("answer", None)
        if answer.hang:
            return
        if answer.delay:
            await asyncio.sleep(answer.delay)
        if answer.reset_code is not None:
            self.http2.reset_stream(stream, answer.reset_code)
            return self.flush()
        if answer.reset in ("before", "close"):
            self.transport.abort()
            return
        if answer.grpc is not None:
            return await self.answer_grpc(stream, answer, record)
        for status, headers in answer.interim:
            self.http2.send_headers(stream, [(":status", str(status)), *headers])
        body = f"hello from {self.server.name}".encode() if answer.body is None else answer.body
        if answer.pieces is not None:
            body = b"".join(piece for piece in answer.pieces if isinstance(piece, bytes))
        headers = list(answer.headers)
        method = dict(record["pseudo"]).get(":method")
        bare = method == "HEAD" or answer.status in (204, 304) or not body
        if not answer.chunked and answer.trailers is None and not answer.tunnel and answer.status != 204 and \
                not any(n == "content-length" for n, _ in headers):
            headers.append(("content-length", str(len(body))))
        end = bare and answer.trailers is None and not answer.tunnel
        self.http2.send_headers(stream, [(":status", str(answer.status)), *headers], end_stream=end)
        self.flush()
        if answer.reset == "head":
            await asyncio.sleep(0.05)
            self.http2.reset_stream(stream, int(h2.errors.ErrorCodes.INTERNAL_ERROR))
            return self.flush()
        if answer.tunnel or end:
            return
        if answer.body_delay:
            await asyncio.sleep(answer.body_delay)
        if not bare:
            if answer.reset == "body":
                await self.send_data(stream, body[: len(body) // 2], False)
                await asyncio.sleep(0.05)
                self.http2.reset_stream(stream, int(h2.errors.ErrorCodes.INTERNAL_ERROR))
                return self.flush()
            pieces = answer.pieces if answer.pieces is not None else [body]
            last = max(i for i, piece in enumerate(pieces) if isinstance(piece, bytes))
            for index, piece in enumerate(pieces):
                if isinstance(piece, bytes):
                    await self.send_data(stream, piece, index == last and answer.trailers is None)
                else:
                    await asyncio.sleep(piece)
        if answer.trailers is not None:
            self.http2.send_headers(stream, answer.trailers, end_stream=True)
        self.flush()

    async def answer_grpc(self, stream, answer, record):
        messages, status, message = answer.grpc(record)
        head = [(":status", "200"), ("content-type", "application/grpc"), *answer.headers]
        tail = [("grpc-status", str(status))] + ([("grpc-message", message)] if message else []) + (answer.trailers or [])
        if not messages:
            self.http2.send_headers(stream, head + tail, end_stream=True)
        else:
            self.http2.send_headers(stream, head)
            for item in messages:
                await self.send_data(stream, grpc_frame(item), False)
            self.http2.send_headers(stream, tail, end_stream=True)
        self.flush()


class ClientConnection(Connection):
    """The client's end: each stream's events are kept."""

    def __init__(self):
        super().__init__(client=True)
        self.streams = {}

    def stream(self, number):
        return self.streams.setdefault(number, {
            "interim": [], "status": None, "headers": [], "body": b"", "trailers": [], "end": None, "done": asyncio.Event(), "head": asyncio.Event()})

    def lost(self):
        for stream in self.streams.values():
            if stream["end"] is None:
                stream["end"] = "connection closed"
            stream["done"].set()
            stream["head"].set()

    def terminated(self):
        pass

    def handle(self, event):
        number = getattr(event, "stream_id", None)
        if isinstance(event, h2.events.InformationalResponseReceived):
            headers = text(event.headers)
            self.stream(number)["interim"].append((int(headers[0][1]), headers[1:]))
        elif isinstance(event, h2.events.ResponseReceived):
            headers = text(event.headers)
            stream = self.stream(number)
            stream["status"] = int(dict(headers).get(":status", 0))
            stream["headers"] = [h for h in headers if not h[0].startswith(":")]
            stream["head"].set()
        elif isinstance(event, h2.events.DataReceived):
            self.stream(number)["body"] += event.data
        elif isinstance(event, h2.events.TrailersReceived):
            self.stream(number)["trailers"] = text(event.headers)
        elif isinstance(event, h2.events.StreamReset):
            stream = self.stream(number)
            stream["end"] = f"reset {int(event.error_code)}"
            stream["head"].set()
            stream["done"].set()
        if isinstance(event, h2.events.StreamEnded):
            stream = self.stream(number)
            stream["end"] = "end"
            stream["done"].set()


def printable(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return "base64:" + base64.b64encode(body).decode()
