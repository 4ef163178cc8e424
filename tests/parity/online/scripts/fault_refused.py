# SPDX-License-Identifier: MIT
"""Nothing listens for a second."""
import parity_backend
import wandb

run = wandb.init()
parity_backend.pause(1.0)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
