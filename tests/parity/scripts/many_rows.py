# SPDX-License-Identifier: MIT
"""Ten thousand rows: blocks of the journal are crossed at many offsets."""
# shows: history summary
import wandb

run = wandb.init(settings=wandb.Settings(x_disable_stats=True))
for i in range(10_000):
    run.log({"loss": 1 / (i + 1), "acc": i * 0.5, "pad": "p" * (i % 97)})
run.finish()
