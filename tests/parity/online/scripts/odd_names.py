# SPDX-License-Identifier: MIT
"""Ids of runs that have signs, an entity with a space; the empty key of a config."""
import wandb

for i, name in enumerate(("a+b&c=d@e$f", "-._~")):
    run = wandb.init(id=name, entity="e e", config={"": i, "a": {"": {"": i}}, "x.y": 1})
    run.log({"": i, "x.y": 1, "x": {"y": 2}})
    run.finish()
