# SPDX-License-Identifier: MIT
"""The older generation of the client (wandb 0.28) with our binary.

A few scripts that go through most kinds of records; the judge is the wandb-core of 0.31, as in
test_parity.py (that of 0.28 keeps no output.log offline, but a file of sync state). PARITY_OLD_PYTHON
names the interpreter that has the client.
"""

import os
import pathlib
import subprocess

import pytest

import harness

PYTHON = pathlib.Path(os.environ.get("PARITY_OLD_PYTHON",
                                     harness.ROOT / ".venv-0.28" / "bin" / "python"))
SCRIPTS = ["scalars", "nested", "summary", "console", "files", "several_runs",
           "attach_child", "exit_code", "artifacts"]


@pytest.fixture(scope="module", autouse=True)
def old_client():
    if not PYTHON.exists():
        pytest.skip(f"{PYTHON} does not exist (make test makes it)")
    code = "import wandb; print(wandb.__version__)"
    found = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.startswith("0.28.")


def take_expanded(found):
    """Remove, and give back, what is told of the metrics that a glob has made: before which row, name, step
    metric, summary. Those of one row come in any order: that service goes through a map of Go's
    (core/internal/runmetric/runmetric.go, createGlobMetrics)."""
    taken = []
    for run in found["runs"]:
        defined = run["journal"]["metric"]
        taken += sorted((m["before_row"], m["name"], m.get("step_metric"), m.get("summary"))
                        for m in defined if m.get("expanded_from_glob"))
        run["journal"]["metric"] = [m for m in defined if not m.get("expanded_from_glob")]
    return taken


def test_globs_are_expanded_as_the_service_of_that_client_does(tmp_path):
    """A client of 0.28 asks for it (x_server_side_expand_glob_metrics); the wandb-core of 0.31 knows nothing of it."""
    script = harness.SCRIPTS / "metric_globs.py"
    core, = PYTHON.parent.parent.glob("lib/python3*/site-packages/wandb/bin/wandb-core")
    theirs = take_expanded(harness.left_by(script, tmp_path / "theirs", core, PYTHON))
    ours = harness.left_by(script, tmp_path / "ours", harness.OURS, PYTHON)
    assert theirs and take_expanded(ours) == theirs
    harness.compare(harness.left_by(script, tmp_path / "newer", harness.THEIRS, PYTHON), ours, script)


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_run_with_the_old_client(name, tmp_path):
    script = harness.SCRIPTS / f"{name}.py"
    harness.check_same_run(script, tmp_path, harness.THEIRS, PYTHON)
