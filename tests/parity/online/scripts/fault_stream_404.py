# SPDX-License-Identifier: MIT
"""The file stream is refused for good."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "404", -1)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
