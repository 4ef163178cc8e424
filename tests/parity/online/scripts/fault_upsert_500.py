# SPDX-License-Identifier: MIT
"""The first upsert fails."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "500")
run = wandb.init()
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
