# SPDX-License-Identifier: MIT
"""The machine is about to be taken away."""
# shows: preempting
import wandb

run = wandb.init()
run.log({"x": 1})
run.mark_preempting()
run.log({"x": 2})
run.finish(exit_code=1)
