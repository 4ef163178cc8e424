# SPDX-License-Identifier: MIT
"""Console captured below Python: what a C program of the same process prints."""
# shows: output
import os
import subprocess
import sys

import wandb

run = wandb.init(settings=wandb.Settings(console="redirect"))
print("from python", flush=True)
os.write(1, b"from the descriptor\n")
os.write(2, b"errors too\n")
subprocess.run([sys.executable, "-S", "-c", "print('from a child')"], env={})
run.log({"x": 1})
run.finish()
print("after the run")
