# SPDX-License-Identifier: MIT
"""Code is logged, and no job made of it: as WANDB_DISABLE_JOB_CREATION says, and without it."""
import os
import pathlib

import wandb

pathlib.Path("part.py").write_text("x = 1\n")
for value in ("true", None):
    if value:
        os.environ["WANDB_DISABLE_JOB_CREATION"] = value
    else:
        del os.environ["WANDB_DISABLE_JOB_CREATION"]
    with wandb.init(config={"a": 1}, settings=wandb.Settings(disable_git=True)) as run:
        run.log_code(".")
