# SPDX-License-Identifier: MIT
"""Lines that change after they were sent."""
import sys

import parity_backend
import wandb

run = wandb.init()
print("first\nsecond\nthird")
parity_backend.wait_for("file_stream", run.id)
sys.stdout.write("\x1b[2Achanged second\n\n")
sys.stdout.write("bar 1")
run.log({"x": 1})
sys.stdout.write("\rbar 2\n")
run.finish()
