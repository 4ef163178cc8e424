# SPDX-License-Identifier: MIT
"""The peer's own `wandb sync` brings our journal to a backend as it brings its own.

A script is run through both services; both run folders are synced by the wandb package with its
wandb-core; what the backend then has of the two runs is compared.
"""

import re
import subprocess
import sys

import pytest

import harness
from facts import LOG_TIME, TIMES, Names
from fake_backend import FakeBackend

SCRIPTS = ["scalars", "nested", "number_kinds", "summary", "config", "metrics", "metric_globs",
           "files", "console", "exit_code", "steps"]
TIMEOUT_S = 60
STATS = {"wandb-events.jsonl"}  # samples of the machine: there or not in a short run


def sync(root, backend):
    env = harness.environment(root, harness.THEIRS)
    env.update(WANDB_BASE_URL=backend.url, WANDB_API_KEY="l" * 40, WANDB_MODE="online")
    folders = sorted(root.glob("wandb/offline-run-*"))
    done = subprocess.run([sys.executable, "-m", "wandb", "sync", "--yes", *map(str, folders)],
                          env=env, cwd=root, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stdout + done.stderr
    return folders


def without_times(value):
    if isinstance(value, dict):
        return {k: "time" if k in TIMES else without_times(v) for k, v in value.items()
                if k not in ("runtime", "startedAt", "writerId", "t", "e", "start_time", "m")}
    if isinstance(value, list):
        return [without_times(v) for v in value]
    return value


def console_line(line):
    """`ERROR 2026-01-02T03:04:05.678901 text`, the first word only on lines of standard error."""
    return re.sub(r"^(ERROR )?\S+ ", lambda found: found[1] or "", line)


def metric_definitions(config):
    """Sorted by name; "5" is the place of the step metric in a list that has no fixed order."""
    found = config.get("_wandb", {}).get("value", {}).get("m", [])
    for metric in found:
        if "5" in metric:
            metric["5"] = found[metric["5"] - 1]["1"]
    return sorted(found, key=lambda metric: metric.get("1", "") + metric.get("2", ""))


def seen_by(backend, folders):
    """What the backend knows of each run, as plain data."""
    found = []
    for folder in folders:
        run_id = folder.name.split("-", 3)[3]
        run = backend.runs[run_id]
        names = Names(folder.parents[1], [run_id])
        upsert = {k: names(str(v)) for k, v in run.upserts[-1].items()
                  if k not in ("config", "id", "summaryMetrics")}
        found.append({
            "history": without_times(run.history),
            "summary": without_times(run.summary),
            "config": {k: v for k, v in run.config.items() if k != "_wandb"},
            "metrics": metric_definitions(run.config),
            "telemetry": run.config.get("_wandb", {}).get("value", {}).get("t"),
            "console": [names(console_line(line)) for line in run.console
                        if "wandb: WARNING" not in line],
            "uploads": sorted(LOG_TIME.sub("TIME", name) for name in run.uploads),
            "exit": run.exit_code,
            "streams": sorted(set(run.lines) - STATS),
            "upsert": upsert,
        })
    return found


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_run_reaches_the_backend(name, tmp_path):
    script = harness.SCRIPTS / f"{name}.py"
    seen = {}
    for side, binary in (("theirs", harness.THEIRS), ("ours", harness.OURS)):
        root = tmp_path / side
        harness.run_script(script, root, binary)
        with FakeBackend() as backend:
            seen[side] = seen_by(backend, sync(root, backend))
        assert seen[side] and all(run["streams"] for run in seen[side]), "nothing was synced"
    lines = harness.differences(seen["theirs"], seen["ours"])
    if lines:
        pytest.fail("\n".join(lines[:300]), pytrace=False)
