# SPDX-License-Identifier: MIT
"""resume="never" of a run that is there."""
import wandb

run = wandb.init(id="id-taken")
run.log({"x": 1})
run.finish()
try:
    wandb.init(id="id-taken", resume="never")
except Exception as e:
    print(type(e).__name__, e)
