# SPDX-License-Identifier: MIT
"""The backend does not say where files go."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("CreateRunFiles", "404", -1)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
