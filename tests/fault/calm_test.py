#!/usr/bin/env python3
"""calm_test.py - client, handler and checker against a whole site, and nothing is broken: what the
soak reports has to be 0 here, or it says nothing when it is not.

usage: calm_test.py    the programs are those of SALLYPORT_BIN, or of build/release/bin
"""
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
DEV = os.path.join(HERE, "../../scripts/dev")
SECONDS = 3
SETTLED_WITHIN = 120


class CalmTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.mkdtemp(prefix="calm.", dir="/tmp")
        cls.site = os.path.join(cls.folder, "s")
        cls.listen = "http+unix://" + cls.path("h.sock")
        cls.dev("up", "--contract", os.path.join(HERE, "contract.yaml"), "--handlers", cls.listen)
        env = dict(line.split("=", 1) for line in cls.dev("env").splitlines())
        cls.socket = env["SALLYPORT_WEB_SOCKET"]

    @classmethod
    def tearDownClass(cls):
        try:
            cls.dev("down", "--purge")
        finally:
            shutil.rmtree(cls.folder, ignore_errors=True)

    @classmethod
    def path(cls, name):
        return os.path.join(cls.folder, name)

    @classmethod
    def dev(cls, command, *arguments):
        # Into a file: what it starts would hold a pipe open.
        with open(cls.path("dev.out"), "w+", encoding="utf-8") as out:
            run = subprocess.run([DEV, command, "--dir", cls.site, *arguments], stdout=out,
                                 stderr=subprocess.STDOUT, timeout=150)
            out.seek(0)
            text = out.read()
        if run.returncode != 0:
            raise RuntimeError(f"dev {command}: {text}")
        return text

    def handler(self, name, *more):
        process = subprocess.Popen(
            [sys.executable, os.path.join(HERE, "handler.py"), "--listen", self.listen,
             "--log", self.path(name + ".handler"), "--effects", self.path(name + ".db"), *more],
            stdout=subprocess.DEVNULL)
        self.addCleanup(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            process.terminate()
            process.wait(40)

    def load(self, name, *more):
        run = subprocess.run(
            [sys.executable, os.path.join(HERE, "client.py"), "--socket", self.socket, "--log",
             self.path(name + ".client"), "--seconds", str(SECONDS), "--name", name,
             *more],
            capture_output=True, text=True, timeout=180, check=True)
        return json.loads(run.stdout)

    def ids_accepted(self, name):
        with open(self.path(name + ".client"), encoding="utf-8") as file:
            return {line["id"] for line in map(json.loads, file)
                    if line["kind"] == "send" and line["status"] == 202}

    def ids_done(self, name):
        """Those whose last call has ended well."""
        done = set()
        with open(self.path(name + ".handler"), encoding="utf-8") as file:
            for line in map(json.loads, file):
                if line["event"] == "end" and line["status"] == 200:
                    done.add(line["id"])
        return done

    def settle(self, name):
        deadline = time.monotonic() + SETTLED_WITHIN
        accepted = self.ids_accepted(name)
        while accepted - self.ids_done(name):
            self.assertLess(time.monotonic(), deadline, "not all was done in time")
            time.sleep(0.1)
        return accepted

    def judge(self, name, *more):
        run = subprocess.run(
            [sys.executable, os.path.join(HERE, "history.py"), "--clients",
             self.path(name + ".client"), "--handlers", self.path(name + ".handler"), "--effects",
             self.path(name + ".db"), *more], capture_output=True, text=True, timeout=60)
        return run.returncode, json.loads(run.stdout or "null"), run.stderr

    def wait_for_handler(self, name):
        deadline = time.monotonic() + 30
        while not os.path.exists(self.path("h.sock")):
            self.assertLess(time.monotonic(), deadline, "no handler")
            time.sleep(0.02)

    def test_nothing_is_broken_and_nothing_is_found(self):
        handler = self.handler("calm")
        self.wait_for_handler("calm")
        told = self.load("calm")
        accepted = self.settle("calm")
        self.end(handler)
        status, report, error = self.judge("calm")
        self.assertEqual((status, error), (0, ""), report)
        self.assertEqual(report["accepted"], len(accepted))
        self.assertEqual(report["effects"], len(accepted))
        self.assertEqual(told["unknown"], 0)
        self.assertGreater(len(accepted), 50)
        # And it would have found it: an effect taken away, another one doubled.
        database = sqlite3.connect(self.path("calm.db"))
        with database:
            database.execute("DELETE FROM effects WHERE rowid = 1")
            database.execute("INSERT INTO effects SELECT * FROM effects WHERE rowid = 2")
        database.close()
        status, report, error = self.judge("calm")
        self.assertEqual((status, report["lost"], report["duplicates"]), (1, 1, 1))

    def test_a_handler_that_fails_and_dies_does_nothing_twice(self):
        faults = self.path("die.faults")
        handler = self.handler("die", "--fail", "3", "--die", "recorded:40", "--keep", faults)
        self.wait_for_handler("die")
        self.load("die", "--pause-ms", "30")    # a death a second is enough
        accepted = self.settle("die")
        self.end(handler)
        status, report, error = self.judge("die", "--faults", faults)
        self.assertEqual((status, error), (0, ""), report)
        self.assertEqual(report["effects"], len(accepted))
        self.assertGreater(report["faults"], 0)
        # Nobody would believe it without the deaths.
        status, report, error = self.judge("die")
        self.assertEqual((status, report["duplicates"]), (1, 0))
        self.assertGreater(report["unjustified_repeats"], 0)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda signum, frame: sys.exit(1))
    unittest.main()
