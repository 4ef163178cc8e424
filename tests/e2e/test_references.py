# SPDX-License-Identifier: MIT
"""References of artifacts, fetched by download_artifact from stand-ins of the stores, which check signatures."""

import hashlib
import random

import pytest

from test_download import Getter, getter  # noqa: F401
from cloud_server import ACCOUNT, KEY, CloudServer, etag
from object_store import ObjectStore
from s3_server import BUCKET, KEY_ID, REGION, SECRET, S3Server

BIG = random.Random(2).randbytes(2_000_000)


def md5(content):
    return hashlib.md5(content).hexdigest()


def store_of(**entries):
    store = ObjectStore({"file": b"a file beside"})
    for path, (ref, digest, size, *extra) in entries.items():
        store.entries[path] = {"ref": ref, "digest": digest or ref, "size": size, "extra": extra[0] if extra else {}}
    return store


@pytest.fixture
def s3():
    with S3Server() as s:
        yield s


@pytest.fixture
def cloud(tmp_path):
    with CloudServer(tmp_path) as c:
        yield c


def s3_env(s3):
    return {**s3.env, "AWS_REGION": REGION, "AWS_ENDPOINT_URL_S3": s3.endpoint}


# -- S3 ------------------------------------------------------------------------------------


def test_s3_object_and_the_cache(getter, s3):
    s3.objects["deep/a b+c.bin"] = BIG
    with store_of(got=(f"s3://{BUCKET}/deep/a b+c.bin", md5(BIG), len(BIG))) as store:
        assert getter.get(store, **s3_env(s3)) == ""
        assert getter.tree() == {"file": b"a file beside", "got": BIG}
        assert [m for m, _ in s3.requests] == ["HEAD", "GET"]
        assert getter.get(store, root=getter.folder / "again", **s3_env(s3)) == ""
        assert getter.tree()["got"] == BIG and len(s3.requests) == 2


def test_s3_broken_off(getter, s3):
    s3.objects["x"] = BIG
    s3.faults = [("GET", "cut"), ("GET", 503), ("HEAD", 500)]
    with store_of(got=(f"s3://{BUCKET}/x", md5(BIG), len(BIG))) as store:
        assert getter.get(store, skip_cache=True, **s3_env(s3)) == "" and getter.tree()["got"] == BIG


def test_s3_versions(getter, s3):
    s3.objects["x"] = b"now"
    s3.versions = {"x": [("v2", b"now"), ("v1", b"then")], "x2": [("v9", b"then")]}
    with store_of(named=(f"s3://{BUCKET}/x", md5(b"then"), 4, {"versionID": "v1"}),
                  found=(f"s3://{BUCKET}/x", md5(b"then"), 4)) as store:
        assert getter.get(store, **s3_env(s3)) == ""
        assert getter.tree() == {"file": b"a file beside", "named": b"then", "found": b"then"}
    with store_of(other=(f"s3://{BUCKET}/x", md5(b"never"), 4, {"versionID": "v1"})) as store:
        assert "digest/etag mismatch: etag" in getter.get(store, root=getter.folder / "2", **s3_env(s3))
    with store_of(other=(f"s3://{BUCKET}/x", md5(b"never"), 4)) as store:
        assert "digest/etag mismatch: unable to find version" in getter.get(store, root=getter.folder / "3", **s3_env(s3))
        assert "other" not in getter.tree()


def test_s3_prefix(getter, s3):
    s3.page = 3
    for i in range(10):
        s3.objects[f"all/{i}/x"] = b"%d" % i
    s3.objects["all/folder/"] = b""
    s3.objects["other"] = b""
    with store_of(folder=(f"s3://{BUCKET}/all/", None, 0)) as store:
        assert getter.get(store, **s3_env(s3)) == ""
        assert getter.tree() == {"file": b"a file beside", **{f"folder/{i}/x": b"%d" % i for i in range(10)}}
    s3.objects["all/../../evil"] = b"evil"
    with store_of(folder=(f"s3://{BUCKET}/all/", None, 0)) as store:
        assert "leaves the folder" in getter.get(store, root=getter.folder / "2", **s3_env(s3))
    assert not (getter.folder / "evil").exists()


