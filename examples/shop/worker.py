"""worker.py - answers HTTP/1.1 on a Unix socket or loopback port; your functions are the operations.

app-node POSTs every operation to <address>/<operation> with the checked parameters as JSON. Any web framework can
take that; this is the smallest thing that does, from Python's standard library alone, in some tens of microseconds:

    def quote_price(params, call):
        return {"cents": 100 * params["quantity"]}

    Worker({"quote.price": quote_price}).run("http+unix:///run/shop/handlers.sock")

The address is the one that `handlers` in app-node's configuration and `scripts/dev up --handlers` take.

A function returns what json can write. It refuses for good with `raise Refused(...)`, asks for a later attempt with
`raise Later(...)`; any other exception is answered with 500, which means: try again (send), failed (call).
SIGTERM ends it: what runs is finished and answered, then run() returns.
"""

import json
import os
import selectors
import signal
import socket
import stat
import struct
import sys
import threading
import traceback
import urllib.parse

MAX_HEAD_BYTES = 16 * 1024
MAX_BODY_BYTES = 1024 * 1024
MAX_CONNECTIONS = 256
# Half a request may take this long. A connection without any stays: the node keeps it for the next one.
REQUEST_SECONDS = 30
DRAIN_SECONDS = 20

encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode

REASONS = {
    200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed", 409: "Conflict",
    411: "Length Required", 413: "Content Too Large", 422: "Unprocessable Content", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 503: "Service Unavailable",
}


class Refused(Exception):
    """No, and asking again will not help. `type` is the error's stable name."""

    def __init__(self, type, detail="", status=422):
        super().__init__(detail)
        self.type, self.detail, self.status, self.after_seconds = type, detail, status, None


class Later(Refused):
    """Not now: the same request may succeed after some seconds."""

    def __init__(self, detail="", after_seconds=1):
        super().__init__("try-later", detail, 503)
        self.after_seconds = after_seconds


class Call:
    """What is known of the message besides its parameters."""

    __slots__ = ("operation", "id", "host", "attempt", "deadline_ms", "key", "traceparent")

    def __init__(self, operation, headers):
        get = headers.get
        self.operation = operation
        self.id = get("sallyport-id")            # the same for every attempt: record it with the effect
        self.host = get("sallyport-host")        # the web host it came from, as the broker knows it
        self.attempt = int(get("sallyport-attempt", "1"))
        deadline_ms = get("sallyport-deadline-ms")
        self.deadline_ms = int(deadline_ms) if deadline_ms else None    # what is left; None: nobody waits
        key = get("sallyport-key")               # percent-encoded: a header carries ASCII only
        self.key = None if key is None else urllib.parse.unquote(key, errors="strict")
        self.traceparent = get("traceparent")


class BadRequest(Exception):
    def __init__(self, status, detail):
        super().__init__(detail)
        self.status = status


class Worker:
    def __init__(self, operations):
        self.operations = dict(operations)
        self.connections = {}                    # socket -> its thread
        self.lock = threading.Lock()
        self.stopping = False

    # One connection ---------------------------------------------------------------------------------------------

    def serve(self, sock):
        buffer = b""
        try:
            while not self.stopping:
                end = buffer.find(b"\r\n\r\n")
                while end < 0:
                    if len(buffer) > MAX_HEAD_BYTES:
                        raise BadRequest(431, "the head is too long")
                    data = receive(sock, idle=not buffer)
                    if not data:
                        return
                    buffer += data
                    end = buffer.find(b"\r\n\r\n")
                method, target, headers = parse_head(buffer[:end])
                length = body_length(headers)
                buffer = buffer[end + 4:]
                if length > len(buffer) and headers.get("expect", "").lower() == "100-continue":
                    sock.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                while len(buffer) < length:
                    data = receive(sock, idle=False)
                    if not data:
                        return
                    buffer += data
                body, buffer = buffer[:length], buffer[length:]
                keep = headers.get("connection", "").lower() != "close" and not self.stopping
                sock.sendall(self.answer(method, target, headers, body, keep))
                if not keep:
                    return
        except BadRequest as bad:
            try:
                sock.sendall(problem(bad.status, "bad-request", str(bad), keep=False))
            except OSError:
                pass
        except OSError:
            pass                                 # the peer went away, or took longer than it may
        finally:
            with self.lock:
                del self.connections[sock]
            sock.close()

    def answer(self, method, target, headers, body, keep):
        function = self.operations.get(target[1:])
        if function is None:
            return problem(404, "unknown-operation", f"nothing answers {target[:80]} here", keep)
        if method != "POST":
            return problem(405, "bad-method", "operations are POSTed", keep)
        try:
            params = json.loads(body.decode())
            call = Call(target[1:], headers)
        except ValueError as error:
            return problem(400, "bad-request", f"not understood: {error}", keep)
        try:
            return response(200, encode(function(params, call)).encode(), keep)
        except Refused as no:
            return problem(no.status, no.type, no.detail, keep, no.after_seconds)
        except Exception:                        # whatever it is, it is this one request's trouble
            say(f"operation={call.operation} msg={call.id} attempt={call.attempt} event=failed")
            traceback.print_exc()
            return problem(500, "handler-failed", "the handler failed; its log says how", keep)

    # All of them ------------------------------------------------------------------------------------------------

    def accept(self, listener):
        sock, _ = listener.accept()
        with self.lock:
            if len(self.connections) >= MAX_CONNECTIONS:
                sock.close()
                say(f"event=refused-connection err=\"{MAX_CONNECTIONS} are open\"")
                return
            sock.setblocking(True)
            seconds = struct.pack("ll", REQUEST_SECONDS, 0)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, seconds)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, seconds)
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self.serve, args=(sock,), daemon=True)
            self.connections[sock] = thread
        thread.start()

    def run(self, address, ready_fd=None):
        """Serve until SIGTERM or SIGINT. address: http+unix:///PATH or http://127.0.0.1:PORT.

        Exits with status 1, having said why, where it cannot be listened.
        """
        try:
            place = place_of(address)
            listener = listen(place)
        except (OSError, ValueError) as error:
            say(f"event=not-started address={address} err=\"{error}\"")
            raise SystemExit(1) from None
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ, listener)
            selector.register(wake_read, selectors.EVENT_READ, None)
            if ready_fd is not None:
                os.write(ready_fd, b"ready\n")
                os.close(ready_fd)
            say(f"event=ready address={address}")
            while not self.stopping:
                for key, _ in selector.select():
                    if key.data is None:
                        self.stopping = True
                    else:
                        try:
                            self.accept(listener)
                        except OSError as error:
                            say(f"event=accept-failed err=\"{error}\"")
        listener.close()
        if isinstance(place, str):
            os.unlink(place)
        with self.lock:
            open_ones = list(self.connections.items())
        for sock, _ in open_ones:
            try:
                sock.shutdown(socket.SHUT_RD)    # no further request; the answer under way still goes out
            except OSError:
                pass
        for _, thread in open_ones:
            thread.join(DRAIN_SECONDS)
        say("event=stopped")


