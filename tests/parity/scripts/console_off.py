# SPDX-License-Identifier: MIT
"""Console not captured."""
# shows: history
import wandb

run = wandb.init(settings=wandb.Settings(console="off"))
print("not kept")
run.log({"x": 1})
run.finish()
