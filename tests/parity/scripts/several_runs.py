# SPDX-License-Identifier: MIT
"""Runs one after another in one process."""
# shows: history
import wandb

for i in range(3):
    run = wandb.init(name=f"run {i}", config={"i": i}, group="several")
    for j in range(i + 1):
        run.log({"v": i * j})
    print("run", i)
    run.finish()
print("between runs")
