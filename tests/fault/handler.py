#!/usr/bin/env python3
"""handler.py - a back end for soaks: records each id with its effect in one transaction, and tells
all that it does, so that history.py can judge it afterwards.

It answers the operations of contract.yaml beside it. Told to, it fails at random (half of the time
before its effect, half of the time after it), and kills itself at a chosen point of its work:

  begin     before anything is done        effect    inside the transaction, not committed
  recorded  committed, not yet answered

The log has a line for each step, written at once and whole: {"at","id","op","host","key","n",
"attempt","pid","event","deadline_ms"|"status"}. The effects are in a SQLite file: `done` (the ids)
and `effects` (in their order).

usage: handler.py --listen http+unix:///PATH --log FILE --effects FILE [--seed N]
                  [--fail N] [--die POINT:N] [--keep FAULTS]
  --fail N       one time in N
  --die POINT:N  every Nth time that it comes to that point
  --keep FAULTS  as a parent: starts it again when it has died, and says so in this file
SIGTERM ends it; what runs is finished first.
"""
import argparse
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/shop"))
from worker import Later, Worker  # noqa: E402 pylint: disable=wrong-import-position

POINTS = ("begin", "effect", "recorded")
SCHEMA = """
CREATE TABLE IF NOT EXISTS done (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS effects (id TEXT, op TEXT, host TEXT, key TEXT, n INTEGER, at REAL);
"""


class Journal:
    """Lines that are there, whole, even if the next thing that happens is SIGKILL."""

    def __init__(self, path):
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, **line):
        os.write(self.fd, (json.dumps({"at": time.time(), **line}) + "\n").encode())


class Handler:
    def __init__(self, options):
        self.options = options
        self.journal = Journal(options.log)
        self.random = random.Random(options.seed)
        self.lock = threading.RLock()   # one writer at a time, and one draw at a time
        self.passed = 0                 # how often it was at the point to die at
        self.database = sqlite3.connect(options.effects, timeout=60, isolation_level=None,
                                        check_same_thread=False)
        self.database.execute("PRAGMA journal_mode = WAL")
        self.database.execute("PRAGMA synchronous = FULL")
        self.database.executescript(SCHEMA)

    def one_in(self, n):
        with self.lock:
            return n > 0 and self.random.randrange(n) == 0

    def may_die(self, point):
        if self.options.die[0] != point:
            return
        with self.lock:
            self.passed += 1
            if self.passed == self.options.die[1]:
                os.kill(os.getpid(), signal.SIGKILL)

    def tell(self, event, params, call, **more):
        self.journal.write(id=call.id, op=call.operation, host=call.host, key=call.key,
                           n=params["n"], attempt=call.attempt, pid=os.getpid(), event=event,
                           **more)

    def put(self, params, call):
        self.tell("begin", params, call, deadline_ms=call.deadline_ms)
        self.may_die("begin")
        fails, after = self.one_in(self.options.fail), self.one_in(2)
        if fails and not after:
            self.tell("end", params, call, status=503)
            raise Later("it fails one time in %d" % self.options.fail)
        with self.lock:
            is_new = self.record(params, call)
        if is_new:
            self.tell("effect", params, call)
        self.may_die("recorded")
        if fails:
            self.tell("end", params, call, status=503)
            raise Later("it fails, and has done it all the same")
        self.tell("end", params, call, status=200)
        return {}

    def record(self, params, call):
        """The id and the effect, both or neither. False: it was done before."""
        run = self.database.execute
        run("BEGIN IMMEDIATE")
        try:
            is_new = run("INSERT OR IGNORE INTO done VALUES (?)", (call.id,)).rowcount == 1
            if is_new:
                run("INSERT INTO effects VALUES (?, ?, ?, ?, ?, ?)",
                    (call.id, call.operation, call.host, call.key, params["n"], time.time()))
            self.may_die("effect")
            run("COMMIT")
        except BaseException:
            run("ROLLBACK")
            raise
        return is_new

    def run(self):
        Worker({"keyed.put": self.put, "loose.put": self.put,
                "sum.ask": lambda params, call: {"n": params["n"] + 1}}).run(self.options.listen)


def keep(faults_path):
    """Starts the same again without --keep, until SIGTERM."""
    journal, child, stopping = Journal(faults_path), None, []

    def on_term(signum, frame):
        stopping.append(signum)
        if child is not None:
            child.terminate()

    signal.signal(signal.SIGTERM, on_term)
    arguments = sys.argv[:]
    at = arguments.index("--keep")
    del arguments[at:at + 2]
    seed = 0
    while not stopping:
        # Another seed each time, or it would fail at the same places for ever.
        seed += 1
        child = subprocess.Popen([sys.executable, *arguments, "--run", str(seed)])
        if stopping:
            child.terminate()
        status = child.wait()
        if status != 0 and not stopping:
            journal.write(kind="died", part="handler", pid=child.pid, status=status)
        if status not in (0, -signal.SIGKILL):
            return 1
    return 0


def point(text):
    name, _, count = text.partition(":")
    if name not in POINTS or not count.isdigit() or int(count) < 1:
        raise argparse.ArgumentTypeError("POINT:N with POINT one of " + ", ".join(POINTS))
    return name, int(count)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--listen", required=True, metavar="URL")
    parser.add_argument("--log", required=True, metavar="FILE")
    parser.add_argument("--effects", required=True, metavar="FILE")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--fail", type=int, default=0, metavar="N", help="one time in N")
    parser.add_argument("--die", type=point, default=("", 0), metavar="POINT:N")
    parser.add_argument("--keep", metavar="FAULTS", help="starts it again when it has died")
    parser.add_argument("--run", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.keep:
        return keep(options.keep)
    options.seed = options.seed * 1_000_003 + options.run
    Handler(options).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
