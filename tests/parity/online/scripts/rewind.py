# SPDX-License-Identifier: MIT
"""A run goes back to one of its steps."""
import wandb

run = wandb.init(id="id-back", config={"lr": 1})
for i in range(5):
    run.log({"x": i})
run.finish()
run = wandb.init(id="id-back", resume_from="id-back?_step=1")
print(run.resumed, run.step, run.starting_step)
run.log({"x": 20})
run.log({"x": 30})
run.finish()
