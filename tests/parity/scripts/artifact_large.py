# SPDX-License-Identifier: MIT
"""An artifact of many files: its manifest may travel in a file."""
# shows: artifact
import pathlib

import wandb

folder = pathlib.Path("many")
folder.mkdir()
for i in range(1200):
    (folder / f"file_{i:05d}.txt").write_text(str(i))
run = wandb.init()
big = wandb.Artifact("big", type="dataset")
big.add_dir("many")
run.log_artifact(big)
run.finish()
