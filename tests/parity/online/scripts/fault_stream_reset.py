# SPDX-License-Identifier: MIT
"""Connections of the file stream are cut before an answer."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "reset", 3)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
