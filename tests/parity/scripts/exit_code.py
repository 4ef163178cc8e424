# SPDX-License-Identifier: MIT
"""sys.exit(3) with a run open."""
# shows: history exit
import sys

import wandb

run = wandb.init()
run.log({"x": 1})
run.log({"open": 1}, commit=False)
sys.exit(3)
