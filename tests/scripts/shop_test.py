#!/usr/bin/env python3
"""shop_test.py - the shop's two halves without a border between: the worker under good and bad clients, orders once
and not twice, and what the web part tells when something is wrong."""

import http.client
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import unittest

SHOP = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__)))), "examples", "shop")
sys.path.insert(0, SHOP)
sys.dont_write_bytecode = True

from sallyport import Sallyport, Trouble  # noqa: E402
from worker import Call, place_of  # noqa: E402


def start(*arguments):
    """Starts a program that takes --ready-fd; returns it and the line that it wrote there."""
    reading, writing = os.pipe()
    program = subprocess.Popen([sys.executable, *arguments, "--ready-fd", str(writing)], pass_fds=[writing],
                               stderr=subprocess.PIPE, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
    os.close(writing)
    with open(reading) as lines:
        return program, lines.readline()


class UnixClient(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


class CallTest(unittest.TestCase):
    def test_the_ordering_key_is_decoded(self):
        for sent, meant in (("c-7", "c-7"), ("z%C3%BCrich%205%25", "z\u00fcrich 5%"), ("1+1", "1+1")):
            self.assertEqual(Call("order.place", {"sallyport-key": sent}).key, meant)
        self.assertIsNone(Call("order.place", {}).key)

    def test_a_key_that_is_no_text_is_refused(self):
        with self.assertRaises(ValueError):
            Call("order.place", {"sallyport-key": "%FF"})


class AddressTest(unittest.TestCase):
    def test_addresses_are_those_of_the_node(self):
        for address, place in (
                ("http+unix:///run/h.sock", "/run/h.sock"),
                ("unix:/run/h.sock", "/run/h.sock"),
                ("http://127.0.0.1:8080", ("127.0.0.1", 8080)),
                ("http://127.0.0.1:8080/", ("127.0.0.1", 8080)),
        ):
            self.assertEqual(place_of(address), place)

    def test_others_are_none(self):
        for address in ("", "foo", "/run/h.sock", "http+unix://run/h.sock", "http://127.0.0.1:0", "http://127.0.0.1:65536",
                        "http://127.0.0.1:", "http://127.0.0.1:8\u0660", "http://192.0.2.1:80", "tcp:127.0.0.1:80"):
            with self.assertRaises(ValueError, msg=address):
                place_of(address)

    def test_a_bad_one_is_told_in_one_line(self):
        code = 'from worker import Worker; Worker({}).run("foo")'
        done = subprocess.run([sys.executable, "-c", code], cwd=SHOP, capture_output=True, timeout=10, check=False,
                              env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"})
        self.assertEqual((done.returncode, done.stderr), (
            1, b'event=not-started address=foo err="an address is http+unix:///PATH or http://127.0.0.1:PORT"\n'))

    def test_a_loopback_port_is_served(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        with tempfile.TemporaryDirectory() as folder:
            program, line = start(os.path.join(SHOP, "handlers.py"), "--listen", f"http://127.0.0.1:{port}",
                                  "--database", os.path.join(folder, "orders.db"))
            self.addCleanup(program.communicate)
            self.addCleanup(program.terminate)
            self.assertEqual(line, "ready\n")
            client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            client.request("POST", "/quote.price", '{"sku": "A-1", "quantity": 1}')
            self.assertEqual(client.getresponse().status, 200)
            client.close()


class HandlersTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.path = os.path.join(self.folder.name, "h.sock")
        self.database = os.path.join(self.folder.name, "orders.db")
        self.begin()
        self.client = UnixClient(self.path)
        self.addCleanup(self.client.close)
        self.addCleanup(self.end)

    def begin(self):
        self.program, line = start(os.path.join(SHOP, "handlers.py"), "--listen", "http+unix://" + self.path,
                                   "--database", self.database)
        self.assertEqual(line, "ready\n")

    def end(self):
        if self.program.poll() is None:
            self.program.send_signal(signal.SIGTERM)
        self.program.communicate(timeout=10)
        return self.program.returncode

    def ask(self, operation, params, **headers):
        body = params if isinstance(params, bytes) else json.dumps(params)
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        self.client.request("POST", "/" + operation, body, names)
        answer = self.client.getresponse()
        return answer.status, answer.getheader("Content-Type"), json.loads(answer.read())

    def raw(self, data):
        """Sends bytes, reads until the worker closes."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10)
            sock.connect(self.path)
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
            answer = b""
            while data := sock.recv(65536):
                answer += data
            return answer

    def sold(self):
        return dict(sqlite3.connect(self.database).execute("SELECT sku, quantity FROM sold"))

    ORDER = {"customer": "c-7", "lines": [{"sku": "A-1", "quantity": 2}, {"sku": "B-7", "quantity": 1}]}

    def test_a_price_is_answered(self):
        self.assertEqual(self.ask("quote.price", {"sku": "A-1", "quantity": 2}),
                         (200, "application/json", {"sku": "A-1", "quantity": 2, "cents": 9800}))

    def test_many_requests_go_over_one_connection(self):
        for quantity in range(1, 200):
            self.assertEqual(self.ask("quote.price", {"sku": "A-1", "quantity": quantity})[2]["cents"], 4900 * quantity)
        self.assertIsNotNone(self.client.sock)

    def test_a_refusal_is_a_problem_document(self):
        status, kind, problem = self.ask("quote.price", {"sku": "none", "quantity": 1})
        self.assertEqual((status, kind, problem["type"]), (404, "application/problem+json", "unknown-product"))

    def test_an_unknown_operation_is_404(self):
        self.assertEqual(self.ask("quote.prices", {})[0], 404)

    def test_what_is_no_json_is_400(self):
        for body in (b"", b"{", b"\xff", b'{"sku":'):
            self.assertEqual(self.ask("quote.price", body)[0], 400, body)

    def test_a_key_of_any_letters_arrives_as_it_was(self):
        call = Call("order.place", {"sallyport-id": "m", "sallyport-key": "Zo%C3%AB%2025%25"})
        self.assertEqual(call.key, "Zoë 25%")
        self.assertEqual(self.ask("quote.price", {"sku": "A-1", "quantity": 1}, Sallyport_Key="%ff")[0], 400)

    def test_who_forgets_a_parameter_is_told_its_name(self):
        line = {"sku": "A-1", "quantity": 1}
        for operation, params, said in (
                ("quote.price", {"sku": "A-1"}, "quantity is missing"),
                ("quote.price", {"sku": 1, "quantity": 1}, "sku must be"),
                ("quote.price", {"sku": "A-1", "quantity": True}, "quantity must be"),
                ("quote.price", {"sku": "A-1", "quantity": 1001}, "from 1 to 1000"),
                ("quote.price", [], "must be an object"),
                ("order.place", {"lines": [line]}, "customer is missing"),
                ("order.place", {"customer": "c-7", "lines": []}, "lines must be"),
                ("order.place", {"customer": "c-7", "lines": [line, {"sku": "A-1"}]}, "quantity is missing"),
                ("order.place", {"customer": "c-7", "lines": [7]}, "must be an object"),
        ):
            status, kind, answer = self.ask(operation, params, Sallyport_Id="m-0")
            self.assertEqual((status, kind, answer["type"]), (422, "application/problem+json", "bad-parameter"), params)
            self.assertIn(said, answer["detail"])
        self.assertEqual(self.sold(), {})

    def test_a_handler_that_fails_answers_500_and_lives(self):
        with sqlite3.connect(self.database) as database:
            database.execute("DROP TABLE orders")
        self.assertEqual(self.ask("order.place", self.ORDER, Sallyport_Id="m-1")[0], 500)
        self.assertEqual(self.ask("quote.price", {"sku": "A-1", "quantity": 1})[0], 200)

    def test_an_order_repeated_has_one_effect(self):
        for attempt in "123":
            status, _, answer = self.ask("order.place", self.ORDER, Sallyport_Id="m-1", Sallyport_Attempt=attempt)
            self.assertEqual((status, answer), (200, {"order": "m-1", "cents": 22700}))
        self.assertEqual(self.sold(), {"A-1": 2, "B-7": 1})
        self.ask("order.place", self.ORDER, Sallyport_Id="m-2")
        self.assertEqual(self.sold(), {"A-1": 4, "B-7": 2})

    def test_the_same_id_of_another_host_is_another_order(self):
        for host in ("web1", "web2", "web1", "web2"):
            self.assertEqual(self.ask("order.place", self.ORDER, Sallyport_Id="m-6", Sallyport_Host=host)[0], 200)
        self.assertEqual(self.sold(), {"A-1": 4, "B-7": 2})
        self.assertEqual(sqlite3.connect(self.database).execute("SELECT host, id FROM orders ORDER BY host").fetchall(),
                         [("web1", "m-6"), ("web2", "m-6")])

    def test_an_order_repeated_at_once_has_one_effect(self):
        def place():
            client = UnixClient(self.path)
            client.request("POST", "/order.place", json.dumps(self.ORDER), {"Sallyport-Id": "m-3"})
            statuses.append(client.getresponse().status)
            client.close()
        statuses = []
        threads = [threading.Thread(target=place) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(statuses, [200] * 8)
        self.assertEqual(self.sold(), {"A-1": 2, "B-7": 1})

    def test_an_order_with_one_bad_line_has_no_effect(self):
        order = {"customer": "c-7", "lines": [{"sku": "A-1", "quantity": 2}, {"sku": "none", "quantity": 1}]}
        self.assertEqual(self.ask("order.place", order, Sallyport_Id="m-4")[0], 404)
        self.assertEqual(self.sold(), {})

    def test_an_order_survives_kill_and_is_known_after_it(self):
        self.ask("order.place", self.ORDER, Sallyport_Id="m-5")
        self.program.kill()
        self.program.communicate()
        self.client.close()
        self.begin()                             # over the socket that the killed one left behind
        self.ask("order.place", self.ORDER, Sallyport_Id="m-5")
        self.assertEqual(self.sold(), {"A-1": 2, "B-7": 1})

    def test_bad_requests_are_answered_and_closed(self):
        for request, status in (
                (b"nonsense\r\n\r\n", b"400"),
                (b"POST /quote.price HTTP/2\r\n\r\n", b"400"),
                (b"POST /quote.price HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"400"),
                (b"POST /quote.price HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"400"),
                (b"POST /quote.price HTTP/1.1\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", b"400"),
                (b"POST /quote.price HTTP/1.1\r\nContent-Length : 2\r\n\r\n{}", b"400"),
                (b"POST /quote.price HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b"411"),
                (b"POST /quote.price HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n", b"413"),
                (b"POST /quote.price HTTP/1.1\r\nX: " + b"a" * 20000, b"431"),
        ):
            self.assertEqual(self.raw(request)[9:12], status, request[:60])

    def test_half_requests_and_vanished_clients_harm_nobody(self):
        for cut in (b"P", b"POST /quote.price HTTP/1.1\r\nContent-Le", b"POST / HTTP/1.1\r\nContent-Length: 50\r\n\r\n{"):
            for _ in range(50):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(self.path)
                    sock.sendall(cut)
        self.assertEqual(self.ask("quote.price", {"sku": "A-1", "quantity": 1})[0], 200)

    def test_requests_in_a_row_are_answered_in_a_row(self):
        one = b'POST /quote.price HTTP/1.1\r\nContent-Length: %d\r\n\r\n%b'
        bodies = [b'{"sku":"A-1","quantity":%d}' % n for n in (1, 2, 3)]
        answer = self.raw(b"".join(one % (len(body), body) for body in bodies))
        self.assertEqual([answer.index(b'"cents":%d' % cents) for cents in (4900, 9800, 14700)],
                         sorted(answer.index(b'"cents":%d' % cents) for cents in (4900, 9800, 14700)))

    def test_sigterm_ends_it_with_idle_connections_open(self):
        self.ask("quote.price", {"sku": "A-1", "quantity": 1})
        self.assertEqual(self.end(), 0)
        self.assertFalse(os.path.exists(self.path))

    def test_a_second_one_on_the_same_socket_does_not_start(self):
        program, line = start(os.path.join(SHOP, "handlers.py"), "--listen", "http+unix://" + self.path,
                              "--database", self.database)
        _, said = program.communicate(timeout=10)
        self.assertEqual((line, program.returncode), ("", 1))
        self.assertIn(b"somebody answers", said)
        self.assertEqual(self.ask("quote.price", {"sku": "A-1", "quantity": 1})[0], 200)

    def test_others_cannot_open_the_socket(self):
        self.assertEqual(os.stat(self.path).st_mode & 0o007, 0)


class FakeAgent(threading.Thread):
    """Answers every request on a Unix socket with what it was told, and remembers them."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(path)
        self.listener.listen()
        self.requests = []
        self.status, self.body = 200, b"{}"

    def run(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with sock:
                data = sock.recv(65536)
                while data:
                    if b"Content-Length: " in data:
                        head, _, body = data.partition(b"\r\n\r\n")
                        length = int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0])
                        while len(body) < length:
                            body += sock.recv(65536)
                        self.requests.append((head.split(b"\r\n")[0].decode(), head.decode(), json.loads(body)))
                    sock.sendall(b"HTTP/1.1 %d Whatever\r\nContent-Length: %d\r\n\r\n%b" %
                                 (self.status, len(self.body), self.body))
                    data = sock.recv(65536)


class WebTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.path = os.path.join(folder.name, "a.sock")
        self.agent = FakeAgent(self.path)
        self.agent.start()
        self.addCleanup(self.agent.listener.close)

    def page(self):
        program, line = start(os.path.join(SHOP, "web.py"), "--socket", self.path, "serve", "--port", "0")
        self.addCleanup(program.communicate)
        self.addCleanup(program.terminate)
        return http.client.HTTPConnection(line.split("/")[2], timeout=10)

    def post(self, page, path, form):
        page.request("POST", path, form, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = page.getresponse()
        return answer.status, answer.read().decode()

    def test_a_result_is_returned_and_headers_are_sent(self):
        self.agent.body = b'{"cents": 7}'
        with Sallyport(self.path) as border:
            answer = border.call("quote.price", {"a": 1}, deadline_ms=50, idempotency_key="k")
        self.assertEqual(answer, {"cents": 7})
        line, head, body = self.agent.requests[0]
        self.assertEqual((line, body), ("POST /v1/call/quote.price HTTP/1.1", {"a": 1}))
        self.assertIn("Deadline-Ms: 50", head)
        self.assertIn("Idempotency-Key: k", head)

    def test_a_problem_is_trouble_with_its_name(self):
        self.agent.status, self.agent.body = 503, b'{"type":"urn:sallyport:problem:border-unavailable","title":"t","retry_after_ms":200}'
        with Sallyport(self.path) as border, self.assertRaises(Trouble) as caught:
            border.send("order.place", {})
        self.assertEqual((caught.exception.type, caught.exception.retry_after_ms), ("border-unavailable", 200))

    def test_no_agent_is_trouble_too(self):
        with self.assertRaises(Trouble) as caught:
            Sallyport(self.path + ".none").call("quote.price", {})
        self.assertEqual(caught.exception.type, "agent-unavailable")

    def test_an_answer_that_is_no_json_is_trouble(self):
        self.agent.body = b"<html>"
        with Sallyport(self.path) as border, self.assertRaises(Trouble):
            border.call("quote.price", {})

    def test_the_page_shows_a_price(self):
        self.agent.body = b'{"sku": "A-1", "quantity": 2, "cents": 9800}'
        status, text = self.post(self.page(), "/quote", "sku=A-1&quantity=2")
        self.assertEqual(status, 200)
        self.assertIn("98.00", text)

    def test_the_page_tells_trouble_kindly_and_with_its_status(self):
        self.agent.status, self.agent.body = 504, b'{"type":"urn:sallyport:problem:deadline-exceeded","title":"secret detail"}'
        status, text = self.post(self.page(), "/quote", "sku=A-1&quantity=2")
        self.assertEqual(status, 504)
        self.assertIn("took too long", text)
        self.assertNotIn("secret", text)

    def test_the_page_escapes_what_visitors_wrote(self):
        self.agent.body = b'{"sku": "<script>", "quantity": 2, "cents": 9800}'
        self.assertNotIn("<script>", self.post(self.page(), "/quote", "sku=%3Cscript%3E&quantity=2")[1])

    def test_the_same_form_twice_has_one_idempotency_key(self):
        self.agent.status, self.agent.body = 202, b'{"id": "m-1"}'
        page = self.page()
        for _ in range(2):
            self.assertIn("m-1", self.post(page, "/order", "form=f1&customer=c&sku=A-1&quantity=1")[1])
            page.close()
        for _, head, _ in self.agent.requests:
            self.assertIn("Idempotency-Key: f1", head)

    def test_bad_quantities_do_not_reach_the_agent(self):
        page = self.page()
        for quantity in ("", "x", "0", "1001", "-1"):
            self.assertEqual(self.post(page, "/quote", f"sku=A-1&quantity={quantity}")[0], 422)
            page.close()
        self.assertEqual(self.agent.requests, [])


if __name__ == "__main__":
    unittest.main()
