# SPDX-License-Identifier: MIT
"""The connection is cut in the first upsert."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "reset", 2)
run = wandb.init()
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
