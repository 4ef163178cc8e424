# SPDX-License-Identifier: MIT
"""Explicit steps, gaps, steps out of order, commit=False."""
# shows: history summary
import wandb

run = wandb.init()
run.log({"a": 1}, step=0)
run.log({"b": 2}, step=0)
run.log({"a": 3}, step=5)
run.log({"late": 1}, step=4)
run.log({"later": 1}, step=3)
run.log({"c": 1}, commit=False)
run.log({"d": 1}, commit=False)
run.log({"e": 1})
run.log({"f": 1}, step=20, commit=True)
run.log({"g": 1}, step=20)
run.log({}, step=30)
run.log({"h": 1})
run.log({})
run.log({"i": 1}, commit=True)
print(run.step)
run.log({"at_exit": 1}, commit=False)
run.finish()
