# SPDX-License-Identifier: MIT
"""The run is busy for a moment."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "409", 2)
run = wandb.init()
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
