#!/usr/bin/env python3
"""client.py - a mixed load for soaks: sends in order per key, sends without a key, calls; and a
line for each try about what it was told.

Each thread has keys of its own and goes on with the next number of a key when it knows what became
of the last one, so the numbers of a key are accepted in their order. Half of the sends have an
Idempotency-Key: if one of these breaks, or is answered 503 or 504, it is sent again under the same
key until it is known to be accepted. The others are sent once, whatever comes of them.

A line: {"at","kind","op","id"|null,"key"|null,"n","idem"|null,"status"|null}; status null means
that the connection broke. A call that was answered wrongly has "wrong": true as well.

usage: client.py --socket PATH --log FILE --seconds S [--seed N] [--name NAME --base N]
                 [--threads N] [--keys N] [--pause-ms N]
Prints {"tries","accepted","unknown","refused"} in the end; SIGTERM is an earlier end.
exit 0 done (whatever it was told), 2 called wrongly
"""
import argparse
import http.client
import json
import os
import random
import signal
import socket
import sys
import threading
import time

GIVE_UP_SECONDS = 120     # one message is not repeated for longer
ANSWER_SECONDS = 30


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket; nothing is ever sent twice by itself."""

    def __init__(self, path):
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(ANSWER_SECONDS)
        self.sock.connect(self.path)


class Sender(threading.Thread):
    def __init__(self, options, number, log_fd, stopping):
        super().__init__()
        self.options, self.number, self.log_fd, self.stopping = options, number, log_fd, stopping
        self.random = random.Random(options.seed * 1_000_003 + number)
        self.connection = Connection(options.socket)
        self.counts = {"tries": 0, "accepted": 0, "unknown": 0, "refused": 0}
        self.next_n = {}

    def run(self):
        end = time.monotonic() + self.options.seconds
        keys = [f"{self.options.name}-{self.number}-{i}" for i in range(self.options.keys)]
        while time.monotonic() < end and not self.stopping.is_set():
            kind = self.random.randrange(10)
            if kind < 6:
                self.send("keyed.put", self.random.choice(keys))
            elif kind < 8:
                self.send("loose.put", None)
            else:
                self.call()
            self.stopping.wait(self.options.pause_ms / 1000)

    def next_of(self, key):
        # Without a key the number alone has to tell one sender's messages from another's.
        n = self.next_n.get(key, self.first_n if key is None else 0) + 1
        self.next_n[key] = n
        return n

    @property
    def first_n(self):
        return (self.options.base * 1000 + self.number) * 1_000_000_000

    def ask(self, path, params, idem):
        """(status, answer); status None: nobody knows."""
        headers = {"Content-Type": "application/json"}
        if idem is not None:
            headers["Idempotency-Key"] = idem
        try:
            self.connection.request("POST", path, json.dumps(params), headers)
            response = self.connection.getresponse()
            body = json.loads(response.read() or b"null")
            return response.status, body if isinstance(body, dict) else {}
        except (FileNotFoundError, ConnectionRefusedError):
            # Nothing was sent. Said as a refusal, because it is certain.
            self.connection.close()
            return 503, {}
        except (OSError, http.client.HTTPException, ValueError):
            self.connection.close()
            return None, {}

    def note(self, kind, op, key, n, idem, status, answer, **more):
        self.counts["tries"] += 1
        if status is None:
            self.counts["unknown"] += 1
        else:
            self.counts["accepted" if status < 300 else "refused"] += 1
        line = {"at": time.time(), "kind": kind, "op": op, "id": answer.get("id"), "key": key,
                "n": n, "idem": idem, "status": status, **more}
        os.write(self.log_fd, (json.dumps(line) + "\n").encode())

    def send(self, op, key):
        n = self.next_of(key)
        params = {"n": n} if key is None else {"key": key, "n": n}
        idem = None
        if self.random.randrange(2) == 0:
            idem = f"{self.options.name}-{self.number}-{key}-{n}"
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while True:
            status, answer = self.ask(f"/v1/send/{op}", params, idem)
            self.note("send", op, key, n, idem, status, answer)
            if idem is None or status not in (None, 429, 503, 504, 507):
                return
            if time.monotonic() > give_up or self.stopping.wait(0.05):
                return

    def call(self):
        n = self.random.randrange(1_000_000)
        status, answer = self.ask("/v1/call/sum.ask", {"n": n}, None)
        wrong = {"wrong": True} if status == 200 and answer.get("n") != n + 1 else {}
        self.note("call", "sum.ask", None, n, None, status, {}, **wrong)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--socket", required=True, metavar="PATH")
    parser.add_argument("--log", required=True, metavar="FILE")
    parser.add_argument("--seconds", required=True, type=float, metavar="S")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--name", default="c", help="in keys: another one for each client")
    parser.add_argument("--base", type=int, default=0, metavar="N",
                        help="in numbers of sends without a key: another one for each client")
    parser.add_argument("--threads", type=int, default=4, metavar="N")
    parser.add_argument("--keys", type=int, default=3, metavar="N", help="for each thread (3)")
    parser.add_argument("--pause-ms", type=float, default=5, metavar="N", help="between two (5)")
    options = parser.parse_args()
    stopping = threading.Event()
    signal.signal(signal.SIGTERM, lambda signum, frame: stopping.set())
    log_fd = os.open(options.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    senders = [Sender(options, i, log_fd, stopping) for i in range(options.threads)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join()
    sums = {name: sum(s.counts[name] for s in senders) for name in senders[0].counts}
    print(json.dumps(sums))
    return 0


if __name__ == "__main__":
    sys.exit(main())
