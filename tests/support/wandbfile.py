# SPDX-License-Identifier: MIT
"""A strict reader of .wandb files for tests and benchmarks: any damage is an error.

The format is that of src/journal/format.h, written here a second time on purpose, so that the C
reader and writer are not judged by themselves. (The SDK's own reader, `DataStore`, exists up to
wandb 0.28; test_journal_peer.py uses it.)
"""

from __future__ import annotations

import struct
import zlib

from wandb.proto import wandb_internal_pb2 as pb

BLOCK = 32768
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


class BadFile(Exception):
    pass


def payloads(path: str):
    """Yield each record's bytes, in order."""
    with open(path, "rb") as f:
        data = f.read()
    if data[:4] != b":W&B":
        raise BadFile(f"{path}: no .wandb header")
    at, parts = 7, None
    while at < len(data):
        left = BLOCK - at % BLOCK
        if left < 7:
            if any(data[at : at + left]):
                raise BadFile(f"{path}: padding is not zero at {at}")
            at += left
            continue
        if len(data) - at < 7:
            raise BadFile(f"{path}: torn chunk header at {at}")
        crc, size, kind = struct.unpack_from("<IHB", data, at)
        end = at + 7 + size
        if size > left - 7 or end > len(data):
            raise BadFile(f"{path}: torn chunk at {at}")
        if zlib.crc32(data[at + 6 : end]) != crc:
            raise BadFile(f"{path}: wrong checksum at {at}")
        if kind not in (FULL, FIRST, MIDDLE, LAST) or (parts is None) != (kind in (FULL, FIRST)):
            raise BadFile(f"{path}: chunk of kind {kind} out of place at {at}")
        parts = [] if parts is None else parts
        parts.append(data[at + 7 : end])
        if kind in (FULL, LAST):
            yield b"".join(parts)
            parts = None
        at = end
    if parts is not None:
        raise BadFile(f"{path}: the last record is cut off")


def records(path: str) -> list[pb.Record]:
    return [pb.Record.FromString(data) for data in payloads(path)]
