# SPDX-License-Identifier: MIT
"""Programs that use the unmodified SDK, which may be with its own wandb-core."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import subprocess


n_ended = 0  # services that had to be ended in this process's tests


def run(words, timeout: float, **options) -> subprocess.CompletedProcess:
    """As subprocess.run. At its end the SDK sends a teardown, hangs up and waits for its service without a bound; a
    wandb-core that finds nobody to take an answer that it still owes ("flush error: broken pipe" in its log) closes the
    connection with the teardown unread, and both stay for ever. So one that is there after `timeout` is ended: a program
    that waits for nothing else goes on to its own end, for another it is a failure as before. Ours gets no such help."""
    with subprocess.Popen(words, **options) as process:
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            end_peers_services(process.pid)
            try:
                out, err = process.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def end_peers_services(pid: int) -> None:
    global n_ended
    for listed in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, listed.read_text().split()):
                if os.readlink(f"/proc/{child}/exe").endswith("/wandb/bin/wandb-core"):
                    os.kill(child, signal.SIGTERM)
                    n_ended += 1
