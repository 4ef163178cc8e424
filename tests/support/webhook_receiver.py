# SPDX-License-Identifier: MIT
"""A receiver of webhooks: keeps what comes, checks the signature, answers as it is told."""

from __future__ import annotations

import base64
import hashlib
import hmac
import threading
import time

from local_http import Handler, LocalHttp


def verify(secret: str, headers, body: bytes) -> None:
    """Written from the Standard Webhooks' text, not from the server's code."""
    key = base64.b64decode(secret.removeprefix("whsec_")) if secret.startswith("whsec_") else secret.encode()
    signed = f'{headers["webhook-id"]}.{headers["webhook-timestamp"]}.'.encode() + body
    want = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    assert want in headers["webhook-signature"].split(" ")
    assert abs(time.time() - int(headers["webhook-timestamp"])) < 300


class Receiver(LocalHttp):
    """`with Receiver() as r:`; r.answers: statuses to give, in order; 200 when it is empty."""

    def __init__(self) -> None:
        self.got: list[tuple[dict, bytes]] = []
        self.answers: list[int] = []
        self.arrived = threading.Condition()

    def handler(self):
        receiver = self

        class Http(Handler):
            def do_POST(self):
                body = self.body()
                with receiver.arrived:
                    receiver.got.append((self.headers, body))
                    status = receiver.answers.pop(0) if receiver.answers else 200
                    receiver.arrived.notify_all()
                self.reply(status, **({"Location": receiver.url + "/elsewhere"} if status == 302 else {}))

            def do_GET(self):
                with receiver.arrived:
                    receiver.got.append(({"followed": "a redirect"}, b""))
                self.reply(200)

        return Http

    def wait(self, n: int, timeout: float = 60) -> list[tuple[dict, bytes]]:
        """Until n requests have come."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.got) >= n, timeout), f"{len(self.got)} of {n} came"
            return list(self.got)
