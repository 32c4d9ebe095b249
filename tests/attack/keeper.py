#!/usr/bin/env python3
"""keeper.py - the handlers of tests/attack/trial.sh: answers calls, and counts the sends of each web host.

usage: keeper.py SOCKET EXAMPLE-SHOP-FOLDER [--ready-fd N]

trial.count, which only who reaches the socket can ask, says for each host how many sends it has seen ("sends"), and how
often one came again ("copies").
"""

import sys
import threading
import time

sys.path.insert(0, sys.argv[2])
from worker import Worker  # noqa: E402

KEEP_SECONDS = 0.01       # what trial.keep takes

lock = threading.Lock()
seen = {}
copies = {}


def ask(params, call):
    return {"left": 7}


def put(params, call):
    with lock:
        ids = seen.setdefault(call.host, set())
        if call.id in ids:
            copies[call.host] = copies.get(call.host, 0) + 1
        ids.add(call.id)
    return {}


def keep(params, call):
    time.sleep(KEEP_SECONDS)
    return put(params, call)


def count(params, call):
    with lock:
        return {host: {"sends": len(ids), "copies": copies.get(host, 0)} for host, ids in seen.items()}


def main():
    ready_fd = int(sys.argv[4]) if sys.argv[3:4] == ["--ready-fd"] else None
    Worker({"trial.ask": ask, "trial.put": put, "trial.keep": keep, "trial.count": count}).run(f"unix:{sys.argv[1]}", ready_fd)


main()
