# SPDX-License-Identifier: MIT
"""The module's functions in place of the run's methods, and a run left open."""
# shows: history config exit
import wandb

wandb.init(config={"a": 1})
wandb.config.b = 2
wandb.log({"x": 1})
wandb.summary["s"] = 3
wandb.define_metric("x", summary="max")
wandb.log({"x": 0})
wandb.save("nothing*")
