#!/usr/bin/env python3
"""history.py - was anything lost, done twice, or done out of order? Says so from what everybody saw.

Knows nothing of the product but what it promises. Reads lines of JSON, in any order of the files:

  --clients   what clients were told, a line for each try:
              {"at","op","id"|null,"key"|null,"n","idem"|null,"status"|null}
              status is that of HTTP, null when the connection broke: fate unknown. A message is
              (op, key, n): tries with the same three are the same message.
  --handlers  what handlers did: {"at","id","op","host","key"|null,"n","attempt","pid","event"}
              with event begin, effect or end; an end has the "status" that was answered, a begin
              may have "deadline_ms".
  --effects   SQLite files with a table effects(id, op, host, key, n), in the order of its rows:
              what was recorded in one transaction with the id. Or lines of JSON of the same.
  --faults    what was broken on purpose: {"at","kind","part"}; part begins with broker, node,
              agent, handler (perhaps with a "pid") or network. Kind takeover: another node.
  --explained what was given up, and why: {"at","id","event","reason"}
  --logs      the same from lines of key=value: msg=, event= (dead parked expired dropped), reason=

What it reports, a count each, with the first ids of each:
  lost                 accepted (2xx), and neither an effect nor an explanation
  duplicates           an id with more than one effect
  reordered            an effect with a smaller n than one before of the same op, host and key
  unjustified_repeats  a handler was called again although it had not failed, and between its two
                       beginnings neither a node nor that handler died, no other node took over,
                       and its deadline had not passed
  unexplained          given up without a reason; or an effect of what no client sent
  refused_with_effect  every try was refused by name (4xx, 5xx), and it was done all the same
  split                tries under one Idempotency-Key were given more than one id
  wrong_answers        answers to calls that the client itself found wrong ("wrong": true)

usage: history.py [--json FILE] [--ids N] --clients FILE... --handlers FILE... [--effects FILE...]
                  [--faults FILE...] [--explained FILE...] [--logs FILE...]
exit 0 all counts are 0, 1 one is not, 2 called wrongly or a file cannot be read
"""
import argparse
import json
import re
import sqlite3
import sys
from collections import defaultdict

VERDICTS = ("lost", "duplicates", "reordered", "unjustified_repeats", "unexplained",
            "refused_with_effect", "split", "wrong_answers")
GIVEN_UP = {"dead", "parked", "expired", "dropped"}
SLACK_S = 0.1           # between a kill and the line about it
LOG_FIELD = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|\S*)')


class Unreadable(Exception):
    pass


def lines(path):
    """Objects of a file, one a line. A last line that was cut off belongs to a killed writer."""
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            try:
                yield json.loads(line)
            except ValueError:
                if line.endswith("\n") and line.strip():
                    raise Unreadable(f"{path}:{number}: no JSON") from None


def rows(path):
    with open(path, "rb") as file:
        is_database = file.read(16) == b"SQLite format 3\0"
    if not is_database:
        yield from lines(path)
        return
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        for row in database.execute("SELECT id, op, host, key, n FROM effects ORDER BY rowid"):
            yield dict(zip(("id", "op", "host", "key", "n"), row))
    except sqlite3.Error as error:
        raise Unreadable(f"{path}: {error}") from None
    finally:
        database.close()


def log_lines(path):
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            if "msg=" not in line or "event=" not in line:
                continue
            fields = {key: value.strip('"') for key, value in LOG_FIELD.findall(line)}
            if fields.get("event") in GIVEN_UP:
                yield {"id": fields["msg"], "event": fields["event"],
                       "reason": fields.get("reason", "")}


class Message:
    """One that a client meant to send, over all its tries."""

    __slots__ = ("ids", "is_accepted", "is_unknown")

    def __init__(self):
        self.ids, self.is_accepted, self.is_unknown = set(), False, False


