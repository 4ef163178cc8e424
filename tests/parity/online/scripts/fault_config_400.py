# SPDX-License-Identifier: MIT
"""A later upsert is refused."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("UpsertBucket", "400", -1)
run.config["late"] = 1
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
