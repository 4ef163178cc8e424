# SPDX-License-Identifier: MIT
"""A program that is killed after its rows have come."""
# alone
import os

import parity_backend
import wandb

run = wandb.init()
for i in range(5):
    run.log({"x": i})
parity_backend.wait_for_lines(run.id, "wandb-history.jsonl", 5)
os._exit(9)
