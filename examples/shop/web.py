#!/usr/bin/env python3
"""The shop's web part: knows no database, no mail server, no password; only the agent's socket.

usage: web.py quote SKU QUANTITY             asks for a price
       web.py order CUSTOMER SKU:QUANTITY…   places an order
       web.py serve [--port 8000]            a web page on this machine that does both
The socket: --socket PATH, or SALLYPORT_WEB_SOCKET as `scripts/dev env` prints it.
"""

import argparse
import html
import http.server
import os
import sys
import urllib.parse
import uuid

from sallyport import Sallyport, Trouble

# What a visitor is told. The rest of the story is in the agent's log, under the message's id.
FRIENDLY = {
    "border-unavailable": "We cannot reach our warehouse just now. Please try again in a moment.",
    "app-unavailable": "Our warehouse does not answer just now. Please try again in a moment.",
    "deadline-exceeded": "That took too long. Please try again.",
    "agent-unavailable": "This shop is being set up. Please come back soon.",
    "contract-violation": "Please check what you entered.",
    "unknown-product": "We do not have that product.",
}

PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>The chandler's shop</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 34rem; margin: 3rem auto; padding: 0 1rem; }}
form {{ border: 1px solid #ccc; border-radius: 6px; padding: 1rem; margin: 1rem 0; }}
label {{ display: inline-block; width: 6rem; }} .good {{ color: #060; }} .bad {{ color: #900; }}
</style>
<h1>The chandler's shop</h1>
<p role="status" class="{mood}">{message}</p>
<form method="post" action="/quote"><h2>What does it cost?</h2>
<p><label for="q1">Product</label><input id="q1" name="sku" value="A-1" maxlength="32" required>
<p><label for="q2">Quantity</label><input id="q2" name="quantity" type="number" min="1" max="1000" value="2" required>
<p><button>Ask</button></form>
<form method="post" action="/order"><h2>Order</h2>
<input type="hidden" name="form" value="{form}">
<p><label for="o1">Customer</label><input id="o1" name="customer" value="c-7" maxlength="32" required>
<p><label for="o2">Product</label><input id="o2" name="sku" value="A-1" maxlength="32" required>
<p><label for="o3">Quantity</label><input id="o3" name="quantity" type="number" min="1" max="1000" value="1" required>
<p><button>Order</button></form>
"""


def quantity(text):
    if not text.isdigit() or not 1 <= int(text) <= 1000:
        raise Trouble(422, "contract-violation", "not a quantity", f"{text!r} is not a number from 1 to 1000")
    return int(text)


def money(cents):
    return f"{cents // 100}.{cents % 100:02}"


def make_handler(socket_path):
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 30

        def setup(self):
            super().setup()
            self.border = Sallyport(socket_path)

        def finish(self):
            self.border.close()
            super().finish()

        def show(self, status, mood, message):
            page = PAGE.format(mood=mood, message=html.escape(message), form=uuid.uuid4()).encode()
            self.send_response(status)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(page)))
            self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
            self.end_headers()
            self.wfile.write(page)

        def do_GET(self):
            if self.path != "/":
                return self.show(404, "bad", "There is no such page.")
            self.show(200, "", "Welcome.")

        def do_POST(self):
            length = self.headers.get("Content-Length", "")
            if not length.isdigit() or int(length) > 4096:
                return self.show(400, "bad", "That is not one of our forms.")
            form = dict(urllib.parse.parse_qsl(self.rfile.read(int(length)).decode("utf-8", "replace")))
            try:
                if self.path == "/quote":
                    answer = self.border.call("quote.price", {
                        "sku": form.get("sku", ""), "quantity": quantity(form.get("quantity", ""))})
                    return self.show(200, "good", f"{answer['quantity']} × {answer['sku']}: {money(answer['cents'])}")
                if self.path == "/order":
                    # the form's own number: pressing the button twice is one order
                    answer = self.border.send("order.place", {
                        "customer": form.get("customer", ""),
                        "lines": [{"sku": form.get("sku", ""), "quantity": quantity(form.get("quantity", ""))}],
                    }, idempotency_key=form.get("form"))
                    return self.show(200, "good", f"Thank you. Your order is {answer['id']}.")
                self.show(404, "bad", "There is no such page.")
            except Trouble as trouble:
                self.log_message("%s", trouble)
                self.show(trouble.status, "bad", FRIENDLY.get(trouble.type, "That did not work."))

    return Handler


def run(options, border):
    if options.command == "quote":
        answer = border.call("quote.price", {"sku": options.sku, "quantity": options.quantity})
        print(f"{answer['quantity']} x {answer['sku']}: {money(answer['cents'])}")
    else:
        lines = [line.rpartition(":") for line in options.lines]
        answer = border.send("order.place", {
            "customer": options.customer,
            "lines": [{"sku": sku, "quantity": quantity(number)} for sku, _, number in lines]})
        print(f"order {answer['id']}")


def main():
    parser = argparse.ArgumentParser(description="the shop's web part")
    parser.add_argument("--socket", default=os.environ.get("SALLYPORT_WEB_SOCKET"), metavar="PATH")
    commands = parser.add_subparsers(dest="command", required=True)
    quote = commands.add_parser("quote", help="ask for a price")
    quote.add_argument("sku")
    quote.add_argument("quantity", type=int)
    order = commands.add_parser("order", help="place an order")
    order.add_argument("customer")
    order.add_argument("lines", nargs="+", metavar="SKU:QUANTITY")
    serve = commands.add_parser("serve", help="a web page on this machine")
    serve.add_argument("--port", type=int, default=8000, help="0: any free one")
    serve.add_argument("--ready-fd", type=int, metavar="N", help="write 'ready URL' there once it answers")
    options = parser.parse_args()
    if not options.socket:
        parser.error("which socket? (--socket, or SALLYPORT_WEB_SOCKET)")

    if options.command == "serve":
        server = http.server.ThreadingHTTPServer(("127.0.0.1", options.port), make_handler(options.socket))
        url = f"http://127.0.0.1:{server.server_port}/"
        if options.ready_fd is None:
            print(url, flush=True)
        else:
            os.write(options.ready_fd, f"ready {url}\n".encode())
            os.close(options.ready_fd)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    try:
        with Sallyport(options.socket) as border:
            run(options, border)
    except Trouble as trouble:
        print(f"web.py: {trouble} ({trouble.type})", file=sys.stderr)
        if trouble.retry_after_ms is not None:
            print(f"web.py: try again in {trouble.retry_after_ms} ms", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
