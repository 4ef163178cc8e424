# SPDX-License-Identifier: MIT
"""Uploads are refused."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("put", "403", -1)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
