# SPDX-License-Identifier: MIT
"""A program that dies of an exception."""
# shows: history exit output_raw
import wandb

run = wandb.init()
run.log({"x": 1})
print("before")
raise ValueError("as planned")
