# SPDX-License-Identifier: MIT
"""Config, tags, notes and name that change again and again while the run goes on."""
import time

import wandb

run = wandb.init(config={"a": 0})
for i in range(5):
    run.config.update({"a": i, f"k{i}": i}, allow_val_change=True)
    run.tags = (run.tags or ()) + (f"t{i}",)
    run.notes = f"note {i}"
    run.name = f"name {i}"
    run.log({"x": i})
    time.sleep(0.1)
run.finish()
