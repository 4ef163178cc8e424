# SPDX-License-Identifier: MIT
"""reinit: the run before is finished, or returned."""
# shows: history exit
import wandb

first = wandb.init(reinit="finish_previous")
first.log({"a": 1})
second = wandb.init(reinit="finish_previous")
second.log({"b": 1})
third = wandb.init(reinit="return_previous")
print(third is second)
third.log({"c": 1})
wandb.finish()
fourth = wandb.init(reinit=True)
wandb.log({"d": 1})
wandb.finish()
