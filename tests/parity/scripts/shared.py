# SPDX-License-Identifier: MIT
"""Shared mode settings offline: several writers of one run."""
# shows: history
import wandb

run = wandb.init(settings=wandb.Settings(mode="offline", x_label="rank0", x_primary=True))
run.log({"x": 1})
run.finish()
second = wandb.init(settings=wandb.Settings(mode="offline", x_label="rank1", x_primary=False,
                                            x_update_finish_state=False))
second.log({"x": 2})
second.finish()
