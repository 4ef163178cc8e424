# SPDX-License-Identifier: MIT
"""Every GraphQL document that the installed SDK holds is one that the server knows."""

from __future__ import annotations

import importlib.util
import pathlib
import re

import pytest

from server_support import Server

PACKAGE = pathlib.Path(importlib.util.find_spec("wandb").origin).parent

# Named in docs/coverage.md.
MISSING = {"GetOrgAutomations"}


def documents() -> dict[str, str]:
    """By operation name. The generated ones; those that code puts together are met by the other tests."""
    found = {}
    for path in sorted(PACKAGE.glob("**/_generated/operations.py")):
        for text in re.findall(r'_GQL = """(.*?)"""', path.read_text(), re.S):
            found[re.search(r"(?:query|mutation)\s+(\w+)", text)[1]] = text
    return found


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Server(tmp_path_factory.mktemp("server")) as s:
        s.command("org", "add", "x", "local")
        yield s


def test_all_operations_are_known(server):
    """With variables that name nothing: the answer may be null or an error, but not that a field is unknown."""
    texts = documents()
    assert len(texts) > 70
    unsupported = set()
    for name, text in texts.items():
        variables = {v: {"String": "x", "ID": "x", "Int": 1, "Boolean": False}.get(kind)
                     for v, kind in re.findall(r"\$(\w+): (\w+)", text.split("{", 1)[0])}
        messages = [e["message"] for e in server.graphql(text, variables).get("errors", [])]
        wrong = [m for m in messages if re.search("Cannot query|Unknown (type|argument|fragment)|Syntax", m)]
        assert not wrong, f"{name}: {wrong}"
        if any("is not supported" in m for m in messages):
            unsupported.add(name)
    assert unsupported <= MISSING
