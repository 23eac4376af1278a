"""WebSocket through the proxy with a real library (PyPI websockets) at both ends; over HTTP/2 the same library's frames in an
extended CONNECT (RFC 8441) of PyPI h2."""
import asyncio
import os
import socket

import h2.config
import h2.connection
import h2.events
import h2.settings
import websockets
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from peers.proxy import Proxy, cluster, free_port, http_manager, listener


async def echo(connection):
    try:
        async for message in connection:
            await connection.send(message)
    except websockets.ConnectionClosed:
        pass


class H2WebSocket:
    """A WebSocket in one stream of an HTTP/2 connection."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.status, self.reader, self.ended = None, StreamReader(), False
        self.flush()
        while h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL not in self.h2.remote_settings:
            self.pump()
        self.h2.send_headers(1, [
            (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/chat"),
            # No client need send a key here; the upstream speaks HTTP/1.1 and wants to see one, as behind Envoy.
            (":authority", "t"), ("sec-websocket-version", "13"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")])
        self.flush()
        while self.status is None and not self.ended:
            self.pump()

    def flush(self):
        self.socket.sendall(self.h2.data_to_send())

    def pump(self):
        data = self.socket.recv(65536)
        if not data:
            self.ended = True
            return
        for event in self.h2.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                self.status = dict(event.headers)[":status"]
            elif isinstance(event, h2.events.DataReceived):
                self.h2.acknowledge_received_data(event.flow_controlled_length, 1)
                self.reader.feed_data(event.data)
            elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                self.ended = True
        self.flush()

    def send(self, opcode, data):
        wire = Frame(opcode, data).serialize(mask=True)
        while wire:
            may = min(self.h2.local_flow_control_window(1), self.h2.max_outbound_frame_size)
            if not may:
                self.pump()
                continue
            self.h2.send_data(1, wire[:may])
            wire = wire[may:]
            self.flush()

    def receive(self):
        """The next frame, whole messages put together."""
        data, opcode = b"", None
        while True:
            parser = Frame.parse(self.reader.read_exact, mask=False)
            while True:
                try:
                    next(parser)
                except StopIteration as done:
                    frame = done.value
                    break
                if self.ended:
                    return None
                self.pump()
            opcode = opcode or frame.opcode
            data += frame.data
            if frame.fin:
                return opcode, data


async def over_http1(port, check):
    async with websockets.connect(f"ws://127.0.0.1:{port}/chat", max_size=None) as client:
        for size in (0, 1, 125, 126, 65535, 65536, 4 << 20):
            message = os.urandom(size)
            await client.send(message)
            got = await client.recv()
            check(f"WebSocket over HTTP/1.1: a message of {size} bytes comes back", got == message)
        await client.send("text é")
        check("WebSocket over HTTP/1.1: text", await client.recv() == "text é")
        await asyncio.wait_for(await client.ping(), 10)
        check("WebSocket over HTTP/1.1: ping is answered", True)
        many = [str(number) for number in range(1000)]

        async def send():
            for message in many:
                await client.send(message)
        sending = asyncio.create_task(send())
        check("WebSocket over HTTP/1.1: 1,000 messages in order", [await client.recv() for _ in many] == many)
        await sending
    check("WebSocket over HTTP/1.1: the close is agreed", client.close_code == 1000, client.close_code)


def over_http2(port, check, name):
    client = H2WebSocket(port)
    check(f"{name}: the extended CONNECT is taken", client.status == "200", client.status)
    if client.status != "200":
        return
    for size in (0, 1, 126, 65536, 1 << 20):
        message = os.urandom(size)
        client.send(Opcode.BINARY, message)
        check(f"{name}: a message of {size} bytes comes back", client.receive() == (Opcode.BINARY, message))
    client.send(Opcode.PING, b"p")
    check(f"{name}: ping is answered", client.receive() == (Opcode.PONG, b"p"))
    client.send(Opcode.CLOSE, b"\x03\xe8")
    answer = client.receive()
    check(f"{name}: the close is agreed", answer == (Opcode.CLOSE, b"\x03\xe8"), answer)
    client.socket.close()


async def run_cases(program, check):
    server = await websockets.serve(echo, "127.0.0.1", 0, max_size=None)
    backend = server.sockets[0].getsockname()[1]
    port = free_port()
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "0s"}}]
    manager = http_manager(
        routes, upgrade_configs=[{"upgrade_type": "websocket"}], http2_protocol_options={"allow_connect": True})
    with Proxy(program, [listener("in", port, manager)], [cluster("backend", [backend])]) as proxy:
        await over_http1(port, check)
        await asyncio.to_thread(over_http2, port, check, "WebSocket over HTTP/2")
        check("WebSocket: the proxy runs", proxy.is_running())
    server.close()


def run(program, check):
    asyncio.run(asyncio.wait_for(run_cases(program, check), 120))
