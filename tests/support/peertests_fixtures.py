#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The fixture port that the peer's system tests ask for, over `tare-server`'s own commands.

usage: peertests_fixtures.py --server BINARY --dir DIR --port N

GET /health; POST /db/user, /db/organization, /db/team. The tests use the user name as API key.
"""

import argparse
import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def words(path: str, d: dict) -> list[list[str]]:
    """The commands that a fixture request stands for."""
    command, user, data = d.get("command"), d.get("username"), d.get("fixtureData") or {}
    if path == "/db/user" and command == "up":
        return [["user", "add", user, "--key", user, "--email", f"{user}@localhost"] + (["--admin"] if d.get("admin") else [])]
    if path == "/db/user" and command == "down":
        return [["user", "revoke", user]]
    if path == "/db/organization" and command == "up":
        return [["org", "add", d["orgName"], user]]
    if path == "/db/organization" and command == "down":
        return [["org", "remove", d["orgName"]]]
    if path == "/db/organization" and command == "add_members":
        return [["org", "member", d["orgName"], m["username"], m["role"]] for m in data["members"]]
    if path == "/db/team" and command == "up":
        return [["team", "add", data["team"]["name"], user, "--org", data["organization"]["name"]]]
    return []


def waits(call: list[str]) -> bool:
    """`user revoke` returns when a server that runs has noticed, seconds later. Hundreds of users are taken down at
    the end, and what comes of it matters to no test."""
    return call[:2] != ["user", "revoke"]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, text: str = "{}"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        self.answer(200 if self.path == "/health" else 404)

    def do_POST(self):
        d = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        for call in words(self.path, d):
            if not waits(call):
                threading.Thread(target=subprocess.run, args=([args.server, *call, "--dir", args.dir],), daemon=True,
                                 kwargs={"stdout": subprocess.DEVNULL}).start()
                continue
            done = subprocess.run([args.server, *call, "--dir", args.dir], stdout=subprocess.DEVNULL,
                                  stderr=subprocess.PIPE, text=True)
            if done.returncode:
                print(call, done.stderr, file=sys.stderr)
                return self.answer(400, json.dumps({"error": done.stderr}))
        self.answer(200)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", required=True)
    parser.add_argument("--dir", required=True)
    parser.add_argument("--port", type=int, required=True)
    args = parser.parse_args()
    ThreadingHTTPServer(("127.0.0.1", args.port), Handler).serve_forever()
