# SPDX-License-Identifier: MIT
"""`wandb sync` brings runs to a backend, whichever service wrote the journal and whichever brings it.

A script is run through both services; the run folders are synced by the wandb package: the peer's
with the peer's service (which says how it should be), ours with the peer's, the peer's with ours.
What the backend then has of the runs is compared, and what `wandb sync` prints.
"""

import json
import re
import subprocess
import sys

import pytest

import harness
import peer_program
from facts import LOG_TIME, TIMES, Names, parse
from fake_backend import FakeBackend

SCRIPTS = ["scalars", "nested", "number_kinds", "summary", "config", "metrics", "metric_globs",
           "files", "console", "exit_code", "steps"]
TIMEOUT_S = 100
UNDER_WAY = re.compile(r"wandb: (\[\S+\] )?(up|finish|setting up)")
STATS = {"wandb-events.jsonl"}  # samples of the machine: there or not in a short run


def sync(root, backend, service):
    env = harness.environment(root, service)
    env.update(WANDB_BASE_URL=backend.url, WANDB_API_KEY="l" * 40, WANDB_MODE="online")
    folders = sorted(root.glob("wandb/offline-run-*"))
    done = peer_program.run([sys.executable, "-m", "wandb", "sync", "--yes", *map(str, folders)], TIMEOUT_S,
                            env=env, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert all(list(folder.glob("*.wandb.synced")) for folder in folders), done.stdout + done.stderr
    return folders, done.stdout + done.stderr


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
        metric["6"] = sorted(metric.get("6", []))
    return sorted(found, key=lambda metric: metric.get("1", "") + metric.get("2", ""))


def telemetry(found):
    """Lists of flags have no order."""
    return {k: sorted(v) if isinstance(v, list) else v for k, v in (found or {}).items()}


def said(text, root, folders):
    """Lines that `wandb sync` printed; those of different runs come in any order."""
    names = Names(root, [folder.name.split("-", 3)[3] for folder in folders])
    lines = [names(re.sub(r"http://[^/\s]+", "BACKEND", line)) for line in text.splitlines()]
    return sorted(line for line in lines if not UNDER_WAY.match(line))


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
            "config": {k: parse(json.dumps(v)) for k, v in run.config.items() if k != "_wandb"},
            "metrics": metric_definitions(run.config),
            "telemetry": telemetry(run.config.get("_wandb", {}).get("value", {}).get("t")),
            "console": [names(console_line(line)) for line in run.console
                        if "wandb: WARNING" not in line],
            "uploads": sorted(LOG_TIME.sub("TIME", name) for name in run.uploads),
            "exit": run.exit_code,
            "streams": sorted(set(run.lines) - STATS),
            "upsert": upsert,
        })
    return found


def bring(script, root, writer, service):
    """What the peer leaves that had to be ended is no measure: it is asked again."""
    for n in range(harness.PEER_TRIES):
        before = peer_program.n_ended
        try:
            return bring_once(script, root / str(n), writer, service)
        except (AssertionError, subprocess.TimeoutExpired):
            if peer_program.n_ended == before or n == harness.PEER_TRIES - 1:
                raise


def bring_once(script, root, writer, service):
    harness.run_script(script, root, writer)
    with FakeBackend() as backend:
        folders, text = sync(root, backend, service)
        seen = seen_by(backend, folders)
    assert seen and all(run["streams"] for run in seen), "nothing was synced"
    return {"runs": seen, "said": said(text, root, folders)}


def check_same(theirs, ours):
    lines = harness.differences(theirs, ours)
    if lines:
        pytest.fail("\n".join(lines[:300]), pytrace=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_same_run_reaches_the_backend(name, tmp_path):
    script = harness.SCRIPTS / f"{name}.py"
    right = bring(script, tmp_path / "right", harness.THEIRS, harness.THEIRS)
    check_same(right, bring(script, tmp_path / "our_journal", harness.OURS, harness.THEIRS))
    check_same(right, bring(script, tmp_path / "our_sync", harness.THEIRS, harness.OURS))
