#!/usr/bin/env python3
"""The shop's back end: what happens behind the border when the web asks for it.

usage: handlers.py --listen http+unix:///PATH|http://127.0.0.1:PORT --database FILE [--ready-fd N]
"""

import argparse
import json
import os
import sqlite3
import sys
import threading

from worker import Refused, Worker, say

# A real shop reads this from its own database.
CATALOG = {
    "A-1": {"title": "Anchor, small", "cents": 4900},
    "B-7": {"title": "Brass bell", "cents": 12900},
    "C-3": {"title": "Coil of rope, 20 m", "cents": 2450},
}

SCHEMA = """
CREATE TABLE IF NOT EXISTS orders (
    host     TEXT NOT NULL,         -- the web host that it came from, which the border vouches for,
    id       TEXT NOT NULL,         -- and the id that this host gave it: a repeated message finds its order here
    customer TEXT NOT NULL,
    lines    TEXT NOT NULL,
    cents    INTEGER NOT NULL,
    placed   TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP,
    PRIMARY KEY (host, id)          -- not id alone: one host's ids must not hide another's orders
) STRICT;
CREATE TABLE IF NOT EXISTS sold (
    sku      TEXT PRIMARY KEY,
    quantity INTEGER NOT NULL
) STRICT;
"""


def take(params, **rules):
    """The parameters in the order of the rules. Whoever forgot one, or wrote it wrong, is told its name: a 4xx, because
    asking again with the same will not help."""
    if not isinstance(params, dict):
        raise Refused("bad-parameter", "the parameters must be an object")
    for name, (is_right, what) in rules.items():
        if name not in params:
            raise Refused("bad-parameter", f"{name} is missing: {what}")
        if not is_right(params[name]):
            raise Refused("bad-parameter", f"{name} must be {what}")
    return [params[name] for name in rules]


SKU = lambda value: isinstance(value, str) and 0 < len(value) <= 32, "the number of a product, a text"
QUANTITY = lambda value: type(value) is int and 1 <= value <= 1000, "a whole number from 1 to 1000"
CUSTOMER = lambda value: isinstance(value, str) and value != "", "the customer's number, a text"
LINES = lambda value: isinstance(value, list) and 0 < len(value) <= 50, "a list of 1 to 50 lines"


def price(sku, quantity):
    product = CATALOG.get(sku)
    if product is None:
        raise Refused("unknown-product", f"there is no product {sku!r}", status=404)
    return product["cents"] * quantity


class Shop:
    def __init__(self, path):
        self.path = path
        self.local = threading.local()
        self.database().executescript(SCHEMA)

    def database(self):
        """Every thread has a connection of its own."""
        if not hasattr(self.local, "database"):
            database = sqlite3.connect(self.path, timeout=10, isolation_level=None)
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            self.local.database = database
        return self.local.database

    def quote_price(self, params, call):
        sku, quantity = take(params, sku=SKU, quantity=QUANTITY)
        return {"sku": sku, "quantity": quantity, "cents": price(sku, quantity)}

    def order_place(self, params, call):
        """At least once becomes once: host and id are recorded in the transaction that has the effect."""
        if call.id is None:
            raise Refused("no-id", "an order without a Sallyport-Id cannot be told from its repetition", status=400)
        origin = call.host or ""                 # none: born behind the border
        customer, lines = take(params, customer=CUSTOMER, lines=LINES)
        sales = [take(line, sku=SKU, quantity=QUANTITY) for line in lines]
        cents = sum(price(sku, quantity) for sku, quantity in sales)
        database = self.database()
        database.execute("BEGIN IMMEDIATE")
        try:
            new = database.execute(
                "INSERT INTO orders (host, id, customer, lines, cents) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (origin, call.id, customer, json.dumps(lines), cents)).rowcount == 1
            if new:
                database.executemany(
                    "INSERT INTO sold VALUES (?, ?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity",
                    sales)
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise
        return {"order": call.id, "cents": cents}


def main():
    parser = argparse.ArgumentParser(description="the shop's handlers")
    parser.add_argument("--listen", required=True, metavar="http+unix:///PATH|http://127.0.0.1:PORT")
    parser.add_argument("--database", required=True, metavar="FILE")
    parser.add_argument("--ready-fd", type=int, metavar="N", help="write 'ready' there once it answers")
    options = parser.parse_args()
    os.umask(0o007)                              # orders are the shop's business
    try:
        shop = Shop(options.database)
        Worker({
            "quote.price": shop.quote_price,
            "order.place": shop.order_place,
        }).run(options.listen, options.ready_fd)
    except (OSError, ValueError, sqlite3.Error) as error:
        say(f"event=not-started err=\"{error}\"")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
