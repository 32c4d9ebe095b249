#!/usr/bin/env python3
"""The shop's back end: what happens behind the border when the web asks for it.

usage: handlers.py --listen unix:PATH|tcp:127.0.0.1:PORT --database FILE [--ready-fd N]
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
        return {"sku": params["sku"], "quantity": params["quantity"],
                "cents": price(params["sku"], params["quantity"])}

    def order_place(self, params, call):
        """At least once becomes once: host and id are recorded in the transaction that has the effect."""
        if call.id is None:
            raise Refused("no-id", "an order without a Sallyport-Id cannot be told from its repetition", status=400)
        origin = call.host or ""                 # none: born behind the border
        cents = sum(price(line["sku"], line["quantity"]) for line in params["lines"])
        database = self.database()
        database.execute("BEGIN IMMEDIATE")
        try:
            new = database.execute(
                "INSERT INTO orders (host, id, customer, lines, cents) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (origin, call.id, params["customer"], json.dumps(params["lines"]), cents)).rowcount == 1
            if new:
                database.executemany(
                    "INSERT INTO sold VALUES (?, ?) ON CONFLICT DO UPDATE SET quantity = quantity + excluded.quantity",
                    [(line["sku"], line["quantity"]) for line in params["lines"]])
            database.execute("COMMIT")
        except BaseException:
            database.execute("ROLLBACK")
            raise
        return {"order": call.id, "cents": cents}


def main():
    parser = argparse.ArgumentParser(description="the shop's handlers")
    parser.add_argument("--listen", required=True, metavar="unix:PATH|tcp:127.0.0.1:PORT")
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
