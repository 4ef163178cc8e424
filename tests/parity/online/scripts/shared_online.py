# SPDX-License-Identifier: MIT
"""Several writers of one run, each a process of its own, with a label."""
import os
import subprocess
import sys

import parity_backend
import wandb

SECOND = """
import wandb
run = wandb.init(id="id-together", settings=wandb.Settings(
    mode="shared", x_label="rank1", x_primary=False, x_update_finish_state=False))
run.log({"y": 2})
run.log({"y": 3}, step=7)
run.config["second"] = 2
run.finish()
"""
first = wandb.init(id="id-together", settings=wandb.Settings(mode="shared", x_label="rank0",
                                                             x_primary=True))
first.log({"x": 1})
print("from the first", flush=True)
parity_backend.wait_for_lines("id-together", "wandb-history.jsonl", 1)
env = {k: v for k, v in os.environ.items() if k not in ("WANDB_SERVICE", "_WANDB_SERVICE")}
subprocess.run([sys.executable, "-c", SECOND], env=env, check=True)
first.log({"x": 2})
first.finish()
