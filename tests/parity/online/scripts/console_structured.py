# SPDX-License-Identifier: MIT
"""Console lines as JSON, where the backend takes them."""
import sys

import parity_backend
import wandb

parity_backend.features("STRUCTURED_CONSOLE_LOGS")
run = wandb.init(settings=wandb.Settings(x_label="l"))
print('plain "quoted" \\ back')
print("error ä", file=sys.stderr)
sys.stdout.write("10%\r50%\r100%\n")
sys.stdout.write("no end of line")
run.finish()
