# SPDX-License-Identifier: MIT
"""The first three requests fail, each in its way."""
import parity_backend
import wandb

run = wandb.init()
for n, what in enumerate(("reset", "500", "lost")):
    parity_backend.fault("*", what, 1, skip=n)
for i in range(5):
    run.log({"x": i})
print("a line")
run.finish()
