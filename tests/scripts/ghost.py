#!/usr/bin/env python3
"""ghost.py - a client of the border with a good certificate and bad manners: no heartbeats, and it never says goodbye.

usage: ghost.py PORT PKI-FOLDER USER VHOST MANNER

Logs in by raw AMQP from 127.0.0.2, behaves as MANNER says, writes "ready" and waits to be killed:
  idle      a channel, and silence
  consume   takes deliveries and reads none of them
  partial   a message whose body never ends
  publish   one message
  flood     messages as fast as they go, for ever; "stuck" once the broker takes none for a second
  endless   one message whose body does not end, as fast as it goes, likewise
Exit: 1 if the broker closes the connection, having said why.
"""

import signal
import socket
import ssl
import struct
import sys

CONNECTION, CHANNEL, BASIC = 10, 20, 60
METHOD, HEADER, BODY = 1, 2, 3
FRAME_MAX = 8192


def shortstr(text):
    return bytes([len(text)]) + text.encode()


def longstr(text):
    return struct.pack(">I", len(text)) + text.encode()


class Ghost:
    def __init__(self, port, pki, user):
        context = ssl.create_default_context(cafile=f"{pki}/ca.pem")
        context.load_cert_chain(f"{pki}/{user}.pem", f"{pki}/{user}.key")
        plain = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=("127.0.0.2", 0))
        self.sock = context.wrap_socket(plain, server_hostname="127.0.0.1")
        self.file = self.sock.makefile("rb")

    def send(self, kind, channel, body):
        self.sock.sendall(struct.pack(">BHI", kind, channel, len(body)) + body + b"\xce")

    def say(self, channel, group, method, arguments):
        self.send(METHOD, channel, struct.pack(">HH", group, method) + arguments)

    def hear(self, group, method):
        """Waits for this method; whatever else comes is a no."""
        kind, _, size = struct.unpack(">BHI", self.file.read(7))
        body = self.file.read(size + 1)
        if kind != METHOD or struct.unpack(">HH", body[:4]) != (group, method):
            sys.exit(f"refused: {body[7:7 + body[6]].decode(errors='replace')}")      # after the code, a short text

    def log_in(self, vhost):
        self.sock.sendall(b"AMQP\0\0\x09\x01")
        self.hear(CONNECTION, 10)
        self.say(0, CONNECTION, 11, longstr("") + shortstr("EXTERNAL") + longstr("") + shortstr("en_US"))
        self.hear(CONNECTION, 30)
        self.say(0, CONNECTION, 31, struct.pack(">HIH", 4, FRAME_MAX, 0))     # the last one: no heartbeats
        self.say(0, CONNECTION, 40, shortstr(vhost) + shortstr("") + b"\0")
        self.hear(CONNECTION, 41)
        self.say(1, CHANNEL, 10, shortstr(""))
        self.hear(CHANNEL, 11)

    def publish(self, key, body, promised=None):
        self.say(1, BASIC, 40, b"\0\0" + shortstr("x.forapp") + shortstr(key) + b"\0")
        self.send(HEADER, 1, struct.pack(">HHQH", BASIC, 0, promised or len(body), 0))
        self.send(BODY, 1, body)

    def flood(self):
        self.sock.settimeout(1)
        try:
            while True:
                self.publish("call", bytes(1000))
        except TimeoutError:
            print("stuck", flush=True)

    def stream(self):
        self.sock.settimeout(1)
        self.publish("call", bytes(8000), promised=1 << 62)
        try:
            while True:
                self.send(BODY, 1, bytes(8000))
        except TimeoutError:
            print("stuck", flush=True)


def main():
    _, port, pki, user, vhost, manner = sys.argv
    ghost = Ghost(int(port), pki, user)
    ghost.log_in(vhost)
    if manner == "consume":
        ghost.say(1, BASIC, 20, b"\0\0" + shortstr("FORWEB.push") + shortstr("t") + b"\0" + struct.pack(">I", 0))
    elif manner == "partial":
        ghost.publish("call", bytes(8000), promised=100000)
    elif manner == "publish":
        ghost.publish("call", b"boo")
    print("ready", flush=True)
    if manner == "flood":
        ghost.flood()
    elif manner == "endless":
        ghost.stream()
    signal.pause()


main()
