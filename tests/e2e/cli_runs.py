# SPDX-License-Identifier: MIT
"""Runs for the tests of the command line, made by the unmodified SDK: through its own service, and
through Tare's."""

from __future__ import annotations

import json
import math
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
import peer_program  # noqa: E402

TARE = pathlib.Path(os.environ.get("TARE_BUILD", ROOT / "build")) / "tare"

ROWS = 120


def clean_env(**more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB") and k != "NO_COLOR"}
    env.update({"LC_ALL": "C.UTF-8", "COLUMNS": "100", "WANDB_SILENT": "true", "WANDB_MODE": "offline"})
    env.update(more)
    return env


def tare(*words, env=None, **kw):
    """Run a verb; text in and out."""
    kw.setdefault("capture_output", True)
    kw.setdefault("timeout", 120)
    return subprocess.run([TARE, *map(str, words)], text=True, env=clean_env(**(env or {})), **kw)


def rows():
    """What the script logs, row by row."""
    out = []
    for i in range(ROWS):
        row = {
            "loss": math.exp(-i / 30) + 0.05 * math.sin(i),
            "acc": 1 - math.exp(-i / 40),
            "lr": 0.1 / (i + 1),
            "n": {"a": i, "b": {"c": i * 2.5}},
            "big": 2**60 + i,
        }
        if i % 10 == 0:
            row["epoch"] = i // 10
            row["val/loss"] = math.cos(i)
        if i in (5, 6, 7):
            row["odd"] = [math.nan, math.inf, -math.inf][i - 5]
        if i == 8:
            row.update(text='a "q", b\nc \u00e9\U0001f600', flag=True, nothing=None, list=[1, {"x": None}])
        out.append(row)
    return out


SCRIPT = """
import json, sys, math
sys.path.insert(0, {here!r})
import wandb, cli_runs
run = wandb.init(mode="offline", project="proj", name="first try", notes="n1", tags=["a", "b"],
                 dir=sys.argv[1], config={{"lr": 1e-3, "layers": [1, 2], "opt": {{"name": "adam", "wd": None}},
                                          "esc": "\\x1b[31mred"}})
run.define_metric("acc", summary="max")
run.define_metric("loss", summary="min,mean")
run.define_metric("val/*", step_metric="epoch")
for i, row in enumerate(cli_runs.rows()):
    if i == cli_runs.ROWS - 1:
        row["conf"] = wandb.Table(columns=["actual", "predicted", "count"],
                                  data=[[0, 0, 10], [0, 1, 2], [1, 1, 2021]])
        row["hist"] = wandb.Histogram(list(range(100)))
    run.log(row)
    if i % 50 == 0:
        print("line", i, flush=True)
run.summary["best"] = {{"a": 1, "b": [1, 2]}}
run.summary["acc_explicit"] = 3
run.alert("title", "text of the alert")
run.finish(exit_code=int(sys.argv[2]))
"""


def make(directory, by, exit_code=0):
    """Make a run through `by` ("peer" or "tare"); returns its journal."""
    script = SCRIPT.format(here=str(pathlib.Path(__file__).parent))
    words = [sys.executable, "-c", script, str(directory), str(exit_code)]
    if by == "tare":
        words = [str(TARE), "run", "--", *words]
    done = peer_program.run(words, 120, env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
    (journal,) = pathlib.Path(directory).glob("wandb/offline-run-*/run-*.wandb")
    return journal


def peer_view(journal):
    """What the peer's own reader makes of a journal."""
    import wandb

    core = pathlib.Path(wandb.__file__).parent / "bin" / "wandb-core"
    p = subprocess.run(
        [core, "leet", "inspect", "--summary", "--json", "--no-observability", "--run-file", journal],
        capture_output=True,
        check=True,
        timeout=120,
    )
    return json.loads(p.stdout)