def receive(sock, idle):
    while True:
        try:
            return sock.recv(65536)
        except BlockingIOError:                  # SO_RCVTIMEO
            if not idle:
                raise


def parse_head(head):
    try:
        lines = head.decode("ascii").split("\r\n")
        method, target, version = lines[0].split(" ")
    except ValueError:
        raise BadRequest(400, "not HTTP") from None
    if version != "HTTP/1.1" or not target.startswith("/"):
        raise BadRequest(400, "not HTTP/1.1")
    headers = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        name = name.lower()
        if not colon or name in headers or not name or name != name.strip():
            raise BadRequest(400, "a broken or doubled header")
        headers[name] = value.strip()
    return method, target, headers


def body_length(headers):
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers:
        raise BadRequest(411, "the length must be said at the start")
    if not length.isdigit() or len(length) > 10:
        raise BadRequest(400, "a broken length")
    if int(length) > MAX_BODY_BYTES:
        raise BadRequest(413, f"at most {MAX_BODY_BYTES} bytes")
    return int(length)


def response(status, body, keep, content_type="application/json", after_seconds=None):
    more = "" if after_seconds is None else f"Retry-After: {after_seconds}\r\n"
    if not keep:
        more += "Connection: close\r\n"
    return (f"HTTP/1.1 {status} {REASONS.get(status, 'Other')}\r\nContent-Type: {content_type}\r\n"
            f"Content-Length: {len(body)}\r\n{more}\r\n").encode() + body


def problem(status, type, detail, keep, after_seconds=None):
    body = {"type": type, "title": type.replace("-", " "), "status": status, "detail": detail}
    return response(status, encode(body).encode(), keep, "application/problem+json", after_seconds)


def place_of(address):
    """Where an address points to: a socket's path, or host and port. As app-node reads it."""
    if address.startswith("http+unix:///"):
        return address[len("http+unix://"):]
    if address.startswith("unix:/"):             # shorter, for the command line
        return address[len("unix:"):]
    if address.startswith("http://127.0.0.1:"):
        port = address[len("http://127.0.0.1:"):].removesuffix("/")
        if port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535:
            return "127.0.0.1", int(port)
        raise ValueError("the port is a number from 1 to 65535: http://127.0.0.1:8080")
    if address.startswith("http://"):
        raise ValueError("operations are answered on this machine only: http://127.0.0.1:PORT")
    raise ValueError("an address is http+unix:///PATH or http://127.0.0.1:PORT")


def listen(place):
    if isinstance(place, str):
        remove_stale_socket(place)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o117)                   # owner and group may speak to it
        try:
            listener.bind(place)
        finally:
            os.umask(mask)
    else:
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
    listener.listen(MAX_CONNECTIONS)
    return listener


def remove_stale_socket(path):
    try:
        if not stat.S_ISSOCK(os.stat(path).st_mode):
            raise FileExistsError(f"{path} is there and no socket")
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            os.unlink(path)
            return
    raise FileExistsError(f"somebody answers on {path} already")


def say(line):
    print(line, file=sys.stderr, flush=True)
