# SPDX-License-Identifier: MIT
"""Files that the settings keep from being uploaded."""
import pathlib

import wandb

for name in ("keep.txt", "leave.log", "sub/leave.txt"):
    path = pathlib.Path(name)
    path.parent.mkdir(exist_ok=True)
    path.write_text(name)
run = wandb.init(settings=wandb.Settings(ignore_globs=("*.log", "sub/*", "config.yaml")))
for name in ("keep.txt", "leave.log", "sub/leave.txt"):
    run.save(name, base_path=".", policy="now")
run.log({"x": 1})
run.finish()
