#!/usr/bin/env python3
"""history_test.py - made-up histories, and what the checker has to say of each."""
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import unittest

import history

CHECKER = history.__file__


def told(n, status=202, message_id="", key="k", **more):
    """What a client was told about message n."""
    message_id = (f"id{n}" if message_id == "" else message_id) if status == 202 else None
    return {"at": float(n), "op": "put", "id": message_id, "key": key, "n": n, "idem": None,
            "status": status, **more}


def effect(n, message_id=None, key="k", host="web1"):
    return {"id": message_id or f"id{n}", "op": "put", "host": host, "key": key, "n": n}


def call(n, at, event, pid=7, **more):
    return {"at": at, "id": f"id{n}", "op": "put", "host": "web1", "key": "k", "n": n, "attempt": 1,
            "pid": pid, "event": event, **more}


def fault(at, part, kind="kill", **more):
    return {"at": at, "kind": kind, "part": part, **more}


class HistoryTest(unittest.TestCase):
    def judge(self, clients=(), handlers=(), effects=(), faults=(), given_up=()):
        h = history.History()
        for line in clients:
            h.add_client(line)
        for line in handlers:
            h.add_handler(line)
        h.effects.extend(effects)
        h.faults.extend(faults)
        for line in given_up:
            h.add_given_up(line)
        h.judge()
        return h

    def expect(self, verdicts, **what):
        h = self.judge(**what)
        self.assertEqual({name: found for name, found in h.found.items() if found}, verdicts)
        return h

    def test_what_was_accepted_and_done_once_in_order_is_well(self):
        h = self.expect({}, clients=[told(1), told(2)], effects=[effect(1), effect(2)],
                        handlers=[call(1, 1, "begin"), call(1, 2, "end", status=200)])
        self.assertEqual((h.accepted, h.tries), (2, 2))

    def test_accepted_without_effect_is_lost(self):
        self.expect({"lost": ["id2"]}, clients=[told(1), told(2)], effects=[effect(1)])

    def test_a_given_up_message_with_its_reason_is_not_lost(self):
        self.expect({}, clients=[told(1)],
                    given_up=[{"id": "id1", "event": "expired", "reason": "older than its ttl"}])

    def test_given_up_without_a_reason_is_unexplained(self):
        self.expect({"unexplained": ["id1"]}, clients=[told(1)],
                    given_up=[{"id": "id1", "event": "dropped", "reason": ""}])

    def test_two_effects_of_one_id_are_a_duplicate(self):
        self.expect({"duplicates": ["id1"]}, clients=[told(1)], effects=[effect(1), effect(1)])

    def test_order_is_per_key_host_and_operation(self):
        self.expect({"reordered": ["id1"]}, clients=[told(1), told(2), told(3)],
                    effects=[effect(2), effect(1), effect(3)])
        self.expect({}, clients=[told(1, key="a"), told(2, key="b")],
                    effects=[effect(2, key="b"), effect(1, key="a")])
        self.expect({}, clients=[told(1, key=None), told(2, key=None)],
                    effects=[effect(2, key=None), effect(1, key=None)])

    def test_what_was_parked_and_done_later_has_lost_its_place(self):
        self.expect({}, clients=[told(1), told(2)], effects=[effect(2), effect(1)],
                    given_up=[{"id": "id1", "event": "dead", "reason": "no attempts left"}])

    def test_what_nobody_was_promised_has_no_place(self):
        self.expect({}, clients=[told(1, status=None), told(2)],
                    effects=[effect(2), effect(1, message_id="id-unknown")])

    def test_fate_unknown_may_have_an_effect_or_none(self):
        self.expect({}, clients=[told(1, status=None), told(2, status=None)],
                    effects=[effect(1, message_id="x")])

    def test_refused_by_name_may_have_no_effect(self):
        self.expect({"refused_with_effect": ["x"]}, clients=[told(1, status=503)],
                    effects=[effect(1, message_id="x")])
        self.expect({}, clients=[told(1, status=422)])

    def test_refused_after_a_broken_try_is_unknown(self):
        self.expect({}, clients=[told(1, status=None), told(1, status=503)],
                    effects=[effect(1, message_id="x")])

    def test_accepted_at_the_second_try_is_accepted_once(self):
        h = self.expect({}, clients=[told(1, status=None, idem="i"), told(1, idem="i")],
                        effects=[effect(1)])
        self.assertEqual(h.accepted, 1)

    def test_one_idempotency_key_has_one_id(self):
        self.expect({"split": ["x", "y"]}, effects=[effect(1, message_id="x")],
                    clients=[told(1, message_id="y", idem="i"), told(1, message_id="x", idem="i")])

    def test_an_effect_that_nobody_asked_for_is_unexplained(self):
        self.expect({"unexplained": ["ghost"]}, effects=[effect(9, message_id="ghost")])

    def test_a_wrong_answer_is_told(self):
        line = dict(told(1), op="ask", kind="call", wrong=True)
        self.expect({"wrong_answers": ["id1"]}, clients=[line])

    def repeated(self, *faults, end=None, again_at=5.0, **more):
        handlers = [call(1, 1.0, "begin", **more), call(1, again_at, "begin"),
                    call(1, again_at + 1, "end", status=200)]
        if end is not None:
            handlers.insert(1, end)
        h = self.judge(clients=[told(1)], effects=[effect(1)], handlers=handlers, faults=faults)
        return h.found["unjustified_repeats"]

    def test_a_repeat_needs_a_death_in_between(self):
        self.assertEqual(self.repeated(), ["id1"])
        self.assertEqual(self.repeated(fault(3.0, "node:app1")), [])
        self.assertEqual(self.repeated(fault(3.0, "handler", pid=7)), [])
        self.assertEqual(self.repeated(fault(3.0, "border", kind="takeover")), [])

    def test_a_death_elsewhere_or_at_another_time_is_none(self):
        self.assertEqual(self.repeated(fault(3.0, "broker")), ["id1"])
        self.assertEqual(self.repeated(fault(3.0, "agent:web1")), ["id1"])
        self.assertEqual(self.repeated(fault(3.0, "network", kind="cut")), ["id1"])
        self.assertEqual(self.repeated(fault(3.0, "handler", pid=8)), ["id1"])
        self.assertEqual(self.repeated(fault(0.5, "node:app1")), ["id1"])
        self.assertEqual(self.repeated(fault(5.5, "node:app1")), ["id1"])

    def test_a_failure_is_tried_again(self):
        self.assertEqual(self.repeated(end=call(1, 2.0, "end", status=500)), [])
        self.assertEqual(self.repeated(end=call(1, 2.0, "end", status=429)), [])

    def test_success_and_refusal_are_not(self):
        self.assertEqual(self.repeated(end=call(1, 2.0, "end", status=200)), ["id1"])
        self.assertEqual(self.repeated(end=call(1, 2.0, "end", status=422)), ["id1"])

    def test_a_success_whose_answer_was_lost_with_the_node_is_tried_again(self):
        self.assertEqual(self.repeated(fault(3.0, "node"), end=call(1, 2.0, "end", status=200)), [])

    def test_a_deadline_that_has_passed_justifies(self):
        self.assertEqual(self.repeated(deadline_ms=3000), [])
        self.assertEqual(self.repeated(deadline_ms=30000), ["id1"])
        in_time = call(1, 2.0, "end", status=200)
        self.assertEqual(self.repeated(end=in_time, deadline_ms=3000), ["id1"])

    def test_two_calls_at_once_are_a_repeat(self):
        late = [call(1, 1.0, "begin"), call(1, 1.5, "begin", pid=8),
                call(1, 2.0, "end", status=500), call(1, 2.1, "end", pid=8, status=200)]
        self.expect({"unjustified_repeats": ["id1"]}, clients=[told(1)], effects=[effect(1)],
                    handlers=late)


class FilesTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, lines, tail=""):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
            file.write(tail)
        return path

    def run_checker(self, *arguments):
        run = subprocess.run([sys.executable, CHECKER, *arguments], capture_output=True, text=True)
        return run.returncode, json.loads(run.stdout) if run.stdout.startswith("{") else run.stderr

    def test_all_kinds_of_files(self):
        database = os.path.join(self.folder, "effects.db")
        db = sqlite3.connect(database)
        db.execute("CREATE TABLE effects (id, op, host, key, n)")
        db.execute("INSERT INTO effects VALUES ('id1', 'put', 'web1', 'k', 1)")
        db.commit()
        db.close()
        log = os.path.join(self.folder, "node.log")
        with open(log, "w", encoding="utf-8") as file:
            file.write('t=x level=warn msg=id2 op=put host=web1 event=dead attempts=8 reason="no '
                       'more"\nt=x level=info msg=id3 op=put event=done\nnonsense\n')
        out = os.path.join(self.folder, "report")
        status, report = self.run_checker(
            "--clients", self.write("c", [told(1), told(2), told(3)]), "--json", out,
            "--handlers", self.write("h", [], tail='{"at": 1, "id'), "--effects", database,
            "--faults", self.write("f", [fault(1, "node")]), "--logs", log)
        self.assertEqual(status, 1)
        self.assertEqual((report["lost"], report["ids"]), (1, {"lost": ["id3"]}))
        self.assertEqual((report["faults"], report["accepted"], report["given_up"]), (1, 3, 1))
        with open(out, encoding="utf-8") as file:
            self.assertEqual(json.load(file), report)
        status, report = self.run_checker("--clients", self.write("c", [told(1)]), "--handlers",
                                          "--effects", database)
        self.assertEqual((status, report["lost"]), (0, 0))

    def test_files_that_are_none_are_told(self):
        fine = self.write("fine", [])
        self.assertEqual(self.run_checker("--clients", fine)[0], 2)
        for lines, tail in (([], "{\n"), ([{"at": 1}], ""), (["text"], "")):
            path = self.write("bad", lines, tail)
            with self.subTest(lines=lines, tail=tail):
                self.assertEqual(self.run_checker("--clients", path, "--handlers", fine)[0], 2)
        self.assertEqual(self.run_checker("--clients", "/no/such", "--handlers", fine)[0], 2)

    def test_a_hundred_thousand_messages_take_seconds(self):
        count = 100_000
        clients = self.write("c", (told(n, key=f"k{n % 100}") for n in range(count)))
        handlers = self.write("h", (line for n in range(count) for line in (
            call(n, n, "begin"), call(n, n + 0.1, "end", status=500),
            call(n, n + 0.2, "begin"), call(n, n + 0.3, "end", status=200))))
        effects = self.write("e", (effect(n, key=f"k{n % 100}") for n in range(count)))
        faults = self.write("f", (fault(n * 500, "node") for n in range(200)))
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        status, report = self.run_checker("--clients", clients, "--handlers", handlers,
                                          "--effects", effects, "--faults", faults)
        self.assertEqual((status, report["accepted"], report["effects"]), (0, count, count))
        # Its own time, not that of a busy machine.
        used = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
        self.assertLess(used, 20)


if __name__ == "__main__":
    unittest.main()
