# SPDX-License-Identifier: MIT
"""A proxy answers the first upsert."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "html", 2)
run = wandb.init()
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
