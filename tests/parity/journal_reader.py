# SPDX-License-Identifier: MIT
"""Reading a .wandb file strictly: whole chunks, good checksums, numbers without gaps."""

import struct
import zlib

from wandb.proto import wandb_internal_pb2 as pb

BLOCK_BYTES = 32768
CHUNK_HEADER = struct.Struct("<IHB")  # crc32 of type and data, length, type
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


def payloads(path):
    data = path.read_bytes()
    assert data[:4] == b":W&B" and data[6] == 0, f"{path}: bad header {data[:7]!r}"
    pos, parts = 7, None
    while pos < len(data):
        left = BLOCK_BYTES - pos % BLOCK_BYTES
        if left < CHUNK_HEADER.size:
            assert not any(data[pos:pos + left]), f"{path}: padding is not zero at {pos}"
            pos += left
            continue
        crc, size, kind = CHUNK_HEADER.unpack_from(data, pos)
        end = pos + CHUNK_HEADER.size + size
        assert size <= left - CHUNK_HEADER.size and end <= len(data), f"{path}: cut at {pos}"
        assert zlib.crc32(data[pos + 6:end]) == crc, f"{path}: bad checksum at {pos}"
        assert (parts is None) == (kind in (FULL, FIRST)), f"{path}: chunk {kind} at {pos}"
        body = data[pos + CHUNK_HEADER.size:end]
        parts = body if parts is None else parts + body
        if kind in (FULL, LAST):
            yield parts
            parts = None
        pos = end
    assert parts is None, f"{path}: cut record"


def records(path):
    """All records of the file, in order."""
    found = [pb.Record.FromString(raw) for raw in payloads(path)]
    assert [r.num for r in found] == list(range(1, len(found) + 1)), f"{path}: numbers"
    return found
