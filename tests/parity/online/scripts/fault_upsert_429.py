# SPDX-License-Identifier: MIT
"""The backend has a limit of upserts."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "429", 2)
run = wandb.init()
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
