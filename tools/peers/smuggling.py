"""The smuggling corpus (ATK-12): messages that two readers read in two ways, before upstreams that read leniently.

Behind each message lies what an attacker wants the upstream to take for a second request, `GET /smuggled…`. By RFC 9112 it is
part of a body or of a refused message, so no upstream may ever see it, whatever it forgives.
"""
import concurrent.futures
import socket
import threading

from peers.proxy import Proxy, cluster, free_port, http_manager, listener

EVIL = "GET /smuggled0000 HTTP/1.1\r\nHost: t\r\n\r\n"


def encodings():
    """Ways to write that a body is chunked, or almost."""
    for value in ("chunked", "Chunked", "CHUNKED", " chunked", "\tchunked", "chunked ", "chunked\t", "xchunked", "chunkedx", "x chunked",
                  "chunked, identity", "identity, chunked", "chunked,", ",chunked", "chunked;a=b", "\"chunked\"", "'chunked'",
                  "chunked, chunked", "gzip, chunked", "identity", "cow", "\x0bchunked", "\x0cchunked", "chunked\x00", "\x00chunked",
                  "chu nked", "chunked\x7f", "chun\u212aed", "deflate", ""):
        yield "Transfer-Encoding: " + value
    for name in ("Transfer-Encoding :", "Transfer-Encoding\t:", " Transfer-Encoding:", "\tTransfer-Encoding:", "Transfer_Encoding:",
                 "Transfer-Encoding\x00:", "X: y\r\n Transfer-Encoding:", "X: y\nTransfer-Encoding:", "X: y\rTransfer-Encoding:",
                 "X: y\r\r\nTransfer-Encoding:", "Transfer\r\n-Encoding:", "Transfer-Encoding:\r\n", "Transfer-Encoding:\n",
                 "transfer-encoding:", "TRANSFER-ENCODING:", "Transfer-Encoding:\x0b", "Transfer-Encoding;", "Transfer Encoding:",
                 "Content-Encoding:", "TE:", "Transfer-Encoding: identity\r\nTransfer-Encoding:",
                 "Connection: Transfer-Encoding\r\nTransfer-Encoding:", "Connection: Content-Length\r\nTransfer-Encoding:",
                 "X:\x00\r\nTransfer-Encoding:", "\x00: y\r\nTransfer-Encoding:", "Tr\u00e4nsfer-Encoding:"):
        yield name + " chunked"


def lengths(count):
    """Ways to write a length, or almost; `count` is what the body would have to be."""
    for value in ("+%d", "-%d", "0x%x", "%d,%d", "%d, %d", "0%d", "%d ", "%d\t", " %d", "%d;", "%d.0", "%de0", "\"%d\"", "%d\x00", "\x0b%d",
                  "%d %d", "00000000000000000000%d", "18446744073709551616%d", "%d_", "\u0661%d"):
        yield "Content-Length: " + (value % ((count,) * value.count("%")))
    for name in ("Content-Length :", "Content-Length\t:", " Content-Length:", "Content_Length:", "X: y\r\n Content-Length:",
                 "X: y\nContent-Length:", "X: y\rContent-Length:", "Content-Length:\r\n", "Content-Length\x00:", "CONTENT-LENGTH:"):
        yield f"{name} {count}"


