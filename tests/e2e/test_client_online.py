# SPDX-License-Identifier: MIT
"""A C program (examples/hello) that logs online, through our service and through the peer's."""

import os
import pathlib
import subprocess

import pytest
import wandb
from online_support import clean_env
from recording_backend import RecordingBackend
from service_support import ROOT, TARE

PEER = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
HELLO = os.environ.get("TARE_HELLO", str(ROOT / "build" / "examples" / "hello"))


@pytest.mark.parametrize("core", [TARE, PEER], ids=["tare", "wandb-core"])
def test_a_c_program_reaches_the_backend(core, tmp_path):
    with RecordingBackend() as backend:
        env = clean_env(tmp_path, backend.url, core=None, TARE_SERVICE_BIN=str(core))
        done = subprocess.run([HELLO], env=env, cwd=tmp_path, text=True, capture_output=True, timeout=60)
        assert done.returncode == 0, done.stdout + done.stderr
        (run,) = backend.runs.values()
        assert run.exit_code == 0 and run.history and run.upserts[0]["project"]
        assert [row["_step"] for row in run.history] == list(range(len(run.history)))
        assert {"config.yaml", "wandb-summary.json"} <= set(run.uploads)
