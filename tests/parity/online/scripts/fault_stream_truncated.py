# SPDX-License-Identifier: MIT
"""Answers of the file stream end early."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "truncated", 2)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
