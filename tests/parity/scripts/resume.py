# SPDX-License-Identifier: MIT
"""resume settings offline, and an id used again."""
# shows: run history
import wandb

run = wandb.init(id="one-id", resume="allow")
print(run.resumed, run.step, run.starting_step)
run.log({"x": 1})
run.finish()
for mode in ("must", "never", "auto"):
    run = wandb.init(id=f"id-{mode}", resume=mode)
    run.log({"x": 2})
    run.finish()
