#!/usr/bin/env python3
"""HTTP/2 conformance of a server, tested from the frame level.

    tools/conformance/h2.py HOST:PORT [--path /] [--only 6.5] [--timeout 1] [--verbose]

Speaks HTTP/2 without TLS (prior knowledge) over PyPI hyperframe and hpack. Cases are grouped by the sections of RFC 9113 (and
of RFC 7541 for HPACK); each opens a connection of its own, does one thing, and looks at what the server does. A stream error
may always be answered by a connection error (RFC 9113 section 5.4.2), and a connection error by closing.
The resource at --path must answer GET, HEAD and POST with a body of at least five bytes. Ends with 1 if a case failed.
"""
import argparse
import socket
import struct
import sys
import time

from hpack import Encoder, Decoder
from hyperframe.frame import (ContinuationFrame, DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, PriorityFrame,
                              PushPromiseFrame, RstStreamFrame, SettingsFrame, WindowUpdateFrame)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
NO_ERROR, PROTOCOL_ERROR, INTERNAL, FLOW, SETTINGS_TIMEOUT, STREAM_CLOSED, FRAME_SIZE, REFUSED, CANCEL, COMPRESSION = range(10)
ENHANCE = 11
cases = []


class Failed(Exception):
    pass


def case(section, title):
    def add(function):
        cases.append((section, title, function))
        return function
    return add


class Connection:
    """A client that sends what it is told, right or wrong."""

    def __init__(self, options, preface=True, settings=None, acknowledge=True):
        self.options = options
        self.socket = socket.create_connection(options.address, timeout=options.timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.decoder.max_allowed_table_size = 1 << 20
        self.encoder.header_table_size = 4096
        self.closed = False
        self.corked = None
        self.settings = {}
        self.fragments = {}
        if preface:
            self.raw(PREFACE)
            self.send(SettingsFrame(0, settings=settings or {}))
            if acknowledge:
                frame = self.until(lambda frame: isinstance(frame, SettingsFrame) and "ACK" not in frame.flags, "SETTINGS")
                self.settings = frame.settings
                self.send(SettingsFrame(0, flags=["ACK"]))

    def raw(self, data):
        if self.corked is not None:
            self.corked += data
            return
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def send(self, *frames):
        self.raw(b"".join(frame.serialize() for frame in frames))

    def cork(self):
        """Holds what is sent until `uncork`: the server sees it all before it can answer a part."""
        self.corked = b""

    def uncork(self):
        data, self.corked = self.corked, None
        self.raw(data)

    def frame(self, kind, flags, stream, payload):
        self.raw(struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload)

    def receive(self):
        """The next frame; None when the connection ended or nothing came in time."""
        deadline = time.monotonic() + self.options.timeout
        while True:
            if len(self.buffer) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self.buffer[:9]))
                if len(self.buffer) >= 9 + length:
                    frame.parse_body(memoryview(self.buffer[9:9 + length]))
                    self.buffer = self.buffer[9 + length:]
                    return frame
            left = deadline - time.monotonic()
            if left <= 0 or self.closed:
                return None
            self.socket.settimeout(left)
            try:
                data = self.socket.recv(65536)
            except socket.timeout:
                return None
            except OSError:
                data = b""
            if not data:
                self.closed = True
            self.buffer += data

    def until(self, condition, what):
        while True:
            frame = self.receive()
            if frame is None:
                raise Failed(f"no {what}" + (" (connection closed)" if self.closed else " in time"))
            if condition(frame):
                return frame

    # What should happen

    def expect_connection_error(self, *codes):
        while True:
            frame = self.receive()
            if frame is None:
                if self.closed:
                    return
                raise Failed("no GOAWAY and no close in time")
            if isinstance(frame, GoAwayFrame):
                if codes and frame.error_code not in codes:
                    raise Failed(f"GOAWAY with {frame.error_code} in place of {list(codes)}")
                return

    def expect_stream_error(self, stream, *codes):
        while True:
            frame = self.receive()
            if frame is None:
                if self.closed:
                    return
                raise Failed("no RST_STREAM, GOAWAY or close in time")
            if isinstance(frame, GoAwayFrame):
                if codes and frame.error_code not in codes:
                    raise Failed(f"GOAWAY with {frame.error_code} in place of {list(codes)}")
                return
            if isinstance(frame, RstStreamFrame) and frame.stream_id == stream:
                if codes and frame.error_code not in codes:
                    raise Failed(f"RST_STREAM with {frame.error_code} in place of {list(codes)}")
                return

    def expect_ping(self):
        """The connection lives: a PING is answered."""
        data = b"conform!"
        self.send(PingFrame(0, opaque_data=data))
        self.until(lambda frame: isinstance(frame, PingFrame) and "ACK" in frame.flags and frame.opaque_data == data,
                   "answer to PING")

    def expect_response(self, stream, status="200"):
        """The response's fields and body."""
        fields, body, block = None, b"", b""
        while True:
            frame = self.receive()
            if frame is None:
                raise Failed("no response" + (" (connection closed)" if self.closed else " in time"))
            if isinstance(frame, GoAwayFrame) and frame.error_code:
                raise Failed(f"GOAWAY with {frame.error_code} in place of a response")
            if frame.stream_id != stream:
                continue
            if isinstance(frame, RstStreamFrame):
                if fields is not None and frame.error_code == NO_ERROR:
                    return dict(fields), body
                raise Failed(f"RST_STREAM with {frame.error_code} in place of a response")
            if isinstance(frame, (HeadersFrame, ContinuationFrame)):
                block += frame.data
                if "END_HEADERS" in frame.flags:
                    found = self.decoder.decode(block)
                    block = b""
                    if fields is None and dict(found).get(":status", "").startswith("1"):
                        continue
                    fields = fields or found
            if isinstance(frame, DataFrame):
                body += frame.data
                self.send(WindowUpdateFrame(0, window_increment=len(frame.data) or 1)) if frame.data else None
            if "END_STREAM" in frame.flags:
                if status and dict(fields).get(":status") != status:
                    raise Failed(f"status {dict(fields).get(':status')} in place of {status}")
                return dict(fields), body

    # Requests

    def fields(self, method="GET", more=(), without=(), path=None):
        fields = [(":method", method), (":scheme", "http"), (":path", path or self.options.path),
                  (":authority", self.options.authority)]
        return [field for field in fields if field[0] not in without] + list(more)

    def headers(self, stream, fields=None, flags=("END_STREAM", "END_HEADERS"), **more):
        data = self.encoder.encode(fields if fields is not None else self.fields(**more))
        frame = HeadersFrame(stream, data=data)
        for flag in flags:
            frame.flags.add(flag)
        self.send(frame)

    def data(self, stream, data=b"test", end=True):
        self.send(DataFrame(stream, data=data, flags=["END_STREAM"] if end else []))


