# SPDX-License-Identifier: MIT
"""A PostgreSQL for one test: the database that TARE_TEST_POSTGRES names (it is emptied), or else a server of
our own, started from the binaries that Debian's package brings."""

from __future__ import annotations

import contextlib
import os
import pathlib
import pwd
import shutil
import subprocess
import sys
import tempfile

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "support"))
from local_http import hold_port  # noqa: E402


def binaries() -> pathlib.Path | None:
    found = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return pathlib.Path(on_path).parent if on_path else found[-1].parent if found else None


def other_user() -> dict:
    """PostgreSQL does not run as root: who runs it then."""
    if os.geteuid():
        return {}
    try:
        who = pwd.getpwnam("postgres")
    except KeyError:
        pytest.skip("root needs a user postgres")
    return {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres():
    """The URL of an empty database."""
    url = os.environ.get("TARE_TEST_POSTGRES")
    if url:
        subprocess.run(["psql", "-q", url, "-c", "DROP SCHEMA public CASCADE; CREATE SCHEMA public"], check=True,
                       stderr=subprocess.DEVNULL)
        yield url
        return
    folder = binaries()
    if not folder:
        pytest.skip("there is no PostgreSQL here, and TARE_TEST_POSTGRES names no database")
    as_user = other_user()
    with tempfile.TemporaryDirectory(prefix="tare-postgres-") as home:
        if as_user:
            os.chown(home, as_user["user"], as_user["group"])
        quiet = {"check": True, "stdout": subprocess.DEVNULL, "cwd": home, **as_user}
        held = hold_port()
        port = held.getsockname()[1]
        subprocess.run([folder / "initdb", "-D", f"{home}/data", "-A", "trust", "-U", "tare", "-N"], **quiet)
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={home} -c fsync=off"
        subprocess.run([folder / "pg_ctl", "-D", f"{home}/data", "-o", options, "-l", f"{home}/log", "-w", "-t", "180",
                        "start"], **quiet)
        try:
            yield f"postgres://tare@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([folder / "pg_ctl", "-D", f"{home}/data", "-m", "immediate", "stop"], **quiet)
            held.close()
