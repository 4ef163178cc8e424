# SPDX-License-Identifier: MIT
"""The unmodified wandb package with a service of ours (or the peer's), against a backend."""

import json
import os
import pathlib
import subprocess
import sys
import textwrap

from service_support import ROOT, TARE

sys.path.insert(0, str(ROOT / "tests" / "support"))
import peer_program  # noqa: E402
from fake_backend import FakeBackend  # noqa: E402, F401

SITE = str(ROOT / "tests" / "parity" / "site")


def clean_env(folder, url, core=TARE, **more):
    """No settings but these: those of the person who runs the tests stay out."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    env.update(
        HOME=str(folder), WANDB_DIR=str(folder), WANDB_CONFIG_DIR=f"{folder}/config",
        WANDB_CACHE_DIR=f"{folder}/cache", WANDB_DATA_DIR=f"{folder}/data",
        WANDB_BASE_URL=url, WANDB_API_KEY="x" * 40, WANDB_ERROR_REPORTING="false",
        NO_PROXY="127.0.0.1")
    if core:  # else the peer's own
        env.update(PARITY_CORE=str(core), PYTHONPATH=SITE)
    return {**env, **more}


def run_script(folder, url, script, core=TARE, timeout=120, **more):
    """Run a program that imports wandb; its output and exit code."""
    folder = pathlib.Path(folder)
    path = folder / "program.py"
    path.write_text(textwrap.dedent(script))
    return peer_program.run([sys.executable, str(path)], timeout, env=clean_env(folder, url, core, **more), cwd=folder,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


READER = """
import json, sys, wandb
runs = {}
for run in wandb.Api().runs(sys.argv[1], per_page=50, order="+created_at"):
    config = {k: v["value"] for k, v in json.loads(run.json_config).items() if k != "_wandb"}
    history = list(run.scan_history())
    for row in history:
        row.pop("_runtime", None), row.pop("_timestamp", None)
    runs[run.id] = dict(
        name=run.name, state=run.state, tags=run.tags, notes=run.notes, config=config, history=history,
        summary={k: v for k, v in run.summary_metrics.items() if k[0] != "_"},
        files={f.name: f.size for f in run.files()},
        console=[line.content for line in run.console_logs()])
print(json.dumps(runs, default=dict))
"""


def read_runs(folder, server, project):
    """What a `tare server` has of a project, by the SDK's own Api."""
    env = clean_env(folder, server.url, core=None, WANDB_SILENT="true", WANDB_API_KEY=server.key)
    p = peer_program.run([sys.executable, "-c", READER, project], 120, env=env, cwd=folder, text=True,
                         stdout=subprocess.PIPE)
    assert p.returncode == 0, p.stdout
    return json.loads(p.stdout.strip().splitlines()[-1])
