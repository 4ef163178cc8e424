# SPDX-License-Identifier: MIT
"""A file that changes while the run goes on is uploaded again."""
import pathlib

import parity_backend
import wandb

run = wandb.init(settings=wandb.Settings(x_live_policy_rate_limit=1, x_live_policy_wait_time=1))
path = pathlib.Path("live.txt")
path.write_text("first")
run.save("live.txt", policy="live")
parity_backend.wait_for("put", f"{run.id}/live.txt")
path.write_text("second, longer")
parity_backend.wait_for("put", f"{run.id}/live.txt", times=2)
path.write_text("third, at the end")
run.finish()
