# SPDX-License-Identifier: MIT
"""Running one script with a service of our choice, and comparing what two of them left."""

import copy
import difflib
import json
import os
import pathlib
import re
import subprocess
import sys

import pytest
import wandb

import facts
import peer_program

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
SCRIPTS = HERE / "scripts"
THEIRS = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
OURS = pathlib.Path(os.environ.get("PARITY_OURS", ROOT / "build" / "tare"))
TIMEOUT_S = 100
MOST_LINES_SHOWN = 300
PEER_TRIES = 3


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


def run_script(script, root, binary, python=sys.executable):
    """Run it in `root/work` with `binary` as the service; what it printed and its exit code."""
    (root / "work").mkdir(parents=True)
    (root / "home").mkdir()
    (root / "bin").mkdir()
    core = root / "bin" / "wandb-core"
    core.symlink_to(binary)
    copy = root / "work" / script.name
    copy.write_bytes(script.read_bytes())
    done = peer_program.run(
        [str(python), str(copy)], TIMEOUT_S, cwd=root / "work", env=environment(root, core),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
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


def accepted(script):
    """Files of the run folder in which the two may differ; docs/parity.md says why."""
    found = re.search(r"^# accepts: (.+)$", script.read_text(), re.M)
    return found[1].split() if found else []


def compare(theirs, ours, script=None):
    for found in (theirs, ours):
        for run in found["runs"]:
            for name in accepted(script) if script else ():
                assert run["left"].pop(f"files/{name}", None), f"no {name}"
    if not (theirs["machine"] and ours["machine"]):  # one ended before the machine was probed
        theirs, ours = dict(theirs, machine=None), dict(ours, machine=None)
    lines = differences(theirs, ours)
    if lines:
        pytest.fail("\n".join(lines[:MOST_LINES_SHOWN]), pytrace=False)


def left_by(script, root, binary, python=sys.executable):
    """Facts of what `script` leaves below `root` with `binary` as the service."""
    return facts.collect(root, run_script(script, root, binary, python))


def check_same_run(script, root, judge, python=sys.executable):
    """`script` leaves the same with our service as with the one at `judge`."""
    ours = left_by(script, root / "ours", OURS, python)

    def check(theirs):
        check_the_script_did_its_work(script, theirs)
        compare(theirs, copy.deepcopy(ours), script)

    judged_by_peer(lambda n: left_by(script, root / f"theirs{n}", judge, python), check)


def judged_by_peer(peer, judge):
    """`judge(peer(n))` for n = 0, 1, ... until it passes, PEER_TRIES at most; the last one's failure is the test's. Now
    and then a wandb-core hangs, or is ended with a part unsaid (peer_program.run): what such a one leaves is no measure,
    so `peer(n)` makes it anew. Ours is made once, outside, and has to be the same as what the peer leaves."""
    for n in range(PEER_TRIES):
        try:
            return judge(peer(n))
        except (AssertionError, pytest.fail.Exception, subprocess.TimeoutExpired):
            if n == PEER_TRIES - 1:
                raise


def promised(script):
    found = re.search(r"^# shows: (.+)$", script.read_text(), re.M)
    assert found, f"{script.name} has no '# shows:' line"
    return set(found[1].split())


def check_the_script_did_its_work(script, found):
    kinds = {k for run in found["runs"] for k in run.get("journal", {}).get("kinds", [])}
    missing = promised(script) - kinds
    assert not missing, f"{script.name} does not show {missing}: {found['printed']}"
    if "raise" not in script.read_text():
        assert "Traceback" not in found["printed"]["stderr"], found["printed"]["stderr"]
