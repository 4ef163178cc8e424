# SPDX-License-Identifier: MIT
"""Answers of the file stream end early."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "truncated", 2)
for i in range(5):
    run.log({"x": i})
parity_backend.wait_for("file_stream", run.id, fault="truncated")  # its status says that it was taken: not sent again
print("a line")
run.finish()
