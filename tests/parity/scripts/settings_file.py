# SPDX-License-Identifier: MIT
"""Settings of the folder, and ignored files."""
# shows: history
import os
import pathlib

folder = pathlib.Path("wandb")
folder.mkdir(exist_ok=True)
(folder / "settings").write_text(
    "[default]\nentity = from-file\nproject = file-project\nignore_globs = *.skip\n")
os.environ.pop("WANDB_PROJECT")
import wandb

pathlib.Path("a.skip").write_text("a")
pathlib.Path("b.keep").write_text("b")
run = wandb.init()
print(run.project, run.entity)
run.save("a.skip")
run.save("b.keep")
run.log({"x": 1})
run.finish()
