# SPDX-License-Identifier: MIT
"""The backend cannot say where files go, for a moment."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("CreateRunFiles", "500", 2)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
