#!/usr/bin/env python3
"""schedule_oracle.py - schedules once more, by brute force: every minute is looked at.

Shares nothing with the product: the zones are those of Python's zoneinfo, the fields are read
here, and a gap or a fold is what the wall clock of two following minutes shows.
usage: schedule_oracle.py PROGRAM [--cases N] [--seed N]   (schedule_says; prints what differs)
exit 0 all agree, 1 something differs, 2 called wrongly
"""
import argparse
import random
import subprocess
import sys
import zoneinfo
from datetime import datetime, timedelta, timezone

MONTHS = "jan feb mar apr may jun jul aug sep oct nov dec".split()
WEEKDAYS = "sun mon tue wed thu fri sat".split()
SHORT = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0",
         "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *"}
BOUNDS = [(0, 59), (0, 23), (1, 31), (1, 12), (0, 7)]
CORRECTION = timedelta(hours=3)

# Zone, a moment near a change of its clock (or a leap day, or the far future).
PLACES = [
    ("Europe/Berlin", "2024-03-31"), ("Europe/Berlin", "2024-10-27"),
    ("Europe/Berlin", "2093-03-29"), ("Europe/Berlin", "2093-10-25"),
    ("America/New_York", "2025-03-09"), ("America/New_York", "2025-11-02"),
    ("America/St_Johns", "2010-03-14"), ("America/St_Johns", "2010-11-07"),
    ("Australia/Lord_Howe", "2024-04-07"), ("Australia/Lord_Howe", "2024-10-06"),
    ("Australia/Lord_Howe", "2077-10-03"), ("America/Santiago", "2023-09-03"),
    ("America/Santiago", "2024-04-07"), ("Africa/Cairo", "2024-04-26"),
    ("Africa/Cairo", "2024-10-31"), ("Europe/Dublin", "2025-03-30"),
    ("Europe/Dublin", "2025-10-26"), ("Asia/Tehran", "2022-03-22"),
    ("Asia/Kathmandu", "1986-01-01"), ("Africa/Casablanca", "2025-02-23"),
    ("Africa/Casablanca", "2025-04-06"), ("America/Nuuk", "2024-03-31"),
    ("America/Nuuk", "2060-10-31"), ("Antarctica/Troll", "2024-03-31"),
    ("Antarctica/Troll", "2024-10-27"), ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Kwajalein", "1993-08-21"), ("Asia/Pyongyang", "2015-08-15"),
    ("Asia/Pyongyang", "2018-05-05"), ("Asia/Gaza", "2024-04-20"),
    ("America/Caracas", "2007-12-09"), ("America/Caracas", "2016-05-01"),
    ("Asia/Jerusalem", "2040-03-23"), ("UTC", "2024-02-29"), ("UTC", "2099-12-31"),
    ("Etc/GMT+5", "2023-02-28"), ("Asia/Kolkata", "2000-02-29"), ("UTC", "2100-02-28"),
    ("Pacific/Auckland", "2400-02-29"),
]


def value(text, index):
    names = {3: MONTHS, 4: WEEKDAYS}.get(index, [])
    if text.lower() in names:
        return names.index(text.lower()) + (1 if index == 3 else 0)
    return int(text)


def numbers(text, index):
    low, high = BOUNDS[index]
    found = set()
    for entry in text.split(","):
        span, _, step = entry.partition("/")
        if span == "*":
            first, last = low, high
        else:
            left, dash, right = span.partition("-")
            first = value(left, index)
            last = value(right, index) if dash else first
        found |= set(range(first, last + 1, int(step or 1)))
    return {n % 7 for n in found} if index == 4 else found


class Expression:
    def __init__(self, text):
        words = SHORT.get(text, text).split()
        self.sets = [numbers(word, i) for i, word in enumerate(words)]
        self.either = not words[2].startswith("*") and not words[4].startswith("*")
        self.every_hour = len(self.sets[1]) == 24

    def fits(self, wall):
        minutes, hours, days, months, weekdays = self.sets
        if wall.second or wall.minute not in minutes or wall.hour not in hours:
            return False
        if wall.month not in months:
            return False
        day, weekday = wall.day in days, wall.isoweekday() % 7 in weekdays
        return (day or weekday) if self.either else (day and weekday)


