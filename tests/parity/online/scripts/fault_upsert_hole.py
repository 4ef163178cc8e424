# SPDX-License-Identifier: MIT
"""Nothing answers the first upsert."""
import parity_backend
import wandb

parity_backend.fault("UpsertBucket", "hole", 1)
run = wandb.init(settings=wandb.Settings(x_graphql_timeout_seconds=3))
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
