#!/usr/bin/env python3
"""publisher.py - a web host that publishes one message after another until it is thrown out.

usage: publisher.py PORT CA CERTIFICATE KEY VHOST

Prints "ready" once the first message was confirmed, and at its end "CONFIRMED LAST REASON": how many messages were
confirmed, when the last one was (seconds since the epoch), and what ended it. Raw AMQP 0-9-1 on the standard library.
"""
import socket
import ssl
import struct
import sys
import time


def short(text):
    return bytes([len(text)]) + text


def long(text):
    return struct.pack(">I", len(text)) + text


def frame(kind, channel, payload):
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(channel, number, payload=b""):
    return frame(1, channel, struct.pack(">HH", *number) + payload)


class Gone(Exception):
    pass


class Session:
    def __init__(self, port, authority, certificate, key):
        context = ssl.create_default_context(cafile=authority)
        context.load_cert_chain(certificate, key)
        plain = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.stream = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.buffer = b""

    def send(self, data):
        self.stream.sendall(data)

    def read(self, count):
        while len(self.buffer) < count:
            data = self.stream.recv(65536)
            if not data:
                raise Gone("end of file")
            self.buffer += data
        data, self.buffer = self.buffer[:count], self.buffer[count:]
        return data

    def wait(self, number):
        while True:
            kind, _, size = struct.unpack(">BHI", self.read(7))
            payload = self.read(size + 1)[:-1]
            if kind != 1:
                continue
            got = struct.unpack(">HH", payload[:4])
            if got == number:
                return payload[4:]
            if got in ((10, 50), (20, 40)):
                length = payload[6]
                raise Gone(payload[7:7 + length].decode(errors="replace"))

    def open(self, vhost):
        self.send(b"AMQP\0\0\x09\x01")
        self.wait((10, 10))
        self.send(method(0, (10, 11), long(b"") + short(b"EXTERNAL") + long(b"") + short(b"en_US")))
        self.wait((10, 30))
        self.send(method(0, (10, 31), struct.pack(">HIH", 16, 8192, 0)))
        self.send(method(0, (10, 40), short(vhost) + short(b"") + b"\0"))
        self.wait((10, 41))
        self.send(method(1, (20, 10), short(b"")))
        self.wait((20, 11))
        self.send(method(1, (85, 10), b"\0"))
        self.wait((85, 11))

    def publish(self):
        body = b"{}"
        self.send(method(1, (60, 40), struct.pack(">H", 0) + short(b"x.forapp") + short(b"send") + b"\0")
                  + frame(2, 1, struct.pack(">HHQH", 60, 0, len(body), 0)) + frame(3, 1, body))
        self.wait((60, 80))


def main():
    port, authority, certificate, key, vhost = sys.argv[1:]
    confirmed, last, reason = 0, 0.0, "?"
    try:
        session = Session(int(port), authority, certificate, key)
        session.open(vhost.encode())
        while True:
            session.publish()
            confirmed, last = confirmed + 1, time.time()
            if confirmed == 1:
                print("ready", flush=True)
    except (Gone, OSError) as gone:
        reason = str(gone)
    print(confirmed, last, reason, flush=True)


main()