# MARK: 3.4 Starting HTTP/2

@case("3.4", "a client's preface is answered by SETTINGS")
def _(o):
    connection = Connection(o, preface=False)
    connection.raw(PREFACE)
    connection.send(SettingsFrame(0))
    frame = connection.receive()
    if not isinstance(frame, SettingsFrame) or "ACK" in frame.flags:
        raise Failed(f"the first frame is {frame}")


@case("3.4", "a preface that is none ends the connection")
def _(o):
    connection = Connection(o, preface=False)
    connection.raw(b"INVALID CONNECTION PREFACE\r\n\r\n")
    deadline = time.monotonic() + o.timeout
    while time.monotonic() < deadline:
        try:
            if not connection.socket.recv(65536):
                return
        except socket.timeout:
            break
        except OSError:
            return
    raise Failed("the connection stays open")


@case("3.4", "a preface that something else than SETTINGS follows is a connection error")
def _(o):
    connection = Connection(o, preface=False)
    connection.raw(PREFACE)
    connection.send(PingFrame(0, opaque_data=b"12345678"))
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("3.4", "a preface in pieces is taken")
def _(o):
    connection = Connection(o, preface=False)
    for index in range(len(PREFACE)):
        connection.raw(PREFACE[index:index + 1])
    connection.send(SettingsFrame(0))
    connection.until(lambda frame: isinstance(frame, SettingsFrame), "SETTINGS")


@case("3.4", "requests right behind the preface are answered")
def _(o):
    connection = Connection(o, acknowledge=False)
    connection.headers(1)
    connection.expect_response(1)


# MARK: 4 Frames

@case("4.1", "a frame of an unknown type is ignored")
def _(o):
    connection = Connection(o)
    connection.frame(0x16, 0, 0, b"\0" * 8)
    connection.expect_ping()


@case("4.1", "a frame of an unknown type on a stream is ignored")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(0x99, 0xFF, 1, b"abc")
    connection.data(1)
    connection.expect_response(1)


@case("4.1", "undefined flags are ignored")
def _(o):
    connection = Connection(o)
    connection.frame(0x6, 0x16, 0, b"\0" * 8)
    connection.until(lambda frame: isinstance(frame, PingFrame) and "ACK" in frame.flags, "answer to PING")


@case("4.1", "the reserved bit of a stream id is ignored")
def _(o):
    connection = Connection(o)
    connection.frame(0x6, 0, 0x80000000, b"\0" * 8)
    connection.until(lambda frame: isinstance(frame, PingFrame) and "ACK" in frame.flags, "answer to PING")


