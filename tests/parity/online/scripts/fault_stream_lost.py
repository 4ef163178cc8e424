# SPDX-License-Identifier: MIT
"""The backend took the lines, its answer is lost."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.fault("file_stream", "lost", 3)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
