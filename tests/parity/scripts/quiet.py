# SPDX-License-Identifier: MIT
"""No statistics, no machine facts, no packages, a silent client."""
# shows: history summary
import wandb

run = wandb.init(settings=wandb.Settings(silent=True, x_disable_stats=True, x_disable_meta=True,
                                         x_disable_machine_info=True, x_save_requirements=False))
for i in range(5):
    run.log({"x": i})
run.finish()
