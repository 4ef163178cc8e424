# SPDX-License-Identifier: MIT
"""A label on console lines."""
import sys

import wandb

run = wandb.init(settings=wandb.Settings(x_label="worker 3"))
print("to standard output")
print("to standard error", file=sys.stderr)
run.finish()
