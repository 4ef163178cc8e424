# SPDX-License-Identifier: MIT
"""resume="auto": a run that failed in this folder goes on, one that ended well does not."""
import wandb

run = wandb.init(resume="auto")
first = run.id
run.log({"x": 1})
run.finish(exit_code=1)
run = wandb.init(resume="auto")
print(run.id == first, run.resumed)
run.log({"x": 2})
run.finish()
run = wandb.init(resume="auto")
print(run.id == first, run.resumed)
run.finish()
