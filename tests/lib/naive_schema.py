"""naive_schema.py - JSON Schema (draft 2020-12) written down as plainly as it goes: what the schema compiler of
the contract is compared with. Slow, recursive, without limits; only the keywords of docs/contract.md."""

import datetime
import decimal
import ipaddress
import json
import re
from urllib.parse import unquote

decimal.getcontext().prec = 1000
decimal.getcontext().Emax = decimal.MAX_EMAX
decimal.getcontext().Emin = decimal.MIN_EMIN
Number = decimal.Decimal


def load(text):
    """JSON with every number exact."""
    return json.loads(text, parse_float=Number, parse_int=Number)


def is_number(value):
    return isinstance(value, Number)


def is_whole(value):
    return is_number(value) and value == value.to_integral_value()


TYPES = {
    "null": lambda v: v is None,
    "boolean": lambda v: isinstance(v, bool),
    "integer": is_whole,
    "number": is_number,
    "string": lambda v: isinstance(v, str),
    "array": lambda v: isinstance(v, list),
    "object": lambda v: isinstance(v, dict),
}


def equal(a, b):
    if isinstance(a, bool) or isinstance(b, bool):
        return a is b
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    return type(a) is type(b) and a == b


def is_multiple(value, divisor):
    a, b = value.as_integer_ratio(), divisor.as_integer_ratio()
    return (a[0] * b[1]) % (b[0] * a[1]) == 0


def is_date(text):
    try:
        return bool(re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII)) and bool(datetime.date.fromisoformat(text))
    except ValueError:
        return False


def is_address(text, kind):
    try:
        kind(text)
    except ValueError:
        return False
    return "%" not in text


FORMATS = {
    "date": is_date,
    "ipv4": lambda text: is_address(text, ipaddress.IPv4Address),
    "ipv6": lambda text: is_address(text, ipaddress.IPv6Address),
    "uuid": lambda text: bool(re.fullmatch(r"[0-9A-Fa-f]{8}(-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}", text)),
}


def search(pattern, text):
    """Only for patterns that mean the same in Python, but for $."""
    return re.search(re.sub(r"(?<!\\)\$", r"\\Z", pattern), text, re.ASCII) is not None


def follow(root, pointer):
    node = root
    for step in unquote(pointer[1:]).split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        node = node[int(step)] if isinstance(node, list) else node[step]
    return node


def fits(root, schema, value):
    """Does the value fit the schema, which stands somewhere in root?"""
    if isinstance(schema, bool):
        return schema
    return all(KEYWORDS[name](root, schema, said, value) for name, said in schema.items() if name in KEYWORDS)


def keyword_type(root, schema, said, value):
    return any(TYPES[name](value) for name in ([said] if isinstance(said, str) else said))


def bound(kind, measure, compare):
    def keyword(root, schema, said, value):
        return not TYPES[kind](value) or compare(measure(value), said)
    return keyword


def keyword_properties(root, schema, said, value):
    return not isinstance(value, dict) or all(fits(root, said[k], value[k]) for k in said if k in value)


def keyword_others(root, schema, said, value):
    known = schema.get("properties", {})
    return not isinstance(value, dict) or all(fits(root, said, value[k]) for k in value if k not in known)


def keyword_prefix(root, schema, said, value):
    return not isinstance(value, list) or all(fits(root, s, v) for s, v in zip(said, value))


def keyword_items(root, schema, said, value):
    behind = len(schema.get("prefixItems", []))
    return not isinstance(value, list) or all(fits(root, said, v) for v in value[behind:])


def keyword_unique(root, schema, said, value):
    if not said or not isinstance(value, list):
        return True
    return not any(equal(value[i], value[k]) for i in range(len(value)) for k in range(i))


def keyword_contains(root, schema, said, value):
    if not isinstance(value, list):
        return True
    found = sum(fits(root, said, v) for v in value)
    return schema.get("minContains", 1) <= found <= schema.get("maxContains", found)


def keyword_if(root, schema, said, value):
    name = "then" if fits(root, said, value) else "else"
    return name not in schema or fits(root, schema[name], value)


KEYWORDS = {
    "type": keyword_type,
    "enum": lambda root, schema, said, value: any(equal(one, value) for one in said),
    "const": lambda root, schema, said, value: equal(said, value),
    "properties": keyword_properties,
    "required": lambda root, schema, said, value: not isinstance(value, dict) or all(k in value for k in said),
    "additionalProperties": keyword_others,
    "minProperties": bound("object", len, lambda n, said: n >= said),
    "maxProperties": bound("object", len, lambda n, said: n <= said),
    "items": keyword_items,
    "prefixItems": keyword_prefix,
    "minItems": bound("array", len, lambda n, said: n >= said),
    "maxItems": bound("array", len, lambda n, said: n <= said),
    "uniqueItems": keyword_unique,
    "contains": keyword_contains,
    "minLength": bound("string", len, lambda n, said: n >= said),
    "maxLength": bound("string", len, lambda n, said: n <= said),
    "pattern": lambda root, schema, said, value: not isinstance(value, str) or search(said, value),
    "format": lambda root, schema, said, value: not isinstance(value, str) or FORMATS[said](value),
    "minimum": bound("number", lambda v: v, lambda v, said: v >= said),
    "maximum": bound("number", lambda v: v, lambda v, said: v <= said),
    "exclusiveMinimum": bound("number", lambda v: v, lambda v, said: v > said),
    "exclusiveMaximum": bound("number", lambda v: v, lambda v, said: v < said),
    "multipleOf": bound("number", lambda v: v, is_multiple),
    "allOf": lambda root, schema, said, value: all(fits(root, s, value) for s in said),
    "anyOf": lambda root, schema, said, value: any(fits(root, s, value) for s in said),
    "oneOf": lambda root, schema, said, value: sum(fits(root, s, value) for s in said) == 1,
    "not": lambda root, schema, said, value: not fits(root, said, value),
    "if": keyword_if,
    "$ref": lambda root, schema, said, value: fits(root, follow(root, said), value),
}
