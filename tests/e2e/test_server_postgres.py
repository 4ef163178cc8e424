# SPDX-License-Identifier: MIT
"""Tests that speak of the server's rows, once more with each server on a PostgreSQL database of its own."""

from __future__ import annotations

import os
import pathlib
import subprocess
import sys

import pytest

from postgres_support import postgres
from server_support import DATABASES

HERE = pathlib.Path(__file__).parent


@pytest.fixture(scope="module")
def databases():
    if DATABASES:
        pytest.skip("all tests are on PostgreSQL")
    with postgres() as url:
        yield url


@pytest.mark.timeout(900)
@pytest.mark.parametrize("tests", ["webhooks", "walk", "people", "registry", "launch", "lists", "life -k users_by_command_line or teams"])
def test_on_postgres(databases, tests):
    name, *options = tests.split(" ", 2)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "--timeout=300",
                           str(HERE / f"test_server_{name}.py"), *options], text=True, stdout=subprocess.PIPE,
                          env={**os.environ, "TARE_TEST_DATABASES": databases}, cwd=HERE.parents[1])
    assert done.returncode == 0, done.stdout[-8000:]
    assert " passed" in done.stdout and "skipped" not in done.stdout
