# SPDX-License-Identifier: MIT
"""resume="must" of a run that is there, and of one that is not."""
import wandb

run = wandb.init(id="id-there")
run.log({"x": 1})
run.finish(exit_code=1)
run = wandb.init(id="id-there", resume="must")
print(run.resumed, run.step)
run.log({"x": 2})
run.finish()
try:
    wandb.init(id="id-missing", resume="must")
except Exception as e:
    print(type(e).__name__, e)