class History:
    def __init__(self):
        self.messages = defaultdict(Message)
        self.by_id = {}                         # id -> message
        self.idems = defaultdict(set)           # (op, idem) -> ids
        self.begins = defaultdict(list)         # id -> of one call of a handler: [begin, end]
        self.open_begins = {}                   # (id, pid) -> its last begin, not ended
        self.effects = []
        self.faults = []
        self.given_up = {}                      # id -> has a reason
        self.found = {verdict: [] for verdict in VERDICTS}
        self.accepted = self.tries = 0

    def add_client(self, line):
        self.tries += 1
        status, message_id = line["status"], line.get("id")
        if line.get("wrong"):
            self.found["wrong_answers"].append(message_id or f"{line['op']} {line['n']}")
        if line.get("kind", "send") != "send":
            return
        message = self.messages[line["op"], line["key"], line["n"]]
        message.is_unknown |= status is None
        if message_id is not None:
            message.ids.add(message_id)
            self.by_id[message_id] = message
            if line.get("idem") is not None:
                self.idems[line["op"], line["idem"]].add(message_id)
        if status is not None and 200 <= status < 300:
            message.is_accepted = True

    def add_handler(self, line):
        event, who = line["event"], (line["id"], line["pid"])
        if event == "begin":
            call = [line, None]
            self.begins[line["id"]].append(call)
            self.open_begins[who] = call
        elif event == "end" and who in self.open_begins:
            self.open_begins.pop(who)[1] = line

    def add_given_up(self, line):
        self.given_up[line["id"]] = bool(line.get("reason")) or self.given_up.get(line["id"], False)

    def judge(self):
        done = self.judge_effects()
        self.judge_messages(done)
        for calls in self.begins.values():
            if len(calls) > 1:
                self.judge_calls(sorted(calls, key=lambda call: call[0]["at"]))
        for message_id, has_reason in self.given_up.items():
            if not has_reason:
                self.found["unexplained"].append(message_id)
        for ids in self.idems.values():
            if len(ids) > 1:
                self.found["split"].extend(sorted(ids))

    def judge_effects(self):
        """Ids that have an effect."""
        done, latest = set(), {}
        for effect in self.effects:
            message_id, n = effect["id"], effect["n"]
            if message_id in done:
                self.found["duplicates"].append(message_id)
                continue
            done.add(message_id)
            message = self.by_id.get(message_id)
            if message is None:
                message = self.messages.get((effect["op"], effect["key"], n))
            if message is None:
                self.found["unexplained"].append(message_id)
                continue
            message.ids.add(message_id)
            # Order is promised in the order of acceptance: what nobody was promised, and what a
            # person or a limit took out of its place, counts for nothing here.
            if effect["key"] is None or not message.is_accepted or message_id in self.given_up:
                continue
            place = effect["op"], effect["host"], effect["key"]
            if n < latest.get(place, n):
                self.found["reordered"].append(message_id)
            latest[place] = max(n, latest.get(place, n))
        return done

    def judge_messages(self, done):
        for (op, key, n), message in self.messages.items():
            is_done = not done.isdisjoint(message.ids)
            name = min(message.ids, default=f"{op} {key} {n}")
            if message.is_accepted:
                self.accepted += 1
                if not is_done and message.ids.isdisjoint(self.given_up):
                    self.found["lost"].append(name)
            elif is_done and not message.is_unknown:
                self.found["refused_with_effect"].append(name)

    def judge_calls(self, calls):
        for (begin, end), (again, _) in zip(calls, calls[1:]):
            # An end that came after the next beginning does not count as an answer to it.
            if end is not None and end["at"] <= again["at"] and is_later_wanted(end["status"]):
                continue
            answered_at = again["at"] if end is None else min(end["at"], again["at"])
            deadline_ms = begin.get("deadline_ms")
            if deadline_ms is not None and answered_at - begin["at"] >= deadline_ms / 1000:
                continue
            if not any(self.justifies(fault, begin, again) for fault in self.faults):
                self.found["unjustified_repeats"].append(begin["id"])

    @staticmethod
    def justifies(fault, begin, again):
        if not begin["at"] - SLACK_S <= fault["at"] <= again["at"] + SLACK_S:
            return False
        part = fault["part"]
        if fault["kind"] == "takeover" or part.startswith("node"):
            return True
        return part.startswith("handler") and fault.get("pid", begin["pid"]) == begin["pid"]

    def report(self, ids):
        out = {"faults": len(self.faults), "accepted": self.accepted, "tries": self.tries,
               "effects": len(self.effects), "given_up": len(self.given_up)}
        out.update((verdict, len(self.found[verdict])) for verdict in VERDICTS)
        out["ids"] = {verdict: self.found[verdict][:ids] for verdict in VERDICTS
                      if self.found[verdict]}
        return out


def is_later_wanted(status):
    """An answer that asks for another attempt."""
    return status is None or status == 429 or status >= 500


def read(options):
    history = History()
    for path in options.clients:
        for line in lines(path):
            history.add_client(line)
    for path in options.handlers:
        for line in lines(path):
            history.add_handler(line)
    for path in options.effects:
        history.effects.extend(rows(path))
    for path in options.faults:
        history.faults.extend(line for line in lines(path) if "kind" in line)
    for path in options.explained:
        for line in lines(path):
            history.add_given_up(line)
    for path in options.logs:
        for line in log_lines(path):
            history.add_given_up(line)
    return history


def main(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0],
                                     epilog="The head of this file says what is read and reported.")
    parser.add_argument("--json", metavar="FILE", help="the report also there")
    parser.add_argument("--ids", type=int, default=20, metavar="N", help="so many of each (20)")
    for name in ("clients", "handlers", "effects", "faults", "explained", "logs"):
        parser.add_argument("--" + name, nargs="*", default=[], metavar="FILE",
                            required=name in ("clients", "handlers"))
    options = parser.parse_args(arguments)
    try:
        history = read(options)
    except (OSError, Unreadable) as error:
        print(f"history: {error}", file=sys.stderr)
        return 2
    except (KeyError, TypeError) as error:
        print(f"history: a line lacks what it should have: {error!r}", file=sys.stderr)
        return 2
    history.judge()
    report = history.report(options.ids)
    text = json.dumps(report)
    print(text)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return 1 if any(report[verdict] for verdict in VERDICTS) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
