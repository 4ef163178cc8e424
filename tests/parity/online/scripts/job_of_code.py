# SPDX-License-Identifier: MIT
"""A run that logs its code, of which the job is made; the name is given in the second one."""
import pathlib

import wandb

pathlib.Path("lib").mkdir()
pathlib.Path("lib/part.py").write_text("x = 1\n")
for name in (None, "my-job"):
    settings = wandb.Settings(disable_job_creation=False, disable_git=True, job_name=name)
    run = wandb.init(config={"a": 1}, settings=settings)
    run.log_code(".", name="the code" if name else None)
    run.log({"x": 1})
    run.finish()
