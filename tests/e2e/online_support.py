# SPDX-License-Identifier: MIT
"""The unmodified wandb package with a service of ours (or the peer's), against a backend."""

import os
import pathlib
import subprocess
import sys
import textwrap

from service_support import ROOT, TARE

sys.path.insert(0, str(ROOT / "tests" / "support"))
from fake_backend import FakeBackend  # noqa: E402, F401

SITE = str(ROOT / "tests" / "parity" / "site")


def clean_env(folder, url, core=TARE, **more):
    """No settings but these: those of the person who runs the tests stay out."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("WANDB_")}
    env.update(
        HOME=str(folder), WANDB_DIR=str(folder), WANDB_CONFIG_DIR=f"{folder}/config",
        WANDB_CACHE_DIR=f"{folder}/cache", WANDB_DATA_DIR=f"{folder}/data",
        WANDB_BASE_URL=url, WANDB_API_KEY="x" * 40, WANDB_ERROR_REPORTING="false",
        PARITY_CORE=str(core), PYTHONPATH=SITE, NO_PROXY="127.0.0.1", **more)
    return env


def run_script(folder, url, script, core=TARE, timeout=120, **more):
    """Run a program that imports wandb; its output and exit code."""
    folder = pathlib.Path(folder)
    path = folder / "program.py"
    path.write_text(textwrap.dedent(script))
    return subprocess.run([sys.executable, str(path)], env=clean_env(folder, url, core, **more), cwd=folder,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout)
