# SPDX-License-Identifier: MIT
"""Our messages are the peer's: proto/*.proto against the descriptors in the wandb package.

Both sides are flattened to facts, one a field or enum value, and the two sets must be equal.
A field that is alone in a oneof of its own name stands for proto3 `optional` (protobuf-c knows
no other way): both say "has presence", so both flatten to that.
"""

import glob
import importlib
import os
import pathlib
import subprocess

import pytest
from google.protobuf import descriptor_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
FEWEST_MESSAGES = 295
FEWEST_FIELDS = 1272
FEWEST_VALUES = 102


def oneof_of(message, field):
    """Name of the choice a field is part of; "presence" for an optional field; else ""."""
    if not field.HasField("oneof_index"):
        return ""
    members = [
        f for f in message.field
        if f.HasField("oneof_index") and f.oneof_index == field.oneof_index
    ]
    name = message.oneof_decl[field.oneof_index].name
    if field.proto3_optional or (len(members) == 1 and name == "_" + field.name):
        return "presence"
    return name


def enum_facts(enum, scope):
    path = f"{scope}.{enum.name}"
    facts = {("enum", path)}
    for value in enum.value:
        facts.add(("value", path, value.name, value.number))
    return facts


def message_facts(message, scope):
    path = f"{scope}.{message.name}"
    facts = {("message", path, message.options.map_entry)}
    for field in message.field:
        facts.add((
            "field", path, field.name, field.number, field.type, field.type_name, field.label,
            field.default_value, field.options.packed,
            oneof_of(message, field),
        ))
    for span in message.reserved_range:
        facts.add(("reserved", path, span.start, span.end))
    for name in message.reserved_name:
        facts.add(("reserved name", path, name))
    for nested in message.nested_type:
        facts |= message_facts(nested, path)
    for enum in message.enum_type:
        facts |= enum_facts(enum, path)
    return facts


def file_facts(files):
    facts = set()
    for file in files:
        if not file.package.startswith("wandb"):
            continue
        facts.add(("package", file.package, file.syntax))
        for message in file.message_type:
            facts |= message_facts(message, "." + file.package)
        for enum in file.enum_type:
            facts |= enum_facts(enum, "." + file.package)
    return facts


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    out = tmp_path_factory.mktemp("proto") / "ours.pb"
    sources = sorted(glob.glob(str(ROOT / "proto" / "*.proto")))
    assert sources
    include = subprocess.run(
        ["pkg-config", "--variable=includedir", "libprotobuf-c"],
        check=True, capture_output=True, text=True,
    ).stdout.strip()
    subprocess.run(
        ["protoc", "-I", str(ROOT / "proto"), "-I", include, "-o", str(out), *sources], check=True)
    files = descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())
    return file_facts(files.file)


@pytest.fixture(scope="module")
def theirs():
    import wandb.proto

    files = []
    folder = os.path.dirname(wandb.proto.__file__)
    for path in sorted(glob.glob(os.path.join(folder, "wandb_*_pb2.py"))):
        module = importlib.import_module("wandb.proto." + os.path.basename(path)[: -len(".py")])
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        files.append(file)
    assert len(files) >= 9
    return file_facts(files)


def count(facts, kind):
    return sum(1 for fact in facts if fact[0] == kind)


def test_the_comparison_is_not_empty(ours, theirs):
    for facts in (ours, theirs):
        assert count(facts, "message") >= FEWEST_MESSAGES
        assert count(facts, "field") >= FEWEST_FIELDS
        assert count(facts, "value") >= FEWEST_VALUES


def test_nothing_of_theirs_is_missing_or_different(ours, theirs):
    assert sorted(theirs - ours, key=str) == []


def test_nothing_of_ours_is_unknown_to_them(ours, theirs):
    assert sorted(ours - theirs, key=str) == []