def test_s3_profile(getter, s3):
    s3.objects["x"] = b"profile"
    (getter.folder / ".aws").mkdir()
    (getter.folder / ".aws/credentials").write_text(
        f"[default]\naws_access_key_id = no\naws_secret_access_key = no\n[mine]\n aws_access_key_id={KEY_ID}\n"
        f"aws_secret_access_key = {SECRET}\n")
    (getter.folder / ".aws/config").write_text(f"[profile mine]\nregion = {REGION}\nendpoint_url = {s3.endpoint}\n")
    with store_of(got=(f"s3://{BUCKET}/x", md5(b"profile"), 7)) as store:
        assert getter.get(store, AWS_PROFILE="mine") == "" and getter.tree()["got"] == b"profile"
        assert "403" in getter.get(store, root=getter.folder / "2", skip_cache=True, AWS_ENDPOINT_URL=s3.endpoint, AWS_REGION=REGION)


def test_a_missing_reference(getter, s3):
    with store_of(gone=(f"s3://{BUCKET}/gone", md5(b""), 4)) as store:
        assert f"reference s3://{BUCKET}/gone: " in getter.get(store, **s3_env(s3))
        assert getter.get(store, may_miss=True, **s3_env(s3)) == ""
        assert "Not downloaded: reference" in getter.told[0] and getter.tree() == {"file": b"a file beside"}


# -- Google --------------------------------------------------------------------------------


def google_store():
    return store_of(got=("gs://bucket/deep/a b.bin", etag(BIG), len(BIG)), old=("gs://bucket/v", etag(b"then"), 4, {"versionID": 17}),
                    all=("gs://bucket/many/", None, 0), folder=("gs://bucket/dir", "x", 0))


def put_google(cloud):
    cloud.objects.update({"bucket/deep/a b.bin": BIG, "bucket/v": b"now", "bucket/dir/": b"",
                          **{f"bucket/many/{i}": b"%d" % i for i in range(5)}})
    cloud.versions = {"bucket/v": [("17", b"then")]}
    cloud.page = 2
    cloud.cut = [700_000]


GOOGLE = {"file": b"a file beside", "got": BIG, "old": b"then", **{f"all/{i}": b"%d" % i for i in range(5)}}


@pytest.mark.parametrize("kind", ["service account", "user", "anonymous"])
def test_google(getter, cloud, kind):
    put_google(cloud)
    cloud.auth = "none" if kind == "anonymous" else "bearer"
    env = (cloud.service_account() if kind == "service account" else
           cloud.google(type="authorized_user", client_id="id", client_secret="s+ecret", refresh_token="r/1", token_uri=cloud.url + "/token")
           if kind == "user" else {"STORAGE_EMULATOR_HOST": cloud.url[len("http://"):]})
    with google_store() as store:
        assert getter.get(store, **env) == ""
        assert getter.tree() == GOOGLE
    with store_of(got=("gs://bucket/v", etag(b"then"), 4)) as store:
        assert "digest/etag mismatch: etag" in getter.get(store, root=getter.folder / "2", skip_cache=True, **env)


def test_google_credentials_that_are_refused(getter, cloud):
    with google_store() as store:
        env = cloud.google(type="authorized_user", client_id="id", client_secret="no", refresh_token="r/1", token_uri=cloud.url + "/token")
        assert "no access token from" in getter.get(store, **env)
        assert "not supported" in getter.get(store, **cloud.google(type="external_account"))
        env = cloud.google(type="service_account", client_email="a@b", private_key="no key")
        assert "private key" in getter.get(store, **env)


# -- Azure ---------------------------------------------------------------------------------


