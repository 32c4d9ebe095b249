#!/usr/bin/env python3
"""schema_test.py - `app-node contract validate` against the corpus, against a naive validator on random schemas, and
under hostile schemas and values.

usage: tests/scripts/schema_test.py [--seed N] [--rounds N]

SALLYPORT_BIN is the folder of the built programs. A failure prints the seed that shows it again.
"""

import argparse
import json
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

here = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(here.parent / "lib"))
sys.dont_write_bytecode = True
import naive_schema  # noqa: E402

corpus = here.parent / "corpus"
binary = pathlib.Path(os.environ.get("SALLYPORT_BIN", here.parent.parent / "build/release/bin")) / "app-node"
# Of one question of hostile size; generous, for sanitizers and busy machines.
HOSTILE_SECONDS = 20

passed = 0
failed = 0


def check(name, is_fine, told=""):
    global passed, failed
    if is_fine:
        passed += 1
    else:
        failed += 1
        print(f"NOT OK  {name} {told}"[:2000])


def ask(lines, *flags):
    """One verdict for each line."""
    text = "".join(line + "\n" for line in lines)
    run = subprocess.run([binary, "contract", "validate", *flags], input=text.encode("utf-8", "surrogatepass"),
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    verdicts = run.stdout.decode().splitlines()
    check("the batch ends well", run.returncode == 0 and len(verdicts) == len(lines),
          f"exit {run.returncode}, {len(verdicts)} of {len(lines)}: {run.stderr.decode()[:500]}")
    return verdicts + ["none"] * (len(lines) - len(verdicts))


def question(schema, data):
    """From texts."""
    return f'{{"schema":{schema},"data":{data}}}'


class Raw(str):
    """A number as it is written in the corpus."""


def load_raw(path):
    return json.loads(path.read_text(encoding="utf-8"), parse_float=Raw, parse_int=Raw)


def write(value):
    """JSON with the numbers as they were written."""
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(k)}:{write(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(write, value)) + "]"
    return json.dumps(value)


# ---- the corpus ----

# Here Python's re means something else, or the naive validator knows no such format.
NOT_PLAIN = ("pattern", "format")


def is_plain(schema):
    text = write(schema)
    return not any(f'"{word}":' in text for word in NOT_PLAIN)


def corpus_tests():
    cases = 0
    for path in sorted(corpus.glob("schema/*.json")):
        if path.stem.endswith("refused"):
            refused_tests(path)
            continue
        flags = [] if path.stem == "closed" else ["--open"]
        lines, wanted, names = [], [], []
        for group in load_raw(path):
            for test in group["tests"]:
                lines.append(question(write(group["schema"]), write(test["data"])))
                wanted.append("valid" if test["valid"] else "invalid")
                names.append(f"{path.stem}: {group['description']}")
                if flags and is_plain(group["schema"]):
                    schema = naive_schema.load(write(group["schema"]))
                    value = naive_schema.load(write(test["data"]))
                    check(f"the naive validator agrees with the corpus: {names[-1]}",
                          naive_schema.fits(schema, schema, value) == test["valid"], lines[-1])
        for name, line, verdict, want in zip(names, lines, ask(lines, *flags), wanted):
            check(name, verdict == want, f"{verdict} instead of {want}: {line}")
        cases += len(lines)
    check("the corpus has cases", cases > 900, str(cases))
    print(f"ok      {cases} cases of the corpus")


def refused_tests(path):
    groups = load_raw(path)
    lines = [question(write(group["schema"]), "null") for group in groups]
    flags = [] if path.stem == "closed_refused" else ["--open"]
    for group, verdict in zip(groups, ask(lines, *flags)):
        check(f"{path.stem}: {group['description']}", verdict == "refused", verdict)
    if flags:
        return
    # What is refused for being open is fine by the plain standard.
    for group, verdict in zip(groups, ask(lines, "--open")):
        check(f"{path.stem}, open: {group['description']}", verdict in ("valid", "invalid"), verdict)


# ---- random schemas ----

WORDS = ["", "a", "b", "ab", "abc", "aab", "b1", "é", "😀x", "2024-02-29", "1.2.3.4", "::1"]
KEYS = ["a", "b", "c", "k/1", "~"]
NUMBERS = ["0", "-0.0", "1", "1.0", "2", "3", "-1", "10e-1", "1.5", "0.3", "0.1", "7", "-2.5", "1e2", "100",
           "9007199254740993", "9007199254740992", "123456789012345678901234567890", "1e-7", "0.0000001"]


class Maker:
    """Schemas and values that have a good chance to fit each other."""

    def __init__(self, dice):
        self.dice = dice

    def value(self, depth=3):
        kind = self.dice.randrange(9 if depth > 0 else 6)
        if kind == 0:
            return None
        if kind == 1:
            return self.dice.random() < 0.5
        if kind in (2, 3):
            return Raw(self.dice.choice(NUMBERS))
        if kind in (4, 5):
            return self.dice.choice(WORDS)
        if kind == 6:
            return [self.value(depth - 1) for _ in range(self.dice.randrange(4))]
        keys = self.dice.sample(KEYS, self.dice.randrange(4))
        return {key: self.value(depth - 1) for key in keys}

    def pattern(self, depth=2):
        piece = self.dice.choice(["a", "b", "[ab]", "[^a]", "\\d", "\\w", ".", "c?", "a*", "b+", "(ab)*", "a{1,2}", "\\b"])
        if depth > 0 and self.dice.random() < 0.7:
            joint = self.dice.choice(["{}{}", "{}|{}", "({})?{}", "({}|{})+", "(?:{}){{0,2}}{}"])
            piece = joint.format(piece, self.pattern(depth - 1))
        if depth == 2:
            piece = self.dice.choice(["{}", "^{}", "{}$", "^({})$"]).format(piece)
        return piece

    def schemas(self, depth):
        return [self.schema(depth - 1) for _ in range(self.dice.randint(1, 3))]

    def keyword(self, depth):
        dice = self.dice
        simple = [
            lambda: ("type", dice.choice(list(naive_schema.TYPES))),
            lambda: ("type", dice.sample(list(naive_schema.TYPES), dice.randint(1, 3))),
            lambda: ("enum", [self.value(1) for _ in range(dice.choice([1, 3, 12]))]),
            lambda: ("const", self.value(2)),
            lambda: ("required", dice.sample(KEYS, dice.randrange(3))),
            lambda: (dice.choice(["minProperties", "maxProperties", "minItems", "maxItems", "minLength", "maxLength"]),
                     Raw(dice.choice(["0", "1", "2", "3", "2.0"]))),
            lambda: (dice.choice(["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"]),
                     Raw(dice.choice(NUMBERS))),
            lambda: ("multipleOf", Raw(dice.choice(["1", "0.1", "1.5", "2", "0.3", "1e-7", "1e2"]))),
            lambda: ("uniqueItems", dice.random() < 0.8),
            lambda: ("pattern", self.pattern()),
            lambda: ("format", dice.choice(list(naive_schema.FORMATS))),
            lambda: ("$ref", dice.choice(["#/$defs/x", "#/$defs/y"])),
        ]
        nested = [
            lambda: ("properties", {key: self.schema(depth - 1) for key in dice.sample(KEYS, dice.randrange(4))}),
            lambda: ("additionalProperties", self.schema(depth - 1)),
            lambda: ("items", self.schema(depth - 1)),
            lambda: ("prefixItems", self.schemas(depth)),
            lambda: ("contains", self.schema(depth - 1)),
            lambda: (dice.choice(["allOf", "anyOf", "oneOf"]), self.schemas(depth)),
            lambda: ("not", self.schema(depth - 1)),
            lambda: (dice.choice(["if", "then", "else"]), self.schema(depth - 1)),
        ]
        return dice.choice(simple + nested if depth > 0 else simple)()

    def schema(self, depth):
        if self.dice.random() < 0.08:
            return self.dice.random() < 0.6
        made = dict(self.keyword(depth) for _ in range(self.dice.randint(1, 3)))
        if "contains" in made and self.dice.random() < 0.5:
            made["minContains"] = Raw(self.dice.randrange(3))
        if "contains" in made and self.dice.random() < 0.3:
            made["maxContains"] = Raw(self.dice.randrange(3))
        return made

    def whole(self):
        """x and y may lead to each other, mostly through the value."""
        made = self.schema(3)
        made = made if isinstance(made, dict) else {"not": made}
        made["$defs"] = {"x": self.schema(2), "y": self.schema(1)}
        return made


def random_tests(seed, rounds):
    dice = random.Random(seed)
    maker = Maker(dice)
    counts = {}
    for _ in range(rounds):
        schema = maker.whole()
        text = write(schema)
        plain = naive_schema.load(text)
        values = [write(maker.value()) for _ in range(20)]
        verdicts = ask([question(text, value) for value in values], "--open")
        for value, verdict in zip(values, verdicts):
            try:
                fine = naive_schema.fits(plain, plain, naive_schema.load(value))
                want = ("valid",) if fine else ("invalid",)
            except RecursionError:
                want = ("refused",)
            # A loop that no value enters is refused too.
            if verdict == "refused":
                want += ("refused",) if '"$ref"' in text else ()
            check("as the naive validator says", verdict in want, f"(seed {seed}) {verdict}, {want}: {text} for {value}")
            counts[verdict] = counts.get(verdict, 0) + 1
    total = rounds * 20
    check("both verdicts came often", min(counts.get("valid", 0), counts.get("invalid", 0)) > total / 10, str(counts))
    print(f"ok      {total} random questions: {counts}")


# ---- hostile ones ----

def timed(name, line, want, *flags):
    begin = time.monotonic()
    verdict = ask([line], *flags)[0]
    seconds = time.monotonic() - begin
    check(name, verdict in want, f"{verdict} instead of {want}")
    check(f"{name}: in bounded time", seconds < HOSTILE_SECONDS, f"{seconds:.1f} s")


def hostile_tests():
    deep = 200
    timed("a deep value", question("true", "[" * 500 + "]" * 500), ["valid"], "--open")
    timed("a value that is too deep", question("true", "[" * 100000 + "]" * 100000), ["malformed"], "--open")
    timed("too deep for a message", question("true", "[" * 40 + "]" * 40), ["malformed"])
    timed("a deep schema", question('{"items":' * deep + "{}" + "}" * deep, "[" * deep + "]" * deep), ["valid"], "--open")
    timed("a schema that is too deep", question('{"not":' * 100000 + "{}" + "}" * 100000, "1"), ["malformed"], "--open")
    timed("a long way in place", question('{"not":' * 250 + "{}" + "}" * 250, "1"), ["refused"], "--open")
    chain = {f"d{i}": {"$ref": f"#/$defs/d{i + 1}"} for i in range(50000)}
    chain["d50000"] = {}
    timed("a long chain", question(json.dumps({"$defs": chain, "$ref": "#/$defs/d0"}), "1"), ["refused"], "--open")
    doubling = {f"d{i}": {"allOf": [{"$ref": f"#/$defs/d{i + 1}"}] * 2} for i in range(40)}
    doubling["d40"] = {"type": "integer"}
    timed("2^40 ways", question(json.dumps({"$defs": doubling, "$ref": "#/$defs/d0"}), "1"), ["invalid"], "--open")
    timed("2^40 ways, closed", question(json.dumps({"$defs": doubling, "$ref": "#/$defs/d0"}), "1"), ["invalid"])
    both = {"properties": {"a": {"$ref": "#"}}}
    value = '{"a":' * 60 + "1" + "}" * 60
    timed("alternatives at each level", question(json.dumps({"anyOf": [dict(both, minProperties=2), dict(both, minProperties=2),
          {"type": "null"}]}), value), ["invalid"], "--open")
    timed("one of, at each level", question(json.dumps({"oneOf": [dict(both), dict(both, required=["b"])]}), value),
          ["valid", "invalid"], "--open")
    wide = {"type": "object", "properties": {f"p{i}": {"type": "integer"} for i in range(20000)}}
    timed("a wide schema", question(json.dumps(wide), json.dumps({f"p{i}": i for i in range(20000)})), ["valid"])
    branches = {"type": "object", "anyOf": [{"properties": {f"p{i}": {"type": "integer"}}, "required": [f"p{i}"]}
                                           for i in range(2000)]}
    timed("many alternatives", question(json.dumps(branches), '{"p1999":1}'), ["valid", "refused"])
    timed("many enum values", question(json.dumps({"enum": [f"w{i}" for i in range(50000)]}), '"w49999"'), ["valid"], "--open")
    timed("too many schemas", question(json.dumps({"allOf": [{}] * 250000}), "1"), ["refused"], "--open")
    items = json.dumps([{"a": i} for i in range(50000)])
    timed("many unique items", question('{"uniqueItems":true}', items), ["valid"], "--open")
    same = json.dumps([[{"k%d" % k: 1 for k in range(100)}] for _ in range(200)] + [1])
    timed("many equal items", question('{"uniqueItems":true}', same), ["invalid"], "--open")
    big = json.dumps({"k%d" % k: k for k in range(5000)})
    back = json.dumps({"k%d" % k: k for k in reversed(range(5000))})
    timed("large objects in another order", question(f'{{"const":{big}}}', back), ["valid", "invalid"], "--open")
    text = json.dumps("a" * 300000)
    for pattern in ["(a+)+$", "(a|aa)+b", "a*a*a*a*a*a*a*b", "(.*)*x", "((a?){30}){30}", "(x+x+)+y", "[^b]*b", "a.*b", "\\p{L}*1"]:
        timed(f"the pattern {pattern}", question(json.dumps({"pattern": pattern}), text), ["valid", "invalid"], "--open")
    timed("a long pattern", question(json.dumps({"pattern": "a|" * 100000}), '"a"'), ["refused"], "--open")
    timed("a deep pattern", question(json.dumps({"pattern": "(" * 100000 + ")" * 100000}), '"a"'), ["refused"], "--open")
    timed("a long number", question('{"multipleOf":0.123456789012345678}', "1" * 256), ["invalid"], "--open")
    timed("a number that is too long", question("true", "1" * 257), ["malformed"], "--open")
    timed("a huge exponent", question('{"multipleOf":3}', "1e999999999999999999999"), ["invalid"], "--open")
    timed("a tiny exponent", question('{"minimum":0}', "1e-999999999999999999999"), ["valid"], "--open")
    timed("a large value", question('{"items":{"type":"object","properties":{"a":{"type":"integer"}}}}',
          json.dumps([{"a": i, "b": "x" * 20} for i in range(100000)])), ["valid"], "--open")


# ---- JSON ----

# What every reader must take, must refuse, and what is ours to choose (docs/contract.md).
JSON_TAKEN = ["[]", " [ ] ", "{}", '{"":0}', '"\\u0000"', '"\\u0061\\/\\b\\f\\n\\r\\t\\"\\\\"', '"\\ud83d\\ude00"', '"\x7f"',
              '"\u2028\u2029"', '"\U0010ffff"', '"\\uDBFF\\uDFFF"', "-0", "0e1", "0E+1", "1E-2", "123.456e78",
              "-0.000000000000000000000000000000000000000000000000000000000000000000000000000000001", "true",
              "null", '"x"', "[1,null,[],{}]", '{"a":1,"a":2}', '{"a":1,"a":1}', "\n\r\t 1 \n", '"\ufeff"', '["\\u0022"]',
              "123123123123", "[" * 30 + "]" * 30]
JSON_REFUSED = ["", " ", "[", "]", "[1,]", "[,1]", "[1 2]", "{,}", '{"a"}', '{"a":}', '{"a":1,}', "{a:1}", "{'a':1}", '{"a":1 "b":2}',
                "01", "-01", "+1", "1.", ".1", "-", "1e", "1e+", "1.e1", "0x1", "1_0", "NaN", "Infinity", "-Infinity", "nul", "True",
                '"\\x"', '"\\u12"', '"\\u12g4"', '"a', '"\\', "'a'", '"\t"', '"\n"', '"\x00"', "1 2", "[]]", "{}}", "// x\n1",
                "/**/1", "[1]x", "\x0c1", "\u00a01", "\ufeff1", "\u20601", "[1", '{"a":1', '{"a":1:2}', "1\x00", "[\x00]",
                "--1", "1-1", "1eE2", "1.2.3", "２", '"\\ud800"', '"\\udc00"', '"\\ud800x"', '"\\ud800\\u0061"']


def json_tests():
    def in_file(text, *flags):
        # One file for each: a line cannot hold all of them.
        with tempfile.NamedTemporaryFile(suffix=".json") as schema, tempfile.NamedTemporaryFile(suffix=".json") as data:
            schema.write(b"true" if flags else b'{"enum":[[]]}')
            schema.flush()
            data.write(text if isinstance(text, bytes) else text.encode("utf-8"))
            data.flush()
            run = subprocess.run([binary, "contract", "validate", "--schema", schema.name, "--instance", data.name, *flags],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            return run.returncode, run.stdout.decode().strip()

    for text in JSON_TAKEN:
        check("JSON is taken", in_file(text, "--open") == (0, "valid"), repr(text))
    for text in JSON_REFUSED + [b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"', b"\xff\xfe1\x00", b'"\xe9"']:
        check("no JSON is refused", in_file(text, "--open") == (1, "malformed"), repr(text))
        check("nor otherwise", in_file(text) == (1, "malformed"), repr(text))
    for text in ['"\\u0000"', '{"a":1,"a":2}', "1e400", "9223372036854775808", "[" * 33 + "]" * 33]:
        check("stricter for messages", in_file(text) == (1, "malformed"), repr(text))
        check("but not for the standard", in_file(text, "--open") == (0, "valid"), repr(text))


# ---- the command ----

def command_tests():
    with tempfile.TemporaryDirectory() as folder:
        def put(name, text):
            path = pathlib.Path(folder) / name
            path.write_text(text, encoding="utf-8")
            return path

        def run(schema, instance, *flags):
            done = subprocess.run([binary, "contract", "validate", "--schema", schema, "--instance", instance, *flags],
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
            return done.returncode, done.stdout.decode(), done.stderr.decode()

        yaml = put("s.yaml", "type: object\nproperties:\n  n: {type: integer, minimum: 3}\nrequired: [n]\n")
        good = put("good.json", '{"n":3}\n')
        bad = put("bad.json", '{"n":2}')
        check("exit 0", run(yaml, good) == (0, "valid\n", ""))
        code, out, err = run(yaml, bad)
        check("exit 1", (code, out) == (1, "invalid\n") and err.endswith("bad.json: /n: minimum: is below 3\n"), err)
        code, out, err = run(yaml, put("x", "{'n':3}"))
        check("exit 1 for no JSON", (code, out) == (1, "malformed\n") and "no JSON: no key, at byte 1" in err, err)
        code, out, err = run(put("r.json", '{\n "type": "object",\n  "propertis": {}\n}'), good)
        check("exit 2 with the place", (code, out) == (2, "refused\n") and
              'r.json:3:4: propertis: unknown keyword; did you mean "properties"?' in err, err)
        code, out, err = run(put("r2.json", '{"type": "object",'), good)
        check("exit 2 for a schema that is no JSON", (code, out) == (2, "refused\n") and "r2.json:1:19: no JSON" in err, err)
        code, out, err = run(put("r3.json", '{"type": ["string"], "type": "null"}'), good)
        check("exit 2 for a key twice", (code, out) == (2, "refused\n"), err)
        code, out, err = run(put("r4.yaml", "minimum: 0x10\nenum: [007, +1, .5, 1., .inf]\n"), good, "--open")
        check("odd numbers are not guessed", code == 2 and err.count("\n") == 6, err)
        check("exit 100 without a file", run(pathlib.Path(folder) / "none", good)[0] == 100)
        run = subprocess.run([binary, "contract", "validate", "--schema", yaml], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        check("exit 100 for half a question", run.returncode == 100 and b"belong together" in run.stderr, run.stderr)
    lines = ["", "{}", "[]", "1", '{"schema":true}', '{"data":1}', "x", '{"schema":true,"data":1}', '{"data":1,"schema":{"type":"null"},"x":1}']
    check("lines that are no question", ask(lines) == ["malformed"] * 7 + ["refused", "invalid"] or
          ask(lines, "--open") == ["malformed"] * 7 + ["valid", "invalid"])


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=150)
    options = parser.parse_args()
    corpus_tests()
    json_tests()
    command_tests()
    hostile_tests()
    random_tests(options.seed, options.rounds)
    print(f"{passed} passed, {failed} failed")
    return 0 if failed == 0 and passed > 2000 else 1


if __name__ == "__main__":
    sys.exit(main())
