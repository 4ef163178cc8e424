# SPDX-License-Identifier: MIT
"""A run that belongs to a sweep."""
# alone
import os

os.environ["WANDB_SWEEP_ID"] = "sw33p"
os.environ["WANDB_RUN_ID"] = "id-member"
os.environ["WANDB_RUN_GROUP"] = "grouped"
os.environ["WANDB_TAGS"] = "a,b"
import wandb

run = wandb.init(config={"lr": 1})
print(run.sweep_id)
run.log({"x": 1})
run.finish()