def corpus():
    """(name, bytes) of each message."""
    head = "POST /a HTTP/1.1\r\nHost: t\r\n"
    for line in encodings():
        # CL.TE: who goes by the encoding ends the body at once.
        body = "0\r\n\r\n" + EVIL
        yield f"CL.TE {line!r}", head + f"Content-Length: {len(body)}\r\n{line}\r\n\r\n{body}"
        yield f"TE.CL order {line!r}", head + f"{line}\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        if line.startswith(("TE:", "Content-Encoding:", "Transfer_Encoding:")):
            continue  # None of them says how the message is framed: behind the length stands a request indeed.
        # TE.CL: who goes by the length sees a request in the chunk.
        chunk = f"{len(EVIL):x}\r\n{EVIL}\r\n0\r\n\r\n"
        yield f"TE.CL {line!r}", head + f"Content-Length: {len(f'{len(EVIL):x}') + 2}\r\n{line}\r\n\r\n{chunk}"
    for line in lengths(len(EVIL)):
        if "_L" not in line:
            yield f"length {line!r}", head + f"{line}\r\n\r\n{EVIL}"
        yield f"CL.CL {line!r}", head + f"Content-Length: {len(EVIL)}\r\n{line}\r\n\r\n{EVIL}"
        yield f"CL.CL reversed {line!r}", head + f"{line}\r\nContent-Length: {len(EVIL)}\r\n\r\n{EVIL}"
    yield "two lengths", head + f"Content-Length: 0\r\nContent-Length: {len(EVIL)}\r\n\r\n{EVIL}"
    yield "two lengths reversed", head + f"Content-Length: {len(EVIL)}\r\nContent-Length: 0\r\n\r\n{EVIL}"
    chunked = head + "Transfer-Encoding: chunked\r\n\r\n"
    for size in ("0x0", "+0", "-0", "0 ", " 0", "0;a=\n", "0;\r", "00000000000000000", "0\n", "0\r\r\n", "0\x00", "0_0", "g", "", "0\t",
                 "10000000000000000", "ffffffffffffffff", "0;\"\r\n\r\n\""):
        yield f"chunk size {size!r}", chunked + f"{size}\r\n\r\n{EVIL}X\r\n0\r\n\r\n"
    for piece in ("3\r\nabcX\r\n0\r\n\r\n", "3\nabc\n0\n\n", "3\r\nabc0\r\n\r\n", "3;x=\ry\r\nabc\r\n0\r\n\r\n", "3\r\nabc\r\n0\r\nX: y\n\r\n",
                  "3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n", "3\r\nabc\r\n0\r\n X: y\r\n\r\n", "3\r\nabc\r\n0\n\r\n", "0\r\n\n"):
        # The end is in doubt: what follows is a request to those who accept it.
        yield f"chunks {piece!r}", chunked + piece + EVIL
    for start in ("GET /a HTTP/1.1\nHost: t\n\n", "GET /a\r\nHost: t\r\n\r\n", "GET  /a HTTP/1.1\r\nHost: t\r\n\r\n", "GET /a HTTP/1.1 x\r\nHost: t\r\n\r\n",
                  "GET /a HTTP/1.1\r\nHost: t\r\n\n", "GET /a HTTP/1.1\r\nHost : t\r\n\r\n", "GET /a HTTP/1.1\r\n Host: t\r\n\r\n",
                  "GET /a\x00 HTTP/1.1\r\nHost: t\r\n\r\n", "GET /a\rX HTTP/1.1\r\nHost: t\r\n\r\n", "GET /a HTTP/1.1\r\nHost: t\r\nHost: u\r\n\r\n",
                  "GET http://u/a HTTP/1.1\r\nHost: t\r\n\r\n", "GET /a HTTP/2.0\r\nHost: t\r\n\r\n", "G\x00ET /a HTTP/1.1\r\nHost: t\r\n\r\n",
                  "GET /a HTTP/1.1\r\nHost: t\r\nX: a\r\n b\r\n\r\n", "GET /a HTTP/1.1\r\nHost: t\r\nX\r\n\r\n"):
        yield f"start {start!r}", start + EVIL
    yield "a GET with a body that is a request", f"GET /a HTTP/1.1\r\nHost: t\r\nContent-Length: {len(EVIL)}\r\n\r\n{EVIL}"
    yield "an upgrade that nobody agreed to", ("GET /a HTTP/1.1\r\nHost: t\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + EVIL)
    yield "CONNECT", "CONNECT t:80 HTTP/1.1\r\nHost: t:80\r\n\r\n" + EVIL
    yield "Expect", head + f"Expect: 100-continue\r\nContent-Length: {len(EVIL)}\r\n\r\n{EVIL}"
    yield "HTTP/1.0 chunked", f"POST /a HTTP/1.0\r\nHost: t\r\nTransfer-Encoding: chunked\r\nContent-Length: {len(EVIL)}\r\n\r\n0\r\n\r\n" + EVIL


class Lenient:
    """A server that forgives: `prefers` is what it goes by when there are two framings. It answers every request it thinks it sees."""

    def __init__(self, prefers):
        self.prefers, self.paths = prefers, []
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.socket.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        buffer = b""
        try:
            while True:
                while not (buffer := buffer.lstrip(b"\r\n")) or b"\n\n" not in buffer.replace(b"\r", b""):
                    data = connection.recv(65536)
                    if not data:
                        return
                    buffer += data
                lines, rest = [], buffer
                while True:
                    line, _, rest = rest.partition(b"\n")
                    if not line.strip(b"\r"):
                        break
                    lines.append(line.strip(b"\r"))
                buffer = rest
                self.paths.append(lines[0].split(b" ")[1] if b" " in lines[0] else lines[0])
                length, is_chunked = 0, False
                for line in lines[1:]:
                    name, _, value = line.partition(b":")
                    name, value = name.strip().lower().replace(b"_", b"-"), value.strip().lower()
                    digits = bytes(c for c in value.split(b",")[0] if 48 <= c < 58)
                    if name == b"content-length" and digits:
                        length = int(digits)
                    if name == b"transfer-encoding" and b"chunked" in value:
                        is_chunked = True
                if is_chunked and (self.prefers == "encoding" or not length):
                    while True:
                        while b"\n" not in buffer:
                            buffer += self.more(connection)
                        size, _, buffer = buffer.partition(b"\n")
                        digits = size.split(b";")[0].strip().lower().removeprefix(b"0x") or b"0"
                        count = int(digits, 16)
                        while len(buffer) < count:
                            buffer += self.more(connection)
                        buffer = buffer[count:].lstrip(b"\r\n")
                        if not count:
                            break
                elif self.prefers != "nothing":
                    while len(buffer) < length:
                        buffer += self.more(connection)
                    buffer = buffer[length:]
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        except (OSError, ValueError, IndexError):
            pass
        finally:
            connection.close()

    @staticmethod
    def more(connection):
        data = connection.recv(65536)
        if not data:
            raise OSError("the end")
        return data


def ask(port, message):
    """Everything that comes back; a message that is not complete is waited for in vain, and not for long."""
    answer = b""
    with socket.create_connection(("127.0.0.1", port), timeout=0.4) as client:
        try:
            client.sendall(message)
            while data := client.recv(65536):
                answer += data
        except OSError:
            pass
    return answer


def run(program, check):
    messages = []
    for number, (name, text) in enumerate(corpus()):
        messages.append((name, text.encode().replace(b"/smuggled0000", b"/smuggled%04d" % number)))
    for prefers in ("length", "encoding", "nothing"):
        upstream = Lenient(prefers)
        port = free_port()
        routes = [{"match": {"prefix": "/"}, "route": {"cluster": "backend", "timeout": "2s"}}]
        with Proxy(program, [listener("in", port, http_manager(routes, use_remote_address=True))], [cluster("backend", [upstream.port])]) as proxy:
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                answers = list(pool.map(lambda pair: ask(port, pair[1]), messages))
            refused = sum(1 for answer in answers if not answer.startswith(b"HTTP/1.1 200"))
            # An upstream that goes by nothing reads bodies as requests, and so says nothing about us.
            seen = {path for path in upstream.paths if path.startswith(b"/smuggled")} if prefers != "nothing" else set()
            wrong = [name for number, (name, _) in enumerate(messages) if b"/smuggled%04d" % number in seen]
            wrong += [f"{name} (two answers)" for (name, _), answer in zip(messages, answers) if answer.count(b"HTTP/1.1 200") > 1]
            words = f"ATK-12: {len(messages)} messages before an upstream that goes by {prefers}"
            check(words, not wrong and proxy.is_running(), wrong[:5] or f"{refused} refused")
            check(words + ": then a good one", b"ok" in ask(port, b"GET /a HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n"))
        upstream.socket.close()