@case("4.2", "DATA of the largest size is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.data(1, b"x" * 16384)
    connection.expect_response(1)


@case("4.2", "DATA larger than SETTINGS_MAX_FRAME_SIZE is an error")
def _(o):
    connection = Connection(o)
    size = connection.settings.get(SettingsFrame.MAX_FRAME_SIZE, 16384)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.data(1, b"x" * (size + 1))
    connection.expect_stream_error(1, FRAME_SIZE)


@case("4.2", "HEADERS larger than SETTINGS_MAX_FRAME_SIZE is a connection error")
def _(o):
    connection = Connection(o)
    size = connection.settings.get(SettingsFrame.MAX_FRAME_SIZE, 16384)
    connection.headers(1, more=[(f"x-dummy{i}", "x" * 1000) for i in range(size // 700 + 2)])
    connection.expect_connection_error(FRAME_SIZE, ENHANCE)


@case("4.2", "a SETTINGS frame larger than SETTINGS_MAX_FRAME_SIZE is a connection error")
def _(o):
    connection = Connection(o)
    size = connection.settings.get(SettingsFrame.MAX_FRAME_SIZE, 16384)
    connection.frame(4, 0, 0, b"\0\x63\0\0\0\0" * (size // 6 + 1))
    connection.expect_connection_error(FRAME_SIZE, ENHANCE)


@case("4.3", "a field block that cannot be decoded is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(1, 0x5, 1, b"\x40\x01")
    connection.expect_connection_error(COMPRESSION)


@case("4.3", "a PRIORITY frame inside a field block is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_STREAM"])
    connection.send(PriorityFrame(1, depends_on=0, stream_weight=255))
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("4.3", "HEADERS of another stream inside a field block is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_STREAM"])
    connection.headers(3)
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("4.3", "a field block in many frames is taken")
def _(o):
    connection = Connection(o)
    block = connection.encoder.encode(connection.fields(more=[("x-a", "y" * 50)]))
    third = len(block) // 3
    connection.frame(1, 0x1, 1, block[:third])
    connection.frame(9, 0, 1, block[third:2 * third])
    connection.frame(9, 0x4, 1, block[2 * third:])
    connection.expect_response(1)


@case("4.3", "fields of one block are known to the next")
def _(o):
    connection = Connection(o)
    for stream in (1, 3, 5):
        connection.headers(stream, more=[("x-custom", "a value that is indexed")])
        connection.expect_response(stream)


# MARK: 5.1 Stream states

def state_case(title, state, prepare, act, codes, connection_only=False):
    @case("5.1", f"{state}: {title}")
    def run(o):
        connection = Connection(o)
        prepare(connection)
        act(connection)
        if connection_only:
            connection.expect_connection_error(*codes)
        else:
            connection.expect_stream_error(1, *codes)


def nothing(connection):
    pass


def half_closed(connection):
    connection.headers(1)


def closed_by_reset(connection):
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.send(RstStreamFrame(1, error_code=CANCEL))


def closed_by_end(connection):
    connection.headers(1)
    connection.expect_response(1)


state_case("DATA is a connection error", "idle", nothing, lambda c: c.data(1), [PROTOCOL_ERROR, STREAM_CLOSED], True)
state_case("RST_STREAM is a connection error", "idle", nothing, lambda c: c.send(RstStreamFrame(1, error_code=CANCEL)),
           [PROTOCOL_ERROR], True)
state_case("WINDOW_UPDATE is a connection error", "idle", nothing,
           lambda c: c.send(WindowUpdateFrame(1, window_increment=100)), [PROTOCOL_ERROR], True)
state_case("CONTINUATION is a connection error", "idle", nothing, lambda c: c.frame(9, 4, 1, b"\x82"), [PROTOCOL_ERROR], True)
state_case("DATA is a stream error", "half-closed (remote)", half_closed, lambda c: c.data(1), [STREAM_CLOSED])
state_case("HEADERS is a stream error", "half-closed (remote)", half_closed, lambda c: c.headers(1),
           [STREAM_CLOSED, PROTOCOL_ERROR])
state_case("CONTINUATION is a connection error", "half-closed (remote)", half_closed, lambda c: c.frame(9, 4, 1, b"\x82"),
           [STREAM_CLOSED, PROTOCOL_ERROR], True)
state_case("CONTINUATION after RST_STREAM is a connection error", "closed", closed_by_reset,
           lambda c: c.frame(9, 4, 1, b"\x82"), [STREAM_CLOSED, PROTOCOL_ERROR], True)
state_case("HEADERS after END_STREAM is a connection error", "closed", closed_by_end, lambda c: c.headers(1),
           [STREAM_CLOSED, PROTOCOL_ERROR])
state_case("CONTINUATION after END_STREAM is a connection error", "closed", closed_by_end,
           lambda c: c.frame(9, 4, 1, b"\x82"), [STREAM_CLOSED, PROTOCOL_ERROR], True)


def tolerated(section, title, prepare, act):
    @case(section, title)
    def run(o):
        connection = Connection(o)
        prepare(connection)
        act(connection)
        # Ignored, or a stream error, and the connection lives; ending it is allowed too.
        deadline = time.monotonic() + 0.05
        while time.monotonic() < deadline:
            time.sleep(0.01)
        connection.send(PingFrame(0, opaque_data=b"tolerate"))
        while True:
            frame = connection.receive()
            if frame is None and connection.closed:
                return
            if frame is None:
                raise Failed("no answer at all")
            if isinstance(frame, GoAwayFrame):
                if frame.error_code not in (STREAM_CLOSED, PROTOCOL_ERROR):
                    raise Failed(f"GOAWAY with {frame.error_code}")
                return
            if isinstance(frame, PingFrame) and "ACK" in frame.flags:
                return


tolerated("5.1", "closed: DATA after RST_STREAM is ignored or STREAM_CLOSED", closed_by_reset, lambda c: c.data(1))
tolerated("5.1", "closed: HEADERS after RST_STREAM is ignored or STREAM_CLOSED", closed_by_reset, lambda c: c.headers(1))
tolerated("5.1", "closed: DATA after END_STREAM is ignored or STREAM_CLOSED", closed_by_end, lambda c: c.data(1))
tolerated("5.1", "closed: WINDOW_UPDATE is ignored", closed_by_end,
          lambda c: c.send(WindowUpdateFrame(1, window_increment=1)))
tolerated("5.1", "closed: RST_STREAM is ignored", closed_by_end, lambda c: c.send(RstStreamFrame(1, error_code=CANCEL)))
tolerated("5.1", "closed: PRIORITY is ignored", closed_by_end,
          lambda c: c.send(PriorityFrame(1, depends_on=0, stream_weight=3)))
tolerated("5.1", "idle: PRIORITY is taken", nothing, lambda c: c.send(PriorityFrame(1, depends_on=0, stream_weight=3)))
tolerated("5.1", "half-closed (remote): WINDOW_UPDATE, PRIORITY and RST_STREAM are taken", half_closed, lambda c: c.send(
    WindowUpdateFrame(1, window_increment=1), PriorityFrame(1, depends_on=0, stream_weight=3),
    RstStreamFrame(1, error_code=CANCEL)))


@case("5.1.1", "an even stream id is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(2)
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("5.1.1", "a stream id lower than one before is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(5)
    connection.expect_response(5)
    connection.headers(3)
    connection.expect_connection_error(PROTOCOL_ERROR, STREAM_CLOSED)


@case("5.1.1", "stream ids may be left out")
def _(o):
    connection = Connection(o)
    connection.headers(7)
    connection.expect_response(7)
    connection.headers(101)
    connection.expect_response(101)


@case("5.1.2", "more streams than SETTINGS_MAX_CONCURRENT_STREAMS are refused")
def _(o):
    # No response can end: their bodies have no window.
    connection = Connection(o, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
    limit = connection.settings.get(SettingsFrame.MAX_CONCURRENT_STREAMS)
    if limit is None or limit > 5000:
        return
    for index in range(limit + 1):
        connection.headers(1 + 2 * index)
    connection.expect_stream_error(1 + 2 * limit, REFUSED, PROTOCOL_ERROR)


@case("5.2", "two requests at once are both answered")
def _(o):
    connection = Connection(o)
    connection.headers(1)
    connection.headers(3)
    connection.until(lambda frame: isinstance(frame, HeadersFrame), "HEADERS")
    connection.until(lambda frame: isinstance(frame, HeadersFrame), "HEADERS")


@case("5.3.1", "HEADERS that depends on itself is an error")
def _(o):
    connection = Connection(o)
    block = connection.encoder.encode(connection.fields())
    connection.frame(1, 0x25, 1, struct.pack(">IB", 1, 255) + block)
    frame = connection.receive()
    # RFC 9113 has dropped priorities: answering is right as well as refusing.
    while frame is not None and not isinstance(frame, (RstStreamFrame, GoAwayFrame, HeadersFrame)):
        frame = connection.receive()
    if frame is None and not connection.closed:
        raise Failed("neither an error nor an answer")


@case("5.3.1", "PRIORITY that depends on itself is an error or ignored")
def _(o):
    connection = Connection(o)
    connection.send(PriorityFrame(1, depends_on=1, stream_weight=255))
    connection.send(PingFrame(0, opaque_data=b"12345678"))
    frame = connection.receive()
    while frame is not None and not isinstance(frame, (RstStreamFrame, GoAwayFrame, PingFrame)):
        frame = connection.receive()
    if frame is None and not connection.closed:
        raise Failed("neither an error nor an answer")


@case("5.4.1", "a connection error closes the connection after GOAWAY")
def _(o):
    connection = Connection(o)
    connection.frame(6, 0, 0, b"\0" * 7)
    connection.expect_connection_error(FRAME_SIZE)
    while connection.receive() is not None:
        pass
    if not connection.closed:
        raise Failed("the connection stays open")


@case("5.5", "a frame of an unknown type inside a field block is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_STREAM"])
    connection.frame(0x16, 0, 0, b"\0" * 8)
    connection.expect_connection_error(PROTOCOL_ERROR)


# MARK: 6.1 DATA

@case("6.1", "DATA on stream 0 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(0, 1, 0, b"test")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.1", "DATA with padding is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(0, 0x9, 1, b"\x05test" + b"\0" * 5)
    connection.expect_response(1)


@case("6.1", "DATA with more padding than payload is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(0, 0x9, 1, b"\x06\x54\x65\x73\x74")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.1", "DATA with padding and nothing else is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(0, 0x9, 1, b"\x03" + b"\0" * 3)
    connection.expect_response(1)


@case("6.1", "padded DATA without the pad length is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(0, 0x9, 1, b"")
    connection.expect_connection_error(PROTOCOL_ERROR, FRAME_SIZE)


# MARK: 6.2 HEADERS

@case("6.2", "HEADERS on stream 0 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(1, 0x5, 0, connection.encoder.encode(connection.fields()))
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.2", "HEADERS with padding is taken")
def _(o):
    connection = Connection(o)
    connection.frame(1, 0xD, 1, b"\x04" + connection.encoder.encode(connection.fields()) + b"\0" * 4)
    connection.expect_response(1)


@case("6.2", "HEADERS with priority is taken")
def _(o):
    connection = Connection(o)
    connection.frame(1, 0x25, 1, struct.pack(">IB", 0, 200) + connection.encoder.encode(connection.fields()))
    connection.expect_response(1)


@case("6.2", "HEADERS with more padding than payload is a connection error")
def _(o):
    connection = Connection(o)
    block = connection.encoder.encode(connection.fields())
    connection.frame(1, 0xD, 1, bytes([len(block) + 1]) + block)
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.2", "CONTINUATION without HEADERS before it is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1)
    connection.frame(9, 4, 1, connection.encoder.encode([("x", "y")]))
    connection.expect_connection_error(PROTOCOL_ERROR, STREAM_CLOSED)


# MARK: 6.3 PRIORITY

@case("6.3", "PRIORITY on stream 0 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(2, 0, 0, b"\0\0\0\0\x80")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.3", "PRIORITY of another length than 5 is a stream error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(2, 0, 1, b"\x80\0\0\0\1\0")
    connection.expect_stream_error(1, FRAME_SIZE)


# MARK: 6.4 RST_STREAM

@case("6.4", "RST_STREAM on stream 0 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(3, 0, 0, b"\0\0\0\x08")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.4", "RST_STREAM on an idle stream is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(3, 0, 1, b"\0\0\0\x08")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.4", "RST_STREAM of another length than 4 is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(3, 0, 1, b"\0\0\0")
    connection.expect_connection_error(FRAME_SIZE)


@case("6.4", "a reset stream gets no response, the next does")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.send(RstStreamFrame(1, error_code=CANCEL))
    connection.headers(3)
    connection.expect_response(3)


# MARK: 6.5 SETTINGS

@case("6.5", "SETTINGS with ACK and a payload is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(4, 1, 0, b"\0\1\0\0\0\0")
    connection.expect_connection_error(FRAME_SIZE)


@case("6.5", "SETTINGS on a stream is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(4, 0, 1, b"\0\3\0\0\0\x64")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.5", "SETTINGS of a length that is no multiple of 6 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(4, 0, 0, b"\0\3\0")
    connection.expect_connection_error(FRAME_SIZE)


def setting_error(title, identifier, value, *codes):
    @case("6.5.2", title)
    def run(o):
        connection = Connection(o)
        connection.frame(4, 0, 0, struct.pack(">HI", identifier, value))
        connection.expect_connection_error(*codes)


setting_error("SETTINGS_ENABLE_PUSH of 2 is a connection error", 2, 2, PROTOCOL_ERROR)
setting_error("SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 is a connection error", 4, 1 << 31, FLOW)
setting_error("SETTINGS_MAX_FRAME_SIZE below 16384 is a connection error", 5, 16383, PROTOCOL_ERROR)
setting_error("SETTINGS_MAX_FRAME_SIZE above 2^24-1 is a connection error", 5, 1 << 24, PROTOCOL_ERROR)
setting_error("SETTINGS_ENABLE_CONNECT_PROTOCOL of 2 is a connection error (RFC 8441)", 8, 2, PROTOCOL_ERROR)


@case("6.5.2", "an unknown setting is ignored")
def _(o):
    connection = Connection(o)
    connection.frame(4, 0, 0, struct.pack(">HI", 0xFF, 1))
    connection.expect_ping()


@case("6.5.2", "the last of several values of a setting counts")
def _(o):
    connection = Connection(o)
    connection.frame(4, 0, 0, struct.pack(">HIHI", 4, 100, 4, 1))
    connection.until(lambda frame: isinstance(frame, SettingsFrame) and "ACK" in frame.flags, "SETTINGS ACK")
    connection.headers(1)
    frame = connection.until(lambda frame: isinstance(frame, DataFrame), "DATA")
    if len(frame.data) != 1:
        raise Failed(f"DATA of {len(frame.data)} bytes in a window of 1")


@case("6.5.3", "SETTINGS is acknowledged")
def _(o):
    connection = Connection(o)
    connection.send(SettingsFrame(0, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 5}))
    connection.until(lambda frame: isinstance(frame, SettingsFrame) and "ACK" in frame.flags, "SETTINGS ACK")


@case("6.5.3", "a larger SETTINGS_HEADER_TABLE_SIZE, and none, are respected")
def _(o):
    connection = Connection(o)
    for stream, size in ((1, 8192), (3, 0), (5, 4096)):
        connection.send(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: size}))
        connection.headers(stream)
        connection.expect_response(stream)


# MARK: 6.6 PUSH_PROMISE

@case("6.6", "PUSH_PROMISE from a client is a connection error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    block = connection.encoder.encode(connection.fields())
    connection.frame(5, 4, 1, struct.pack(">I", 2) + block)
    connection.expect_connection_error(PROTOCOL_ERROR)


# MARK: 6.7 PING

@case("6.7", "PING is answered with the same bytes")
def _(o):
    Connection(o).expect_ping()


@case("6.7", "PING with ACK is not answered")
def _(o):
    connection = Connection(o)
    connection.send(PingFrame(0, opaque_data=b"unasked!", flags=["ACK"]), PingFrame(0, opaque_data=b"really  "))
    frame = connection.until(lambda frame: isinstance(frame, PingFrame), "PING")
    if frame.opaque_data != b"really  ":
        raise Failed("an acknowledgement was answered")


@case("6.7", "PING on a stream is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(6, 0, 1, b"\0" * 8)
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.7", "PING of another length than 8 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(6, 0, 0, b"\0" * 6)
    connection.expect_connection_error(FRAME_SIZE)


# MARK: 6.8 GOAWAY

@case("6.8", "GOAWAY on a stream is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(7, 0, 1, b"\0" * 8)
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.8", "a request before GOAWAY is answered")
def _(o):
    connection = Connection(o)
    connection.headers(1)
    connection.send(GoAwayFrame(0, last_stream_id=0))
    connection.expect_response(1)


@case("6.8", "PING is answered, or the connection closed, after GOAWAY")
def _(o):
    connection = Connection(o)
    connection.send(GoAwayFrame(0, last_stream_id=0))
    connection.send(PingFrame(0, opaque_data=b"12345678"))
    while True:
        frame = connection.receive()
        if isinstance(frame, PingFrame) or (frame is None and connection.closed):
            return
        if frame is None:
            raise Failed("neither an answer nor a close")


# MARK: 6.9 WINDOW_UPDATE

@case("6.9", "WINDOW_UPDATE of 0 on the connection is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(8, 0, 0, b"\0\0\0\0")
    connection.expect_connection_error(PROTOCOL_ERROR)


@case("6.9", "WINDOW_UPDATE of 0 on a stream is a stream error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.frame(8, 0, 1, b"\0\0\0\0")
    connection.expect_stream_error(1, PROTOCOL_ERROR)


@case("6.9", "WINDOW_UPDATE of another length than 4 is a connection error")
def _(o):
    connection = Connection(o)
    connection.frame(8, 0, 0, b"\0\0\1")
    connection.expect_connection_error(FRAME_SIZE)


@case("6.9.1", "no more is sent than the stream's window allows")
def _(o):
    connection = Connection(o, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1})
    connection.headers(1)
    frame = connection.until(lambda frame: isinstance(frame, DataFrame), "DATA")
    if len(frame.data) != 1:
        raise Failed(f"DATA of {len(frame.data)} bytes in a window of 1")
    connection.send(WindowUpdateFrame(1, window_increment=2))
    frame = connection.until(lambda frame: isinstance(frame, DataFrame), "DATA")
    if len(frame.data) > 2:
        raise Failed(f"DATA of {len(frame.data)} bytes in a window of 2")


@case("6.9.1", "a connection window above 2^31-1 is a connection error")
def _(o):
    connection = Connection(o)
    connection.send(WindowUpdateFrame(0, window_increment=(1 << 31) - 1), WindowUpdateFrame(0, window_increment=(1 << 31) - 1))
    connection.expect_connection_error(FLOW)


@case("6.9.1", "a stream's window above 2^31-1 is a stream error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.send(WindowUpdateFrame(1, window_increment=(1 << 31) - 1), WindowUpdateFrame(1, window_increment=(1 << 31) - 1))
    connection.expect_stream_error(1, FLOW)


@case("6.9.2", "a changed SETTINGS_INITIAL_WINDOW_SIZE changes the windows of open streams")
def _(o):
    connection = Connection(o, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
    connection.headers(1)
    connection.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1}))
    frame = connection.until(lambda frame: isinstance(frame, DataFrame) and frame.data, "DATA")
    if len(frame.data) != 1:
        raise Failed(f"DATA of {len(frame.data)} bytes in a window of 1")


@case("6.9.2", "a window may become negative")
def _(o):
    connection = Connection(o, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 3})
    connection.headers(1)
    connection.until(lambda frame: isinstance(frame, DataFrame), "DATA")
    connection.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 2}))
    connection.send(WindowUpdateFrame(1, window_increment=2))
    frame = connection.until(lambda frame: isinstance(frame, DataFrame) and frame.data, "DATA")
    if len(frame.data) != 1:
        raise Failed(f"DATA of {len(frame.data)} bytes in a window of 1")


@case("6.9.2", "SETTINGS_INITIAL_WINDOW_SIZE that overflows a stream's window is a connection error")
def _(o):
    connection = Connection(o)
    connection.cork()
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.send(WindowUpdateFrame(1, window_increment=1 << 30))
    connection.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: (1 << 31) - 1}))
    connection.uncork()
    connection.expect_connection_error(FLOW)


@case("6.9", "DATA beyond the advertised window is a flow-control error")
def _(o):
    connection = Connection(o)
    window = connection.settings.get(SettingsFrame.INITIAL_WINDOW_SIZE, 65535)
    if window > 1 << 22:
        return
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    # More at once than any server can have taken and allowed anew.
    frames = b"".join(DataFrame(1, data=b"x" * 16384).serialize() for _ in range(4 * window // 16384 + 8))
    connection.socket.settimeout(o.timeout)
    connection.raw(frames)
    while True:
        frame = connection.receive()
        if isinstance(frame, (RstStreamFrame, GoAwayFrame)) or (frame is None and connection.closed):
            return
        if isinstance(frame, WindowUpdateFrame):
            # It is fast enough to keep up: fine as well.
            return
        if frame is None:
            raise Failed("neither an error nor more room")


# MARK: 6.10 CONTINUATION

@case("6.10", "many CONTINUATION frames are taken")
def _(o):
    connection = Connection(o)
    block = connection.encoder.encode(connection.fields(more=[("x-b", "z" * 20)]))
    connection.frame(1, 1, 1, block[:5])
    for index in range(5, len(block) - 1, max(1, len(block) // 5)):
        end = min(len(block) - 1, index + max(1, len(block) // 5))
        connection.frame(9, 0, 1, block[index:end])
    connection.frame(9, 4, 1, block[-1:])
    connection.expect_response(1)


def continuation_error(title, act, *codes):
    @case("6.10", title)
    def run(o):
        connection = Connection(o)
        act(connection)
        connection.expect_connection_error(*(codes or (PROTOCOL_ERROR,)))


def begin_block(connection):
    connection.headers(1, flags=["END_STREAM"])


continuation_error("another frame than CONTINUATION inside a block is a connection error", lambda c: (
    begin_block(c), c.frame(0, 1, 1, b"test")))
continuation_error("CONTINUATION on stream 0 is a connection error", lambda c: (begin_block(c), c.frame(9, 4, 0, b"\x82")))
continuation_error("CONTINUATION after END_HEADERS is a connection error", lambda c: (
    c.headers(1, flags=["END_HEADERS"], method="POST"), c.frame(9, 4, 1, b"\x82")))
continuation_error("CONTINUATION after a CONTINUATION with END_HEADERS is a connection error", lambda c: (
    begin_block(c), c.frame(9, 4, 1, c.encoder.encode([("x", "y")])), c.frame(9, 4, 1, b"\x82")),
    PROTOCOL_ERROR, STREAM_CLOSED)
continuation_error("CONTINUATION after DATA is a connection error", lambda c: (
    c.headers(1, flags=["END_HEADERS"], method="POST"), c.data(1, b"x", end=False), c.frame(9, 4, 1, b"\x82")))
continuation_error("CONTINUATION of another stream is a connection error", lambda c: (begin_block(c), c.frame(9, 4, 3, b"\x82")))


# MARK: 7 Error codes

@case("7", "GOAWAY with an unknown error code is taken")
def _(o):
    connection = Connection(o)
    connection.send(GoAwayFrame(0, last_stream_id=0, error_code=0xFF))
    connection.send(PingFrame(0, opaque_data=b"12345678"))
    while True:
        frame = connection.receive()
        if isinstance(frame, PingFrame) or (frame is None and connection.closed):
            return
        if frame is None:
            raise Failed("neither an answer nor a close")


@case("7", "RST_STREAM with an unknown error code is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.send(RstStreamFrame(1, error_code=0xFF))
    connection.expect_ping()


# MARK: 8.1 Messages

@case("8.1", "GET is answered")
def _(o):
    connection = Connection(o)
    connection.headers(1)
    _, body = connection.expect_response(1)
    if len(body) < 5:
        raise Failed("the body is too short for these tests: choose another --path")


@case("8.1", "HEAD is answered without a body")
def _(o):
    connection = Connection(o)
    connection.headers(1, method="HEAD")
    _, body = connection.expect_response(1)
    if body:
        raise Failed("a body in answer to HEAD")


@case("8.1", "POST with a body is answered")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST", more=[("content-length", "4")])
    connection.data(1)
    connection.expect_response(1)


@case("8.1", "POST with trailers is answered")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST", more=[("trailer", "x-test")])
    connection.data(1, end=False)
    connection.headers(1, fields=[("x-test", "ok")])
    connection.expect_response(1)


@case("8.1", "POST with an empty DATA frame at its end is answered")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.data(1, end=False)
    connection.data(1, b"")
    connection.expect_response(1)


@case("8.1", "a second HEADERS without END_STREAM is a stream error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.headers(1, fields=[("x-test", "ok")], flags=["END_HEADERS"])
    connection.expect_stream_error(1, PROTOCOL_ERROR)


def malformed(section, title, **more):
    @case(section, title + " is a stream error")
    def run(o):
        connection = Connection(o)
        fields = more["fields"](connection) if "fields" in more else None
        connection.headers(1, fields=fields, **{key: value for key, value in more.items() if key != "fields"})
        connection.expect_stream_error(1, PROTOCOL_ERROR)


malformed("8.2", "an upper-case field name", more=[("X-TEST", "ok")])
malformed("8.2.1", "a space in a field name", more=[("x test", "ok")])
malformed("8.2.1", "a colon in a field name", more=[("x:test", "ok")])
malformed("8.2.1", "a control character in a field name", more=[("x\x01test", "ok")])
malformed("8.2.1", "CR LF in a field name", more=[("x\r\ntest", "ok")])
malformed("8.2.1", "an empty field name", more=[("", "ok")])
malformed("8.2.1", "NUL in a field value", more=[("x-test", "a\0b")])
malformed("8.2.1", "CR in a field value", more=[("x-test", "a\rb")])
malformed("8.2.1", "LF in a field value", more=[("x-test", "a\nb")])
malformed("8.2.1", "a space before a field value", more=[("x-test", " a")])
malformed("8.2.1", "a tab after a field value", more=[("x-test", "a\t")])
malformed("8.2.2", "connection", more=[("connection", "keep-alive")])
malformed("8.2.2", "keep-alive", more=[("keep-alive", "timeout=5")])
malformed("8.2.2", "proxy-connection", more=[("proxy-connection", "keep-alive")])
malformed("8.2.2", "transfer-encoding", more=[("transfer-encoding", "chunked")])
malformed("8.2.2", "upgrade", more=[("upgrade", "websocket")])
malformed("8.2.2", "te other than trailers", more=[("te", "trailers, deflate")])


@case("8.2.2", "te: trailers is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, more=[("te", "trailers")])
    connection.expect_response(1)


@case("8.2.3", "cookie crumbs are taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, more=[("cookie", "a=1"), ("cookie", "b=2"), ("x", "y"), ("cookie", "c=3")])
    connection.expect_response(1)


malformed("8.3", "an unknown pseudo-header field", more=[(":test", "ok")])
malformed("8.3", "a response's pseudo-header field in a request", more=[(":status", "200")])
malformed("8.3", "a pseudo-header field after a regular field",
          fields=lambda c: [(":method", "GET"), (":scheme", "http"), ("x-test", "ok"), (":path", c.options.path),
                            (":authority", c.options.authority)])


@case("8.3", "a pseudo-header field in trailers is a stream error")
def _(o):
    connection = Connection(o)
    connection.headers(1, flags=["END_HEADERS"], method="POST")
    connection.data(1, end=False)
    connection.headers(1, fields=[(":method", "GET")])
    connection.expect_stream_error(1, PROTOCOL_ERROR)


malformed("8.3.1", "an empty :path", fields=lambda c: [
    (":method", "GET"), (":scheme", "http"), (":path", ""), (":authority", c.options.authority)])
malformed("8.3.1", "a :path without a slash", path="index.html")
malformed("8.3.1", "a space in :path", path="/a b")
malformed("8.3.1", "no :method", without=[":method"])
malformed("8.3.1", "no :scheme", without=[":scheme"])
malformed("8.3.1", "no :path", without=[":path"])
malformed("8.3.1", "a second :method", fields=lambda c: [(":method", "GET")] + c.fields())
malformed("8.3.1", "a second :scheme", fields=lambda c: [(":scheme", "http")] + c.fields())
malformed("8.3.1", "a second :path", fields=lambda c: [(":path", "/")] + c.fields())
malformed("8.3.1", "a second :authority", fields=lambda c: [(":authority", "x")] + c.fields())
malformed("8.3.1", "user information in :authority", fields=lambda c: [
    (":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "user@host")])
malformed("8.3.1", "a host that differs from :authority", more=[("host", "another.example")])
malformed("8.5", "CONNECT with :path", fields=lambda c: [
    (":method", "CONNECT"), (":authority", "x:1"), (":path", "/"), (":scheme", "http")])
malformed("8.5", "CONNECT without :authority", fields=lambda c: [(":method", "CONNECT")])
malformed("8.4", "a request with :protocol that is not CONNECT", more=[(":protocol", "websocket")])


@case("8.3.1", "host in place of :authority is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, without=[":authority"], more=[("host", o.authority)])
    connection.expect_response(1)


@case("8.3.1", "host that equals :authority is taken")
def _(o):
    connection = Connection(o)
    connection.headers(1, more=[("host", o.authority)])
    connection.expect_response(1)


def length_error(title, length, *pieces):
    @case("8.1.1", title + " is a stream error")
    def run(o):
        connection = Connection(o)
        connection.cork()
        connection.headers(1, flags=["END_HEADERS"], method="POST", more=[("content-length", length)])
        for index, piece in enumerate(pieces):
            connection.data(1, piece, end=index == len(pieces) - 1)
        connection.uncork()
        connection.expect_stream_error(1, PROTOCOL_ERROR)


length_error("content-length below the DATA frame", "1", b"test")
length_error("content-length above the DATA frame", "9", b"test")
length_error("content-length other than the sum of DATA frames", "5", b"test", b"test")
malformed("8.1.1", "content-length without DATA", method="POST", more=[("content-length", "4")])
malformed("8.1.1", "content-length that is no number", more=[("content-length", "4x")])
malformed("8.1.1", "two content-length fields that differ", more=[("content-length", "0"), ("content-length", "1")])


@case("8.1", "field names and values of responses are well formed")
def _(o):
    connection = Connection(o)
    connection.headers(1)
    fields, _ = connection.expect_response(1)
    for name, value in fields.items():
        if name != name.lower() or value != value.strip() or name in (
                "connection", "keep-alive", "transfer-encoding", "upgrade", "proxy-connection"):
            raise Failed(f"{name}: {value}")


# MARK: RFC 7541 HPACK

def block_error(section, title, block):
    @case("HPACK " + section, title + " is a connection error")
    def run(o):
        connection = Connection(o)
        prefix = connection.encoder.encode(connection.fields())
        connection.frame(1, 0x5, 1, prefix + block)
        connection.expect_connection_error(COMPRESSION)


block_error("2.3.3", "an index beyond both tables", b"\xff\x80\x80\x01")
block_error("2.3.3", "a literal whose name's index is beyond both tables", b"\x7f\x80\x80\x01\x04test")
block_error("4.2", "a table size update at the end of a block", b"\x20")
block_error("5.1", "an integer that overflows", b"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f")
block_error("5.2", "a string literal that ends too soon", b"\x40\x03abc\x7f\xff")
block_error("5.2", "Huffman padding longer than 7 bits", b"\x00\x85\xf2\xb2\x4a\x84\xff\x84\x49\x50\x9f\xff")
block_error("5.2", "Huffman padding of zeros", b"\x00\x85\xf2\xb2\x4a\x84\xff\x83\x49\x50\x90")
block_error("5.2", "a Huffman code for EOS", b"\x00\x85\xf2\xb2\x4a\x84\xff\x87\x49\x51\xff\xff\xff\xfa\x7f")
block_error("6.1", "index 0", b"\x80")


@case("HPACK 6.3", "a table size update above SETTINGS_HEADER_TABLE_SIZE is a connection error")
def _(o):
    connection = Connection(o)
    block = connection.encoder.encode(connection.fields())
    size = connection.settings.get(SettingsFrame.HEADER_TABLE_SIZE, 4096)
    update = bytearray(b"\x3f")
    rest = size + 1 - 31
    while rest >= 128:
        update.append(rest & 127 | 128)
        rest >>= 7
    update.append(rest)
    connection.frame(1, 0x5, 1, bytes(update) + block)
    connection.expect_connection_error(COMPRESSION)


@case("HPACK 4.2", "a table size update at the beginning of a block is taken")
def _(o):
    connection = Connection(o)
    block = Encoder().encode(connection.fields(), huffman=False)
    connection.frame(1, 0x5, 1, b"\x3f\xe1\x1f" + block)
    connection.expect_response(1)


@case("HPACK 6.2", "literals of all three kinds are taken")
def _(o):
    connection = Connection(o)
    block = connection.encoder.encode(connection.fields())
    connection.frame(1, 0x5, 1, block + b"\x40\x02x1\x01a" + b"\x00\x02x2\x01b" + b"\x10\x02x3\x01c")
    connection.expect_response(1)


@case("HPACK 5.2", "strings with and without Huffman coding are taken")
def _(o):
    for huffman in (True, False):
        connection = Connection(o)
        frame = HeadersFrame(1, data=Encoder().encode(connection.fields(more=[("x-h", "value")]), huffman=huffman))
        for flag in ("END_STREAM", "END_HEADERS"):
            frame.flags.add(flag)
        connection.send(frame)
        connection.expect_response(1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("address", help="HOST:PORT")
    parser.add_argument("--path", default="/", help="a resource that answers GET, HEAD and POST")
    parser.add_argument("--authority", default=None, help="default: the address")
    parser.add_argument("--only", default="", help="sections that begin with this")
    parser.add_argument("--timeout", type=float, default=1.0, help="seconds to wait for something to happen")
    parser.add_argument("--verbose", action="store_true", help="print passed cases too")
    options = parser.parse_args()
    host, _, port = options.address.rpartition(":")
    options.authority = options.authority or options.address
    options.address = (host, int(port))
    passed, failed = 0, 0
    for section, title, function in cases:
        if not section.startswith(options.only):
            continue
        try:
            function(options)
            passed += 1
            if options.verbose:
                print(f"passed {section}: {title}")
        except (Failed, OSError) as error:
            failed += 1
            print(f"FAILED {section}: {title}: {error}")
    print(f"{passed + failed} cases, {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
