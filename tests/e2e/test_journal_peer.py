# SPDX-License-Identifier: MIT
"""Our .wandb files and the peer's are the same: each side reads what the other wrote.

Three judges: `DataStore` of the Python package (wandb 0.28 is the last that has it), the peer's
Go reader (`wandb-core leet inspect`), and a reader of our own in tests/support.
"""

import json
import os
import pathlib
import random
import struct
import subprocess
import sys

import pytest
import wandb
from wandb.proto import wandb_internal_pb2 as pb

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import peer_program  # noqa: E402
import wandbfile  # noqa: E402

TOOL = pathlib.Path(os.environ.get("TARE_BUILD", ROOT / "build")) / "tests/unit/journal_tool"
PYTHON_028 = os.environ.get("TARE_PYTHON_028", str(ROOT / ".venv-0.28/bin/python"))
BLOCK = 32768


def sizes():
    """Record sizes that end near the end of a block, from everywhere in a block."""
    around = [0, 1, 7, BLOCK - 14, BLOCK - 7, BLOCK, 2 * BLOCK - 14, 2 * BLOCK, 3 * BLOCK]
    out = [max(0, n + d) for n in around for d in range(-8, 9)] + [1_000_000]
    rng = random.Random(3)
    return out + [rng.randrange(2000) for _ in range(300)] + rng.sample(out, len(out))


def bodies():
    rng = random.Random(4)
    return [rng.randbytes(n) for n in sizes()]


def frames(records):
    return b"".join(struct.pack("<I", len(r)) + r for r in records)


def unframed(data):
    at, out = 0, []
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        out.append(data[at + 4 : at + 4 + n])
        at += 4 + n
    return out


def write_ours(path, records):
    subprocess.run([TOOL, "write", path], input=frames(records), check=True)


def read_ours(path):
    p = subprocess.run([TOOL, "read", path], capture_output=True, check=True)
    return unframed(p.stdout), p.stderr.decode().splitlines()


DATASTORE = """
import struct, sys
from wandb.sdk.internal.datastore import DataStore
store, verb, path = DataStore(), sys.argv[1], sys.argv[2]
if verb == "write":
    store.open_for_write(path)
    data, at = sys.stdin.buffer.read(), 0
    while at < len(data):
        (n,) = struct.unpack_from("<I", data, at)
        store._write_data(data[at + 4 : at + 4 + n])
        at += 4 + n
    store.close()
else:
    store.open_for_scan(path)
    while (record := store.scan_data()) is not None:
        sys.stdout.buffer.write(struct.pack("<I", len(record)) + record)
"""


def datastore(verb, path, data=b""):
    return subprocess.run(
        [PYTHON_028, "-c", DATASTORE, verb, path],
        input=data,
        capture_output=True,
        check=True,
    ).stdout


def test_datastore_reads_what_we_write(tmp_path):
    records = bodies()
    write_ours(tmp_path / "a.wandb", records)
    assert unframed(datastore("read", tmp_path / "a.wandb")) == records
    assert list(wandbfile.payloads(tmp_path / "a.wandb")) == records


def test_we_read_what_datastore_writes(tmp_path):
    records = bodies()
    datastore("write", tmp_path / "a.wandb", frames(records))
    got, gaps = read_ours(tmp_path / "a.wandb")
    assert got == records
    assert gaps == []


def test_files_are_the_same_byte_for_byte(tmp_path):
    records = bodies()
    write_ours(tmp_path / "ours.wandb", records)
    datastore("write", tmp_path / "theirs.wandb", frames(records))
    assert (tmp_path / "ours.wandb").read_bytes() == (tmp_path / "theirs.wandb").read_bytes()


def test_existing_file_is_refused(tmp_path):
    path = tmp_path / "a.wandb"
    path.write_bytes(b"precious")
    p = subprocess.run([TOOL, "write", path], input=b"", capture_output=True)
    assert p.returncode == 1
    assert b"already exists" in p.stderr
    assert path.read_bytes() == b"precious"


def history(i, size):
    rec = pb.Record(num=i + 1)
    rec.history.step.num = i
    item = rec.history.item.add(value_json=json.dumps("x" * size))
    item.nested_key.append("text")
    return rec.SerializeToString()


def inspect(path):
    core = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
    p = subprocess.run(
        [core, "leet", "inspect", "--json", "--no-observability", "--run-file", path],
        capture_output=True,
        timeout=120,
    )
    assert p.returncode == 0, p.stderr.decode()
    return [json.loads(line) for line in p.stdout.splitlines()], p.stderr.decode()


def test_the_peers_service_reads_what_we_write(tmp_path):
    rng = random.Random(5)
    records = [history(i, rng.choice([3, 400, 400, 400, 33000, 70000])) for i in range(400)]
    write_ours(tmp_path / "run-a.wandb", records)
    got, errors = inspect(tmp_path / "run-a.wandb")
    assert "corrupt" not in errors and "incomplete" not in errors
    assert len(got) == len(records)


@pytest.mark.parametrize("n", [5, 500])
def test_we_read_what_the_sdk_and_its_service_write(tmp_path, n):
    script = (
        "import wandb\n"
        f"run = wandb.init(mode='offline', project='p', dir={str(tmp_path)!r})\n"
        f"for i in range({n}): run.log({{'i': i, 'big': 'y' * (i % 50 * 700)}})\n"
        "run.finish()\n"
    )
    env = {k: v for k, v in os.environ.items() if k != "WANDB_SERVICE"}
    done = peer_program.run([sys.executable, "-c", script], 120, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    got, gaps = read_ours(path)
    assert gaps == []
    assert got == list(wandbfile.payloads(path))
    kinds = [pb.Record.FromString(r).WhichOneof("record_type") for r in got]
    assert kinds.count("history") == n
    assert kinds[0] == "header" and "exit" in kinds
