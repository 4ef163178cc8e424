# SPDX-License-Identifier: MIT
"""Google's and Azure's stores for tests, in memory: tokens, signatures and ETags are checked. Written from the
providers' protocol documentation. `with CloudServer() as c:`; c.google and c.azure are the environments.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import subprocess
import urllib.parse

from local_http import Handler, LocalHttp

ACCOUNT, KEY = "acct", base64.b64encode(b"key of the account, 64 bytes at the providers").decode()
TOKEN = "ya29.token"


def etag(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def unbase64(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class CloudServer(LocalHttp):
    def __init__(self, folder) -> None:
        self.folder = folder
        self.objects: dict[str, bytes] = {}   # "bucket/key"
        self.versions: dict[str, list[tuple[str, bytes]]] = {}
        self.requests: list[str] = []
        self.page = 1000
        self.auth = "key"                     # Azure: key, sas, bearer, none. Google: bearer or none
        self.cut: list[int] = []              # answers with content that break off
        self.etag_changes = False

    # -- who asks --------------------------------------------------------------------------

    def token(self, path: str, form: dict) -> bool:
        if form["grant_type"] == "client_credentials":
            return path == "/tenant/oauth2/v2.0/token" and form["client_secret"] == "s+ecret" and form["client_id"] == "id"
        if form["grant_type"] == "refresh_token":
            return (form["refresh_token"], form["client_id"], form["client_secret"]) == ("r/1", "id", "s+ecret")
        head, claims, signature = form["assertion"].split(".")
        (self.folder / "signature").write_bytes(unbase64(signature))
        said = json.loads(unbase64(claims))
        return (form["grant_type"] == "urn:ietf:params:oauth:grant-type:jwt-bearer"
                and json.loads(unbase64(head)) == {"alg": "RS256", "typ": "JWT", "kid": "k1"}
                and said["iss"] == "me@project" and said["aud"] == self.url + "/token"
                and said["exp"] - said["iat"] == 3600
                and subprocess.run(["openssl", "dgst", "-sha256", "-verify", str(self.folder / "public.pem"), "-signature",
                                    str(self.folder / "signature")], input=f"{head}.{claims}".encode(),
                                   capture_output=True).returncode == 0)

    def service_account(self) -> dict[str, str]:
        pem = self.folder / "private.pem"
        subprocess.run(["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", str(pem)],
                       check=True, capture_output=True)
        subprocess.run(["openssl", "pkey", "-in", str(pem), "-pubout", "-out", str(self.folder / "public.pem")], check=True)
        return self.google(type="service_account", client_email="me@project", private_key=pem.read_text(),
                           private_key_id="k1", token_uri=self.url + "/token")

    def google(self, **credentials) -> dict[str, str]:
        path = self.folder / "google.json"
        path.write_text(json.dumps(credentials))
        return {"GOOGLE_APPLICATION_CREDENTIALS": str(path), "CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE": self.url}

    def is_signed(self, method: str, path: str, query: list[tuple[str, str]], headers) -> bool:
        said = headers.get("Authorization", "")
        if self.auth == "none":
            return said == ""
        if self.auth == "bearer":
            return said == f"Bearer {TOKEN}"
        if self.auth == "sas":
            return ("sig", "s+ig") in query and said == ""
        lines = [method] + [""] * 10 + [headers.get("Range", "")]
        lines += [f"{n}:{headers[n]}" for n in ("x-ms-date", "x-ms-version")]
        lines += [f"/{ACCOUNT}{path}"] + [f"{k}:{v}" for k, v in sorted(query)]
        mac = hmac.new(base64.b64decode(KEY), "\n".join(lines).encode(), hashlib.sha256).digest()
        return said == f"SharedKey {ACCOUNT}:{base64.b64encode(mac).decode()}"

    def state(self, name: str, version: str | None) -> bytes | None:
        return dict(self.versions.get(name, [])).get(version) if version else self.objects.get(name)

    def handler(self):
        store = self

        class Http(Handler):
            def content(self, body, tag):
                wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
                status, headers = (206, {"Content_Range": f"bytes {wanted[1]}-{len(body) - 1}/{len(body)}"}) if wanted else (200, {})
                body = body[int(wanted[1]) if wanted else 0:]
                cut = store.cut.pop(0) if self.command == "GET" and store.cut else None
                self.reply(status, body, cut, ETag=tag, **headers)

            def do_POST(self):
                form = dict(urllib.parse.parse_qsl(self.body().decode()))
                good = store.token(self.path, form)
                self.reply(200 if good else 401, json.dumps({"access_token": TOKEN} if good else {"error": "no"}).encode())

            def do_GET(self):
                path, _, raw = self.path.partition("?")
                query = urllib.parse.parse_qsl(raw, keep_blank_values=True)
                asked = dict(query)
                store.requests.append(f"{self.command} {self.path}")
                if path.startswith("/plain/"):
                    have = store.objects.get(path[7:])
                    return self.content(have, f'"{etag(have)}"') if have is not None else self.reply(404, b"none")
                if not store.is_signed(self.command, path, query, self.headers):
                    return self.reply(403, b"not signed")
                if path.startswith("/storage/v1/b/"):
                    return self.google(path, asked)
                self.azure(urllib.parse.unquote(path[1:]), asked)

            do_HEAD = do_GET

            def google(self, path, asked):
                bucket, _, key = path[len("/storage/v1/b/"):].partition("/o")
                if not key:
                    names = sorted(n for n in store.objects if n.startswith(f"{bucket}/{asked['prefix']}"))
                    at = int(asked.get("pageToken", "0"))
                    more = {"nextPageToken": str(at + store.page)} if at + store.page < len(names) else {}
                    return self.reply(200, json.dumps({"items": [{"name": n[len(bucket) + 1:]} for n in names[at:at + store.page]],
                                                       **more}).encode())
                assert "/" not in key[1:]
                have = store.state(f"{bucket}/{urllib.parse.unquote(key[1:])}", asked.get("generation"))
                if have is None:
                    return self.reply(404, b"no such object")
                if asked.get("alt") == "media":
                    return self.content(have, "other")
                self.reply(200, json.dumps({"etag": etag(have)}).encode(), ETag="of the metadata")

            def azure(self, name, asked):
                if asked.get("comp") == "list":
                    names = sorted(n for n in store.objects if n.startswith(f"{name}/{asked['prefix']}"))
                    at = int(asked.get("marker", "0"))
                    more = f"<NextMarker>{at + store.page}</NextMarker>" if at + store.page < len(names) else "<NextMarker />"
                    items = "".join(f"<Blob><Name>{n[len(name) + 1:]}</Name></Blob>" for n in names[at:at + store.page])
                    if asked.get("include") == "versions":
                        items = "".join(f"<Blob><Name>{n[len(name) + 1:]}</Name><VersionId>{i}</VersionId><Properties><Etag>"
                                        f"{etag(c)}</Etag></Properties></Blob>" for n, all in store.versions.items() for i, c in all)
                    return self.reply(200, f"<?xml version='1.0'?><EnumerationResults><Blobs>{items}</Blobs>{more}"
                                           "</EnumerationResults>".encode())
                have = store.state(name, asked.get("versionid"))
                if have is None:
                    return self.reply(404, b"no such blob")
                self.content(have, f'"{etag(have)}"')

        return Http
