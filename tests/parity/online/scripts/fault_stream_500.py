# SPDX-License-Identifier: MIT
"""The file stream fails."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "500")
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
