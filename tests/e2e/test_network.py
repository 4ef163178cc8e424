# SPDX-License-Identifier: MIT
"""How the service reaches a backend: TLS, proxies, and one that never answers."""

import base64
import contextlib
import http.server
import json
import os
import random
import select
import socket
import socketserver
import ssl
import subprocess
import threading
import time

import pytest
from service_support import Service
from wandb.proto import wandb_server_pb2 as spb

KEY = "k" * 40


class Backend(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.send_error(404)

    do_PUT = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.seen.append(dict(self.headers))
        answer = json.dumps({"data": {"from": self.server.name}}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)


class Proxy(socketserver.StreamRequestHandler):
    """CONNECT, and whole addresses; everything goes to server.to."""

    def handle(self):
        line = self.rfile.readline().decode()
        headers = {}
        while (h := self.rfile.readline().decode().strip()):
            name, value = h.split(":", 1)
            headers[name] = value.strip()
        self.server.seen.append([line.strip(), headers])
        with socket.create_connection(("127.0.0.1", self.server.to)) as to:
            if line.startswith("CONNECT"):
                self.wfile.write(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                method, url, version = line.split()
                path = "/" + url.split("/", 3)[3]
                head = f"{method} {path} {version}\r\n" + "".join(f"{k}: {v}\r\n" for k, v in headers.items())
                to.sendall(head.encode() + b"\r\n" + self.rfile.read(int(headers["Content-Length"])))
            self.pump(self.connection, to)

    def pump(self, a, b):
        with contextlib.suppress(OSError):
            while True:
                for s in select.select([a, b], [], [], 30)[0]:
                    data = s.recv(65536)
                    if not data:
                        return
                    (b if s is a else a).sendall(data)


@contextlib.contextmanager
def running(server):
    server.seen = []
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def backend(name, context=None):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Backend)
    server.name = name
    server.handle_error = lambda *_: None
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return running(server)


def proxy_to(port):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Proxy)
    server.to = port
    return running(server)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "key.pem",
                    "-out", folder / "cert.pem"], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return folder / "cert.pem", context


def begin(c, url, **settings):
    """The GraphQL request that is to go to `url`."""
    req = spb.ServerRequest()
    s = req.api_init_request.settings
    s.base_url.value, s.api_key.value = url, KEY
    s.x_graphql_retry_max.value = 1
    s.x_graphql_retry_wait_min_seconds.value = s.x_graphql_retry_wait_max_seconds.value = 0.01
    for name, value in settings.items():
        if isinstance(value, dict):
            getattr(s, name).value.update(value)
        else:
            getattr(s, name).value = value
    api_id = c.ask(req).api_init_response.api_id
    req = spb.ServerRequest()
    req.api_request.api_id = api_id
    req.api_request.graphql_request.query = "{ x }"
    return req


def ask(service, url, **settings):
    """The answer of a GraphQL request to `url`."""
    c = service.connect()
    answer = c.ask(begin(c, url, **settings)).api_response
    if answer.HasField("api_error_response"):
        return answer.api_error_response.message
    return json.loads(answer.graphql_response.data_json)


def test_tls_is_verified_unless_told_not_to(tmp_path, certificate):
    cert, context = certificate
    with backend("tls", context) as server, Service(tmp_path) as service:
        url = f"https://localhost:{server.server_port}"
        assert "certificate" in ask(service, url)
        assert server.seen == []
        assert ask(service, url, insecure_disable_ssl=True) == {"from": "tls"}
    with backend("tls", context) as server, Service(tmp_path, env={"SSL_CERT_FILE": str(cert)}) as service:
        assert ask(service, f"https://localhost:{server.server_port}") == {"from": "tls"}
        assert "127.0.0.1" in ask(service, f"https://127.0.0.1:{server.server_port}")  # not its name


def test_certificates_are_not_read_on_the_loop(tmp_path, certificate):
    """A file of them that comes late holds up what waits for it, and nothing else."""
    cert, context = certificate
    late = tmp_path / "late.pem"
    os.mkfifo(late)
    with backend("tls", context) as server, backend("plain") as plain, \
            Service(tmp_path, env={"SSL_CERT_FILE": str(late)}) as service:
        url = f"https://localhost:{server.server_port}"
        c = service.connect()
        first, second = (c.deliver(begin(c, url)) for _ in range(2))
        gone = service.connect()
        gone.deliver(begin(gone, url))
        assert ask(service, f"http://127.0.0.1:{plain.server_port}") == {"from": "plain"}
        assert ask(service, url, insecure_disable_ssl=True) == {"from": "tls"}
        assert not c.has_answer()
        gone.close()
        late.write_bytes(cert.read_bytes())
        for answer in (c.wait(first), c.wait(second)):
            assert json.loads(answer.api_response.graphql_response.data_json) == {"from": "tls"}
        assert ask(service, url) == {"from": "tls"}
        assert "127.0.0.1" in ask(service, f"https://127.0.0.1:{server.server_port}")  # not its name


def test_certificates_that_cannot_be_read(tmp_path, certificate):
    _, context = certificate
    bad = tmp_path / "bad.pem"
    bad.write_text("no certificate")
    with backend("tls", context) as server:
        url = f"https://localhost:{server.server_port}"
        for name in (bad, tmp_path / "missing.pem"):
            with Service(tmp_path, env={"SSL_CERT_FILE": str(name)}) as service:
                assert str(name) in ask(service, url)
        assert server.seen == []


