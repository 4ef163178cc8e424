# SPDX-License-Identifier: MIT
"""A new run that begins at a step of another."""
import wandb

run = wandb.init(id="id-parent", config={"lr": 1})
for i in range(5):
    run.log({"x": i})
run.finish()
run = wandb.init(id="id-child", fork_from="id-parent?_step=2", config={"lr": 2})
print(run.resumed, run.step, run.starting_step)
run.log({"x": 30})
run.log({"x": 31})
run.finish()
