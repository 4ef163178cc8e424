# SPDX-License-Identifier: MIT
"""Uploads are cut."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("put", "reset", 3)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