def ticks(expression, zone, after, until):
    """Every minute between two moments; both are whole minutes."""
    minute = timedelta(minutes=1)
    last = datetime.fromtimestamp(after, zone)
    for at in range(after + 60, until, 60):
        here = datetime.fromtimestamp(at, zone)
        jump = here.utcoffset() - last.utcoffset()
        wall, before = here.replace(tzinfo=None), last.replace(tzinfo=None)
        is_due = expression.fits(wall)
        if not expression.every_hour:
            if timedelta(0) < jump < CORRECTION:
                skipped = before + minute
                while skipped < wall:
                    is_due = is_due or expression.fits(skipped)
                    skipped += minute
            if here.fold and shown_lately(here, zone):
                is_due = False
        if is_due:
            yield at
        last = here


def shown_lately(here, zone):
    """The clock showed this before, and the jump back was no correction."""
    first = here.replace(fold=0)
    return first.utcoffset() - here.utcoffset() < CORRECTION


def some_field(rng, index):
    low, high = BOUNDS[index]
    kind = rng.randrange(6)
    if kind <= 1:
        return "*"
    if kind == 2:
        return "*/%d" % rng.randint(1, (high - low) // 2)
    if kind == 3:
        first = rng.randint(low, high - 1)
        return "%d-%d/%d" % (first, rng.randint(first, high), rng.randint(1, 5))
    if kind == 4 and index >= 3:
        return rng.choice([MONTHS, WEEKDAYS][index - 3]).upper()
    return ",".join(str(rng.randint(low, high)) for _ in range(rng.randint(1, 3)))


def some_expression(rng):
    if rng.random() < 0.05:
        return rng.choice(sorted(SHORT))
    fields = [some_field(rng, i) for i in range(5)]
    if rng.random() < 0.6:  # near the hours in which clocks change
        fields[1] = rng.choice(["0", "1", "2", "3", "1-3", "2,3", "23", "0,12", "*/2"])
    for i in (2, 3, 4):
        if rng.random() < 0.6:
            fields[i] = "*"
    return " ".join(fields)


def ask(program, questions):
    run = subprocess.run([program], input="\n".join(questions) + "\n", text=True,
                         stdout=subprocess.PIPE, check=True)
    return run.stdout.splitlines()


def check_schedules(program, rng, cases):
    questions, expected = [], []
    for number in range(cases):
        name, day = PLACES[number % len(PLACES)]
        text = some_expression(rng)
        middle = datetime.fromisoformat(day).replace(tzinfo=timezone.utc)
        after = int((middle - timedelta(hours=rng.randint(20, 60))).timestamp()) // 60 * 60
        until = after + rng.randint(3, 6) * 86400
        found = ticks(Expression(text), zoneinfo.ZoneInfo(name), after, until)
        questions.append(f"next {name} {after} {until} {text}")
        expected.append(" ".join(map(str, found)))
    # A day that is far away: leap years, and the weekday of a leap day, looked at by days.
    for text, month, day, weekday in [("0 0 29 2 *", 2, 29, None), ("0 0 29 2 */7", 2, 29, 6),
                                      ("0 0 31 * */7", None, 31, 6)]:
        start = datetime(2020, 1, 1, tzinfo=timezone.utc)
        days = (start + timedelta(days=n) for n in range(1, 366 * 140))
        found = [int(d.timestamp()) for d in days if d.day == day
                 and month in (None, d.month) and weekday in (None, d.weekday())]
        questions.append(f"next UTC {int(start.timestamp())} {found[-1] + 1} {text}")
        expected.append(" ".join(map(str, found)))
    return compare(questions, expected, ask(program, questions))


def check_zones(program, rng):
    questions, expected = [], []
    for name in sorted(zoneinfo.available_timezones()):
        zone = zoneinfo.ZoneInfo(name)
        moments = sorted(rng.randrange(0, 4102444800) for _ in range(60))
        moments += [rng.randrange(4102444800, 253370764800) for _ in range(20)]
        offsets = [datetime.fromtimestamp(t, zone).utcoffset() for t in moments]
        questions.append(f"offset {name} " + " ".join(map(str, moments)))
        expected.append(" ".join(str(int(o.total_seconds())) for o in offsets))
    return compare(questions, expected, ask(program, questions))


def compare(questions, expected, said):
    wrong = abs(len(expected) - len(said))
    for question, right, answer in zip(questions, expected, said):
        if right != answer.strip():
            wrong += 1
            if wrong < 10:
                print(f"{question}\n  here: {right[:300]}\n  said: {answer[:300]}")
    print(f"{len(questions)} questions, {wrong} answers differ")
    return wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program")
    parser.add_argument("--cases", type=int, default=390)
    parser.add_argument("--seed", type=int, default=4)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    wrong = check_zones(options.program, rng)
    wrong += check_schedules(options.program, rng, options.cases)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
