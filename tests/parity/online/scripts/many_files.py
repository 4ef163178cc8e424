# SPDX-License-Identifier: MIT
"""Two hundred files at once."""
import pathlib

import wandb

pathlib.Path("many").mkdir()
for i in range(200):
    pathlib.Path(f"many/{i}.txt").write_text(f"file {i}\n" * i)
run = wandb.init()
run.save("many/*", policy="end")
run.finish()
