# SPDX-License-Identifier: MIT
"""The file stream is not available for a moment."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "503")
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
