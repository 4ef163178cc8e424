# SPDX-License-Identifier: MIT
"""The credentials of the file stream have expired."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "401", -1)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
