# SPDX-License-Identifier: MIT
"""A proxy answers the file stream in HTML."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "html")
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
