# SPDX-License-Identifier: MIT
"""The same script through the peer's service and through ours leaves the same run.

Each file in scripts/ is run twice with the unmodified wandb package, offline: once it starts the
wandb-core of the package, once our binary (as `wandb-core`). What both left behind is compared:
see facts.py. A script's line `# shows: a b` names record kinds that must be there, so that two
empty runs are no success. Differences that we accept are listed in docs/parity.md and taken out
in ACCEPTED.

PARITY_OURS names another binary to compare (the peer's own proves the harness).
"""

import difflib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import wandb

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parent / "support"))

import facts  # noqa: E402
SCRIPTS = sorted((HERE / "scripts").glob("[a-z]*.py"))
THEIRS = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
OURS = pathlib.Path(os.environ.get("PARITY_OURS", ROOT / "build" / "tare"))
TIMEOUT_S = 60
FEWEST_SCRIPTS = 25
MOST_LINES_SHOWN = 300


def environment(root, core):
    keep = {k: v for k, v in os.environ.items() if not k.startswith("WANDB")}
    keep.pop("PYTHONPATH", None)
    return dict(
        keep,
        PYTHONPATH=str(HERE / "site"),
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONHASHSEED="0",
        PARITY_CORE=str(core),
        HOME=str(root / "home"),
        TERM="dumb",
        COLUMNS="80",
        WANDB_MODE="offline",
        WANDB_DIR=str(root),
        WANDB_CACHE_DIR=str(root / "cache"),
        WANDB_CONFIG_DIR=str(root / "config"),
        WANDB_DATA_DIR=str(root / "data"),
        WANDB_ARTIFACT_DIR=str(root / "artifacts"),
        WANDB_ERROR_REPORTING="false",
        WANDB_PROJECT="parity",
    )


def run_script(script, root, binary):
    """Run it in `root/work` with `binary` as the service; (what it printed, its exit code)."""
    (root / "work").mkdir(parents=True)
    (root / "home").mkdir()
    (root / "bin").mkdir()
    core = root / "bin" / "wandb-core"
    core.symlink_to(binary)
    copy = root / "work" / script.name
    copy.write_bytes(script.read_bytes())
    done = subprocess.run(
        [sys.executable, str(copy)], cwd=root / "work", env=environment(root, core),
        capture_output=True, timeout=TIMEOUT_S,
    )
    return {
        "stdout": done.stdout.decode(errors="replace"),
        "stderr": done.stderr.decode(errors="replace"),
        "exit": done.returncode,
    }


def differences(theirs, ours):
    lines = [json.dumps(x, indent=1, sort_keys=True, default=str).splitlines()
             for x in (theirs, ours)]
    return list(difflib.unified_diff(*lines, "wandb-core", "tare", lineterm="", n=4))


def promised(script):
    found = re.search(r"^# shows: (.+)$", script.read_text(), re.M)
    assert found, f"{script.name} has no '# shows:' line"
    return set(found[1].split())


def test_there_are_enough_scripts():
    assert len(SCRIPTS) >= FEWEST_SCRIPTS


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda p: p.stem)
def test_same_run(script, tmp_path):
    found = {}
    for name, binary in (("theirs", THEIRS), ("ours", OURS)):
        root = tmp_path / name
        printed = run_script(script, root, binary)
        found[name] = facts.collect(root, printed)
    kinds = {k for run in found["theirs"]["runs"]
             for k in run.get("journal", {}).get("kinds", [])}
    missing = promised(script) - kinds
    assert not missing, f"{script.name} does not show {missing}: {found['theirs']['printed']}"
    if not all(f["machine"] for f in found.values()):
        for f in found.values():
            del f["machine"]  # one of the two ended before the machine was probed
    lines = differences(found["theirs"], found["ours"])
    if lines:
        pytest.fail("\n".join(lines[:MOST_LINES_SHOWN]), pytrace=False)