def test_a_tls_backend_through_a_proxy(tmp_path, certificate):
    cert, context = certificate
    with backend("tls", context) as server, proxy_to(server.server_port) as proxy, \
            Service(tmp_path, env={"SSL_CERT_FILE": str(cert)}) as service:
        answer = ask(service, "https://localhost:8443", https_proxy=f"http://127.0.0.1:{proxy.server_address[1]}",
                     x_extra_http_headers={"proxy-authorization": "Basic secret", "X-More": "1"})
        assert answer == {"from": "tls"}
        line, headers = proxy.seen[0]
        assert line == "CONNECT localhost:8443 HTTP/1.1"
        assert headers["Proxy-Authorization"] == "Basic secret"
        assert "Authorization" not in headers and "X-More" not in headers
        assert server.seen[0]["X-More"] == "1" and "Proxy-Authorization" not in server.seen[0]
        assert server.seen[0]["Authorization"] == "Basic " + base64.b64encode(f"api:{KEY}".encode()).decode()


def test_a_plain_backend_through_a_proxy(tmp_path):
    with backend("plain") as server, proxy_to(server.server_port) as proxy:
        at = f"http://127.0.0.1:{proxy.server_address[1]}"
        env = {"HTTP_PROXY": at, "NO_PROXY": "skipped.example", "http_proxy": None, "no_proxy": None}
        with Service(tmp_path, env=env) as service:
            assert ask(service, "http://backend.example/api") == {"from": "plain"}
            assert proxy.seen[-1][0] == "POST http://backend.example/api/graphql HTTP/1.1"
            assert ask(service, f"http://127.0.0.1:{server.server_port}") == {"from": "plain"}  # this machine
            assert "skipped.example" in ask(service, "http://skipped.example")
            assert len(proxy.seen) == 1


@pytest.mark.parametrize("end", ["cleanup", "close"])
def test_sessions_end_at_any_moment(tmp_path, end):
    chance = random.Random(1)
    with backend("any") as server, Service(tmp_path) as service:
        url = f"http://127.0.0.1:{server.server_port}"
        for i in range(150):
            c = service.connect()
            api_id = open_session(c, url)
            for k, req in enumerate(requests_of_every_kind(api_id, url, tmp_path)):
                req.request_id = f"{i}.{k}"
                c.send(req)
            time.sleep(chance.random() * 0.006)
            if end == "cleanup":
                req = spb.ServerRequest()
                req.api_cleanup_request.api_id = api_id
                c.send(req)
            else:
                c.close()
        assert ask(service, url) == {"from": "any"}
        req = spb.ServerRequest()
        req.inform_teardown.exit_code = 0
        service.connect().send(req)
        assert service.wait() == 0
        assert "Sanitizer" not in service.output()


@contextlib.contextmanager
def hole():
    """Takes everything and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = []

        def take():
            with contextlib.suppress(OSError):
                while True:
                    taken.append(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        yield server.getsockname()[1], taken
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def open_session(c, url):
    req = spb.ServerRequest()
    req.api_init_request.settings.base_url.value = url
    req.api_init_request.settings.api_key.value = KEY
    return c.ask(req).api_init_response.api_id


def requests_of_every_kind(api_id, url, folder):
    for fill in (
        lambda r: r.graphql_request.SetInParent(),
        lambda r: setattr(r.stop_run_request, "storage_id", "x"),
        lambda r: r.auth_request.authenticate_request.SetInParent(),
        lambda r: r.features_request.server.features.append(1),
        lambda r: setattr(r.read_run_console_logs_request, "entity", "e"),
        lambda r: setattr(r.read_run_history_request.scan_run_history_init, "entity", "e"),
        lambda r: (setattr(r.download_file_request, "path", str(folder / "d" / "x")),
                   setattr(r.download_file_request, "url", url + "/x")),
        lambda r: (setattr(r.upload_file_request, "path", __file__), setattr(r.upload_file_request, "url", url + "/y")),
    ):
        req = spb.ServerRequest()
        req.api_request.api_id = api_id
        fill(req.api_request)
        yield req


def test_what_waits_for_a_dead_backend_can_be_left(tmp_path):
    """Cancelled, closed, gone or ended: nothing waits for an answer that does not come."""
    with hole() as (port, taken), Service(tmp_path) as service:
        url = f"http://127.0.0.1:{port}"
        c = service.connect()
        api_id = open_session(c, url)
        waiting = list(requests_of_every_kind(api_id, url, tmp_path))
        for i, req in enumerate(waiting):
            req.request_id = f"r{i}"
            c.send(req)
        while len(taken) < len(waiting):
            time.sleep(0.01)
        for i in range(len(waiting)):
            req = spb.ServerRequest()
            req.cancel.request_id = f"r{i}"
            c.send(req)
        other = open_session(c, url)  # it serves on
        for req in requests_of_every_kind(other, url, tmp_path):
            req.request_id = "z" + str(id(req))
            c.send(req)
        req = spb.ServerRequest()
        req.api_cleanup_request.api_id = other
        c.send(req)
        gone = service.connect()
        for req in requests_of_every_kind(open_session(gone, url), url, tmp_path):
            req.request_id = "g" + str(id(req))
            gone.send(req)
        gone.close()
        last = service.connect()
        for req in requests_of_every_kind(open_session(last, url), url, tmp_path):
            req.request_id = "l" + str(id(req))
            last.send(req)
        req = spb.ServerRequest()
        req.inform_teardown.exit_code = 0
        last.send(req)
        assert service.wait() == 0
        assert "Sanitizer" not in service.output()
    assert not (tmp_path / "d").exists() or list((tmp_path / "d").iterdir()) == []