def azure_env(cloud, kind):
    where = {"AZURE_STORAGE_SERVICE_ENDPOINT": cloud.url}
    return {
        "key": {**where, "AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_KEY": KEY},
        "connection": {"AZURE_STORAGE_CONNECTION_STRING": f"AccountName={ACCOUNT};AccountKey={KEY};BlobEndpoint={cloud.url}/"},
        "sas": {**where, "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=s%2Big"},
        "bearer": {**where, "AZURE_TENANT_ID": "tenant", "AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": "s+ecret",
                   "AZURE_AUTHORITY_HOST": cloud.url},
        "none": where,
    }[kind]


@pytest.mark.parametrize("kind", ["key", "connection", "sas", "bearer", "none"])
def test_azure(getter, cloud, kind):
    cloud.auth = "key" if kind == "connection" else kind
    cloud.objects.update({"box/deep/a b.bin": BIG, "box/v": b"now", **{f"box/many/{i}": b"%d" % i for i in range(5)}})
    cloud.versions = {"box/v": [("2026-01-01T00:00:00Z", b"then")]}
    cloud.page = 2
    cloud.cut = [700_000]
    env = azure_env(cloud, kind)
    base = f"https://{ACCOUNT}.blob.core.windows.net/box"
    with store_of(got=(f"{base}/deep/a%20b.bin", etag(BIG), len(BIG)), found=(f"{base}/v", etag(b"then"), 4),
                  named=(f"{base}/v", etag(b"then"), 4, {"versionID": "2026-01-01T00:00:00Z"}),
                  all=(f"{base}/many", None, 0)) as store:
        assert getter.get(store, **env) == ""
        assert getter.tree() == {"file": b"a file beside", "got": BIG, "found": b"then", "named": b"then",
                                 **{f"all/{i}": b"%d" % i for i in range(5)}}
    with store_of(other=(f"{base}/v", etag(b"never"), 4)) as store:
        assert "unable to find version" in getter.get(store, root=getter.folder / "2", **env)


def test_azures_key_is_not_for_other_accounts(getter, cloud):
    cloud.auth = "none"
    cloud.objects["box/x"] = b"open"
    with store_of(got=("https://someone.blob.core.windows.net/box/x", etag(b"open"), 4)) as store:
        assert getter.get(store, **azure_env(cloud, "key")) == "" and getter.tree()["got"] == b"open"


# -- the rest ------------------------------------------------------------------------------


def test_http(getter, cloud):
    cloud.objects.update({"x": BIG, "y": b"now"})
    cloud.cut = [500_000]
    with store_of(got=(cloud.url + "/plain/x", etag(BIG), len(BIG)), any=(cloud.url + "/plain/y", None, 0)) as store:
        assert getter.get(store) == ""
        assert getter.tree() == {"file": b"a file beside", "got": BIG, "any": b"now"}
    with store_of(got=(cloud.url + "/plain/y", etag(b"then"), 4)) as store:
        assert "digest/etag mismatch: etag" in getter.get(store, root=getter.folder / "2")
        assert "got" not in getter.tree()


def test_what_is_the_programs(getter):
    with store_of(a=("file:///etc/hostname", "x", 4), b=("wandb-artifact://abc/x", "x", 4), c=("ftp://x/y", None, 1)) as store:
        assert getter.get(store) == "" and getter.tree() == {"file": b"a file beside"}


def test_many_references(getter, s3):
    for i in range(150):
        s3.objects[f"k{i}"] = b"%d" % i * 100
    with store_of(**{f"r{i}": (f"s3://{BUCKET}/k{i}", md5(b"%d" % i * 100), 0 if i % 2 else len(b"%d" % i * 100)) for i in range(150)}) as store:
        assert getter.get(store, **s3_env(s3)) == ""
        assert getter.tree() == {"file": b"a file beside", **{f"r{i}": b"%d" % i * 100 for i in range(150)}}
        store.entries["bad"] = {"ref": f"s3://{BUCKET}/none", "digest": "x", "size": 1}
        assert "reference" in getter.get(store, root=getter.folder / "2", **s3_env(s3))
