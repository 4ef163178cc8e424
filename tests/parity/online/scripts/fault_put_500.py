# SPDX-License-Identifier: MIT
"""Uploads fail for a moment."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("put", "500", 2)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
