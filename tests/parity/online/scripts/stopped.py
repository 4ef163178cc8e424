# SPDX-License-Identifier: MIT
"""Somebody presses the stop button."""
import time

import parity_backend
import wandb

run = wandb.init()
run.log({"x": 1})
parity_backend.stop(run.id)
try:
    for _ in range(1200):
        time.sleep(0.1)
    print("not stopped")
except KeyboardInterrupt:
    print("stopped")
run.finish(exit_code=255)
