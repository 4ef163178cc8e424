# SPDX-License-Identifier: MIT
"""The older generation of the client (wandb 0.28) with our binary.

Its own wandb-core is the judge, as in test_parity.py; a few scripts that go through most kinds
of records. PARITY_OLD_PYTHON names the interpreter that has it.
"""

import os
import pathlib
import subprocess

import pytest

import harness

PYTHON = pathlib.Path(os.environ.get("PARITY_OLD_PYTHON",
                                     harness.ROOT / ".venv-0.28" / "bin" / "python"))
SCRIPTS = ["scalars", "nested", "summary", "metric_globs", "console", "files", "several_runs",
           "attach_child", "exit_code", "artifacts"]


@pytest.fixture(scope="module")
def their_core():
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} does not exist (make test makes it)")
    code = "import wandb, pathlib; print(wandb.__version__, pathlib.Path(wandb.__file__).parent)"
    version, folder = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True,
                                     text=True).stdout.split()
    assert version.startswith("0.28.")
    return pathlib.Path(folder) / "bin" / os.environ.get("PARITY_OLD_CORE", "wandb-core")


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_run_with_the_old_client(name, their_core, tmp_path):
    script = harness.SCRIPTS / f"{name}.py"
    theirs = harness.left_by(script, tmp_path / "theirs", their_core, PYTHON)
    harness.check_the_script_did_its_work(script, theirs)
    harness.compare(theirs, harness.left_by(script, tmp_path / "ours", harness.OURS, PYTHON), script)
