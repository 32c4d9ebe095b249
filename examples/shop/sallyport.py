"""sallyport.py - how a web application speaks to the agent on its host: HTTP over a Unix socket, nothing more.

    border = Sallyport("/run/sallyport/agent.sock")
    border.call("quote.price", {"sku": "A-1", "quantity": 2})      -> the result
    border.send("order.place", {...}, idempotency_key=form_id)     -> {"id": ...}

Anything but success raises Trouble, whose `type` is one of the API's stable names.
One object per thread: it keeps one connection open until close(), or the end of `with`.
"""

import http.client
import json
import socket


class Trouble(Exception):
    def __init__(self, status, type, title, detail="", retry_after_ms=None):
        super().__init__(f"{title}: {detail}" if detail else title)
        self.status, self.type, self.title, self.detail = status, type, title, detail
        self.retry_after_ms = retry_after_ms     # None: waiting does not help


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path, timeout):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Sallyport:
    def __init__(self, socket_path, timeout=70):
        # The agent answers within the deadline of the operation; the time-out here is for an agent that is gone.
        self.connection = UnixConnection(socket_path, timeout)

    def close(self):
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, operation, params, deadline_ms=None, idempotency_key=None):
        return self.post(f"/v1/call/{operation}", params, deadline_ms, idempotency_key)

    def send(self, operation, params, idempotency_key=None):
        return self.post(f"/v1/send/{operation}", params, None, idempotency_key)

    def post(self, path, params, deadline_ms, idempotency_key):
        headers = {"Content-Type": "application/json"}
        if deadline_ms is not None:
            headers["Deadline-Ms"] = str(deadline_ms)
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        try:
            self.connection.request("POST", path, json.dumps(params), headers)
            answer = self.connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.connection.close()
            raise Trouble(503, "agent-unavailable", "the agent on this host does not answer", str(error)) from error
        try:
            value = json.loads(body) if body else None
        except ValueError:
            raise Trouble(502, "bad-answer", "the agent's answer is no JSON") from None
        if answer.status < 300:
            return value
        about = value if isinstance(value, dict) else {}
        # "urn:sallyport:problem:deadline-exceeded" is deadline-exceeded to us; a handler's own types may be short
        kind = str(about.get("type", "unknown")).rpartition(":")[2]
        raise Trouble(answer.status, kind, about.get("title", answer.reason),
                      about.get("detail", ""), about.get("retry_after_ms"))
