# SPDX-License-Identifier: MIT
"""The file stream is told to slow down."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "429")
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
