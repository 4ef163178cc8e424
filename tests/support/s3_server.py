# SPDX-License-Identifier: MIT
"""A small S3 store for tests: one bucket in memory, signatures and digests checked, faults on order.

Written from Amazon's protocol documentation; path-style addresses. `with S3Server() as s3:`.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler

from local_http import Http

KEY_ID, SECRET, REGION, BUCKET = "AKIDTEST", "wJalr/XUtn+FEMI", "eu-test-1", "bucket-1"


def signature(method: str, path: str, query: str, headers, signed: list[str], day: str, payload: str) -> str:
    pairs = sorted(tuple(p.split("=", 1)) if "=" in p else (p, "") for p in query.split("&") if p)
    canonical = "\n".join([
        method, path, "&".join(f"{k}={v}" for k, v in pairs),
        *(f"{name}:{headers[name].strip()}" for name in signed), "", ";".join(signed), payload])
    scope = f"{day}/{REGION}/s3/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", headers["x-amz-date"], scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = ("AWS4" + SECRET).encode()
    for part in scope.split("/"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()


class S3Server:
    def __enter__(self) -> "S3Server":
        self.objects: dict[str, bytes] = {}
        self.uploads: dict[str, dict[int, bytes]] = {}
        self.requests: list[tuple[str, str]] = []
        # (method, what): used up in order by requests of the method. what: a status, "hang", "cut", "drop",
        # "lost" (it is done, but the answer does not arrive), "none"
        self.faults: list[tuple[str, int | str]] = []
        self.always: int | None = None
        self.page = 1000
        self.versions: dict[str, list[tuple[str, bytes]]] = {}  # older ones: (id, content)
        self.lock = threading.Lock()
        store = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def answer(self, status: int, body: bytes = b"", **headers):
                if self.is_lost:
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                if "Content_Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

            def error(self, status: int, code: str):
                self.answer(status, f"<?xml version='1.0'?><Error><Code>{code}</Code></Error>".encode())

            def is_signed(self, path: str, query: str, body: bytes) -> bool:
                found = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request,\s*"
                                     r"SignedHeaders=([^,]+),\s*Signature=([0-9a-f]{64})",
                                     self.headers.get("Authorization", ""))
                payload = self.headers.get("x-amz-content-sha256", "")
                if not found or found[1] != KEY_ID or found[3] != REGION or payload != hashlib.sha256(body).hexdigest():
                    return False
                when = time.strptime(self.headers["x-amz-date"], "%Y%m%dT%H%M%SZ")
                signed = found[4].split(";")
                return ({"host", "x-amz-date", "x-amz-content-sha256"} <= set(signed) and signed == sorted(signed)
                        and abs(time.time() - time.mktime(when) + time.timezone) < 900
                        and found[5] == signature(self.command, path, query, self.headers, signed, found[2], payload))

            def fault(self) -> int | str | None:
                with store.lock:
                    for i, (method, what) in enumerate(store.faults):
                        if method == self.command:
                            del store.faults[i]
                            return what
                return store.always

            def handle_any(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                path, _, query = self.path.partition("?")
                with store.lock:
                    store.requests.append((self.command, self.path))
                what = self.fault()
                self.is_lost = what == "lost"
                if what == "hang":
                    time.sleep(8)
                if what in ("hang", "drop"):
                    self.close_connection = True
                    return
                if isinstance(what, int):
                    return self.error(what, "InternalError" if what >= 500 else "AccessDenied")
                if not self.is_signed(path, query, body):
                    return self.error(403, "SignatureDoesNotMatch")
                if not path.startswith(f"/{BUCKET}/"):
                    return self.error(404, "NoSuchBucket")
                name = urllib.parse.unquote(path[len(BUCKET) + 2:])
                asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
                with store.lock:
                    getattr(self, "on_" + self.command)(name, asked, body, what == "cut")

            do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = handle_any

            def on_HEAD(self, name, asked, body, cut):
                have = self.state_of(name, asked)
                etag = {} if have is None else {"ETag": f'"{hashlib.md5(have).hexdigest()}"'}
                self.answer(404 if have is None else 200, Content_Length=str(len(have or b"")), **etag)

            def state_of(self, name, asked):
                if "versionId" in asked:
                    return dict(store.versions.get(name, [])).get(asked["versionId"])
                return store.objects.get(name)

            def list_versions(self, asked):
                self.answer(200, ("<?xml version='1.0'?><ListVersionsResult>" + "".join(
                    f"<Version><Key>{n}</Key><VersionId>{i}</VersionId><ETag>&quot;{hashlib.md5(c).hexdigest()}&quot;"
                    "</ETag></Version>" for n in sorted(store.versions) if n.startswith(asked["prefix"])
                    for i, c in store.versions[n]) + "</ListVersionsResult>").encode())

            def on_GET(self, name, asked, body, cut):
                if asked.get("list-type") == "2":
                    return self.list(asked)
                if "versions" in asked:
                    return self.list_versions(asked)
                have = self.state_of(name, asked)
                if have is None:
                    return self.error(404, "NoSuchKey")
                status, headers = 200, {"ETag": f'"{hashlib.md5(have).hexdigest()}"'}
                wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
                if wanted:
                    status = 206
                    last = int(wanted[2] or len(have) - 1)
                    headers["Content_Range"] = f"bytes {wanted[1]}-{last}/{len(have)}"
                    have = have[int(wanted[1]):last + 1]
                if cut:
                    self.close_connection = True
                    return self.answer(status, have[:len(have) // 2], Content_Length=str(len(have)), **headers)
                self.answer(status, have, **headers)

            def list(self, asked):
                names = sorted(n for n in store.objects if n.startswith(asked.get("prefix", "")))
                at = int(asked.get("continuation-token", "!0")[1:])
                page = names[at:at + min(store.page, int(asked["max-keys"]))]
                more = at + len(page) < len(names)
                self.answer(200, ("<?xml version='1.0'?><ListBucketResult>" + "".join(
                    f"<Contents><Key>{n}</Key><Size>{len(store.objects[n])}</Size></Contents>" for n in page)
                    + (f"<NextContinuationToken>/{at + len(page)}</NextContinuationToken>" if more else "")
                    + "</ListBucketResult>").encode())

            def on_PUT(self, name, asked, body, cut):
                if "uploadId" in asked:
                    store.uploads[asked["uploadId"]][int(asked["partNumber"])] = body
                else:
                    store.objects[name] = body
                self.answer(200, ETag=f'"{hashlib.md5(body).hexdigest()}"')

            def on_POST(self, name, asked, body, cut):
                if "uploads" in asked:
                    store.uploads["up/load 1"] = {}
                    return self.answer(200, b"<InitiateMultipartUploadResult><UploadId>up/load 1</UploadId>"
                                            b"</InitiateMultipartUploadResult>")
                parts = store.uploads.pop(asked["uploadId"], None)
                if parts is None:
                    return self.error(404, "NoSuchUpload")
                listed = re.findall(rb'<PartNumber>(\d+)</PartNumber><ETag>"([0-9a-f]+)"</ETag>', body)
                if [(int(n), tag.decode()) for n, tag in listed] != [
                        (n, hashlib.md5(parts[n]).hexdigest()) for n in sorted(parts)]:
                    return self.error(400, "InvalidPart")
                store.objects[name] = b"".join(parts[n] for n in sorted(parts))
                self.answer(200, b"<CompleteMultipartUploadResult/>")

            def on_DELETE(self, name, asked, body, cut):
                if "uploadId" in asked:
                    store.uploads.pop(asked["uploadId"], None)
                else:
                    store.objects.pop(name, None)
                self.answer(204)

        self.http = Http(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"
        self.env = {"AWS_ACCESS_KEY_ID": KEY_ID, "AWS_SECRET_ACCESS_KEY": SECRET}
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_) -> None:
        self.http.shutdown()
        self.http.server_close()

    def url(self, prefix: str = "some/where", more: str = "") -> str:
        return f"s3://{BUCKET}/{prefix}?endpoint={self.endpoint}&region={REGION}{more}"
