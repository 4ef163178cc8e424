# SPDX-License-Identifier: MIT
"""Console in many files."""
# shows: output_raw
import wandb

run = wandb.init(settings=wandb.Settings(console="wrap", console_multipart=True))
for i in range(20):
    print(f"line {i}")
run.finish()
