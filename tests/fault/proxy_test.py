#!/usr/bin/env python3
"""proxy_test.py - the proxy as a program: command line, control socket, plans, seeds, log lines.

usage: proxy_test.py PROGRAM
"""
import json
import os
import socket
import subprocess
import sys
import tempfile
import unittest

PROGRAM = ""


class Target:
    """Somebody who listens."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.socket.settimeout(10)
        self.at = "127.0.0.1:%d" % self.socket.getsockname()[1]

    def accept(self):
        far, _ = self.socket.accept()
        far.settimeout(10)
        return far


class Proxy:
    def __init__(self, test, *more):
        target = test.target
        self.process = subprocess.Popen([PROGRAM, "--target", target.at, *more],
                                        stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.kill)
        word, port = self.process.stdout.readline().split("port=")
        assert word == "ready ", word
        self.port = int(port)

    def dial(self):
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def line(self):
        return json.loads(self.process.stdout.readline())

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def end(self):
        self.process.terminate()
        rest = self.process.stdout.read()
        self.process.stdout.close()
        return self.process.wait(10), rest


class Control:
    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(10)
        self.socket.connect(path)
        self.file = self.socket.makefile("rw")

    def say(self, line):
        self.file.write(line + "\n")
        self.file.flush()
        return self.file.readline().rstrip("\n")

    def close(self):
        self.file.close()
        self.socket.close()


def run(*arguments):
    return subprocess.run([PROGRAM, *arguments], capture_output=True, text=True, timeout=20)


class ProxyTest(unittest.TestCase):
    def setUp(self):
        self.target = Target()
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.addCleanup(self.target.socket.close)

    def path(self, name, text=None):
        path = os.path.join(self.folder.name, name)
        if text is not None:
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
        return path

    def test_orders_by_the_control_socket(self):
        path = self.path("control")
        proxy = Proxy(self, "--control", path, "--part", "web1-border")
        control = Control(path)
        near, far = proxy.dial(), self.target.accept()
        self.assertEqual(control.say("flip up 1"), "ok")
        near.sendall(b"aaa")
        self.assertEqual(far.recv(3, socket.MSG_WAITALL), b"a`a")
        self.assertEqual(control.say("cut"), "ok")
        self.assertEqual(near.recv(1), b"")
        self.assertEqual(control.say("bend"), "no such order")
        status = json.loads(control.say("status"))
        self.assertEqual((status["accepted"], status["fired"], status["up_bytes"]), (1, 1, 3))
        lines = [proxy.line() for _ in range(3)]
        self.assertEqual([line["kind"] for line in lines], ["flip", "fired", "cut"])
        self.assertEqual({line["part"] for line in lines}, {"web1-border"})
        self.assertEqual(lines[0]["order"], "flip up 1")
        self.assertEqual(lines, sorted(lines, key=lambda line: line["at"]))
        for thing in (near, far, control):
            thing.close()
        self.assertEqual(proxy.end(), (0, ""))
        self.assertFalse(os.path.exists(path))

    def test_more_controls_than_it_has_room_for_take_turns(self):
        path = self.path("control")
        proxy = Proxy(self, "--control", path)
        controls = [Control(path) for _ in range(16)]
        self.assertEqual([c.say("heal") for c in controls], ["ok"] * 16)
        last = Control(path)
        controls.pop().close()
        self.assertEqual(last.say("heal"), "ok")
        controls[0].file.write("x" * 300)
        controls[0].file.flush()
        try:
            self.assertEqual(controls[0].file.readline(), "")
        except ConnectionResetError:
            pass
        for control in controls + [last]:
            control.close()
        self.assertEqual(proxy.end()[0], 0)

    def test_a_plan_is_carried_out_in_its_time(self):
        plan = self.path("plan", "# two things\n0ms flip down 0\n300ms reset\n")
        proxy = Proxy(self, "--plan", plan)
        near, far = proxy.dial(), self.target.accept()
        first = proxy.line()
        far.sendall(b"a")
        self.assertEqual(near.recv(1), b"`")
        with self.assertRaises(ConnectionResetError):
            near.recv(1)
        self.assertEqual(proxy.line()["kind"], "fired")
        second = proxy.line()
        self.assertEqual((first["kind"], second["kind"]), ("flip", "reset"))
        self.assertGreaterEqual(second["at"] - first["at"], 0.29)
        self.assertEqual(proxy.line()["kind"], "planned")
        near.close()
        far.close()
        self.assertEqual(proxy.end()[0], 0)

    def test_a_seed_repeats_its_plan(self):
        seeded = ["--seed", "3", "--for", "1s", "--every", "100ms"]
        printed = run(*seeded, "--print")
        self.assertEqual(printed.returncode, 0)
        self.assertEqual(run(*seeded, "--print").stdout, printed.stdout)
        self.assertEqual(run("--plan", self.path("plan", printed.stdout), "--print").stdout,
                         printed.stdout)
        wanted = [line.split(" ", 1)[1] for line in printed.stdout.splitlines()]
        proxy = Proxy(self, *seeded)
        self.assertEqual([proxy.line()["order"] for _ in wanted], wanted)
        self.assertEqual(proxy.end()[0], 0)

    def test_a_port_of_ones_own_choice(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            refused = run("--target", self.target.at, "--listen", str(port))
            self.assertEqual(refused.returncode, 1)
        proxy = Proxy(self, "--listen", str(port))
        self.assertEqual(proxy.port, port)
        proxy.end()

    def test_wrong_calls_are_told(self):
        for arguments in ([], ["--target", "here"], ["--target", "127.0.0.1"],
                          ["--target", "127.0.0.1:0"], ["--target", "127.0.0.1:99999"],
                          ["--target", self.target.at, "--seed", "1"],
                          ["--target", self.target.at, "--listen", "99999"],
                          ["--target", self.target.at, "more"], ["--bend"],
                          ["--target", self.target.at, "--plan", self.path("no", "5 cut\n")],
                          ["--target", self.target.at, "--plan", self.path("gone")],
                          ["--seed", "1", "--for", "1h", "--every", "9ms"],
                          ["--plan", "x", "--seed", "1", "--for", "1s"]):
            with self.subTest(arguments=arguments):
                self.assertEqual(run(*arguments).returncode, 2)
        self.assertTrue(run("--help").stdout.startswith("usage:"))


if __name__ == "__main__":
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main()
