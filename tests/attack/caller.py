#!/usr/bin/env python3
"""caller.py - a busy web app: calls an operation thirty times a second, whatever became of the calls before.

usage: caller.py SOCKET [OPERATION BODY]

A line for each call, as soon as it is answered: when it began (milliseconds since the epoch), how long it took
(milliseconds), the status, and the name of the problem or "ok".
"""

import http.client
import json
import queue
import socket
import sys
import threading
import time

PACE_SECONDS = 1 / 30
OPERATION, BODY = sys.argv[2:4] or ("quote.price", '{"sku": "A-1", "quantity": 2}')
AT_ONCE = 128       # more than a deadline's worth


class Local(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


def call(local):
    began = time.time()
    local.request("POST", f"/v1/call/{OPERATION}", BODY)
    answer = local.getresponse()
    body = json.loads(answer.read())
    took = time.time() - began
    name = "ok" if answer.status == 200 else body["type"].split(":")[-1].split("/")[-1]
    print(f"{began * 1000:.0f} {took * 1000:.0f} {answer.status} {name}\n", end="", flush=True)


def work(turns):
    local = Local(sys.argv[1])
    while True:
        turns.get()
        call(local)


def main():
    turns = queue.Queue()
    for _ in range(AT_ONCE):
        threading.Thread(target=work, args=(turns,), daemon=True).start()
    due = time.monotonic()
    while True:
        turns.put(None)
        due += PACE_SECONDS
        time.sleep(max(0, due - time.monotonic()))


main()
