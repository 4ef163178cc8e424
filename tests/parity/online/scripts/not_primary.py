# SPDX-License-Identifier: MIT
"""A writer that leaves files, console and end of the run to another."""
import wandb

run = wandb.init(settings=wandb.Settings(mode="shared", x_primary=False, x_label="helper",
                                         x_update_finish_state=False, console="off"))
run.log({"x": 1})
run.summary["s"] = 1
run.finish()
